//! The side lock under the model checker: exclusion, and no sleeper forgotten.
//!
//! A contender looks once and then sleeps, so that the sleeping is what is tested. A thread that is
//! killed here dies with the lock in its hands; deaths at every other step are in `tests/models`.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;

use super::lock::Guard;
use crate::error::Fault;
use crate::segment::layout::SideLock;
use crate::sync::{AtomicU64, Ordering};
use crate::sys::clock::{Deadline, Timeout};
use crate::sys::futex::TID_MASK;
use crate::sys::kernel::{let_time_pass, model};
use crate::sys::thread::die;

/// A lock and something that only its owner may touch.
#[derive(Default)]
struct Locked {
    lock: SideLock,
    count: UnsafeCell<u32>,
}

// SAFETY: the checker reports every access to `count` that the lock does not order.
unsafe impl Sync for Locked {}

impl Locked {
    fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    fn touch(&self, _guard: &Guard<'_>) {
        self.count.with_mut(|count| {
            // SAFETY: the checker has just found nobody else at it.
            unsafe { *count += 1 };
        });
    }

    /// Takes the lock, counts, and lets go of it.
    fn take(&self, timeout: Timeout) -> Result<(), Fault> {
        let guard = self.lock.lock(timeout)?;
        self.touch(&guard);
        Ok(())
    }

    /// How often it was taken, after all threads are done.
    fn counted(&self) -> u32 {
        let guard = self.lock.lock(Timeout::Never).expect("the lock is free");
        // SAFETY: as in `touch`.
        let count = self.count.with(|count| unsafe { *count });
        drop(guard);
        assert_eq!(self.lock.word.load(Ordering::Relaxed) & TID_MASK, 0);
        count
    }
}

fn spawn<T: 'static>(
    locked: &Arc<Locked>,
    body: impl FnOnce(&Locked) -> T + 'static,
) -> thread::JoinHandle<T> {
    let locked = Arc::clone(locked);
    thread::spawn(move || body(&locked))
}

#[test]
fn owners_exclude_each_other_and_see_what_the_last_one_did() {
    model(|| {
        let locked = Locked::new();
        let other = spawn(&locked, |locked| {
            locked.take(Timeout::FOREVER).unwrap();
            locked.take(Timeout::FOREVER).unwrap();
        });
        locked.take(Timeout::FOREVER).unwrap();
        other.join().unwrap();
        assert_eq!(locked.counted(), 3);
    });
}

#[test]
fn every_sleeper_gets_its_turn() {
    model(|| {
        let locked = Locked::new();
        let others = [(); 2].map(|()| spawn(&locked, |l| l.take(Timeout::FOREVER).unwrap()));
        locked.take(Timeout::FOREVER).unwrap();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(locked.counted(), 3);
    });
}

#[test]
fn a_sleeper_takes_over_from_an_owner_that_died() {
    model(|| {
        let locked = Locked::new();
        let deaths_seen = Arc::new(AtomicU64::new(0));
        let dying = spawn(&locked, |locked| {
            let guard = locked.lock.lock(Timeout::FOREVER).unwrap();
            locked.touch(&guard);
            std::mem::forget(guard);
            die();
        });
        let others = [(); 2].map(|()| {
            let deaths_seen = Arc::clone(&deaths_seen);
            spawn(&locked, move |locked| {
                let guard = locked.lock.lock(Timeout::FOREVER).unwrap();
                locked.touch(&guard);
                if guard.owner_died() {
                    deaths_seen.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        dying.join().unwrap();
        for other in others {
            other.join().unwrap();
        }
        let last = locked.lock.lock(Timeout::Never).unwrap();
        let seen = deaths_seen.load(Ordering::Relaxed) + u64::from(last.owner_died());
        assert_eq!(
            seen, 1,
            "exactly one owner after the dead one sees its mark"
        );
        drop(last);
        assert_eq!(locked.counted(), 3);
    });
}

#[test]
fn one_that_gives_up_passes_its_wake_on() {
    model(|| {
        let locked = Locked::new();
        let deadline = Deadline::after(std::time::Duration::from_secs(1));
        let impatient = spawn(&locked, move |locked| {
            locked.take(Timeout::Until(deadline)).is_ok()
        });
        let patient = spawn(&locked, |locked| locked.take(Timeout::FOREVER).unwrap());
        let clock = spawn(&locked, |_| let_time_pass());
        locked.take(Timeout::FOREVER).unwrap();
        patient.join().unwrap();
        clock.join().unwrap();
        let taken = 2 + u32::from(impatient.join().unwrap());
        assert_eq!(locked.counted(), taken);
    });
}
