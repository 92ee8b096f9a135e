//! Waiting without poll(2), for a process that may have fewer descriptors than it waits for.
//!
//! ppoll(2) takes no more descriptors at once than `RLIMIT_NOFILE`, which a process can lower to 0 when it has all that
//! it needs. pselect6(2) asks for the numbers that are open only. Its answer is poorer: a descriptor is readable, or
//! it is writable; whether the other side is gone has to be asked of each kind of file in its own way.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFlags;

use super::clock::{Deadline, to_timespec};
use super::interrupt;
use super::pipe;
use super::refused::refused;
use super::socket::Readiness;
use crate::sync::kill_point;

/// A set of descriptors as the kernel takes it, which is not bounded as `fd_set` of the C library is.
struct Set(Vec<libc::c_ulong>);

const BITS: usize = libc::c_ulong::BITS as usize;

impl Set {
    /// An empty set with room for descriptors below `end`.
    fn new(end: usize) -> Self {
        Self(vec![0; end.div_ceil(BITS)])
    }

    fn insert(&mut self, number: usize) {
        self.0[number / BITS] |= 1 << (number % BITS);
    }

    fn has(&self, number: usize) -> bool {
        self.0[number / BITS] & (1 << (number % BITS)) != 0
    }
}

/// As [`super::socket::wait_many`]. What is watched for nothing is asked once, without waiting for it.
///
/// # Errors
///
/// What pselect6(2) reports, `EINTR` apart, and `EBADF` for a descriptor that is not open.
pub(crate) fn wait_many(
    fds: &[(BorrowedFd<'_>, PollFlags)],
    deadline: Deadline,
) -> io::Result<Vec<Readiness>> {
    let mut is_alarm_heard = true;
    loop {
        let asked = interrupt::ask_and_watch(deadline, is_alarm_heard)?;
        let wakes = [asked.wake.map(index), asked.alarm.map(index)];
        let numbers = fds.iter().map(|(fd, _)| index(*fd));
        let numbers = numbers.chain(wakes.into_iter().flatten());
        let end = numbers.max().map_or(0, |last| last + 1);
        let (mut readable, mut writable) = (Set::new(end), Set::new(end));
        for wake in wakes.into_iter().flatten() {
            readable.insert(wake);
        }
        for &(fd, events) in fds {
            if events.contains(PollFlags::POLLIN) {
                readable.insert(index(fd));
            }
            if events.contains(PollFlags::POLLOUT) {
                writable.insert(index(fd));
            }
        }
        let outcome = select(end, &mut readable, &mut writable, asked.deadline);
        drop(asked.asleep);
        match outcome {
            Err(Errno::EINTR) if !deadline.passed() => {
                interrupt::note_signal();
                continue;
            }
            // Interrupted at its end it has shown nothing.
            Err(Errno::EINTR) => (readable, writable) = (Set::new(end), Set::new(end)),
            Err(errno) => return Err(refused("pselect6(2)", errno)),
            Ok(()) => {}
        }
        let is_shown = |&(fd, events): &(BorrowedFd<'_>, PollFlags)| {
            events.contains(PollFlags::POLLIN) && readable.has(index(fd))
                || events.contains(PollFlags::POLLOUT) && writable.has(index(fd))
        };
        let is_woken = wakes.into_iter().flatten().any(|wake| readable.has(wake));
        let is_early = asked.deadline != deadline && !deadline.passed();
        is_alarm_heard &= !asked.alarm.is_some_and(|alarm| readable.has(index(alarm)));
        if (is_woken || is_early) && !fds.iter().any(is_shown) {
            if is_woken {
                interrupt::note_signal();
            }
            // To ask again.
            continue;
        }
        let found = |watched: &(BorrowedFd<'_>, PollFlags)| {
            let &(fd, events) = watched;
            let is_shown = is_shown(watched);
            if is_shown || events.is_empty() {
                look(fd, is_shown)
            } else {
                Ok(Readiness {
                    ready: false,
                    hung_up: false,
                })
            }
        };
        return fds.iter().map(found).collect();
    }
}

fn index(fd: BorrowedFd<'_>) -> usize {
    usize::try_from(fd.as_raw_fd()).expect("an open descriptor is not negative")
}

/// pselect6(2) with the thread's own signal mask.
fn select(
    end: usize,
    readable: &mut Set,
    writable: &mut Set,
    deadline: Deadline,
) -> nix::Result<()> {
    let mut timeout = deadline.remaining().map(to_timespec);
    let timeout = timeout.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: both sets have a bit for each number below `end`, the time-out is live or null, and there is neither a
    // third set nor a mask.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_pselect6,
            end,
            readable.0.as_mut_ptr(),
            writable.0.as_mut_ptr(),
            ptr::null_mut::<libc::c_ulong>(),
            timeout,
            ptr::null::<libc::c_void>(),
        )
    };
    kill_point();
    Errno::result(outcome).map(drop)
}

/// What poll(2) would show of `fd`, of which pselect6(2) has shown something or nothing.
fn look(fd: BorrowedFd<'_>, is_shown: bool) -> io::Result<Readiness> {
    if let Some(hung_up) = is_socket_hung_up(fd) {
        // As poll(2): a socket without a peer is readable too.
        return Ok(Readiness {
            ready: is_shown,
            hung_up,
        });
    }
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    let hung_up = match flags & OFlag::O_ACCMODE {
        OFlag::O_WRONLY => is_readable(fd)?,
        OFlag::O_RDONLY => pipe::is_at_end(fd)?,
        // Neither end of a pipe: a pidfd, or an epoll instance.
        _ => false,
    };
    Ok(Readiness {
        ready: is_shown && !hung_up,
        hung_up,
    })
}

/// Whether the peer of a connected socket is gone; `None` for what is no socket.
///
/// A send from memory that is not there reports it without sending: the kernel looks for the peer before it looks at
/// the message.
fn is_socket_hung_up(fd: BorrowedFd<'_>) -> Option<bool> {
    let nowhere = ptr::without_provenance(1);
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    loop {
        // SAFETY: no byte of the first page is mapped (mmap_min_addr), which the kernel finds out by itself.
        let outcome = unsafe { libc::send(fd.as_raw_fd(), nowhere, 1, flags) };
        return match Errno::result(outcome) {
            Err(Errno::EINTR) => continue,
            Err(Errno::ENOTSOCK) => None,
            Err(Errno::EPIPE | Errno::ECONNRESET) => Some(true),
            _ => Some(false),
        };
    }
}

/// Whether pselect6(2) shows it as readable now. A writing end of a pipe is so when no reader is left, and only then.
fn is_readable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let number: RawFd = fd.as_raw_fd();
    let end = index(fd) + 1;
    loop {
        let (mut readable, mut writable) = (Set::new(end), Set::new(end));
        readable.insert(number.unsigned_abs() as usize);
        let now = Deadline::after(std::time::Duration::ZERO);
        match select(end, &mut readable, &mut writable, now) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(refused("pselect6(2)", errno)),
            Ok(()) => return Ok(readable.has(index(fd))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket;
    use std::os::fd::{AsFd, OwnedFd};
    use std::time::Duration;

    const IN: PollFlags = PollFlags::POLLIN;
    const OUT: PollFlags = PollFlags::POLLOUT;
    const NOTHING: PollFlags = PollFlags::empty();

    /// What both calls show of a descriptor now; they must agree.
    fn shown(fd: &OwnedFd, events: PollFlags) -> (bool, bool) {
        let now = Deadline::after(Duration::ZERO);
        let selected = wait_many(&[(fd.as_fd(), events)], now).unwrap()[0];
        let polled = socket::wait_many(&[(fd.as_fd(), events)], now).unwrap()[0];
        assert_eq!(selected, polled, "{events:?}");
        (selected.ready, selected.hung_up)
    }

    #[test]
    fn a_socket_shows_what_it_does_by_poll() {
        let (left, right) = socket::pair().unwrap();
        assert_eq!(shown(&left, IN), (false, false));
        assert_eq!(shown(&left, NOTHING), (false, false));
        assert_eq!(shown(&left, OUT), (true, false));
        socket::send_token(right.as_fd(), 7).unwrap();
        assert_eq!(shown(&left, IN), (true, false));
        assert_eq!(shown(&left, NOTHING), (false, false));
        assert_eq!(
            socket::peek_token(right.as_fd()).unwrap(),
            None,
            "the look sends nothing"
        );
        drop(right);
        assert_eq!(shown(&left, IN), (true, true));
        assert_eq!(shown(&left, NOTHING), (false, true));
        assert_eq!(socket::peek_token(left.as_fd()).unwrap(), Some(7));
    }

    #[test]
    fn a_socket_whose_peer_left_tokens_unread_is_hung_up_also_at_the_second_look() {
        let (left, right) = socket::pair().unwrap();
        socket::send_token(left.as_fd(), 7).unwrap();
        drop(right);
        for _ in 0..2 {
            assert!(shown(&left, NOTHING).1);
        }
    }

    #[test]
    fn a_full_socket_is_not_taken_for_a_hung_up_one() {
        let (left, right) = socket::pair().unwrap();
        while shown(&left, OUT).0 {
            socket::send_token(left.as_fd(), 7).unwrap();
        }
        (0..100_000).for_each(|_| assert!(socket::send_token(left.as_fd(), 7).unwrap()));
        assert_eq!(shown(&left, NOTHING), (false, false));
        drop(right);
        assert!(shown(&left, NOTHING).1);
    }

    #[test]
    fn a_pipe_shows_what_it_does_by_poll() {
        let (reader, writer) = pipe::pair().unwrap();
        assert_eq!(shown(&reader, IN), (false, false));
        assert_eq!(shown(&reader, NOTHING), (false, false));
        assert_eq!(shown(&writer, OUT), (true, false));
        assert_eq!(shown(&writer, NOTHING), (false, false));
        while pipe::write(writer.as_fd(), &[io::IoSlice::new(&[7; 4096])])
            .unwrap()
            .is_some()
        {}
        assert_eq!(shown(&writer, OUT), (false, false));
        assert_eq!(shown(&reader, IN), (true, false));
        let copy = reader.try_clone().unwrap();
        drop(reader);
        assert!(!shown(&writer, OUT).1);
        drop(copy);
        assert!(shown(&writer, OUT).1);
        assert!(shown(&writer, NOTHING).1);
    }

    #[test]
    fn a_pipe_without_writers_is_hung_up_once_it_is_empty() {
        let (reader, writer) = pipe::pair().unwrap();
        pipe::write(writer.as_fd(), &[io::IoSlice::new(b"x")]).unwrap();
        drop(writer);
        let now = Deadline::after(Duration::ZERO);
        let found = wait_many(&[(reader.as_fd(), IN)], now).unwrap()[0];
        assert!(found.ready);
        let mut byte = [0];
        nix::unistd::read(&reader, &mut byte).unwrap();
        assert_eq!(shown(&reader, IN), (false, true));
        assert_eq!(shown(&reader, NOTHING), (false, true));
    }

    #[test]
    fn numbers_beyond_those_of_the_c_library_can_be_waited_for() {
        let (reader, writer) = pipe::pair().unwrap();
        let (soft, _) =
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
        let number = i32::try_from(soft.min(5000)).unwrap() - 1;
        // SAFETY: the call takes integers and makes a new descriptor.
        let high = unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_DUPFD_CLOEXEC, number) };
        assert!(high >= number);
        // SAFETY: just made, and nobody else's.
        let high = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(high) };
        assert_eq!(shown(&high, IN), (false, false));
        pipe::write(writer.as_fd(), &[io::IoSlice::new(b"x")]).unwrap();
        assert_eq!(shown(&high, IN), (true, false));
    }
}
