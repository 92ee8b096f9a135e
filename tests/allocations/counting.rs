//! An allocator that counts what is asked of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static REQUESTS: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

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

/// Counts for `work`; of a process in which nobody else allocates meanwhile.
pub(crate) fn asked_by(work: impl FnOnce()) -> Asked {
    let before = REQUESTS.load(Ordering::Relaxed);
    LARGEST.store(0, Ordering::Relaxed);
    work();
    Asked {
        requests: REQUESTS.load(Ordering::Relaxed) - before,
        largest: LARGEST.load(Ordering::Relaxed),
    }
}

fn note(size: usize) {
    REQUESTS.fetch_add(1, Ordering::Relaxed);
    LARGEST.fetch_max(size, Ordering::Relaxed);
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
