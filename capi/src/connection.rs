//! The end of a two-way pipe: a receiver of one direction and a sender of the other.
//!
//! Its halves are handles of their own, so that each call exists once and two threads can use both directions.

use std::mem;
use std::ptr;

use shmpipe::Connection;

use crate::border::out;
use crate::end::{End, Owner, lent};
use crate::options::free;
use crate::receiver::shmpipe_receiver;
use crate::sender::shmpipe_sender;
use crate::status::{Told, call, shmpipe_status};

/// One end of a two-way pipe. All calls are made with its two halves, shmpipe_connection_receiver() and
/// shmpipe_connection_sender().
pub struct shmpipe_connection {
    receiver: shmpipe_receiver,
    sender: shmpipe_sender,
}

impl shmpipe_connection {
    pub(crate) fn handle(end: Connection) -> *mut Self {
        let (receiver, sender) = end.split();
        Box::into_raw(Box::new(Self {
            receiver: shmpipe_receiver::new(receiver, Owner::Connection),
            sender: shmpipe_sender::new(sender, Owner::Connection),
        }))
    }

    /// Takes the halves out of the caller's handle, which becomes NULL.
    ///
    /// # Safety
    ///
    /// `handle` is null, or points to null or to a live handle that nobody else uses.
    pub(crate) unsafe fn take(
        handle: *mut *mut Self,
        name: &str,
    ) -> Result<(shmpipe::Receiver, shmpipe::Sender), Told> {
        // SAFETY: by the caller.
        let Some(place) = (unsafe { handle.as_mut() }) else {
            return Err(Told::invalid(format_args!("{name} is NULL")));
        };
        // SAFETY: by the caller.
        let Some(connection) = (unsafe { place.as_ref() }) else {
            return Err(Told::invalid(format_args!("*{name} is NULL")));
        };
        if connection.receiver.is_lent() || connection.sender.is_lent() {
            return Err(lent(name));
        }
        let handle = mem::replace(place, ptr::null_mut());
        // SAFETY: made by `handle`, and the caller's only copy has been set to null.
        let connection = unsafe { Box::from_raw(handle) };
        let Self { receiver, sender } = *connection;
        Ok((receiver.into_inner(), sender.into_inner()))
    }
}

/// The receiving half of a connection, for all calls that take a receiver. NULL for NULL.
///
/// Threads: any. The two halves are handles of their own, which two threads may use at the same time. Ownership: the half
/// is part of the connection, and goes with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_connection_receiver(
    connection: *mut shmpipe_connection,
) -> *mut shmpipe_receiver {
    if connection.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: by the caller.
    unsafe { &raw mut (*connection).receiver }
}

/// The sending half of a connection, for all calls that take a sender. NULL for NULL.
///
/// Threads: any. The two halves are handles of their own, which two threads may use at the same time. Ownership: the half
/// is part of the connection, and goes with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_connection_sender(
    connection: *mut shmpipe_connection,
) -> *mut shmpipe_sender {
    if connection.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: by the caller.
    unsafe { &raw mut (*connection).sender }
}

/// Takes the two directions apart, and sets `*connection` to NULL. Each half then counts by itself: the peer gets
/// end-of-file when the last sender half is gone, and a broken pipe when the last receiver half is. Pointers to the halves
/// that were asked for before are no longer valid.
///
/// SHMPIPE_LENT: a half has a slot or a view open. The connection stays then.
///
/// Threads: both halves by one at a time. Ownership: `*connection` is taken. `*rx` and `*tx` are the caller's, to be given
/// to shmpipe_receiver_free() and shmpipe_sender_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_connection_split(
    connection: *mut *mut shmpipe_connection,
    rx: *mut *mut shmpipe_receiver,
    tx: *mut *mut shmpipe_sender,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let rx = unsafe { out(rx, "rx", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let tx = unsafe { out(tx, "tx", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let (receiver, sender) = unsafe { shmpipe_connection::take(connection, "connection") }?;
        *rx = shmpipe_receiver::handle(receiver);
        *tx = shmpipe_sender::handle(sender);
        Ok(())
    })
}

/// Drops this connection with both its halves and what they have lent, and sets `*connection` to NULL. NULL in either
/// place does nothing. What the peer had sent is lost; what was sent to the peer is received there first.
///
/// Threads: both halves by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_connection_free(connection: *mut *mut shmpipe_connection) {
    // SAFETY: by the caller.
    unsafe { free(connection) };
}
