//! Descriptors across execve(2): opening them to one child, and taking over those that a parent left open.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::descriptors;
use super::refused::refused;

/// Lets the program that this process is about to become keep `fd`. For a forked child: it allocates
/// nothing.
pub(crate) fn keep_over_exec(fd: &OwnedFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}

/// What a number that should be that of an inherited descriptor stands for.
#[derive(Debug)]
pub(crate) enum Inherited {
    /// An open descriptor without the close-on-exec flag, and a copy of it that has the flag.
    Open(OwnedFd),
    /// Nothing.
    Closed,
    /// A descriptor that this program has opened itself: nothing with that flag comes through execve(2).
    Own,
}

/// Looks at what `number` stands for, without taking it over.
///
/// # Errors
///
/// What fcntl(2) reports, `EMFILE` above all.
pub(crate) fn look_at(number: RawFd) -> io::Result<Inherited> {
    // SAFETY: the call takes integers, and looks only.
    let flags = match Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) }) {
        Ok(flags) => flags,
        Err(Errno::EBADF) => return Ok(Inherited::Closed),
        Err(errno) => return Err(refused("fcntl(2), F_GETFD", errno)),
    };
    if flags & libc::FD_CLOEXEC != 0 {
        return Ok(Inherited::Own);
    }
    Ok(Inherited::Open(descriptors::copy(number)?))
}

/// Closes an inherited descriptor of which [`look_at`] has made a copy.
///
/// # Safety
///
/// Nobody else owns `number`.
pub(crate) unsafe fn close(number: RawFd) {
    // SAFETY: by the caller.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
}

/// A number for the file behind `fd` that tells it from another one at the same place.
pub(crate) fn inode(fd: &OwnedFd) -> io::Result<u64> {
    let found = nix::sys::stat::fstat(fd)
        .map_err(|errno| refused(format_args!("fstat(2) of {}", fd.as_raw_fd()), errno))?;
    Ok(found.st_ino)
}
