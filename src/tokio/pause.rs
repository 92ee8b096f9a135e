//! Pauses of a task without a thread, and without tokio's own timers, which a runtime need not have.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, RawFd};
use std::task::{Context, Poll};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

use crate::sys::descriptors::beyond_standard_streams;

/// The first pause; each one is twice as long as the one before.
const FIRST: Duration = Duration::from_millis(1);
/// The longest.
const LAST: Duration = Duration::from_millis(16);

/// A timerfd_create(2) in the reactor. A reactor that is shut down wakes those who wait for it.
#[derive(Debug)]
pub(super) struct Pause {
    timer: AsyncFd<Timer>,
    /// Whether a pause is under way.
    is_set: bool,
    next: Duration,
}

#[derive(Debug)]
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Pause {
    /// `None` outside of a runtime, and where no descriptor can be had.
    pub(super) fn new() -> Option<Self> {
        Handle::try_current().ok()?;
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).ok()?;
        let timer = beyond_standard_streams(timer.into()).ok()?;
        // SAFETY: the timer's own descriptor, or a copy of it, and nobody else's.
        let timer = unsafe { TimerFd::from_raw_fd(timer.into_raw_fd()) };
        // SAFETY: the timer's descriptor stays open and the same until the registration is gone.
        let timer =
            unsafe { AsyncFd::register_with_interest(Timer(timer), Interest::READABLE) }.ok()?;
        Some(Self {
            timer,
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
                    if self.timer.get_ref().0.wait().is_ok() {
                        self.is_set = false;
                    }
                    guard.clear_ready();
                }
            }
        }
    }

    fn begin(&mut self) -> bool {
        let once = Expiration::OneShot(TimeSpec::from_duration(self.next));
        let Timer(timer) = self.timer.get_ref();
        self.is_set = timer.set(once, TimerSetTimeFlags::empty()).is_ok();
        self.next = (self.next * 2).min(LAST);
        self.is_set
    }
}
