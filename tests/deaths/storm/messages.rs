//! The storm's messages: how long each is, and who sent it as its number what.

use crate::support::mixed;
use crate::support::{check, identify, pattern};

/// Each process of the storm has a number of its own, from 1 on, for as long as it lives.
pub(super) type Life = u32;

/// The life of whoever ends an era: each of its messages sends one receiver home.
pub(super) const LAST_CALL: Life = 0;

/// Shorter messages have no room for their sender's name; they are counted by length.
pub(super) const STAMPED: usize = 8;

/// Bytes of the pipe in each direction.
pub(super) const CAPACITY: usize = 16 * 1024;

/// No message up to this length goes in fragments on either backend, so none of them can be cut.
pub(super) const NEVER_CUT: usize = 2000;

/// The length of message `number` of `life`: most are small, some shorter than a stamp, one in 16 is
/// up to a page and one in 32 anything up to three times the pipe.
pub(super) fn size(life: Life, number: u32) -> usize {
    if life == LAST_CALL {
        return STAMPED;
    }
    let mixed = mixed((u64::from(life) << 32) | u64::from(number));
    let below = |bound: usize| (mixed >> 8) as usize % bound;
    match mixed % 32 {
        0 => below(3 * CAPACITY + 1),
        1 | 2 => below(4097),
        3 | 4 => below(STAMPED),
        _ => below(257),
    }
}

/// One message as a receiver notes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Stamped(Life, u32),
    /// One too short for a stamp, by its length.
    Short(usize),
}

/// In place of the life in the word of a short message.
const SHORT: Life = Life::MAX;

impl Entry {
    pub(super) fn to_word(self) -> u64 {
        let (life, number) = match self {
            Self::Stamped(life, number) => (life, u64::from(number)),
            Self::Short(len) => (SHORT, len as u64),
        };
        (u64::from(life) << 32) | number
    }

    pub(super) fn from_word(word: u64) -> Self {
        let (life, number) = ((word >> 32) as Life, word as u32);
        if life == SHORT {
            Self::Short(number as usize)
        } else {
            Self::Stamped(life, number)
        }
    }
}

/// The pattern's sender and number: it has 16 bits for the one and 48 for the other.
fn stamp(life: Life, number: u32) -> (u16, u64) {
    let high = u64::from(life >> 16);
    (life as u16, (high << 32) | u64::from(number))
}

/// Message `number` of `life`.
pub(super) fn message(life: Life, number: u32) -> Vec<u8> {
    let len = size(life, number);
    if len < STAMPED {
        return short(len);
    }
    let (sender, number) = stamp(life, number);
    pattern(sender, number, len)
}

/// The short messages are alike, so that each byte of them can be checked too.
fn short(len: usize) -> Vec<u8> {
    pattern(u16::MAX, (1 << 48) - 1, len)
}

/// Which message this claims to be.
pub(super) fn recognize(message: &[u8]) -> Entry {
    if message.len() < STAMPED {
        return Entry::Short(message.len());
    }
    let (sender, number) = identify(message);
    let life = (((number >> 32) as Life) << 16) | Life::from(sender);
    Entry::Stamped(life, number as u32)
}

/// Panics unless `message` is exactly what `entry` says.
pub(super) fn verify(message: &[u8], entry: Entry) {
    match entry {
        Entry::Stamped(life, number) => {
            let (sender, stamped) = stamp(life, number);
            check(message, sender, stamped, size(life, number));
        }
        Entry::Short(len) => assert_eq!(message, short(len), "a torn short message"),
    }
}
