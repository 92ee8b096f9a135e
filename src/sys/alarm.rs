//! One descriptor with which a process makes its sleeping threads look at their descriptors once more.
//!
//! poll(2) sleeps on what its numbers stood for when it fell asleep. Whatever wakes it makes it look up the numbers
//! again. A write of 0 to an eventfd(2) wakes and leaves nothing behind, so nobody returns to whom nothing has
//! happened.
//!
//! There is one for all ends of a process, for as long as one of them has a reference. A word counts the references,
//! because a lock that another thread held at the moment of a fork would stay locked in the child. A child begins
//! without one: the word is on the page that a fork wipes. It leaves its parent's number alone. The kernel copies the
//! descriptors a while before the memory, so in the child that number may be open as something else. What was copied
//! stays open there, one descriptor a generation, and holds no side.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::descriptors::beyond_standard_streams;
use super::fork::OwnPage;
use super::refused::refused;

/// One reference. They are in the upper half of the word; below is the number plus 1, or 0 where there is no descriptor.
const REFERENCE: u64 = 1 << 32;

/// A reference to the process's alarm.
#[derive(Debug)]
pub(super) struct Alarm {
    number: RawFd,
    /// The fork generation whose alarm it is.
    generation: u32,
}

impl Alarm {
    /// # Errors
    ///
    /// Where no descriptor can be had.
    pub(super) fn get() -> io::Result<Self> {
        let page = OwnPage::get()?;
        loop {
            if let Some(existing) = Self::existing(page) {
                return Ok(existing);
            }
            let made = make()?;
            let word = REFERENCE | u64::from(made.as_raw_fd().unsigned_abs() + 1);
            if swap(page, 0, word) {
                return Ok(Self::of(page, made.into_raw_fd()));
            }
            // Another thread was first.
        }
    }

    fn existing(page: &OwnPage) -> Option<Self> {
        loop {
            let seen = page.alarm.load(Ordering::Relaxed);
            if seen == 0 {
                return None;
            }
            if swap(page, seen, seen + REFERENCE) {
                return Some(Self::of(page, number(seen)));
            }
        }
    }

    fn of(page: &OwnPage, number: RawFd) -> Self {
        let generation = page.generation();
        Self { number, generation }
    }

    /// For the holder of a reference of which the word is all that it has kept.
    pub(super) fn from_word(word: u64) -> Self {
        let generation = (word >> 32) as u32;
        let number = number(word);
        Self { number, generation }
    }

    /// Keeps the reference as one word: the generation above, the number plus 1 below.
    pub(super) fn into_word(self) -> u64 {
        let word = u64::from(self.generation) << 32 | u64::from(self.number.unsigned_abs() + 1);
        std::mem::forget(self);
        word
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // A child gives back nothing of its parent's.
        let ours = |page: &&OwnPage| page.generation() == self.generation;
        let Some(page) = OwnPage::known().filter(ours) else {
            return;
        };
        loop {
            let seen = page.alarm.load(Ordering::Relaxed);
            let left = Some(seen - REFERENCE).filter(|&left| left >= REFERENCE);
            if swap(page, seen, left.unwrap_or(0)) {
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
    let Some(alarm) = OwnPage::known().and_then(Alarm::existing) else {
        return;
    };
    // SAFETY: open while the reference lives.
    let fd = unsafe { BorrowedFd::borrow_raw(alarm.number) };
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

fn swap(page: &OwnPage, seen: u64, wanted: u64) -> bool {
    page.alarm
        .compare_exchange(seen, wanted, Ordering::AcqRel, Ordering::Relaxed)
        .is_ok()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_reference_of_a_parent_is_not_given_back() {
        let ours = Alarm::get().unwrap();
        let parents = Alarm::from_word(ours.number.unsigned_abs().into());
        drop(parents);
        let page = OwnPage::get().unwrap();
        assert!(page.alarm.load(Ordering::Relaxed) >= REFERENCE);
        ring();
        drop(ours);
    }
}
