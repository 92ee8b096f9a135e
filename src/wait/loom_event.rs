//! The waiting protocol under the model checker: whoever sleeps hears of the change.
//!
//! The ring is one word here, the count of changes that nobody has taken yet; the event, the side lock and
//! the steps of the wait are the real ones.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use loom::thread;

use super::backoff::{Backoff, Spin};
use super::poll_group::PollGroup;
use super::sleep::{Place, Wait};
use crate::segment::layout::{Counters, Event, SideLock};
use crate::sync::{AtomicU32, Ordering};
use crate::sys::clock::{Deadline, Timeout};
use crate::sys::kernel::model;
use crate::sys::socket;

/// One side's place to sleep, and what it waits for.
struct Side {
    lock: SideLock,
    number: AtomicU32,
    event: Event,
    counters: Counters,
    /// One of each taker's process, or one for all.
    crowds: Vec<PollGroup>,
    changes: AtomicU32,
    sleepers: OwnedFd,
    ringers: OwnedFd,
}

impl Side {
    fn new(crowds: Vec<PollGroup>) -> Arc<Self> {
        let (sleepers, ringers) = socket::pair().unwrap();
        Arc::new(Self {
            lock: SideLock::default(),
            number: AtomicU32::default(),
            event: Event::default(),
            counters: Counters::default(),
            crowds,
            changes: AtomicU32::new(0),
            sleepers,
            ringers,
        })
    }

    /// Makes a change and rings, as a send does.
    fn change(&self) {
        self.changes.fetch_add(1, Ordering::Release);
        self.event.ring(self.ringers.as_fd()).unwrap();
    }

    /// Waits for a change and takes it, as a recv does.
    fn take(&self, taker: usize) {
        let place = Place {
            event: &self.event,
            number: &self.number,
            socket: self.sleepers.as_fd(),
            counters: &self.counters,
            poll_group: &self.crowds[taker % self.crowds.len()],
        };
        let mut wait = Wait::new(Deadline::NEVER);
        let mut backoff = Backoff::new(Spin::default());
        loop {
            let guard = self.lock.lock(Timeout::FOREVER).unwrap();
            let changes = self.changes.load(Ordering::Acquire);
            if changes != 0 {
                self.changes.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            let ready = || self.changes.load(Ordering::Relaxed) != 0;
            wait.step(place, Some(guard), &mut backoff, ready).unwrap();
        }
    }
}

/// Each of `takers` takes so many changes, while `changers` make so many each.
fn wait_and_change(takers: &'static [u32], changers: &'static [u32]) {
    let apart = move || takers.iter().map(|_| PollGroup::new()).collect();
    wait_and_change_in(apart, takers, changers);
}

/// The same by takers of one process.
fn wait_in_a_group_and_change(takers: &'static [u32], changers: &'static [u32]) {
    let together = || {
        let mut poll_group = PollGroup::new();
        poll_group.is_led = true;
        vec![poll_group]
    };
    wait_and_change_in(together, takers, changers);
}

fn wait_and_change_in(
    crowds: impl Fn() -> Vec<PollGroup> + Send + Sync + 'static,
    takers: &'static [u32],
    changers: &'static [u32],
) {
    model(move || {
        let side = Side::new(crowds());
        let takers = takers.iter().enumerate().map(|(taker, &count)| {
            let side = Arc::clone(&side);
            thread::spawn(move || (0..count).for_each(|_| side.take(taker)))
        });
        let mut threads: Vec<_> = takers.collect();
        let (first, others) = changers.split_first().unwrap();
        threads.extend(others.iter().map(|&count| {
            let side = Arc::clone(&side);
            thread::spawn(move || (0..count).for_each(|_| side.change()))
        }));
        (0..*first).for_each(|_| side.change());
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_sleeper_hears_of_each_change() {
    wait_and_change(&[2], &[2]);
}

#[test]
fn two_sleepers_hear_of_one_ringer() {
    wait_and_change(&[1, 1], &[2]);
}

#[test]
fn two_sleepers_hear_of_two_ringers() {
    wait_and_change(&[1, 1], &[1, 1]);
}

#[test]
fn stale_tokens_keep_nobody_from_sleeping_or_waking() {
    wait_and_change(&[3], &[1, 2]);
}

#[test]
fn two_sleepers_of_one_process_hear_of_one_ringer() {
    wait_in_a_group_and_change(&[1, 1], &[2]);
}

#[test]
fn two_sleepers_of_one_process_hear_of_two_ringers() {
    wait_in_a_group_and_change(&[1, 1], &[1, 1]);
}
