//! The record format and its arithmetic; no memory is touched here.
//!
//! A record is a header word of 8 bytes and the payload, padded to 8. The header holds the payload's
//! length + 1 in its low half (so that 0 means "not yet there") and flags in its high half. A message
//! of up to [`Rules::fragment_max`] bytes is one record, and one that is written in place may be one up to
//! [`Rules::record_max`]. Any other goes in fragments, of which the first begins with the whole message's length
//! in 8 bytes.
//!
//! A *pack* is one record of several short messages of one length, each padded to 8. Its flags also have the length of one
//! message and how many have been taken, so its header says what is left of it.

use crate::error::Fault;

/// Bytes of a header.
pub(crate) const HEADER: u64 = 8;

/// Bytes of the length that begins a message in fragments.
pub(crate) const PREFIX: usize = 8;

/// A ring holds so many of the longest records; under the model checker, whose rings have a few words, two.
const RECORDS: u64 = if cfg!(loom) { 2 } else { 8 };

/// Longest fragment, header included, in a large ring; in a small one it is an eighth of the ring. Large
/// enough to amortise the hand-over, small enough that copying in and copying out overlap in the cache.
const PART_SPAN_MAX: u64 = 256 * 1024;

/// This record begins a message.
pub(crate) const FIRST: u32 = 1;
/// This record ends a message.
pub(crate) const LAST: u32 = 2;
/// The message in fragments before this record was left unfinished by a sender that died.
pub(crate) const AFTER_DEATH: u32 = 4;
/// The message in fragments before this record was taken back by its sender.
pub(crate) const AFTER_WITHDRAWAL: u32 = 8;
/// This record is a whole message that carries descriptors; it begins with its ticket in [`PREFIX`] bytes.
pub(crate) const ANCILLARY: u32 = 16;
/// This record is a pack.
pub(crate) const PACK: u32 = 32;

/// Longest message of a pack.
pub(crate) const PACKED_MAX: usize = 64;

/// Longest payload of a pack, padding included.
pub(crate) const PACK_MAX: usize = 4096;

/// Where in the flags of a pack the length of one message begins, which takes 8 bits.
const PACKED_LEN: u32 = 8;

/// Where in the flags of a pack the number of those that have been taken begins, which takes 16 bits.
const PACKED_TAKEN: u32 = 16;

/// A header whose values have been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Payload bytes, at most [`Rules::record_max`].
    pub(crate) len: usize,
    pub(crate) flags: u32,
}

impl Header {
    /// The word that publishes this record.
    #[inline]
    pub(crate) fn encode(self) -> u64 {
        u64::from(self.flags) << 32 | (self.len as u64 + 1)
    }

    /// What [`Rules::decode`] has made of a word before.
    pub(crate) fn of_checked(word: u64) -> Self {
        Self {
            len: (word as u32).wrapping_sub(1) as usize,
            flags: (word >> 32) as u32,
        }
    }

    /// Bytes of the ring that this record takes.
    #[inline]
    pub(crate) fn span(self) -> u64 {
        span_of(self.len)
    }

    /// A pack of `count` messages of `len` bytes.
    pub(crate) fn of_pack(len: usize, count: usize) -> Self {
        Self {
            len: packed_span(len) * count,
            flags: PACK | FIRST | LAST | (len as u32) << PACKED_LEN,
        }
    }

    /// What this record is as a pack; `None` for any other.
    pub(crate) fn pack(self) -> Option<Packed> {
        let len = (self.flags >> PACKED_LEN & 0xff) as usize;
        self.has(PACK).then_some(Packed {
            len,
            taken: (self.flags >> PACKED_TAKEN) as usize,
            count: self.len / packed_span(len).max(1),
        })
    }

    /// The header of a pack when one message more has been taken; `None` when none is left then.
    pub(crate) fn after_one(self) -> Option<Self> {
        let is_last = self.pack().is_none_or(|pack| pack.left() <= 1);
        (!is_last).then_some(Self {
            flags: self.flags + (1 << PACKED_TAKEN),
            ..self
        })
    }

    /// Length of the longest message of which this record has all.
    pub(crate) fn message_len(self) -> usize {
        self.pack().map_or(self.payload(), |pack| pack.len)
    }

    /// Messages of which it is the last record, as counted for observers.
    pub(crate) fn messages(self) -> u64 {
        let of_pack = self.pack().map(|pack| pack.count as u64);
        of_pack.unwrap_or(u64::from(self.has(LAST)))
    }

    /// Bytes that are the message's own, or the messages', as counted for observers.
    pub(crate) fn payload(self) -> usize {
        if let Some(pack) = self.pack() {
            return pack.count * pack.len;
        }
        let is_first_fragment = self.has(FIRST) && !self.has(LAST);
        let has_prefix = is_first_fragment || self.has(ANCILLARY);
        // The prefix is missing where a liar wrote the length.
        self.len.saturating_sub(if has_prefix { PREFIX } else { 0 })
    }

    #[inline]
    pub(crate) fn has(self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// The messages of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    /// Bytes of each.
    pub(crate) len: usize,
    /// How many have been taken.
    pub(crate) taken: usize,
    /// How many there were.
    pub(crate) count: usize,
}

impl Packed {
    /// How many are there still.
    pub(crate) fn left(self) -> usize {
        self.count.saturating_sub(self.taken)
    }

    /// Bytes from the first byte of one message to that of the next.
    pub(crate) fn stride(self) -> usize {
        packed_span(self.len)
    }
}

/// Bytes of a pack that a message of `len` bytes takes.
#[inline]
pub(crate) const fn packed_span(len: usize) -> usize {
    (len + 7) & !7
}

/// Bytes of the ring that a record with `len` bytes of payload takes.
#[inline]
pub(crate) const fn span_of(len: usize) -> u64 {
    // By a mask: the operator for any multiple costs a branch here. With the header in the sum, which saves an addition.
    (len as u64 + HEADER + 7) & !7
}

/// The least capacity, not rounded up, of a ring in which a message of `len` bytes is one record.
pub(crate) fn capacity_for_record(len: usize) -> usize {
    let span = len.saturating_add(HEADER as usize + 7) & !7;
    span.saturating_mul(RECORDS as usize)
}

/// What follows from a ring's capacity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    capacity: u64,
    record_span: u64,
    fragment_span: u64,
    room_max: u64,
}

impl Rules {
    /// For a capacity that is a power of two of at least 4096.
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity as u64;
        let record_span = capacity / RECORDS;
        Self {
            capacity,
            record_span,
            fragment_span: record_span.min(PART_SPAN_MAX),
            room_max: capacity - HEADER,
        }
    }

    #[inline]
    pub(crate) fn capacity(self) -> u64 {
        self.capacity
    }

    /// Bytes of an empty ring for records; behind them there must be a zeroed header.
    #[inline]
    pub(crate) fn room_max(self) -> u64 {
        self.room_max
    }

    /// Longest payload of one record, a multiple of 8.
    #[inline]
    pub(crate) fn record_max(self) -> usize {
        (self.record_span - HEADER) as usize
    }

    /// Longest payload of one fragment, and of one record that is copied in; a multiple of 8.
    #[inline]
    pub(crate) fn fragment_max(self) -> usize {
        (self.fragment_span - HEADER) as usize
    }

    /// What one call may take before it looks at its deadline, in [`effort`](Self::effort): a ring's
    /// worth of records, one of which may be short and not the last of what it takes.
    pub(crate) fn effort_max(self) -> u64 {
        self.capacity + self.record_span
    }

    /// What taking a record counts for. Parts are full but for the last of a message, so that many
    /// short ones, each of which costs its syscalls, are a liar's.
    pub(crate) fn effort(self, header: Header) -> u64 {
        header.span().max(self.fragment_span / 2)
    }

    /// Longest message that an empty ring takes at once, fragments included: each fragment has a header, the
    /// first a prefix, and behind the last there must be a zeroed header.
    pub(crate) fn single_record_max(self) -> usize {
        let fragments = self.capacity / self.fragment_span;
        (self.capacity - HEADER - PREFIX as u64 - fragments * HEADER) as usize
    }

    /// Bytes of the ring that a message of `len` takes.
    pub(crate) fn span_of_message(self, len: usize) -> u64 {
        if len <= self.fragment_max() {
            return span_of(len);
        }
        let stream = (len + PREFIX) as u64;
        stream.div_ceil(self.fragment_max() as u64) * HEADER + stream.next_multiple_of(8)
    }

    /// Checks a header word that a peer may have written; `None` is "not yet there".
    ///
    /// # Errors
    ///
    /// [`Fault::Corrupted`] for a length over [`record_max`](Self::record_max), unknown flags, a
    /// first fragment without its prefix, or a pack of which nothing is left.
    #[inline]
    pub(crate) fn decode(self, word: u64) -> Result<Option<Header>, Fault> {
        if word == 0 {
            return Ok(None);
        }
        let flags = (word >> 32) as u32;
        let Some(len) = (word & 0xffff_ffff).checked_sub(1) else {
            return Err(Fault::Corrupted);
        };
        let len = len as usize;
        if flags & PACK != 0 {
            return self.checked_pack(Header { len, flags }).map(Some);
        }
        let known = FIRST | LAST | AFTER_DEATH | AFTER_WITHDRAWAL | ANCILLARY;
        let opens = flags & (FIRST | LAST) == FIRST;
        let carries = flags & ANCILLARY != 0;
        if len > self.record_max()
            || flags & !known != 0
            || ((opens || carries) && len < PREFIX)
            || (carries && flags & (FIRST | LAST) != FIRST | LAST)
        {
            return Err(Fault::Corrupted);
        }
        Ok(Some(Header { len, flags }))
    }

    #[cold]
    fn checked_pack(self, header: Header) -> Result<Header, Fault> {
        let kind = header.flags & ((1 << PACKED_LEN) - 1);
        header
            .pack()
            .filter(|pack| kind == PACK | FIRST | LAST && (1..=PACKED_MAX).contains(&pack.len))
            .filter(|_| header.len <= self.record_max().min(PACK_MAX))
            .filter(|pack| header.len % pack.stride() == 0 && pack.left() > 0)
            .map(|_| header)
            .ok_or(Fault::Corrupted)
    }

    /// Bytes between two positions, of which a correct peer keeps the distance within the ring.
    #[inline]
    pub(crate) fn used(self, tail: u64, head: u64) -> Result<u64, Fault> {
        let used = tail.wrapping_sub(head);
        if used > self.capacity || tail % 8 != 0 {
            Err(Fault::Corrupted)
        } else {
            Ok(used)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_record_in_the_capacity_for_it_and_in_no_smaller_one() {
        for len in [1, 504, 505, 8184, 8185, 1 << 20] {
            let capacity = capacity_for_record(len).next_power_of_two();
            assert!(Rules::new(capacity).record_max() >= len, "{len}");
            assert!(Rules::new(capacity / 2).record_max() < len, "{len}");
        }
        assert!(
            capacity_for_record(usize::MAX)
                .checked_next_power_of_two()
                .is_none()
        );
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let rules = Rules::new(4096);
        for len in [0, 1, 7, 8, 9, rules.fragment_max()] {
            let header = Header {
                len,
                flags: FIRST | LAST,
            };
            assert_eq!(rules.decode(header.encode()).unwrap(), Some(header));
        }
        assert_eq!(rules.decode(0).unwrap(), None);
    }

    #[test]
    fn impossible_headers_are_corruption() {
        let rules = Rules::new(4096);
        let too_long = Header {
            len: rules.fragment_max() + 1,
            flags: FIRST | LAST,
        }
        .encode();
        let unknown = Header { len: 8, flags: 64 }.encode();
        let fragment_with_descriptors = Header {
            len: 8,
            flags: ANCILLARY | FIRST,
        }
        .encode();
        let no_ticket = Header {
            len: 7,
            flags: ANCILLARY | FIRST | LAST,
        }
        .encode();
        let no_prefix = Header {
            len: 7,
            flags: FIRST,
        }
        .encode();
        let no_length = 3 << 32;
        for word in [
            too_long,
            unknown,
            fragment_with_descriptors,
            no_ticket,
            no_prefix,
            no_length,
            u64::MAX,
            u64::from(u32::MAX),
        ] {
            assert!(
                matches!(rules.decode(word), Err(Fault::Corrupted)),
                "{word:#x}"
            );
        }
    }

    #[test]
    fn a_pack_tells_what_is_left_of_it() {
        let rules = Rules::new(1 << 16);
        for (len, count) in [(1, 1), (8, 64), (8, 512), (13, 3), (64, 64)] {
            let mut header = Header::of_pack(len, count);
            for taken in 0..count {
                assert_eq!(rules.decode(header.encode()).unwrap(), Some(header));
                let pack = Packed { len, taken, count };
                assert_eq!(header.pack(), Some(pack));
                assert_eq!(pack.left(), count - taken);
                assert_eq!(header.span(), span_of(count * packed_span(len)));
                assert_eq!(header.messages(), count as u64);
                assert_eq!((header.message_len(), header.payload()), (len, len * count));
                let after = header.after_one();
                assert_eq!(after.is_none(), taken == count - 1);
                header = after.unwrap_or(header);
            }
        }
    }

    #[test]
    fn impossible_packs_are_corruption() {
        let rules = Rules::new(1 << 16);
        let good = Header::of_pack(8, 3);
        let of = |len, flags| Header { len, flags }.encode();
        for (word, what) in [
            (of(0, good.flags), "no message"),
            (of(20, good.flags), "a message and a half"),
            (of(24, good.flags | 3 << PACKED_TAKEN), "nothing left"),
            (
                of(24, good.flags | 0xffff << PACKED_TAKEN),
                "more taken than there were",
            ),
            (of(24, good.flags & 0xff), "messages of no length"),
            (of(24, good.flags & !FIRST), "no first"),
            (of(24, good.flags & !LAST), "no last"),
            (of(24, good.flags | ANCILLARY), "descriptors"),
            (of(24, good.flags | AFTER_DEATH), "after a death"),
            (Header::of_pack(PACKED_MAX + 1, 2).encode(), "long messages"),
            (
                Header::of_pack(8, PACK_MAX / 8 + 1).encode(),
                "too many messages",
            ),
            (u64::from(good.flags) << 32, "no length"),
        ] {
            let outcome = rules.decode(word);
            assert!(matches!(outcome, Err(Fault::Corrupted)), "{what}");
        }
        let short = Rules::new(4096);
        let beyond = Header::of_pack(8, 64).encode();
        assert!(matches!(short.decode(beyond), Err(Fault::Corrupted)));
    }

    #[test]
    fn the_longest_message_at_once_fits_and_one_byte_more_does_not() {
        for shift in 12..=24 {
            let rules = Rules::new(1 << shift);
            let most = rules.single_record_max();
            assert!(rules.span_of_message(most) + HEADER <= rules.capacity());
            assert!(rules.span_of_message(most + 1) + HEADER > rules.capacity());
        }
    }

    #[test]
    fn positions_out_of_range_are_corruption() {
        let rules = Rules::new(4096);
        assert_eq!(rules.used(8, 0).unwrap(), 8);
        assert_eq!(rules.used(16, u64::MAX - 15).unwrap(), 32);
        assert!(rules.used(0, 8).is_err());
        assert!(rules.used(4104, 0).is_err());
        assert!(rules.used(9, 1).is_err());
    }
}
