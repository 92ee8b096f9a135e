//! A stopped process is alive: the others wait, their time-outs hold, and nothing is lost.

use std::time::{Duration, Instant};

use shmpipe::{Backend, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};

use crate::ends::{FILLER, LARGE, SHORT, assert_empty_but_alive, drain, fill, open};
use crate::support::{Line, check, fork, on_both_backends, pattern};

on_both_backends! {
    recv_timeout_holds_while_the_sender_is_stopped_inside_a_large_message,
    recv_waits_while_the_sender_is_stopped_inside_a_large_message,
    try_send_does_not_block_while_another_sender_is_stopped_inside_a_large_message,
    send_timeout_holds_while_another_sender_is_stopped_inside_a_large_message,
    try_recv_does_not_block_while_another_receiver_is_stopped_inside_a_large_message,
    recv_timeout_holds_while_another_receiver_is_stopped_inside_a_large_message,
    send_timeout_holds_while_the_receiver_is_stopped,
    a_stopped_sleeping_receiver_does_not_keep_a_message_from_another,
    a_sender_stopped_and_continued_many_times_loses_nothing,
    a_receiver_stopped_and_continued_many_times_loses_nothing,
}

fn recv_timeout_holds_while_the_sender_is_stopped_inside_a_large_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    sender.until_asleep();
    sender.stop();
    for _ in 0..3 {
        let start = Instant::now();
        let outcome = rx.recv_timeout(SHORT);
        let elapsed = start.elapsed();
        assert!(
            matches!(outcome, Err(RecvTimeoutError::Timeout)),
            "{outcome:?}"
        );
        assert!(elapsed >= SHORT, "{elapsed:?} is before {SHORT:?}");
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    }
    sender.cont();
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    sender.join();
    assert_empty_but_alive(&mut rx);
}

fn recv_waits_while_the_sender_is_stopped_inside_a_large_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    sender.until_asleep();
    sender.stop();
    let receiver = fork(|| check(&rx.recv().unwrap(), 1, 0, LARGE));
    receiver.until_asleep();
    sender.cont();
    receiver.join();
    sender.join();
}

fn try_send_does_not_block_while_another_sender_is_stopped_inside_a_large_message(
    backend: Backend,
) {
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    sender.until_asleep();
    sender.stop();
    let outcome = tx.try_send(b"x");
    assert!(matches!(outcome, Err(TrySendError::Full)), "{outcome:?}");
    // With room in the pipe too: the other one is still inside its message.
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    let outcome = tx.try_send(b"x");
    assert!(matches!(outcome, Err(TrySendError::Full)), "{outcome:?}");
    sender.cont();
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    sender.join();
    tx.try_send(b"now there is room").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"now there is room");
}

fn send_timeout_holds_while_another_sender_is_stopped_inside_a_large_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    sender.until_asleep();
    sender.stop();
    for message in [&b"x"[..], &[7; LARGE]] {
        let start = Instant::now();
        let outcome = tx.send_timeout(message, SHORT);
        let elapsed = start.elapsed();
        assert!(
            matches!(outcome, Err(SendTimeoutError::Timeout)),
            "{outcome:?}"
        );
        assert!(elapsed >= SHORT, "{elapsed:?} is before {SHORT:?}");
    }
    sender.cont();
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    sender.join();
    assert_empty_but_alive(&mut rx);
}

fn try_recv_does_not_block_while_another_receiver_is_stopped_inside_a_large_message(
    backend: Backend,
) {
    inside_a_stopped_receivers_message(backend, |rx| {
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    });
}

fn recv_timeout_holds_while_another_receiver_is_stopped_inside_a_large_message(backend: Backend) {
    inside_a_stopped_receivers_message(backend, |rx| {
        let start = Instant::now();
        let outcome = rx.recv_timeout(SHORT);
        let elapsed = start.elapsed();
        assert!(
            matches!(outcome, Err(RecvTimeoutError::Timeout)),
            "{outcome:?}"
        );
        assert!(elapsed >= SHORT, "{elapsed:?} is before {SHORT:?}");
    });
}

/// Runs `meanwhile` while another process is stopped with a part of a large message in its hands;
/// afterwards that one gets the whole of it, and this one the next.
fn inside_a_stopped_receivers_message(backend: Backend, meanwhile: fn(&mut shmpipe::Receiver)) {
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| {
        tx.send(&pattern(1, 0, LARGE)).unwrap();
        tx.send(&pattern(1, 1, FILLER)).unwrap();
    });
    sender.until_asleep();
    sender.stop(); // so that the other receiver takes a fragment and then sleeps
    let receiver = fork(|| check(&rx.recv().unwrap(), 1, 0, LARGE));
    receiver.until_asleep();
    receiver.stop();
    meanwhile(&mut rx);
    sender.cont();
    sender.until_asleep(); // the pipe is full again
    meanwhile(&mut rx);
    receiver.cont();
    receiver.join();
    check(&rx.recv().unwrap(), 1, 1, FILLER);
    sender.join();
}

fn send_timeout_holds_while_the_receiver_is_stopped(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let go = Line::new();
    let receiver = fork(|| {
        let held = go.take();
        drain(&mut rx, 1, 0..held, FILLER);
        assert_eq!(&*rx.recv().unwrap(), b"after the stop");
    });
    let held = fill(&mut tx, 1);
    receiver.stop();
    go.put(held);
    let start = Instant::now();
    let outcome = tx.send_timeout(&[7; FILLER], SHORT);
    let elapsed = start.elapsed();
    assert!(
        matches!(outcome, Err(SendTimeoutError::Timeout)),
        "{outcome:?}"
    );
    assert!(elapsed >= SHORT, "{elapsed:?} is before {SHORT:?}");
    assert!(matches!(tx.try_send(&[7; FILLER]), Err(TrySendError::Full)));
    receiver.cont();
    tx.send_timeout(b"after the stop", Duration::from_secs(3600))
        .unwrap();
    receiver.join();
}

fn a_stopped_sleeping_receiver_does_not_keep_a_message_from_another(backend: Backend) {
    for stopped in [0, 1] {
        let (mut rx, mut tx) = open(backend);
        let received = Line::new();
        let start = |_| {
            fork(|| {
                check(&rx.recv().unwrap(), 1, 0, FILLER);
                received.signal();
            })
        };
        let mut receivers: Vec<_> = [0, 1].map(start).into();
        receivers
            .iter()
            .for_each(|receiver| receiver.until_asleep());
        let stopped = receivers.remove(stopped);
        stopped.stop();
        tx.send(&pattern(1, 0, FILLER)).unwrap();
        received.wait();
        tx.send(&pattern(1, 0, FILLER)).unwrap();
        stopped.cont();
        received.wait();
        stopped.join();
        receivers.into_iter().for_each(|receiver| receiver.join());
    }
}

/// Small and large, so that stops fall into every state.
fn size(number: u64) -> usize {
    if number % 10 == 0 { LARGE } else { FILLER }
}

fn a_sender_stopped_and_continued_many_times_loses_nothing(backend: Backend) {
    const MESSAGES: u64 = 500;
    let (mut rx, mut tx) = open(backend);
    let over = Line::new();
    let sender = fork(|| {
        (0..MESSAGES).for_each(|number| tx.send(&pattern(1, number, size(number))).unwrap());
        over.wait(); // alive, so that it can still be stopped
    });
    for number in 0..MESSAGES {
        if number % 5 != 0 {
            check(&rx.recv().unwrap(), 1, number, size(number));
            continue;
        }
        sender.stop();
        // What is in the pipe is received now, what the sender is in the middle of later.
        let message = match rx.recv_timeout(Duration::from_millis(1)) {
            Ok(message) => Some(message.into_vec()),
            Err(RecvTimeoutError::Timeout) => None,
            Err(error) => panic!("message {number}: {error}"),
        };
        sender.cont();
        let message = message.unwrap_or_else(|| rx.recv().unwrap().into_vec());
        check(&message, 1, number, size(number));
    }
    over.signal();
    sender.join();
    assert_empty_but_alive(&mut rx);
}

fn a_receiver_stopped_and_continued_many_times_loses_nothing(backend: Backend) {
    const MESSAGES: u64 = 500;
    let (mut rx, mut tx) = open(backend);
    let over = Line::new();
    let receiver = fork(|| {
        for number in 0..MESSAGES {
            check(&rx.recv().unwrap(), 1, number, size(number));
        }
        assert_empty_but_alive(&mut rx);
        over.wait(); // alive, so that it can still be stopped
    });
    for number in 0..MESSAGES {
        if number % 5 == 0 {
            receiver.stop();
            receiver.cont();
        }
        tx.send(&pattern(1, number, size(number))).unwrap();
    }
    over.signal();
    receiver.join();
}
