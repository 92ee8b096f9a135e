//! Waiting and waking between processes that may die at any instruction.
//!
//! - [`event`] is what one side sleeps on and the other rings, with the argument why no wake-up is lost.
//! - A wait has three phases: [`stream`], then [`backoff`], then [`sleep`].
//! - [`poll_group`] is which thread of a process sleeps for all.
//! - [`life_line`] is how a side learns that the other side has closed or died.
//! - [`log`] is what observers see of a wait.

pub(crate) mod backoff;
pub(crate) mod event;
pub(crate) mod life_line;
pub(crate) mod log;
pub(crate) mod poll_group;
pub(crate) mod sleep;
pub(crate) mod stream;

#[cfg(all(test, loom))]
mod loom_event;
