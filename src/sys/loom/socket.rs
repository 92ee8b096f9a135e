//! Stands in for `sys::socket` under the model checker: the descriptors are real, and stand for queues
//! of tokens. Nobody hangs up.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::poll::PollFlags;

use super::clock::Deadline;
use super::kernel::{self, Queue};

pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (left, right) = nix::unistd::pipe()?;
    kernel::connect(left.as_raw_fd(), right.as_raw_fd());
    Ok((left, right))
}

pub(crate) fn unconnected() -> io::Result<OwnedFd> {
    Ok(nix::unistd::pipe()?.0)
}

pub(crate) fn cookie(_socket: BorrowedFd<'_>) -> u64 {
    0
}

pub(crate) fn refuse_descriptors(_socket: BorrowedFd<'_>) {}

pub(crate) fn is_life_line(_socket: BorrowedFd<'_>) -> bool {
    true
}

pub(crate) fn carries_tokens(from: BorrowedFd<'_>, _to: BorrowedFd<'_>) -> io::Result<()> {
    send_token(from, 0).map(drop)
}

pub(crate) fn send_token(socket: BorrowedFd<'_>, token: u32) -> io::Result<bool> {
    queue_of(kernel::peer_of(socket.as_raw_fd())).push(token);
    Ok(true)
}

pub(crate) fn peek_token(socket: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    Ok(queue_of(socket.as_raw_fd()).token(false))
}

pub(crate) fn drop_token(socket: BorrowedFd<'_>) -> io::Result<()> {
    queue_of(socket.as_raw_fd()).token(true);
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    pub(crate) hung_up: bool,
}

pub(crate) fn wait(
    socket: BorrowedFd<'_>,
    _events: PollFlags,
    _also: Option<BorrowedFd<'_>>,
    deadline: Deadline,
) -> io::Result<Readiness> {
    let ready = queue_of(socket.as_raw_fd()).wait_for_token(deadline);
    Ok(Readiness {
        ready,
        hung_up: false,
    })
}

pub(crate) fn wait_many(
    fds: &[(BorrowedFd<'_>, PollFlags)],
    deadline: Deadline,
) -> io::Result<Vec<Readiness>> {
    fds.iter()
        .map(|&(fd, events)| wait(fd, events, None, deadline))
        .collect()
}

fn queue_of(socket: RawFd) -> Arc<Queue> {
    kernel::queue(socket.unsigned_abs() as usize)
}

pub(crate) fn is_hung_up(_socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(false)
}
