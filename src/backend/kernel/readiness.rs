//! What poll(2) shows of an end of a kernel pipe.
//!
//! A receiving end shows the pipe itself. It is as exact as the pipe is: bytes that are nobody's message (what a
//! dead sender or receiver has left) show it as ready until the next receive has passed over them.
//!
//! A sending end has room when poll(2) finds the pipe *writable*. So that both backends show the same event, an
//! epoll(7) descriptor that watches the pipe for that is what is shown; it is itself readable while it has
//! something to report. It is made when it is first asked for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::PollFlags;

use super::frame::ATOMIC_PAYLOAD;
use super::reading::Side;
use super::rx::{Rx, look};
use super::tx::Tx;
use crate::backend::{Look, Seen};
use crate::error::Fault;
use crate::ring::reassembly::Turn;
use crate::sys::clock::Timeout;

impl Rx {
    /// The descriptor to watch for being readable.
    pub(crate) fn readiness_fd(&self) -> BorrowedFd<'_> {
        self.end.pipe()
    }

    /// As [`readiness_fd`](Self::readiness_fd), by a descriptor that does not hold the side.
    ///
    /// # Errors
    ///
    /// Where it cannot be made, `EMFILE` above all.
    #[cfg(feature = "tokio")]
    pub(crate) fn watch_fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.end.closing.check()?;
        self.end.watch.of(self.end.pipe())
    }

    /// The descriptor and what to watch it for.
    pub(crate) fn descriptor(&self) -> (BorrowedFd<'_>, PollFlags) {
        (self.end.pipe(), PollFlags::POLLIN)
    }

    /// Looks without waiting whether a receive would not block.
    ///
    /// # Errors
    ///
    /// `Io` as the operating system reports it; what else a receive would report at once.
    pub(crate) fn look(&mut self, _seen: Seen) -> Result<Look, Fault> {
        self.fate.check(&self.end.closing)?;
        let side = Side::new(&self.end);
        let mut session = match side.session(Timeout::Never) {
            Err(Fault::NotNow | Fault::Busy) => return Ok(Look::Busy),
            outcome => outcome?,
        };
        match session.take_turn(|| side.is_untaken())? {
            Turn::Ours => look(side, &mut session),
            Turn::Lost => Ok(Look::Ready),
            Turn::Held(_) if side.is_hung_up_and_empty()? => Ok(Look::Ready),
            Turn::Held(_) => Ok(Look::Busy),
        }
    }
}

impl Tx {
    /// The descriptor to watch for being readable.
    ///
    /// # Errors
    ///
    /// Where it cannot be made, `EMFILE` above all.
    pub(crate) fn readiness_fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.end.watch.of(self.end.pipe())
    }

    /// # Errors
    ///
    /// Once this process has closed the side.
    #[cfg(feature = "tokio")]
    pub(crate) fn check_open(&self) -> io::Result<()> {
        self.end.closing.check()
    }

    /// A descriptor that is always ready, for want of a better one.
    pub(crate) fn always_ready_fd(&self) -> BorrowedFd<'_> {
        match self.end.page.memfd() {
            Ok(memfd) => memfd.as_fd(),
            Err(_) => self.end.pipe(),
        }
    }

    /// The descriptor and what to watch it for.
    pub(crate) fn descriptor(&self) -> (BorrowedFd<'_>, PollFlags) {
        (self.end.pipe(), PollFlags::POLLOUT)
    }

    /// The longest message for which there is room when the descriptor says so.
    pub(crate) fn ready_len(&self) -> usize {
        ATOMIC_PAYLOAD
    }

    /// Tells what poll(2) has shown: nobody knows better.
    ///
    /// # Errors
    ///
    /// What a send would report at once.
    pub(crate) fn look(&mut self, seen: Seen) -> Result<Look, Fault> {
        self.fate.check(&self.end.closing)?;
        Ok(match seen {
            Seen::Nothing => Look::NotYet,
            Seen::Ready | Seen::HungUp => Look::Ready,
        })
    }
}
