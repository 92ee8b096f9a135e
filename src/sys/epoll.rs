//! An epoll(7) descriptor that shows what one descriptor of an end shows, and does not hold the end's side.
//!
//! A copy of a descriptor holds the side until it is closed itself. This one is readable while the other is what it
//! watches for, so whoever needs a descriptor of his own takes a copy of this, and a close leaves nothing behind.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::descriptors::{beyond_standard_streams, replace};
use super::fork::fork_generation;
use super::refused::refused;

/// Made when it is first asked for, and for a forked child anew: a child shares its parent's.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The fork generation of who made it; below, its number plus 1. 0 for none.
    word: AtomicU64,
}

impl Watch {
    /// What is readable while `fd` is as `events` says, or hung up.
    ///
    /// # Errors
    ///
    /// Where it cannot be made, `EMFILE` above all.
    pub(crate) fn of(&self, fd: BorrowedFd<'_>, events: EpollFlags) -> io::Result<BorrowedFd<'_>> {
        let generation = u64::from(fork_generation()?) << 32;
        let found = self.word.load(Ordering::Acquire);
        if found != 0 && found & !u64::from(u32::MAX) == generation {
            return Ok(borrowed(found));
        }
        let made = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|errno| refused("epoll_create1(2)", errno))?;
        let made = Epoll(beyond_standard_streams(made.0)?);
        made.add(fd, EpollEvent::new(events, 0))
            .map_err(|errno| refused("epoll_ctl(2) of the pipe", errno))?;
        if found != 0 {
            // The parent's number, which others may know.
            replace(borrowed(found), made.0.as_fd())?;
            let word = generation | (found & u64::from(u32::MAX));
            self.word.store(word, Ordering::Release);
            return Ok(borrowed(word));
        }
        let word = generation | u64::from(made.0.as_raw_fd().unsigned_abs() + 1);
        let outcome = self
            .word
            .compare_exchange(0, word, Ordering::AcqRel, Ordering::Acquire);
        Ok(match outcome {
            Ok(_) => {
                let _ = made.0.into_raw_fd();
                borrowed(word)
            }
            // Another thread was first.
            Err(theirs) => borrowed(theirs),
        })
    }

    /// Before `fd` is going to stand for something else: watches it no more.
    pub(crate) fn hide(&self, fd: BorrowedFd<'_>) {
        self.control(libc::EPOLL_CTL_DEL, fd, EpollFlags::empty());
    }

    /// Watches `fd` again, whatever it stands for. Where that is refused, who waits is not woken.
    pub(crate) fn show(&self, fd: BorrowedFd<'_>, events: EpollFlags) {
        self.control(libc::EPOLL_CTL_ADD, fd, events);
    }

    fn control(&self, operation: libc::c_int, fd: BorrowedFd<'_>, events: EpollFlags) {
        let word = self.word.load(Ordering::Acquire);
        // A child leaves its parent's as it is.
        let is_ours = fork_generation().is_ok_and(|ours| word >> 32 == u64::from(ours));
        if word == 0 || !is_ours {
            return;
        }
        let mut event = libc::epoll_event {
            events: events.bits() as u32,
            u64: 0,
        };
        // SAFETY: two open descriptors, and a live event that the call reads.
        unsafe { libc::epoll_ctl(number(word), operation, fd.as_raw_fd(), &raw mut event) };
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let word = *self.word.get_mut();
        if word != 0 {
            // SAFETY: the word has owned it.
            drop(unsafe { OwnedFd::from_raw_fd(number(word)) });
        }
    }
}

fn number(word: u64) -> RawFd {
    (word as u32).wrapping_sub(1) as RawFd
}

/// The descriptor of a word, which stays open until the watch is dropped.
fn borrowed<'a>(word: u64) -> BorrowedFd<'a> {
    // SAFETY: callers bind the lifetime to the watch.
    unsafe { BorrowedFd::borrow_raw(number(word)) }
}
