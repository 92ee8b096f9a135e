//! Deadlines on `CLOCK_MONOTONIC`, and a cheap look at the time.
//!
//! Deadlines are absolute, so an interrupted wait goes on for what is left and no longer.

use std::time::Duration;

/// A point on `CLOCK_MONOTONIC`, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline(Option<Duration>);

impl Deadline {
    /// The deadline that does not come.
    pub(crate) const NEVER: Self = Self(None);

    /// `timeout` from now; a time past the clock's range never comes.
    pub(crate) fn after(timeout: Duration) -> Self {
        Self(now().checked_add(timeout))
    }

    /// What is left, zero when past; `None` for never.
    pub(crate) fn remaining(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_sub(now()))
    }

    /// Whether the point has been reached.
    pub(crate) fn passed(self) -> bool {
        self.0.is_some_and(|at| at <= now())
    }

    /// Whether the point had been reached at a time of [`now`].
    pub(crate) fn passed_at(self, time: Duration) -> bool {
        self.0.is_some_and(|at| at <= time)
    }

    /// The earlier of this deadline and `timeout` from now.
    pub(crate) fn at_most(self, timeout: Duration) -> Self {
        self.at_most_from(now(), timeout)
    }

    /// The earlier of this deadline and `timeout` from a time of [`now`]; a time past the clock's range never comes.
    pub(crate) fn at_most_from(self, time: Duration, timeout: Duration) -> Self {
        let bound = time.checked_add(timeout);
        Self(match (self.0, bound) {
            (Some(at), Some(bound)) => Some(at.min(bound)),
            (at, bound) => at.or(bound),
        })
    }

    /// The absolute time for `FUTEX_WAIT_BITSET`; `None` for never.
    pub(crate) fn as_timespec(self) -> Option<libc::timespec> {
        self.0.map(to_timespec)
    }
}

/// How long a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeout {
    /// Not at all: the `try_` calls.
    Never,
    /// Until the deadline, which may be never.
    Until(Deadline),
    /// Likewise, without asking the interrupt hook: for what is put in order on the way out.
    Unasked(Deadline),
}

/// How long an end that is closed waits for the lock.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);

impl Timeout {
    /// Blocks for as long as it takes.
    pub(crate) const FOREVER: Self = Self::Until(Deadline::NEVER);

    /// For an end that is closed or dropped, and needs the lock to give up what it has.
    pub(crate) fn closing() -> Self {
        Self::Unasked(Deadline::after(CLOSE_TIMEOUT))
    }

    /// The deadline of a wait; one that has passed for a call that may not wait.
    #[inline]
    pub(crate) fn deadline(self) -> Deadline {
        match self {
            Self::Never => Deadline(Some(Duration::ZERO)),
            Self::Until(deadline) | Self::Unasked(deadline) => deadline,
        }
    }

    /// Whether the time-out has passed.
    pub(crate) fn is_over(self) -> bool {
        match self {
            Self::Never => true,
            Self::Until(deadline) | Self::Unasked(deadline) => deadline.passed(),
        }
    }
}

/// Converts a span or a point of the monotonic clock; seconds past `time_t` are clamped.
pub(crate) fn to_timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

#[cfg(not(loom))]
fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a live timespec; clock_gettime writes nothing else.
    let outcome = unsafe { libc::clock_gettime(clock, &raw mut time) };
    debug_assert_eq!(outcome, 0, "both clocks exist since Linux 2.6.32");
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// `CLOCK_MONOTONIC` (clock_gettime(2)); about 22 ns by the vDSO.
#[cfg(not(loom))]
pub(crate) fn now() -> Duration {
    read(libc::CLOCK_MONOTONIC)
}
#[cfg(loom)]
pub(crate) use super::kernel::{now, ticks};

/// About 20 to 50 µs of [`ticks`] on processors of 5 to 2 GHz.
pub(crate) const FRESH_TICKS: u64 = if cfg!(target_arch = "x86_64") {
    100_000
} else {
    50_000
};

/// A clock for telling whether some microseconds have passed: the time-stamp counter on x86_64, in its
/// own unit, else nanoseconds.
#[cfg(not(loom))]
#[inline]
pub(crate) fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86_64 processor has the instruction, and Linux leaves it to user space unless a
    // process asked to be killed by it (prctl(2), PR_SET_TSC).
    let ticks = unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    let ticks = u64::try_from(now().as_nanos()).unwrap_or(0);
    ticks
}
