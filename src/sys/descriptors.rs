//! Where new descriptors may be: never where the standard streams are.
//!
//! A process can be started with one of those closed. The next descriptor that it opens takes the number, and what
//! somebody logs goes there.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::refused::refused;

/// Standard input, output and error are below.
pub(crate) const FIRST: RawFd = 3;

/// The same open file at a number that is no standard stream's, close-on-exec where it has to be moved there.
///
/// # Errors
///
/// What fcntl(2) reports, `EMFILE` above all; the descriptor is closed then.
#[inline]
pub(crate) fn beyond_standard_streams(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= FIRST {
        return Ok(fd);
    }
    copy(fd.as_raw_fd())
}

/// Both descriptors of a pair, as [`beyond_standard_streams`].
pub(crate) fn both_beyond_standard_streams(
    (left, right): (OwnedFd, OwnedFd),
) -> io::Result<(OwnedFd, OwnedFd)> {
    Ok((
        beyond_standard_streams(left)?,
        beyond_standard_streams(right)?,
    ))
}

/// A close-on-exec copy of what `number` stands for, at [`FIRST`] or above.
#[cold]
pub(crate) fn copy(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the call takes integers; it makes a new descriptor and changes nothing about the old one.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, FIRST) };
    let copy = Errno::result(copy).map_err(|errno| match errno {
        // As dup(2) has it: the limit is below the least number that was asked for.
        Errno::EINVAL => Errno::EMFILE,
        errno => errno,
    });
    let copy = copy.map_err(|errno| refused("fcntl(2), F_DUPFD_CLOEXEC", errno))?;
    // SAFETY: the call has just made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Makes the number of `old` stand for what `new` stands for, close-on-exec, in one step: no other descriptor can get
/// the number, and whoever uses it at this moment uses the one or the other.
///
/// # Errors
///
/// `EMFILE` where this process's limit has come to be below the number; what else dup3(2) reports.
#[cold]
pub(crate) fn replace(old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> io::Result<()> {
    loop {
        // SAFETY: the call takes integers. The number stays that of an open descriptor, and its owner has allowed for
        // what it stands for from now on.
        let made = unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) };
        match Errno::result(made) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR | Errno::EBUSY) => {}
            // Both are open, so the number is beyond the limit, which has been lowered since.
            Err(Errno::EBADF) => return Err(refused("dup3(2)", Errno::EMFILE)),
            Err(errno) => return Err(refused("dup3(2)", errno)),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_beyond_the_standard_streams_stays_where_it_is() {
        let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let number = file.as_raw_fd();
        assert_eq!(beyond_standard_streams(file).unwrap().as_raw_fd(), number);
    }
}
