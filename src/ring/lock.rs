//! The side lock: one word in shared memory that serialises one side and survives its owner.
//!
//! The word is 0 when free, else the owner's thread id, by the robust-futex ABI
//! (Documentation/locking/robust-futex-ABI.rst). Before it touches the word a thread announces it
//! in its own `list_op_pending` ([`Thread::announce`]); if the thread dies anywhere between that and
//! the take-back, the kernel marks the word `OWNER_DIED` and wakes a waiter. The next owner learns
//! it from [`Guard::owner_died`] and finds nothing to repair, only to look at.
//!
//! A thread announces one word at a time. A signal handler that comes while its thread is inside a lock, of whatever
//! pipe, is refused any other, and the same one ([`Fault::Reentrant`]).
//!
//! Who sleeps, and why no sleeper is forgotten:
//! - A waiter sets `WAITERS` and sleeps only while the word has an owner.
//! - An unlock clears the owner and leaves `WAITERS`, so whoever takes the lock next inherits the
//!   duty to wake; the bit goes only after a wake that found nobody, and after it has gone everybody
//!   is woken once more, in case it had become somebody else's. A thread that slept and then takes
//!   the lock keeps the bit; one that gives up puts it back.
//! - An unlocker killed between the release and the wake, or a woken waiter killed before it took
//!   the lock, still has the announcement; the kernel sees a word without owner and wakes the next.

use std::io;

use crate::error::Fault;
use crate::segment::layout::SideLock;
use crate::sync::{AtomicU32, Ordering, spin_hint};
use crate::sys::clock::{Deadline, Timeout};
use crate::sys::futex::{self, OWNER_DIED, TID_MASK, WAITERS};
use crate::sys::interrupt;
use crate::sys::process::name_of_namespace;
use crate::sys::thread::{Known, Pending, Thread};

/// How many looks a contender takes before it sleeps or gives up: a side is held for some tens of
/// nanoseconds unless its owner was preempted or is inside a long message.
const LOOKS: u32 = if cfg!(loom) { 0 } else { 200 };

/// How long a contender sleeps at a time where futex(2) is refused.
const BLIND_SLEEP: std::time::Duration = std::time::Duration::from_micros(100);

impl SideLock {
    /// Takes the lock, waiting as long as `timeout` allows.
    ///
    /// # Errors
    ///
    /// [`Fault::NotNow`] when the time-out has passed, [`Fault::Interrupted`] when the hook ended it; [`Fault::Reentrant`] for a signal handler whose thread is inside a lock;
    /// `Io` where this thread cannot own a robust lock.
    #[inline]
    pub(crate) fn lock(&self, timeout: Timeout) -> Result<Guard<'_>, Fault> {
        let thread = Thread::current()?;
        if self.namespace.load(Ordering::Relaxed) != thread.namespace() {
            self.settle_namespace(thread)?;
        }
        let pending = thread.announce(&self.word).ok_or(Fault::Reentrant)?;
        // SYNC: side-lock
        let taken =
            self.word
                .compare_exchange(0, thread.id(), Ordering::Acquire, Ordering::Relaxed);
        let guard = Guard {
            lock: self,
            pending: Some(pending),
            owner_died: false,
        };
        match taken {
            Ok(_) => Ok(guard),
            Err(_) => self.lock_contended(guard, timeout),
        }
    }

    /// Takes the lock if it is free, its last owner lives, and this thread is inside no other.
    #[inline]
    pub(crate) fn lock_uncontended(&self) -> Option<Guard<'_>> {
        Thread::with(|known| self.lock_uncontended_as(known))
    }

    /// As [`lock_uncontended`](Self::lock_uncontended), for a caller who has asked who it is.
    #[inline(always)]
    pub(crate) fn lock_uncontended_as(&self, known: &Known) -> Option<Guard<'_>> {
        let thread = known.thread()?;
        if self.namespace.load(Ordering::Relaxed) != thread.namespace() {
            return None;
        }
        let pending = thread.announce(&self.word)?;
        // SYNC: side-lock
        let taken =
            self.word
                .compare_exchange(0, thread.id(), Ordering::Acquire, Ordering::Relaxed);
        if taken.is_err() {
            pending.take_back();
            return None;
        }
        Some(Guard {
            lock: self,
            pending: Some(pending),
            owner_died: false,
        })
    }

    /// The first holder decides in which pid namespace the side's thread ids are. One from another
    /// namespace could have the owner's id and must not come near the word.
    #[cold]
    fn settle_namespace(&self, thread: Thread) -> Result<(), Fault> {
        let ours = thread.namespace();
        let settled =
            self.namespace
                .compare_exchange(0, ours, Ordering::Relaxed, Ordering::Relaxed);
        match settled {
            Err(other) if other != ours => Err(Fault::Io(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "this side of the pipe is used in pid namespace {} and cannot be shared with {}",
                    name_of_namespace(other),
                    name_of_namespace(ours)
                ),
            ))),
            _ => Ok(()),
        }
    }

    /// Whether the last owner died and nobody has taken the lock since.
    pub(crate) fn owner_has_died(&self) -> bool {
        self.word.load(Ordering::Acquire) & OWNER_DIED != 0
    }

    /// Whether the calling thread may ask for the lock at all.
    ///
    /// # Errors
    ///
    /// [`Fault::Reentrant`] for a signal handler whose thread is inside a lock; `Io` as [`lock`](Self::lock).
    pub(crate) fn refuse_reentrance(&self) -> Result<(), Fault> {
        let pending = Thread::current()?.announce(&self.word);
        pending.ok_or(Fault::Reentrant)?.take_back();
        Ok(())
    }

    /// Wakes all who wait for the lock, to look again at whatever else they mind.
    pub(crate) fn wake_all(&self) {
        futex::wake(&self.word, i32::MAX);
    }

    /// The id of the thread inside, if any.
    pub(crate) fn owner(&self) -> Option<u32> {
        let owner = self.word.load(Ordering::Relaxed) & TID_MASK;
        (owner != 0).then_some(owner)
    }

    /// As [`owner`](Self::owner); whoever takes the lock after that sees all that the caller did before.
    pub(crate) fn owner_in_order(&self) -> Option<u32> {
        // SYNC: side-lock. A change of nothing, so that it has its place among the takings of the lock.
        let owner = self.word.fetch_or(0, Ordering::AcqRel) & TID_MASK;
        (owner != 0).then_some(owner)
    }

    /// Whether nobody alive is inside. Acquire: what those who were there did is seen.
    pub(crate) fn is_free(&self) -> bool {
        // SYNC: side-lock. The kernel takes a dead owner's id out.
        self.word.load(Ordering::Acquire) & TID_MASK == 0
    }

    /// `guard` carries the announcement and does not own the word yet.
    #[cold]
    fn lock_contended<'a>(
        &'a self,
        mut guard: Guard<'a>,
        timeout: Timeout,
    ) -> Result<Guard<'a>, Fault> {
        let id = guard.thread().id();
        let mut looks = 0;
        let mut slept = 0;
        loop {
            let seen = self.word.load(Ordering::Relaxed);
            let is_free = seen & TID_MASK == 0;
            if is_free {
                let wanted = id | (seen & WAITERS) | slept;
                // SYNC: side-lock
                let taken =
                    self.word
                        .compare_exchange(seen, wanted, Ordering::Acquire, Ordering::Relaxed);
                if taken.is_ok() {
                    guard.owner_died = seen & OWNER_DIED != 0;
                    return Ok(guard);
                }
            }
            if looks != LOOKS {
                looks += 1;
                spin_hint();
                continue;
            }
            let deadline = match timeout {
                Timeout::Until(deadline) | Timeout::Unasked(deadline) if !deadline.passed() => {
                    deadline
                }
                _ => {
                    if slept != 0 {
                        self.pass_on_the_wake();
                    }
                    guard.abandon();
                    return Err(Fault::NotNow);
                }
            };
            if !is_free && !matches!(timeout, Timeout::Unasked(_)) {
                if let Err(interruption) = interrupt::ask() {
                    if slept != 0 {
                        self.pass_on_the_wake();
                    }
                    guard.abandon();
                    return Err(interruption.into());
                }
            }
            // Nobody would wake one who sleeps on a word without an owner.
            if !is_free && self.mark_waiters(seen) {
                slept = WAITERS;
                let is_asked = !matches!(timeout, Timeout::Unasked(_));
                let asleep = is_asked.then(interrupt::fall_asleep).transpose();
                if asleep.is_err() {
                    // Closed, which is to be asked above.
                    continue;
                }
                sleep(&self.word, seen | WAITERS, interrupt::soon(deadline));
            }
        }
    }

    /// For one who slept and gives up: it may have been the one that was woken, so the others' mark or
    /// their wake is its duty now.
    fn pass_on_the_wake(&self) {
        let before = self.word.fetch_or(WAITERS, Ordering::Relaxed);
        if before & TID_MASK == 0 {
            futex::wake(&self.word, 1);
        }
    }

    /// Sets `WAITERS` beside the owner in `seen`; false when the word has changed.
    fn mark_waiters(&self, seen: u32) -> bool {
        seen & WAITERS != 0
            || self
                .word
                .compare_exchange(seen, seen | WAITERS, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Releases what [`Guard::release_uncontended`] has left to its caller.
    #[cold]
    pub(crate) fn release_contended(&self) {
        self.unlock_contended();
        if let Some(thread) = Thread::known() {
            thread.announced().take_back();
        }
    }

    #[inline]
    fn unlock(&self, id: u32) {
        // SYNC: side-lock
        if self
            .word
            .compare_exchange(id, 0, Ordering::Release, Ordering::Relaxed)
            .is_err()
        {
            self.unlock_contended();
        }
    }

    #[cold]
    fn unlock_contended(&self) {
        // SYNC: side-lock
        self.word.fetch_and(WAITERS, Ordering::Release);
        if futex::wake(&self.word, 1) > 0 {
            return;
        }
        let cleared = self
            .word
            .compare_exchange(WAITERS, 0, Ordering::Relaxed, Ordering::Relaxed);
        if cleared.is_ok() {
            // Since the wake others may have owned the word and gone, and somebody may sleep whose mark
            // this was. Whoever marks the word from now on finds no owner and does not sleep.
            futex::wake(&self.word, i32::MAX);
        }
    }
}

/// Sleeps while the word holds `expected`; where futex(2) is refused, looks again a little later.
fn sleep(word: &AtomicU32, expected: u32, deadline: Deadline) {
    if futex::wait(word, expected, deadline).is_err() {
        std::thread::sleep(BLIND_SLEEP);
    }
}

/// Proof that the calling thread owns a side; releases it when dropped. Stays on its thread.
pub(crate) struct Guard<'a> {
    lock: &'a SideLock,
    /// Taken by the release, so `Some` until then.
    pending: Option<Pending>,
    owner_died: bool,
}

impl Guard<'_> {
    /// Whether the owner before this one died, or may have, inside its section.
    #[inline]
    pub(crate) fn owner_died(&self) -> bool {
        self.owner_died
    }

    /// Releases the side where nobody waits for it. Otherwise false, and the calling thread is still the owner until it
    /// calls [`SideLock::release_contended`], which it has to.
    #[inline(always)]
    #[must_use]
    pub(crate) fn release_uncontended(mut self) -> bool {
        let Some(pending) = self.pending.take() else {
            return true;
        };
        // SYNC: side-lock
        let released = self.lock.word.compare_exchange(
            pending.thread().id(),
            0,
            Ordering::Release,
            Ordering::Relaxed,
        );
        if released.is_ok() {
            pending.take_back();
        }
        released.is_ok()
    }

    fn thread(&self) -> Thread {
        self.pending
            .as_ref()
            .expect("taken by the release only")
            .thread()
    }

    /// Takes back the announcement of a lock that was never taken.
    fn abandon(mut self) {
        if let Some(pending) = self.pending.take() {
            pending.take_back();
        }
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.lock.unlock(pending.thread().id());
            pending.take_back();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::AtomicU64;
    use std::time::Duration;

    fn new() -> SideLock {
        SideLock {
            word: AtomicU32::new(0),
            namespace: AtomicU64::new(0),
        }
    }

    #[test]
    fn threads_exclude_each_other() {
        let lock = new();
        let count = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50_000 {
                        let guard = lock.lock(Timeout::FOREVER).unwrap();
                        let seen = count.load(Ordering::Relaxed);
                        count.store(seen + 1, Ordering::Relaxed);
                        drop(guard);
                    }
                });
            }
        });
        assert_eq!(count.into_inner(), 200_000);
        assert_eq!(lock.word.load(Ordering::Relaxed) & TID_MASK, 0);
    }

    #[test]
    fn a_time_out_ends_the_wait_while_another_thread_owns_the_lock() {
        let lock = new();
        let guard = lock.lock(Timeout::FOREVER).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(matches!(lock.lock(Timeout::Never), Err(Fault::NotNow)));
                let deadline = Deadline::after(Duration::from_millis(5));
                let outcome = lock.lock(Timeout::Until(deadline));
                assert!(matches!(outcome, Err(Fault::NotNow)));
                assert!(deadline.passed());
            });
        });
        drop(guard);
        assert!(lock.lock(Timeout::Never).is_ok());
    }

    #[test]
    fn a_thread_that_ends_inside_leaves_the_mark_for_the_next_owner() {
        let lock = new();
        // Joined and not detached: musl takes the list of a detached thread that ends away from the kernel. No call of
        // this crate ends its thread, and a process that dies takes nothing away.
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| std::mem::forget(lock.lock(Timeout::FOREVER).unwrap()));
            inside.join().unwrap();
        });
        // The kernel marks the word when the thread is really gone, a little after its join.
        let guard = lock.lock(Timeout::FOREVER).unwrap();
        assert!(guard.owner_died());
        drop(guard);
        assert!(!lock.lock(Timeout::FOREVER).unwrap().owner_died());
    }
}
