//! Poll: true exactly where recv would not block, the end included.

use std::time::{Duration, Instant};

use shmpipe::{Backend, Receiver, SendTimeoutError, TryRecvError, wait};

use crate::ends::{CAPACITY, FILLER, LARGE, SHORT, assert_at_end, open};
use crate::support::{Line, check, fork, fork_apart, on_both_backends, pattern};

/// Length of a message that an empty pipe has just room for in a ring; a kernel pipe has not.
const NEARLY_ALL: usize = CAPACITY - FILLER;

/// The longest record of such a ring: for one beside eight of a message in fragments there is no room.
const RECORD: usize = CAPACITY / 8 - 8;

on_both_backends! {
    poll_of_zero_is_false_while_the_pipe_is_empty,
    poll_is_true_and_takes_nothing_while_a_message_is_there,
    poll_ends_with_false_not_before_its_time,
    poll_without_limit_blocks_until_a_message_comes,
    poll_without_limit_blocks_until_the_last_sender_is_killed,
    poll_is_true_at_the_end,
    poll_is_false_again_after_the_last_message,
    poll_is_true_for_the_first_fragment_of_a_large_message,
    what_a_sender_has_taken_back_leaves_its_room_to_the_next_while_one_polls,
    what_a_sender_has_taken_back_leaves_its_room_to_the_next_while_one_waits,
}

fn poll_of_zero_is_false_while_the_pipe_is_empty(backend: Backend) {
    let (mut rx, _tx) = open(backend);
    assert!(!rx.poll(Some(Duration::ZERO)).unwrap());
}

fn poll_is_true_and_takes_nothing_while_a_message_is_there(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    for _ in 0..3 {
        assert!(rx.poll(Some(Duration::ZERO)).unwrap());
        assert!(rx.poll(Some(SHORT)).unwrap());
        assert!(rx.poll(None).unwrap());
    }
    check(&rx.recv().unwrap(), 1, 0, FILLER);
}

fn poll_ends_with_false_not_before_its_time(backend: Backend) {
    let (mut rx, _tx) = open(backend);
    for timeout in [1, 7, 50, 200].map(Duration::from_millis) {
        let start = Instant::now();
        assert!(!rx.poll(Some(timeout)).unwrap());
        let elapsed = start.elapsed();
        assert!(elapsed >= timeout, "{elapsed:?} is before {timeout:?}");
    }
}

fn poll_without_limit_blocks_until_a_message_comes(backend: Backend) {
    for timeout in [None, Some(Duration::MAX)] {
        let (mut rx, mut tx) = open(backend);
        let child = fork(move || {
            assert!(rx.poll(timeout).unwrap());
            check(&rx.try_recv().unwrap(), 1, 0, FILLER);
        });
        child.until_asleep();
        tx.send(&pattern(1, 0, FILLER)).unwrap();
        child.join();
    }
}

fn poll_without_limit_blocks_until_the_last_sender_is_killed(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let (receiver, tx) = fork_apart(tx, move || {
        assert!(rx.poll(None).unwrap());
        assert_at_end(&mut rx);
    });
    let never = Line::new();
    let sender = fork(move || {
        let _held = tx;
        never.wait();
    });
    receiver.until_asleep();
    sender.kill();
    receiver.join();
}

fn poll_is_true_at_the_end(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"last words").unwrap();
    drop(tx);
    assert!(rx.poll(None).unwrap());
    assert_eq!(&*rx.recv().unwrap(), b"last words");
    assert!(rx.poll(None).unwrap());
    assert!(rx.poll(Some(Duration::ZERO)).unwrap());
    assert_at_end(&mut rx);
}

fn poll_is_false_again_after_the_last_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for number in 0..100 {
        tx.send(&pattern(1, number, FILLER)).unwrap();
        assert!(rx.poll(Some(Duration::ZERO)).unwrap());
        check(&rx.recv().unwrap(), 1, number, FILLER);
        assert!(!rx.poll(Some(Duration::ZERO)).unwrap());
    }
}

fn poll_is_true_for_the_first_fragment_of_a_large_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    assert!(rx.poll(None).unwrap());
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    child.join();
}

/// Asks by `ready`, and receives when that says so.
fn receives_behind_what_was_taken_back(backend: Backend, mut ready: impl FnMut(&mut Receiver)) {
    let (mut rx, mut tx) = open(backend);
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    // It fits the pipe, but not beside the one before.
    let outcome = tx.send_timeout(&pattern(1, 1, NEARLY_ALL), SHORT);
    assert!(
        matches!(outcome, Err(SendTimeoutError::Timeout)),
        "{outcome:?}"
    );
    check(&rx.recv().unwrap(), 1, 0, FILLER);
    let sender = fork(|| {
        for number in 2..4 {
            tx.send(&pattern(1, number, RECORD)).unwrap();
        }
    });
    for number in 2..4 {
        let message = loop {
            ready(&mut rx);
            match rx.try_recv() {
                Ok(message) => break message,
                Err(error) => assert!(matches!(error, TryRecvError::Empty), "{error}"),
            }
        };
        check(&message, 1, number, RECORD);
    }
    sender.join();
}

fn what_a_sender_has_taken_back_leaves_its_room_to_the_next_while_one_polls(backend: Backend) {
    receives_behind_what_was_taken_back(backend, |rx| assert!(rx.poll(None).unwrap()));
}

fn what_a_sender_has_taken_back_leaves_its_room_to_the_next_while_one_waits(backend: Backend) {
    receives_behind_what_was_taken_back(backend, |rx| {
        assert_eq!(wait(&mut [rx], None).unwrap(), [0]);
    });
}
