//! One end's descriptor in tokio's reactor, and trying again when it becomes ready.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::poll::PollFlags;
use tokio::io::Interest;
use tokio::task::coop::poll_proceed;

use super::pause::Pause;
use super::registered::Registered;
use crate::error::Fault;
use crate::sys::clock::Deadline;
use crate::sys::{descriptors, socket};

/// Tries in a row that were in vain although the descriptor was ready, from which on there are pauses in between.
const MAX_IMMEDIATE_TRIES: u32 = 64;

/// What came of a try.
pub(super) enum Step<T> {
    /// All that was to be done.
    Done(T),
    /// Some of it.
    Further,
    /// Nothing: it would block.
    InVain,
}

impl<T> Step<Result<T, Fault>> {
    /// Of a call that does all or nothing.
    pub(super) fn of(outcome: Result<T, Fault>) -> Self {
        match outcome {
            Err(Fault::NotNow | Fault::Busy) => Self::InVain,
            outcome => Self::Done(outcome),
        }
    }
}

/// A watched descriptor. It is a copy: an epoll instance takes the one that all handles of a process share only
/// once. It shows what the end shows and does not hold its side (`sys::epoll`).
#[derive(Debug)]
pub(super) struct Watch {
    fd: Registered<OwnedFd>,
    /// Tries in a row that were in vain although the descriptor was ready, up to [`MAX_IMMEDIATE_TRIES`].
    in_vain: u32,
    /// Between such tries from then on.
    pause: Option<Pause>,
}

impl Watch {
    pub(super) fn new(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self {
            fd: Registered::new(descriptors::copy(fd.as_raw_fd())?, Interest::READABLE)?,
            in_vain: 0,
            pause: None,
        })
    }

    /// As [`Registered::check_process`].
    ///
    /// # Errors
    ///
    /// The errors of [`Registered::check_process`].
    pub(super) fn check_process(&self) -> io::Result<()> {
        self.fd.check_process()
    }

    /// Tries, and tries again whenever the descriptor has become ready.
    ///
    /// The reactor sees changes and not states, and what makes a change for nobody is another holder of
    /// the end that leaves something behind. So before this goes to sleep it asks for the state, and where that is
    /// "ready" although the try was in vain it only lets other tasks go first: another holder is inside the end at
    /// this moment. One that stays there, as with a message that it was lent in place, is looked after by and by.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut() -> Step<T>,
    ) -> Poll<io::Result<T>> {
        // A pipe that is never empty must not keep the other tasks from running.
        let budget = ready!(poll_proceed(cx));
        self.check_process()?;
        match attempt() {
            Step::Done(done) => {
                budget.made_progress();
                self.go_on();
                return Poll::Ready(Ok(done));
            }
            Step::Further => self.go_on(),
            Step::InVain => {}
        }
        loop {
            let mut guard = ready!(self.fd.poll_read_ready(cx))?;
            let step = attempt();
            if let Step::Done(done) = step {
                budget.made_progress();
                self.go_on();
                return Poll::Ready(Ok(done));
            }
            let is_ready = is_ready(self.fd.as_fd(), PollFlags::POLLIN)?;
            if !is_ready {
                guard.clear_ready();
            }
            if !is_ready || matches!(step, Step::Further) {
                self.go_on();
            }
            if is_ready {
                if !self.pauses(cx) {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }
    }

    /// Nobody keeps this end from what is there.
    fn go_on(&mut self) {
        self.in_vain = 0;
        self.pause = None;
    }

    /// After a try in vain: whether the task is woken after a pause.
    fn pauses(&mut self, cx: &mut Context<'_>) -> bool {
        if self.in_vain < MAX_IMMEDIATE_TRIES {
            self.in_vain += 1;
            return false;
        }
        if self.pause.is_none() {
            self.pause = Pause::new();
        }
        self.pause.as_mut().is_some_and(|pause| pause.poll(cx))
    }
}

/// Whether poll(2) shows the descriptor as ready now, or its other side as gone.
pub(super) fn is_ready(fd: BorrowedFd<'_>, flags: PollFlags) -> io::Result<bool> {
    let now = Deadline::after(Duration::ZERO);
    let state = socket::wait(fd, flags, None, now)?;
    Ok(state.ready || state.hung_up)
}
