//! futex(2) on words that processes share: never `FUTEX_PRIVATE_FLAG`.

use std::io;
use std::ptr;

use super::clock::Deadline;
use super::interrupt;
use super::refused::refused;
use crate::sync::{AtomicU32, kill_point};

/// Set in a lock word by waiters, so that the kernel and the unlocker wake one (linux/futex.h).
pub(crate) const WAITERS: u32 = 0x8000_0000;
/// Set by the kernel in the lock word of an owner that died.
pub(crate) const OWNER_DIED: u32 = 0x4000_0000;
/// The owner's thread id.
pub(crate) const TID_MASK: u32 = 0x3fff_ffff;

/// Sleeps while `word` holds `expected`, until woken or `deadline`.
///
/// Returns without saying why: a wake-up, another value, a signal and the deadline all mean that
/// the caller looks again.
///
/// # Errors
///
/// Only what says that futex(2) cannot be used here at all, `EPERM` or `ENOSYS` by seccomp.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> io::Result<()> {
    let timeout = deadline.as_timespec();
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the word is a live, aligned u32 and the timeout null or a live timespec; the kernel
    // reads both. WAIT_BITSET takes an absolute time on CLOCK_MONOTONIC.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_futex,
            ptr::from_ref(word),
            libc::FUTEX_WAIT_BITSET,
            expected,
            timeout,
            ptr::null::<u32>(),
            libc::FUTEX_BITSET_MATCH_ANY,
        )
    };
    // Read before anything else can change it.
    let error = io::Error::last_os_error();
    kill_point();
    if outcome == 0 {
        return Ok(());
    }
    match error.raw_os_error() {
        Some(libc::EINTR) => {
            interrupt::note_signal();
            Ok(())
        }
        Some(libc::EAGAIN | libc::ETIMEDOUT) => Ok(()),
        _ => Err(refused("futex(2)", error)),
    }
}

/// Wakes up to `count` sleepers of `word` and returns how many there were.
///
/// Failure means that there is no sleeper to wake (a waiter on the same word fails likewise), so it
/// counts as none.
pub(crate) fn wake(word: &AtomicU32, count: i32) -> usize {
    // SAFETY: the word is a live, aligned u32, which FUTEX_WAKE uses as a key only.
    let woken = unsafe {
        libc::syscall(
            libc::SYS_futex,
            ptr::from_ref(word),
            libc::FUTEX_WAKE,
            count,
        )
    };
    kill_point();
    usize::try_from(woken).unwrap_or(0)
}

/// Whether futex(2) may be called here; a seccomp filter can refuse it.
pub(crate) fn is_available() -> io::Result<()> {
    let word = AtomicU32::new(0);
    // Another value than expected: returns at once.
    wait(&word, 1, Deadline::NEVER)
}
