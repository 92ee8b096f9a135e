//! Stands in for the payload memory under the model checker: the words of `segment::Segment`.
//!
//! Copies go word by word, as `copy` does it for short runs, and wrap around.

use std::cell::Cell;
use std::ptr::NonNull;

use super::record::HEADER;
use crate::segment::Word;
use crate::sync::{AtomicU64, Ordering};

/// Words that the other side can read and write at any time.
pub(crate) struct Storage {
    start: NonNull<Word>,
    mask: u64,
    /// Whether copies may read room that is being written, since what they bring counts for nothing then.
    has_races: Cell<bool>,
}

// SAFETY: reached only through atomics and what the checker watches, from any thread.
unsafe impl Send for Storage {}
// SAFETY: as above.
unsafe impl Sync for Storage {}

impl Storage {
    /// # Safety
    ///
    /// - `start` is the first of `capacity / 8` [`Word`]s that live for as long as the value is used.
    /// - `capacity` is a power of two.
    pub(crate) unsafe fn new(start: NonNull<u8>, capacity: usize) -> Self {
        Self {
            start: start.cast(),
            mask: capacity as u64 - 1,
            has_races: Cell::new(false),
        }
    }

    /// For several receivers, of which one may still copy what another one has taken. Before there are threads.
    pub(crate) fn expect_races(&self) {
        self.has_races.set(true);
    }

    pub(crate) fn capacity(&self) -> usize {
        self.mask as usize + 1
    }

    fn word(&self, position: u64) -> &Word {
        let index = (position & self.mask) / 8;
        // SAFETY: below the capacity, by the mask.
        let word = unsafe { self.start.add(index as usize) };
        // SAFETY: it lives, by the contract of `new`, and is only ever shared.
        unsafe { word.as_ref() }
    }

    pub(crate) fn header(&self, position: u64) -> &AtomicU64 {
        &self.word(position).value
    }

    pub(crate) fn record(&self, position: u64) -> RecordAt<'_> {
        RecordAt {
            storage: self,
            position: position & !7,
        }
    }

    pub(crate) fn copy_in(&self, position: u64, from: &[u8]) {
        for (position, chunk) in (position..).step_by(8).zip(from.chunks(8)) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            let word = self.word(position);
            word.payload.with_mut(|_| ());
            word.value
                .store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
    }

    /// # Safety
    ///
    /// `to` is valid for writes of `len` bytes.
    pub(crate) unsafe fn copy_out(&self, position: u64, to: *mut u8, len: usize) {
        for (position, offset) in (position..).step_by(8).zip((0..len).step_by(8)) {
            let word = self.word(position);
            if !self.has_races.get() {
                word.payload.with(|_| ());
            }
            let bytes = word.value.load(Ordering::Relaxed).to_ne_bytes();
            // SAFETY: `offset < len`.
            let target = unsafe { to.add(offset) };
            // SAFETY: a local of 8, and what is left of `len` bytes.
            unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, (len - offset).min(8));
            }
        }
    }
}

/// Where a record lies, or will.
#[derive(Clone, Copy)]
pub(crate) struct RecordAt<'a> {
    storage: &'a Storage,
    position: u64,
}

impl<'a> RecordAt<'a> {
    /// # Safety
    ///
    /// None; it has the contract of its twin.
    pub(crate) unsafe fn word(self, offset: u64) -> &'a AtomicU64 {
        self.storage.header(self.position.wrapping_add(offset))
    }

    /// # Safety
    ///
    /// None; likewise.
    pub(crate) unsafe fn copy_in(self, from: &[u8]) {
        self.storage
            .copy_in(self.position.wrapping_add(HEADER), from);
    }

    /// # Safety
    ///
    /// `to` is valid for writes of `len` bytes.
    pub(crate) unsafe fn copy_out(self, to: *mut u8, len: usize) {
        let place = self.position.wrapping_add(HEADER);
        // SAFETY: by the caller.
        unsafe { self.storage.copy_out(place, to, len) };
    }
}
