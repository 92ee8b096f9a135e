//! The private contract that every backend keeps, and the choice between them.
//!
//! A backend moves whole messages one way. What a blocked call does, who wakes whom and how a
//! death is seen is the backend's own business; the public ends only forward.

use std::os::fd::OwnedFd;

use crate::error::Fault;
use crate::ring::payload::Destination;
use crate::ring::payload::Pieces;
use crate::sys::clock::Timeout;
use crate::sys::closing::{Closing, closed};
use crate::sys::holders::Opposite;

mod ancillary;
mod closing;
mod deadlock;
pub(crate) mod kernel;
pub(crate) mod shm;

/// The sending half of one direction.
pub(crate) trait Tx: Sized {
    /// Sends `message` whole or not at all, waiting no longer than `timeout`.
    fn send(&mut self, message: &[u8], timeout: Timeout) -> Result<(), Fault>;
    /// As [`send`](Self::send) for a message that lies in several places.
    fn send_pieces(&mut self, pieces: Pieces<'_>, timeout: Timeout) -> Result<(), Fault>;
    /// Another handle to the same side.
    fn try_clone(&self) -> std::io::Result<Self>;
    /// Copies of the descriptors that make an end of this side in another process.
    fn to_fds(&self) -> std::io::Result<Vec<OwnedFd>>;
    /// How the holders of the other side are known.
    fn opposite(&self) -> std::io::Result<Opposite>;
    /// Bytes that the pipe can hold, framing included.
    fn capacity(&self) -> usize;
}

/// The receiving half of one direction.
pub(crate) trait Rx: Sized {
    /// Receives one message whole and returns its length, waiting no longer than `timeout`.
    fn recv(&mut self, into: Destination<'_>, timeout: Timeout) -> Result<usize, Fault>;
    /// Waits until `recv` would not block (end-of-file included); false when the time-out has passed.
    fn poll(&mut self, timeout: Timeout) -> Result<bool, Fault>;
    /// Another handle to the same side.
    fn try_clone(&self) -> std::io::Result<Self>;
    /// Copies of the descriptors that make an end of this side in another process.
    fn to_fds(&self) -> std::io::Result<Vec<OwnedFd>>;
    /// How the holders of the other side are known.
    fn opposite(&self) -> std::io::Result<Opposite>;
    /// Bytes that the pipe can hold, framing included.
    fn capacity(&self) -> usize;
}

/// What poll(2) has shown of an end's descriptor since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was not asked, or is not ready.
    Nothing,
    /// It is ready.
    Ready,
    /// The other side is gone.
    HungUp,
}

/// What a look at an end found, for one who watches many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// A call would not block.
    Ready,
    /// It would; the descriptor becomes ready when that changes.
    NotYet,
    /// As `NotYet`, but no descriptor shows the death of the process whose message is at hand: look again.
    Inside,
    /// Another holder of the side is in the middle of a long message; no descriptor shows when it is through.
    Busy,
}

/// How far a message has come that is sent in steps.
#[cfg(feature = "tokio")]
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Whether the pipe has the beginning of it, and the end holds its side.
    pub(crate) has_begun: bool,
    /// Bytes of it in fragments that the pipe has whole.
    pub(crate) sent: usize,
    /// In a kernel pipe: length of the fragment that is under way, 0 between two, and how much of its frame is written.
    pub(crate) fragment: usize,
    pub(crate) written: usize,
}

/// Whether the end can still be used; the other two stay.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    Disconnected,
    Corrupted,
}

impl Fate {
    /// Refuses a call of an end that cannot be used, or that this process has closed.
    #[inline]
    pub(crate) fn check(self, closing: &Closing) -> Result<(), Fault> {
        closing.check()?;
        match self {
            Self::Open => Ok(()),
            Self::Disconnected => Err(Fault::Disconnected),
            Self::Corrupted => Err(Fault::Corrupted),
        }
    }

    /// Remembers a fault that stays. What a call of a closed side met is what the close has made of it.
    pub(crate) fn seal<T>(
        &mut self,
        closing: &Closing,
        outcome: Result<T, Fault>,
    ) -> Result<T, Fault> {
        match outcome {
            Err(_) if closing.is_closed() => return Err(Fault::Io(closed())),
            Err(Fault::Disconnected) => *self = Self::Disconnected,
            Err(Fault::Corrupted) => *self = Self::Corrupted,
            _ => {}
        }
        outcome
    }
}

/// For a call that needs the ancillary socket on a pipe that has none.
pub(crate) fn without_descriptors() -> Fault {
    Fault::Io(std::io::Error::new(
        std::io::ErrorKind::Unsupported,
        "this pipe was made without PipeOptions::descriptors, so its messages carry none",
    ))
}
