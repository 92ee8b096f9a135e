//! The promises of the border itself; `tests/run` has those of each call, in C.

use std::ffi::{CStr, c_void};
use std::ptr;

use super::shmpipe_status::*;
use super::*;
use crate::border::Timeout;
use crate::last_error::note;
use crate::status::{Told, call};

fn last_error() -> String {
    // SAFETY: a text of this thread, which no call changes meanwhile.
    unsafe { CStr::from_ptr(shmpipe_last_error()) }
        .to_string_lossy()
        .into_owned()
}

fn pipe() -> (*mut shmpipe_receiver, *mut shmpipe_sender) {
    let (mut rx, mut tx) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: two places for the handles.
    let made = unsafe { shmpipe_pipe(ptr::null(), &mut rx, &mut tx) };
    assert_eq!(made, SHMPIPE_OK);
    (rx, tx)
}

fn send(tx: *mut shmpipe_sender, message: &[u8]) -> shmpipe_status {
    // SAFETY: a handle of this test or NULL, and a slice.
    unsafe { shmpipe_send(tx, message.as_ptr().cast(), message.len()) }
}

fn free(mut rx: *mut shmpipe_receiver, mut tx: *mut shmpipe_sender) {
    // SAFETY: handles of this test, which are not used afterwards.
    unsafe { shmpipe_receiver_free(&mut rx) };
    // SAFETY: as above.
    unsafe { shmpipe_sender_free(&mut tx) };
    assert!(rx.is_null() && tx.is_null());
}

#[test]
fn a_panic_becomes_a_status_with_its_text() {
    let outcome = call(|| panic!("number {}", 7));
    assert_eq!(outcome, SHMPIPE_PANICKED);
    assert_eq!(last_error(), "a panic: number 7");
    assert_eq!(call(|| Ok(())), SHMPIPE_OK);
}

#[test]
fn a_null_handle_is_a_status_with_its_name() {
    assert_eq!(send(ptr::null_mut(), b"x"), SHMPIPE_INVALID);
    assert_eq!(last_error(), "tx is NULL");
    assert_eq!(shmpipe_last_errno(), libc::EINVAL);
}

#[test]
fn a_lent_end_refuses_every_other_call() {
    let (rx, tx) = pipe();
    let (mut slot, mut view) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: a handle of this test, and a place.
    assert_eq!(unsafe { shmpipe_reserve(tx, 4, &mut slot) }, SHMPIPE_OK);
    // SAFETY: a handle of this test, and no bytes.
    let outcome = unsafe { shmpipe_try_send(tx, ptr::null(), 0) };
    assert_eq!(outcome, SHMPIPE_LENT);
    assert_eq!(last_error(), "tx has a slot or a view open");
    // SAFETY: the slot is the sender's, which is there.
    assert_eq!(unsafe { shmpipe_slot_commit(slot) }, SHMPIPE_OK);
    // SAFETY: as above.
    assert_eq!(unsafe { shmpipe_slot_commit(slot) }, SHMPIPE_INVALID);
    // SAFETY: a handle of this test, and a place.
    assert_eq!(unsafe { shmpipe_recv_in_place(rx, &mut view) }, SHMPIPE_OK);
    let mut ready = false;
    // SAFETY: as above.
    assert_eq!(unsafe { shmpipe_poll(rx, 0, &mut ready) }, SHMPIPE_LENT);
    free(rx, tx);
}

#[test]
fn a_half_of_a_connection_is_not_freed_by_itself() {
    let (mut left, mut right) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: two places for the handles.
    let made = unsafe { shmpipe_duplex(ptr::null(), &mut left, &mut right) };
    assert_eq!(made, SHMPIPE_OK);
    // SAFETY: a handle of this test.
    let rx = unsafe { shmpipe_connection_receiver(left) };
    // SAFETY: as above.
    let tx = unsafe { shmpipe_connection_sender(left) };
    free(rx, tx);
    assert_eq!(send(tx, b"still there"), SHMPIPE_OK);
    // SAFETY: handles of this test, which are not used afterwards.
    unsafe { shmpipe_connection_free(&mut left) };
    // SAFETY: as above.
    unsafe { shmpipe_connection_free(&mut right) };
}

#[test]
fn a_handle_that_a_call_takes_becomes_null() {
    let (rx, mut tx) = pipe();
    let mut inheritance = ptr::null_mut();
    // SAFETY: a place for the handle.
    let made = unsafe { shmpipe_inheritance_new(&mut inheritance) };
    assert_eq!(made, SHMPIPE_OK);
    // SAFETY: handles of this test, and a text.
    let outcome = unsafe { shmpipe_sender_inherit(&mut tx, inheritance, c"NAME".as_ptr()) };
    assert_eq!(outcome, SHMPIPE_OK);
    assert!(tx.is_null());
    let (mut fds, mut count) = (ptr::null(), 0);
    // SAFETY: a handle of this test, and places.
    unsafe { shmpipe_inheritance_fds(inheritance, &mut fds, &mut count) };
    assert_eq!(count, 2);
    // SAFETY: a handle of this test, which is not used afterwards.
    unsafe { shmpipe_inheritance_free(&mut inheritance) };
    free(rx, tx);
}

#[test]
fn a_list_that_names_a_handle_twice_is_refused() {
    let (rx, tx) = pipe();
    let item = || shmpipe_wait_item {
        receiver: rx,
        sender: ptr::null_mut(),
        fd: 0,
        events: 0,
        ready: false,
    };
    let mut items = [item(), item()];
    // SAFETY: a list of that length.
    let outcome = unsafe { shmpipe_wait(items.as_mut_ptr(), 2, 0, ptr::null_mut()) };
    assert_eq!(outcome, SHMPIPE_INVALID);
    assert_eq!(last_error(), "a handle is in the list twice");
    free(rx, tx);
}

#[test]
fn a_call_that_fails_hands_out_nothing() {
    let (rx, tx) = pipe();
    let (mut data, mut len) = (ptr::dangling::<c_void>(), 7);
    // SAFETY: a handle of this test, and places.
    let outcome = unsafe { shmpipe_try_recv(rx, &mut data, &mut len) };
    assert_eq!((outcome, data.is_null(), len), (SHMPIPE_EMPTY, true, 0));
    free(rx, tx);
}

#[test]
fn a_negative_time_is_for_ever() {
    for (ns, timeout) in [(-1, None), (i64::MIN, None), (0, Some(0)), (7, Some(7))] {
        let timeout = timeout.map(std::time::Duration::from_nanos);
        assert_eq!(Timeout::of_ns(ns).as_timeout(), timeout, "{ns}");
    }
}

#[test]
fn a_text_that_is_too_long_is_cut_between_two_characters() {
    note(5, "ä".repeat(1000));
    let text = last_error();
    assert_eq!(text, "ä".repeat(text.len() / 2));
    assert!(text.len() >= 510 && text.len() < 512, "{}", text.len());
    note(0, "short");
    assert_eq!(last_error(), "short");
}

#[test]
fn the_crates_errors_keep_their_meaning() {
    use shmpipe::{RecvError, SendError, TryRecvError, TrySendError};
    use std::io::{self, ErrorKind};

    let told = |told: Told| (told.0, shmpipe_last_errno());
    assert_eq!(
        told(SendError::Disconnected.into()),
        (SHMPIPE_DISCONNECTED, libc::EPIPE)
    );
    assert_eq!(
        told(RecvError::Disconnected.into()),
        (SHMPIPE_DISCONNECTED, 0)
    );
    assert_eq!(
        told(TrySendError::Full.into()),
        (SHMPIPE_FULL, libc::EAGAIN)
    );
    assert_eq!(
        told(TryRecvError::Empty.into()),
        (SHMPIPE_EMPTY, libc::EAGAIN)
    );
    assert_eq!(
        told(RecvError::Deadlock.into()),
        (SHMPIPE_DEADLOCK, libc::EDEADLK)
    );
    let wrapped = |error: RecvError| told(io::Error::from(error).into());
    assert_eq!(
        wrapped(RecvError::Reentrant),
        (SHMPIPE_REENTRANT, libc::EDEADLK)
    );
    assert_eq!(
        wrapped(RecvError::Aborted),
        (SHMPIPE_ABORTED, libc::EBADMSG)
    );
    let written = io::Error::from(SendError::Disconnected);
    assert_eq!(told(written.into()), (SHMPIPE_DISCONNECTED, libc::EPIPE));
    let system = io::Error::from_raw_os_error(libc::EMFILE);
    assert_eq!(told(system.into()), (SHMPIPE_IO, libc::EMFILE));
    let named = io::Error::new(ErrorKind::OutOfMemory, "7 bytes");
    assert_eq!(told(named.into()), (SHMPIPE_IO, libc::ENOMEM));
    assert_eq!(last_error(), "7 bytes");
}
