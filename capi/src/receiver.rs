//! The receiving end.
//!
//! What a receive lends lies in the end's own buffer. The handle keeps the borrow until the next call that uses the end.

use std::cell::UnsafeCell;
use std::ffi::{CString, c_char, c_void};
use std::io::Read;
use std::ptr;

use libc::iovec;
use shmpipe::{Message, Receiver};

use crate::border::{Timeout, out, room};
use crate::end::{End, Owner};
use crate::message::shmpipe_message;
use crate::options::{free, shmpipe_backend};
use crate::sender::reason;
use crate::status::{Told, call, shmpipe_status};
use crate::view::shmpipe_view;

/// The receiving end of a pipe, or the receiving half of a connection.
pub struct shmpipe_receiver {
    /// Before `end`, which it borrows.
    pub(crate) view: shmpipe_view,
    /// The message that the last call has lent. Before `end`, which it borrows.
    lent: UnsafeCell<Option<Message<'static>>>,
    /// Where the messages of the last batch lie.
    batch: UnsafeCell<Vec<iovec>>,
    end: UnsafeCell<Receiver>,
    pub(crate) owner: Owner,
    capacity: usize,
    backend: shmpipe_backend,
    fallback: Option<CString>,
}

impl shmpipe_receiver {
    pub(crate) fn new(end: Receiver, owner: Owner) -> Self {
        Self {
            view: shmpipe_view::closed(),
            lent: UnsafeCell::new(None),
            batch: UnsafeCell::new(Vec::new()),
            capacity: end.capacity(),
            backend: end.backend().into(),
            fallback: end.fallback_reason().map(reason),
            end: UnsafeCell::new(end),
            owner,
        }
    }

    pub(crate) fn handle(end: Receiver) -> *mut Self {
        Box::into_raw(Box::new(Self::new(end, Owner::Caller)))
    }
}

impl End for shmpipe_receiver {
    type Inner = Receiver;

    fn is_lent(&self) -> bool {
        self.view.is_open()
    }

    fn owner(&self) -> Owner {
        self.owner
    }

    fn inner(&self) -> *mut Receiver {
        // SAFETY: the handle is used by one thread at a time, and no reference into the cell outlives a call.
        unsafe { *self.lent.get() = None };
        self.end.get()
    }

    fn into_inner(mut self) -> Receiver {
        *self.lent.get_mut() = None;
        self.end.into_inner()
    }
}

/// Receives by the call with that time-out.
fn recv(rx: &mut Receiver, timeout: Timeout) -> Result<Message<'_>, Told> {
    Ok(match timeout {
        Timeout::Forever => rx.recv()?,
        Timeout::Never => rx.try_recv()?,
        Timeout::For(timeout) => rx.recv_timeout(timeout)?,
    })
}

/// Where a message is lent to.
pub(crate) struct Lending<'a> {
    data: &'a mut *const c_void,
    len: &'a mut usize,
}

impl<'a> Lending<'a> {
    /// # Safety
    ///
    /// Both are null, or can be written to while the result is used.
    pub(crate) unsafe fn to(data: *mut *const c_void, len: *mut usize) -> Result<Self, Told> {
        // SAFETY: by the caller.
        let data = unsafe { out(data, "data", ptr::null()) }?;
        // SAFETY: by the caller.
        let len = unsafe { out(len, "len", 0) }?;
        Ok(Self { data, len })
    }

    /// Lends `message`, and keeps its borrow in the handle that it comes from.
    ///
    /// # Safety
    ///
    /// `rx` is the live handle whose end `message` borrows, and nobody else uses it.
    pub(crate) unsafe fn lend(self, rx: *mut shmpipe_receiver, message: Message<'static>) {
        *self.data = message.as_ptr().cast();
        *self.len = message.len();
        // SAFETY: by the caller.
        let lent = unsafe { &(*rx).lent };
        // SAFETY: by the caller; no reference into the cell outlives a call.
        unsafe { *lent.get() = Some(message) };
    }
}

/// As the exported calls.
///
/// # Safety
///
/// As theirs.
#[inline]
unsafe fn recv_lent(
    rx: *mut shmpipe_receiver,
    data: *mut *const c_void,
    len: *mut usize,
    timeout: Timeout,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let lending = unsafe { Lending::to(data, len) }?;
        // SAFETY: by the caller.
        let end = unsafe { shmpipe_receiver::of(rx, "rx") }?;
        let message = recv(end, timeout)?;
        // SAFETY: by the caller.
        unsafe { lending.lend(rx, message) };
        Ok(())
    })
}

/// Receives the next message, blocking while the pipe is empty, and sets `*data` and `*len` to its bytes. `*data` is
/// never NULL then, also for an empty message. After an error they are NULL and 0.
///
/// SHMPIPE_DISCONNECTED: every sender is gone and every message has been received. SHMPIPE_ABORTED: this message was lost
/// with a process that died inside it; the next call receives the next one. SHMPIPE_CARRIES_DESCRIPTORS,
/// SHMPIPE_INTERRUPTED, SHMPIPE_REENTRANT, SHMPIPE_DEADLOCK, SHMPIPE_CORRUPTED, SHMPIPE_LENT, SHMPIPE_INVALID,
/// SHMPIPE_IO.
///
/// Threads: `rx` by one at a time; other clones at the same time. Ownership: the bytes are the handle's, read-only. They
/// stay until the next call with `rx`, but for those that return its capacity, backend and fall-back reason.
/// shmpipe_take_message() makes them the caller's without a copy.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_recv(
    rx: *mut shmpipe_receiver,
    data: *mut *const c_void,
    len: *mut usize,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { recv_lent(rx, data, len, Timeout::Forever) }
}

/// Receives the next message if one is there; does not wait for a sender. Otherwise as shmpipe_recv().
///
/// SHMPIPE_EMPTY: no message is there, or it is not whole yet, or another process is receiving it.
///
/// Threads: `rx` by one at a time; other clones at the same time. Ownership: as for shmpipe_recv().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_try_recv(
    rx: *mut shmpipe_receiver,
    data: *mut *const c_void,
    len: *mut usize,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { recv_lent(rx, data, len, Timeout::Never) }
}

/// Receives the next message, blocking no longer than `timeout_ns` nanoseconds; for ever where that is negative
/// (SHMPIPE_FOREVER). Otherwise as shmpipe_recv().
///
/// SHMPIPE_TIMEOUT: not before its time. Nothing is lost.
///
/// Threads: `rx` by one at a time; other clones at the same time. Ownership: as for shmpipe_recv().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_recv_timeout(
    rx: *mut shmpipe_receiver,
    data: *mut *const c_void,
    len: *mut usize,
    timeout_ns: i64,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { recv_lent(rx, data, len, Timeout::of_ns(timeout_ns)) }
}

/// Takes the message that the last call with `rx` has lent (shmpipe_recv() or one like it) for the caller to keep. Its
/// bytes stay where they are. The next receive allocates a buffer of its own.
///
/// SHMPIPE_INVALID: no message is lent.
///
/// Threads: `rx` by one at a time. Ownership: `*message` is the caller's, to be given to shmpipe_message_free(). It does
/// not depend on `rx`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_take_message(
    rx: *mut shmpipe_receiver,
    message: *mut *mut shmpipe_message,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let message = unsafe { out(message, "message", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let rx = unsafe { rx.as_ref() }.ok_or_else(|| Told::invalid("rx is NULL"))?;
        // SAFETY: by the caller; no reference into the cell outlives a call.
        let lent = unsafe { &mut *rx.lent.get() };
        let lent = lent.take();
        let lent =
            lent.ok_or_else(|| Told::invalid("the last call with rx has lent no message"))?;
        *message = shmpipe_message::handle(lent.into_vec());
        Ok(())
    })
}

/// As the exported calls.
///
/// # Safety
///
/// As theirs.
#[inline]
unsafe fn recv_to(
    rx: *mut shmpipe_receiver,
    buffer: *mut c_void,
    size: usize,
    len: *mut usize,
    timeout: Timeout,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let len = unsafe { out(len, "len", 0) }?;
        // SAFETY: by the caller.
        let rx = unsafe { shmpipe_receiver::of(rx, "rx") }?;
        // SAFETY: by the caller.
        let buffer = unsafe { room(buffer, size) }?;
        let mut needed = None;
        let outcome: Result<usize, Told> = match timeout {
            Timeout::Forever => rx.recv_into(buffer).map_err(|error| {
                if let shmpipe::RecvError::BufferTooSmall { needed: bytes } = error {
                    needed = Some(bytes);
                }
                error.into()
            }),
            Timeout::Never => rx.try_recv_with(|_| Some(buffer)).map_err(|error| {
                if let shmpipe::TryRecvError::BufferTooSmall { needed: bytes } = error {
                    needed = Some(bytes);
                }
                error.into()
            }),
            Timeout::For(timeout) => {
                rx.recv_with_timeout(timeout, |_| Some(buffer))
                    .map_err(|error| {
                        if let shmpipe::RecvTimeoutError::BufferTooSmall { needed: bytes } = error {
                            needed = Some(bytes);
                        }
                        error.into()
                    })
            }
        };
        *len = match outcome {
            Ok(received) => received,
            Err(_) => needed.unwrap_or(0),
        };
        outcome.map(drop)
    })
}

/// Receives the next message into the caller's memory of `size` bytes, blocking while the pipe is empty, and sets `*len`
/// to its length. It allocates nothing.
///
/// SHMPIPE_BUFFER_TOO_SMALL: the message stays, and `*len` is the length that is needed. What the memory holds after an
/// error is unspecified. Other errors as for shmpipe_recv().
///
/// Threads: `rx` by one at a time; other clones at the same time. Ownership: the memory stays the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_recv_into(
    rx: *mut shmpipe_receiver,
    buffer: *mut c_void,
    size: usize,
    len: *mut usize,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { recv_to(rx, buffer, size, len, Timeout::Forever) }
}

/// As shmpipe_recv_into(), but does not wait for a sender: SHMPIPE_EMPTY as for shmpipe_try_recv().
///
/// Threads: `rx` by one at a time; other clones at the same time. Ownership: the memory stays the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_try_recv_into(
    rx: *mut shmpipe_receiver,
    buffer: *mut c_void,
    size: usize,
    len: *mut usize,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { recv_to(rx, buffer, size, len, Timeout::Never) }
}

/// As shmpipe_recv_into(), blocking no longer than `timeout_ns` nanoseconds; for ever where that is negative
/// (SHMPIPE_FOREVER). SHMPIPE_TIMEOUT as for shmpipe_recv_timeout().
///
/// Threads: `rx` by one at a time; other clones at the same time. Ownership: the memory stays the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_recv_into_timeout(
    rx: *mut shmpipe_receiver,
    buffer: *mut c_void,
    size: usize,
    len: *mut usize,
    timeout_ns: i64,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { recv_to(rx, buffer, size, len, Timeout::of_ns(timeout_ns)) }
}

/// As the exported calls.
///
/// # Safety
///
/// As theirs.
unsafe fn recv_many(
    rx: *mut shmpipe_receiver,
    messages: *mut *const iovec,
    count: *mut usize,
    timeout: Timeout,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let messages = unsafe { out(messages, "messages", ptr::null()) }?;
        // SAFETY: by the caller.
        let count = unsafe { out(count, "count", 0) }?;
        // SAFETY: by the caller.
        let end = unsafe { shmpipe_receiver::of(rx, "rx") }?;
        let batch = match timeout {
            Timeout::Forever => end.recv_batch()?,
            Timeout::Never => end.try_recv_batch()?,
            Timeout::For(timeout) => end.recv_batch_timeout(timeout)?,
        };
        // SAFETY: `of` has found it live.
        let list = unsafe { &(*rx).batch };
        // SAFETY: the handle is used by one thread at a time, and no reference into the cell outlives a call.
        let list = unsafe { &mut *list.get() };
        list.clear();
        list.extend(batch.map(|message| iovec {
            iov_base: message.as_ptr().cast_mut().cast(),
            iov_len: message.len(),
        }));
        *messages = list.as_ptr();
        *count = list.len();
        Ok(())
    })
}

/// Receives all messages that are there, up to 256 KiB of them, blocking while there is none, and sets `*messages` and
/// `*count` to a list of them, in order. There is at least one. Through shared memory they are taken at the cost of one.
///
/// Errors as for shmpipe_recv(). An error behind whole messages is reported by the next call.
///
/// Threads: `rx` by one at a time; other clones at the same time. Ownership: the list and the bytes are the handle's,
/// read-only. They stay until the next call with `rx`, but for those that return its capacity, backend and fall-back
/// reason.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_recv_batch(
    rx: *mut shmpipe_receiver,
    messages: *mut *const iovec,
    count: *mut usize,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { recv_many(rx, messages, count, Timeout::Forever) }
}

/// As shmpipe_recv_batch(), but does not wait for a sender: SHMPIPE_EMPTY as for shmpipe_try_recv().
///
/// Threads: `rx` by one at a time; other clones at the same time. Ownership: as for shmpipe_recv_batch().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_try_recv_batch(
    rx: *mut shmpipe_receiver,
    messages: *mut *const iovec,
    count: *mut usize,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { recv_many(rx, messages, count, Timeout::Never) }
}

/// As shmpipe_recv_batch(), blocking no longer than `timeout_ns` nanoseconds; for ever where that is negative
/// (SHMPIPE_FOREVER). SHMPIPE_TIMEOUT as for shmpipe_recv_timeout().
///
/// Threads: `rx` by one at a time; other clones at the same time. Ownership: as for shmpipe_recv_batch().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_recv_batch_timeout(
    rx: *mut shmpipe_receiver,
    messages: *mut *const iovec,
    count: *mut usize,
    timeout_ns: i64,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { recv_many(rx, messages, count, Timeout::of_ns(timeout_ns)) }
}

/// The byte-stream view, as read(2): fills the caller's memory with what is there, blocking while that is nothing, and
/// sets `*len` to how many bytes that were. `*len` is 0 with SHMPIPE_OK at end-of-file, and where `size` is 0. The edges
/// of messages vanish. The rest of a message that does not fit comes first in the next call, of any kind.
///
/// Errors as for shmpipe_recv(), but for SHMPIPE_DISCONNECTED.
///
/// Threads: `rx` by one at a time; other clones at the same time. Ownership: the memory stays the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_read(
    rx: *mut shmpipe_receiver,
    buffer: *mut c_void,
    size: usize,
    len: *mut usize,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let len = unsafe { out(len, "len", 0) }?;
        // SAFETY: by the caller.
        let rx = unsafe { shmpipe_receiver::of(rx, "rx") }?;
        // SAFETY: by the caller.
        *len = rx.read(unsafe { room(buffer, size) }?)?;
        Ok(())
    })
}

/// Waits until there is something to receive, and sets `*ready` to whether there is: a message, end-of-file, or an error
/// that shmpipe_recv() would report. It waits no longer than `timeout_ns` nanoseconds, for ever where that is negative
/// (SHMPIPE_FOREVER), and only looks where it is 0. That the time is over is no error: `*ready` is false.
///
/// SHMPIPE_INTERRUPTED, SHMPIPE_REENTRANT, SHMPIPE_LENT, SHMPIPE_INVALID, SHMPIPE_IO.
///
/// Threads: `rx` by one at a time; other clones at the same time, one of which may take the message first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_poll(
    rx: *mut shmpipe_receiver,
    timeout_ns: i64,
    ready: *mut bool,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let ready = unsafe { out(ready, "ready", false) }?;
        // SAFETY: by the caller.
        let rx = unsafe { shmpipe_receiver::of(rx, "rx") }?;
        *ready = rx.poll(Timeout::of_ns(timeout_ns).as_timeout())?;
        Ok(())
    })
}

/// Refuses messages of more than `bytes` bytes from now on: the end then reports SHMPIPE_CORRUPTED and stays unusable. The
/// limit holds for all handles of this process to this end. It can be lowered and not raised. Set one where a sender is
/// not trusted, since it is the sender that claims a length.
///
/// Threads: `rx` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_receiver_limit_messages(
    rx: *mut shmpipe_receiver,
    bytes: usize,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        unsafe { shmpipe_receiver::of(rx, "rx") }?.limit_messages(bytes);
        Ok(())
    })
}

/// Makes another handle to the same end, for another thread for instance. It costs no descriptor. Each message goes to
/// one of the handles. Freeing either changes nothing for the other. A clone of a connection's half is the caller's and
/// outlives the connection.
///
/// Threads: `rx` by one at a time. Ownership: `*clone` is the caller's, to be given to shmpipe_receiver_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_receiver_clone(
    rx: *mut shmpipe_receiver,
    clone: *mut *mut shmpipe_receiver,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let clone = unsafe { out(clone, "clone", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let rx = unsafe { shmpipe_receiver::of(rx, "rx") }?;
        *clone = shmpipe_receiver::handle(rx.try_clone()?);
        Ok(())
    })
}

/// Closes this process's end, whatever handles to it there are: senders then see the end as when the process exits. For a
/// forked child in which a thread of the parent had a handle, or to end calls that block in other threads. Later calls of
/// every handle of the process to this end give SHMPIPE_IO. The handles are still to be freed.
///
/// SHMPIPE_IO, EMFILE for one, if the descriptors that it takes for a moment are wanting: nothing is closed then.
///
/// Threads: any, beside calls of other handles; `rx` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_receiver_close(rx: *mut shmpipe_receiver) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        unsafe { shmpipe_receiver::of(rx, "rx") }?.close()?;
        Ok(())
    })
}

/// Drops this handle, with what it has lent, and sets `*rx` to NULL. NULL in either place does nothing, and so does a
/// connection's half, which goes with its connection. When the last handle of every process is gone, senders get
/// SHMPIPE_DISCONNECTED.
///
/// Threads: `*rx` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_receiver_free(rx: *mut *mut shmpipe_receiver) {
    // SAFETY: by the caller.
    if unsafe { shmpipe_receiver::is_callers(rx) } {
        // SAFETY: by the caller; `handle` made it.
        unsafe { free(rx) };
    }
}

/// As shmpipe_sender_capacity().
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_receiver_capacity(rx: *const shmpipe_receiver) -> usize {
    // SAFETY: by the caller.
    unsafe { rx.as_ref() }.map_or(0, |rx| rx.capacity)
}

/// As shmpipe_sender_backend().
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_receiver_backend(rx: *const shmpipe_receiver) -> shmpipe_backend {
    // SAFETY: by the caller.
    unsafe { rx.as_ref() }.map_or(shmpipe_backend::SHMPIPE_NO_BACKEND, |rx| rx.backend)
}

/// As shmpipe_sender_fallback_reason().
///
/// Threads: any. Ownership: the text is the handle's, and goes with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_receiver_fallback_reason(
    rx: *const shmpipe_receiver,
) -> *const c_char {
    // SAFETY: by the caller.
    let rx = unsafe { rx.as_ref() };
    rx.and_then(|rx| rx.fallback.as_ref())
        .map_or(ptr::null(), |text| text.as_ptr())
}
