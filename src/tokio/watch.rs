//! One end's descriptor in tokio's reactor, and trying again when it becomes ready.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use nix::poll::PollFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::coop::poll_proceed;

use super::pause::Pause;
use crate::sys::clock::Deadline;
use crate::sys::socket;

/// Tries in a row that were in vain although the descriptor was ready, from which on there are pauses in between.
const AT_ONCE: u32 = 64;

/// A watched descriptor. It is a copy: an epoll instance takes the one that all handles of a process share only
/// once.
#[derive(Debug)]
pub(super) struct Watch {
    fd: AsyncFd<OwnedFd>,
    /// Tries in a row that were in vain although the descriptor was ready, up to [`AT_ONCE`].
    in_vain: u32,
    /// Between such tries from then on.
    pause: Option<Pause>,
}

impl Watch {
    pub(super) fn new(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let fd = fd.try_clone_to_owned()?;
        // SAFETY: an `OwnedFd` that goes in here stays open and the same until the registration is gone.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Self {
            fd,
            in_vain: 0,
            pause: None,
        })
    }

    /// Tries, and tries again whenever the descriptor has become ready.
    ///
    /// The reactor is told of changes and not of states, and what makes a change for nobody is another holder of
    /// the end that leaves something behind. So before this goes to sleep it asks for the state, and where that is
    /// "ready" although the try was in vain it only lets other tasks go first: another holder is inside the end at
    /// this moment. One that stays there, as with a message that it was lent in place, is looked after by and by.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut() -> Option<T>,
    ) -> Poll<io::Result<T>> {
        // A pipe that is never empty must not keep the other tasks from running.
        let budget = ready!(poll_proceed(cx));
        if let Some(done) = attempt() {
            budget.made_progress();
            self.go_on();
            return Poll::Ready(Ok(done));
        }
        loop {
            let mut guard = ready!(self.fd.poll_read_ready(cx))?;
            if let Some(done) = attempt() {
                drop(guard);
                budget.made_progress();
                self.go_on();
                return Poll::Ready(Ok(done));
            }
            let now = Deadline::after(std::time::Duration::ZERO);
            let fd = self.fd.get_ref().as_fd();
            let state = socket::wait(fd, PollFlags::POLLIN, None, now)?;
            if state.ready || state.hung_up {
                drop(guard);
                if !self.pauses(cx) {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            guard.clear_ready();
            self.go_on();
        }
    }

    /// Nobody keeps this end from what is there.
    fn go_on(&mut self) {
        self.in_vain = 0;
        self.pause = None;
    }

    /// After a try in vain: whether the task is woken after a pause.
    fn pauses(&mut self, cx: &mut Context<'_>) -> bool {
        if self.in_vain < AT_ONCE {
            self.in_vain += 1;
            return false;
        }
        if self.pause.is_none() {
            self.pause = Pause::new();
        }
        self.pause.as_mut().is_some_and(|pause| pause.poll(cx))
    }
}
