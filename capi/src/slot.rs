//! A message that is written where it will lie in the pipe.
//!
//! A slot lies inside its sender's handle. So it costs no allocation, and one that is used after its commit is found
//! closed.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ptr;

use shmpipe::Slot;

use crate::border::{bytes, out};
use crate::end::End;
use crate::sender::shmpipe_sender;
use crate::status::{Told, call, shmpipe_status};

/// Room for one message in the pipe: written piece by piece, then sent by shmpipe_slot_commit().
///
/// It is part of the sender that it was made by, and goes with it. While it is open, all other calls with that sender
/// return SHMPIPE_LENT. When it is closed, all calls with it return SHMPIPE_INVALID until the sender's next
/// shmpipe_reserve(), which opens the same slot again.
pub struct shmpipe_slot {
    open: UnsafeCell<Option<Slot<'static>>>,
}

impl shmpipe_slot {
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
/// `slot` is null or that of a live sender, which nobody else uses meanwhile.
unsafe fn open<'a>(slot: *mut shmpipe_slot) -> Result<&'a mut Option<Slot<'static>>, Told> {
    // SAFETY: by the caller.
    let Some(slot) = (unsafe { slot.as_ref() }) else {
        return Err(Told::invalid("slot is NULL"));
    };
    // SAFETY: by the caller.
    let open = unsafe { &mut *slot.open.get() };
    if open.is_none() {
        return Err(closed());
    }
    Ok(open)
}

#[cold]
fn closed() -> Told {
    Told::invalid("the slot is not open: it was committed or discarded")
}

/// Reserves room for one message of `len` bytes, blocking while the pipe is full.
///
/// Through shared memory a message of up to 8 bytes less than an eighth of the capacity is then written in place. A
/// longer one, and any of a kernel pipe, is gathered in private memory and sent by the commit, which then blocks as
/// shmpipe_send() does. What is not written is unspecified.
///
/// A slot in place keeps all other senders of this pipe waiting until it is committed or discarded. A blocking send
/// through another clone by the same thread waits for ever.
///
/// Errors as for shmpipe_send().
///
/// Threads: `tx` by one at a time; a slot counts as its sender. Ownership: `*slot` is part of `tx`. Close it by
/// shmpipe_slot_commit() or shmpipe_slot_discard(). It is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_reserve(
    tx: *mut shmpipe_sender,
    len: usize,
    slot: *mut *mut shmpipe_slot,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let slot = unsafe { out(slot, "slot", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let end = unsafe { shmpipe_sender::of(tx, "tx") }?;
        let reserved = end.reserve(len)?;
        // SAFETY: `of` has found it live.
        let place = unsafe { &raw mut (*tx).slot };
        // SAFETY: as above.
        let open = unsafe { &(*place).open }.get();
        // SAFETY: no reference into the cell outlives a call. It is closed, so nothing is dropped that borrows the end.
        let open = unsafe { &mut *open };
        *open = Some(reserved);
        *slot = place;
        Ok(())
    })
}

/// Length of the message in bytes, as it was reserved. 0 for NULL, and where the slot is not open.
///
/// Threads: the slot's sender by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_slot_len(slot: *mut shmpipe_slot) -> usize {
    // SAFETY: by the caller.
    let open = unsafe { open(slot) };
    open.ok()
        .and_then(|open| open.as_ref())
        .map_or(0, Slot::len)
}

/// Whether what is written goes straight into the pipe, and not by way of private memory.
///
/// Threads: the slot's sender by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_slot_is_in_place(slot: *mut shmpipe_slot) -> bool {
    // SAFETY: by the caller.
    let open = unsafe { open(slot) };
    open.ok()
        .and_then(|open| open.as_ref())
        .is_some_and(Slot::is_in_place)
}

/// Writes `len` bytes into the message from `offset` on; never blocks. In a forked child of the process that reserved
/// the slot this changes nothing of the pipe, and the commit is an error.
///
/// SHMPIPE_INVALID: they do not fit there, or the slot is not open.
///
/// Threads: the slot's sender by one at a time. Ownership: `data` is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_slot_write_at(
    slot: *mut shmpipe_slot,
    offset: usize,
    data: *const c_void,
    len: usize,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let slot = unsafe { open(slot) }?.as_mut().ok_or_else(closed)?;
        // SAFETY: by the caller.
        let data = unsafe { bytes(data, len) }?;
        check_range(offset, len, slot.len())?;
        slot.write_at(offset, data);
        Ok(())
    })
}

pub(crate) fn check_range(offset: usize, len: usize, message: usize) -> Result<(), Told> {
    match offset.checked_add(len) {
        Some(end) if end <= message => Ok(()),
        _ => Err(Told::invalid(format_args!(
            "{len} bytes at offset {offset} of a message of {message} bytes"
        ))),
    }
}

/// Sets `*data` to the memory of the message, to be written directly: shmpipe_slot_len() bytes until the slot is closed.
///
/// Every holder of any end of this pipe is trusted to leave these bytes alone while they are written, where the slot is
/// in place. A forked child does not use a pointer that was made before the fork.
///
/// Threads: the slot's sender by one at a time. Ownership: `*data` is the slot's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_slot_data(
    slot: *mut shmpipe_slot,
    data: *mut *mut c_void,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let data = unsafe { out(data, "data", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let slot = unsafe { open(slot) }?.as_mut().ok_or_else(closed)?;
        // SAFETY: the slice itself is not used; what C writes by its pointer is as the header says.
        let memory = unsafe { slot.as_mut_slice() };
        *data = memory.as_mut_ptr().cast();
        Ok(())
    })
}

/// Sends the message and closes the slot, also where it fails. If the process is killed inside this call, all of the
/// message was sent or nothing.
///
/// Errors as for shmpipe_send(); SHMPIPE_IO with EOPNOTSUPP in a forked child of the process that reserved the slot.
/// SHMPIPE_INVALID: the slot is not open.
///
/// Threads: the slot's sender by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_slot_commit(slot: *mut shmpipe_slot) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let slot = unsafe { open(slot) }?.take().ok_or_else(closed)?;
        Ok(slot.commit()?)
    })
}

/// Closes the slot and sends nothing. NULL, and a slot that is not open, do nothing.
///
/// Threads: the slot's sender by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_slot_discard(slot: *mut shmpipe_slot) {
    // SAFETY: by the caller.
    let Some(slot) = (unsafe { slot.as_ref() }) else {
        return;
    };
    call(|| {
        // SAFETY: by the caller.
        drop(unsafe { &mut *slot.open.get() }.take());
        Ok(())
    });
}
