//! Waiting for the first of many ends, and the descriptors by which others watch an end.

use std::ffi::{c_int, c_short};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use shmpipe::{Interest, Waitable, wait_with};

use crate::border::{Timeout, array_mut, out};
use crate::end::End;
use crate::receiver::shmpipe_receiver;
use crate::sender::shmpipe_sender;
use crate::status::{Told, call, shmpipe_status};

/// What shmpipe_wait() waits for: a receiver, a sender, or a descriptor of any other kind. Set one of them, and the others
/// to NULL or 0, as an initialiser does with what it does not name:
///
///     shmpipe_wait_item items[] = {{.receiver = rx}, {.sender = tx}, {.fd = 0, .events = POLLIN}};
///
/// One with nothing set is never ready. Where several are set, it is ready when one of them is.
#[repr(C)]
pub struct shmpipe_wait_item {
    /// Ready as shmpipe_poll() has it: a message or a fragment is there, or end-of-file.
    pub receiver: *mut shmpipe_receiver,
    /// Ready when a short message can be sent, or no receiver is left.
    pub sender: *mut shmpipe_sender,
    /// A descriptor, looked at only where `events` is not 0.
    pub fd: c_int,
    /// POLLIN, POLLOUT or both (poll(2)). An error or hang-up is ready too.
    pub events: c_short,
    /// What the call found.
    pub ready: bool,
}

fn interest(item: &shmpipe_wait_item) -> Result<Interest, Told> {
    match item.events {
        libc::POLLIN => Ok(Interest::Readable),
        libc::POLLOUT => Ok(Interest::Writable),
        events if events == libc::POLLIN | libc::POLLOUT => Ok(Interest::Both),
        events => Err(Told::invalid(format_args!(
            "events of {events:#x}: they are POLLIN, POLLOUT or both"
        ))),
    }
}

/// No end may be lent out twice.
fn check_distinct<T>(handles: impl Iterator<Item = *mut T>) -> Result<(), Told> {
    let mut handles: Vec<_> = handles.filter(|handle| !handle.is_null()).collect();
    handles.sort_unstable();
    if handles.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Told::invalid("a handle is in the list twice"));
    }
    Ok(())
}

/// Waits until one or more of `count` items are ready, sets `ready` of each, and sets `*ready`, which may be NULL, to how
/// many are. It waits no longer than `timeout_ns` nanoseconds, for ever where that is negative (SHMPIPE_FOREVER), and
/// only looks where it is 0. That the time is over is no error: `*ready` is 0.
///
/// An item is ready in every call until what it is ready for has been received or the room filled. A receiver at
/// end-of-file and a sender without receivers stay so: set their pointers to NULL when a call has reported it.
///
/// Ends of both backends may be mixed. For thousands of ends, register their descriptors with epoll(7) instead:
/// shmpipe_receiver_fd(), shmpipe_sender_fd().
///
/// SHMPIPE_INVALID: the same handle twice (clones are different handles), or other events. SHMPIPE_INTERRUPTED,
/// SHMPIPE_REENTRANT, SHMPIPE_LENT, SHMPIPE_IO.
///
/// Threads: each handle by one at a time; the call uses all of them. What their last calls have lent is over. Ownership:
/// the list and the handles stay the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_wait(
    items: *mut shmpipe_wait_item,
    count: usize,
    timeout_ns: i64,
    ready: *mut usize,
) -> shmpipe_status {
    call(|| {
        let mut unasked = 0;
        let ready = if ready.is_null() {
            &raw mut unasked
        } else {
            ready
        };
        // SAFETY: by the caller.
        let ready = unsafe { out(ready, "ready", 0) }?;
        // SAFETY: by the caller.
        let items: &mut [shmpipe_wait_item] = unsafe { array_mut(items, count) }?;
        check_distinct(items.iter().map(|item| item.receiver))?;
        check_distinct(items.iter().map(|item| item.sender))?;
        let mut ends: Vec<&mut dyn Waitable> = Vec::with_capacity(count);
        let mut of_end = Vec::with_capacity(count);
        let mut fds = Vec::new();
        let mut of_fd = Vec::new();
        for (index, item) in items.iter_mut().enumerate() {
            item.ready = false;
            if !item.receiver.is_null() {
                // SAFETY: by the caller, and none is there twice.
                ends.push(unsafe { shmpipe_receiver::of(item.receiver, "receiver") }?);
                of_end.push(index);
            }
            if !item.sender.is_null() {
                // SAFETY: by the caller, and none is there twice.
                ends.push(unsafe { shmpipe_sender::of(item.sender, "sender") }?);
                of_end.push(index);
            }
            if item.events != 0 {
                let interest = interest(item)?;
                // SAFETY: open, by the caller; asked, since -1 is not allowed here.
                if unsafe { libc::fcntl(item.fd, libc::F_GETFD) } < 0 {
                    return Err(Told::invalid(format_args!(
                        "{} is not an open descriptor",
                        item.fd
                    )));
                }
                // SAFETY: open until the call returns, by the caller.
                fds.push((unsafe { BorrowedFd::borrow_raw(item.fd) }, interest));
                of_fd.push(index);
            }
        }
        let found = wait_with(&mut ends, &fds, Timeout::of_ns(timeout_ns).as_timeout())?;
        for end in found.ends {
            items[of_end[end]].ready = true;
        }
        for fd in found.fds {
            items[of_fd[fd]].ready = true;
        }
        *ready = items.iter().filter(|item| item.ready).count();
        Ok(())
    })
}

/// Sets `*fd` to a descriptor that is readable (POLLIN) while shmpipe_try_recv() would find a message or end-of-file, for
/// poll(2), epoll(7) and event loops. It is level-triggered, and the same for all handles of this process to this end.
/// It may be readable although shmpipe_try_recv() then returns SHMPIPE_EMPTY: expect that, and wait again.
///
/// The first call puts the receiving side, for all its holders, into a mode in which a receive that empties the pipe makes
/// a few system calls, and the send after it two.
///
/// Threads: `rx` by one at a time. Ownership: the descriptor is the end's, for watching only: never read from it, write to
/// it or close it. It is open while this process has a handle to this end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_receiver_fd(
    rx: *mut shmpipe_receiver,
    fd: *mut c_int,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let fd = unsafe { out(fd, "fd", -1) }?;
        // SAFETY: by the caller.
        *fd = unsafe { shmpipe_receiver::of(rx, "rx") }?
            .as_fd()
            .as_raw_fd();
        Ok(())
    })
}

/// Sets `*fd` to a descriptor that is *readable* (POLLIN, not POLLOUT) while a send of a short message would not block:
/// there is room, or no receiver is left. Short is up to 8 bytes less than an eighth of the capacity and at most 256 KiB;
/// on a kernel pipe up to 4080 bytes. Otherwise as shmpipe_receiver_fd().
///
/// SHMPIPE_IO: on a kernel pipe where the descriptor cannot be made, EMFILE above all.
///
/// Threads: `tx` by one at a time. Ownership: as for shmpipe_receiver_fd().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_sender_fd(
    tx: *mut shmpipe_sender,
    fd: *mut c_int,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let fd = unsafe { out(fd, "fd", -1) }?;
        // SAFETY: by the caller.
        *fd = unsafe { shmpipe_sender::of(tx, "tx") }?
            .readiness()?
            .as_raw_fd();
        Ok(())
    })
}
