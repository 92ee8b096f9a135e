//! How long to look before sleeping: as long as it has paid lately, and not at all on one CPU.

use std::time::Duration;

use crate::sync::spin_hint;
use crate::sys::clock::Deadline;
use crate::sys::cpus;

/// Longest spin; a sleeping peer costs tens of microseconds to wake across CPUs.
const LONGEST: Duration = Duration::from_micros(50);
/// Shortest spin that is tried again and again, so that a pair that became busy is found out.
const SHORTEST: Duration = Duration::from_micros(1);
/// Looks between two looks at the clock.
const LOOKS_AT_ONCE: u32 = 32;

/// The spin budget of one end.
#[derive(Debug)]
pub(crate) struct Spinner {
    budget: Duration,
}

impl Spinner {
    pub(crate) fn new() -> Self {
        Self { budget: LONGEST }
    }

    /// Looks until `ready` or until the budget or `deadline` is used up; tells whether it was ready.
    #[inline]
    pub(crate) fn spin(&mut self, deadline: Deadline, ready: impl Fn() -> bool) -> bool {
        if looks(&ready) {
            return true;
        }
        let end = deadline.at_most(self.budget);
        if !cpus::peer_can_run_beside_us() {
            return false;
        }
        loop {
            if looks(&ready) {
                self.budget = (self.budget * 2).min(LONGEST);
                return true;
            }
            if end.passed() {
                self.budget = (self.budget / 2).max(SHORTEST);
                return false;
            }
        }
    }
}

fn looks(ready: impl Fn() -> bool) -> bool {
    (0..LOOKS_AT_ONCE).any(|_| {
        let found = ready();
        if !found {
            spin_hint();
        }
        found
    })
}
