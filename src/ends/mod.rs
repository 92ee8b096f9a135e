//! The public ends of a pipe, and what belongs to them.
//!
//! Nothing here knows how bytes reach the other side: a call is checked, and the backend of its end does it. Every
//! public name is re-exported by `lib.rs`.
//!
//! - The ends: [`sender`], [`receiver`], [`connection`]; their calls that take the fast path alone: [`fast`].
//! - How they are made: [`options`]; of what memory and with what name: [`pages`].
//! - Many messages at once: [`send_batch`], [`recv_batch`]; in place: [`slot`], [`view`]; in pieces: [`vectored`]; into
//!   the caller's memory: [`memory`]; as a stream of bytes: [`stream`].
//! - What they return: [`message`], [`batch`].
//! - Waiting for several: [`wait`]; descriptors for an event loop: [`readiness`].
//! - Giving an end to another process: [`end`] is what can be given, [`handover`] does it by descriptors, [`inherit`]
//!   by an executed program, [`ancillary`] by a message.
//! - The pipe's other users and the process's own place: [`holders`], [`closing`], [`surroundings`], [`unwind`].

// In this order the documentation of an end shows its calls: those of a file that is declared earlier come first.
pub(crate) mod options;

pub(crate) mod sender;

pub(crate) mod receiver;

pub(crate) mod connection;

pub(crate) mod batch;
mod recv_batch;
mod send_batch;

pub(crate) mod slot;
pub(crate) mod view;

mod vectored;

pub(crate) mod memory;
mod stream;

pub(crate) mod message;

mod readiness;
pub(crate) mod wait;

pub(crate) mod holders;

pub(crate) mod end;
mod handover;
mod inherit;

mod pages;

pub(crate) mod ancillary;

mod closing;
mod surroundings;
pub(crate) mod unwind;

mod fast;
