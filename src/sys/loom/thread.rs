//! Stands in for `sys::thread` under the model checker: who a thread is, and what it has announced.

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::ptr;

use crate::sync::AtomicU32;

loom::thread_local! {
    static ID: u32 = super::kernel::new_thread_id();
    static PENDING: Cell<*const AtomicU32> = Cell::new(ptr::null());
}

#[derive(Clone, Copy)]
pub(crate) struct Thread {
    id: u32,
    _not_send: PhantomData<*mut ()>,
}

impl Thread {
    pub(crate) fn current() -> io::Result<Self> {
        Ok(Self {
            id: ID.with(|&id| id),
            _not_send: PhantomData,
        })
    }

    pub(crate) fn with<T>(act: impl FnOnce(&Known) -> T) -> T {
        act(&Known)
    }

    pub(crate) fn known() -> Option<Self> {
        Self::current().ok()
    }

    /// No wait looks again here, so nobody minds.
    pub(crate) fn sent() -> u32 {
        0
    }

    pub(crate) fn id(self) -> u32 {
        self.id
    }

    /// What every side begins with, so that no thread has to settle it.
    pub(crate) fn namespace(self) -> u64 {
        0
    }

    pub(crate) fn announce(self, word: &AtomicU32) -> Option<Pending> {
        let is_inside = PENDING.with(|pending| !pending.get().is_null());
        if is_inside {
            return None;
        }
        PENDING.with(|pending| pending.set(word));
        Some(Pending { thread: self })
    }
}

/// What is known of a thread.
pub(crate) struct Known;

impl Known {
    pub(crate) fn thread(&self) -> Option<Thread> {
        Thread::known()
    }

    pub(crate) fn note_sent(&self) {}
}

impl Thread {
    /// What this thread has announced and not taken back.
    pub(crate) fn announced(self) -> Pending {
        Pending { thread: self }
    }
}

pub(crate) struct Pending {
    thread: Thread,
}

impl Pending {
    pub(crate) fn thread(&self) -> Thread {
        self.thread
    }

    pub(crate) fn take_back(self) {
        PENDING.with(|pending| pending.set(ptr::null()));
    }
}

/// What the kernel does about the announced word when a thread dies (`handle_futex_death` in
/// kernel/futex/core.c); the caller touches nothing of the pipe after it.
#[cfg(test)]
pub(crate) fn die() {
    use super::futex::{OWNER_DIED, TID_MASK, WAITERS, wake};
    use crate::sync::Ordering;

    let word = PENDING.with(|pending| pending.replace(ptr::null()));
    // SAFETY: null, or a word that outlives its announcement.
    let Some(word) = (unsafe { word.as_ref() }) else {
        return;
    };
    let id = ID.with(|&id| id);
    loop {
        let seen = word.load(Ordering::SeqCst);
        if seen & TID_MASK == 0 {
            wake(word, 1);
            return;
        }
        if seen & TID_MASK != id {
            return;
        }
        let marked = seen & WAITERS | OWNER_DIED;
        let outcome = word.compare_exchange(seen, marked, Ordering::SeqCst, Ordering::SeqCst);
        if outcome.is_ok() {
            if seen & WAITERS != 0 {
                wake(word, 1);
            }
            return;
        }
    }
}
