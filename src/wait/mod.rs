//! Waiting and waking between processes that may die at any instruction.
//!
//! [`event`] is what one side sleeps on and the other rings, with the argument why no wake-up is
//! lost; [`sleep`] the two phases of a wait; [`poll_group`] which thread of a process sleeps for all;
//! [`spin`] how long the first of them pays; [`stream`] what comes
//! before them; [`life_line`] how a side learns that the other is gone; [`log`] what observers are told of a wait.

pub(crate) mod backoff;
pub(crate) mod event;
pub(crate) mod life_line;
pub(crate) mod log;
pub(crate) mod poll_group;
pub(crate) mod sleep;
pub(crate) mod stream;

#[cfg(all(test, loom))]
mod loom_event;
