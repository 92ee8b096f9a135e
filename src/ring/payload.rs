//! Where the bytes of a message come from, and where they go to.
//!
//! A send takes them from one slice, or from pieces that make one message. Pieces go into the ring one behind the other
//! and are not gathered in private memory first.

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use super::record::HEADER;
use super::storage::{RecordAt, Storage};

/// The bytes of a message, or of a part of one.
pub(crate) trait Payload: Copy {
    /// How many bytes.
    fn len(self) -> usize;
    /// The first `at` bytes, of which there are so many, and the others.
    fn split_at(self, at: usize) -> (Self, Self);
    /// Copies all of it to the run that starts at `position`, a multiple of 8; the run's last word is padded
    /// with zeros.
    fn copy_in(self, storage: &Storage, position: u64);
    /// As [`copy_in`](Self::copy_in), to the record that is the one at `position`.
    ///
    /// # Safety
    ///
    /// The header and the padded payload are less than the capacity.
    #[inline(always)]
    unsafe fn copy_to_record(self, storage: &Storage, position: u64, _record: RecordAt<'_>) {
        self.copy_in(storage, position.wrapping_add(HEADER));
    }
}

impl Payload for &[u8] {
    #[inline(always)]
    fn len(self) -> usize {
        <[u8]>::len(self)
    }

    #[inline(always)]
    fn split_at(self, at: usize) -> (Self, Self) {
        <[u8]>::split_at(self, at)
    }

    #[inline(always)]
    fn copy_in(self, storage: &Storage, position: u64) {
        storage.copy_in(position, self);
    }

    #[inline(always)]
    unsafe fn copy_to_record(self, _storage: &Storage, _position: u64, record: RecordAt<'_>) {
        // SAFETY: by the caller.
        unsafe { record.copy_in(self) };
    }
}

/// A message that lies in several places.
#[derive(Clone, Copy)]
pub(crate) struct Pieces<'a> {
    pieces: &'a [IoSlice<'a>],
    /// Bytes of the first piece that are not a part of this.
    skipped: usize,
    len: usize,
}

impl<'a> Pieces<'a> {
    /// All of `pieces`; `None` for more bytes than a length can count.
    pub(crate) fn all(pieces: &'a [IoSlice<'a>]) -> Option<Self> {
        let len = pieces
            .iter()
            .try_fold(0_usize, |sum, piece| sum.checked_add(piece.len()))?;
        Some(Self {
            pieces,
            skipped: 0,
            len,
        })
    }

    /// The first bytes of `pieces`, `most` or as many as there are.
    pub(crate) fn up_to(pieces: &'a [IoSlice<'a>], most: usize) -> Self {
        let len = pieces
            .iter()
            .fold(0_usize, |sum, piece| sum.saturating_add(piece.len()));
        Self {
            pieces,
            skipped: 0,
            len: len.min(most),
        }
    }

    /// The places in order.
    pub(crate) fn slices(self) -> impl Iterator<Item = &'a [u8]> {
        let (mut skipped, mut left) = (self.skipped, self.len);
        self.pieces.iter().map_while(move |piece| {
            if left == 0 {
                return None;
            }
            let piece: &'a [u8] = &piece[skipped.min(piece.len())..];
            skipped = 0;
            let piece = &piece[..piece.len().min(left)];
            left -= piece.len();
            Some(piece)
        })
    }
}

impl Payload for Pieces<'_> {
    fn len(self) -> usize {
        self.len
    }

    fn split_at(self, at: usize) -> (Self, Self) {
        let mut rest = Self {
            skipped: self.skipped + at,
            len: self.len - at,
            ..self
        };
        while let Some((first, others)) = rest.pieces.split_first() {
            if first.len() > rest.skipped {
                break;
            }
            rest.skipped -= first.len();
            rest.pieces = others;
        }
        (Self { len: at, ..self }, rest)
    }

    fn copy_in(self, storage: &Storage, position: u64) {
        let mut run = Run {
            storage,
            place: position,
            word: [0; 8],
            held: 0,
        };
        self.slices().for_each(|piece| run.push(piece));
        run.finish();
    }
}

/// A run of words in the ring that is written from the front. Words that two pieces share are put together in
/// private memory, so that each is written once.
struct Run<'a> {
    storage: &'a Storage,
    /// Where the next word goes, a multiple of 8.
    place: u64,
    word: [u8; 8],
    /// Bytes of `word` that are there, less than 8.
    held: usize,
}

impl Run<'_> {
    fn push(&mut self, mut bytes: &[u8]) {
        if self.held > 0 {
            let (taken, rest) = bytes.split_at(bytes.len().min(8 - self.held));
            self.word[self.held..self.held + taken.len()].copy_from_slice(taken);
            self.held += taken.len();
            bytes = rest;
            if self.held < 8 {
                return;
            }
            self.storage.copy_in(self.place, &self.word);
            self.place = self.place.wrapping_add(8);
        }
        let (whole, rest) = bytes.split_at(bytes.len() & !7);
        self.storage.copy_in(self.place, whole);
        self.place = self.place.wrapping_add(whole.len() as u64);
        self.word[..rest.len()].copy_from_slice(rest);
        self.held = rest.len();
    }

    fn finish(self) {
        self.storage.copy_in(self.place, &self.word[..self.held]);
    }
}

/// Where a received message goes.
pub(crate) enum Destination<'a> {
    /// A buffer that grows as bytes arrive, never by a claimed length. Cleared first.
    Buffer(&'a mut Vec<u8>),
    /// The caller's own slice; a message that does not fit stays in the pipe.
    Slice(&'a mut [u8]),
    /// As `Buffer`, and descriptors for a message that carries some. The others leave such a message where
    /// it is.
    WithDescriptors {
        bytes: &'a mut Vec<u8>,
        fds: &'a mut Vec<OwnedFd>,
    },
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::ptr::NonNull;

    const RING: usize = 4096;

    /// The bytes 1, 2, 3, … cut into pieces of these lengths.
    fn cut(lengths: &[usize]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let all: Vec<u8> = (1..=lengths.iter().sum::<usize>())
            .map(|byte| byte as u8)
            .collect();
        let mut rest = &all[..];
        let pieces = lengths.iter().map(|&len| {
            let (piece, after) = rest.split_at(len);
            rest = after;
            piece.to_vec()
        });
        let pieces = pieces.collect();
        (all, pieces)
    }

    /// What lies in the ring after `payload` went to its start, with guards of 0xa5 behind.
    fn copied(payload: impl Payload) -> Vec<u8> {
        // Twice as long as the ring, where the real one is mapped twice.
        let mut words = vec![u64::from_ne_bytes([0xa5; 8]); 2 * RING / 8];
        let start = NonNull::new(words.as_mut_ptr().cast()).unwrap();
        // SAFETY: aligned, so long, only used through it while it lives; no run wraps around here.
        let storage = unsafe { Storage::new(start, RING) };
        payload.copy_in(&storage, 0);
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn pieces_of_all_lengths_lie_behind_each_other_and_the_last_word_is_padded() {
        let lengths = [0, 1, 3, 7, 8, 9, 64, 100];
        for a in lengths {
            for b in lengths {
                for c in lengths {
                    let (all, pieces) = cut(&[a, b, c]);
                    let pieces: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
                    let ring = copied(Pieces::all(&pieces).unwrap());
                    let end = all.len().next_multiple_of(8);
                    assert_eq!(ring[..all.len()], all, "{a} {b} {c}");
                    assert!(ring[all.len()..end].iter().all(|&byte| byte == 0));
                    assert!(ring[end..].iter().all(|&byte| byte == 0xa5), "{a} {b} {c}");
                }
            }
        }
    }

    #[test]
    fn what_is_split_at_any_place_is_the_whole_again() {
        let (all, pieces) = cut(&[5, 0, 16, 1, 0, 30]);
        let pieces: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let whole = Pieces::all(&pieces).unwrap();
        for at in 0..=all.len() {
            let (first, rest) = whole.split_at(at);
            assert_eq!((first.len(), rest.len()), (at, all.len() - at));
            assert_eq!(first.slices().collect::<Vec<_>>().concat(), all[..at]);
            assert_eq!(rest.slices().collect::<Vec<_>>().concat(), all[at..]);
            let (middle, end) = rest.split_at(rest.len() / 2);
            let both = [middle, end].map(|half| half.slices().collect::<Vec<_>>().concat());
            assert_eq!(both.concat(), all[at..]);
            assert_eq!(Pieces::up_to(&pieces, at).len(), at);
        }
    }
}
