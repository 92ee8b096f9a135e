//! Blocking: recv waits for a message, send waits for room, and the `try_` calls for nothing.

use shmpipe::{Backend, TryRecvError, TrySendError};

use crate::ends::{FILLER, LARGE, assert_empty_but_alive, drain, fill, open};
use crate::support::{Line, check, fork, on_both_backends, pattern, thread};

on_both_backends! {
    recv_blocks_while_the_pipe_is_empty_and_a_sender_lives,
    recv_in_a_thread_blocks_until_another_thread_sends,
    recv_into_blocks_while_the_pipe_is_empty,
    recv_blocks_again_after_each_message,
    try_recv_reports_empty_and_later_finds_the_message,
    send_blocks_while_the_pipe_is_full_until_it_is_drained,
    send_goes_on_when_half_of_a_full_pipe_has_been_received,
    several_blocked_senders_all_go_on_when_the_pipe_is_drained,
    try_send_reports_full_and_works_again_after_a_drain,
    the_two_sides_can_take_turns_at_waiting,
}

fn recv_blocks_while_the_pipe_is_empty_and_a_sender_lives(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = fork(move || assert_eq!(&*rx.recv().unwrap(), b"at last"));
    child.until_asleep();
    tx.send(b"at last").unwrap();
    child.join();
}

fn recv_in_a_thread_blocks_until_another_thread_sends(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let receiver = thread(move || rx.recv().unwrap().into_vec());
    receiver.until_asleep();
    tx.send(b"at last").unwrap();
    assert_eq!(receiver.join(), b"at last");
}

fn recv_into_blocks_while_the_pipe_is_empty(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = fork(move || {
        let mut buf = [0; 16];
        assert_eq!(rx.recv_into(&mut buf).unwrap(), 7);
        assert_eq!(&buf[..7], b"at last");
    });
    child.until_asleep();
    tx.send(b"at last").unwrap();
    child.join();
}

fn recv_blocks_again_after_each_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = fork(move || drain(&mut rx, 1, 0..10, FILLER));
    for number in 0..10 {
        child.until_asleep();
        tx.send(&pattern(1, number, FILLER)).unwrap();
    }
    child.join();
}

fn try_recv_reports_empty_and_later_finds_the_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for number in 0..100 {
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        tx.send(&pattern(1, number, FILLER)).unwrap();
        check(&rx.try_recv().unwrap(), 1, number, FILLER);
    }
    assert_empty_but_alive(&mut rx);
}

fn send_blocks_while_the_pipe_is_full_until_it_is_drained(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let filled = Line::new();
    let child = fork(|| {
        let held = fill(&mut tx, 1);
        filled.put(held);
        tx.send(&pattern(1, held, FILLER)).unwrap();
    });
    let held = filled.take();
    child.until_asleep();
    drain(&mut rx, 1, 0..held + 1, FILLER);
    child.join();
    assert_empty_but_alive(&mut rx);
}

fn send_goes_on_when_half_of_a_full_pipe_has_been_received(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let held = fill(&mut tx, 1);
    let child = fork(|| tx.send(&pattern(1, held, FILLER)).unwrap());
    child.until_asleep();
    let half = held / 2 + 2;
    drain(&mut rx, 1, 0..half, FILLER);
    child.join();
    drain(&mut rx, 1, half..held + 1, FILLER);
}

fn several_blocked_senders_all_go_on_when_the_pipe_is_drained(backend: Backend) {
    const SENDERS: u16 = 5;
    let (mut rx, mut tx) = open(backend);
    let held = fill(&mut tx, 0);
    let start = |sender| {
        fork(|| {
            tx.try_clone()
                .unwrap()
                .send(&pattern(sender, 0, FILLER))
                .unwrap()
        })
    };
    let children: Vec<_> = (1..=SENDERS).map(start).collect();
    children.iter().for_each(|child| child.until_asleep());
    drain(&mut rx, 0, 0..held, FILLER);
    let mut senders: Vec<u16> = Vec::new();
    for _ in 0..SENDERS {
        let message = rx.recv().unwrap();
        let (sender, number) = crate::support::identify(&message);
        check(&message, sender, number, FILLER);
        senders.push(sender);
    }
    senders.sort_unstable();
    assert_eq!(senders, [1, 2, 3, 4, 5]);
    children.into_iter().for_each(|child| child.join());
}

fn try_send_reports_full_and_works_again_after_a_drain(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for _ in 0..5 {
        let held = fill(&mut tx, 1);
        assert!(matches!(
            tx.try_send(&pattern(1, held, FILLER)),
            Err(TrySendError::Full)
        ));
        drain(&mut rx, 1, 0..held, FILLER);
        assert_empty_but_alive(&mut rx);
    }
}

fn the_two_sides_can_take_turns_at_waiting(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = fork(|| {
        for number in 0..3 {
            let held = fill(&mut tx, number);
            tx.send(&pattern(number, held, LARGE)).unwrap(); // sleeps: the pipe is full
        }
    });
    for sender in 0..3 {
        let mut number = 0;
        loop {
            let message = rx.recv().unwrap(); // sleeps: the pipe runs empty
            let len = message.len();
            check(&message, sender, number, len);
            number += 1;
            if len == LARGE {
                break;
            }
            assert_eq!(len, FILLER);
        }
    }
    child.join();
}
