//! A message that is written where it will lie in the pipe.

use std::{fmt, mem};

use super::sender::{Flavor, Sender};
use crate::SendError;
use crate::backend::shm::Loan;
use crate::error::Fault;
use crate::ring::place::{InRing, check_range};
use crate::sys::clock::Timeout;
use crate::sys::fork::fork_generation;

/// Room for one message in the pipe, made by [`Sender::reserve`]: written piece by piece, then sent by
/// [`commit`](Self::commit). Dropped without that, it sends nothing.
///
/// What is not written is unspecified, and may be bytes of earlier messages of this pipe.
///
/// ```compile_fail
/// # let (_rx, mut tx) = shmpipe::pipe().unwrap();
/// let slot = tx.reserve(8).unwrap();
/// tx.send(b"while the slot borrows the sender").unwrap();
/// drop(slot);
/// ```
///
/// # Examples
///
/// See [`Sender::reserve`].
pub struct Slot<'a> {
    sender: &'a mut Sender,
    bytes: Bytes,
    /// The process in which it was made.
    home: u32,
}

enum Bytes {
    /// Room in the ring, and the senders' side held.
    InPlace(Loan),
    /// The copy in a forked child of one in place: what is written there is sent by nobody.
    Forked { loan: Loan, bytes: Vec<u8> },
    /// Sent by the commit.
    Private(Vec<u8>),
    /// Committed.
    Gone,
}

/// # In place
impl Sender {
    /// Reserves room for one message of `len` bytes, and blocks while the pipe is full.
    ///
    /// Through shared memory a message of up to 8 bytes less than an eighth of the pipe is then written in place, without
    /// another copy. A longer one, and any message of a kernel pipe, is gathered in private memory. The commit then sends
    /// it and blocks as [`send`](Self::send) does. [`is_in_place`](Slot::is_in_place) reports which it is.
    ///
    /// A slot in place keeps all other senders of this pipe waiting until it is committed or dropped, as a long send does.
    /// Their `try_send` returns `Full`, and their time-outs hold. A blocking send through another clone by the thread that
    /// has the slot waits for ever, as a [`Mutex`](std::sync::Mutex) that is locked twice does.
    ///
    /// The others look whether the process with the slot is alive, 10 ms after they began to wait and then at intervals
    /// that double up to 50 ms. A process that replaced itself by exec counts as alive until that program ends.
    ///
    /// # Errors
    ///
    /// The errors of [`send`](Self::send), and `Io` (`OutOfMemory`) for private memory that cannot be had.
    ///
    /// # Examples
    ///
    /// `examples/image_frames.rs` writes whole pictures so.
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// let mut slot = tx.reserve(10)?;
    /// slot.write_at(0, b"head");
    /// slot.write_at(4, b": body");
    /// slot.commit()?;
    /// assert_eq!(&*rx.recv()?, b"head: body");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve(&mut self, len: usize) -> Result<Slot<'_>, SendError> {
        if len > self.limit {
            let max = self.limit;
            return Err(SendError::TooLarge { len, max });
        }
        let home = fork_generation().map_err(SendError::Io)?;
        let loan = match &mut self.flavor {
            Flavor::SharedMemory(tx) => tx.reserve(len, Timeout::FOREVER)?,
            Flavor::Kernel(_) => None,
        };
        let bytes = match loan {
            Some(loan) => Bytes::InPlace(loan),
            None => Bytes::Private(private(len)?),
        };
        Ok(Slot {
            sender: self,
            bytes,
            home,
        })
    }
}

fn private(len: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(len)
        .map_err(|error| Fault::Io(error.into()))?;
    bytes.resize(len, 0);
    Ok(bytes)
}

impl Slot<'_> {
    /// The room of a slot in place belongs to the process that made the slot. Its copy in a forked child gets memory of
    /// the child's own.
    fn leave_the_ring_if_forked(&mut self) {
        if let Bytes::InPlace(loan) = self.bytes {
            if !fork_generation().is_ok_and(|here| here == self.home) {
                let bytes = vec![0; loan.len()];
                self.bytes = Bytes::Forked { loan, bytes };
            }
        }
    }

    fn in_ring(&self) -> Option<InRing<'_>> {
        match (&self.sender.flavor, &self.bytes) {
            (Flavor::SharedMemory(tx), Bytes::InPlace(loan)) => Some(tx.reserved(*loan)),
            _ => None,
        }
    }

    /// Length of the message in bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// let (_rx, mut tx) = shmpipe::pipe()?;
    /// let slot = tx.reserve(10)?;
    /// assert_eq!((slot.len(), slot.is_empty()), (10, false));
    /// # drop(slot);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(&self) -> usize {
        match &self.bytes {
            Bytes::InPlace(loan) => loan.len(),
            Bytes::Private(bytes) | Bytes::Forked { bytes, .. } => bytes.len(),
            Bytes::Gone => 0,
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

    /// Whether what is written goes straight into the pipe, and not by way of private memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Backend, PipeOptions};
    ///
    /// let (_rx, mut tx) = PipeOptions::new().backend(Backend::SharedMemory).pipe()?;
    /// assert!(tx.reserve(8000)?.is_in_place());
    /// assert!(!tx.reserve(100_000)?.is_in_place(), "longer than the pipe");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_in_place(&self) -> bool {
        matches!(self.bytes, Bytes::InPlace(_))
    }

    /// Writes `bytes` from `offset` on. Never blocks.
    ///
    /// In a forked child of the process that made the slot it changes nothing of the pipe, and the
    /// [`commit`](Self::commit) is an error.
    ///
    /// # Panics
    ///
    /// When they do not fit into the message there, as indexing a slice does.
    ///
    /// # Examples
    ///
    /// See [`Sender::reserve`].
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        self.leave_the_ring_if_forked();
        if let Bytes::Private(message) | Bytes::Forked { bytes: message, .. } = &mut self.bytes {
            check_range(offset, bytes.len(), message.len());
            message[offset..offset + bytes.len()].copy_from_slice(bytes);
        } else if let Some(message) = self.in_ring() {
            message.write_at(offset, bytes);
        }
    }

    /// Writes the whole message. Never blocks.
    ///
    /// # Panics
    ///
    /// When `bytes` is not as long as the message.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// let mut slot = tx.reserve(4)?;
    /// slot.copy_from_slice(b"four");
    /// slot.commit()?;
    /// assert_eq!(&*rx.recv()?, b"four");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn copy_from_slice(&mut self, bytes: &[u8]) {
        let len = self.len();
        assert!(
            bytes.len() == len,
            "{} bytes cannot be all of a message of {len} bytes",
            bytes.len()
        );
        self.write_at(0, bytes);
    }

    /// The message as a slice, for code that has to write into one.
    ///
    /// # Safety
    ///
    /// While the slice is used nobody else writes to the pipe's memory or reads these bytes from it, in this process
    /// or another: every holder of any end of this pipe is trusted to keep the protocol. A slot that is not
    /// [in place](Self::is_in_place) has no such condition, nor has its copy in a forked child, where the slice is
    /// memory of the child's own. A slice that was made before the fork is not used in the child.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// let mut slot = tx.reserve(3)?;
    /// // SAFETY: both ends are in this process.
    /// unsafe { slot.as_mut_slice() }.fill(7);
    /// slot.commit()?;
    /// assert_eq!(&*rx.recv()?, [7; 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        self.leave_the_ring_if_forked();
        #[cfg(not(loom))]
        if let Some(message) = self.in_ring() {
            let start = message.as_ptr();
            // SAFETY: so many bytes lie there, initialised by the mapping, for as long as the sender is
            // borrowed; that nobody else touches them is the caller's duty.
            return unsafe { std::slice::from_raw_parts_mut(start, message.len()) };
        }
        match &mut self.bytes {
            Bytes::Private(message) | Bytes::Forked { bytes: message, .. } => message,
            _ => &mut [],
        }
    }

    /// Sends the message.
    ///
    /// In place this waits only while others are in short calls. If this process is killed inside it, all of the message
    /// was sent or nothing.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send`]: [`Disconnected`](SendError::Disconnected) when no receiver is left, and
    /// nothing is sent. `Io` (`Unsupported`) in a forked child of the process that made the slot.
    ///
    /// # Examples
    ///
    /// See [`Sender::reserve`].
    pub fn commit(mut self) -> Result<(), SendError> {
        match mem::replace(&mut self.bytes, Bytes::Gone) {
            Bytes::InPlace(loan) | Bytes::Forked { loan, .. } => match &mut self.sender.flavor {
                Flavor::SharedMemory(tx) => Ok(tx.commit(loan)?),
                Flavor::Kernel(_) => Ok(()),
            },
            Bytes::Private(bytes) => self.sender.send(&bytes),
            Bytes::Gone => Ok(()),
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if let (Flavor::SharedMemory(tx), Bytes::InPlace(_) | Bytes::Forked { .. }) =
            (&mut self.sender.flavor, &self.bytes)
        {
            tx.give_back();
        }
    }
}

impl fmt::Debug for Slot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("len", &self.len())
            .field("is_in_place", &self.is_in_place())
            .finish_non_exhaustive()
    }
}
