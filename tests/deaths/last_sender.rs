//! The last sender dies: exactly what it had sent comes, and then the end, to everybody who waits,
//! in whatever phase of waiting.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use shmpipe::{Backend, Receiver, RecvError, RecvTimeoutError, TryRecvError};

use crate::ends::{FILLER, assert_at_end, drain, fill, open};
use crate::support::Random;
use crate::support::{
    Child, Line, check, fork, fork_apart, long, on_both_backends, pattern, shared_counter,
};

on_both_backends! {
    exactly_what_was_queued_and_then_the_end_comes_for_every_number_of_messages,
    exactly_what_was_sent_and_then_the_end_comes_to_a_receiver_that_is_busy within 120,
    a_receiver_in_any_phase_of_its_wait_gets_the_end within 120,
    a_hundred_receivers_that_are_still_falling_asleep_all_get_the_end within 120,
    receivers_that_wait_in_different_ways_all_get_the_end,
}

fn exactly_what_was_queued_and_then_the_end_comes_for_every_number_of_messages(backend: Backend) {
    let (_rx, mut tx) = open(backend);
    let most = fill(&mut tx, 1);
    for messages in 0..=most {
        let (mut rx, mut tx) = open(backend);
        let sent = Line::new();
        let victim = fork(|| {
            (0..messages).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
            sent.signal();
            Line::new().wait();
        });
        drop(tx);
        sent.wait();
        victim.kill();
        drain(&mut rx, 1, 0..messages, FILLER);
        assert!(
            matches!(rx.recv(), Err(RecvError::Disconnected)),
            "after {messages}"
        );
    }
}

/// The receiver keeps up with the sender when that is killed, and gets every message whose send
/// returned, and of the others at most the one that was under way.
fn exactly_what_was_sent_and_then_the_end_comes_to_a_receiver_that_is_busy(backend: Backend) {
    let rounds = if long() { 20_000 } else { 500 };
    let mut random = Random::new(3);
    let (begun, returned) = (shared_counter(), shared_counter());
    let size = |number: u64| 8 + usize::try_from(number * 37 % 1500).unwrap();
    for round in 0..rounds {
        let (mut rx, mut tx) = open(backend);
        begun.store(0, Ordering::Relaxed);
        returned.store(0, Ordering::Relaxed);
        let victim = fork(|| {
            for number in 0.. {
                begun.store(number + 1, Ordering::Release);
                tx.send(&pattern(1, number, size(number))).unwrap();
                returned.store(number + 1, Ordering::Release);
            }
        });
        drop(tx);
        let before = random.below_u64(100);
        for number in 0..before {
            check(&rx.recv().unwrap(), 1, number, size(number));
        }
        victim.kill();
        let mut number = before;
        loop {
            match rx.recv() {
                Ok(message) => check(&message, 1, number, size(number)),
                Err(RecvError::Disconnected) => break,
                Err(error) => panic!("round {round}, after {number} messages: {error}"),
            }
            number += 1;
        }
        let (least, most) = (
            returned.load(Ordering::Acquire),
            begun.load(Ordering::Acquire),
        );
        assert!(
            (least..=most).contains(&number),
            "{number} came of {least} to {most} in {round}"
        );
    }
}

/// A wait spins for up to 50 µs and then sleeps in poll(2); the kill comes anywhere within the first
/// millisecond.
fn a_receiver_in_any_phase_of_its_wait_gets_the_end(backend: Backend) {
    let rounds = if long() { 20_000 } else { 500 };
    let mut random = Random::new(5);
    let waits = shared_counter();
    for _ in 0..rounds {
        let (mut rx, mut tx) = open(backend);
        waits.store(0, Ordering::Relaxed);
        let victim = fork(|| {
            // So that the receiver knows of a sender on another processor, for which it spins.
            (0..20).for_each(|number| tx.send(&pattern(1, number, 8)).unwrap());
            Line::new().wait();
        });
        let (receiver, tx) = fork_apart(tx, || {
            drain(&mut rx, 1, 0..20, 8);
            waits.store(1, Ordering::Release);
            assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
            assert!(matches!(rx.try_recv(), Err(TryRecvError::Disconnected)));
        });
        drop((tx, rx));
        spin_until(|| waits.load(Ordering::Acquire) == 1);
        let delay = Duration::from_micros(random.below_u64(1000));
        let since = Instant::now();
        spin_until(|| since.elapsed() >= delay);
        victim.kill();
        receiver.join();
    }
}

/// Waits without sleeping, for a moment that a sleep would miss.
fn spin_until(is_there: impl Fn() -> bool) {
    while !is_there() {
        std::hint::spin_loop();
    }
}

fn a_hundred_receivers_that_are_still_falling_asleep_all_get_the_end(backend: Backend) {
    const RECEIVERS: u64 = 100;
    let rounds = if long() { 100 } else { 5 };
    let mut random = Random::new(9);
    for _ in 0..rounds {
        let (mut rx, tx) = open(backend);
        let mut tx = Some(tx);
        let (ready, go) = (Line::new(), Line::new());
        let victim = fork(|| {
            let _held = tx.take();
            Line::new().wait();
        });
        let start = |_| {
            let wait = || {
                drop(tx.take());
                ready.signal();
                go.wait();
                assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
            };
            fork(wait)
        };
        let receivers: Vec<_> = (0..RECEIVERS).map(start).collect();
        drop(tx.take());
        (0..RECEIVERS).for_each(|_| ready.wait());
        (0..RECEIVERS).for_each(|_| go.signal());
        // Chooses a moment; nothing depends on how long it is.
        std::thread::sleep(Duration::from_micros(random.below_u64(5000)));
        victim.kill();
        receivers.into_iter().for_each(Child::join);
    }
}

/// Each way to wait for a message, in a process of its own on one end.
fn receivers_that_wait_in_different_ways_all_get_the_end(backend: Backend) {
    const LONG: Duration = Duration::from_secs(3600);
    const WAYS: [fn(&mut Receiver); 5] = [
        |rx| assert!(matches!(rx.recv(), Err(RecvError::Disconnected))),
        |rx| {
            assert!(matches!(
                rx.recv_timeout(LONG),
                Err(RecvTimeoutError::Disconnected)
            ))
        },
        |rx| {
            assert!(matches!(
                rx.recv_into(&mut [0]),
                Err(RecvError::Disconnected)
            ))
        },
        |rx| assert!(rx.poll(None).unwrap()),
        |rx| assert_eq!(rx.messages().count(), 0),
    ];
    let (mut rx, mut tx) = open(backend);
    let mut receivers = Vec::new();
    for way in WAYS.iter().cycle().take(4 * WAYS.len()) {
        let (child, back) = fork_apart(tx, || {
            way(&mut rx);
            assert_at_end(&mut rx);
        });
        receivers.push(child);
        tx = back;
    }
    let victim = fork(|| Line::new().wait());
    drop(tx);
    receivers.iter().for_each(Child::until_asleep);
    victim.kill();
    receivers.into_iter().for_each(Child::join);
}
