//! Pauses of a task without a thread, and without tokio's own timers, which a runtime need not have.

use std::task::{Context, Poll};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::runtime::Handle;

use super::registered::Registered;
use crate::sys::descriptors::beyond_standard_streams;

/// The first pause; each one is twice as long as the one before.
const FIRST: Duration = Duration::from_millis(1);
/// The longest.
const LAST: Duration = Duration::from_millis(16);

/// A timerfd_create(2) in the reactor. A reactor that is shut down wakes those who wait for it.
#[derive(Debug)]
pub(super) struct Pause {
    timer: Registered<TimerFd>,
    /// Whether a pause is under way.
    is_set: bool,
    next: Duration,
}

impl Pause {
    /// `None` outside of a runtime, and where no descriptor can be had.
    pub(super) fn new() -> Option<Self> {
        Handle::try_current().ok()?;
        Some(Self {
            timer: Registered::new(timer()?, Interest::READABLE).ok()?,
            is_set: false,
            next: FIRST,
        })
    }

    /// Has the task woken at the end of a pause, which begins now unless one is under way. False where nothing will
    /// wake it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            if !self.is_set && !self.begin() {
                return false;
            }
            match self.timer.poll_read_ready(cx) {
                Poll::Pending => return true,
                Poll::Ready(Err(_)) => return false,
                Poll::Ready(Ok(mut guard)) => {
                    // Reads how often it has run out; an error where it has not.
                    if self.timer.get_ref().wait().is_ok() {
                        self.is_set = false;
                    }
                    guard.clear_ready();
                }
            }
        }
    }

    fn begin(&mut self) -> bool {
        let once = Expiration::OneShot(TimeSpec::from_duration(self.next));
        let timer = self.timer.get_ref();
        self.is_set = timer.set(once, TimerSetTimeFlags::empty()).is_ok();
        self.next = (self.next * 2).min(LAST);
        self.is_set
    }
}

/// A timer that no standard stream can be taken for.
fn timer() -> Option<TimerFd> {
    let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).ok()?;
    let timer = beyond_standard_streams(timer.into()).ok()?;
    // SAFETY: the timer's own descriptor, or a copy of it, and nothing else owns it.
    Some(unsafe { TimerFd::from_owned_fd(timer) })
}
