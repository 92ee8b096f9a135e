//! Reassembly: a message that is received in fragments, by whichever handles and threads of one process receive next.
//! Both backends use it.
//!
//! The fragments belong to the process's *end*, which all its handles to that side share. The process is noted as
//! *owner* in memory that all receivers share before the first fragment is taken. All fragments are taken under the side
//! lock, and the state there says where the owner is:
//!
//! - [`INSIDE`](message::INSIDE): it owns the lock.
//! - [`WAITING`](message::WAITING): it keeps the lock while it waits for the sender.
//! - [`OPEN`](message::OPEN): a call of it has ended inside the message. The other receivers wait until the owner goes on,
//!   lets go, or dies.
//!
//! # What becomes of the message when the owner stops
//!
//! An owner's end is proven, and not inferred from time. Whoever takes the lock and finds `INSIDE` or `WAITING` knows that
//! the lock's owner before it died there. An owner that closed its end has let go. The process of any other is looked after
//! (`sys::process`). The loss of the message is reported once, as [`Fault::Aborted`], by whoever receives next.
//!
//! [`shared`] is what all receivers see, [`fragments`] what one process has, [`session`] a receiver's turn under the lock.

mod fragments;
mod session;
mod shared;

#[cfg(doc)]
use crate::error::Fault;
#[cfg(doc)]
use crate::segment::layout::message;

pub(crate) use fragments::Reassembly;
pub(crate) use session::{Session, Turn, abandon};
