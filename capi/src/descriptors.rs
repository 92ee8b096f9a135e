//! Ends as descriptors, and messages that carry descriptors.

use std::collections::BTreeSet;
use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::ptr;

use shmpipe::{Connection, Receiver, Sender};

use crate::border::{Timeout, array, bytes, out};
use crate::connection::shmpipe_connection;
use crate::end::End;
use crate::receiver::{Lending, shmpipe_receiver};
use crate::sender::shmpipe_sender;
use crate::status::{Told, call, shmpipe_status};

/// Most descriptors that an end is made of.
pub const SHMPIPE_MAX_FDS: usize = 6;

/// Most descriptors that a message carries.
pub const SHMPIPE_MAX_MESSAGE_FDS: usize = 253;

/// The caller's room for numbers: `*count` places.
struct Numbers<'a> {
    fds: *mut c_int,
    count: &'a mut usize,
}

impl<'a> Numbers<'a> {
    /// # Safety
    ///
    /// `count` is null or can be written to, and `fds` has that many places.
    unsafe fn at(fds: *mut c_int, count: *mut usize) -> Result<Self, Told> {
        // SAFETY: by the caller.
        let count = unsafe { count.as_mut() }.ok_or_else(|| Told::invalid("count is NULL"))?;
        if fds.is_null() && *count > 0 {
            let places = std::mem::replace(count, 0);
            return Err(Told::invalid(format_args!("{places} places at NULL")));
        }
        Ok(Self { fds, count })
    }

    /// Refuses too little room before anything is done.
    fn check(&mut self, needed: usize) -> Result<(), Told> {
        let places = *self.count;
        if places < needed {
            *self.count = needed;
            return Err(Told::new(
                shmpipe_status::SHMPIPE_BUFFER_TOO_SMALL,
                libc::EMSGSIZE,
                format_args!("{needed} descriptors, with room for {places}"),
            ));
        }
        Ok(())
    }

    /// Hands out as many as there is room for, and how many there are.
    fn fill(self, numbers: impl ExactSizeIterator<Item = c_int>) {
        let places = std::mem::replace(self.count, numbers.len());
        for (index, number) in numbers.enumerate().take(places) {
            // SAFETY: within the caller's room.
            let place = unsafe { self.fds.add(index) };
            // SAFETY: as above.
            unsafe { place.write(number) };
        }
    }

    /// Lends the numbers of an end.
    fn lend(mut self, fds: &[BorrowedFd<'_>]) -> Result<(), Told> {
        self.check(fds.len())?;
        self.fill(fds.iter().map(AsRawFd::as_raw_fd));
        Ok(())
    }
}

/// Lends the descriptors that make up this end: 2, or 3 where messages carry descriptors. They serve to hand the end over
/// by a means of your own, a Unix socket for instance, and are not for reading, writing or closing. `*count` says for how
/// many there is room at `fds`, and becomes how many there are; SHMPIPE_MAX_FDS always suffice.
///
/// A message can carry them too: shmpipe_send_with_fds(). In Rust that is `recv_with_end`.
///
/// SHMPIPE_BUFFER_TOO_SMALL: `*count` is how many there are.
///
/// Threads: `tx` by one at a time. Ownership: the descriptors are the handle's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_sender_fds(
    tx: *mut shmpipe_sender,
    fds: *mut c_int,
    count: *mut usize,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let numbers = unsafe { Numbers::at(fds, count) }?;
        // SAFETY: by the caller.
        numbers.lend(&unsafe { shmpipe_sender::of(tx, "tx") }?.as_fds()?)
    })
}

/// As shmpipe_sender_fds(), for a receiver.
///
/// Threads: `rx` by one at a time. Ownership: the descriptors are the handle's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_receiver_fds(
    rx: *mut shmpipe_receiver,
    fds: *mut c_int,
    count: *mut usize,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let numbers = unsafe { Numbers::at(fds, count) }?;
        // SAFETY: by the caller.
        numbers.lend(&unsafe { shmpipe_receiver::of(rx, "rx") }?.as_fds()?)
    })
}

/// As shmpipe_sender_fds(), for a connection: the receiver's descriptors and then the sender's, 4 or 6.
///
/// Threads: both halves by one at a time. Ownership: the descriptors are the handle's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_connection_fds(
    connection: *mut shmpipe_connection,
    fds: *mut c_int,
    count: *mut usize,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let numbers = unsafe { Numbers::at(fds, count) }?;
        // SAFETY: by the caller; NULL for NULL.
        let rx = unsafe { crate::connection::shmpipe_connection_receiver(connection) };
        // SAFETY: as above.
        let tx = unsafe { crate::connection::shmpipe_connection_sender(connection) };
        // SAFETY: by the caller.
        let mut all = unsafe { shmpipe_receiver::of(rx, "connection") }?.as_fds()?;
        // SAFETY: by the caller.
        all.append(&mut unsafe { shmpipe_sender::of(tx, "connection") }?.as_fds()?);
        numbers.lend(&all)
    })
}

/// Takes the caller's descriptors, if they are descriptors.
///
/// # Safety
///
/// `fds` is null or an array of `count` numbers, and those that are open are the caller's to give away.
unsafe fn owned(fds: *const c_int, count: usize) -> Result<Vec<OwnedFd>, Told> {
    // SAFETY: by the caller.
    let numbers = unsafe { array(fds, count) }?;
    if count > SHMPIPE_MAX_FDS {
        return Err(Told::invalid(format_args!(
            "{count} descriptors, and an end is made of {SHMPIPE_MAX_FDS} at most"
        )));
    }
    for &number in numbers {
        // SAFETY: a number is only asked for.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
            return Err(Told::invalid(format_args!(
                "{number} is not an open descriptor"
            )));
        }
    }
    if numbers.iter().collect::<BTreeSet<_>>().len() < count {
        return Err(Told::invalid("a descriptor is named twice"));
    }
    let own = |&number: &c_int| {
        // SAFETY: open, named once, and the caller's to give away.
        unsafe { OwnedFd::from_raw_fd(number) }
    };
    Ok(numbers.iter().map(own).collect())
}

/// What an end that is made of taken descriptors came to. They are closed then, so that it is no SHMPIPE_INVALID.
fn made<T>(outcome: io::Result<T>) -> Result<T, Told> {
    outcome.map_err(|error| {
        let number = shmpipe::raw_os_error(&error).unwrap_or(libc::EBADMSG);
        Told::new(shmpipe_status::SHMPIPE_IO, number, error)
    })
}

/// Makes a sender of the descriptors that shmpipe_sender_fds() lent, or copies of them, in the same order, in this process
/// or another. They are made close-on-exec.
///
/// SHMPIPE_INVALID: a number that is no open descriptor or there twice, more than SHMPIPE_MAX_FDS, or a NULL; nothing is
/// taken. SHMPIPE_IO: they are not those of a sender of this version (EBADMSG), or the system refused something. They are
/// closed then.
///
/// Threads: any. Ownership: the descriptors are taken, but for SHMPIPE_INVALID. `*tx` is the caller's, to be given to
/// shmpipe_sender_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_sender_from_fds(
    fds: *const c_int,
    count: usize,
    tx: *mut *mut shmpipe_sender,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let tx = unsafe { out(tx, "tx", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let fds = unsafe { owned(fds, count) }?;
        // SAFETY: by the caller.
        *tx = shmpipe_sender::handle(made(unsafe { Sender::from_fds(fds) })?);
        Ok(())
    })
}

/// As shmpipe_sender_from_fds(), for a receiver. Set shmpipe_receiver_limit_messages() where the maker is not trusted.
///
/// Threads: any. Ownership: the descriptors are taken, but for SHMPIPE_INVALID. `*rx` is the caller's, to be given to
/// shmpipe_receiver_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_receiver_from_fds(
    fds: *const c_int,
    count: usize,
    rx: *mut *mut shmpipe_receiver,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let rx = unsafe { out(rx, "rx", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let fds = unsafe { owned(fds, count) }?;
        // SAFETY: by the caller.
        *rx = shmpipe_receiver::handle(made(unsafe { Receiver::from_fds(fds) })?);
        Ok(())
    })
}

/// As shmpipe_sender_from_fds(), for a connection.
///
/// Threads: any. Ownership: the descriptors are taken, but for SHMPIPE_INVALID. `*connection` is the caller's, to be given
/// to shmpipe_connection_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_connection_from_fds(
    fds: *const c_int,
    count: usize,
    connection: *mut *mut shmpipe_connection,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let connection = unsafe { out(connection, "connection", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let fds = unsafe { owned(fds, count) }?;
        // SAFETY: by the caller.
        *connection = shmpipe_connection::handle(made(unsafe { Connection::from_fds(fds) })?);
        Ok(())
    })
}

/// Sends a message and copies of `count` descriptors with it, whole or not at all, blocking while the pipe is full, but
/// no longer than `timeout_ns` nanoseconds; for ever where that is negative (SHMPIPE_FOREVER). The pipe is made with
/// shmpipe_options_descriptors().
///
/// The receiver gets descriptors of its own for the same open files, close-on-exec and in the same order. The message goes
/// in one piece: it takes up to an eighth of the capacity less 16 bytes, 4080 bytes over kernel pipes.
///
/// SHMPIPE_TIMEOUT: not before its time, and nothing was sent. SHMPIPE_TOO_LARGE: longer than one piece.
/// SHMPIPE_INVALID: a number that is no open descriptor, or more than SHMPIPE_MAX_MESSAGE_FDS. SHMPIPE_IO: a pipe without
/// shmpipe_options_descriptors() (EOPNOTSUPP), or what sendmsg(2) reports. Others as for shmpipe_send().
///
/// Threads: `tx` by one at a time; other clones at the same time. Ownership: `data` is copied. The descriptors stay the
/// caller's, and may be closed at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_send_with_fds(
    tx: *mut shmpipe_sender,
    data: *const c_void,
    len: usize,
    fds: *const c_int,
    count: usize,
    timeout_ns: i64,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { send_with_fds(tx, data, len, (fds, count), Timeout::of_ns(timeout_ns)) }
}

/// As shmpipe_send_with_fds(), but never blocks. SHMPIPE_FULL: no room for the message or for what it carries, or another
/// holder is in the middle of a send.
///
/// Threads: `tx` by one at a time; other clones at the same time. Ownership: as for shmpipe_send_with_fds().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_try_send_with_fds(
    tx: *mut shmpipe_sender,
    data: *const c_void,
    len: usize,
    fds: *const c_int,
    count: usize,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { send_with_fds(tx, data, len, (fds, count), Timeout::Never) }
}

/// As the exported calls.
///
/// # Safety
///
/// As theirs.
unsafe fn send_with_fds(
    tx: *mut shmpipe_sender,
    data: *const c_void,
    len: usize,
    (fds, count): (*const c_int, usize),
    timeout: Timeout,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let tx = unsafe { shmpipe_sender::of(tx, "tx") }?;
        // SAFETY: by the caller.
        let message = unsafe { bytes(data, len) }?;
        // SAFETY: by the caller.
        let numbers = unsafe { array(fds, count) }?;
        let mut borrowed = Vec::with_capacity(count);
        for &number in numbers {
            // SAFETY: a number is only asked for.
            if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
                return Err(Told::invalid(format_args!(
                    "{number} is not an open descriptor"
                )));
            }
            // SAFETY: open until the call returns, by the caller.
            borrowed.push(unsafe { BorrowedFd::borrow_raw(number) });
        }
        match timeout {
            Timeout::Forever => tx.send_with_fds(message, &borrowed)?,
            Timeout::Never => tx.try_send_with_fds(message, &borrowed)?,
            Timeout::For(timeout) => tx.send_with_fds_timeout(message, &borrowed, timeout)?,
        }
        Ok(())
    })
}

/// Receives the next message and the descriptors that it carries, none for most, blocking while the pipe is empty, but no
/// longer than `timeout_ns` nanoseconds; for ever where that is negative (SHMPIPE_FOREVER). `*data` and `*len` become the
/// message's as by shmpipe_recv().
///
/// `*count` says for how many descriptors there is room at `fds`, and becomes how many came. Those for which there is no
/// room are closed; SHMPIPE_MAX_MESSAGE_FDS always suffice. After an error `*count` is 0.
///
/// SHMPIPE_IO: with EMFILE, this process cannot open so many descriptors; the message and all that it carries stay. Others
/// as for shmpipe_recv_timeout().
///
/// Threads: `rx` by one at a time; other clones at the same time. Ownership: the bytes are the handle's, as by
/// shmpipe_recv(). The descriptors are the caller's, to be closed by close(2) or given to a call that takes them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_recv_with_fds(
    rx: *mut shmpipe_receiver,
    data: *mut *const c_void,
    len: *mut usize,
    fds: *mut c_int,
    count: *mut usize,
    timeout_ns: i64,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { recv_with_fds(rx, (data, len), (fds, count), Timeout::of_ns(timeout_ns)) }
}

/// As shmpipe_recv_with_fds(), but does not wait for a sender: SHMPIPE_EMPTY as for shmpipe_try_recv().
///
/// Threads: `rx` by one at a time; other clones at the same time. Ownership: as for shmpipe_recv_with_fds().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_try_recv_with_fds(
    rx: *mut shmpipe_receiver,
    data: *mut *const c_void,
    len: *mut usize,
    fds: *mut c_int,
    count: *mut usize,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { recv_with_fds(rx, (data, len), (fds, count), Timeout::Never) }
}

/// As the exported calls.
///
/// # Safety
///
/// As theirs.
unsafe fn recv_with_fds(
    rx: *mut shmpipe_receiver,
    (data, len): (*mut *const c_void, *mut usize),
    (fds, count): (*mut c_int, *mut usize),
    timeout: Timeout,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let lending = unsafe { Lending::to(data, len) }?;
        // SAFETY: by the caller.
        let numbers = unsafe { Numbers::at(fds, count) }?;
        // A room that an error leaves as it was could be taken for descriptors.
        let places = std::mem::replace(numbers.count, 0);
        // SAFETY: by the caller.
        let end = unsafe { shmpipe_receiver::of(rx, "rx") }?;
        let (message, carried) = match timeout {
            Timeout::Forever => end.recv_with_fds()?,
            Timeout::Never => end.try_recv_with_fds()?,
            Timeout::For(timeout) => end.recv_with_fds_timeout(timeout)?,
        };
        // SAFETY: by the caller.
        unsafe { lending.lend(rx, message) };
        let came = carried.len();
        // Those that are left over are closed by their drop.
        for (index, fd) in carried.into_iter().take(places).enumerate() {
            // SAFETY: within the caller's room.
            let place = unsafe { numbers.fds.add(index) };
            // SAFETY: as above.
            unsafe { place.write(fd.into_raw_fd()) };
        }
        *numbers.count = came;
        Ok(())
    })
}
