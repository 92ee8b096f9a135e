//! Receiving into memory that the caller provides once the length is known.
//!
//! The caller's closure runs before anything of the message is taken and with no lock held, so that it may do
//! anything, panic included. By the time the memory is there another receiver may have taken the message; then the
//! next one comes if it fits.

use std::io::IoSliceMut;
use std::time::Duration;

use super::receiver::{Flavor, Receiver};
use crate::error::Fault;
use crate::ring::payload::Destination;
use crate::sys::clock::{Deadline, Timeout};
use crate::{RecvError, RecvTimeoutError, TryRecvError};

/// Memory for one message, in one piece or several: `&mut [u8]`, or an array, a `Vec` or a slice of
/// [`IoSliceMut`], which are filled one after the other.
///
/// # Examples
///
/// See [`Receiver::recv_with`].
pub trait Memory: sealed::Sealed {}

mod sealed {
    #[allow(
        unreachable_pub,
        reason = "a bound of a public trait, which is what seals it"
    )]
    pub trait Sealed {
        /// Calls `fill` for each piece in order, until it says no.
        #[doc(hidden)]
        fn each(&mut self, fill: &mut dyn FnMut(&mut [u8]) -> bool);
        /// All of it, where it is one piece.
        #[doc(hidden)]
        fn one_piece(&mut self) -> Option<&mut [u8]>;
    }
}

impl Memory for &mut [u8] {}

impl sealed::Sealed for &mut [u8] {
    fn each(&mut self, fill: &mut dyn FnMut(&mut [u8]) -> bool) {
        fill(self);
    }

    fn one_piece(&mut self) -> Option<&mut [u8]> {
        Some(self)
    }
}

macro_rules! pieces {
    ($([$($generic:tt)*] $pieces:ty;)+) => {
        $(
            impl<$($generic)*> Memory for $pieces {}

            impl<$($generic)*> sealed::Sealed for $pieces {
                fn each(&mut self, fill: &mut dyn FnMut(&mut [u8]) -> bool) {
                    self.iter_mut().all(|piece| fill(piece));
                }

                fn one_piece(&mut self) -> Option<&mut [u8]> {
                    match &mut self[..] {
                        [piece] => Some(piece),
                        _ => None,
                    }
                }
            }
        )+
    };
}

pieces! {
    [const N: usize] [IoSliceMut<'_>; N];
    [] Vec<IoSliceMut<'_>>;
    [] &mut [IoSliceMut<'_>];
}

/// Bytes that `memory` has room for.
fn room(memory: &mut impl Memory) -> usize {
    let mut room = 0_usize;
    memory.each(&mut |piece| {
        room = room.saturating_add(piece.len());
        true
    });
    room
}

/// Fills `memory` with `len` bytes, which `copy` puts into a piece from an offset on.
fn scatter(memory: &mut impl Memory, len: usize, copy: impl Fn(usize, &mut [u8])) {
    let mut filled = 0;
    memory.each(&mut |piece| {
        let here = piece.len().min(len - filled);
        copy(filled, &mut piece[..here]);
        filled += here;
        filled < len
    });
}

/// # Into memory that the caller provides
impl Receiver {
    /// Receives the next message into memory that `place` provides for its length, and returns the length. Blocks while
    /// the pipe is empty.
    ///
    /// `place` gets the length, and returns memory for at least so many bytes, in one piece or [several](Memory). With
    /// `None` it refuses, and the message stays. It is called once at most, before anything is taken and with no lock
    /// held. It is not called for an empty message, which needs no memory. The sender claims the length, up to the
    /// [limit](Self::limit_messages): set one where the sender is not trusted.
    ///
    /// Another receiver may take that message meanwhile. Then the next one is received if it fits, and the length that is
    /// returned differs from the one that `place` got. If it does not fit, that is `BufferTooSmall`: call again.
    ///
    /// Memory in one piece is filled without another copy. So is memory in several pieces, for a message in shared memory
    /// of up to an eighth of the capacity. Any other message goes to several pieces by way of this end's buffer.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv), and [`BufferTooSmall`](RecvError::BufferTooSmall) with the length that is
    /// needed, where `place` refused or gave less; the message stays, and what the memory then holds is unspecified.
    ///
    /// # Panics
    ///
    /// Where `place` does; the message stays.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::IoSliceMut;
    ///
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// tx.send(b"head: body")?;
    /// let mut bytes = Vec::new();
    /// rx.recv_with(|len| {
    ///     bytes.resize(len, 0);
    ///     Some(&mut bytes[..])
    /// })?;
    /// assert_eq!(bytes, b"head: body");
    ///
    /// tx.send(b"head: body")?;
    /// let (mut head, mut body) = ([0; 4], [0; 100]);
    /// let len = rx.recv_with(|_| Some([IoSliceMut::new(&mut head), IoSliceMut::new(&mut body)]))?;
    /// assert_eq!((len, &head, &body[..6]), (10, b"head", &b": body"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_with<M: Memory>(
        &mut self,
        place: impl FnOnce(usize) -> Option<M>,
    ) -> Result<usize, RecvError> {
        Ok(self.recv_with_within(place, Timeout::FOREVER)?)
    }

    /// Receives a message into memory that `place` provides if one is there, and never blocks. Otherwise it is like
    /// [`recv_with`](Self::recv_with).
    ///
    /// # Errors
    ///
    /// The errors of [`recv_with`](Self::recv_with), and [`Empty`](TryRecvError::Empty).
    ///
    /// # Panics
    ///
    /// Panics where [`recv_with`](Self::recv_with) does.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, _tx) = shmpipe::pipe()?;
    /// let outcome = rx.try_recv_with(|_| -> Option<&mut [u8]> { unreachable!("nothing is there") });
    /// assert!(matches!(outcome, Err(shmpipe::TryRecvError::Empty)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_recv_with<M: Memory>(
        &mut self,
        place: impl FnOnce(usize) -> Option<M>,
    ) -> Result<usize, TryRecvError> {
        Ok(self.recv_with_within(place, Timeout::Never)?)
    }

    /// Receives a message into memory that `place` provides, and blocks no longer than `timeout`. Otherwise it is
    /// like [`recv_with`](Self::recv_with).
    ///
    /// # Errors
    ///
    /// The errors of [`recv_with`](Self::recv_with), and [`Timeout`](RecvTimeoutError::Timeout), not before its time.
    ///
    /// # Panics
    ///
    /// Panics where [`recv_with`](Self::recv_with) does.
    ///
    /// # Examples
    ///
    /// See [`recv_with`](Self::recv_with).
    pub fn recv_with_timeout<M: Memory>(
        &mut self,
        timeout: Duration,
        place: impl FnOnce(usize) -> Option<M>,
    ) -> Result<usize, RecvTimeoutError> {
        Ok(self.recv_with_within(place, Timeout::Until(Deadline::after(timeout)))?)
    }

    fn recv_with_within<M: Memory>(
        &mut self,
        place: impl FnOnce(usize) -> Option<M>,
        timeout: Timeout,
    ) -> Result<usize, Fault> {
        let Some(needed) = self.next_length(timeout)? else {
            return Ok(0);
        };
        let mut memory = place(needed).ok_or(Fault::BufferTooSmall { needed })?;
        if let Some(piece) = memory.one_piece() {
            if piece.len() < needed {
                return Err(Fault::BufferTooSmall { needed });
            }
            return self.recv_into_within(piece, timeout);
        }
        let room = room(&mut memory);
        if room < needed {
            return Err(Fault::BufferTooSmall { needed });
        }
        if self.unread == 0 {
            if let Some(outcome) = self.scatter_in_place(&mut memory, room) {
                return outcome;
            }
        }
        let len = self.recv_within(timeout)?.len();
        if len > room {
            self.unread = len;
            return Err(Fault::BufferTooSmall { needed: len });
        }
        let message = &self.buffer[self.buffer.len() - len..];
        scatter(&mut memory, len, |offset, piece| {
            piece.copy_from_slice(&message[offset..offset + piece.len()]);
        });
        Ok(len)
    }

    /// The length of the next message, which stays. An empty one is taken: `None`.
    fn next_length(&mut self, timeout: Timeout) -> Result<Option<usize>, Fault> {
        if self.unread > 0 {
            return Ok(Some(self.unread));
        }
        if let Flavor::SharedMemory(rx) = &mut self.flavor {
            if let Some(len) = rx.peek_length().filter(|&len| len > 0) {
                return Ok(Some(len));
            }
        }
        match Self::receive(&mut self.flavor, Destination::Slice(&mut []), timeout) {
            Ok(_) => Ok(None),
            Err(Fault::BufferTooSmall { needed }) => Ok(Some(needed)),
            Err(fault) => Err(fault),
        }
    }

    /// Copies the next message out of the ring to all the pieces; `None` where it is not one record.
    fn scatter_in_place(
        &mut self,
        memory: &mut impl Memory,
        room: usize,
    ) -> Option<Result<usize, Fault>> {
        let Flavor::SharedMemory(rx) = &mut self.flavor else {
            return None;
        };
        let loan = rx.lend(false)?;
        let len = loan.len();
        if len > room {
            rx.put_back();
            return Some(Err(Fault::BufferTooSmall { needed: len }));
        }
        let message = rx.lent(loan);
        scatter(memory, len, |offset, piece| message.read_at(offset, piece));
        rx.done(loan);
        Some(Ok(len))
    }
}
