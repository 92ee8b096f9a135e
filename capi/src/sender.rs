//! The sending end.

use std::cell::UnsafeCell;
use std::ffi::{CString, c_void};
use std::io::{self, Write};
use std::ptr;

use libc::iovec;
use shmpipe::Sender;

use crate::border::{Timeout, bytes, out, pieces, with_io_slices};
use crate::end::{End, Owner};
use crate::options::{free, shmpipe_backend};
use crate::slot::shmpipe_slot;
use crate::status::{Told, call, shmpipe_status};

/// The sending end of a pipe, or the sending half of a connection.
pub struct shmpipe_sender {
    /// Before `end`, which it borrows.
    pub(crate) slot: shmpipe_slot,
    end: UnsafeCell<Sender>,
    pub(crate) owner: Owner,
    capacity: usize,
    backend: shmpipe_backend,
    fallback: Option<CString>,
}

impl shmpipe_sender {
    pub(crate) fn new(end: Sender, owner: Owner) -> Self {
        Self {
            slot: shmpipe_slot::closed(),
            capacity: end.capacity(),
            backend: end.backend().into(),
            fallback: end.fallback_reason().map(reason),
            end: UnsafeCell::new(end),
            owner,
        }
    }

    pub(crate) fn handle(end: Sender) -> *mut Self {
        Box::into_raw(Box::new(Self::new(end, Owner::Caller)))
    }
}

/// The text of an error as C has it.
pub(crate) fn reason(error: &io::Error) -> CString {
    let text = error.to_string().replace('\0', " ");
    CString::new(text).unwrap_or_default()
}

impl End for shmpipe_sender {
    type Inner = Sender;

    fn is_lent(&self) -> bool {
        self.slot.is_open()
    }

    fn owner(&self) -> Owner {
        self.owner
    }

    fn inner(&self) -> *mut Sender {
        self.end.get()
    }

    fn into_inner(self) -> Sender {
        self.end.into_inner()
    }
}

/// Sends by the call with that time-out.
fn send(tx: &mut Sender, message: &[u8], timeout: Timeout) -> Result<(), Told> {
    match timeout {
        Timeout::Forever => tx.send(message)?,
        Timeout::Never => tx.try_send(message)?,
        Timeout::For(timeout) => tx.send_timeout(message, timeout)?,
    }
    Ok(())
}

/// As the exported calls.
///
/// # Safety
///
/// As theirs.
#[inline]
unsafe fn send_from(
    tx: *mut shmpipe_sender,
    data: *const c_void,
    len: usize,
    timeout: Timeout,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let tx = unsafe { shmpipe_sender::of(tx, "tx") }?;
        // SAFETY: by the caller.
        send(tx, unsafe { bytes(data, len) }?, timeout)
    })
}

/// Sends `len` bytes as one message, whole, blocking while the pipe is full. `data` may be NULL for an empty message,
/// which is a message too.
///
/// A message longer than the capacity goes in fragments while it is being received. The call then returns only when a
/// receiver has taken most of it.
///
/// SHMPIPE_DISCONNECTED: no receiver is left, also when the last one goes while the call is blocked.
/// SHMPIPE_TOO_LARGE, SHMPIPE_INTERRUPTED, SHMPIPE_REENTRANT, SHMPIPE_LENT, SHMPIPE_INVALID, SHMPIPE_IO.
///
/// Threads: `tx` by one at a time; other clones at the same time. Ownership: `data` is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_send(
    tx: *mut shmpipe_sender,
    data: *const c_void,
    len: usize,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { send_from(tx, data, len, Timeout::Forever) }
}

/// Sends a message if there is room for all of it now; never blocks. Otherwise as shmpipe_send().
///
/// SHMPIPE_FULL: no room, or another holder is in the middle of a send. SHMPIPE_TOO_LARGE_AT_ONCE: longer than an empty
/// pipe takes at once.
///
/// Threads: `tx` by one at a time; other clones at the same time. Ownership: `data` is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_try_send(
    tx: *mut shmpipe_sender,
    data: *const c_void,
    len: usize,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { send_from(tx, data, len, Timeout::Never) }
}

/// Sends a message, blocking while the pipe is full but no longer than `timeout_ns` nanoseconds; for ever where that is
/// negative (SHMPIPE_FOREVER). Otherwise as shmpipe_send().
///
/// SHMPIPE_TIMEOUT: not before its time. No receiver gets any of the message.
///
/// Threads: `tx` by one at a time; other clones at the same time. Ownership: `data` is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_send_timeout(
    tx: *mut shmpipe_sender,
    data: *const c_void,
    len: usize,
    timeout_ns: i64,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { send_from(tx, data, len, Timeout::of_ns(timeout_ns)) }
}

/// Sends one message that is made of `count` pieces, in their order; otherwise as shmpipe_send(). No pieces, or empty
/// ones only, are an empty message. A piece of no bytes may have a NULL base.
///
/// Threads: `tx` by one at a time; other clones at the same time. Ownership: the pieces are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_send_vectored(
    tx: *mut shmpipe_sender,
    pieces: *const iovec,
    count: usize,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let tx = unsafe { shmpipe_sender::of(tx, "tx") }?;
        // SAFETY: by the caller.
        unsafe { with_io_slices(pieces, count, |pieces| tx.send_vectored(pieces)) }??;
        Ok(())
    })
}

/// As shmpipe_send_vectored(), but never blocks: errors as for shmpipe_try_send().
///
/// Threads: `tx` by one at a time; other clones at the same time. Ownership: the pieces are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_try_send_vectored(
    tx: *mut shmpipe_sender,
    pieces: *const iovec,
    count: usize,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let tx = unsafe { shmpipe_sender::of(tx, "tx") }?;
        // SAFETY: by the caller.
        unsafe { with_io_slices(pieces, count, |pieces| tx.try_send_vectored(pieces)) }??;
        Ok(())
    })
}

/// Sends each of `count` pieces as one message, in their order, blocking while the pipe is full. Through shared memory a
/// run of up to 64 messages goes at the cost of one.
///
/// `*sent`, which may be NULL, becomes the number of messages that were sent: `count`, or after an error the first ones.
///
/// Errors as for shmpipe_send(), of the message at which the call ended.
///
/// Threads: `tx` by one at a time; other clones at the same time. Ownership: the messages are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_send_batch(
    tx: *mut shmpipe_sender,
    messages: *const iovec,
    count: usize,
    sent: *mut usize,
) -> shmpipe_status {
    call(|| {
        let mut unasked = 0;
        let sent = if sent.is_null() {
            &raw mut unasked
        } else {
            sent
        };
        // SAFETY: by the caller.
        let sent = unsafe { out(sent, "sent", 0) }?;
        // SAFETY: by the caller.
        let tx = unsafe { shmpipe_sender::of(tx, "tx") }?;
        // SAFETY: by the caller.
        match tx.send_batch(unsafe { pieces(messages, count) }?) {
            Ok(count) => {
                *sent = count;
                Ok(())
            }
            Err(error) => {
                *sent = error.sent;
                Err(error.into())
            }
        }
    })
}

/// The byte-stream view, as write(2): sends bytes as one message, up to the limit of shmpipe_options_max_message(), and
/// sets `*written` to how many that were. No bytes send nothing. shmpipe_read() joins messages to a stream of bytes.
///
/// Errors as for shmpipe_send().
///
/// Threads: `tx` by one at a time; other clones at the same time. Ownership: `data` is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_write(
    tx: *mut shmpipe_sender,
    data: *const c_void,
    len: usize,
    written: *mut usize,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let written = unsafe { out(written, "written", 0) }?;
        // SAFETY: by the caller.
        let tx = unsafe { shmpipe_sender::of(tx, "tx") }?;
        // SAFETY: by the caller.
        *written = tx.write(unsafe { bytes(data, len) }?)?;
        Ok(())
    })
}

/// Makes another handle to the same end, for another thread for instance. It costs no descriptor. Freeing either changes
/// nothing for the other. A clone of a connection's half is the caller's and outlives the connection.
///
/// Threads: `tx` by one at a time. Ownership: `*clone` is the caller's, to be given to shmpipe_sender_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_sender_clone(
    tx: *mut shmpipe_sender,
    clone: *mut *mut shmpipe_sender,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let clone = unsafe { out(clone, "clone", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let tx = unsafe { shmpipe_sender::of(tx, "tx") }?;
        *clone = shmpipe_sender::handle(tx.try_clone()?);
        Ok(())
    })
}

/// Closes this process's end, whatever handles to it there are: receivers then see the end as when the process exits. For a
/// forked child in which a thread of the parent had a handle, or to end calls that block in other threads. Later calls of
/// every handle of the process to this end give SHMPIPE_IO. The handles are still to be freed.
///
/// SHMPIPE_IO, EMFILE for one, if the descriptors that it takes for a moment are wanting: nothing is closed then.
///
/// Threads: any, beside calls of other handles; `tx` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_sender_close(tx: *mut shmpipe_sender) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        unsafe { shmpipe_sender::of(tx, "tx") }?.close()?;
        Ok(())
    })
}

/// Drops this handle and sets `*tx` to NULL. A slot that it has open is dropped first: nothing of it is sent. NULL in
/// either place does nothing, and so does a connection's half, which goes with its connection. When the last handle of
/// every process is gone, receivers get what was sent and then SHMPIPE_DISCONNECTED.
///
/// Threads: `*tx` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_sender_free(tx: *mut *mut shmpipe_sender) {
    // SAFETY: by the caller.
    if unsafe { shmpipe_sender::is_callers(tx) } {
        // SAFETY: by the caller; `handle` made it.
        unsafe { free(tx) };
    }
}

/// Bytes that the pipe holds, framing included: a message takes its length rounded up to 8 and 8 bytes more, and a long
/// one a little more than that. 0 for NULL.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_sender_capacity(tx: *const shmpipe_sender) -> usize {
    // SAFETY: by the caller.
    unsafe { tx.as_ref() }.map_or(0, |tx| tx.capacity)
}

/// What carries the bytes. SHMPIPE_NO_BACKEND for NULL.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_sender_backend(tx: *const shmpipe_sender) -> shmpipe_backend {
    // SAFETY: by the caller.
    unsafe { tx.as_ref() }.map_or(shmpipe_backend::SHMPIPE_NO_BACKEND, |tx| tx.backend)
}

/// Why this end is a kernel pipe although shared memory is the default: the error that making it of shared memory would
/// have been. NULL where it is of shared memory, where the backend was chosen, and for NULL.
///
/// Threads: any. Ownership: the text is the handle's, and goes with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_sender_fallback_reason(
    tx: *const shmpipe_sender,
) -> *const std::ffi::c_char {
    // SAFETY: by the caller.
    let tx = unsafe { tx.as_ref() };
    tx.and_then(|tx| tx.fallback.as_ref())
        .map_or(ptr::null(), |text| text.as_ptr())
}
