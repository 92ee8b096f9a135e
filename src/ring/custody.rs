//! Who is inside a message that is received in parts, and what becomes of the message when that
//! receiver times out, is dropped or dies. Both backends use it.
//!
//! A receiver notes itself as *holder* in shared memory when it takes a first part, and takes all
//! parts under one hold of the side lock. When its patience ends inside the message it keeps the
//! parts in private memory, stays the holder and lets go of the lock. The others then wait until it
//! goes on or is gone; that it is gone is proven by its process's number, which is never used twice
//! (`sys::process`), and not by time.

use std::mem::{self, MaybeUninit};
use std::ptr;
use std::time::Duration;

use super::destination::Destination;
use super::latch;
use super::lock::Guard;
use crate::error::Fault;
use crate::segment::layout::{Custody, message};
use crate::sync::Ordering;
use crate::sys::clock::{Deadline, Patience};
use crate::sys::futex;
use crate::sys::process::{Life, Process};

/// How long a dropped end waits for the lock to give up a message that it holds.
pub(crate) const FAREWELL: Duration = Duration::from_millis(100);

/// Whether a receiver may take what is in the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Ours,
    /// This living process has the first parts of the message at hand.
    Held(u32),
}

impl Custody {
    #[inline]
    pub(crate) fn state(&self) -> u32 {
        latch::state(&self.state, Ordering::Relaxed)
    }

    pub(crate) fn set_state(&self, state: u32) {
        latch::set_state(&self.state, state, Ordering::Relaxed);
    }

    /// The holder's message is over, whatever the holder has of it; it finds out when it comes back.
    pub(crate) fn end_for_holder(&self) {
        self.set_state(message::WHOLE);
        self.holder.clear();
    }

    /// Lets go of the lock and sleeps until the holder may have gone on; the caller looks again.
    ///
    /// # Errors
    ///
    /// [`Fault::NotNow`] when patience ended.
    pub(crate) fn wait_for(
        &self,
        holder: u32,
        guard: Guard<'_>,
        patience: Patience,
        look_after: &mut Duration,
    ) -> Result<(), Fault> {
        drop(guard);
        self.holder.wait_while(holder, patience, look_after)
    }
}

/// The parts that one end has taken.
pub(crate) struct Partial {
    /// What tells this end from others of its process.
    id: u64,
    open: Option<Open>,
    /// Whether the lock was let go inside the message, so that others may be waiting for us.
    has_let_go: bool,
}

/// A message that is not whole yet.
struct Open {
    /// The whole message's length as its first part claims it.
    total: u64,
    /// What has arrived of it, unless `in_slice`.
    bytes: Vec<u8>,
    /// How much has arrived of it in the slice of the call under way; `bytes` is empty then.
    in_slice: usize,
}

impl Partial {
    pub(crate) fn new() -> Self {
        Self {
            id: super::hold::new_end(),
            open: None,
            has_let_go: false,
        }
    }

    /// What tells this end from others of its process.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether this end is inside a message.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether this end, or one that is gone, is inside a message. Under the lock.
    #[inline]
    pub(crate) fn is_under_way(&self, custody: &Custody) -> bool {
        self.open.is_some() || custody.state() != message::WHOLE
    }

    /// Whether nobody is inside a message and nobody watches the side, so that a receive has nothing to mind.
    /// Under the lock.
    #[inline]
    pub(crate) fn is_at_rest(&self, custody: &Custody) -> bool {
        self.open.is_none() && custody.state.load(Ordering::Relaxed) == message::WHOLE
    }

    /// Finds out whose message is at hand. Under the lock, just taken or kept.
    ///
    /// # Errors
    ///
    /// What the look after the holder's process reports.
    #[inline]
    pub(crate) fn take_turn(&mut self, custody: &Custody) -> Result<Turn, Fault> {
        if self.is_under_way(custody) {
            self.take_open_turn(custody)
        } else {
            Ok(Turn::Ours)
        }
    }

    #[cold]
    fn take_open_turn(&mut self, custody: &Custody) -> Result<Turn, Fault> {
        if custody.state() != message::OPEN {
            // The message that this end was inside has been ended by others, who took it for dead.
            self.open = None;
            return Ok(Turn::Ours);
        }
        if self.open.is_some() && self.is_holder(custody) {
            return Ok(Turn::Ours);
        }
        // In a forked child this is a copy of what the parent's end has taken.
        self.open = None;
        if let Some(holder) = custody.holder.process()
            && !matches!(holder.watch()?, Life::Dead)
        {
            return Ok(Turn::Held(holder.id));
        }
        custody.holder.clear();
        custody.set_state(message::ORPHANED);
        Ok(Turn::Ours)
    }

    fn is_holder(&self, custody: &Custody) -> bool {
        custody.end.load(Ordering::Relaxed) == self.id
            && Process::current().is_ok_and(|us| custody.holder.process() == Some(us))
    }

    /// Begins a message of `total` bytes, of which the first part follows; before that part is
    /// taken out of the pipe.
    ///
    /// # Errors
    ///
    /// `BufferTooSmall`, or what finding out about the own process reports; the message then stays.
    pub(crate) fn begin(
        &mut self,
        custody: &Custody,
        total: u64,
        into: &mut Destination<'_>,
    ) -> Result<(), Fault> {
        check_fits(total, into)?;
        // The room that the last message needed, and not what this one claims to need.
        let mut bytes = match into {
            Destination::Buffer(buffer) | Destination::Parcel { bytes: buffer, .. } => {
                mem::take(*buffer)
            }
            Destination::Slice(_) => Vec::new(),
        };
        bytes.clear();
        let process = Process::current()?;
        self.open = Some(Open {
            total,
            bytes,
            in_slice: 0,
        });
        custody.end.store(self.id, Ordering::Relaxed);
        custody.holder.note(process);
        custody.set_state(message::OPEN);
        Ok(())
    }

    /// What has arrived so far and what the whole message claims to be.
    ///
    /// # Errors
    ///
    /// `BufferTooSmall` when the caller's slice cannot take the whole message; [`Fault::Corrupted`]
    /// outside a message.
    pub(crate) fn parts(&mut self, into: &Destination<'_>) -> Result<(u64, &mut Vec<u8>), Fault> {
        let open = self.open.as_mut().ok_or(Fault::Corrupted)?;
        check_fits(open.total, into)?;
        Ok((open.total, &mut open.bytes))
    }

    /// Where the next `len` bytes of the message go: on in the caller's slice, or behind what has arrived
    /// before. [`arrived`](Self::arrived) says that they are there.
    ///
    /// # Errors
    ///
    /// As [`parts`](Self::parts); [`Fault::Corrupted`] also for more than the message claims to be, and `Io`
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
            Destination::Buffer(_) | Destination::Parcel { .. } => {
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
            Destination::Buffer(_) | Destination::Parcel { .. } => {
                let there = open.bytes.len() + len;
                // SAFETY: so many are reserved and, by the caller, initialised.
                unsafe { open.bytes.set_len(there) };
            }
        }
        (open.len(), open.total)
    }

    /// For a call that ends inside the message: takes what is in the caller's slice into this end.
    pub(crate) fn keep(&mut self, into: &Destination<'_>) {
        if let (Some(open), Destination::Slice(slice)) = (self.open.as_mut(), into)
            && open.in_slice > 0
        {
            open.bytes = slice[..mem::take(&mut open.in_slice)].to_vec();
        }
    }

    /// Hands the whole message over and returns its length.
    ///
    /// # Errors
    ///
    /// [`Fault::Corrupted`] when it is not as long as it claimed.
    pub(crate) fn finish(
        &mut self,
        custody: &Custody,
        into: &mut Destination<'_>,
    ) -> Result<usize, Fault> {
        let open = self.open.take().ok_or(Fault::Corrupted)?;
        self.close(custody);
        let len = open.len();
        if len as u64 != open.total {
            return Err(Fault::Corrupted);
        }
        match into {
            Destination::Buffer(buffer) | Destination::Parcel { bytes: buffer, .. } => {
                **buffer = open.bytes;
            }
            Destination::Slice(slice) => slice[..open.bytes.len()].copy_from_slice(&open.bytes),
        }
        Ok(len)
    }

    /// The message under way is over for everybody; what this end has of it is dropped.
    pub(crate) fn close(&mut self, custody: &Custody) {
        self.open = None;
        if custody.state() != message::WHOLE {
            custody.set_state(message::WHOLE);
            custody.holder.clear();
        }
        if mem::take(&mut self.has_let_go) {
            futex::wake(custody.holder.word(), i32::MAX);
        }
    }

    /// The caller's patience ended: others may find the lock free inside our message from now on.
    pub(crate) fn let_go(&mut self) {
        self.has_let_go = self.open.is_some();
    }

    /// What the end of the pipe means to this end, under the lock; `sender_state` is what the senders
    /// noted of their last message in parts.
    pub(crate) fn end_of_file(&mut self, custody: &Custody, sender_state: u32) -> Fault {
        if self.open.is_none() {
            return Fault::Disconnected;
        }
        self.close(custody);
        match sender_state {
            message::WITHDRAWN => Fault::Disconnected,
            _ => Fault::Aborted,
        }
    }

    /// This end goes away: whoever receives next passes over the rest of its message. Under the lock;
    /// tells whether there is such a rest.
    pub(crate) fn abandon(&mut self, custody: &Custody) -> bool {
        let is_ours = custody.state() == message::OPEN && self.is_holder(custody);
        self.open = None;
        if is_ours {
            custody.set_state(message::ORPHANED);
            custody.holder.clear();
            futex::wake(custody.holder.word(), i32::MAX);
        }
        is_ours
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

/// The patience of a farewell.
pub(crate) fn farewell() -> Patience {
    Patience::Unasked(Deadline::after(FAREWELL))
}
