//! The clocks and counters of a slice: time, CPU time of a thread, context switches.
//!
//! It keeps no totals.

use std::io;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

use crate::counter;

/// Nanoseconds since the machine started, the same in all processes.
#[inline]
pub fn now() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("every Linux has this clock");
    Duration::from(time).as_nanos() as u64
}

/// Sleeps until [`now`] is `nanos`.
pub fn sleep_until(nanos: u64) {
    let time = Duration::from_nanos(nanos).into();
    // An interruption only ends the sleep early; every caller looks at the clock again.
    let _ = clock_nanosleep(
        ClockId::CLOCK_MONOTONIC,
        ClockNanosleepFlags::TIMER_ABSTIME,
        &time,
    );
}

/// Lets sleeps of this thread end when they are due, not up to 50 µs later as by default.
///
/// # Errors
///
/// What prctl(2) reports.
pub fn sleep_exactly() -> io::Result<()> {
    Ok(nix::sys::prctl::set_timerslack(1)?)
}

/// How long each side warms up, in nanoseconds.
pub const WARM_UP_NANOS: u64 = 3_000_000;

/// Says when a time is over, with a look at the clock once in a stride.
pub struct Until {
    end: u64,
    stride: u64,
    left: u64,
}

impl Until {
    /// A time that begins now.
    pub fn from_now(nanos: u64, stride: u64) -> Self {
        Self {
            end: now() + nanos,
            stride,
            left: stride,
        }
    }

    /// Whether it is over, as far as was looked.
    #[inline]
    pub fn is_over(&mut self) -> bool {
        self.left -= 1;
        if self.left > 0 {
            return false;
        }
        self.left = self.stride;
        now() >= self.end
    }
}

/// What a thread has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in nanoseconds.
    pub cpu_nanos: u64,
    /// Times it gave up the CPU to wait.
    pub voluntary: u64,
    /// Times the CPU was taken from it.
    pub involuntary: u64,
    /// Syscalls, where they are counted (`counter`).
    pub syscalls: u64,
}

impl Usage {
    /// What the calling thread has used so far.
    ///
    /// # Errors
    ///
    /// What getrusage(2) and the counter of syscalls report.
    ///
    /// Both sides ask for it just before and just behind the measured part: `syscalls` knows by this call,
    /// getrusage(2), where that part begins and ends, and `counter` how many syscalls a look itself has.
    pub fn now() -> io::Result<Self> {
        let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
        Ok(Self {
            // The same account as in getrusage(2), which rounds it.
            cpu_nanos: read(ClockId::CLOCK_THREAD_CPUTIME_ID),
            voluntary: usage.voluntary_context_switches() as u64,
            involuntary: usage.involuntary_context_switches() as u64,
            syscalls: counter::read()?,
        })
    }

    /// What was used since `start`.
    pub fn since(self, start: Self) -> Self {
        Self {
            cpu_nanos: self.cpu_nanos - start.cpu_nanos,
            voluntary: self.voluntary - start.voluntary,
            involuntary: self.involuntary - start.involuntary,
            syscalls: counter::between(start.syscalls, self.syscalls),
        }
    }
}
