//! One end's descriptor in tokio's reactor, and trying again when it becomes ready.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use nix::poll::PollFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::coop::poll_proceed;

use crate::sys::clock::Deadline;
use crate::sys::socket;

/// A watched descriptor. It is a copy: an epoll instance takes the one that all handles of a process share only
/// once.
#[derive(Debug)]
pub(super) struct Watch {
    fd: AsyncFd<OwnedFd>,
}

impl Watch {
    pub(super) fn new(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let fd = fd.try_clone_to_owned()?;
        // SAFETY: an `OwnedFd` that goes in here stays open and the same until the registration is gone.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Self { fd })
    }

    /// Tries, and tries again whenever the descriptor has become ready.
    ///
    /// The reactor is told of changes and not of states, and what makes a change for nobody is another holder of
    /// the end that leaves something behind. So before this goes to sleep it asks for the state, and where that is
    /// "ready" although the try was in vain (another holder is inside the end at this moment) it only lets other
    /// tasks go first.
    pub(super) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut() -> Option<T>,
    ) -> Poll<io::Result<T>> {
        // A pipe that is never empty must not keep the other tasks from running.
        let budget = ready!(poll_proceed(cx));
        if let Some(done) = attempt() {
            budget.made_progress();
            return Poll::Ready(Ok(done));
        }
        loop {
            let mut guard = ready!(self.fd.poll_read_ready(cx))?;
            if let Some(done) = attempt() {
                budget.made_progress();
                return Poll::Ready(Ok(done));
            }
            let now = Deadline::after(std::time::Duration::ZERO);
            let fd = self.fd.get_ref().as_fd();
            let state = socket::wait(fd, PollFlags::POLLIN, None, now)?;
            if state.ready || state.hung_up {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            guard.clear_ready();
        }
    }
}
