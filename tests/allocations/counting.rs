//! An allocator that counts what is asked of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Of each thread by itself: the harness has one beside the body's. Neither is set up or torn down, so
    // an allocator may use them.
    static REQUESTS: Cell<usize> = const { Cell::new(0) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator with counters.
pub(crate) struct Counting;

/// What `work` asked of the allocator.
#[derive(Debug)]
pub(crate) struct Asked {
    /// How often, growing a block included.
    pub(crate) requests: usize,
    /// The largest block in bytes.
    pub(crate) largest: usize,
}

/// Counts what this thread does in `work`.
pub(crate) fn asked_by(work: impl FnOnce()) -> Asked {
    let before = REQUESTS.get();
    LARGEST.set(0);
    work();
    Asked {
        requests: REQUESTS.get() - before,
        largest: LARGEST.get(),
    }
}

fn note(size: usize) {
    REQUESTS.set(REQUESTS.get() + 1);
    LARGEST.set(LARGEST.get().max(size));
}

// SAFETY: every block is the system's allocator's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: by the caller; the block is one of the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: by the caller; the block is one of the system's allocator.
        unsafe { System.realloc(block, layout, size) }
    }
}
