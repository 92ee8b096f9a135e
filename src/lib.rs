#![doc = include_str!("front_page.md")]
#![cfg_attr(
    loom,
    allow(dead_code, reason = "its stand-ins leave some code without a user")
)]

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    target_endian = "little"
)))]
compile_error!("shmpipe needs 64-bit little-endian Linux: memfd, futex, and its byte map");

mod backend;
mod batch;
mod closing;
mod connection;
mod end;
mod error;
mod handover;
mod holders;
mod inherit;
mod label;
mod message;
#[cfg(all(feature = "observe", not(loom)))]
pub mod observe;
mod options;
mod pages;
mod parcels;
mod readiness;
mod receiver;
mod ring;
#[cfg_attr(loom, path = "segment/loom.rs")]
mod segment;
mod sender;
#[cfg(feature = "serde")]
pub mod serde;
mod surroundings;
mod sync;
mod sys;
#[cfg(feature = "tokio")]
pub mod tokio;
pub mod typed;
mod unwind;
mod values;
mod wait;
mod waiting;

#[cfg(shmpipe_kill_points)]
#[doc(hidden)]
pub mod kill_points {
    pub use crate::sync::killable::{arm, passed};
}

pub use batch::{Batch, SendBatchError};
pub use connection::Connection;
pub use end::End;
pub use error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
pub use holders::Holder;
pub use message::{IntoMessages, Message, Messages, TryMessages};
pub use options::{Backend, PipeOptions, duplex, pipe};
pub use parcels::SendEndError;
pub use receiver::{Memory, Receiver, View};
pub use sender::{Sender, Slot};
pub use sys::interrupt::Interrupt;
pub use sys::refused::raw_os_error;
pub use wait::spin::Spin;
pub use waiting::{Interest, Ready, Waitable, wait, wait_with};

/// Has the snippets of `docs/cookbook.md` compiled and run with the other doc tests; some need a feature.
#[cfg(all(doctest, feature = "serde", feature = "tokio"))]
#[doc = include_str!("../docs/cookbook.md")]
struct Cookbook;
