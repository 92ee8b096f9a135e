//! A poll group: the threads of one process that wait at one side, of which one sleeps in poll(2) for all (the
//! leader/followers pattern).
//!
//! poll(2) wakes everybody who sleeps on a descriptor. So of the threads of one process only one sleeps there: it
//! *leads*. The others *follow*: they sleep in futex(2) on a word of the process's own memory until the lead is free.
//! Whoever gets the lead looks at the pipe before it sleeps, and keeps the lead until its call has what it waits for
//! or ends. One message thus wakes one thread, and that one wakes the next as it goes.
//!
//! # Why nobody is forgotten
//!
//! - *What a follower waits for, the leader sees.* All who wait at one side are owed a ring for the same thing
//!   (`wait::event`), and poll(2) shows the hang-up as well. A sleeper that waits for anything else, or that keeps the
//!   side lock, polls alone.
//! - *The lead is a lock with a mark.* A follower sets `FOLLOWED` beside the leader and sleeps only while both are
//!   there. A leader that goes leaves the mark and wakes one. The mark goes only after a wake that found nobody, and
//!   then everybody is woken once more. A follower that was asleep takes a free lead whatever ended its sleep, so the
//!   wake-up of one whose time is over goes on to the next.
//! - *The lead is never kept while its owner waits for anything but the side lock*, or for what the followers wait for.
//! - *Processes share no lead.* SIGKILL and SIGSTOP strike all threads of a process at once, so a leader is neither
//!   dead nor stopped while a follower of its process could go on. The leaders of several processes are all in poll(2),
//!   and each message wakes all of them: what would wake one of them (a blocking recvmsg(2), `EPOLLEXCLUSIVE`) loses
//!   the wake-up with one that is killed or stopped before it has looked, and what survives that (the robust list)
//!   is a futex, which does not see the hang-up. `tests/models/poll_group.rs` has the interleavings.
//! - *A signal handler* that waits at the same side finds that its own thread leads, and polls alone.
//! - *A forked child* finds the number of its parent's generation beside the word, and begins with a free lead.
//!
//! It does not survive a leader that leaves its call by itself and takes nothing with it: a thread that is ended alone,
//! or a signal handler that never returns, keeps the lead.

use std::io;
use std::os::fd::BorrowedFd;
#[cfg(not(loom))]
use std::ptr;

use nix::poll::PollFlags;

#[cfg(not(loom))]
use crate::sync::AtomicU64;
use crate::sync::{AtomicU32, Ordering};
use crate::sys::clock::Deadline;
use crate::sys::fork::fork_generation;
use crate::sys::futex::{self, TID_MASK, WAITERS};
use crate::sys::interrupt;
use crate::sys::socket::{self, Readiness};
use crate::sys::thread::Thread;

/// Somebody sleeps, or is about to, until the lead is free.
const FOLLOWED: u32 = WAITERS;
/// The other side is gone for good: nobody leads any more, and poll(2) keeps nobody.
const DISBANDED: u32 = 0x4000_0000;

/// The threads of one process that wait at one side of one pipe.
///
/// The word guards no data, and all that is said of it is said of this one word, so every access is relaxed.
#[derive(Debug)]
pub(crate) struct PollGroup {
    /// Above, the fork generation that the rest is of (`sys::thread`). Below, the leader's thread id or 0, beside
    /// [`FOLLOWED`] and [`DISBANDED`]: a futex word.
    #[cfg(not(loom))]
    state: AtomicU64,
    /// The lower half alone, since nobody forks and the futex of the model loads its word.
    #[cfg(loom)]
    state: AtomicU32,
    /// Whether anybody leads; the other models are of threads in processes of their own.
    #[cfg(loom)]
    pub(crate) is_led: bool,
}

/// What a thread that is about to sleep is.
#[derive(Debug)]
pub(crate) enum Rank<'a> {
    Leads(Lead<'a>),
    /// Another thread leads.
    Follows,
    /// It sleeps as if it were the only thread.
    Alone,
}

/// That the calling thread sleeps for all; passes the lead on when dropped. Stays on its thread.
#[derive(Debug)]
pub(crate) struct Lead<'a> {
    poll_group: &'a PollGroup,
    /// What the word has while the lead is ours, marks apart.
    ours: u64,
    _not_send: std::marker::PhantomData<*mut ()>,
}

impl PollGroup {
    pub(crate) fn new() -> Self {
        Self {
            #[cfg(not(loom))]
            state: AtomicU64::new(0),
            #[cfg(loom)]
            state: AtomicU32::new(0),
            #[cfg(loom)]
            is_led: false,
        }
    }

    /// Takes the lead if it is free. Does not wait, so it may be called under the side lock.
    pub(crate) fn try_lead(&self) -> Rank<'_> {
        #[cfg(loom)]
        if !self.is_led {
            return Rank::Alone;
        }
        // A sleep in futex(2) could not watch what wakes one who has a hook to ask.
        if interrupt::is_asked() {
            return Rank::Alone;
        }
        let Some(us) = us() else { return Rank::Alone };
        self.try_lead_as(us, 0)
    }

    /// Takes the lead if it is free; adds `mark` to those of the word then.
    fn try_lead_as(&self, us: u64, mark: u32) -> Rank<'_> {
        loop {
            let seen = self.load();
            let word = word_of(us, seen);
            if word & DISBANDED != 0 || word & TID_MASK == us as u32 {
                return Rank::Alone;
            }
            if word & TID_MASK != 0 {
                return Rank::Follows;
            }
            let taken = us | u64::from(word | mark);
            if self.swap(seen, taken) {
                return Rank::Leads(Lead {
                    poll_group: self,
                    ours: us,
                    _not_send: std::marker::PhantomData,
                });
            }
        }
    }

    /// Sleeps while another thread leads, until `deadline`; a signal ends it as well. The caller has let go of the
    /// side lock, and looks at the pipe again, with the lead or without.
    /// Where futex(2) is refused everybody sleeps alone from then on.
    pub(crate) fn follow(&self, deadline: Deadline) -> Option<Lead<'_>> {
        let us = us()?;
        let seen = self.load();
        let word = word_of(us, seen);
        let marked = word | FOLLOWED;
        if word & TID_MASK == 0 || word & DISBANDED != 0 {
            return None;
        }
        if word != marked && !self.swap(seen, generation_of(us) | u64::from(marked)) {
            return None;
        }
        if futex::wait(self.word(), marked, deadline).is_err() {
            self.end_all_leading(us);
        }
        // Also for one whose time is over: the wake-up may have been meant for it.
        match self.try_lead_as(us, FOLLOWED) {
            Rank::Leads(lead) => Some(lead),
            _ => None,
        }
    }

    /// Sleeps in poll(2) as [`socket::wait`], or until the lead is there, which shows nothing of `fd`; `lead` is
    /// kept from one sleep of a call to the next.
    ///
    /// # Errors
    ///
    /// The errors of [`socket::wait`].
    pub(crate) fn wait<'a>(
        &'a self,
        lead: &mut Option<Lead<'a>>,
        fd: BorrowedFd<'_>,
        events: PollFlags,
        also: Option<BorrowedFd<'_>>,
        deadline: Deadline,
    ) -> io::Result<Readiness> {
        if lead.is_none() && also.is_none() {
            match self.try_lead() {
                Rank::Leads(free) => *lead = Some(free),
                Rank::Follows => {
                    *lead = self.follow(deadline);
                    return Ok(Readiness {
                        ready: false,
                        hung_up: false,
                    });
                }
                Rank::Alone => {}
            }
        }
        let found = socket::wait(fd, events, also, deadline)?;
        if found.hung_up {
            self.disband(lead);
        }
        Ok(found)
    }

    /// Wakes everybody, and lets nobody lead any more, after `lead` has seen the hang-up.
    pub(crate) fn disband(&self, lead: &mut Option<Lead<'_>>) {
        if let Some(Lead { ours, .. }) = lead {
            self.end_all_leading(*ours);
            *lead = None;
        }
    }

    fn end_all_leading(&self, us: u64) {
        let ended = generation_of(us) | u64::from(DISBANDED);
        loop {
            let seen = self.load();
            if seen == ended {
                return;
            }
            if self.swap(seen, ended) {
                futex::wake(self.word(), i32::MAX);
                return;
            }
        }
    }

    fn pass_on(&self, ours: u64) {
        loop {
            let seen = self.load();
            // Another's in a forked child that came to be within the call.
            if seen & !u64::from(FOLLOWED | DISBANDED) != ours {
                return;
            }
            let freed = seen & !u64::from(TID_MASK);
            if !self.swap(seen, freed) {
                continue;
            }
            let is_followed = freed as u32 & FOLLOWED != 0;
            if is_followed && futex::wake(self.word(), 1) == 0 {
                self.unmark(freed);
            }
            return;
        }
    }

    fn unmark(&self, freed: u64) {
        if self.swap(freed, freed & !u64::from(FOLLOWED)) {
            // Since the wake others may have led and gone, and somebody may sleep whose mark this was. Whoever marks
            // the word from now on finds no leader and does not sleep.
            futex::wake(self.word(), i32::MAX);
        }
    }

    fn load(&self) -> u64 {
        #[cfg(not(loom))]
        let seen = self.state.load(Ordering::Relaxed);
        #[cfg(loom)]
        let seen = 1 << 32 | u64::from(self.state.load(Ordering::Relaxed));
        seen
    }

    fn swap(&self, seen: u64, wanted: u64) -> bool {
        #[cfg(loom)]
        let (seen, wanted) = (seen as u32, wanted as u32);
        self.state
            .compare_exchange(seen, wanted, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// The half of the state that the kernel compares; for its address.
    #[cfg(not(loom))]
    fn word(&self) -> &AtomicU32 {
        const { assert!(cfg!(target_endian = "little")) };
        let half = ptr::from_ref(&self.state).cast::<AtomicU32>();
        // SAFETY: aligned and within a live word; nobody reads or writes through it in this process.
        unsafe { &*half }
    }

    #[cfg(loom)]
    fn word(&self) -> &AtomicU32 {
        &self.state
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.poll_group.pass_on(self.ours);
    }
}

/// The calling thread as the state has it; `None` where it cannot be found out.
fn us() -> Option<u64> {
    let thread = Thread::current().ok()?;
    let generation = fork_generation().ok()?;
    Some(u64::from(generation) << 32 | u64::from(thread.id()))
}

fn generation_of(us: u64) -> u64 {
    us & !u64::from(u32::MAX)
}

/// What the state means to one of our generation: what a parent has left means nothing.
fn word_of(us: u64, seen: u64) -> u32 {
    if seen >> 32 == us >> 32 {
        seen as u32
    } else {
        0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    fn lead(poll_group: &PollGroup) -> Lead<'_> {
        loop {
            match poll_group.try_lead() {
                Rank::Leads(lead) => return lead,
                Rank::Follows => {
                    if let Some(lead) = poll_group.follow(Deadline::NEVER) {
                        return lead;
                    }
                }
                Rank::Alone => panic!("nobody else is to sleep alone"),
            }
        }
    }

    #[test]
    fn one_thread_leads_at_a_time_and_each_gets_its_turn() {
        let (poll_group, inside) = (PollGroup::new(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let lead = lead(&poll_group);
                        assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                        std::thread::yield_now();
                        inside.store(0, Ordering::Relaxed);
                        drop(lead);
                    }
                });
            }
        });
        assert!(matches!(poll_group.try_lead(), Rank::Leads(_)));
    }

    #[test]
    fn followers_that_give_up_again_and_again_keep_nobody_from_the_lead() {
        let poll_group = PollGroup::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| drop(lead(&poll_group))));
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let soon = Deadline::after(Duration::from_micros(20));
                        if let Rank::Follows = poll_group.try_lead() {
                            drop(poll_group.follow(soon));
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn a_follower_keeps_its_time() {
        let poll_group = PollGroup::new();
        let _lead = lead(&poll_group);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(matches!(poll_group.try_lead(), Rank::Follows));
                let deadline = Deadline::after(Duration::from_millis(5));
                assert!(poll_group.follow(deadline).is_none());
                assert!(deadline.passed());
            });
        });
    }

    #[test]
    fn a_thread_that_leads_already_sleeps_alone() {
        let poll_group = PollGroup::new();
        let _lead = lead(&poll_group);
        assert!(matches!(poll_group.try_lead(), Rank::Alone));
    }

    #[test]
    fn nobody_follows_once_the_end_was_seen() {
        let poll_group = PollGroup::new();
        let mut lead = Some(lead(&poll_group));
        std::thread::scope(|scope| {
            let follower = scope.spawn(|| poll_group.follow(Deadline::NEVER).is_none());
            poll_group.disband(&mut lead);
            assert!(follower.join().unwrap());
        });
        assert!(lead.is_none() && matches!(poll_group.try_lead(), Rank::Alone));
    }

    #[test]
    fn what_a_parent_has_left_is_a_free_lead() {
        let poll_group = PollGroup::new();
        let parents = us().unwrap() ^ (1 << 32);
        for left in [
            parents,
            parents ^ 1,
            parents | u64::from(DISBANDED | FOLLOWED),
        ] {
            poll_group.state.store(left, Ordering::Relaxed);
            assert!(poll_group.follow(Deadline::NEVER).is_none());
            assert!(matches!(poll_group.try_lead(), Rank::Leads(_)));
        }
    }
}
