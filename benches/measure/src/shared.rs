//! Memory that a process shares with the children it forks.
//!
//! Anonymous and zeroed; it knows nothing of what is in it.

use std::io;
use std::num::NonZero;
use std::ops::Deref;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Types that are valid when every byte is zero and may be changed by other processes at any time.
///
/// # Safety
///
/// All parts of the type must be atomics or arrays of them.
pub unsafe trait Atomics {}

/// A `T` in memory that children share.
pub struct Shared<T: Atomics> {
    memory: Region,
    marker: std::marker::PhantomData<T>,
}

impl<T: Atomics> Shared<T> {
    /// Maps a zeroed `T`.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            memory: Region::new(size_of::<T>())?,
            marker: std::marker::PhantomData,
        })
    }
}

impl<T: Atomics> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the region is page-aligned, as long as a T and mapped while self lives; by the
        // contract of Atomics zero bytes are a T and every change by others is atomic.
        unsafe { self.memory.start.cast::<T>().as_ref() }
    }
}

// SAFETY: all access goes through atomics, by the contract of Atomics.
unsafe impl<T: Atomics> Sync for Shared<T> {}

/// Bytes that children share, without a type.
pub struct Region {
    start: NonNull<u8>,
    len: usize,
}

impl Region {
    /// Maps `len` zero bytes, at least one, and touches each page.
    pub fn new(len: usize) -> io::Result<Self> {
        let size = NonZero::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { mmap_anonymous(None, size, access, flags) }?;
        Ok(Self {
            start: start.cast(),
            len,
        })
    }

    /// Its first byte; the memory is mapped while self lives.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and no reference to it outlives
        // self. A failure would leave it mapped, which harms nobody.
        let _ = unsafe { munmap(self.start.cast(), self.len) };
    }
}

// SAFETY: it owns the mapping and hands out nothing but its address.
unsafe impl Send for Region {}
// SAFETY: as above; whoever uses the address answers for it.
unsafe impl Sync for Region {}
