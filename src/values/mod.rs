//! Ends that carry values: by their bytes in [`typed`], encoded in [`serde`], and what both have in common.
//!
//! That is macros and not generic types, so that the ends of each module read as types of their own in the
//! documentation. How a value becomes a message is the business of the two modules.

mod byte_end;
mod connection;
mod halves;
#[cfg(feature = "serde")]
pub mod serde;
pub mod typed;

use byte_end::goes_as_its_byte_end;
use connection::connection_of_values;
use halves::{receiver_of_values, sender_of_values};

crate::ends::unwind::unwind_safe! {
    [T] typed::Sender<T>;
    [T] typed::Receiver<T>;
    [S, R] typed::Connection<S, R>;
    [T] typed::Messages<'_, T>;
    #[cfg(feature = "serde")]
    [T] serde::Sender<T>;
    #[cfg(feature = "serde")]
    [T] serde::Receiver<T>;
    #[cfg(feature = "serde")]
    [S, R] serde::Connection<S, R>;
    #[cfg(feature = "serde")]
    [T] serde::Messages<'_, T>;
}
