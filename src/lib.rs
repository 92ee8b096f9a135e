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
mod ends;
mod error;
#[cfg(all(feature = "observe", not(loom)))]
pub mod observe;
mod ring;
#[cfg_attr(loom, path = "segment/loom.rs")]
mod segment;
mod sync;
mod sys;
#[cfg(feature = "tokio")]
pub mod tokio;
mod values;
mod wait;

#[cfg(shmpipe_kill_points)]
#[doc(hidden)]
pub mod kill_points {
    pub use crate::sync::killable::{arm, passed};
}

pub use ends::ancillary::SendEndError;
pub use ends::batch::{Batch, SendBatchError};
pub use ends::connection::Connection;
pub use ends::end::End;
pub use ends::holders::Holder;
pub use ends::memory::Memory;
pub use ends::message::{IntoMessages, Message, Messages, TryMessages};
pub use ends::options::{Backend, PipeOptions, duplex, pipe};
pub use ends::receiver::Receiver;
pub use ends::sender::Sender;
pub use ends::slot::Slot;
pub use ends::view::View;
pub use ends::wait::{Interest, Ready, Waitable, wait, wait_with};
pub use error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
pub use sys::interrupt::Interrupt;
pub use sys::refused::raw_os_error;
#[cfg(feature = "serde")]
pub use values::serde;
pub use values::typed;
pub use wait::backoff::Spin;

/// Has the snippets of `docs/cookbook.md` compiled and run with the other doc tests; some need a feature.
#[cfg(all(doctest, feature = "serde", feature = "tokio"))]
#[doc = include_str!("../docs/cookbook.md")]
struct Cookbook;
