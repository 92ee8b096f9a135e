//! The ring's payload memory: the only code that turns a position into an address.
//!
//! A position counts bytes since the ring was made; its place is the position modulo the capacity.
//! The memory is mapped twice in a row, so a run of up to one capacity never wraps.

use std::marker::PhantomData;
use std::ptr::NonNull;

use super::copy;
use super::record::HEADER;
use crate::sync::{AtomicU64, Ordering};

/// Payload memory that other processes can read and write at any time.
pub(crate) struct Storage {
    start: NonNull<u8>,
    /// Turns a position into the place of its word. It clears the low bits too, so that a position out of shared memory
    /// cannot misalign.
    mask: u64,
}

// SAFETY: plain shared memory, reached only through atomics and copies, from any thread.
unsafe impl Send for Storage {}
// SAFETY: as above.
unsafe impl Sync for Storage {}

impl Storage {
    /// # Safety
    ///
    /// - `start` is aligned to 8 and valid for reads and writes of `2 * capacity` bytes for as long
    ///   as the value is used, and the second half shows the same memory as the first.
    /// - `capacity` is a power of two.
    /// - Nobody forms a reference to any of these bytes, atomics apart.
    pub(crate) unsafe fn new(start: NonNull<u8>, capacity: usize) -> Self {
        Self {
            start,
            mask: capacity as u64 - 8,
        }
    }

    /// Bytes of the ring.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.mask as usize + 8
    }

    /// The header word at `position`, a multiple of 8.
    #[inline]
    pub(crate) fn header(&self, position: u64) -> &AtomicU64 {
        let offset = (position & self.mask) as usize;
        // SAFETY: below the capacity, by the mask.
        let place = unsafe { self.start.add(offset) };
        // SAFETY: aligned and inside the mapping by the contract of `new`; any bits are a valid
        // atomic, and all access to a word that serves as a header is atomic or by `copy`.
        unsafe { place.cast::<AtomicU64>().as_ref() }
    }

    /// The record at `position`, a multiple of 8, to be reached by one address.
    #[inline(always)]
    pub(crate) fn record(&self, position: u64) -> RecordAt<'_> {
        let offset = (position & self.mask) as usize;
        RecordAt {
            // SAFETY: below the capacity, by the mask.
            start: unsafe { self.start.add(offset) },
            storage: PhantomData,
        }
    }

    /// Where the run that starts at `position`, a multiple of 8, lies in memory.
    pub(crate) fn address(&self, position: u64) -> *mut u8 {
        let offset = (position & self.mask) as usize;
        // SAFETY: below the capacity, by the mask.
        let place = unsafe { self.start.add(offset) };
        place.as_ptr()
    }

    /// Copies `from` to the run that starts at `position`, a multiple of 8; the run's last word is
    /// padded with zeros.
    #[inline]
    pub(crate) fn copy_in(&self, position: u64, from: &[u8]) {
        assert!(
            from.len() < self.capacity(),
            "a run of {} bytes",
            from.len()
        );
        let offset = (position & self.mask) as usize;
        // SAFETY: below the capacity, by the mask.
        let place = unsafe { self.start.add(offset) };
        // SAFETY: the place is aligned to 8 and, with the assertion, the padded run ends inside the
        // double mapping; `from` is private memory.
        unsafe { copy::to_shared(place.as_ptr(), from.as_ptr(), from.len()) };
    }

    /// Copies `len` bytes of the run that starts at `position`, a multiple of 8, to `to`.
    ///
    /// # Safety
    ///
    /// `to` is valid for writes of `len` bytes, which no other process shares.
    #[inline]
    pub(crate) unsafe fn copy_out(&self, position: u64, to: *mut u8, len: usize) {
        assert!(len < self.capacity(), "a run of {len} bytes");
        let offset = (position & self.mask) as usize;
        // SAFETY: below the capacity, by the mask.
        let place = unsafe { self.start.add(offset) };
        // SAFETY: the place is aligned to 8 and, with the assertion, the padded run ends inside the
        // double mapping; the caller vouches for `to`.
        unsafe { copy::from_shared(to, place.as_ptr(), len) };
    }
}

/// Where a record lies, or will. Memory that is mapped twice has all of it behind its first byte.
#[derive(Clone, Copy)]
pub(crate) struct RecordAt<'a> {
    /// Aligned to 8, and inside the first of the two mappings.
    start: NonNull<u8>,
    storage: PhantomData<&'a Storage>,
}

impl<'a> RecordAt<'a> {
    /// The word `offset` bytes from its start.
    ///
    /// # Safety
    ///
    /// `offset` is a multiple of 8 and less than the capacity.
    #[inline(always)]
    pub(crate) unsafe fn word(self, offset: u64) -> &'a AtomicU64 {
        // SAFETY: less than a capacity behind a place in the first mapping is inside the two.
        let place = unsafe { self.start.add(offset as usize) };
        // SAFETY: as in `Storage::header`.
        unsafe { place.cast::<AtomicU64>().as_ref() }
    }

    /// Copies `from` to its payload, of which the last word is padded with zeros.
    ///
    /// # Safety
    ///
    /// The header and the padded payload are less than the capacity.
    #[inline(always)]
    pub(crate) unsafe fn copy_in(self, from: &[u8]) {
        if let Ok(word) = <[u8; 8]>::try_from(from) {
            // The shortest way for the shortest message that is a value.
            // SAFETY: by the caller.
            let first = unsafe { self.word(HEADER) };
            return first.store(u64::from_ne_bytes(word), Ordering::Relaxed);
        }
        // SAFETY: as in `word`.
        let place = unsafe { self.start.add(HEADER as usize) };
        // SAFETY: aligned to 8 as the start is, and inside the two mappings by the caller; `from` is private memory.
        unsafe { copy::to_shared(place.as_ptr(), from.as_ptr(), from.len()) };
    }

    /// Copies `len` bytes of its payload to `to`.
    ///
    /// # Safety
    ///
    /// - The header and the padded payload are less than the capacity.
    /// - `to` is valid for writes of `len` bytes, which no other process shares.
    #[inline(always)]
    pub(crate) unsafe fn copy_out(self, to: *mut u8, len: usize) {
        // SAFETY: as in `word`.
        let place = unsafe { self.start.add(HEADER as usize) };
        // SAFETY: as in `copy_in`; the caller vouches for `to`.
        unsafe { copy::from_shared(to, place.as_ptr(), len) };
    }
}
