//! What one process has of a message that it receives in fragments.

use std::mem::{self, MaybeUninit};
use std::ptr;

use crate::error::Fault;
use crate::ring::payload::Destination;
use crate::ring::reservation;
use crate::segment::layout::{SharedReassembly, message};
use crate::sync::Ordering;
use crate::sys::futex;
use crate::sys::process::Process;

/// What a process has of the message that it receives in fragments. `P` is what a backend notes of a fragment that it takes
/// bit by bit.
pub(crate) struct Reassembly<P> {
    /// Identifies this end among those of its process.
    id: u64,
    pub(super) open: Option<Open>,
    /// Whether the lock was released inside the message, so that others may wait for this process.
    has_let_go: bool,
    pub(crate) progress: P,
}

/// A message that is not whole yet.
pub(super) struct Open {
    /// The whole message's length as its first fragment claims it.
    total: u64,
    /// What has arrived of it, unless `in_slice`.
    bytes: Vec<u8>,
    /// How much has arrived of it in the slice of the call under way; `bytes` is empty then.
    in_slice: usize,
    /// Whether its first fragment has been taken out of the pipe.
    is_taken: bool,
}

impl<P: Default> Default for Reassembly<P> {
    fn default() -> Self {
        Self {
            id: reservation::new_end(),
            open: None,
            has_let_go: false,
            progress: P::default(),
        }
    }
}

impl<P: Default> Reassembly<P> {
    /// Whether this process is inside a message.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether a process is inside a message, this one or one that has died or closed its end. Under the lock.
    #[inline]
    pub(crate) fn is_under_way(&self, shared: &SharedReassembly) -> bool {
        self.open.is_some() || shared.state() != message::WHOLE
    }

    pub(super) fn is_owner(&self, shared: &SharedReassembly) -> bool {
        shared.end.load(Ordering::Relaxed) == self.id
            && Process::current().is_ok_and(|us| shared.owner.process() == Some(us))
    }

    /// Begins a message of `total` bytes, of which the first fragment follows; before that fragment is
    /// taken out of the pipe.
    ///
    /// # Errors
    ///
    /// `BufferTooSmall`, or what finding out about the own process reports; the message then stays.
    pub(crate) fn begin(
        &mut self,
        shared: &SharedReassembly,
        total: u64,
        into: &mut Destination<'_>,
    ) -> Result<(), Fault> {
        check_fits(total, into)?;
        let process = Process::current()?;
        // The room that the last message needed, and not what this one claims to need.
        let mut bytes = match into {
            Destination::Buffer(buffer) | Destination::WithDescriptors { bytes: buffer, .. } => {
                mem::take(*buffer)
            }
            Destination::Slice(_) => Vec::new(),
        };
        bytes.clear();
        self.progress = P::default();
        self.open = Some(Open {
            total,
            bytes,
            in_slice: 0,
            is_taken: false,
        });
        shared.end.store(self.id, Ordering::Relaxed);
        shared.owner.note(process);
        shared.set_state(message::INSIDE);
        Ok(())
    }

    /// The first fragment has been taken out of the pipe.
    pub(crate) fn has_begun(&mut self) {
        if let Some(open) = &mut self.open {
            open.is_taken = true;
        }
    }

    /// What has arrived so far and what the whole message claims to be, and the backend's notes.
    ///
    /// # Errors
    ///
    /// `BufferTooSmall` when the caller's slice cannot take the whole message; [`Fault::Corrupted`]
    /// outside a message.
    pub(crate) fn arriving(
        &mut self,
        into: &Destination<'_>,
    ) -> Result<(u64, &mut Vec<u8>, &mut P), Fault> {
        let open = self.open.as_mut().ok_or(Fault::Corrupted)?;
        check_fits(open.total, into)?;
        Ok((open.total, &mut open.bytes, &mut self.progress))
    }

    /// Where the next `len` bytes of the message go: on in the caller's slice, or behind what has arrived
    /// before. [`arrived`](Self::arrived) says that they are there.
    ///
    /// # Errors
    ///
    /// As [`arriving`](Self::arriving); [`Fault::Corrupted`] also for more than the message claims to be, and `Io`
    /// when memory is short.
    pub(crate) fn next_place<'a>(
        &'a mut self,
        len: usize,
        into: &'a mut Destination<'_>,
    ) -> Result<&'a mut [MaybeUninit<u8>], Fault> {
        let open = self.open.as_mut().ok_or(Fault::Corrupted)?;
        check_fits(open.total, into)?;
        if (open.len() + len) as u64 > open.total {
            return Err(Fault::Corrupted);
        }
        match into {
            Destination::Slice(slice) => {
                if !open.bytes.is_empty() {
                    // From an earlier call, which ended inside the message.
                    let bytes = mem::take(&mut open.bytes);
                    slice[..bytes.len()].copy_from_slice(&bytes);
                    open.in_slice = bytes.len();
                }
                let place = &mut slice[open.in_slice..][..len];
                // SAFETY: the same bytes, into which only initialised ones are written.
                Ok(unsafe { &mut *(ptr::from_mut(place) as *mut [MaybeUninit<u8>]) })
            }
            Destination::Buffer(_) | Destination::WithDescriptors { .. } => {
                open.bytes
                    .try_reserve(len)
                    .map_err(|error| Fault::Io(error.into()))?;
                Ok(&mut open.bytes.spare_capacity_mut()[..len])
            }
        }
    }

    /// Counts what was written into [`next_place`](Self::next_place), and returns how much is there and the whole.
    ///
    /// # Safety
    ///
    /// All `len` bytes of the place that was given last are initialised.
    pub(crate) unsafe fn arrived(&mut self, len: usize, into: &Destination<'_>) -> (usize, u64) {
        let Some(open) = self.open.as_mut() else {
            return (0, 0);
        };
        match into {
            Destination::Slice(_) => open.in_slice += len,
            Destination::Buffer(_) | Destination::WithDescriptors { .. } => {
                let there = open.bytes.len() + len;
                // SAFETY: so many are reserved and, by the caller, initialised.
                unsafe { open.bytes.set_len(there) };
            }
        }
        (open.len(), open.total)
    }

    /// For a call that ends inside the message: copies what is in the caller's slice to the process's fragments.
    pub(crate) fn keep(&mut self, into: &Destination<'_>) {
        if let (Some(open), Destination::Slice(slice)) = (self.open.as_mut(), into) {
            if open.in_slice > 0 {
                open.bytes = slice[..mem::take(&mut open.in_slice)].to_vec();
            }
        }
    }

    /// Hands the whole message over and returns its length.
    ///
    /// # Errors
    ///
    /// [`Fault::Corrupted`] when it is not as long as it claimed.
    pub(crate) fn finish(
        &mut self,
        shared: &SharedReassembly,
        into: &mut Destination<'_>,
    ) -> Result<usize, Fault> {
        let open = self.open.take().ok_or(Fault::Corrupted)?;
        self.close(shared);
        let len = open.len();
        if len as u64 != open.total {
            return Err(Fault::Corrupted);
        }
        match into {
            Destination::Buffer(buffer) | Destination::WithDescriptors { bytes: buffer, .. } => {
                **buffer = open.bytes;
            }
            Destination::Slice(slice) => slice[..open.bytes.len()].copy_from_slice(&open.bytes),
        }
        Ok(len)
    }

    /// Ends the message for everybody and drops what this process has of it.
    pub(crate) fn close(&mut self, shared: &SharedReassembly) {
        self.open = None;
        if shared.state() != message::WHOLE {
            shared.end_for_owner();
        }
        if mem::take(&mut self.has_let_go) {
            futex::wake(shared.owner.word(), i32::MAX);
        }
    }

    /// Before the lock is released inside the message: others may find it free from now on.
    #[cold]
    pub(super) fn put_down(&mut self, shared: &SharedReassembly) {
        if !matches!(shared.state(), message::INSIDE | message::WAITING) {
            return;
        }
        if self.open.as_ref().is_some_and(|open| open.is_taken) {
            self.has_let_go = true;
            shared.set_state(message::OPEN);
        } else {
            // All of it is still in the pipe.
            self.close(shared);
        }
    }

    /// The error for this process at the end of the pipe. Under the lock. `sender_state` is what the senders noted of their
    /// last message in fragments.
    pub(crate) fn end_of_file(&mut self, shared: &SharedReassembly, sender_state: u32) -> Fault {
        if self.open.is_none() {
            return Fault::Disconnected;
        }
        self.close(shared);
        match sender_state {
            message::WITHDRAWN => Fault::Disconnected,
            _ => Fault::Aborted,
        }
    }
}

impl Open {
    fn len(&self) -> usize {
        self.bytes.len() + self.in_slice
    }
}

/// Refuses a message that the caller's slice cannot take; it stays where it is.
fn check_fits(total: u64, into: &Destination<'_>) -> Result<(), Fault> {
    let needed = usize::try_from(total).map_err(|_| Fault::Corrupted)?;
    match into {
        Destination::Slice(slice) if slice.len() < needed => Err(Fault::BufferTooSmall { needed }),
        _ => Ok(()),
    }
}
