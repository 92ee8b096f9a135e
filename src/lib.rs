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
mod connection;
mod error;
mod handover;
mod message;
mod options;
mod receiver;
mod ring;
#[cfg_attr(loom, path = "segment/loom.rs")]
mod segment;
mod sender;
mod sync;
mod sys;
mod wait;

#[cfg(shmpipe_kill_points)]
#[doc(hidden)]
pub mod kill_points {
    pub use crate::sync::killable::{arm, passed};
}

pub use batch::{Batch, SendBatchError};
pub use connection::Connection;
pub use error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
pub use message::{Message, Messages};
pub use options::{Backend, PipeOptions, duplex, pipe};
pub use receiver::{Receiver, View};
pub use sender::{Sender, Slot};
