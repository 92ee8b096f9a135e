//! Which process has the first fragments of a message that is received in fragments, and what becomes of the
//! message when that process stops receiving, closes its end or dies. Both backends use it.
//!
//! The fragments belong to the process's *end*, which all its handles to that side share: whichever of its handles or
//! threads receives next goes on with them. In shared memory the process is noted as *holder* before the first
//! fragment is taken. All fragments are taken under the side lock, and the state says whether the holder is there:
//! [`INSIDE`](message::INSIDE) while it has the lock, [`WAITING`](message::WAITING) while it keeps the lock for a wait,
//! [`OPEN`](message::OPEN) after a call of it has ended inside the message. The others then wait until the holder goes on or is gone.
//!
//! That the holder is gone is proven and not inferred from time: whoever takes the lock and finds `INSIDE` or `WAITING` knows
//! that the owner before it died there; one that closed its end has let go; of any other the process is looked after
//! (`sys::process`). What was lost with it is reported once, as [`Fault::Aborted`], by whoever receives next.

use std::mem::{self, MaybeUninit};
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::time::Duration;

use super::destination::Destination;
use super::lock::Guard;
use super::per_process::{Entered, PerProcess};
use super::reservation::{self, NO_END};
use super::state_word;
use crate::error::Fault;
use crate::segment::layout::{SharedReassembly, message};
use crate::sync::Ordering;
use crate::sys::clock::{Deadline, Timeout};
use crate::sys::futex;
use crate::sys::process::{Life, Process};

/// How long an end that is closed waits for the lock to give up a message that it holds.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);

/// Whether a receiver may take what is in the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Ours,
    /// This living process has the first fragments of the message at hand.
    Held(u32),
    /// A message has gone with the process that had its first fragments, and nobody has been told yet.
    Lost,
}

impl SharedReassembly {
    #[inline]
    pub(crate) fn state(&self) -> u32 {
        state_word::state(&self.state, Ordering::Relaxed)
    }

    fn set_state(&self, state: u32) {
        state_word::set_state(&self.state, state, Ordering::Relaxed);
    }

    /// The holder's message is over, whatever the holder has of it; it finds out when it comes back.
    pub(crate) fn end_for_holder(&self) {
        self.set_state(message::WHOLE);
        self.holder.clear();
    }

    /// Whether the rest of a message is to be passed over.
    pub(crate) fn has_residue(&self) -> bool {
        matches!(self.state(), message::ORPHANED | message::RESIDUE)
    }

    /// The rest of a message has been passed over, or will never come.
    pub(crate) fn end_residue(&self) {
        match self.state() {
            message::ORPHANED => self.set_state(message::LOST),
            message::RESIDUE => self.set_state(message::WHOLE),
            _ => {}
        }
    }

    /// The caller reports the message that was lost.
    pub(crate) fn report_lost(&self) {
        match self.state() {
            message::ORPHANED => self.set_state(message::RESIDUE),
            message::LOST => self.set_state(message::WHOLE),
            _ => {}
        }
    }

    /// The holder is going to wait for the sender and keeps the lock, or goes on after that.
    pub(crate) fn set_waiting(&self, waits: bool) {
        self.set_state(if waits {
            message::WAITING
        } else {
            message::INSIDE
        });
    }

    /// Whether the owner of the lock keeps it until the senders go on.
    pub(crate) fn is_waited_in(&self) -> bool {
        self.state() == message::WAITING
    }

    fn orphan(&self) {
        self.holder.clear();
        self.set_state(message::ORPHANED);
    }
}

/// What a process has of the message that it receives in fragments. `P` is what a backend notes of a fragment that
/// it does not take at once.
pub(crate) struct Reassembly<P> {
    /// What tells this end from others of its process.
    id: u64,
    open: Option<Open>,
    /// Whether the lock was let go inside the message, so that others may be waiting for us.
    has_let_go: bool,
    pub(crate) progress: P,
}

/// A message that is not whole yet.
struct Open {
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

/// A receiver's section under the side lock: its turn, and the process's fragments.
pub(crate) struct Session<'a, P: Default> {
    // In this order: the fragments are put down before the lock is released.
    inside: Inside<'a, P>,
    guard: Guard<'a>,
}

struct Inside<'a, P: Default> {
    reassembly: Entered<'a, Reassembly<P>>,
    shared: &'a SharedReassembly,
}

impl<'a, P: Default> Session<'a, P> {
    /// With the lock, just taken.
    ///
    /// # Errors
    ///
    /// As [`PerProcess::enter`].
    #[inline]
    pub(crate) fn new(
        guard: Guard<'a>,
        shared: &'a SharedReassembly,
        fragments: &'a PerProcess<Reassembly<P>>,
    ) -> Result<Self, Fault> {
        let reassembly = fragments.enter()?;
        let inside = Inside { reassembly, shared };
        Ok(Self { inside, guard })
    }

    /// Finds out whose message is at hand; once after the lock was taken. `is_untaken` says whether nothing has been
    /// taken of the message that was begun last.
    ///
    /// # Errors
    ///
    /// What the look after the holder's process reports.
    #[inline]
    pub(crate) fn take_turn(&mut self, is_untaken: impl FnOnce() -> bool) -> Result<Turn, Fault> {
        let Inside { reassembly, shared } = &mut self.inside;
        if shared.state() == message::WHOLE {
            reassembly.open = None;
            return Ok(Turn::Ours);
        }
        reassembly.take_open_turn(shared, is_untaken)
    }

    /// Puts the fragments down and keeps the lock.
    pub(crate) fn into_guard(self) -> Guard<'a> {
        self.guard
    }

    /// Lets go of the lock and sleeps until the holder may have gone on; the caller looks again.
    ///
    /// # Errors
    ///
    /// [`Fault::NotNow`] when the time-out has passed.
    pub(crate) fn wait_for(
        self,
        holder: u32,
        timeout: Timeout,
        look_after: &mut Duration,
    ) -> Result<(), Fault> {
        let shared = self.inside.shared;
        drop(self);
        shared.holder.wait_while(holder, timeout, look_after)
    }
}

impl<P: Default> Deref for Session<'_, P> {
    type Target = Reassembly<P>;

    #[inline]
    fn deref(&self) -> &Reassembly<P> {
        &self.inside.reassembly
    }
}

impl<P: Default> DerefMut for Session<'_, P> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Reassembly<P> {
        &mut self.inside.reassembly
    }
}

impl<P: Default> Drop for Inside<'_, P> {
    #[inline]
    fn drop(&mut self) {
        if self.reassembly.open.is_some() {
            self.reassembly.put_down(self.shared);
        }
    }
}

impl<P: Default> Reassembly<P> {
    /// Whether this process is inside a message.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether a process, this one or one that is gone, is inside a message. Under the lock.
    #[inline]
    pub(crate) fn is_under_way(&self, shared: &SharedReassembly) -> bool {
        self.open.is_some() || shared.state() != message::WHOLE
    }

    #[cold]
    fn take_open_turn(
        &mut self,
        shared: &SharedReassembly,
        is_untaken: impl FnOnce() -> bool,
    ) -> Result<Turn, Fault> {
        match shared.state() {
            message::OPEN if self.open.is_some() && self.is_holder(shared) => {
                shared.set_state(message::INSIDE);
                return Ok(Turn::Ours);
            }
            message::OPEN => {
                // What this process had has been ended by others, who took it for dead.
                self.open = None;
                if !has_let_go(shared) {
                    if let Some(holder) = shared.holder.process() {
                        if !matches!(holder.watch()?, Life::Dead) {
                            return Ok(Turn::Held(holder.id));
                        }
                    }
                }
                shared.orphan();
            }
            message::INSIDE | message::WAITING => {
                self.open = None;
                if is_untaken() {
                    shared.end_for_holder();
                    return Ok(Turn::Ours);
                }
                shared.orphan();
            }
            _ => self.open = None,
        }
        Ok(match shared.state() {
            message::ORPHANED | message::LOST => Turn::Lost,
            _ => Turn::Ours,
        })
    }

    fn is_holder(&self, shared: &SharedReassembly) -> bool {
        shared.end.load(Ordering::Relaxed) == self.id
            && Process::current().is_ok_and(|us| shared.holder.process() == Some(us))
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
        shared.holder.note(process);
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

    /// For a call that ends inside the message, before it puts the fragments down: takes what is in the caller's
    /// slice to them.
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

    /// The message under way is over for everybody; what this process has of it is dropped.
    pub(crate) fn close(&mut self, shared: &SharedReassembly) {
        self.open = None;
        if shared.state() != message::WHOLE {
            shared.end_for_holder();
        }
        if mem::take(&mut self.has_let_go) {
            futex::wake(shared.holder.word(), i32::MAX);
        }
    }

    /// Before the lock is released inside the message: others may find it free from now on.
    #[cold]
    fn put_down(&mut self, shared: &SharedReassembly) {
        if !matches!(shared.state(), message::INSIDE | message::WAITING) {
            return;
        }
        if self.open.as_ref().is_some_and(|open| open.is_taken) {
            self.has_let_go = true;
            shared.set_state(message::OPEN);
        } else {
            // All of it is in the pipe still.
            self.close(shared);
        }
    }

    /// What the end of the pipe means to this process, under the lock; `sender_state` is what the senders
    /// noted of their last message in fragments.
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

/// Whether the holder has closed its end inside the message.
fn has_let_go(shared: &SharedReassembly) -> bool {
    // SYNC: let-go
    shared.end.load(Ordering::Acquire) == NO_END
}

/// For a process that closes its end: gives up the message that it is inside, if any, so that whoever receives next
/// reports it; `lock` is asked for the side lock, and `skip` is called under it to make room for the sender.
pub(crate) fn abandon<'a, P: Default>(
    shared: &'a SharedReassembly,
    fragments: &'a PerProcess<Reassembly<P>>,
    lock: impl FnOnce(Timeout) -> Result<Guard<'a>, Fault>,
    skip: impl FnOnce(),
) {
    if !fragments.is_ours() {
        return;
    }
    {
        let Ok(reassembly) = fragments.enter() else {
            return;
        };
        let is_holder = shared.state() == message::OPEN && reassembly.is_holder(shared);
        if !reassembly.is_open() || !is_holder {
            return;
        }
        // Before the lock, so that who cannot have it keeps nobody out.
        // SYNC: let-go
        shared.end.store(NO_END, Ordering::Release);
    }
    if let Ok(_guard) = lock(close_timeout()) {
        if shared.state() == message::OPEN && has_let_go(shared) {
            shared.orphan();
            skip();
        }
    }
    futex::wake(shared.holder.word(), i32::MAX);
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

/// The time-out of a close.
pub(crate) fn close_timeout() -> Timeout {
    Timeout::Unasked(Deadline::after(CLOSE_TIMEOUT))
}
