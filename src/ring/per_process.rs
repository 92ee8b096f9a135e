//! State that all handles of a process to one side share, and that a forked child does not inherit.
//!
//! The side's lock lies in shared memory, where a broken or hostile holder can release it for somebody else. What
//! lies in private memory needs an owner that nobody else can change: one word, which says to which process the state
//! belongs and whether one of its threads has it. A fork copies that word whatever another thread was doing, so the
//! child finds a state of its parent: it begins with a new one and leaves the copy as it is, torn or not.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

use crate::error::Fault;
use crate::sync::{AtomicU64, Ordering};
use crate::sys::fork::fork_generation;

/// Set in the word while a thread has the state; the process's fork generation is above it.
const TAKEN: u64 = 1;

/// One `T` for each process that has the side.
pub(crate) struct PerProcess<T> {
    word: AtomicU64,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through `enter` only, which gives it to one thread at a time.
unsafe impl<T: Send> Sync for PerProcess<T> {}

impl<T: Default> PerProcess<T> {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            value: UnsafeCell::new(T::default()),
        }
    }

    /// The calling process's state. Under the side's lock, so that an honest holder never meets another one here.
    ///
    /// # Errors
    ///
    /// [`Fault::Corrupted`] when another thread has it, which the side's lock should have kept out; what
    /// [`fork_generation`] reports.
    #[inline]
    pub(crate) fn enter(&self) -> Result<Entered<'_, T>, Fault> {
        let ours = u64::from(fork_generation()?) << 1;
        // SYNC: per-process
        match self
            .word
            .compare_exchange(ours, ours | TAKEN, Ordering::Acquire, Ordering::Relaxed)
        {
            Ok(_) => Ok(Entered { cell: self }),
            Err(found) => self.begin(ours, found),
        }
    }

    /// For one who `found` the state of another process, or of none.
    #[cold]
    fn begin(&self, ours: u64, found: u64) -> Result<Entered<'_, T>, Fault> {
        if found & !TAKEN == ours {
            return Err(Fault::Corrupted);
        }
        // SYNC: per-process
        self.word
            .compare_exchange(found, ours | TAKEN, Ordering::Acquire, Ordering::Relaxed)
            .map_err(|_| Fault::Corrupted)?;
        // Written over and not dropped: what a fork has copied in the middle of a change is not to be touched.
        // SAFETY: the word has just given the value to this thread alone.
        unsafe { self.value.get().write(T::default()) };
        Ok(Entered { cell: self })
    }

    /// Whether the state is this process's own, so that it is worth [entering](Self::enter).
    pub(crate) fn is_ours(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        fork_generation().is_ok_and(|generation| word >> 1 == u64::from(generation))
    }
}

/// Proof that the calling thread has the process's state.
pub(crate) struct Entered<'a, T> {
    cell: &'a PerProcess<T>,
}

impl<T> Deref for Entered<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: by the word, no other thread has the value while this exists.
        unsafe { &*self.cell.value.get() }
    }
}

impl<T> DerefMut for Entered<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { &mut *self.cell.value.get() }
    }
}

impl<T> Drop for Entered<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // A child that was forked by another thread meanwhile has its own copy of the word.
        let ours = self.cell.word.load(Ordering::Relaxed) & !TAKEN;
        // SYNC: per-process
        self.cell.word.store(ours, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sys::fork::Child;

    #[test]
    fn the_state_stays_from_one_entry_to_the_next() {
        let cell = PerProcess::<Vec<u8>>::new();
        assert!(!cell.is_ours());
        cell.enter().unwrap().push(7);
        assert!(cell.is_ours());
        assert_eq!(*cell.enter().unwrap(), [7]);
    }

    #[test]
    fn a_second_entry_at_the_same_time_is_refused() {
        let cell = PerProcess::<u32>::new();
        let entered = cell.enter().unwrap();
        assert!(matches!(cell.enter(), Err(Fault::Corrupted)));
        drop(entered);
        assert!(cell.enter().is_ok());
    }

    #[test]
    fn a_forked_child_begins_anew_whatever_its_parent_was_doing() {
        let cell = PerProcess::<Vec<u8>>::new();
        let mut entered = cell.enter().unwrap();
        entered.push(7);
        let child =
            Child::of(|| !cell.is_ours() && cell.enter().is_ok_and(|state| state.is_empty()));
        assert!(child.ends_well());
        assert_eq!(*entered, [7]);
    }
}
