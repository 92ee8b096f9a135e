//! One descriptor with which a process makes its sleeping threads look at their descriptors once more.
//!
//! poll(2) sleeps on what its numbers stood for when it fell asleep. Whatever wakes it makes it look up the numbers
//! again. A write of 0 to an eventfd(2) wakes and leaves nothing behind, so nobody returns to whom nothing has
//! happened. That holds also for the sleepers of a process that shares the descriptor, its parent or its child.
//!
//! There is one for all ends of a process, for as long as one of them has a reference. A word counts the references,
//! because a lock that another thread held at the moment of a fork would stay locked in the child.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::descriptors::beyond_standard_streams;
use super::refused::refused;

/// References in the upper half; below, the number plus 1. 0 where there is no descriptor.
static ALARM: AtomicU64 = AtomicU64::new(0);

const REFERENCE: u64 = 1 << 32;

/// A reference to the process's alarm.
#[derive(Debug)]
pub(super) struct Alarm(RawFd);

impl Alarm {
    /// # Errors
    ///
    /// Where no descriptor can be had.
    pub(super) fn get() -> io::Result<Self> {
        loop {
            if let Some(existing) = Self::existing() {
                return Ok(existing);
            }
            let made = make()?;
            let word = REFERENCE | u64::from(made.as_raw_fd().unsigned_abs() + 1);
            if swap(0, word) {
                return Ok(Self(made.into_raw_fd()));
            }
            // Another thread was first.
        }
    }

    fn existing() -> Option<Self> {
        loop {
            let seen = ALARM.load(Ordering::Relaxed);
            if seen == 0 {
                return None;
            }
            if swap(seen, seen + REFERENCE) {
                return Some(Self(number(seen)));
            }
        }
    }

    /// For the holder of a reference whose number is all that it has kept.
    pub(super) fn from_number(number: RawFd) -> Self {
        Self(number)
    }

    /// Keeps the reference by its number.
    pub(super) fn into_number(self) -> RawFd {
        let number = self.0;
        std::mem::forget(self);
        number
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        loop {
            let seen = ALARM.load(Ordering::Relaxed);
            let left = Some(seen - REFERENCE).filter(|&left| left >= REFERENCE);
            if swap(seen, left.unwrap_or(0)) {
                if left.is_none() {
                    // SAFETY: the word has owned it, and says no more that there is one.
                    drop(unsafe { OwnedFd::from_raw_fd(number(seen)) });
                }
                return;
            }
        }
    }
}

/// Wakes every thread that sleeps on the alarm beside something else.
pub(super) fn ring() {
    // With a reference, since the number could else be another descriptor's by now.
    let Some(alarm) = Alarm::existing() else {
        return;
    };
    // SAFETY: open while the reference lives.
    let fd = unsafe { BorrowedFd::borrow_raw(alarm.0) };
    // Refused only where somebody has filled it up, which has woken everybody.
    let _ = nix::unistd::write(fd, &0u64.to_ne_bytes());
}

fn make() -> io::Result<OwnedFd> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let made =
        EventFd::from_value_and_flags(0, flags).map_err(|errno| refused("eventfd2(2)", errno))?;
    beyond_standard_streams(made.into())
}

fn number(word: u64) -> RawFd {
    (word as u32).wrapping_sub(1) as RawFd
}

fn swap(seen: u64, wanted: u64) -> bool {
    ALARM
        .compare_exchange(seen, wanted, Ordering::AcqRel, Ordering::Relaxed)
        .is_ok()
}
