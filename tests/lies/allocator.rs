//! An allocator that knows the largest block ever asked for, and finds writes behind a block's end.
//!
//! It counts requests and not memory in use: one absurd request is the fault looked for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes behind each block that must still be what they were when it is freed.
const ZONE: usize = 64;
const MARK: u8 = 0xa5;

/// A larger block is refused, so that a test that fails does not take the machine's memory along.
const REFUSED: usize = 256 << 20;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// The largest block that anybody in this process has asked for.
pub(crate) fn largest() -> usize {
    LARGEST.load(Ordering::Relaxed)
}

pub(crate) struct Watchful;

fn with_zone(layout: Layout) -> Option<Layout> {
    if layout.size() > REFUSED {
        return None;
    }
    Layout::from_size_align(layout.size().checked_add(ZONE)?, layout.align()).ok()
}

// SAFETY: every block is a block of the system's allocator, longer by the zone; alignment is kept.
unsafe impl GlobalAlloc for Watchful {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        let Some(padded) = with_zone(layout) else {
            return std::ptr::null_mut();
        };
        // SAFETY: the size is not 0, thanks to the zone.
        let block = unsafe { System.alloc(padded) };
        if !block.is_null() {
            let zone = block.wrapping_add(layout.size());
            // SAFETY: the zone is the end of the block.
            unsafe { zone.write_bytes(MARK, ZONE) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let zone = block.wrapping_add(layout.size());
        // SAFETY: the zone is the end of the block, and was written when the block was made.
        let zone = unsafe { std::slice::from_raw_parts(zone, ZONE) };
        if zone.iter().any(|&byte| byte != MARK) {
            // Unwinding out of an allocator is not allowed.
            eprintln!(
                "a block of {} bytes was written behind its end",
                layout.size()
            );
            std::process::abort();
        }
        let padded = with_zone(layout).expect("it was allocated with one");
        // SAFETY: the block was allocated with this layout.
        unsafe { System.dealloc(block, padded) };
    }
}
