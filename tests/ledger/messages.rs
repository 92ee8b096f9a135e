//! The ledger's messages: who sent each as its number what, how long it is, and what each of its bytes is.

use crate::support::{mixed, pattern};

/// One sending or receiving thread of one process, for as long as it lives.
pub(super) type Life = u16;

/// Bytes of the pipe, if pages are no larger.
pub(super) const CAPACITY: usize = 16 * 1024;

/// Shorter messages have no room for a stamp; they are counted by length.
pub(super) const STAMPED: usize = 8;

/// No message up to this length goes in fragments on either backend, so none of them can be cut.
pub(super) const NEVER_CUT: usize = 2000;

/// Messages of one life; one that has sent so many ends.
pub(super) const NUMBERS: usize = 4096;

/// First byte of a message with a stamp; a shorter one starts with its length.
const TAG: u64 = 0xa5;

/// The length of message `number` of `life`: most are small, some shorter than a stamp, one in 32 is up to a
/// page and one in 64 anything up to three times the pipe.
pub(super) fn size(life: Life, number: usize) -> usize {
    let mixed = mixed((u64::from(life) << 32) | number as u64);
    let below = |bound: usize| (mixed >> 8) as usize % bound;
    match mixed % 64 {
        0 => below(3 * CAPACITY + 1),
        1 | 2 => below(4097),
        3..=6 => below(STAMPED),
        _ => below(257),
    }
}

/// One message as it is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Stamped(Life, usize),
    /// One too short for a stamp, by its length.
    Short(usize),
}

impl Entry {
    /// Message `number` of `life`.
    pub(super) fn of(life: Life, number: usize) -> Self {
        match size(life, number) {
            len if len < STAMPED => Self::Short(len),
            _ => Self::Stamped(life, number),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Stamped(life, number) => size(life, number),
            Self::Short(len) => len,
        }
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Stamped(life, number) => pattern(life, ((number as u64) << 8) | TAG, self.len()),
            Self::Short(len) => pattern(0, len as u64, len),
        }
    }

    /// As a word that is not 0.
    pub(super) fn to_word(self) -> u64 {
        match self {
            Self::Stamped(life, number) => (1 << 48) | (u64::from(life) << 32) | number as u64,
            Self::Short(len) => (2 << 48) | len as u64,
        }
    }

    /// What the first bytes of a message say that it is; `None` where they say nothing.
    fn claimed(bytes: &[u8]) -> Option<Self> {
        let first = u64::from(*bytes.first()?);
        if first != TAG {
            return (1..STAMPED as u64)
                .contains(&first)
                .then_some(Self::Short(first as usize));
        }
        let stamp = u64::from_le_bytes(*bytes.first_chunk()?);
        let number = (stamp >> 8) & ((1 << 40) - 1);
        Some(Self::Stamped((stamp >> 48) as Life, number as usize))
    }

    /// Which message this is; panics unless each of its bytes is right.
    pub(super) fn recognize(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::Short(0);
        }
        let start = &bytes[..bytes.len().min(16)];
        let entry = Self::claimed(bytes);
        let entry = entry.unwrap_or_else(|| panic!("no message starts with {start:?}"));
        let expected = entry.bytes();
        let differing = bytes
            .iter()
            .zip(&expected)
            .position(|(got, sent)| got != sent);
        assert!(
            bytes.len() == expected.len() && differing.is_none(),
            "torn: {} bytes as {entry:?} of {} bytes, first difference at {differing:?}, starts with {start:?}",
            bytes.len(),
            expected.len(),
        );
        entry
    }

    /// Takes the first message off a stream of bytes, if the stream has all of it.
    pub(super) fn take_first(stream: &mut Vec<u8>) -> Option<Self> {
        let claimed = match stream.first() {
            Some(_) if stream.len() < STAMPED && u64::from(stream[0]) == TAG => return None,
            Some(_) => Self::claimed(stream).expect("a stream is cut at messages"),
            None => return None,
        };
        if stream.len() < claimed.len() {
            return None;
        }
        let first: Vec<u8> = stream.drain(..claimed.len()).collect();
        Some(Self::recognize(&first))
    }
}

/// Message `number` of `life`.
pub(super) fn message(life: Life, number: usize) -> Vec<u8> {
    Entry::of(life, number).bytes()
}
