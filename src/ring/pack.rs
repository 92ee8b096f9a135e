//! Messages of one length, gathered in private memory as they are to lie in a pack.
//!
//! One copy puts them into the ring then. What a pack is in the ring is for [`record`](super::record).

use super::record::{PACK_MAX, PACKED_MAX, packed_span};

/// Up to [`COUNT_MAX`] messages of one length.
#[derive(Debug)]
pub(crate) struct Pack {
    /// Each message padded to 8, one behind the other.
    bytes: [u8; PACK_MAX],
    /// Bytes of each message.
    len: usize,
    count: usize,
}

/// Most messages that are gathered.
pub(crate) const COUNT_MAX: usize = PACK_MAX / PACKED_MAX;

impl Pack {
    /// An empty one.
    pub(crate) fn new() -> Box<Self> {
        Box::new(Self {
            bytes: [0; PACK_MAX],
            len: 0,
            count: 0,
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Bytes of each message.
    pub(crate) fn message_len(&self) -> usize {
        self.len
    }

    /// Gathers messages anew, up to [`COUNT_MAX`] of them, no longer than `limit` bytes each. Returns the first one that does
    /// not belong to them.
    #[inline]
    pub(crate) fn gather<T: AsRef<[u8]>>(
        &mut self,
        messages: &mut impl Iterator<Item = T>,
        limit: usize,
    ) -> Option<T> {
        (self.len, self.count) = (0, 0);
        let first = messages.next()?;
        let bytes = first.as_ref();
        let len = bytes.len();
        if len == 0 || len > limit.min(PACKED_MAX) {
            return Some(first);
        }
        // With a stride that the compiler knows no copy is a call.
        let gather = match packed_span(len) {
            8 => Self::gather_behind::<8, T>,
            16 => Self::gather_behind::<16, T>,
            24 => Self::gather_behind::<24, T>,
            32 => Self::gather_behind::<32, T>,
            40 => Self::gather_behind::<40, T>,
            48 => Self::gather_behind::<48, T>,
            56 => Self::gather_behind::<56, T>,
            _ => Self::gather_behind::<PACKED_MAX, T>,
        };
        // What `as_ref` returns a second time may be of another length.
        gather(self, bytes, messages)
    }

    /// As [`gather`](Self::gather), behind a first one that takes `STRIDE` bytes.
    fn gather_behind<const STRIDE: usize, T: AsRef<[u8]>>(
        &mut self,
        first: &[u8],
        messages: &mut impl Iterator<Item = T>,
    ) -> Option<T> {
        let len = first.len();
        let mut count = 0;
        let mut stranger = None;
        let mut places = self.bytes.chunks_exact_mut(STRIDE).take(COUNT_MAX);
        if let Some(place) = places.next() {
            put::<STRIDE>(place, first);
            count = 1;
        }
        for place in places {
            let Some(message) = messages.next() else {
                break;
            };
            let bytes = message.as_ref();
            if bytes.len() != len {
                stranger = Some(message);
                break;
            }
            put::<STRIDE>(place, bytes);
            count += 1;
        }
        (self.len, self.count) = (len, count);
        stranger
    }

    /// One after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.count).map(|at| self.message(at))
    }

    /// One of them.
    ///
    /// # Panics
    ///
    /// When it is not there.
    pub(crate) fn message(&self, at: usize) -> &[u8] {
        &self.padded(at, 1)[..self.len]
    }

    /// So many messages from one on, as they lie in a pack.
    ///
    /// # Panics
    ///
    /// When they are not all there.
    pub(crate) fn padded(&self, first: usize, count: usize) -> &[u8] {
        assert!(first + count <= self.count, "messages that are not there");
        let stride = packed_span(self.len);
        &self.bytes[first * stride..][..count * stride]
    }
}

/// Puts a message where it is to lie, in `STRIDE` bytes of which it needs the last word too; the rest of that is 0.
#[inline(always)]
fn put<const STRIDE: usize>(place: &mut [u8], message: &[u8]) {
    // Most messages fill their place, which takes one copy of a length that is known.
    if let (Some(place), Some(message)) = (place.first_chunk_mut(), message.first_chunk::<STRIDE>())
    {
        *place = *message;
        return;
    }
    let last = STRIDE - 8;
    let padding = STRIDE - message.len();
    let word = match message.last_chunk() {
        // What lies in the words before is shifted out.
        Some(end) => u64::from_le_bytes(*end) >> (8 * padding),
        None => short_word(message),
    };
    place[..last].copy_from_slice(&message[..last]);
    place[last..].copy_from_slice(&word.to_le_bytes());
}

/// A message of less than 8 bytes, as a word.
fn short_word(message: &[u8]) -> u64 {
    let bytes = message.iter().rev();
    bytes.fold(0, |word, &byte| word << 8 | u64::from(byte))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn gathered(messages: &[&[u8]], limit: usize) -> (Vec<Vec<u8>>, Option<Vec<u8>>, usize) {
        let mut pack = Pack::new();
        let mut messages = messages.iter();
        let stranger = pack.gather(&mut messages, limit);
        let all = pack.iter().map(<[u8]>::to_vec).collect();
        (
            all,
            stranger.map(|message| message.to_vec()),
            messages.len(),
        )
    }

    #[test]
    fn messages_are_gathered_up_to_one_of_another_length() {
        for len in [1, 7, 8, 9, 63, 64] {
            let message = vec![7; len];
            let same = [&message[..]; 70];
            let (all, stranger, left) = gathered(&same, 64);
            assert_eq!(
                (all.len(), stranger, left),
                (COUNT_MAX, None, 70 - COUNT_MAX)
            );
            assert!(all.iter().all(|one| *one == message));
            let (all, stranger, left) = gathered(&[&message, &message, b"", &message], 64);
            assert_eq!((all.len(), stranger, left), (2, Some(vec![]), 1));
        }
        assert_eq!(gathered(&[], 64), (vec![], None, 0));
    }

    #[test]
    fn what_no_pack_may_have_is_not_gathered() {
        let long = [7; PACKED_MAX + 1];
        for (first, limit) in [(&b""[..], 64), (&long, 100), (b"12345678", 7)] {
            let (all, stranger, left) = gathered(&[first, first], limit);
            assert_eq!((all.len(), stranger.as_deref(), left), (0, Some(first), 1));
        }
    }

    /// Bytes that are of another length each time.
    struct Fickle(std::cell::Cell<usize>);

    impl AsRef<[u8]> for Fickle {
        fn as_ref(&self) -> &[u8] {
            self.0.set(self.0.get() + 1);
            &[7; 100][..self.0.get()]
        }
    }

    #[test]
    fn each_message_is_asked_for_its_bytes_once() {
        let mut pack = Pack::new();
        let mut messages = [7, 7, 7]
            .map(|len| Fickle(std::cell::Cell::new(len)))
            .into_iter();
        assert!(pack.gather(&mut messages, 64).is_none());
        assert_eq!(pack.iter().collect::<Vec<_>>(), [[7; 8]; 3]);
    }

    #[test]
    fn padding_is_zero_whatever_was_there_before() {
        let mut pack = Pack::new();
        pack.gather(&mut [[0xff; 16]; 4].iter(), 64);
        pack.gather(&mut [[1; 13], [2; 13]].iter(), 64);
        assert_eq!(pack.padded(1, 1), [&[2; 13][..], &[0; 3]].concat());
        pack.gather(&mut [[1; 5], [2; 5], [3; 5]].iter(), 64);
        assert_eq!(
            pack.padded(1, 2),
            [2, 2, 2, 2, 2, 0, 0, 0, 3, 3, 3, 3, 3, 0, 0, 0]
        );
        assert_eq!(pack.message(2), [3; 5]);
    }
}
