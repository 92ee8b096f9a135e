//! The log of one call's waits, until they are added to the counters for observers.
//!
//! It asks the clock only around a sleep. A spin's time is what the spin's own looks at the clock saw.

use std::time::Duration;

use crate::segment::layout::{Counters, Event};
use crate::sys::clock;

/// The waits of one call since it last had the lock.
#[derive(Debug, Default)]
pub(crate) struct WaitLog {
    spins: u64,
    sleeps: u64,
    blocked: Duration,
    /// When the sleep began that is not in the counters yet.
    since: Option<Duration>,
}

impl WaitLog {
    /// Counts a spin that has come to its end, of so long as was seen.
    pub(crate) fn spun(&mut self, seen: Duration) {
        self.spins += 1;
        self.blocked += seen;
    }

    /// Before a sleep, under the lock: others can see from now on that somebody waits.
    pub(crate) fn fall_asleep(&mut self, counters: &Counters) {
        if cfg!(loom) {
            return;
        }
        let now = clock::now();
        self.since = Some(now);
        self.sleeps += 1;
        counters.note_asleep(now);
    }

    /// How long the sleep under way had to last, by when it was rung for: what waking took is not in it. `None` where
    /// nobody has rung.
    pub(crate) fn waited(&self, event: &Event) -> Option<Duration> {
        event.rung_after(self.since?)
    }

    /// For a call that ends in its sleep, without the lock: nobody sees it asleep any more, and what it has waited is
    /// not counted.
    #[cold]
    pub(crate) fn break_off(&mut self, counters: &Counters) {
        if let Some(since) = self.since.take() {
            counters.note_awake(since);
        }
    }

    /// Adds the waits to the counters, under the lock. Returns whether any of them was a sleep.
    #[inline]
    pub(crate) fn settle(&mut self, counters: &Counters) -> bool {
        if cfg!(loom) || self.spins + self.sleeps == 0 {
            return false;
        }
        self.write_down(counters)
    }

    #[cold]
    fn write_down(&mut self, counters: &Counters) -> bool {
        let Self {
            spins,
            sleeps,
            mut blocked,
            since,
        } = std::mem::take(self);
        if let Some(since) = since {
            let now = clock::now();
            blocked += now.saturating_sub(since);
            counters.note_awake(since);
            counters.note_activity(now);
        }
        counters.add_wait(spins, sleeps, blocked);
        since.is_some()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::Ordering;

    #[test]
    fn a_sleep_is_seen_while_it_lasts_and_counted_when_it_ends() {
        let (mut wait_log, counters) = (WaitLog::default(), Counters::default());
        wait_log.fall_asleep(&counters);
        let since = counters.since.load(Ordering::Relaxed);
        assert_ne!(since, 0);
        assert!(wait_log.settle(&counters));
        assert_eq!(counters.since.load(Ordering::Relaxed), 0);
        assert_eq!(counters.sleeps.load(Ordering::Relaxed), 1);
        assert!(counters.activity.load(Ordering::Relaxed) >= since);
        assert!(!wait_log.settle(&counters), "it was written down once");
        assert_eq!(counters.sleeps.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_sleep_that_is_broken_off_is_seen_no_more() {
        let (mut wait_log, counters) = (WaitLog::default(), Counters::default());
        wait_log.fall_asleep(&counters);
        wait_log.break_off(&counters);
        assert_eq!(counters.since.load(Ordering::Relaxed), 0);
        // Somebody else's stays.
        wait_log.fall_asleep(&counters);
        counters.since.store(1, Ordering::Relaxed);
        wait_log.break_off(&counters);
        assert_eq!(counters.since.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn spins_add_what_was_seen_of_them_and_are_no_sleep() {
        let (mut wait_log, counters) = (WaitLog::default(), Counters::default());
        wait_log.spun(Duration::from_nanos(40));
        wait_log.spun(Duration::from_nanos(2));
        assert!(!wait_log.settle(&counters));
        assert_eq!(counters.spins.load(Ordering::Relaxed), 2);
        assert_eq!(counters.blocked.load(Ordering::Relaxed), 42);
    }
}
