//! pipe(2), pipe(7): a kernel pipe with non-blocking ends, and transfers that raise no signal.
//!
//! Whoever shares a descriptor, a forked child say, can make it blocking for everybody, so each transfer
//! says by itself that it does not wait (`RWF_NOWAIT`, readv(2)). Where the kernel's pipes do not take that
//! flag, the descriptor's own is all there is.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

use super::descriptors::both_beyond_standard_streams;
use super::refused::refused;
use crate::sync::kill_point;

/// A write of at most this many bytes is one piece or nothing (pipe(7), `PIPE_BUF`).
pub(crate) const ATOMIC: usize = libc::PIPE_BUF;

/// `RWF_NOSIGNAL` of linux/fs.h (Linux 6.18): a broken pipe raises no SIGPIPE.
const RWF_NOSIGNAL: libc::c_int = 0x100;

/// Makes a pipe, reader first, close-on-exec and non-blocking.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let made = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .map_err(|errno| refused("pipe2(2)", errno))?;
    both_beyond_standard_streams(made)
}

/// The largest capacity in bytes that can be asked for: a power of two, in a C int.
pub(crate) const MAX_CAPACITY: usize = 1 << 30;

/// Asks for a pipe of `bytes` and returns what it became (`F_SETPIPE_SZ`, fcntl(2)).
pub(crate) fn set_capacity(pipe: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    let bytes = i32::try_from(bytes).map_err(|_| Errno::EINVAL)?;
    Ok(usize::try_from(fcntl(pipe, FcntlArg::F_SETPIPE_SZ(bytes))?).unwrap_or(0))
}

/// Makes transfers return instead of wait (`O_NONBLOCK`, fcntl(2)).
pub(crate) fn set_nonblocking(pipe: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(pipe, FcntlArg::F_GETFL)?);
    if !flags.contains(OFlag::O_NONBLOCK) {
        fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    }
    Ok(())
}

/// How many bytes the pipe holds when full.
pub(crate) fn capacity(pipe: BorrowedFd<'_>) -> io::Result<usize> {
    let bytes = fcntl(pipe, FcntlArg::F_GETPIPE_SZ)
        .map_err(|errno| refused("fcntl(2), F_GETPIPE_SZ", errno))?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// How many bytes are in the pipe (`FIONREAD`, ioctl_pipe(2)).
pub(crate) fn queued(pipe: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, to a live one.
    let outcome = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    Errno::result(outcome).map_err(|errno| refused("ioctl(2), FIONREAD", errno))?;
    kill_point();
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Whether a descriptor that a stranger handed over is of a pipe that pipe2(2) has made. One that is opened by a name
/// may lie in a file system that never answers, and may let transfers wait.
///
/// # Errors
///
/// What statx(2) and, for the first descriptor that is a pipe, pipe2(2) report.
pub(crate) fn has_no_name(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    // A file system is not asked for what may have changed, since it may be the stranger's own.
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: an empty path that lives for good, and a live buffer of the right type.
    let outcome = unsafe {
        libc::statx(
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            libc::STATX_TYPE,
            found.as_mut_ptr(),
        )
    };
    Errno::result(outcome).map_err(|errno| refused("statx(2) of a pipe", errno))?;
    // SAFETY: integers alone, zeroed, and written by the call.
    let found = unsafe { found.assume_init() };
    let is_pipe = u32::from(found.stx_mode) & libc::S_IFMT == libc::S_IFIFO;
    let device = libc::makedev(found.stx_dev_major, found.stx_dev_minor);
    Ok(is_pipe && device == device_of_pipes()?)
}

/// The device of all pipes without a name.
fn device_of_pipes() -> io::Result<u64> {
    // No lock, as in `sys::thread`: a fork could leave it locked. Asking twice does no harm.
    static DEVICE: AtomicU64 = AtomicU64::new(0);
    match DEVICE.load(Ordering::Relaxed) {
        0 => {
            let (own, _) = pair()?;
            let device = nix::sys::stat::fstat(&own)?.st_dev;
            DEVICE.store(device, Ordering::Relaxed);
            Ok(device)
        }
        device => Ok(device),
    }
}

/// What a descriptor that claims to be an end of a pipe is: the pipe's inode, which both ends share, and
/// whether this is the writing end. `None` for anything else.
pub(crate) fn identify(fd: BorrowedFd<'_>) -> io::Result<Option<(u64, bool)>> {
    let found = nix::sys::stat::fstat(fd)?;
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    let is_pipe = found.st_mode & libc::S_IFMT == libc::S_IFIFO;
    Ok(match flags & OFlag::O_ACCMODE {
        OFlag::O_RDONLY if is_pipe => Some((found.st_ino, false)),
        OFlag::O_WRONLY if is_pipe => Some((found.st_ino, true)),
        _ => None,
    })
}

/// A place to read to, which may be shared memory, so no slice.
pub(crate) fn target(start: *mut u8, len: usize) -> libc::iovec {
    libc::iovec {
        iov_base: start.cast(),
        iov_len: len,
    }
}

/// Reads what is there; `Ok(Some(0))` is end-of-file and `Ok(None)` an empty pipe.
///
/// # Safety
///
/// Each target is valid for writes of its length.
pub(crate) unsafe fn read(
    pipe: BorrowedFd<'_>,
    targets: &[libc::iovec],
) -> io::Result<Option<usize>> {
    loop {
        // SAFETY: the caller vouches for the targets.
        let (outcome, call) = unsafe { read_once(pipe, targets) };
        match outcome {
            Ok(len) => return Ok(Some(len)),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(refused(format_args!("{call} of the pipe"), errno)),
        }
    }
}

/// One transfer, and the call that made it or that was refused.
///
/// # Safety
///
/// Each target is valid for writes of its length, or is not mapped at all.
unsafe fn read_once(
    pipe: BorrowedFd<'_>,
    targets: &[libc::iovec],
) -> (nix::Result<usize>, &'static str) {
    let mut call = "preadv2(2)";
    let Ok(count) = libc::c_int::try_from(targets.len()) else {
        return (Err(Errno::EINVAL), call);
    };
    // An offset of -1 reads at the beginning, as readv(2).
    // SAFETY: the caller vouches for the targets.
    let mut outcome = unsafe {
        libc::preadv2(
            pipe.as_raw_fd(),
            targets.as_ptr(),
            count,
            -1,
            libc::RWF_NOWAIT,
        )
    };
    if outcome == -1 && is_refused_flag(Errno::last()) {
        call = "preadv2(2) and then readv(2)";
        // SAFETY: as above.
        outcome = unsafe { libc::readv(pipe.as_raw_fd(), targets.as_ptr(), count) };
    }
    let outcome = Errno::result(outcome);
    kill_point();
    (outcome.map(isize::unsigned_abs), call)
}

/// Whether the pipe is empty for good, by the reading end; false for what cannot be read.
///
/// A read to memory that is not there reports it at one moment and takes nothing: the kernel looks for bytes and for
/// writers before it looks where they are to go.
pub(crate) fn is_at_end(reader: BorrowedFd<'_>) -> io::Result<bool> {
    let nowhere = [target(std::ptr::without_provenance_mut(1), 1)];
    loop {
        // SAFETY: no byte of the first page is mapped (mmap_min_addr), which the kernel finds out by itself.
        match unsafe { read_once(reader, &nowhere) } {
            (Ok(length), _) => return Ok(length == 0),
            (Err(Errno::EINTR), _) => {}
            (Err(Errno::EFAULT | Errno::EAGAIN), _) => return Ok(false),
            (Err(errno), call) => {
                return Err(refused(format_args!("{call} of the pipe"), errno));
            }
        }
    }
}

/// Writes what there is room for; `Ok(None)` is a full pipe. Never raises SIGPIPE.
///
/// # Errors
///
/// `BrokenPipe` when no reader is left.
pub(crate) fn write(pipe: BorrowedFd<'_>, from: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
    static NO_FLAG: AtomicBool = AtomicBool::new(false);
    loop {
        let outcome = if NO_FLAG.load(Ordering::Relaxed) {
            write_with_signal_blocked(pipe, from)
        } else {
            write_with_flags(pipe, from, RWF_NOSIGNAL | libc::RWF_NOWAIT)
        };
        kill_point();
        match outcome {
            Ok(len) => return Ok(Some(len)),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            Err(error) if is_refused_flag(error) && !NO_FLAG.load(Ordering::Relaxed) => {
                NO_FLAG.store(true, Ordering::Relaxed);
            }
            Err(Errno::EPIPE) => return Err(Errno::EPIPE.into()),
            Err(errno) => {
                let call = if NO_FLAG.load(Ordering::Relaxed) {
                    "pwritev2(2) and then writev(2)"
                } else {
                    "pwritev2(2)"
                };
                return Err(refused(
                    format_args!("writing to the pipe by {call}"),
                    errno,
                ));
            }
        }
    }
}

/// Whether a transfer with flags failed because this kernel, or this file, does not have one of them.
fn is_refused_flag(error: Errno) -> bool {
    matches!(
        error,
        Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EPERM | Errno::EACCES
    )
}

fn write_with_flags(
    pipe: BorrowedFd<'_>,
    from: &[IoSlice<'_>],
    flags: libc::c_int,
) -> nix::Result<usize> {
    let count = libc::c_int::try_from(from.len()).map_err(|_| Errno::EINVAL)?;
    // An offset of -1 writes at the end, as writev(2).
    // SAFETY: IoSlice has the layout of iovec, and the slices outlive the call.
    let outcome =
        unsafe { libc::pwritev2(pipe.as_raw_fd(), from.as_ptr().cast(), count, -1, flags) };
    Errno::result(outcome).map(isize::unsigned_abs)
}

/// The way of older kernels: block SIGPIPE for this thread, and eat the one that the write raised.
fn write_with_signal_blocked(pipe: BorrowedFd<'_>, from: &[IoSlice<'_>]) -> nix::Result<usize> {
    let sigpipe = SigSet::from(Signal::SIGPIPE);
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&sigpipe), Some(&mut before))?;
    let was_pending = is_sigpipe_pending();
    let outcome = match write_with_flags(pipe, from, libc::RWF_NOWAIT) {
        Err(error) if is_refused_flag(error) => nix::sys::uio::writev(pipe, from),
        outcome => outcome,
    };
    kill_point();
    if outcome == Err(Errno::EPIPE) && !was_pending {
        eat_sigpipe(&sigpipe);
    }
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    outcome
}

fn is_sigpipe_pending() -> bool {
    let mut pending = SigSet::empty().as_ref().to_owned();
    // SAFETY: the set is live and initialised.
    let outcome = unsafe { libc::sigpending(&raw mut pending) };
    // SAFETY: as above.
    outcome == 0 && unsafe { libc::sigismember(&raw const pending, libc::SIGPIPE) } == 1
}

fn eat_sigpipe(sigpipe: &SigSet) {
    let no_wait = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: set and timeout are live, and no siginfo is asked for.
    unsafe { libc::sigtimedwait(sigpipe.as_ref(), std::ptr::null_mut(), &raw const no_wait) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn both_ways_of_writing_report_a_broken_pipe_without_a_signal() {
        let (reader, writer) = pair().unwrap();
        let bytes = [IoSlice::new(b"x")];
        assert_eq!(write_with_signal_blocked(writer.as_fd(), &bytes), Ok(1));
        drop(reader);
        // SIGPIPE is ignored in a test process; the pending set shows what a default would do.
        assert_eq!(
            write_with_signal_blocked(writer.as_fd(), &bytes),
            Err(Errno::EPIPE)
        );
        assert!(!is_sigpipe_pending());
        let error = write(writer.as_fd(), &bytes).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
