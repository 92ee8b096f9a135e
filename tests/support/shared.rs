//! A counter that forked processes share, without the pipes under test.

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU64;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

/// A counter at 0 in memory that every process forked from now on shares; it is never unmapped.
pub(crate) fn shared_counter() -> &'static AtomicU64 {
    let len = NonZeroUsize::new(size_of::<AtomicU64>()).expect("a counter has a size");
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: an anonymous mapping at an address of the kernel's choice replaces nothing.
    let page = unsafe { mmap_anonymous(None, len, access, MapFlags::MAP_SHARED) }
        .expect("a page for the test itself");
    // SAFETY: the mapping is page-aligned, zeroed, larger than a counter, never unmapped, and
    // reached through this reference alone, in each process that inherits it.
    unsafe { page.cast::<AtomicU64>().as_ref() }
}
