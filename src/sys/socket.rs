//! The life-line: a socket pair whose two ends are held by exactly the holders of the two sides.
//!
//! The kernel counts the holders for us, over fork, exec, dup and SCM_RIGHTS, and hangs up when the
//! last one is gone. The same socket carries the doorbell's tokens. unix(7), `SOCK_SEQPACKET`: each
//! token is one packet, and neither side ever gets a SIGPIPE.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socket, socketpair,
};
use nix::sys::time::TimeSpec;

use super::clock::{Deadline, to_timespec};
use super::descriptors::{beyond_standard_streams, both_beyond_standard_streams};
use super::interrupt;
use super::refused::refused;
use super::select;
use crate::sync::kill_point;

/// Makes a connected pair, close-on-exec.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let made = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
        .map_err(|errno| refused("socketpair(2)", errno))?;
    let (left, right) = both_beyond_standard_streams(made)?;
    refuse_descriptors(left.as_fd());
    refuse_descriptors(right.as_fd());
    Ok((left, right))
}

/// A socket that has never been connected, close-on-exec: poll(2) finds it hung up, and transfers end by `ENOTCONN`.
pub(crate) fn unconnected() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let made = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)
        .map_err(|errno| refused("socket(2)", errno))?;
    beyond_standard_streams(made)
}

/// Lets nobody send descriptors to `socket` (`SO_PASSRIGHTS`, Linux 6.16): closing one that came with a
/// token could take as long as its sender likes. Older kernels cannot be asked.
pub(crate) fn refuse_descriptors(socket: BorrowedFd<'_>) {
    const SO_PASSRIGHTS: libc::c_int = 83;
    let no: libc::c_int = 0;
    let length = libc::socklen_t::try_from(size_of_val(&no)).expect("a small number");
    // SAFETY: the call reads one live int.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const no).cast(),
            length,
        )
    };
}

/// Whether `fd` is a socket of the kind that [`pair`] makes.
pub(crate) fn is_life_line(fd: BorrowedFd<'_>) -> bool {
    number(fd, libc::SO_TYPE) == Some(libc::SOCK_SEQPACKET.unsigned_abs().into())
        && number(fd, libc::SO_DOMAIN) == Some(libc::AF_UNIX.unsigned_abs().into())
}

/// A number that no other socket of this system has (`SO_COOKIE`, Linux 4.12); 0 where it is unknown.
pub(crate) fn cookie(socket: BorrowedFd<'_>) -> u64 {
    number(socket, libc::SO_COOKIE).unwrap_or(0)
}

/// A socket option of up to eight bytes; none where `fd` is no socket or does not have it.
fn number(fd: BorrowedFd<'_>, option: libc::c_int) -> Option<u64> {
    let mut value = 0u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).expect("a small number");
    // SAFETY: the call writes at most `length` bytes to the live word, and the length.
    let outcome = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    (outcome == 0).then_some(value)
}

/// Sends a token and finds it, which stays: whether that can be done here. A seccomp filter can refuse it.
///
/// # Errors
///
/// What sendto(2) and recvfrom(2) report.
pub(crate) fn carries_tokens(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    send_token(from, 0)?;
    peek_token(to).map(drop)
}

/// Sends one token without ever blocking; false when the peer is gone, which needs no waking.
///
/// Full queues count as success: the tokens in them wake the peer just as well.
///
/// # Errors
///
/// What says that the peer cannot be woken: that the kernel has no memory, or that sendto(2) cannot be
/// used here at all, `EPERM` or `ENOSYS` by seccomp.
pub(crate) fn send_token(socket: BorrowedFd<'_>, token: u32) -> io::Result<bool> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    loop {
        let outcome = send(socket.as_raw_fd(), &token.to_ne_bytes(), flags);
        kill_point();
        match outcome {
            Err(Errno::EINTR) => {}
            // Of the two the second comes first where the peer had not taken all tokens.
            Err(Errno::EPIPE | Errno::ECONNRESET) => return Ok(false),
            Err(errno) if !is_state(errno) => {
                return Err(refused("waking the other side by sendto(2)", errno));
            }
            _ => return Ok(true),
        }
    }
}

/// The oldest token, which stays; `None` when there is none.
///
/// # Errors
///
/// What says that recvfrom(2) cannot be used here; likewise below.
pub(crate) fn peek_token(socket: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    receive(socket, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK)
}

/// Takes the oldest token away.
pub(crate) fn drop_token(socket: BorrowedFd<'_>) -> io::Result<()> {
    receive(socket, MsgFlags::MSG_DONTWAIT).map(drop)
}

fn receive(socket: BorrowedFd<'_>, flags: MsgFlags) -> io::Result<Option<u32>> {
    let mut token = [0; 4];
    loop {
        let outcome = recv(socket.as_raw_fd(), &mut token, flags);
        kill_point();
        match outcome {
            Err(Errno::EINTR) => {}
            // A packet of another length is no token of ours; its value is as good as any.
            Ok(1..) => return Ok(Some(u32::from_ne_bytes(token))),
            // An empty packet reads like end-of-file. Only a hostile peer sends one; as a token of the
            // number that is nobody's it is taken out, and the hang-up itself is found by `wait`.
            Ok(0) => return Ok(Some(0)),
            Err(errno) if is_state(errno) => return Ok(None),
            Err(errno) => return Err(refused("looking for a token by recvfrom(2)", errno)),
        }
    }
}

/// Whether an error says how the socket is: empty, full, or without a peer.
fn is_state(errno: Errno) -> bool {
    matches!(errno, Errno::EAGAIN | Errno::EPIPE | Errno::ECONNRESET)
}

/// What a look at a descriptor found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// Tokens, bytes or room are there.
    pub(crate) ready: bool,
    /// Every holder of the other end is gone.
    pub(crate) hung_up: bool,
}

/// Waits by poll(2) until `fd` is ready for `events`, hung up, or `deadline`, or until `also` becomes
/// readable, which is not reported: the caller looks.
///
/// # Errors
///
/// What poll(2) reports, `EINTR` apart; of the kind `Interrupted` where a hook says so.
pub(crate) fn wait(
    fd: BorrowedFd<'_>,
    events: PollFlags,
    also: Option<BorrowedFd<'_>>,
    deadline: Deadline,
) -> io::Result<Readiness> {
    let (mut is_wake_heard, mut is_alarm_heard) = (true, true);
    loop {
        let asked = interrupt::ask_and_watch(deadline, is_alarm_heard)?;
        let wake = asked.wake.filter(|_| is_wake_heard);
        let mut watched = std::array::from_fn::<_, 4, _>(|_| PollFd::new(fd, events));
        // The alarm is first, so that it wakes whoever has looked up what comes behind it.
        let ours = usize::from(asked.alarm.is_some());
        let mut count = ours + 1;
        if let Some(alarm) = asked.alarm {
            watched[0] = PollFd::new(alarm, PollFlags::POLLIN);
        }
        // What the hook watches is the last.
        for beside in [also, wake].into_iter().flatten() {
            watched[count] = PollFd::new(beside, PollFlags::POLLIN);
            count += 1;
        }
        let timeout = asked
            .deadline
            .remaining()
            .map(|left| TimeSpec::from(to_timespec(left)));
        let outcome = ppoll(&mut watched[..count], timeout, None);
        kill_point();
        drop(asked.asleep);
        let found = match outcome {
            Ok(1) if wake.is_some() && shown(&watched[count - 1]) != PollFlags::empty() => {
                // To ask again. One that is readable no more is of no use.
                interrupt::note_signal();
                is_wake_heard = shown(&watched[count - 1]).intersects(PollFlags::POLLIN);
                continue;
            }
            Ok(1) if ours == 1 && shown(&watched[0]) != PollFlags::empty() => {
                // It is never ready, unless a process that shares it is up to mischief.
                is_alarm_heard = false;
                continue;
            }
            Ok(0) if !deadline.passed() => continue,
            Ok(_) => shown(&watched[ours]),
            Err(Errno::EINTR) if deadline.passed() => PollFlags::empty(),
            Err(Errno::EINTR) => {
                interrupt::note_signal();
                continue;
            }
            Err(Errno::EINVAL) => return wait_without_poll(fd, events, also, deadline),
            Err(errno) => return Err(refused("ppoll(2)", errno)),
        };
        return not_by_close(Readiness {
            ready: found.intersects(events),
            hung_up: found.intersects(hang_up()),
        });
    }
}

/// A hang-up that a close of this process has made says nothing of the other side.
fn not_by_close(found: Readiness) -> io::Result<Readiness> {
    if found.hung_up {
        interrupt::check_close()?;
    }
    Ok(found)
}

/// As [`wait`] where `RLIMIT_NOFILE` is lower than the number of descriptors, which poll(2) calls `EINVAL`.
#[cold]
fn wait_without_poll(
    fd: BorrowedFd<'_>,
    events: PollFlags,
    also: Option<BorrowedFd<'_>>,
    deadline: Deadline,
) -> io::Result<Readiness> {
    let also = also.map(|also| (also, PollFlags::POLLIN));
    let fds: Vec<_> = [(fd, events)].into_iter().chain(also).collect();
    not_by_close(select::wait_many(&fds, deadline)?[0])
}

/// Waits by poll(2) until one of many descriptors is ready for its events or hung up, or until `deadline`; returns
/// what each of them is. With none of them it waits for the deadline.
///
/// # Errors
///
/// As [`wait`].
pub(crate) fn wait_many(
    fds: &[(BorrowedFd<'_>, PollFlags)],
    deadline: Deadline,
) -> io::Result<Vec<Readiness>> {
    let mut watched: Vec<_> = fds
        .iter()
        .map(|&(fd, events)| PollFd::new(fd, events))
        .collect();
    let mut is_wake_heard = true;
    loop {
        watched.truncate(fds.len());
        let asked = interrupt::ask_and_watch(deadline, false)?;
        let wake = asked.wake.filter(|_| is_wake_heard);
        watched.extend(wake.map(|wake| PollFd::new(wake, PollFlags::POLLIN)));
        let timeout = asked
            .deadline
            .remaining()
            .map(|left| TimeSpec::from(to_timespec(left)));
        let outcome = ppoll(&mut watched, timeout, None);
        kill_point();
        match outcome {
            // To ask.
            Ok(0) if !deadline.passed() => {}
            Err(Errno::EINTR) if !deadline.passed() => interrupt::note_signal(),
            Ok(1) if wake.is_some() && shown(&watched[fds.len()]) != PollFlags::empty() => {
                interrupt::note_signal();
                is_wake_heard = shown(&watched[fds.len()]).intersects(PollFlags::POLLIN);
            }
            Err(Errno::EINVAL) => return select::wait_many(fds, deadline),
            Err(errno) if errno != Errno::EINTR => return Err(refused("ppoll(2)", errno)),
            outcome => {
                let found = |(at, &(_, events)): (&PollFd<'_>, &(_, PollFlags))| {
                    // Interrupted at its end it has shown nothing.
                    let shown = if outcome.is_ok() {
                        shown(at)
                    } else {
                        PollFlags::empty()
                    };
                    Readiness {
                        ready: shown.intersects(events),
                        hung_up: shown.intersects(hang_up()),
                    }
                };
                return Ok(watched.iter().zip(fds).map(found).collect());
            }
        }
    }
}

fn shown(at: &PollFd<'_>) -> PollFlags {
    at.revents().unwrap_or(PollFlags::empty())
}

fn hang_up() -> PollFlags {
    PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL
}

/// Looks without waiting whether every holder of the other end is gone.
pub(crate) fn is_hung_up(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let now = Deadline::after(std::time::Duration::ZERO);
    Ok(wait(fd, PollFlags::empty(), None, now)?.hung_up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_token_can_be_peeked_and_taken_once() {
        let (left, right) = pair().unwrap();
        assert_eq!(peek_token(right.as_fd()).unwrap(), None);
        send_token(left.as_fd(), 7).unwrap();
        send_token(left.as_fd(), 8).unwrap();
        assert_eq!(peek_token(right.as_fd()).unwrap(), Some(7));
        drop_token(right.as_fd()).unwrap();
        assert_eq!(peek_token(right.as_fd()).unwrap(), Some(8));
        drop_token(right.as_fd()).unwrap();
        assert_eq!(peek_token(right.as_fd()).unwrap(), None);
    }

    #[test]
    fn a_flood_of_tokens_never_blocks_the_ringer() {
        let (left, right) = pair().unwrap();
        for token in 0..100_000 {
            send_token(left.as_fd(), token).unwrap();
        }
        assert_eq!(peek_token(right.as_fd()).unwrap(), Some(0));
    }

    #[test]
    fn the_last_close_hangs_up_and_tokens_stay_readable() {
        let (left, right) = pair().unwrap();
        let copy = left.try_clone().unwrap();
        send_token(left.as_fd(), 1).unwrap();
        drop(left);
        assert!(!is_hung_up(right.as_fd()).unwrap());
        drop(copy);
        assert!(is_hung_up(right.as_fd()).unwrap());
        assert_eq!(peek_token(right.as_fd()).unwrap(), Some(1));
    }

    #[test]
    fn a_hang_up_with_unread_tokens_is_still_a_hang_up() {
        let (left, right) = pair().unwrap();
        assert!(send_token(right.as_fd(), 1).unwrap());
        drop(left);
        assert!(is_hung_up(right.as_fd()).unwrap());
        for token in [2, 3] {
            assert!(!send_token(right.as_fd(), token).unwrap());
            assert!(is_hung_up(right.as_fd()).unwrap());
        }
    }
}
