//! The format of the byte stream in a kernel pipe.
//!
//! A frame is a header of 8 bytes, a payload and a trailer of 8 bytes. Every byte of a header has its
//! top bit set, so that it differs from filler, which is zeros, and so that a reader that died can be
//! followed byte by byte: the bytes of a header that have arrived are those that are not 0. The
//! trailer is a random cookie of the pipe, without a zero byte, by which one who lost the place finds
//! the end of a frame.
//!
//! A message that fits an atomic write (pipe(7), `PIPE_BUF`) is one [`Kind::Whole`] frame. A longer
//! one is [`Kind::First`] (its length, no payload), then [`Kind::Fragment`]s, then one [`Kind::Last`],
//! which is atomic: the message is whole when that frame is there and not before. After a sender left
//! a message unfinished the next one writes filler over what may be missing of the frame that was
//! under way, and then [`Kind::Died`] or [`Kind::Withdrawn`] with a number, by which receivers know how many they have met.
//!
//! A message that carries descriptors is one [`Kind::Ancillary`] frame, whose header also has its ticket.

use crate::error::Fault;
use crate::sys::pipe::ATOMIC;

/// Bytes of a header, and of a trailer.
pub(super) const EDGE: usize = 8;

/// Longest payload of a frame that is written all at once or not at all.
pub(super) const ATOMIC_PAYLOAD: usize = ATOMIC - 2 * EDGE;

/// Longest payload of a fragment, whatever the pipe.
pub(super) const FRAGMENT_PAYLOAD: usize = 256 * 1024;

/// Longest payload of a fragment in a pipe of `capacity` bytes: the filler that stands in for one that was
/// torn has to fit without anybody reading.
pub(super) fn fragment_payload(capacity: usize) -> usize {
    (capacity / 4).clamp(ATOMIC, FRAGMENT_PAYLOAD) - 2 * EDGE
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Whole = 1,
    First = 2,
    Fragment = 3,
    Last = 4,
    Died = 5,
    Withdrawn = 6,
    Ancillary = 7,
}

/// A header whose values have been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Payload bytes; for `First`, bytes of the whole message, which has no payload of its own; for `Ancillary`,
    /// payload bytes and ticket; for `Died` and `Withdrawn`, the number of the cut.
    pub(super) len: u64,
}

const KIND_BITS: u32 = 3;
const TOP_BITS: u64 = 0x8080_8080_8080_8080;
/// Bits of the payload length of a message with descriptors, below its ticket.
const ANCILLARY_BITS: u32 = 12;
const _: () = assert!(ATOMIC_PAYLOAD < 1 << ANCILLARY_BITS);
/// Longest length that a header can hold: 53 bits.
const LEN_MAX: u64 = (1 << (56 - KIND_BITS)) - 1;

impl Header {
    /// The eight bytes, lowest first.
    pub(super) fn encode(self) -> [u8; EDGE] {
        debug_assert!(self.len <= LEN_MAX);
        let value = self.len << KIND_BITS | u64::from(self.kind as u8);
        std::array::from_fn(|i| 0x80 | (value >> (7 * i) & 0x7f) as u8)
    }

    /// Of a message that carries descriptors; none when tickets have run out, after 2^41.
    pub(super) fn ancillary(ticket: u64, len: usize) -> Option<Self> {
        let is_possible = ticket <= LEN_MAX >> ANCILLARY_BITS;
        is_possible.then_some(Self {
            kind: Kind::Ancillary,
            len: ticket << ANCILLARY_BITS | len as u64,
        })
    }

    /// The number of the cut that follows `number`: one that a header can hold.
    pub(super) fn next_cut(number: u64) -> u64 {
        number.wrapping_add(1) & LEN_MAX
    }

    /// Closes a message that was cut short; no message that the pipe can have at the same time has the same number.
    pub(super) fn cut(is_withdrawn: bool, number: u64) -> Self {
        let kind = if is_withdrawn {
            Kind::Withdrawn
        } else {
            Kind::Died
        };
        Self { kind, len: number }
    }

    /// Whether nothing of its message follows.
    pub(super) fn ends_message(self) -> bool {
        !matches!(self.kind, Kind::First | Kind::Fragment)
    }

    /// Whether it closes a message that was cut short, and which number that has.
    pub(super) fn cut_number(self) -> Option<u64> {
        matches!(self.kind, Kind::Died | Kind::Withdrawn).then_some(self.len)
    }

    /// Which descriptors belong to a message.
    pub(super) fn ticket(self) -> u64 {
        self.len >> ANCILLARY_BITS
    }

    /// Bytes that follow the header, the trailer apart.
    pub(super) fn payload(self) -> usize {
        match self.kind {
            Kind::First | Kind::Died | Kind::Withdrawn => 0,
            Kind::Ancillary => (self.len & ((1 << ANCILLARY_BITS) - 1)) as usize,
            // `decode` has bounded it.
            _ => self.len as usize,
        }
    }

    /// Whether the frame was written by one atomic write.
    pub(super) fn is_atomic(self) -> bool {
        self.kind != Kind::Fragment
    }

    /// Checks eight bytes that have all arrived.
    ///
    /// # Errors
    ///
    /// [`Fault::Corrupted`] for what no correct sender writes.
    pub(super) fn decode(word: u64) -> Result<Self, Fault> {
        if word & TOP_BITS != TOP_BITS {
            return Err(Fault::Corrupted);
        }
        let bytes = word.to_le_bytes();
        let value = (0..EDGE).fold(0, |value, i| value | u64::from(bytes[i] & 0x7f) << (7 * i));
        let kinds = [
            Kind::Whole,
            Kind::First,
            Kind::Fragment,
            Kind::Last,
            Kind::Died,
            Kind::Withdrawn,
            Kind::Ancillary,
        ];
        let index = (value & 7).wrapping_sub(1) as usize;
        let kind = *kinds.get(index).ok_or(Fault::Corrupted)?;
        let len = value >> KIND_BITS;
        let max = match kind {
            Kind::Whole | Kind::Last => ATOMIC_PAYLOAD as u64,
            Kind::Fragment => FRAGMENT_PAYLOAD as u64,
            Kind::First | Kind::Ancillary | Kind::Died | Kind::Withdrawn => LEN_MAX,
        };
        let header = Self { kind, len };
        let is_long_ancillary = kind == Kind::Ancillary && header.payload() > ATOMIC_PAYLOAD;
        if len > max || is_long_ancillary {
            Err(Fault::Corrupted)
        } else {
            Ok(header)
        }
    }
}

/// How many bytes of a header or trailer have arrived in a word that was 0, lowest byte first.
pub(super) fn arrived(word: u64) -> usize {
    EDGE - word.leading_zeros() as usize / 8
}

/// Shifts out of a word that a header is being read into everything up to its last filler byte: filler,
/// and before it what is left of a header whose writer died.
pub(super) fn without_filler(word: u64) -> u64 {
    let bytes = word.to_le_bytes();
    match bytes[..arrived(word)].iter().rposition(|&byte| byte == 0) {
        Some(last) => word >> (8 * (last + 1)),
        None => word,
    }
}

/// Bytes of a message of `len` that follow the header of its first frame.
pub(super) fn bytes_behind_first(len: usize, capacity: usize) -> usize {
    let body = len.saturating_sub(ATOMIC_PAYLOAD);
    let fragments = body.div_ceil(fragment_payload(capacity));
    // The first frame's trailer, the fragments, and the last frame.
    EDGE + len + (fragments + 1) * 2 * EDGE
}

/// How many pipe slots, of a page each, a message of `len` takes at most.
///
/// The kernel puts the first `n mod page` bytes of a write where the last slot has room, or in a slot
/// of their own, and then fills slots.
pub(super) fn slots_for(len: usize, capacity: usize, page: usize) -> usize {
    let frames = len.div_ceil(fragment_payload(capacity)) + 2;
    (len + frames * 2 * EDGE) / page + 2 * frames
}

/// The longest message that surely fits an empty pipe of `capacity` bytes.
pub(super) fn longest_for(capacity: usize, page: usize) -> usize {
    let (mut fits, mut too_long) = (0, capacity);
    while too_long - fits > 1 {
        let middle = fits + (too_long - fits) / 2;
        if slots_for(middle, capacity, page) <= capacity / page {
            fits = middle;
        } else {
            too_long = middle;
        }
    }
    // What one atomic write takes needs only one slot.
    fits.max(ATOMIC_PAYLOAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_has_no_zero_byte() {
        for header in [
            Header {
                kind: Kind::Whole,
                len: 0,
            },
            Header {
                kind: Kind::Whole,
                len: ATOMIC_PAYLOAD as u64,
            },
            Header {
                kind: Kind::First,
                len: 1 << 30,
            },
            Header {
                kind: Kind::First,
                len: LEN_MAX,
            },
            Header {
                kind: Kind::Fragment,
                len: FRAGMENT_PAYLOAD as u64,
            },
            Header {
                kind: Kind::Died,
                len: 0,
            },
        ] {
            let bytes = header.encode();
            assert!(bytes.iter().all(|&byte| byte >= 0x80));
            assert_eq!(Header::decode(u64::from_le_bytes(bytes)).unwrap(), header);
        }
    }

    #[test]
    fn impossible_headers_are_corruption() {
        let too_long = Header {
            kind: Kind::Whole,
            len: ATOMIC_PAYLOAD as u64 + 1,
        };
        let word = u64::from_le_bytes(too_long.encode());
        let long_ancillary = Header {
            kind: Kind::Ancillary,
            len: 1 << ANCILLARY_BITS | (ATOMIC_PAYLOAD as u64 + 1),
        };
        let long_ancillary = u64::from_le_bytes(long_ancillary.encode());
        for word in [0, u64::MAX, TOP_BITS, word, word & !0x80, long_ancillary] {
            assert!(
                matches!(Header::decode(word), Err(Fault::Corrupted)),
                "{word:#x}"
            );
        }
    }

    #[test]
    fn an_ancillary_header_has_its_ticket_and_its_length() {
        let last = LEN_MAX >> ANCILLARY_BITS;
        for (ticket, len) in [(1, 0), (2, ATOMIC_PAYLOAD), (last, 7)] {
            let header = Header::ancillary(ticket, len).unwrap();
            let decoded = Header::decode(u64::from_le_bytes(header.encode())).unwrap();
            assert_eq!((decoded.ticket(), decoded.payload()), (ticket, len));
        }
        assert_eq!(Header::ancillary(last + 1, 0), None);
    }

    #[test]
    fn each_cut_has_a_number_that_its_header_tells() {
        for number in [0, 1, LEN_MAX - 1, LEN_MAX, LEN_MAX + 1, u64::MAX] {
            let next = Header::next_cut(number);
            let word = u64::from_le_bytes(Header::cut(true, next).encode());
            assert_eq!(Header::decode(word).unwrap().cut_number(), Some(next));
            assert_ne!(next, number);
        }
    }

    #[test]
    fn the_longest_message_is_the_longest() {
        for capacity in [1 << 16, 1 << 18, 1 << 20] {
            let longest = longest_for(capacity, 4096);
            assert!(longest > capacity / 4, "{longest} of {capacity}");
            assert!(slots_for(longest, capacity, 4096) <= capacity / 4096);
            assert!(slots_for(longest + 1, capacity, 4096) > capacity / 4096);
        }
        assert_eq!(longest_for(4096, 4096), ATOMIC_PAYLOAD);
    }

    #[test]
    fn filler_before_a_header_is_shifted_out() {
        let word = u64::from_le_bytes([0, 0, 0, 0x81, 0x82, 0x83, 0x84, 0x85]);
        let rest = without_filler(word);
        assert_eq!(rest.to_le_bytes(), [0x81, 0x82, 0x83, 0x84, 0x85, 0, 0, 0]);
        assert_eq!(arrived(rest), 5);
        let torn = u64::from_le_bytes([0x91, 0x92, 0, 0, 0x81, 0x82, 0, 0]);
        assert_eq!(
            without_filler(torn).to_le_bytes(),
            [0x81, 0x82, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(without_filler(0), 0);
        assert_eq!(arrived(0), 0);
    }
}
