//! The side lock for calls that may not wait.
//!
//! A call that may not wait for the other side still has to look at its own, and another holder of that may be in the
//! middle of a call. What such a section takes is little, so the call waits for it, as read(2) of a pipe with
//! `O_NONBLOCK` waits for the pipe's own mutex: else it would have to say that nothing is there without having looked.
//! It does not wait for a holder that keeps the lock until the *other* side does something.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::lock::Guard;
use crate::error::Fault;
use crate::segment::layout::SideLock;
use crate::sync::{AtomicU32, Ordering};
use crate::sys::clock::{Deadline, Timeout};

/// A section that takes longer is that of a holder which was stopped, or kept from running, in the middle of it.
const SECTION_MAX: Duration = Duration::from_millis(100);

/// First interval of looks whether the holder keeps the lock by now; then they double.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// The owner of a lock for which a process has waited in vain, 0 if none: it does not wait for that one again and again.
#[derive(Default)]
pub(crate) struct Stuck(AtomicU32);

impl Stuck {
    /// For whoever has taken the lock: the owner that was waited for in vain has gone on.
    #[inline]
    pub(crate) fn clear(&self) {
        if self.0.load(Ordering::Relaxed) != 0 {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn note(&self, owner: u32) {
        self.0.store(owner, Ordering::Relaxed);
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn is_noted(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// Takes a lock that another holder has at the moment.
///
/// # Errors
///
/// [`Fault::NotNow`] when that one keeps it until the other side goes on, by what `is_kept` says; [`Fault::Busy`] when
/// it is in its section for over 100 ms.
#[cold]
pub(crate) fn lock_in_a_moment<'a>(
    lock: &'a SideLock,
    stuck: &Stuck,
    is_kept: impl Fn() -> bool,
) -> Result<Guard<'a>, Fault> {
    let end = Deadline::after(SECTION_MAX);
    let mut look_after = FIRST_LOOK;
    loop {
        if is_kept() {
            return Err(Fault::NotNow);
        }
        let owner = lock.owner().unwrap_or(0);
        // The kernel takes out an owner that dies, so one that does not exist is a lie.
        let is_in_vain = owner != 0 && (stuck.0.load(Ordering::Relaxed) == owner || !exists(owner));
        if is_in_vain && lock.owner() == Some(owner) {
            return Err(Fault::Busy);
        }
        match lock.lock(Timeout::Until(end.at_most(look_after))) {
            Err(Fault::NotNow) if end.passed() => {
                stuck.0.store(owner, Ordering::Relaxed);
                return Err(Fault::Busy);
            }
            Err(Fault::NotNow) => look_after *= 2,
            outcome => {
                stuck.0.store(0, Ordering::Relaxed);
                return outcome;
            }
        }
    }
}

/// Whether there is a thread of this id (kill(2) without a signal).
fn exists(id: u32) -> bool {
    let id = i32::try_from(id).map_or(Pid::from_raw(i32::MAX), Pid::from_raw);
    kill(id, None) != Err(Errno::ESRCH)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::AtomicU64;

    fn lock() -> SideLock {
        SideLock {
            word: AtomicU32::new(0),
            namespace: AtomicU64::new(0),
        }
    }

    #[test]
    fn another_threads_section_is_waited_for_and_not_one_in_which_it_waits() {
        let lock = lock();
        let guard = lock.lock(Timeout::FOREVER).unwrap();
        std::thread::scope(|scope| {
            let kept = scope.spawn(|| {
                let stuck = Stuck::default();
                lock_in_a_moment(&lock, &stuck, || true).map(drop)
            });
            assert!(matches!(kept.join().unwrap(), Err(Fault::NotNow)));
            let waits = scope.spawn(|| {
                let stuck = Stuck::default();
                lock_in_a_moment(&lock, &stuck, || false).map(drop)
            });
            drop(guard);
            waits.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_stuck_owner_is_waited_for_once() {
        let lock = lock();
        let stuck = Stuck::default();
        let guard = lock.lock(Timeout::FOREVER).unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let start = Deadline::after(SECTION_MAX);
                let first = lock_in_a_moment(&lock, &stuck, || false).map(drop);
                assert!(matches!(first, Err(Fault::Busy)));
                assert!(start.passed());
                assert_eq!(Some(stuck.0.load(Ordering::Relaxed)), lock.owner());
                let second = lock_in_a_moment(&lock, &stuck, || false).map(drop);
                assert!(matches!(second, Err(Fault::Busy)));
            });
            waits.join().unwrap();
            drop(guard);
        });
        assert!(lock_in_a_moment(&lock, &stuck, || false).is_ok());
        assert_eq!(stuck.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_owner_that_does_not_exist_is_not_waited_for() {
        let lock = lock();
        drop(lock.lock(Timeout::FOREVER));
        lock.word.store(0x3fff_fffe, Ordering::Relaxed);
        let stuck = Stuck::default();
        assert!(matches!(
            lock_in_a_moment(&lock, &stuck, || false),
            Err(Fault::Busy)
        ));
        assert_eq!(stuck.0.load(Ordering::Relaxed), 0, "nobody was waited for");
    }
}
