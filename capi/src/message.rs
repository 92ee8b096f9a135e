//! A message that the caller keeps.

use std::ffi::c_void;
use std::ptr;

use crate::options::free;

/// A message that was taken by shmpipe_take_message().
pub struct shmpipe_message {
    bytes: Vec<u8>,
}

impl shmpipe_message {
    pub(crate) fn handle(bytes: Vec<u8>) -> *mut Self {
        Box::into_raw(Box::new(Self { bytes }))
    }
}

/// The bytes of a message. NULL for NULL only.
///
/// Threads: any. Ownership: the bytes are the message's, and go with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_message_data(message: *const shmpipe_message) -> *const c_void {
    // SAFETY: by the caller.
    let message = unsafe { message.as_ref() };
    message.map_or(ptr::null(), |message| message.bytes.as_ptr().cast())
}

/// The length of a message in bytes. 0 for NULL.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_message_len(message: *const shmpipe_message) -> usize {
    // SAFETY: by the caller.
    unsafe { message.as_ref() }.map_or(0, |message| message.bytes.len())
}

/// Frees a message and sets `*message` to NULL. NULL in either place does nothing.
///
/// Threads: `*message` by one at a time, which need not be the one that received it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_message_free(message: *mut *mut shmpipe_message) {
    // SAFETY: by the caller.
    unsafe { free(message) };
}
