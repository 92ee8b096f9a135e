//! Closing a side in a forked child, which has copies of handles that belong to the parent's threads.

use shmpipe::{Backend, SendError};

use crate::closing::assert_closed;
use crate::ends::{FILLER, assert_at_end, drain, fill, open};
use crate::support::{Line, fork, long, on_both_backends, pattern, thread};

on_both_backends! {
    a_child_lets_go_of_the_receiving_side_though_it_has_copies_of_a_threads_handle,
    a_child_lets_go_of_the_sending_side_though_it_has_copies_of_a_threads_handle,
    a_child_that_closes_changes_nothing_for_its_parent,
    a_child_forked_in_the_middle_of_a_close_lets_go_too within 60,
}

fn a_child_lets_go_of_the_receiving_side_though_it_has_copies_of_a_threads_handle(
    backend: Backend,
) {
    let (rx, mut tx) = open(backend);
    let mut theirs = rx.try_clone().unwrap();
    let blocked = thread(move || theirs.recv().map(|message| message.len()));
    blocked.until_asleep();
    let (has_closed, may_end) = (Line::new(), Line::new());
    let child = fork(|| {
        rx.close().unwrap();
        has_closed.signal();
        may_end.wait();
    });
    has_closed.wait();
    tx.send(b"for the thread").unwrap();
    assert_eq!(blocked.join().unwrap(), 14);
    drop(rx);
    assert!(matches!(tx.send(b"x"), Err(SendError::Disconnected)));
    may_end.signal();
    child.join();
}

fn a_child_lets_go_of_the_sending_side_though_it_has_copies_of_a_threads_handle(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let count = fill(&mut tx, 1);
    let mut theirs = tx.try_clone().unwrap();
    let blocked = thread(move || theirs.send(&pattern(2, 0, FILLER)));
    blocked.until_asleep();
    let (has_closed, may_end) = (Line::new(), Line::new());
    let child = fork(|| {
        tx.close().unwrap();
        has_closed.signal();
        may_end.wait();
    });
    has_closed.wait();
    drain(&mut rx, 1, 0..count, FILLER);
    drain(&mut rx, 2, 0..1, FILLER);
    blocked.join().unwrap();
    drop(tx);
    assert_at_end(&mut rx);
    may_end.signal();
    child.join();
}

fn a_child_that_closes_changes_nothing_for_its_parent(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let mut theirs = rx.try_clone().unwrap();
    let blocked = thread(move || theirs.recv().map(|message| message.len()));
    blocked.until_asleep();
    fork(|| {
        rx.close().unwrap();
        tx.close().unwrap();
        assert_closed(tx.try_clone().unwrap_err());
    })
    .join();
    blocked.until_asleep();
    tx.send(b"goes on").unwrap();
    assert_eq!(blocked.join().unwrap(), 7);
    rx.try_clone().unwrap();
}

/// Whatever another thread's close was doing at the moment of the fork, and however often it is begun anew.
fn a_child_forked_in_the_middle_of_a_close_lets_go_too(backend: Backend) {
    let rounds = if long() { 5000 } else { 200 };
    for _ in 0..rounds {
        let (mut rx, tx) = open(backend);
        let closing = tx.try_clone().unwrap();
        let (has_closed, may_end) = (Line::new(), Line::new());
        let child = std::thread::scope(|scope| {
            let closes = scope.spawn(move || closing.close());
            let child = fork(|| {
                tx.close().unwrap();
                has_closed.signal();
                may_end.wait();
            });
            closes.join().unwrap().unwrap();
            child
        });
        has_closed.wait();
        assert_at_end(&mut rx);
        may_end.signal();
        child.join();
    }
}
