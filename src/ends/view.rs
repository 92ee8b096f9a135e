//! A message that is read where it lies in the pipe.

use std::fmt;
use std::mem::MaybeUninit;
use std::time::Duration;

use zerocopy::FromBytes;

use super::receiver::{Flavor, Receiver};
use crate::backend::Rx;
use crate::backend::shm::Loan;
use crate::error::Fault;
use crate::ring::place::{InRing, check_range};
use crate::sys::clock::{Deadline, Timeout};
use crate::sys::fork::fork_generation;
use crate::{RecvError, RecvTimeoutError, TryRecvError};

/// One whole message where it lies in the pipe, made by [`Receiver::recv_in_place`]. It is read by copies of what is
/// wanted of it. When it is dropped, the message is received and its room given back.
///
/// A hostile holder of the pipe may change the bytes at any time, so that two looks at one place differ. Copy first,
/// and check the copy.
///
/// A forked child may read its copy of a view as long as its parent keeps the original; dropped there, the copy changes
/// nothing.
///
/// # Examples
///
/// See [`Receiver::recv_in_place`].
pub struct View<'a> {
    receiver: &'a mut Receiver,
    bytes: Bytes,
    /// The process in which it was made.
    home: u32,
}

#[derive(Clone, Copy)]
enum Bytes {
    /// A record in the ring, and the receivers' side held.
    InPlace(Loan),
    /// The end's own buffer from here on.
    Private { start: usize },
}

/// # In place
impl Receiver {
    /// Receives the next message without copying it out, and blocks while the pipe is empty.
    ///
    /// Through shared memory a message of up to 8 bytes less than an eighth of the pipe is read in place. A message over
    /// 256 KiB is so only if it was written by [`reserve`](crate::Sender::reserve), since a copying send divides it
    /// into fragments. Any other message is first copied to private memory, as [`recv`](Self::recv) does. So is any of a
    /// kernel pipe, and the rest of one after a [`Read`](std::io::Read). So may be a message of up to 64 bytes from a
    /// [batch](crate::Sender::send_batch). [`is_in_place`](View::is_in_place) reports which it is.
    ///
    /// A view in place keeps all other receivers of this pipe waiting until it is dropped. Their `try_recv` returns
    /// `Empty`, their `poll` false, and their time-outs hold. A blocking receive through another clone by the thread that
    /// has the view waits for ever, as a [`Mutex`](std::sync::Mutex) that is locked twice does. Senders go on while there
    /// is room.
    ///
    /// A process that is killed with a view open has not received the message. The others look whether it is alive, 10 ms
    /// after they began to wait and then at intervals that double up to 50 ms, and the next one gets the message. A process
    /// that replaced itself by exec counts as alive until that program ends. A view that is leaked was not received: the
    /// same end's next call gets the message again.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// tx.send(b"head: body")?;
    /// let view = rx.recv_in_place()?;
    /// let mut head = [0; 4];
    /// view.read_at(0, &mut head);
    /// assert_eq!(&head, b"head");
    /// assert_eq!(view.to_vec(), b"head: body");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_in_place(&mut self) -> Result<View<'_>, RecvError> {
        Ok(self.recv_in_place_within(Timeout::FOREVER)?)
    }

    /// Lends the next message where it lies in the pipe if one is there, and never blocks. Otherwise it is like
    /// [`recv_in_place`](Self::recv_in_place).
    ///
    /// # Errors
    ///
    /// The errors of [`try_recv`](Self::try_recv).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// assert!(matches!(rx.try_recv_in_place(), Err(shmpipe::TryRecvError::Empty)));
    /// tx.send(b"one")?;
    /// assert_eq!(rx.try_recv_in_place()?.len(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv_in_place(&mut self) -> Result<View<'_>, TryRecvError> {
        Ok(self.recv_in_place_within(Timeout::Never)?)
    }

    /// Lends the next message where it lies in the pipe, and blocks no longer than `timeout`. Otherwise it is like
    /// [`recv_in_place`](Self::recv_in_place).
    ///
    /// # Errors
    ///
    /// The errors of [`recv_timeout`](Self::recv_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (mut rx, _tx) = shmpipe::pipe()?;
    /// let outcome = rx.recv_in_place_timeout(Duration::from_millis(1));
    /// assert!(matches!(outcome, Err(shmpipe::RecvTimeoutError::Timeout)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_in_place_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<View<'_>, RecvTimeoutError> {
        Ok(self.recv_in_place_within(Timeout::Until(Deadline::after(timeout)))?)
    }

    fn recv_in_place_within(&mut self, timeout: Timeout) -> Result<View<'_>, Fault> {
        let home = fork_generation()?;
        let loan = if self.unread == 0 {
            self.lend(timeout)?
        } else {
            None
        };
        let bytes = match loan {
            Some(loan) => Bytes::InPlace(loan),
            None => {
                let len = self.recv_within(timeout)?.len();
                let start = self.buffer.len() - len;
                Bytes::Private { start }
            }
        };
        Ok(View {
            receiver: self,
            bytes,
            home,
        })
    }

    /// Waits for a message and lends it; `None` where that cannot be in place, or the time-out has passed.
    fn lend(&mut self, timeout: Timeout) -> Result<Option<Loan>, Fault> {
        let Flavor::SharedMemory(rx) = &mut self.flavor else {
            return Ok(None);
        };
        let may_wait = !timeout.is_over();
        let at_once = rx.lend(may_wait);
        if at_once.is_some() || !may_wait {
            return Ok(at_once);
        }
        Ok(rx.poll(timeout)?.then(|| rx.lend(false)).flatten())
    }
}

impl View<'_> {
    /// After a copy by a forked child's copy of the view: what was copied is the message only as long as the original
    /// keeps it.
    fn check_still_there(&self) {
        if let (Flavor::SharedMemory(rx), Bytes::InPlace(loan)) =
            (&self.receiver.flavor, self.bytes)
        {
            assert!(
                fork_generation().is_ok_and(|here| here == self.home) || rx.is_lent(loan),
                "the view is a forked copy, and the process that made it has dropped the original"
            );
        }
    }

    fn in_ring(&self) -> Option<InRing<'_>> {
        match (&self.receiver.flavor, self.bytes) {
            (Flavor::SharedMemory(rx), Bytes::InPlace(loan)) => Some(rx.lent(loan)),
            _ => None,
        }
    }

    fn private(&self) -> &[u8] {
        match self.bytes {
            Bytes::Private { start } => &self.receiver.buffer[start..],
            Bytes::InPlace(_) => &[],
        }
    }

    /// Length of the message in bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// tx.send(b"seven b")?;
    /// let view = rx.recv_in_place()?;
    /// assert_eq!((view.len(), view.is_empty()), (7, false));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        match self.bytes {
            Bytes::InPlace(loan) => loan.len(),
            Bytes::Private { .. } => self.private().len(),
        }
    }

    /// Whether the message is an empty one.
    ///
    /// # Examples
    ///
    /// See [`len`](Self::len).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the message still lies in the pipe, and not in private memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Backend, PipeOptions};
    ///
    /// let (mut rx, mut tx) = PipeOptions::new().backend(Backend::SharedMemory).pipe()?;
    /// tx.send(&[7; 8000])?;
    /// assert!(rx.recv_in_place()?.is_in_place());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_in_place(&self) -> bool {
        matches!(self.bytes, Bytes::InPlace(_))
    }

    /// Copies the bytes from `offset` on to `to`, as many as it has.
    ///
    /// # Panics
    ///
    /// When the message has not so many there, as indexing a slice does; and in a forked child whose parent has dropped
    /// the view.
    ///
    /// # Examples
    ///
    /// See [`Receiver::recv_in_place`].
    pub fn read_at(&self, offset: usize, to: &mut [u8]) {
        match self.in_ring() {
            Some(message) => {
                message.read_at(offset, to);
                self.check_still_there();
            }
            None => {
                let message = self.private();
                check_range(offset, to.len(), message.len());
                to.copy_from_slice(&message[offset..offset + to.len()]);
            }
        }
    }

    /// Copies the whole message to `to`.
    ///
    /// # Panics
    ///
    /// When `to` is not as long as the message; and as [`read_at`](Self::read_at). So do the other calls that copy.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// tx.send(b"four")?;
    /// let mut bytes = [0; 4];
    /// rx.recv_in_place()?.copy_to(&mut bytes);
    /// assert_eq!(&bytes, b"four");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn copy_to(&self, to: &mut [u8]) {
        let len = self.len();
        assert!(
            to.len() == len,
            "a message of {len} bytes does not just fill {} bytes",
            to.len()
        );
        self.read_at(0, to);
    }

    /// A copy of the message.
    ///
    /// # Examples
    ///
    /// See [`Receiver::recv_in_place`].
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        self.copy_to(&mut bytes);
        bytes
    }

    /// The message as a value of `T`, copied out once; `None` when it is not exactly as long as one.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// tx.send(&7_u64.to_ne_bytes())?;
    /// let view = rx.recv_in_place()?;
    /// assert_eq!(view.read::<u64>(), Some(7));
    /// assert_eq!(view.read::<u32>(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read<T: FromBytes>(&self) -> Option<T> {
        if self.len() != size_of::<T>() {
            return None;
        }
        let Some(message) = self.in_ring() else {
            return T::read_from_bytes(self.private()).ok();
        };
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: a local of just that length.
        unsafe { message.copy_out(value.as_mut_ptr().cast()) };
        self.check_still_there();
        // SAFETY: all of its bytes have been written, and any bytes are a `T`.
        Some(unsafe { value.assume_init() })
    }

    /// The message as a slice, for code that has to read from one.
    ///
    /// # Safety
    ///
    /// While the slice is used nobody writes to these bytes, in this process or another: every holder of any end of
    /// this pipe is trusted to keep the protocol. In a forked child that is so only while its parent keeps the view. A
    /// view that is not [in place](Self::is_in_place) has no such condition.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// tx.send(b"trusted")?;
    /// let view = rx.recv_in_place()?;
    /// // SAFETY: both ends are in this process.
    /// assert_eq!(unsafe { view.as_slice() }, b"trusted");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn as_slice(&self) -> &[u8] {
        #[cfg(not(loom))]
        if let Some(message) = self.in_ring() {
            // SAFETY: so many bytes lie there for as long as the receiver is borrowed; that nobody writes them
            // is the caller's duty.
            return unsafe { std::slice::from_raw_parts(message.as_ptr(), message.len()) };
        }
        self.private()
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        if let (Flavor::SharedMemory(rx), Bytes::InPlace(loan)) =
            (&mut self.receiver.flavor, self.bytes)
        {
            rx.done(loan);
        }
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("len", &self.len())
            .field("is_in_place", &self.is_in_place())
            .finish_non_exhaustive()
    }
}
