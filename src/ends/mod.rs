//! The public ends of a pipe, and what belongs to them.
//!
//! Nothing here knows how bytes reach the other side: a call is checked, and the backend of its end does it. Every
//! public name is re-exported by `lib.rs`.
//!
//! - The ends: [`sender`], [`receiver`], [`connection`]; their calls that take the fast path alone: [`fast`].
//! - How they are made: [`options`]; of what memory and with what name: [`pages`], [`label`].
//! - What they return: [`message`], [`batch`].
//! - Waiting for several: [`wait`]; descriptors for an event loop: [`readiness`].
//! - Giving an end to another process: [`end`] is what can be given, [`handover`] does it by descriptors, [`inherit`]
//!   by an executed program, [`ancillary`] by a message.
//! - The pipe's other users and the process's own place: [`holders`], [`closing`], [`surroundings`], [`unwind`].

// In the order in which the documentation of an end shows its calls: what is declared here is shown first.
pub(crate) mod options;

pub(crate) mod sender;

pub(crate) mod receiver;

pub(crate) mod connection;

pub(crate) mod ancillary;
pub(crate) mod batch;
mod closing;
pub(crate) mod end;
mod fast;
mod handover;
pub(crate) mod holders;
mod inherit;
mod label;
pub(crate) mod message;
mod pages;
mod readiness;
mod surroundings;
pub(crate) mod unwind;
pub(crate) mod wait;
