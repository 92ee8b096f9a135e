//! A place of its own for what one group of writers writes.

use core::ops::Deref;

/// A value that begins a stretch of 128 bytes and has it alone, on every target. The layout of a segment hangs on that
/// number. It is two cache lines of x86_64, whose prefetcher fetches pairs, and one of Apple's cores.
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(128))]
pub(crate) struct CachePadded<T>(T);

impl<T> Deref for CachePadded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
