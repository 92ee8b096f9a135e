//! A thread's end is not an end's end: what a thread did with an end outlives the thread.

use std::sync::{Arc, Mutex};

use shmpipe::Backend;

use crate::ends::{FILLER, LARGE, assert_at_end, assert_empty_but_alive, open};
use crate::support::{check, on_both_backends, pattern, thread};

on_both_backends! {
    the_exit_of_a_thread_that_sent_changes_nothing,
    the_exit_of_a_thread_that_received_changes_nothing,
    the_exit_of_a_thread_that_held_a_clone_changes_nothing,
    ends_move_between_threads_with_every_message,
    a_thread_killed_by_a_panic_in_between_leaves_the_end_usable,
}

fn the_exit_of_a_thread_that_sent_changes_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for number in 0..50 {
        std::thread::scope(|scope| {
            scope.spawn(|| tx.send(&pattern(1, number, FILLER)).unwrap());
        });
        check(&rx.recv().unwrap(), 1, number, FILLER);
        assert!(matches!(rx.try_recv(), Err(shmpipe::TryRecvError::Empty)));
    }
    tx.send(b"from another thread").unwrap();
    drop(tx);
    assert_eq!(&*rx.recv().unwrap(), b"from another thread");
    assert_at_end(&mut rx);
}

fn the_exit_of_a_thread_that_received_changes_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for number in 0..50 {
        std::thread::scope(|scope| {
            let receiver = scope.spawn(|| check(&rx.recv().unwrap(), 1, number, FILLER));
            tx.send(&pattern(1, number, FILLER)).unwrap();
            receiver.join().unwrap();
        });
        tx.send(&pattern(2, number, FILLER)).unwrap();
        check(&rx.recv().unwrap(), 2, number, FILLER);
    }
    assert_empty_but_alive(&mut rx);
}

fn the_exit_of_a_thread_that_held_a_clone_changes_nothing(backend: Backend) {
    let (rx, tx) = open(backend);
    let (mut rx_clone, mut tx_clone) = (rx.try_clone().unwrap(), tx.try_clone().unwrap());
    thread(move || {
        tx_clone.send(b"to myself").unwrap();
        assert_eq!(&*rx_clone.recv().unwrap(), b"to myself");
    })
    .join();
    let (mut rx, mut tx) = (rx, tx);
    assert_empty_but_alive(&mut rx);
    tx.send(b"still there").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"still there");
}

fn ends_move_between_threads_with_every_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for number in 0..30 {
        let len = if number % 10 == 9 { LARGE } else { FILLER };
        let sender = thread(move || {
            tx.send(&pattern(1, number, len)).unwrap();
            tx
        });
        let receiver = thread(move || {
            check(&rx.recv().unwrap(), 1, number, len);
            rx
        });
        (tx, rx) = (sender.join(), receiver.join());
    }
    drop(tx);
    assert_at_end(&mut rx);
}

fn a_thread_killed_by_a_panic_in_between_leaves_the_end_usable(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let shared = Arc::new(Mutex::new(tx));
    let theirs = Arc::clone(&shared);
    let panicking = std::thread::spawn(move || {
        let mut tx = theirs.lock().unwrap();
        tx.send(b"before the panic").unwrap();
        panic!("this panic is part of the test");
    });
    assert!(panicking.join().is_err());
    shared
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .send(b"after it")
        .unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"before the panic");
    assert_eq!(&*rx.recv().unwrap(), b"after it");
    assert_empty_but_alive(&mut rx);
}
