//! The workloads by name: ping-pong, one-way messages, a file's bytes.
//!
//! What the two processes do for them is in `drive` and `serve`.

use std::fmt;
use std::time::Duration;

use super::payload::FILE_MESSAGE;
use super::units::size;

/// What is sent in a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// A message of so many bytes goes there and comes back before the next one goes.
    PingPong(usize),
    /// Messages of so many bytes go there one after the other.
    OneWay(usize),
    /// The bytes of a file go there in messages of [`FILE_MESSAGE`] bytes, again and again.
    File,
}

impl Workload {
    /// All workloads, in the table's order.
    pub(crate) const ALL: [Self; 7] = [
        Self::PingPong(8),
        Self::PingPong(1 << 10),
        Self::PingPong(64 << 10),
        Self::OneWay(8),
        Self::OneWay(1 << 10),
        Self::OneWay(64 << 10),
        Self::File,
    ];

    /// Whether messages go both ways.
    pub(crate) fn is_two_way(self) -> bool {
        matches!(self, Self::PingPong(_))
    }

    /// Messages between two looks at the clock: a look takes some 25 ns, which is to stay below a
    /// few per cent of what is measured, and a slice must not run over for long.
    pub(crate) fn stride(self) -> u64 {
        match self {
            Self::PingPong(len) if len <= 1 << 10 => 32,
            Self::OneWay(len) if len <= 1 << 10 => 256,
            _ => 1,
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::PingPong(len) => write!(f, "ping-pong {}", size(len)),
            Self::OneWay(len) => write!(f, "one way {}", size(len)),
            Self::File => write!(f, "file, {} each", size(FILE_MESSAGE)),
        }
    }
}

/// What a slice moved, and how long it took until the peer had confirmed it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// Messages sent one way, or round trips.
    pub(crate) messages: u64,
    /// Bytes of those messages, counted once in a round trip.
    pub(crate) bytes: u64,
    /// From before the first send until after the confirmation of the last.
    pub(crate) elapsed: Duration,
}
