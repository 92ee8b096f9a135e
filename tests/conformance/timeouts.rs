//! Time-outs: never before their time, and nothing lost by them.

use std::time::{Duration, Instant};

use shmpipe::{Backend, RecvTimeoutError, SendTimeoutError};

use crate::ends::{FILLER, LARGE, SHORT, assert_at_end, drain, fill, open};
use crate::support::{check, fork, fork_apart, on_both_backends, pattern};

on_both_backends! {
    recv_timeout_ends_not_before_its_time,
    recv_timeout_of_a_message_that_is_there_receives_it,
    recv_timeout_receives_a_message_that_comes_in_time,
    recv_timeout_of_zero_receives_what_is_there_and_waits_for_nothing,
    recv_timeout_beyond_the_clock_waits_as_recv_does,
    recv_timeout_reports_the_end_when_the_last_sender_is_killed,
    send_timeout_ends_not_before_its_time_and_sends_nothing,
    send_timeout_of_a_large_message_ends_not_before_its_time,
    send_timeout_goes_on_when_room_comes_in_time,
    send_timeout_of_zero_sends_where_there_is_room_and_waits_for_none,
    send_timeout_beyond_the_clock_waits_as_send_does,
    many_short_timeouts_lose_nothing,
}

fn recv_timeout_ends_not_before_its_time(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for timeout in [1, 7, 50, 200].map(Duration::from_millis) {
        let start = Instant::now();
        let outcome = rx.recv_timeout(timeout);
        let elapsed = start.elapsed();
        assert!(
            matches!(outcome, Err(RecvTimeoutError::Timeout)),
            "{outcome:?}"
        );
        assert!(elapsed >= timeout, "{elapsed:?} is before {timeout:?}");
    }
    tx.send(b"afterwards").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"afterwards");
}

fn recv_timeout_of_a_message_that_is_there_receives_it(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    check(
        &rx.recv_timeout(Duration::from_secs(3600)).unwrap(),
        1,
        0,
        FILLER,
    );
}

fn recv_timeout_receives_a_message_that_comes_in_time(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = fork(move || {
        check(
            &rx.recv_timeout(Duration::from_secs(3600)).unwrap(),
            1,
            0,
            FILLER,
        );
    });
    child.until_asleep();
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    child.join();
}

fn recv_timeout_of_zero_receives_what_is_there_and_waits_for_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let outcome = rx.recv_timeout(Duration::ZERO);
    assert!(
        matches!(outcome, Err(RecvTimeoutError::Timeout)),
        "{outcome:?}"
    );
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    check(&rx.recv_timeout(Duration::ZERO).unwrap(), 1, 0, FILLER);
}

fn recv_timeout_beyond_the_clock_waits_as_recv_does(backend: Backend) {
    for timeout in [
        Duration::MAX,
        Duration::from_secs(u64::MAX / 2),
        Duration::from_secs(1 << 40),
    ] {
        let (mut rx, mut tx) = open(backend);
        let child = fork(|| check(&rx.recv_timeout(timeout).unwrap(), 1, 0, FILLER));
        child.until_asleep();
        tx.send(&pattern(1, 0, FILLER)).unwrap();
        child.join();
    }
}

fn recv_timeout_reports_the_end_when_the_last_sender_is_killed(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let (receiver, tx) = fork_apart(tx, || {
        let outcome = rx.recv_timeout(Duration::from_secs(3600));
        assert!(
            matches!(outcome, Err(RecvTimeoutError::Disconnected)),
            "{outcome:?}"
        );
        assert_at_end(&mut rx);
    });
    let never = crate::support::Line::new();
    let sender = fork(move || {
        let _held = tx;
        never.wait();
    });
    receiver.until_asleep();
    sender.kill();
    receiver.join();
}

fn send_timeout_ends_not_before_its_time_and_sends_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let held = fill(&mut tx, 1);
    for timeout in [1, 7, 50, 200].map(Duration::from_millis) {
        let start = Instant::now();
        let outcome = tx.send_timeout(&pattern(2, 0, FILLER), timeout);
        let elapsed = start.elapsed();
        assert!(
            matches!(outcome, Err(SendTimeoutError::Timeout)),
            "{outcome:?}"
        );
        assert!(elapsed >= timeout, "{elapsed:?} is before {timeout:?}");
    }
    drop(tx);
    drain(&mut rx, 1, 0..held, FILLER);
    assert_at_end(&mut rx);
}

fn send_timeout_of_a_large_message_ends_not_before_its_time(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let start = Instant::now();
    let outcome = tx.send_timeout(&pattern(1, 0, LARGE), SHORT);
    let elapsed = start.elapsed();
    assert!(
        matches!(outcome, Err(SendTimeoutError::Timeout)),
        "{outcome:?}"
    );
    assert!(elapsed >= SHORT, "{elapsed:?} is before {SHORT:?}");
    // What the sending took back is not received, nor reported.
    let child = fork(move || tx.send(b"the next message").unwrap());
    assert_eq!(&*rx.recv().unwrap(), b"the next message");
    child.join();
    assert_at_end(&mut rx);
}

fn send_timeout_goes_on_when_room_comes_in_time(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let held = fill(&mut tx, 1);
    let child = fork(|| {
        tx.send_timeout(&pattern(1, held, FILLER), Duration::from_secs(3600))
            .unwrap();
    });
    child.until_asleep();
    drain(&mut rx, 1, 0..held + 1, FILLER);
    child.join();
}

fn send_timeout_of_zero_sends_where_there_is_room_and_waits_for_none(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send_timeout(&pattern(1, 0, FILLER), Duration::ZERO)
        .unwrap();
    drain(&mut rx, 1, 0..1, FILLER);
    let held = fill(&mut tx, 1);
    let outcome = tx.send_timeout(&pattern(2, 0, FILLER), Duration::ZERO);
    assert!(
        matches!(outcome, Err(SendTimeoutError::Timeout)),
        "{outcome:?}"
    );
    drain(&mut rx, 1, 0..held, FILLER);
}

fn send_timeout_beyond_the_clock_waits_as_send_does(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let held = fill(&mut tx, 1);
    let child = fork(|| {
        tx.send_timeout(&pattern(1, held, FILLER), Duration::MAX)
            .unwrap()
    });
    child.until_asleep();
    drain(&mut rx, 1, 0..held + 1, FILLER);
    child.join();
}

fn many_short_timeouts_lose_nothing(backend: Backend) {
    const MESSAGES: u64 = 300;
    let tiny = Duration::from_micros(300);
    let (mut rx, mut tx) = open(backend);
    let size = |number: u64| {
        if number % 50 == 0 { LARGE } else { FILLER }
    };
    let child = fork(|| {
        for number in 0..MESSAGES {
            let message = pattern(1, number, size(number));
            if message.len() == LARGE {
                tx.send(&message).unwrap(); // may need more time than any one try has
                continue;
            }
            while let Err(error) = tx.send_timeout(&message, tiny) {
                assert!(matches!(error, SendTimeoutError::Timeout), "{error}");
            }
        }
    });
    for number in 0..MESSAGES {
        loop {
            match rx.recv_timeout(tiny) {
                Ok(message) => break check(&message, 1, number, size(number)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(error) => panic!("message {number}: {error}"),
            }
        }
    }
    child.join();
}
