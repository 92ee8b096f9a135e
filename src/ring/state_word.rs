//! A side's state word: the state of its messages in fragments, and beside it the mark that the side is watched.
//!
//! Watched means that somebody waits for the side's readiness by its descriptor. The fast path compares the word with
//! [`message::WHOLE`](crate::segment::layout::message) anyway, so a side that nobody watches pays nothing for the mark.
//! What a watched side has to do is in `backend::shm::readiness`.

use crate::segment::layout::message::{STATES, WATCHED};
use crate::sync::{AtomicU32, Ordering};

/// The state alone.
#[inline]
pub(crate) fn state(word: &AtomicU32, order: Ordering) -> u32 {
    word.load(order) & STATES
}

/// Changes the state, under the side's lock. The mark may be set by anybody at the same moment, so only the
/// difference is added. Returns whether there was one.
pub(crate) fn set_state(word: &AtomicU32, state: u32, order: Ordering) -> bool {
    let difference = state.wrapping_sub(word.load(Ordering::Relaxed) & STATES);
    if difference != 0 {
        word.fetch_add(difference, order);
    }
    difference != 0
}

/// Sets the mark, for all holders and for good, and returns whether it is new. Without the lock: each holder heeds it from
/// its next call on.
pub(crate) fn set_watched(word: &AtomicU32) -> bool {
    !is_watched(word) && word.fetch_or(WATCHED, Ordering::Relaxed) & WATCHED == 0
}

/// Whether somebody watches the side.
#[inline]
pub(crate) fn is_watched(word: &AtomicU32) -> bool {
    word.load(Ordering::Relaxed) & WATCHED != 0
}
