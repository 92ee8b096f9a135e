//! One wait: back off for a while (`wait::backoff`), then sleep in poll(2) without bound.
//!
//! The sleep sees everything that there is to wait for, deaths included, and has no periodic wake-up. futex(2) would be
//! cheaper, but it is blind to death. A sleep in it needs a bound, and the timer costs more than is saved
//! (`docs/performance.md`, "Sleeping").

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::poll::PollFlags;

use super::backoff::Backoff;
use super::event::ONE_TOKEN;
use super::log::WaitLog;
use super::poll_group::{Lead, PollGroup, Rank};
use crate::error::Fault;
use crate::ring::lock::Guard;
use crate::segment::layout::{Counters, Event};
use crate::sync::{AtomicU32, full_fence};
use crate::sys::clock::Deadline;
use crate::sys::process::{Life, Process};
use crate::sys::socket;

/// Interval of looks after a process whose death a descriptor shows: it may also leave by execve(2), which no descriptor
/// shows.
pub(crate) const AFTER_EXEC: Duration = Duration::from_secs(1);

/// Interval of looks after a process that is known to have died, until the caller sees what that has changed.
const AFTER_DEATH: Duration = Duration::from_millis(1);

/// Where one side of one ring sleeps.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) event: &'a Event,
    /// Last number that armed the event; under the side's lock.
    pub(crate) number: &'a AtomicU32,
    /// The side's own end of the life-line.
    pub(crate) socket: BorrowedFd<'a>,
    /// Where the side's waits are counted for observers.
    pub(crate) counters: &'a Counters,
    /// The threads of this process that wait there.
    pub(crate) poll_group: &'a PollGroup,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Spin,
    Poll,
}

/// What ended a step of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Something may have changed, or the deadline is near: look again.
    Look,
    /// The other side has no holder any more: look once more, then give up.
    HungUp,
}

/// One blocked call's wait.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    phase: Phase,
    deadline: Deadline,
    /// Ends a sleep when it becomes readable.
    also: Option<OwnedFd>,
    /// Bound of one sleep, for a call that must look at something that no descriptor shows.
    look_after: Option<Duration>,
    wait_log: WaitLog,
    /// Kept from one sleep to the next.
    lead: Option<Lead<'a>>,
}

impl<'a> Wait<'a> {
    pub(crate) fn new(deadline: Deadline) -> Self {
        Self {
            phase: Phase::Spin,
            deadline,
            also: None,
            look_after: None,
            wait_log: WaitLog::default(),
            lead: None,
        }
    }

    /// Counts for observers what has been waited so far. Under the side's lock. Returns whether any of it was a sleep.
    #[inline]
    pub(crate) fn settle(&mut self, place: Place<'_>) -> bool {
        self.wait_log.settle(place.counters)
    }

    /// Makes sleeps end when `process` dies, or after `else_after` where that cannot be watched. Does nothing before the first
    /// sleep.
    ///
    /// # Errors
    ///
    /// As [`Process::watch`].
    pub(crate) fn look_after(
        &mut self,
        process: Option<Process>,
        else_after: Duration,
    ) -> io::Result<()> {
        if self.phase == Phase::Poll && self.also.is_none() && self.look_after.is_none() {
            match process.map(Process::watch).transpose()? {
                Some(Life::Alive(watch)) => {
                    self.also = Some(watch);
                    self.look_after = Some(AFTER_EXEC);
                }
                _ => self.look_after = Some(else_after),
            }
        }
        Ok(())
    }

    /// Makes sleeps end when `watch` becomes readable, and nothing else that was to end them.
    pub(crate) fn watch(&mut self, watch: Option<OwnedFd>) {
        self.also = watch;
        self.look_after = None;
    }

    /// Begins anew after progress: the peer is awake.
    pub(crate) fn restart(&mut self) {
        self.phase = Phase::Spin;
        self.also = None;
        self.look_after = None;
    }

    /// Lets another thread of the process sleep for all: this one is going to wait for something else.
    pub(crate) fn step_aside(&mut self) {
        self.lead = None;
    }

    /// Whether the deadline has passed.
    pub(crate) fn is_over(&self) -> bool {
        self.deadline.passed()
    }

    /// Whether the next step sleeps, so that the caller first reports to the other side all it knows.
    pub(crate) fn will_sleep(&self) -> bool {
        self.phase != Phase::Spin
    }

    /// Waits once; the caller holds the side's lock, has found nothing to do, and looks again after.
    ///
    /// The lock is let go while waiting when the caller passes its guard; one that is in the middle
    /// of a message keeps it. `ready` is a look without the lock.
    ///
    /// # Errors
    ///
    /// What poll(2) reports; [`Fault::Interrupted`].
    pub(crate) fn step(
        &mut self,
        place: Place<'a>,
        guard: Option<Guard<'_>>,
        backoff: &mut Backoff,
        ready: impl Fn() -> bool,
    ) -> Result<Woken, Fault> {
        match self.phase {
            Phase::Spin => {
                drop(guard);
                if !backoff.look(place.event, self.deadline, ready) {
                    self.phase = Phase::Poll;
                }
                self.wait_log.spun(backoff.spent());
                Ok(Woken::Look)
            }
            Phase::Poll => {
                let woken = self.poll(place, guard, ready)?;
                if let Some(waited) = self.wait_log.waited(place.event) {
                    backoff.was_rung_after(waited);
                }
                Ok(woken)
            }
        }
    }

    fn poll(
        &mut self,
        place: Place<'a>,
        guard: Option<Guard<'_>>,
        ready: impl Fn() -> bool,
    ) -> Result<Woken, Fault> {
        self.wait_log.fall_asleep(place.counters);
        if guard.is_none() || self.also.is_some() || self.look_after.is_some() {
            self.step_aside();
        } else if self.lead.is_none() {
            match place.poll_group.try_lead() {
                Rank::Leads(lead) => self.lead = Some(lead),
                Rank::Follows => return self.follow(place, guard),
                Rank::Alone => {}
            }
        }
        let number = place.event.arm(place.number);
        full_fence();
        if ready() {
            return Ok(Woken::Look);
        }
        place
            .event
            .drop_stale_tokens(place.socket, number, ONE_TOKEN)?;
        drop(guard);
        let deadline = self
            .look_after
            .map_or(self.deadline, |span| self.deadline.at_most(span));
        let also = self.also.as_ref().map(AsFd::as_fd);
        let found = socket::wait(place.socket, PollFlags::POLLIN, also, deadline)
            .inspect_err(|_| self.wait_log.break_off(place.counters))?;
        if !found.hung_up && !found.ready && also.is_some() && !deadline.passed() {
            // The process has died.
            self.also = None;
            self.look_after = Some(AFTER_DEATH);
        }
        if found.hung_up {
            place.poll_group.disband(&mut self.lead);
        }
        Ok(if found.hung_up {
            Woken::HungUp
        } else {
            Woken::Look
        })
    }

    /// Sleeps until no other thread of the process sleeps for this one. Nothing is armed: whoever leads has done it.
    fn follow(&mut self, place: Place<'a>, guard: Option<Guard<'_>>) -> Result<Woken, Fault> {
        drop(guard);
        self.lead = place.poll_group.follow(self.deadline);
        Ok(Woken::Look)
    }
}
