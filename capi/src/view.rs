//! A message that is read where it lies in the pipe.
//!
//! A view lies inside its receiver's handle, as a slot in its sender's.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ptr;

use shmpipe::View;

use crate::border::{Timeout, out, room};
use crate::end::End;
use crate::receiver::shmpipe_receiver;
use crate::slot::check_range;
use crate::status::{Told, call, shmpipe_status};

/// One whole message where it lies in the pipe. Releasing it is what receives it.
///
/// It is part of the receiver that it was made by, and goes with it. While it is open, all other calls with that receiver
/// return SHMPIPE_LENT. When it is closed, all calls with it return SHMPIPE_INVALID until the receiver's next
/// shmpipe_recv_in_place(), which opens the same view again.
pub struct shmpipe_view {
    open: UnsafeCell<Option<View<'static>>>,
}

impl shmpipe_view {
    pub(crate) fn closed() -> Self {
        Self {
            open: UnsafeCell::new(None),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        // SAFETY: the handle is used by one thread at a time, and no reference into the cell outlives a call.
        unsafe { &*self.open.get() }.is_some()
    }
}

/// What is open there.
///
/// # Safety
///
/// `view` is null or that of a live receiver, which nobody else uses meanwhile.
unsafe fn open<'a>(view: *const shmpipe_view) -> Result<&'a View<'static>, Told> {
    // SAFETY: by the caller.
    let Some(view) = (unsafe { view.as_ref() }) else {
        return Err(Told::invalid("view is NULL"));
    };
    // SAFETY: by the caller.
    let open = unsafe { &*view.open.get() };
    open.as_ref()
        .ok_or_else(|| Told::invalid("the view is not open: it was released"))
}

/// As the exported calls.
///
/// # Safety
///
/// As theirs.
unsafe fn recv(
    rx: *mut shmpipe_receiver,
    view: *mut *mut shmpipe_view,
    timeout: Timeout,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let view = unsafe { out(view, "view", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let end = unsafe { shmpipe_receiver::of(rx, "rx") }?;
        let found = match timeout {
            Timeout::Forever => end.recv_in_place()?,
            Timeout::Never => end.try_recv_in_place()?,
            Timeout::For(timeout) => end.recv_in_place_timeout(timeout)?,
        };
        // SAFETY: `of` has found it live.
        let place = unsafe { &raw mut (*rx).view };
        // SAFETY: as above.
        let open = unsafe { &(*place).open }.get();
        // SAFETY: no reference into the cell outlives a call. It is closed, so nothing is dropped that borrows the end.
        let open = unsafe { &mut *open };
        *open = Some(found);
        *view = place;
        Ok(())
    })
}

/// Receives the next message without copying it out, blocking while the pipe is empty. It is read by
/// shmpipe_view_read_at() and received when it is released.
///
/// Through shared memory a message of up to 8 bytes less than an eighth of the capacity is read in place; one of over 256
/// KiB only if it was written by shmpipe_reserve(). Any other is first copied to private memory, as shmpipe_recv() does.
///
/// A view in place keeps all other receivers of this pipe waiting until it is released. A blocking receive through
/// another clone by the same thread waits for ever. A process that is killed with a view open has not received the
/// message.
///
/// Errors as for shmpipe_recv().
///
/// Threads: `rx` by one at a time; a view counts as its receiver. Ownership: `*view` is part of `rx`. Close it by
/// shmpipe_view_release(). It is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_recv_in_place(
    rx: *mut shmpipe_receiver,
    view: *mut *mut shmpipe_view,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { recv(rx, view, Timeout::Forever) }
}

/// As shmpipe_recv_in_place(), but does not wait for a sender: SHMPIPE_EMPTY as for shmpipe_try_recv().
///
/// Threads: `rx` by one at a time; a view counts as its receiver. Ownership: as for shmpipe_recv_in_place().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_try_recv_in_place(
    rx: *mut shmpipe_receiver,
    view: *mut *mut shmpipe_view,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { recv(rx, view, Timeout::Never) }
}

/// As shmpipe_recv_in_place(), blocking no longer than `timeout_ns` nanoseconds; for ever where that is negative
/// (SHMPIPE_FOREVER). SHMPIPE_TIMEOUT as for shmpipe_recv_timeout().
///
/// Threads: `rx` by one at a time; a view counts as its receiver. Ownership: as for shmpipe_recv_in_place().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_recv_in_place_timeout(
    rx: *mut shmpipe_receiver,
    view: *mut *mut shmpipe_view,
    timeout_ns: i64,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { recv(rx, view, Timeout::of_ns(timeout_ns)) }
}

/// Length of the message in bytes. 0 for NULL, and where the view is not open.
///
/// Threads: the view's receiver by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_view_len(view: *const shmpipe_view) -> usize {
    // SAFETY: by the caller.
    unsafe { open(view) }.map_or(0, View::len)
}

/// Whether the message still lies in the pipe, and not in private memory.
///
/// Threads: the view's receiver by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_view_is_in_place(view: *const shmpipe_view) -> bool {
    // SAFETY: by the caller.
    unsafe { open(view) }.is_ok_and(View::is_in_place)
}

/// Copies `len` bytes of the message from `offset` on to the caller's memory. A hostile holder of the pipe may change the
/// bytes between two looks at one place, so copy first and check the copy.
///
/// SHMPIPE_INVALID: the message has not so many bytes there, or the view is not open. SHMPIPE_PANICKED: in a forked child
/// whose parent has released the view.
///
/// Threads: the view's receiver by one at a time. Ownership: the memory stays the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_view_read_at(
    view: *const shmpipe_view,
    offset: usize,
    buffer: *mut c_void,
    len: usize,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let view = unsafe { open(view) }?;
        // SAFETY: by the caller.
        let buffer = unsafe { room(buffer, len) }?;
        check_range(offset, len, view.len())?;
        view.read_at(offset, buffer);
        Ok(())
    })
}

/// Sets `*data` to the bytes of the message, to be read directly: shmpipe_view_len() bytes until the view is released.
///
/// Every holder of any end of this pipe is trusted to leave these bytes alone while they are read, where the view is in
/// place. Where one is not trusted, use shmpipe_view_read_at(). In a forked child they stay while the parent keeps the
/// view.
///
/// Threads: the view's receiver by one at a time. Ownership: the bytes are the view's, read-only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_view_data(
    view: *const shmpipe_view,
    data: *mut *const c_void,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let data = unsafe { out(data, "data", ptr::null()) }?;
        // SAFETY: by the caller.
        let view = unsafe { open(view) }?;
        // SAFETY: the slice itself is not used; what C reads by its pointer is as the header says.
        *data = unsafe { view.as_slice() }.as_ptr().cast();
        Ok(())
    })
}

/// Receives the message and closes the view: its room in the pipe is given back. NULL, and a view that is not open, do
/// nothing.
///
/// Threads: the view's receiver by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_view_release(view: *mut shmpipe_view) {
    // SAFETY: by the caller.
    let Some(view) = (unsafe { view.as_ref() }) else {
        return;
    };
    call(|| {
        // SAFETY: by the caller.
        drop(unsafe { &mut *view.open.get() }.take());
        Ok(())
    });
}
