//! The private contract that every backend keeps, and the choice between them.
//!
//! A backend moves whole messages one way. What a blocked call does, who wakes whom and how a
//! death is seen is the backend's own business; the public ends only forward.

use std::os::fd::OwnedFd;

use crate::error::Fault;
use crate::ring::destination::Destination;
use crate::ring::payload::Pieces;
use crate::sys::clock::Patience;

pub(crate) mod kernel;
pub(crate) mod shm;

/// The sending half of one direction.
pub(crate) trait Tx: Sized {
    /// Sends `message` whole or not at all, waiting no longer than `patience`.
    fn send(&mut self, message: &[u8], patience: Patience) -> Result<(), Fault>;
    /// As [`send`](Self::send) for a message that lies in several places.
    fn send_pieces(&mut self, pieces: Pieces<'_>, patience: Patience) -> Result<(), Fault>;
    /// Another handle to the same side.
    fn try_clone(&self) -> std::io::Result<Self>;
    /// Copies of the descriptors that make an end of this side in another process.
    fn to_fds(&self) -> std::io::Result<Vec<OwnedFd>>;
    /// Bytes that the pipe can hold, framing included.
    fn capacity(&self) -> usize;
}

/// The receiving half of one direction.
pub(crate) trait Rx: Sized {
    /// Receives one message whole and returns its length, waiting no longer than `patience`.
    fn recv(&mut self, into: Destination<'_>, patience: Patience) -> Result<usize, Fault>;
    /// Waits until `recv` would not block (end-of-file included); false when patience ended.
    fn poll(&mut self, patience: Patience) -> Result<bool, Fault>;
    /// Another handle to the same side.
    fn try_clone(&self) -> std::io::Result<Self>;
    /// Copies of the descriptors that make an end of this side in another process.
    fn to_fds(&self) -> std::io::Result<Vec<OwnedFd>>;
    /// Bytes that the pipe can hold, framing included.
    fn capacity(&self) -> usize;
}

/// Whether the end can still be used; the other two stay.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    Disconnected,
    Corrupted,
}

impl Fate {
    pub(crate) fn check(self) -> Result<(), Fault> {
        match self {
            Self::Open => Ok(()),
            Self::Disconnected => Err(Fault::Disconnected),
            Self::Corrupted => Err(Fault::Corrupted),
        }
    }

    /// Remembers a fault that stays.
    pub(crate) fn seal<T>(&mut self, outcome: Result<T, Fault>) -> Result<T, Fault> {
        match outcome {
            Err(Fault::Disconnected) => *self = Self::Disconnected,
            Err(Fault::Corrupted) => *self = Self::Corrupted,
            _ => {}
        }
        outcome
    }
}
