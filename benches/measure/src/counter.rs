//! Counts the syscalls of threads by the kernel's tracepoint (perf_event_open(2)), which hardly disturbs them.
//!
//! It needs a tracefs that one may read, so root's rights on most machines; `syscalls` has the way for the others.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// In `perf_event_attr::type`.
const PERF_TYPE_TRACEPOINT: u64 = 2;

/// The length in bytes of the first version of `perf_event_attr`, which has all that is needed here.
const PERF_ATTR_SIZE_VER0: u64 = 64;

/// Closes it on exec.
const PERF_FLAG_FD_CLOEXEC: u64 = 8;

/// Syscalls of the measuring itself between two looks: getrusage(2) and clock_gettime(2) of the second one, and
/// its read(2).
const OWN: u64 = 3;

/// The tracepoint's number, or 0 where nothing is counted. Written before there is another thread.
static TRACEPOINT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static EVENT: RefCell<Option<File>> = const { RefCell::new(None) };
}

/// The number of the tracepoint at the beginning of each syscall; `None` where it is not to be had.
pub(crate) fn tracepoint() -> Option<u64> {
    let places = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    places.iter().find_map(|place| {
        let path = format!("{place}/events/raw_syscalls/sys_enter/id");
        fs::read_to_string(path).ok()?.trim().parse().ok()
    })
}

/// Has each thread of this process, and of its children to be, count from its first [`read`] on.
pub(crate) fn begin(tracepoint: u64) {
    TRACEPOINT.store(tracepoint, Ordering::Relaxed);
}

/// Syscalls of the calling thread so far, less those of this look; 0 where nothing is counted.
pub(crate) fn read() -> io::Result<u64> {
    let tracepoint = TRACEPOINT.load(Ordering::Relaxed);
    if tracepoint == 0 {
        return Ok(0);
    }
    EVENT.with_borrow_mut(|event| {
        let file = match event {
            Some(file) => file,
            None => event.insert(open(tracepoint)?),
        };
        let mut count = [0; 8];
        file.read_exact(&mut count)?;
        Ok(u64::from_ne_bytes(count))
    })
}

/// What lies between two counts of one thread.
pub(crate) fn between(start: u64, end: u64) -> u64 {
    end.saturating_sub(start).saturating_sub(OWN)
}

/// Counts the tracepoint in the calling thread alone.
fn open(tracepoint: u64) -> io::Result<File> {
    let attributes: [u64; 8] = [
        PERF_TYPE_TRACEPOINT | PERF_ATTR_SIZE_VER0 << 32,
        tracepoint,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    let (this_thread, any_cpu, no_group) = (0, -1, -1);
    // SAFETY: the kernel reads as many bytes of the attributes as they say that they have.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            attributes.as_ptr(),
            this_thread,
            any_cpu,
            no_group,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    if fd < 0 {
        let error = io::Error::last_os_error();
        return Err(io::Error::new(
            error.kind(),
            format!("perf_event_open: {error}"),
        ));
    }
    // SAFETY: the call has just made it, and nobody else has it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    Ok(owned.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syscalls_of_this_thread_are_counted_one_by_one() {
        let Some(tracepoint) = tracepoint() else {
            println!("skipped: no tracefs that we may read");
            return;
        };
        begin(tracepoint);
        let start = match read() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                println!("skipped: {error}");
                return;
            }
            start => start.expect("a count"),
        };
        for _ in 0..100 {
            nix::unistd::getppid();
        }
        // The look itself is one of the three that are taken off.
        let end = read().expect("a count");
        assert_eq!(between(start, end) + OWN - 1, 100);
    }
}
