//! The C interface of the crate `shmpipe`: `include/shmpipe.h`, which is made of this source by cbindgen.
//!
//! Each exported function checks what it was given, calls the crate, and turns the outcome into a status. No logic of
//! pipes is here. The introduction of the header, in `cbindgen.toml`, states what callers owe every function.

#![allow(non_camel_case_types, reason = "C names, which are global")]
#![allow(
    clippy::missing_safety_doc,
    reason = "the header's introduction states the duties of all callers"
)]

mod border;
mod connection;
mod descriptors;
mod end;
mod handing;
mod interrupt;
mod last_error;
mod message;
mod options;
mod receiver;
mod sender;
mod slot;
mod status;
mod surroundings;
mod view;
mod waiting;

#[cfg(test)]
mod tests;

pub use connection::*;
pub use descriptors::*;
pub use handing::*;
pub use interrupt::*;
pub use last_error::*;
pub use message::*;
pub use options::*;
pub use receiver::*;
pub use sender::*;
pub use slot::*;
pub use status::*;
pub use surroundings::*;
pub use view::*;
pub use waiting::*;
