//! Stands in for the shared segment under the model checker, whose atomics are not plain memory.
//!
//! The layout is the real one; the words live in this process and nothing is mapped.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use crate::sync::AtomicU64;
use geometry::{Geometry, Sides, Wanted};
use layout::Control;
use loom::cell::UnsafeCell;

pub(crate) mod geometry;
pub(crate) mod label;
pub(crate) mod layout;

pub(crate) const MAX_CAPACITY: usize = 1 << 10;

/// What a ring that has been used before may hold anywhere but in the header that is next.
const GARBAGE: u64 = u64::MAX;

/// Eight bytes of the data.
pub(crate) struct Word {
    pub(crate) value: AtomicU64,
    /// Touched by each copy of payload, so that the checker finds a copy into room that another
    /// copy may still be reading: the values alone would not always show it.
    pub(crate) payload: UnsafeCell<()>,
}

/// The control part and the data.
pub(crate) struct Segment {
    control: Control,
    words: Box<[Word]>,
}

// SAFETY: `UnsafeCell` guards no data here, it only reports who touches it when.
unsafe impl Sync for Segment {}

impl Segment {
    pub(crate) fn create(wanted: Wanted<'_>, _sides: Sides) -> io::Result<Self> {
        let word = |index| Word {
            value: AtomicU64::new(if index == 0 { 0 } else { GARBAGE }),
            payload: UnsafeCell::new(()),
        };
        Ok(Self {
            control: Control::default(),
            words: (0..wanted.capacity / 8).map(word).collect(),
        })
    }

    pub(crate) fn attach(_memfd: OwnedFd, _geometry: Geometry) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn fill_tables(&self) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn geometry(&self) -> Geometry {
        Geometry::default()
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the real one")]
    pub(crate) fn fill_holes(&self) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn memfd(&self) -> BorrowedFd<'_> {
        unreachable!("nothing is handed over under the model checker")
    }

    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// The first of `capacity() / 8` [`Word`]s.
    pub(crate) fn data(&self) -> NonNull<u8> {
        NonNull::from(&*self.words).cast()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.words.len() * 8
    }
}
