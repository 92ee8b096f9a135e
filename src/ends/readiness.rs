//! Descriptors by which poll(2), epoll(7) and event loops see whether an end is ready.
//!
//! How they are kept right is in `backend::shm::readiness` and `backend::kernel::readiness`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::ends::receiver::Flavor as RxFlavor;
use crate::ends::sender::Flavor as TxFlavor;
use crate::{Connection, Receiver, Sender};

/// For watching only: never read from it, write to it or close it.
///
/// The descriptor is *readable* (`POLLIN`, `EPOLLIN`) while there is something to receive: a message is there, or the
/// pipe is at its end. The exceptions are below. It is level-triggered and costs no descriptor. It is the same for all
/// handles of this process to this end, so an epoll instance takes it once. It shows the pipe and not this handle. What
/// a [`Read`](io::Read) has taken and not yet handed out does not count, so read until a read would block.
///
/// The first call changes the mode of the receiving side, for all its holders in every process and for good. From then
/// on a receive that empties the pipe makes a few system calls, and the send after it two. Before it nothing is paid.
///
/// In these cases it is ready although [`try_recv`](Receiver::try_recv) then returns `Empty`:
///
/// - For a moment, when a receive has overtaken the last step of the send, or on a kernel pipe when what a killed process
///   left is passed over. That call puts it right, so nobody is woken for it twice.
/// - For each fragment of a message that does not fit the pipe. `try_recv` takes what is there, and returns `Empty`
///   until the last fragment has come.
/// - While another process is receiving such a message, or has a message in place.
/// - On a kernel pipe, whose own readiness is shown, while a message that fits it is not whole yet.
///
/// In these cases it is not ready although there is something:
///
/// - A sender was killed after its message had become visible and before it woke anybody. The next send wakes, and so
///   does the end of the pipe.
/// - A sender died inside a message in fragments while others live. `Aborted` then shows with the next send.
///
/// With `EPOLLET` there is an event for each time the pipe becomes non-empty. Call `try_recv` until it returns `Empty` or
/// an error, and share the end with nobody: an event that another holder leaves half used is not repeated.
/// Level-triggered watching has no such rule.
///
/// # Examples
///
/// ```
/// use std::os::fd::AsFd;
/// use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
///
/// let (mut rx, mut tx) = shmpipe::pipe()?;
/// let is_ready = |rx: &shmpipe::Receiver| -> nix::Result<bool> {
///     let mut watched = [PollFd::new(rx.as_fd(), PollFlags::POLLIN)];
///     Ok(poll(&mut watched, PollTimeout::ZERO)? > 0)
/// };
/// assert!(!is_ready(&rx)?);
/// tx.send(b"here")?;
/// assert!(is_ready(&rx)?);
/// rx.recv()?;
/// assert!(!is_ready(&rx)?);
/// drop(tx);
/// assert!(is_ready(&rx)?, "at its end");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.flavor {
            RxFlavor::SharedMemory(rx) => rx.readiness_fd(),
            RxFlavor::Kernel(rx) => rx.readiness_fd(),
        }
    }
}

/// # For an event loop
impl Sender {
    /// The descriptor that is *readable* (`POLLIN`) while a [`send`](Sender::send) of a short message would not block:
    /// there is room for it, or no receiver is left. For watching only.
    ///
    /// Short is up to 8 bytes less than an eighth of the capacity and at most 256 KiB; on a kernel pipe up to 4080
    /// bytes. A longer one may still find the pipe [`Full`](crate::TrySendError::Full), and so does any while
    /// another holder is in the middle of a long one. Where pages are larger than 4096 bytes, a kernel pipe may have a
    /// little more room than is shown.
    ///
    /// Otherwise as for a [`Receiver`]: level-triggered, one for all handles of this process, and the first call
    /// puts the sending side into a mode in which sends that fill the pipe make a few system calls. On a kernel
    /// pipe the first call makes a descriptor, an epoll(7) instance, one for all handles of this process.
    ///
    /// # Errors
    ///
    /// On a kernel pipe where that descriptor cannot be made, `EMFILE` above all. Never in shared memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    ///
    /// let (rx, mut tx) = shmpipe::pipe()?;
    /// while tx.try_send(&[7; 1000]).is_ok() {}
    /// let mut watched = [PollFd::new(tx.readiness()?, PollFlags::POLLIN)];
    /// assert_eq!(poll(&mut watched, PollTimeout::ZERO)?, 0, "it is full");
    /// drop(rx);
    /// assert_eq!(poll(&mut watched, PollTimeout::ZERO)?, 1, "it is broken");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn readiness(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.flavor {
            TxFlavor::SharedMemory(tx) => Ok(tx.readiness_fd()),
            TxFlavor::Kernel(tx) => tx.readiness_fd(),
        }
    }

    /// As [`readiness`](Self::readiness), by a descriptor that does not hold the side.
    #[cfg(feature = "tokio")]
    pub(crate) fn watch_fd(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.flavor {
            TxFlavor::SharedMemory(tx) => tx.watch_fd(),
            TxFlavor::Kernel(tx) => {
                tx.check_open()?;
                tx.readiness_fd()
            }
        }
    }

    /// The longest message for which there is room when the descriptor says so.
    #[cfg_attr(
        not(feature = "tokio"),
        allow(dead_code, reason = "for the async ends")
    )]
    pub(crate) fn ready_len(&self) -> usize {
        match &self.flavor {
            TxFlavor::SharedMemory(tx) => tx.ready_len(),
            TxFlavor::Kernel(tx) => tx.ready_len(),
        }
    }
}

/// The descriptor of [`readiness`](Sender::readiness). Where that fails, this is a descriptor that is always ready for
/// poll(2), so that nobody waits in vain, and that epoll_ctl(2) refuses.
impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.readiness().unwrap_or_else(|_| match &self.flavor {
            TxFlavor::SharedMemory(tx) => tx.readiness_fd(),
            TxFlavor::Kernel(tx) => tx.always_ready_fd(),
        })
    }
}

/// That of its [receiver](Receiver#impl-AsFd-for-Receiver): readable while there is something to receive. To watch for
/// room, [`split`](Connection::split) first.
impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

#[cfg(feature = "tokio")]
impl Receiver {
    /// As `as_fd`, by a descriptor that does not hold the side.
    pub(crate) fn watch_fd(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.flavor {
            RxFlavor::SharedMemory(rx) => rx.watch_fd(),
            RxFlavor::Kernel(rx) => rx.watch_fd(),
        }
    }
}
