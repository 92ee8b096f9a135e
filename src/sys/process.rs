//! Who a process is, so that another one can prove that it is dead.
//!
//! A process id alone proves nothing: it is used again. Since Linux 6.9 each process has an inode
//! in pidfs whose number is never used twice (pidfd_open(2)); before, the start time in
//! `/proc/PID/stat` (proc_pid_stat(5)) tells two bearers of one id apart.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::poll::PollFlags;

use super::{clock::Deadline, socket, thread};

/// A process as others can name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Process id; 0 is nobody.
    pub(crate) id: u32,
    /// What tells this bearer of the id from earlier and later ones; 0 where it is unknown.
    pub(crate) birth: u64,
}

thread_local! {
    static CURRENT: Cell<(u32, Process)> = const { Cell::new((0, Process { id: 0, birth: 0 })) };
}

impl Process {
    /// The calling process.
    pub(crate) fn current() -> Self {
        let generation = thread::fork_generation();
        let (known, process) = CURRENT.get();
        if known == generation {
            return process;
        }
        let id = std::process::id();
        let birth = open(id).ok().and_then(|fd| birth(id, &fd)).unwrap_or(0);
        let process = Self { id, birth };
        CURRENT.set((generation, process));
        process
    }

    /// A descriptor that becomes readable when this process dies, or `None` if it is dead already.
    ///
    /// The id may come from a peer in another pid namespace or from a liar: then it names somebody
    /// else, or a process of another birth, and counts as dead, or the wait is for a stranger. Both
    /// hurt only the liar's own pipe.
    ///
    /// # Errors
    ///
    /// What pidfd_open(2) reports, where that does not mean death.
    pub(crate) fn watch(self) -> io::Result<Option<OwnedFd>> {
        let fd = match open(self.id) {
            Ok(fd) => fd,
            Err(error) => {
                let gone = matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EINVAL));
                return if gone { Ok(None) } else { Err(error) };
            }
        };
        let is_another = birth(self.id, &fd).is_some_and(|found| found != self.birth);
        Ok(if is_another || has_died(fd.as_fd())? {
            None
        } else {
            Some(fd)
        })
    }
}

/// Whether the process behind a descriptor of [`Process::watch`] has died by now.
pub(crate) fn has_died(watch: BorrowedFd<'_>) -> io::Result<bool> {
    let now = Deadline::after(Duration::ZERO);
    Ok(socket::wait(watch, PollFlags::POLLIN, now)?.ready)
}

fn open(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, id, 0) };
    let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Number of the process behind `fd` that no other one will have, as far as this kernel gives one.
fn birth(id: u32, fd: &OwnedFd) -> Option<u64> {
    const PIDFS_MAGIC: libc::__fsword_t = 0x5049_4446;
    let on_pidfs =
        nix::sys::statfs::fstatfs(fd).is_ok_and(|found| found.filesystem_type().0 == PIDFS_MAGIC);
    if on_pidfs {
        return nix::sys::stat::fstat(fd).ok().map(|found| found.st_ino);
    }
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is a name in brackets, which may hold anything; the start time is field 22.
    stat.rsplit_once(')')?
        .1
        .split_ascii_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_can_be_watched_until_it_dies() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let id = child.id();
        let process = Process {
            id,
            birth: birth(id, &open(id).unwrap()).unwrap(),
        };
        let watch = process
            .watch()
            .unwrap()
            .expect("alive: its standard input is open");
        assert!(!has_died(watch.as_fd()).unwrap());
        assert!(
            Process {
                birth: process.birth + 1,
                ..process
            }
            .watch()
            .unwrap()
            .is_none()
        );
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(has_died(watch.as_fd()).unwrap());
        assert!(process.watch().unwrap().is_none());
    }

    #[test]
    fn this_process_is_alive() {
        let process = Process::current();
        assert_eq!(process.id, std::process::id());
        assert!(process.watch().unwrap().is_some());
    }
}
