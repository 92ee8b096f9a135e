//! A receiver's turn: its section under the side lock, and giving up a message when an end is closed.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::Reassembly;
use crate::error::Fault;
use crate::ring::lock::Guard;
use crate::ring::per_process::{Entered, PerProcess};
use crate::ring::reservation::NO_END;
use crate::segment::layout::{SharedReassembly, message};
use crate::sync::Ordering;
use crate::sys::clock::Timeout;
use crate::sys::futex;
use crate::sys::process::Life;

/// Whether a receiver may take what is in the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Ours,
    /// A living process, of this id, has the first fragments of the message at hand.
    Held(u32),
    /// A message was lost with the process that had its first fragments, and nobody has reported that yet.
    Lost,
}

/// A receiver's section under the side lock, with what its process has of a message in fragments.
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

    /// Finds out whose the message at hand is. Called once, after the lock was taken. `is_untaken` says whether nothing
    /// has been taken of the message that was begun last.
    ///
    /// # Errors
    ///
    /// What the look after the owner's process reports.
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

    /// Releases the lock and sleeps until the owner may have gone on. The caller then looks again.
    ///
    /// # Errors
    ///
    /// [`Fault::NotNow`] when the time-out has passed.
    pub(crate) fn wait_for(
        self,
        owner: u32,
        timeout: Timeout,
        look_after: &mut Duration,
    ) -> Result<(), Fault> {
        let shared = self.inside.shared;
        drop(self);
        shared.owner.wait_while(owner, timeout, look_after)
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
    #[cold]
    fn take_open_turn(
        &mut self,
        shared: &SharedReassembly,
        is_untaken: impl FnOnce() -> bool,
    ) -> Result<Turn, Fault> {
        match shared.state() {
            message::OPEN if self.open.is_some() && self.is_owner(shared) => {
                shared.set_state(message::INSIDE);
                return Ok(Turn::Ours);
            }
            message::OPEN => {
                // What this process had has been ended by others, who took it for dead.
                self.open = None;
                if !shared.has_let_go() {
                    if let Some(owner) = shared.owner.process() {
                        if !matches!(owner.watch()?, Life::Dead) {
                            return Ok(Turn::Held(owner.id));
                        }
                    }
                }
                shared.orphan();
            }
            message::INSIDE | message::WAITING => {
                self.open = None;
                if is_untaken() {
                    shared.end_for_owner();
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
}

/// For a process that closes its end: gives up the message that it is inside, if any, so that whoever receives next
/// reports the loss. `lock` takes the side lock, and `skip` makes room for the sender under it.
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
        let is_owner = shared.state() == message::OPEN && reassembly.is_owner(shared);
        if !reassembly.is_open() || !is_owner {
            return;
        }
        // Before the lock, so that a process that cannot take it keeps nobody out.
        // SYNC: let-go
        shared.end.store(NO_END, Ordering::Release);
    }
    if let Ok(_guard) = lock(Timeout::closing()) {
        if shared.state() == message::OPEN && shared.has_let_go() {
            shared.orphan();
            skip();
        }
    }
    futex::wake(shared.owner.word(), i32::MAX);
}
