//! How many threads of this process use connections.
//!
//! A thread that gives its CPU away by a yield, or keeps it by spinning, does so in favour of the peer. With other
//! threads that use pipes, it keeps them from the CPU, or lets them have it while they wait for the GIL; so then it
//! sleeps at once.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::blocking::fork_generation;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// One of them, for as long as the thread lives.
struct Counted {
    /// The generation of forks in which it was counted; `u64::MAX` for not yet.
    generation: Cell<u64>,
}

thread_local! {
    static COUNTED: Counted = const { Counted { generation: Cell::new(u64::MAX) } };
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.generation.get() == fork_generation() {
            COUNT.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// In a forked child, whose only thread has not been counted.
pub(crate) fn forget_all() {
    COUNT.store(0, Ordering::Relaxed);
}

/// Notes that the calling thread uses connections.
#[inline]
pub(crate) fn note_use() {
    // A thread that is ending counts no more.
    let _ = COUNTED.try_with(|counted| {
        let generation = fork_generation();
        if counted.generation.replace(generation) != generation {
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
    });
}

/// Whether other threads than the calling one use connections.
pub(crate) fn others_use_pipes() -> bool {
    note_use();
    COUNT.load(Ordering::Relaxed) > 1
}
