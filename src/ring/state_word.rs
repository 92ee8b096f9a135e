//! The mark of a side that is watched through its descriptor, beside the state of its messages in fragments.
//!
//! The mark shares a word with a state that the short ways of sending and receiving compare with
//! [`message::WHOLE`](crate::segment::layout::message) anyway, so a side without it pays nothing for it. It does
//! not say what a watched side has to do; `backend::shm::readiness` does.

use crate::segment::layout::message::{STATES, WATCHED};
use crate::sync::{AtomicU32, Ordering};

/// The state alone.
#[inline]
pub(crate) fn state(word: &AtomicU32, order: Ordering) -> u32 {
    word.load(order) & STATES
}

/// Changes the state, under the side's lock. The mark may be set by anybody at the same moment, so only the
/// difference is added. Tells whether there was one.
pub(crate) fn set_state(word: &AtomicU32, state: u32, order: Ordering) -> bool {
    let difference = state.wrapping_sub(word.load(Ordering::Relaxed) & STATES);
    if difference != 0 {
        word.fetch_add(difference, order);
    }
    difference != 0
}

/// Sets the mark, for all holders and for good, and tells whether it is new. Without the lock: it counts from
/// each holder's next call on.
pub(crate) fn set_watched(word: &AtomicU32) -> bool {
    !is_watched(word) && word.fetch_or(WATCHED, Ordering::Relaxed) & WATCHED == 0
}

/// Whether somebody watches the side.
#[inline]
pub(crate) fn is_watched(word: &AtomicU32) -> bool {
    word.load(Ordering::Relaxed) & WATCHED != 0
}
