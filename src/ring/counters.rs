//! Counters for observers: how much has gone through each side, and how it waited.
//!
//! Nothing here decides anything: what a liar writes into a counter misleads those who look, and nobody else.
//! A side's own holders write, so no line goes to and fro for the sake of counting, and nobody reads them in a
//! call but to add to them. Most are written under the side's lock by a load and a store; a holder that dies
//! between what it did and its counting leaves the count one short.
//!
//! The model checker has no part in this: the counters order nothing.

use std::time::Duration;

use crate::segment::layout::{Counters, Totals};
use crate::sync::{AtomicU64, Ordering};

/// Adds to a counter that nobody else writes just now.
#[inline(always)]
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(amount),
        Ordering::Relaxed,
    );
}

impl Totals {
    /// Counts what has just gone through. Under the side's lock, behind what it counts.
    #[inline(always)]
    pub(crate) fn count(&self, messages: u64, bytes: usize) {
        if cfg!(loom) {
            return;
        }
        add(&self.messages, messages);
        add(&self.bytes, bytes as u64);
    }
}

impl Counters {
    /// Notes a message's length if it is the largest. Not under the lock, and rarely: an end asks only for
    /// what is longer than all that it has noted before.
    pub(crate) fn note_length(&self, len: usize) {
        if cfg!(loom) {
            return;
        }
        let mut seen = self.largest.load(Ordering::Relaxed);
        while (len as u64) > seen {
            match self.largest.compare_exchange(
                seen,
                len as u64,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(other) => seen = other,
            }
        }
    }

    /// Notes how full the ring is where that is known anyway. Under the side's lock.
    pub(crate) fn note_fill(&self, bytes: u64) {
        if !cfg!(loom) && bytes > self.high_water.load(Ordering::Relaxed) {
            self.high_water.store(bytes, Ordering::Relaxed);
        }
    }

    /// Counts a message that was begun and never became whole. Rare, so it needs no lock.
    #[cold]
    pub(crate) fn count_aborted(&self) {
        if !cfg!(loom) {
            self.aborted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that the side is at work, where the clock was asked anyway. Needs no lock: of two that come
    /// together either will do.
    pub(crate) fn note_activity(&self, now: Duration) {
        if !cfg!(loom) {
            self.activity.store(nanoseconds(now), Ordering::Relaxed);
        }
    }

    /// Notes that a holder is about to sleep. Under the side's lock.
    pub(crate) fn note_asleep(&self, since: Duration) {
        self.since.store(nanoseconds(since), Ordering::Relaxed);
    }

    /// Adds a wait that has come to its end, or to a look in between. Under the side's lock.
    pub(crate) fn add_wait(&self, spins: u64, sleeps: u64, blocked: Duration) {
        add(&self.spins, spins);
        add(&self.sleeps, sleeps);
        add(&self.blocked, nanoseconds(blocked));
    }

    /// Nobody sleeps any more, unless somebody else has begun to since. Needs no lock: one swap finds that out.
    pub(crate) fn note_awake(&self, since: Duration) {
        let _ = self.since.compare_exchange(
            nanoseconds(since),
            0,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
}

/// A time or a span as it stands in shared memory.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_largest_length_and_the_fullest_moment_stay() {
        let counters = Counters::default();
        for len in [3, 9, 4] {
            counters.note_length(len);
            counters.note_fill(10 * len as u64);
        }
        assert_eq!(counters.largest.load(Ordering::Relaxed), 9);
        assert_eq!(counters.high_water.load(Ordering::Relaxed), 90);
    }

    #[test]
    fn one_who_wakes_does_not_hide_another_who_fell_asleep_later() {
        let counters = Counters::default();
        let (one, other) = (Duration::from_secs(1), Duration::from_secs(2));
        counters.note_asleep(one);
        counters.note_asleep(other);
        counters.note_awake(one);
        assert_eq!(counters.since.load(Ordering::Relaxed), 2_000_000_000);
        counters.note_awake(other);
        assert_eq!(counters.since.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn counters_wrap_round_and_do_not_panic() {
        let totals = Totals::default();
        totals.bytes.store(u64::MAX, Ordering::Relaxed);
        totals.count(1, 3);
        assert_eq!(totals.bytes.load(Ordering::Relaxed), 2);
        assert_eq!(totals.messages.load(Ordering::Relaxed), 1);
    }
}
