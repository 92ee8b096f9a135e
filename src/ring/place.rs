//! A message's bytes where they lie in the ring, read or written at any offset.
//!
//! Only by copies: a peer may write the same bytes at any time.

use super::storage::Storage;
use crate::sync::Ordering;

/// The payload of one record.
#[derive(Clone, Copy)]
pub(crate) struct InRing<'a> {
    storage: &'a Storage,
    /// Position of the first byte, a multiple of 8.
    start: u64,
    len: usize,
}

impl<'a> InRing<'a> {
    /// `len` bytes at `start`; less than the ring.
    pub(crate) fn new(storage: &'a Storage, start: u64, len: usize) -> Self {
        assert!(len < storage.capacity(), "a run of {len} bytes");
        Self {
            storage,
            start,
            len,
        }
    }

    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// The word in which `offset` lies, and how far into it.
    fn word_at(self, offset: usize) -> (u64, usize) {
        let into = offset % 8;
        (self.start.wrapping_add((offset - into) as u64), into)
    }

    /// Copies the bytes from `offset` on to `to`.
    ///
    /// # Panics
    ///
    /// When they are not all there.
    pub(crate) fn read_at(self, offset: usize, mut to: &mut [u8]) {
        check_range(offset, to.len(), self.len);
        let (mut place, into) = self.word_at(offset);
        if into > 0 {
            let word = self.storage.header(place).load(Ordering::Relaxed);
            let (here, rest) = to.split_at_mut(to.len().min(8 - into));
            here.copy_from_slice(&word.to_le_bytes()[into..into + here.len()]);
            to = rest;
            place = place.wrapping_add(8);
        }
        // SAFETY: the caller's own slice.
        unsafe { self.storage.copy_out(place, to.as_mut_ptr(), to.len()) };
    }

    /// Copies all bytes to `to`.
    ///
    /// # Safety
    ///
    /// `to` is valid for writes of [`len`](Self::len) bytes, in private memory.
    pub(crate) unsafe fn copy_out(self, to: *mut u8) {
        // SAFETY: by the caller.
        unsafe { self.storage.copy_out(self.start, to, self.len) };
    }

    /// Copies `from` to the bytes from `offset` on, and changes no other.
    ///
    /// # Panics
    ///
    /// When there is no room for all of it.
    pub(crate) fn write_at(self, offset: usize, mut from: &[u8]) {
        check_range(offset, from.len(), self.len);
        let (mut place, into) = self.word_at(offset);
        if into > 0 {
            let (here, rest) = from.split_at(from.len().min(8 - into));
            self.change_word(place, into, here);
            from = rest;
            place = place.wrapping_add(8);
        }
        let (whole, rest) = from.split_at(from.len() & !7);
        self.storage.copy_in(place, whole);
        self.change_word(place.wrapping_add(whole.len() as u64), 0, rest);
    }

    /// Changes some bytes of one word; nobody else writes there but a liar.
    fn change_word(self, place: u64, into: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let word = self.storage.header(place);
        let mut changed = word.load(Ordering::Relaxed).to_le_bytes();
        changed[into..into + bytes.len()].copy_from_slice(bytes);
        word.store(u64::from_le_bytes(changed), Ordering::Relaxed);
    }

    /// The first byte. All `len` follow it without a gap.
    #[cfg(not(loom))]
    pub(crate) fn as_ptr(self) -> *mut u8 {
        self.storage.address(self.start)
    }
}

/// Panics unless `count` bytes from `offset` on lie in a message of `len`, as indexing a slice does.
#[track_caller]
pub(crate) fn check_range(offset: usize, count: usize, len: usize) {
    let is_inside = offset.checked_add(count).is_some_and(|end| end <= len);
    assert!(
        is_inside,
        "{count} bytes at offset {offset} are out of range for a message of {len} bytes"
    );
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::ptr::NonNull;

    const RING: usize = 4096;

    #[test]
    fn every_range_is_written_and_read_and_nothing_beside_it() {
        // Twice as long as the ring, where the real one is mapped twice.
        let mut words = vec![0_u64; 2 * RING / 8];
        let start = NonNull::new(words.as_mut_ptr().cast()).unwrap();
        // SAFETY: aligned, so long, only used through it while it lives; no run wraps around here.
        let storage = unsafe { Storage::new(start, RING) };
        let message = InRing::new(&storage, 8, 200);
        let mut expected = [0xa5; 200];
        message.write_at(0, &expected);
        for offset in 0..80 {
            for len in [0, 1, 5, 7, 8, 9, 15, 16, 17, 63, 64, 71, 120] {
                let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + offset) as u8).collect();
                message.write_at(offset, &bytes);
                expected[offset..offset + len].copy_from_slice(&bytes);
                let mut all = [0; 200];
                message.read_at(0, &mut all);
                assert_eq!(all, expected, "{len} bytes written at {offset}");
                let mut some = vec![0; len];
                message.read_at(offset, &mut some);
                assert_eq!(some, bytes, "{len} bytes read at {offset}");
            }
        }
        assert_eq!((words[0], words[26]), (0, 0));
    }

    #[test]
    fn a_range_that_is_not_there_panics() {
        for (offset, count) in [(0, 11), (10, 1), (11, 0), (usize::MAX, 2), (2, usize::MAX)] {
            std::panic::catch_unwind(|| check_range(offset, count, 10)).unwrap_err();
        }
        check_range(10, 0, 10);
        check_range(0, 10, 10);
    }
}
