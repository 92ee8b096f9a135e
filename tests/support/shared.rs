//! Counters that forked processes share, without the pipes under test.

use std::num::NonZeroUsize;
use std::slice;
use std::sync::atomic::AtomicU64;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

/// A counter at 0 in memory that every process forked from now on shares; it is never unmapped.
pub(crate) fn shared_counter() -> &'static AtomicU64 {
    &shared_counters(1)[0]
}

/// So many counters at 0, shared likewise. Those that nobody touches cost no memory.
pub(crate) fn shared_counters(count: usize) -> &'static [AtomicU64] {
    let len = NonZeroUsize::new(count * size_of::<AtomicU64>()).expect("one counter at least");
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
    // SAFETY: an anonymous mapping at an address of the kernel's choice replaces nothing.
    let memory = unsafe { mmap_anonymous(None, len, access, flags) }
        .expect("some memory for the test itself");
    // SAFETY: the mapping is page-aligned, zeroed, as long as the counters, never unmapped, and
    // reached through this reference alone, in each process that inherits it.
    unsafe { slice::from_raw_parts(memory.as_ptr().cast::<AtomicU64>(), count) }
}
