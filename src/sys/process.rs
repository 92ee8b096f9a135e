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

use super::descriptors::beyond_standard_streams;
use super::{clock::Deadline, socket, thread};
use crate::sync::kill_point;

/// A process as others can name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Process id; 0 is nobody.
    pub(crate) id: u32,
    /// What tells this bearer of the id from earlier and later ones; 0 where it is unknown.
    pub(crate) birth: u64,
    /// Inode of the pid namespace that the id belongs to; 0 where it is unknown.
    pub(crate) namespace: u64,
}

/// What can be said of a process that somebody wrote down.
#[derive(Debug)]
pub(crate) enum Life {
    /// It lives; the descriptor becomes readable when it dies.
    Alive(OwnedFd),
    /// It has died.
    Dead,
    /// Nothing: its id means nothing here, this kernel cannot tell, or there is no descriptor for it.
    Unknown,
}

const NOBODY: Process = Process {
    id: 0,
    birth: 0,
    namespace: 0,
};

thread_local! {
    static CURRENT: Cell<(u32, Process)> = const { Cell::new((0, NOBODY)) };
}

impl Process {
    /// The calling process.
    ///
    /// # Errors
    ///
    /// As [`thread::fork_generation`].
    pub(crate) fn current() -> io::Result<Self> {
        let generation = thread::fork_generation()?;
        let (known, process) = CURRENT.get();
        if known == generation {
            return Ok(process);
        }
        let id = std::process::id();
        let birth = open(id).ok().and_then(|fd| birth(id, &fd)).unwrap_or(0);
        let process = Self {
            id,
            birth,
            namespace: namespace(),
        };
        CURRENT.set((generation, process));
        Ok(process)
    }

    /// Whether this process lives, as far as that can be proven.
    ///
    /// The values may be a liar's: then they name a stranger, and the caller waits for that one. Its
    /// own pipe is all that a liar can hurt so.
    ///
    /// # Errors
    ///
    /// As [`current`](Self::current), or what poll(2) reports.
    pub(crate) fn watch(self) -> io::Result<Life> {
        if self.birth == 0 || self.namespace == 0 || self.namespace != Self::current()?.namespace {
            return Ok(Life::Unknown);
        }
        let fd = match open(self.id) {
            Ok(fd) => fd,
            Err(error) => {
                // Also where a descriptor is wanting: to receive needs none, so it must not fail for that.
                return Ok(match error.raw_os_error() {
                    Some(libc::ESRCH) => Life::Dead,
                    _ => Life::Unknown,
                });
            }
        };
        let Some(found) = birth(self.id, &fd) else {
            return Ok(Life::Unknown);
        };
        let is_dead = found != self.birth || has_died(fd.as_fd())?;
        Ok(if is_dead { Life::Dead } else { Life::Alive(fd) })
    }
}

/// The calling process's pid namespace (pid_namespaces(7)); 0 where /proc does not tell.
pub(crate) fn namespace() -> u64 {
    nix::sys::stat::stat("/proc/self/ns/pid").map_or(0, |found| found.st_ino)
}

/// Whether the process behind a descriptor of [`Process::watch`] has died by now.
fn has_died(watch: BorrowedFd<'_>) -> io::Result<bool> {
    let now = Deadline::after(Duration::ZERO);
    Ok(socket::wait(watch, PollFlags::POLLIN, None, now)?.ready)
}

/// A descriptor that becomes readable when the process of this id ends; none where it has ended or cannot be
/// watched.
pub(crate) fn watch_any(id: u32) -> Option<OwnedFd> {
    open(id).ok()
}

/// Whether the calling process has one thread, as far as /proc tells.
pub(crate) fn is_single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

fn open(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, id, 0) };
    let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    kill_point();
    // SAFETY: the call has just made this descriptor, and nobody else has it.
    beyond_standard_streams(unsafe { OwnedFd::from_raw_fd(fd) })
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
        let birth = birth(id, &open(id).unwrap()).unwrap();
        let process = Process {
            id,
            birth,
            namespace: namespace(),
        };
        let Life::Alive(watch) = process.watch().unwrap() else {
            panic!("its input is open")
        };
        assert!(!has_died(watch.as_fd()).unwrap());
        let another = Process {
            birth: birth + 1,
            ..process
        };
        assert!(matches!(another.watch().unwrap(), Life::Dead));
        let stranger = Process {
            namespace: 1,
            ..process
        };
        assert!(matches!(stranger.watch().unwrap(), Life::Unknown));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(has_died(watch.as_fd()).unwrap());
        assert!(matches!(process.watch().unwrap(), Life::Dead));
    }

    #[test]
    fn this_process_is_alive() {
        let process = Process::current().unwrap();
        assert_eq!(process.id, std::process::id());
        assert!(matches!(process.watch().unwrap(), Life::Alive(_)));
    }
}
