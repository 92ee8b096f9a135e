//! What a program can learn of an end, and settle before the traffic begins.

use std::ffi::c_char;

use shmpipe::Holder;

use crate::end::End;
use crate::receiver::shmpipe_receiver;
use crate::sender::shmpipe_sender;
use crate::status::{Told, call, shmpipe_status};

/// A process that holds the other side of a pipe.
#[repr(C)]
pub struct shmpipe_holder {
    /// The process id, in the pid namespace of /proc.
    pub id: u32,
    /// What the process calls itself (proc_pid_comm(5)), zero-terminated; empty where that cannot be read.
    pub name: [c_char; 16],
}

/// Hands out as many as there is room for, and how many there are.
///
/// # Safety
///
/// As the exported calls.
unsafe fn list(
    found: Vec<Holder>,
    holders: *mut shmpipe_holder,
    count: &mut usize,
) -> Result<(), Told> {
    let places = std::mem::replace(count, found.len()).min(found.len());
    if places == 0 {
        return Ok(());
    }
    if holders.is_null() {
        return Err(Told::invalid(format_args!(
            "holders is NULL, with room for {places}"
        )));
    }
    for (index, holder) in found.iter().take(places).enumerate() {
        let mut name = [0; 16];
        for (place, byte) in name[..15].iter_mut().zip(holder.name().bytes()) {
            // `char` is signed on some machines only.
            *place = c_char::from_ne_bytes([byte]);
        }
        let id = holder.id();
        // SAFETY: within the caller's room.
        let place = unsafe { holders.add(index) };
        // SAFETY: as above.
        unsafe { place.write(shmpipe_holder { id, name }) };
    }
    Ok(())
}

/// The processes that hold a sender of this pipe, lowest id first: end-of-file comes when all of them have freed it or
/// ended. `*count` says for how many there is room at `holders`, and becomes how many there are; the first ones are
/// written. A room of 0 only counts, and `holders` may be NULL then.
///
/// The caller is among them where it holds one. They are found by a look at every process's descriptors in /proc, so the
/// list is a snapshot for people and logs. It lacks processes that the caller may not trace.
///
/// Threads: `rx` by one at a time. Ownership: the memory stays the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_receiver_holders(
    rx: *mut shmpipe_receiver,
    holders: *mut shmpipe_holder,
    count: *mut usize,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let count = unsafe { count.as_mut() }.ok_or_else(|| Told::invalid("count is NULL"))?;
        // SAFETY: by the caller.
        let found = unsafe { shmpipe_receiver::of(rx, "rx") }?.holders()?;
        // SAFETY: by the caller.
        unsafe { list(found, holders, count) }
    })
}

/// The processes that hold a receiver of this pipe; otherwise as shmpipe_receiver_holders().
///
/// Threads: `tx` by one at a time. Ownership: the memory stays the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_sender_holders(
    tx: *mut shmpipe_sender,
    holders: *mut shmpipe_holder,
    count: *mut usize,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let count = unsafe { count.as_mut() }.ok_or_else(|| Told::invalid("count is NULL"))?;
        // SAFETY: by the caller.
        let found = unsafe { shmpipe_sender::of(tx, "tx") }?.holders()?;
        // SAFETY: by the caller.
        unsafe { list(found, holders, count) }
    })
}

/// Whether two handles are of the same side of the same pipe. False where one is NULL, or has a loan open.
///
/// Threads: both by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_receiver_same_pipe(
    one: *mut shmpipe_receiver,
    other: *mut shmpipe_receiver,
) -> bool {
    if one == other {
        return !one.is_null();
    }
    // SAFETY: by the caller, and they are different.
    let ends = unsafe { shmpipe_receiver::of(one, "one") }.and_then(|one| {
        // SAFETY: as above.
        Ok((one, unsafe { shmpipe_receiver::of(other, "other") }?))
    });
    ends.is_ok_and(|(one, other)| one.same_pipe(other))
}

/// Whether two handles are of the same side of the same pipe. False where one is NULL, or has a loan open.
///
/// Threads: both by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_sender_same_pipe(
    one: *mut shmpipe_sender,
    other: *mut shmpipe_sender,
) -> bool {
    if one == other {
        return !one.is_null();
    }
    // SAFETY: by the caller, and they are different.
    let ends = unsafe { shmpipe_sender::of(one, "one") }.and_then(|one| {
        // SAFETY: as above.
        Ok((one, unsafe { shmpipe_sender::of(other, "other") }?))
    });
    ends.is_ok_and(|(one, other)| one.same_pipe(other))
}

/// Fills the page tables of a pipe in shared memory now, and not as it is used. Does nothing to a kernel pipe.
///
/// Threads: `rx` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_receiver_prefault(rx: *mut shmpipe_receiver) -> shmpipe_status {
    // SAFETY: by the caller.
    call(|| Ok(unsafe { shmpipe_receiver::of(rx, "rx") }?.prefault()?))
}

/// As shmpipe_receiver_prefault().
///
/// Threads: `tx` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_sender_prefault(tx: *mut shmpipe_sender) -> shmpipe_status {
    // SAFETY: by the caller.
    call(|| Ok(unsafe { shmpipe_sender::of(tx, "tx") }?.prefault()?))
}

/// Does at once what the first calls would do, so that this thread can close its sandbox (seccomp(2)) afterwards, and so
/// that a later call in a signal handler finds everything made. Call it in each thread that is to use the end so, and
/// again in a forked child.
///
/// Threads: `rx` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_receiver_warm_up(rx: *mut shmpipe_receiver) -> shmpipe_status {
    // SAFETY: by the caller.
    call(|| Ok(unsafe { shmpipe_receiver::of(rx, "rx") }?.warm_up()?))
}

/// As shmpipe_receiver_warm_up().
///
/// Threads: `tx` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_sender_warm_up(tx: *mut shmpipe_sender) -> shmpipe_status {
    // SAFETY: by the caller.
    call(|| Ok(unsafe { shmpipe_sender::of(tx, "tx") }?.warm_up()?))
}

/// The version of the library, as `0.1.0`.
///
/// Threads: any. Ownership: the text is static.
#[unsafe(no_mangle)]
pub extern "C" fn shmpipe_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
