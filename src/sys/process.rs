//! Who a process is, so that it is told from others, and another one can prove that it is dead.
//!
//! That two notes mean one process needs neither a descriptor nor /proc: a process id and a random number, which
//! each process draws once (getrandom(2)) and its forked child anew. All threads share it.
//!
//! That a process is dead is proven in several ways, since a process id alone proves nothing: it is used again. Since
//! Linux 6.9 each process has an inode in pidfs whose number is never used twice (pidfd_open(2)); before, the start
//! time in `/proc/PID/stat` (proc_pid_stat(5)) tells two processes of one id apart. Where no descriptor can be had,
//! what the kernel says of the bare id is left: [`seems_dead`].

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use nix::poll::PollFlags;
use nix::sys::statfs::{FsType, fstatfs, statfs};

use super::descriptors::beyond_standard_streams;
use super::fork::{self, OwnPage};
use super::refused::refused;
use super::{clock, clock::Deadline, holders, socket};
use crate::sync::kill_point;

/// A process as others can name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    /// Process id; 0 is nobody.
    pub(crate) id: u32,
    /// Random number that this process has drawn; 0 where it is unknown.
    pub(crate) token: u32,
    /// Inode in pidfs, or with [`START_TIME`] the start time, which tells this owner of the id from earlier and later
    /// ones; 0 where it is unknown.
    pub(crate) birth: u64,
    /// The pid namespace that the id belongs to; see [`namespace`].
    pub(crate) namespace: u64,
}

/// Beside a birth: it is a start time, and no inode. Numbers of inodes count up and never reach it.
const START_TIME: u64 = 1 << 63;

/// Beside a namespace: the number was drawn, because the system does not say. Numbers of inodes never reach it.
const DRAWN: u64 = 1 << 63;

/// Whether both are the same process. What is unknown of a process at one time and known at another does not count.
impl PartialEq for Process {
    fn eq(&self, other: &Self) -> bool {
        (self.id, self.token) == (other.id, other.token)
    }
}

impl Eq for Process {}

/// What can be said of a process that somebody wrote down.
#[derive(Debug)]
pub(crate) enum Life {
    /// It lives; the descriptor becomes readable when it dies.
    Alive(OwnedFd),
    /// It has died.
    Dead,
    /// Nothing for now, so the caller looks again: its id means nothing here, or there is no descriptor for it.
    Unknown,
}

impl Process {
    /// The calling process. What could not be found out so far is tried again.
    ///
    /// # Errors
    ///
    /// As [`OwnPage::get`] and [`namespace`].
    pub(crate) fn current() -> io::Result<Self> {
        let page = OwnPage::get()?;
        Ok(Self {
            id: once(&page.id, std::process::id),
            token: once(&page.token, draw_token),
            birth: known_or(&page.birth, own_birth),
            namespace: namespace()?,
        })
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
        let us = Self::current()?;
        if self.namespace != us.namespace {
            return Ok(Life::Unknown);
        }
        if self.id == us.id && self.token != us.token {
            // Its id is ours now.
            return Ok(Life::Dead);
        }
        let fd = match open(self.id) {
            Ok(fd) => fd,
            // Also where a descriptor is wanting: to receive needs none, so it must not fail for that.
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) && !seems_dead(self.id) => {
                return Ok(Life::Unknown);
            }
            Err(_) => return Ok(Life::Dead),
        };
        let owner = if self.birth & START_TIME == 0 {
            inode(&fd)
        } else {
            start_time(self.id)
        };
        let is_another = self.birth != 0 && owner.is_some_and(|owner| owner != self.birth);
        // One that has died while others live under its id is one of these two as well.
        let is_dead = is_another || has_died(fd.as_fd())?;
        Ok(if is_dead { Life::Dead } else { Life::Alive(fd) })
    }
}

/// What `word` of the own page holds, or else what `found` says of this process; the first thread to say it is right.
fn once(word: &AtomicU32, found: impl FnOnce() -> u32) -> u32 {
    match word.load(Ordering::Relaxed) {
        0 => {
            let found = found();
            let ours = word.compare_exchange(0, found, Ordering::Relaxed, Ordering::Relaxed);
            ours.map_or_else(|other_thread| other_thread, |_| found)
        }
        known => known,
    }
}

/// As [`once`] for a longer word, of something that may not be found now: 0, which is not kept.
fn known_or(word: &AtomicU64, find: impl FnOnce() -> u64) -> u64 {
    match word.load(Ordering::Relaxed) {
        0 => {
            let found = find();
            let ours = word.compare_exchange(0, found, Ordering::Relaxed, Ordering::Relaxed);
            ours.map_or_else(|other_thread| other_thread, |_| found)
        }
        known => known,
    }
}

#[cold]
fn draw_token() -> u32 {
    // Any but 0.
    (draw() as u32).max(1)
}

/// A random number. It has to differ from other processes' by chance, not to withstand a liar.
fn draw() -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: the buffer is live and so long.
    let drawn =
        unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), libc::GRND_NONBLOCK) };
    if drawn == bytes.len() as isize {
        return u64::from_ne_bytes(bytes);
    }
    // Refused: the time differs from that of any other owner of the id.
    clock::now().as_nanos() as u64 ^ u64::from(std::process::id()) << 32
}

#[cold]
fn own_birth() -> u64 {
    let id = std::process::id();
    let inode = open(id).ok().and_then(|fd| inode(&fd));
    inode.or_else(|| start_time(id)).unwrap_or(0)
}

/// The calling process's pid namespace (pid_namespaces(7)), never 0: the number of its inode. It stays for the
/// process's life.
///
/// Where nothing shows it, a number is drawn, which the forked children that stay in the namespace inherit. So two
/// namespaces never have one number, and one may have two.
///
/// # Errors
///
/// A want of descriptors where /proc does not say; another time there may be some.
pub(crate) fn namespace() -> io::Result<u64> {
    let page = OwnPage::get()?;
    match page.namespace.load(Ordering::Relaxed) {
        0 => find_namespace(page),
        known => Ok(known),
    }
}

#[cold]
fn find_namespace(page: &OwnPage) -> io::Result<u64> {
    let found = match shown_namespace() {
        Some(inode) => inode,
        None => asked_namespace()?.unwrap_or_else(|| draw() | DRAWN),
    };
    fork::inherit_namespaces();
    Ok(known_or(&page.namespace, || found))
}

/// As /proc shows it, which takes no descriptor.
fn shown_namespace() -> Option<u64> {
    const NSFS_MAGIC: FsType = FsType(0x6e73_6673);
    const PATH: &str = "/proc/self/ns/pid";
    // Whatever else lies at that path says nothing.
    let shown = statfs(PATH).ok()?;
    if shown.filesystem_type() != NSFS_MAGIC {
        return None;
    }
    nix::sys::stat::stat(PATH).ok().map(|found| found.st_ino)
}

/// As the process's own pidfd reports it (Linux 6.11), which takes two descriptors for a moment; none where that is
/// refused.
///
/// # Errors
///
/// A want of descriptors or memory.
fn asked_namespace() -> io::Result<Option<u64>> {
    /// `_IO(PIDFS_IOCTL_MAGIC, 5)` of linux/pidfd.h.
    const PIDFD_GET_PID_NAMESPACE: libc::Ioctl = 0xff05;
    let outcome = open(std::process::id()).and_then(|own| {
        // SAFETY: the call takes integers only.
        let fd = unsafe { libc::ioctl(own.as_raw_fd(), PIDFD_GET_PID_NAMESPACE, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just made this descriptor, and nobody else has it.
        let namespace = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(nix::sys::stat::fstat(&namespace)?.st_ino)
    });
    match outcome {
        Ok(inode) => Ok(Some(inode)),
        Err(error) => match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => {
                Err(refused("asking for the pid namespace without /proc", error))
            }
            _ => Ok(None),
        },
    }
}

/// What a namespace is called in an error.
pub(crate) fn name_of_namespace(number: u64) -> String {
    if number & DRAWN == 0 {
        number.to_string()
    } else {
        "one that cannot be told (no /proc/self/ns/pid, and no PIDFD_GET_PID_NAMESPACE)".to_owned()
    }
}

/// Whether what the kernel says of the id proves, without a descriptor, that its owner has died.
///
/// Nothing of the kind tells a process that has ended, and for which its parent has not waited, from one of which the
/// main thread alone has ended, except to the parent, and by /proc.
fn seems_dead(id: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(id) else {
        return true;
    };
    is_unused(pid) || is_ended_child(id) || has_no_thread_left(pid)
}

/// Whether no process has this id, although perhaps a thread of some.
fn is_unused(pid: libc::pid_t) -> bool {
    // SAFETY: the call takes integers; signal 0 is none.
    let outcome = unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, 0) };
    outcome != 0 && nix::errno::Errno::last() == nix::errno::Errno::ESRCH
}

/// Whether it is a child of this process that has ended; it stays to be waited for.
fn is_ended_child(id: u32) -> bool {
    const HOW: libc::c_int = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: all zeros is a value of this plain structure.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is live; the call writes it.
    let outcome = unsafe { libc::waitid(libc::P_PID, id, &raw mut info, HOW) };
    // SAFETY: waitid(2) fills the structure in, or leaves the zeros.
    outcome == 0 && u32::try_from(unsafe { info.si_pid() }) == Ok(id)
}

/// Whether its main thread has ended and it has no other one, as /proc shows without a descriptor.
fn has_no_thread_left(pid: libc::pid_t) -> bool {
    if holders::own().is_none() {
        return false;
    }
    let mut byte = 0u8;
    let here = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    let nowhere = libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 1,
    };
    // SAFETY: both vectors are live; nothing can be read from address 0 of a process that has memory.
    let outcome =
        unsafe { libc::process_vm_readv(pid, &raw const here, 1, &raw const nowhere, 1, 0) };
    let main_has_ended = outcome < 0 && nix::errno::Errno::last() == nix::errno::Errno::ESRCH;
    // A link for each thread, and two more. Threads of others come from threads only, so the order of the looks is right.
    const ONE_THREAD: libc::nlink_t = 3;
    let tasks = format!("/proc/{pid}/task");
    main_has_ended && nix::sys::stat::stat(&*tasks).is_ok_and(|task| task.st_nlink == ONE_THREAD)
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

/// As [`watch_any`], telling what is wrong if there is none.
///
/// # Errors
///
/// What poll(2) reports.
pub(crate) fn watch_living(id: u32) -> io::Result<Life> {
    Ok(match open(id) {
        Ok(fd) if has_died(fd.as_fd())? => Life::Dead,
        Ok(fd) => Life::Alive(fd),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Life::Dead,
        Err(_) => Life::Unknown,
    })
}

/// Whether the calling process has one thread, as far as /proc shows.
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

/// Number of the process behind `fd` that no other one will have, where this kernel gives one.
fn inode(fd: &OwnedFd) -> Option<u64> {
    const PIDFS_MAGIC: FsType = FsType(0x5049_4446);
    let shown = fstatfs(fd).ok()?;
    if shown.filesystem_type() != PIDFS_MAGIC {
        return None;
    }
    nix::sys::stat::fstat(fd).ok().map(|found| found.st_ino)
}

/// When the process of this id was started, and [`START_TIME`].
fn start_time(id: u32) -> Option<u64> {
    let start = holders::Stat::of(id)?.start;
    Some(start | START_TIME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork::Child;

    #[test]
    fn a_living_process_can_be_watched_until_it_dies() {
        let (ours, theirs) = socket::pair().unwrap();
        let child = Child::of(|| matches!(nix::unistd::read(&theirs, &mut [0]), Ok(0)));
        let id = child.id();
        let birth = inode(&open(id).unwrap())
            .or_else(|| start_time(id))
            .unwrap();
        let process = Process {
            id,
            token: 1,
            birth,
            namespace: namespace().unwrap(),
        };
        let Life::Alive(watch) = process.watch().unwrap() else {
            panic!("its input is open")
        };
        assert!(!has_died(watch.as_fd()).unwrap());
        let another = Process {
            birth: process.birth + 1,
            ..process
        };
        assert!(matches!(another.watch().unwrap(), Life::Dead));
        let stranger = Process {
            namespace: 1,
            ..process
        };
        assert!(matches!(stranger.watch().unwrap(), Life::Unknown));
        drop(ours);
        assert!(child.ends_well());
        assert!(has_died(watch.as_fd()).unwrap());
        assert!(matches!(process.watch().unwrap(), Life::Dead));
    }

    #[test]
    fn this_process_is_alive() {
        let process = Process::current().unwrap();
        assert_eq!(process.id, std::process::id());
        assert!(matches!(process.watch().unwrap(), Life::Alive(_)));
    }

    #[test]
    fn what_is_found_out_late_makes_no_other_process() {
        let us = Process::current().unwrap();
        assert_eq!(us, Process { birth: 0, ..us });
        let earlier = Process {
            token: us.token ^ 1,
            ..us
        };
        assert_ne!(us, earlier);
        assert!(matches!(earlier.watch().unwrap(), Life::Dead));
    }

    #[test]
    fn a_start_time_is_compared_with_a_start_time() {
        let us = Process::current().unwrap();
        let start = start_time(us.id).unwrap();
        for (birth, is_alive) in [(0, true), (start, true), (start + 1, false)] {
            let noted = Process { birth, ..us };
            let life = noted.watch().unwrap();
            assert_eq!(matches!(life, Life::Alive(_)), is_alive, "{birth:#x}");
        }
    }

    #[test]
    fn a_bare_id_tells_of_a_death() {
        let (ours, theirs) = socket::pair().unwrap();
        let child = Child::of(|| matches!(nix::unistd::read(&theirs, &mut [0]), Ok(0)));
        let id = child.id();
        let pid = libc::pid_t::try_from(id).unwrap();
        assert!(!seems_dead(id) && !is_ended_child(id) && !has_no_thread_left(pid));
        let watch = open(id).unwrap();
        drop(ours);
        socket::wait(watch.as_fd(), PollFlags::POLLIN, None, Deadline::NEVER).unwrap();
        // It has ended, and nobody has waited for it.
        assert!(is_ended_child(id) && has_no_thread_left(pid) && !is_unused(pid));
        assert!(child.ends_well());
        assert!(is_unused(pid) && seems_dead(id) && !is_ended_child(id));
    }
}
