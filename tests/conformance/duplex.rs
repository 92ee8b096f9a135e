//! Two-way pipes: the directions are apart, and closing one end loses nothing that was sent.

use std::time::Duration;

use shmpipe::{Backend, Connection, RecvError, SendError, TryRecvError, TrySendError};

use crate::ends::{FILLER, LARGE, SHORT, assert_at_end, assert_broken, open_duplex};
use crate::support::{check, fork_apart, on_both_backends, pattern, thread};

on_both_backends! {
    each_end_receives_what_the_other_sent,
    what_the_peer_had_sent_is_received_although_it_closed_with_unread_data,
    what_the_peer_had_sent_is_received_although_it_was_killed_with_unread_data,
    a_full_direction_does_not_stop_the_other,
    each_half_of_a_split_end_counts_by_itself,
    halves_of_a_split_end_work_in_threads_of_their_own,
    a_clone_of_an_end_keeps_both_directions_alive,
    a_request_and_its_answer_pass_between_processes_many_times,
    both_ends_can_send_large_messages_while_they_receive,
    every_call_of_an_end_is_there_on_a_connection,
}

fn each_end_receives_what_the_other_sent(backend: Backend) {
    let (mut left, mut right) = open_duplex(backend);
    left.send(b"to the right").unwrap();
    right.send(b"to the left").unwrap();
    assert_eq!(&*left.recv().unwrap(), b"to the left");
    assert_eq!(&*right.recv().unwrap(), b"to the right");
    assert!(matches!(left.try_recv(), Err(TryRecvError::Empty)));
    assert!(matches!(right.try_recv(), Err(TryRecvError::Empty)));
}

/// The peer has sent two messages; it is gone, and three of ours were never read.
fn assert_two_messages_and_the_end(left: Connection) {
    let (mut rx, mut tx) = left.split();
    crate::ends::drain(&mut rx, 2, 0..2, FILLER);
    assert_at_end(&mut rx);
    crate::ends::assert_breaks(&mut tx);
    assert_at_end(&mut rx);
}

fn what_the_peer_had_sent_is_received_although_it_closed_with_unread_data(backend: Backend) {
    let (mut left, mut right) = open_duplex(backend);
    (0..3).for_each(|number| left.send(&pattern(1, number, FILLER)).unwrap());
    (0..2).for_each(|number| right.send(&pattern(2, number, FILLER)).unwrap());
    drop(right);
    assert_two_messages_and_the_end(left);
}

fn what_the_peer_had_sent_is_received_although_it_was_killed_with_unread_data(backend: Backend) {
    let (mut left, mut right) = open_duplex(backend);
    (0..3).for_each(|number| left.send(&pattern(1, number, FILLER)).unwrap());
    let (peer, left) = fork_apart(left, move || {
        (0..2).for_each(|number| right.send(&pattern(2, number, FILLER)).unwrap());
        crate::support::Line::new().wait();
    });
    peer.until_asleep();
    peer.kill();
    assert_two_messages_and_the_end(left);
}

fn a_full_direction_does_not_stop_the_other(backend: Backend) {
    let (mut left, mut right) = open_duplex(backend);
    while left.try_send(&[7; FILLER]).is_ok() {}
    assert!(matches!(
        left.try_send(&[7; FILLER]),
        Err(TrySendError::Full)
    ));
    for number in 0..100 {
        right.send(&pattern(1, number, FILLER)).unwrap();
        check(&left.recv().unwrap(), 1, number, FILLER);
    }
}

fn each_half_of_a_split_end_counts_by_itself(backend: Backend) {
    let (left, right) = open_duplex(backend);
    let (mut left_rx, left_tx) = left.split();
    let (mut right_rx, mut right_tx) = right.split();
    drop(left_tx);
    assert_at_end(&mut right_rx);
    right_tx.send(b"this way is open").unwrap();
    assert_eq!(&*left_rx.recv().unwrap(), b"this way is open");
    drop(left_rx);
    assert_broken(&mut right_tx);

    let (left, right) = open_duplex(backend);
    let (left_rx, mut left_tx) = left.split();
    let (mut right_rx, mut right_tx) = right.split();
    drop(left_rx);
    assert_broken(&mut right_tx);
    left_tx.send(b"this way is open").unwrap();
    assert_eq!(&*right_rx.recv().unwrap(), b"this way is open");
    drop(left_tx);
    assert_at_end(&mut right_rx);
}

fn halves_of_a_split_end_work_in_threads_of_their_own(backend: Backend) {
    const MESSAGES: u64 = 1000;
    let (left, right) = open_duplex(backend);
    let echo = fork_apart(left, move || {
        let (mut rx, mut tx) = right.split();
        rx.messages()
            .for_each(|message| tx.send(&message.unwrap()).unwrap());
    });
    let (echo, left) = echo;
    let (mut rx, mut tx) = left.split();
    let sender = thread(move || {
        (0..MESSAGES).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
    });
    crate::ends::drain(&mut rx, 1, 0..MESSAGES, FILLER);
    sender.join();
    assert_at_end(&mut rx);
    echo.join();
}

fn a_clone_of_an_end_keeps_both_directions_alive(backend: Backend) {
    let (left, mut right) = open_duplex(backend);
    let mut clone = left.try_clone().unwrap();
    drop(left);
    clone.send(b"from the clone").unwrap();
    assert_eq!(&*right.recv().unwrap(), b"from the clone");
    right.send(b"to the clone").unwrap();
    assert_eq!(&*clone.recv().unwrap(), b"to the clone");
    assert!(matches!(right.try_recv(), Err(TryRecvError::Empty)));
    drop(clone);
    assert!(matches!(right.recv(), Err(RecvError::Disconnected)));
    assert!(matches!(right.send(b"x"), Err(SendError::Disconnected)));
}

fn a_request_and_its_answer_pass_between_processes_many_times(backend: Backend) {
    const ROUNDS: u64 = 3000;
    let (left, mut right) = open_duplex(backend);
    let (server, mut left) = fork_apart(left, move || {
        for number in 0..ROUNDS {
            check(&right.recv().unwrap(), 1, number, 8);
            right.send(&pattern(2, number, FILLER)).unwrap();
        }
        assert!(matches!(right.recv(), Err(RecvError::Disconnected)));
    });
    for number in 0..ROUNDS {
        left.send(&pattern(1, number, 8)).unwrap();
        check(&left.recv().unwrap(), 2, number, FILLER);
    }
    drop(left);
    server.join();
}

fn both_ends_can_send_large_messages_while_they_receive(backend: Backend) {
    const MESSAGES: u64 = 10;
    let (left, right) = open_duplex(backend);
    let exchange = |end: Connection, mine: u16, theirs: u16| {
        let (mut rx, mut tx) = end.split();
        let sender = thread(move || {
            (0..MESSAGES).for_each(|number| tx.send(&pattern(mine, number, LARGE)).unwrap());
        });
        crate::ends::drain(&mut rx, theirs, 0..MESSAGES, LARGE);
        sender.join();
    };
    let (peer, left) = fork_apart(left, move || exchange(right, 2, 1));
    exchange(left, 1, 2);
    peer.join();
}

fn every_call_of_an_end_is_there_on_a_connection(backend: Backend) {
    let (mut left, mut right) = open_duplex(backend);
    left.try_send(b"one").unwrap();
    left.send_timeout(b"two", SHORT).unwrap();
    left.send(b"three").unwrap();
    left.send(b"four").unwrap();
    assert!(right.poll(Some(Duration::ZERO)).unwrap());
    assert_eq!(&*right.try_recv().unwrap(), b"one");
    assert_eq!(&*right.recv_timeout(SHORT).unwrap(), b"two");
    let mut buf = [0; 5];
    assert_eq!(right.recv_into(&mut buf).unwrap(), 5);
    assert_eq!(&buf, b"three");
    assert_eq!(right.messages().next().unwrap().unwrap(), b"four");
    let outcome = right.recv_timeout(SHORT);
    assert!(matches!(outcome, Err(shmpipe::RecvTimeoutError::Timeout)));
    assert!(!right.poll(Some(SHORT)).unwrap());
    assert_eq!((left.backend(), right.backend()), (backend, backend));
    assert_eq!(
        (left.capacity(), right.capacity()),
        (crate::ends::CAPACITY, crate::ends::CAPACITY)
    );
    drop(left);
    assert!(right.poll(None).unwrap());
    assert_eq!(right.messages().count(), 0);
}
