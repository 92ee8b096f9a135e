//! Ends taken apart into descriptors and put together again.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use shmpipe::{Backend, Connection, PipeOptions, Receiver, SendError, Sender};

use crate::ends::{LARGE, assert_at_end, assert_breaks, assert_broken, open, open_duplex};
use crate::support::{check, fork_apart, mappings, on_both_backends, open_fds, pattern};

on_both_backends! {
    a_sender_made_of_descriptors_sends_into_the_same_pipe,
    a_receiver_made_of_descriptors_receives_from_the_same_pipe,
    a_connection_made_of_descriptors_goes_both_ways,
    descriptors_alone_hold_their_side_open,
    the_limit_of_a_message_goes_with_the_descriptors,
    ends_made_in_a_process_without_the_pipe_work_there,
    descriptors_are_close_on_exec,
    ends_made_of_inheritable_descriptors_are_close_on_exec,
    taking_an_end_apart_again_and_again_leaks_nothing,
}

// Each is sound: the descriptors come from `into_fds`, or are refused (`forged`).

pub(crate) fn sender(fds: impl IntoIterator<Item = OwnedFd>) -> io::Result<Sender> {
    // SAFETY: as above.
    unsafe { Sender::from_fds(fds) }
}

pub(crate) fn receiver(fds: impl IntoIterator<Item = OwnedFd>) -> io::Result<Receiver> {
    // SAFETY: as above.
    unsafe { Receiver::from_fds(fds) }
}

pub(crate) fn connection(fds: impl IntoIterator<Item = OwnedFd>) -> io::Result<Connection> {
    // SAFETY: as above.
    unsafe { Connection::from_fds(fds) }
}

fn a_sender_made_of_descriptors_sends_into_the_same_pipe(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"before").unwrap();
    let mut tx = sender(tx.into_fds().unwrap()).unwrap();
    assert_eq!((tx.backend(), tx.capacity()), (backend, rx.capacity()));
    tx.send(b"after").unwrap();
    drop(tx);
    assert_eq!(&*rx.recv().unwrap(), b"before");
    assert_eq!(&*rx.recv().unwrap(), b"after");
    assert_at_end(&mut rx);
}

fn a_receiver_made_of_descriptors_receives_from_the_same_pipe(backend: Backend) {
    let (rx, mut tx) = open(backend);
    tx.send(b"waiting").unwrap();
    let mut rx = receiver(rx.into_fds().unwrap()).unwrap();
    assert_eq!((rx.backend(), rx.capacity()), (backend, tx.capacity()));
    assert_eq!(&*rx.recv().unwrap(), b"waiting");
    drop(rx);
    assert_broken(&mut tx);
}

fn a_connection_made_of_descriptors_goes_both_ways(backend: Backend) {
    let (left, mut right) = open_duplex(backend);
    let mut left = connection(left.into_fds().unwrap()).unwrap();
    left.send(b"there").unwrap();
    assert_eq!(&*right.recv().unwrap(), b"there");
    right.send(b"and back").unwrap();
    assert_eq!(&*left.recv().unwrap(), b"and back");
}

fn descriptors_alone_hold_their_side_open(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let fds = rx.into_fds().unwrap();
    tx.send(b"nobody has an end, but somebody could make one")
        .unwrap();
    drop(fds);
    // Bare descriptors announce nothing when they are closed, just like those of a killed process.
    assert_breaks(&mut tx);
}

fn the_limit_of_a_message_goes_with_the_descriptors(backend: Backend) {
    let options = PipeOptions::new().backend(backend).max_message(10);
    let (_rx, tx) = options.pipe().unwrap();
    let mut tx = sender(tx.into_fds().unwrap()).unwrap();
    tx.send(&[7; 10]).unwrap();
    let outcome = tx.send(&[7; 11]);
    assert!(matches!(
        outcome,
        Err(SendError::TooLarge { len: 11, max: 10 })
    ));
}

/// Forked, but its own mapping: what a program that was handed the descriptors has.
fn ends_made_in_a_process_without_the_pipe_work_there(backend: Backend) {
    let (rx, tx) = open(backend);
    let (rx_fds, tx_fds) = (rx.into_fds().unwrap(), tx.into_fds().unwrap());
    let (child, rx_fds) = fork_apart(rx_fds, move || {
        let mut tx = sender(tx_fds).unwrap();
        for number in 0..100 {
            tx.send(&pattern(1, number, 1000)).unwrap();
        }
        tx.send(&pattern(1, 100, LARGE)).unwrap();
    });
    let mut rx = receiver(rx_fds).unwrap();
    for number in 0..100 {
        check(&rx.recv().unwrap(), 1, number, 1000);
    }
    check(&rx.recv().unwrap(), 1, 100, LARGE);
    child.join();
    assert_at_end(&mut rx);
}

fn descriptors_are_close_on_exec(backend: Backend) {
    let (left, _right) = open_duplex(backend);
    for fd in left.into_fds().unwrap() {
        let flags = fcntl(&fd, FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}

fn ends_made_of_inheritable_descriptors_are_close_on_exec(backend: Backend) {
    let fds = open(backend).1.into_fds().unwrap();
    let numbers: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    for fd in &fds {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    }
    let _tx = sender(fds).unwrap();
    for number in numbers {
        // SAFETY: the end that was made of it is open.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let flags = fcntl(fd, FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}

fn taking_an_end_apart_again_and_again_leaks_nothing(backend: Backend) {
    let (rx, tx) = open(backend);
    let held = |end: &Sender| (end.capacity(), open_fds().len(), mappings());
    let mut tx = sender(tx.into_fds().unwrap()).unwrap();
    let before = held(&tx);
    for _ in 0..1000 {
        tx = sender(tx.into_fds().unwrap()).unwrap();
    }
    assert_eq!(held(&tx), before);
    drop(rx);
    assert_broken(&mut tx);
}
