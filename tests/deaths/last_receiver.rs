//! A receiver dies: with a copy alive nothing stands still, and with none every sender learns of it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use shmpipe::{Backend, Message, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender};

use crate::ends::{CAPACITY, FILLER, LARGE, assert_broken, assert_empty_but_alive, fill, open};
use crate::support::Random;
use crate::support::{
    Child, Line, check, fork, fork_apart, identify, long, on_both_backends, pattern,
    shared_counter, until_asleep,
};

on_both_backends! {
    a_receiver_that_waits_for_its_turn_goes_on_after_the_one_before_it_was_killed,
    a_stopped_receiver_killed_inside_a_large_message_lets_the_one_that_waits_go_on,
    a_hundred_blocked_senders_are_all_disconnected_when_the_last_receiver_is_killed within 120,
    senders_that_wait_in_different_ways_are_all_disconnected,
    a_sender_at_any_moment_is_disconnected_when_the_last_receiver_is_killed within 120,
}

/// One receiver sleeps inside a large message, for whose sender it has to wait; the others wait for
/// their turn. The rest of that message is gone with the dead, which one of them is told, and what follows is theirs.
fn a_receiver_that_waits_for_its_turn_goes_on_after_the_one_before_it_was_killed(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| {
        tx.send(&pattern(1, 0, LARGE)).unwrap();
        (1..3).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
    });
    sender.until_asleep();
    sender.stop(); // so that the victim takes a fragment and then sleeps
    let victim = fork(|| drop(rx.recv()));
    victim.until_asleep();
    let (received, reports) = (Line::new(), shared_counter());
    let others = [0, 1].map(|_| {
        fork(|| {
            let message = match rx.recv().map(Message::into_vec) {
                Err(RecvError::Aborted) => {
                    reports.fetch_add(1, Ordering::Relaxed);
                    rx.recv().unwrap().into_vec()
                }
                outcome => outcome.unwrap(),
            };
            let (_, number) = identify(&message);
            check(&message, 1, number, FILLER);
            received.put(number);
        })
    });
    others.iter().for_each(Child::until_asleep);
    victim.kill();
    sender.cont();
    let mut numbers = [received.take(), received.take()];
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    others.into_iter().for_each(Child::join);
    assert_eq!(reports.load(Ordering::Relaxed), 1);
    sender.join();
    assert_empty_but_alive(&mut rx);
}

/// The holder of a large message's parts has let go of the lock, since its time-out ended, and is
/// killed while it is stopped.
fn a_stopped_receiver_killed_inside_a_large_message_lets_the_one_that_waits_go_on(
    backend: Backend,
) {
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| {
        tx.send(&pattern(1, 0, LARGE)).unwrap();
        tx.send(&pattern(1, 1, FILLER)).unwrap();
    });
    sender.until_asleep();
    sender.stop();
    let holds = Line::new();
    let victim = fork(|| {
        let outcome = rx.recv_timeout(Duration::from_millis(1)).map(|_| ());
        assert!(
            matches!(outcome, Err(RecvTimeoutError::Timeout)),
            "{outcome:?}"
        );
        holds.signal();
        Line::new().wait();
    });
    holds.wait();
    victim.stop();
    let other = fork(|| {
        assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
        check(&rx.recv().unwrap(), 1, 1, FILLER);
    });
    sender.cont();
    // The pipe is full again, and only the dead one's successor may empty it.
    sender.until_asleep();
    victim.kill();
    other.join();
    sender.join();
    assert_empty_but_alive(&mut rx);
}

fn a_hundred_blocked_senders_are_all_disconnected_when_the_last_receiver_is_killed(
    backend: Backend,
) {
    let (rx, mut tx) = open(backend);
    let victim = fork(|| Line::new().wait());
    fill(&mut tx, 0);
    let mut rx = Some(rx);
    let send = |sender: u16| {
        let work = || {
            drop(rx.take());
            let outcome = tx.send(&pattern(sender, 0, FILLER));
            assert!(
                matches!(outcome, Err(SendError::Disconnected)),
                "{outcome:?}"
            );
        };
        fork(work)
    };
    let senders: Vec<_> = (1..=100).map(send).collect();
    drop(rx.take());
    let threads: Vec<_> = senders
        .iter()
        .map(|child| (child.pid(), child.pid()))
        .collect();
    until_asleep(&threads);
    victim.kill();
    senders.into_iter().for_each(Child::join);
    assert_broken(&mut tx);
}

/// Each way to wait for room, in a process of its own on one end.
fn senders_that_wait_in_different_ways_are_all_disconnected(backend: Backend) {
    const LONG: Duration = Duration::from_secs(3600);
    const WAYS: [fn(&mut Sender); 4] = [
        |tx| {
            assert!(matches!(
                tx.send(&[7; FILLER]),
                Err(SendError::Disconnected)
            ))
        },
        |tx| assert!(matches!(tx.send(&[7; LARGE]), Err(SendError::Disconnected))),
        |tx| {
            let outcome = tx.send_timeout(&[7; FILLER], LONG);
            assert!(
                matches!(outcome, Err(SendTimeoutError::Disconnected)),
                "{outcome:?}"
            );
        },
        |tx| {
            let outcome = tx.send_timeout(&[7; LARGE], LONG);
            assert!(
                matches!(outcome, Err(SendTimeoutError::Disconnected)),
                "{outcome:?}"
            );
        },
    ];
    let (mut rx, mut tx) = open(backend);
    fill(&mut tx, 1);
    let mut senders = Vec::new();
    for way in WAYS.iter().cycle().take(4 * WAYS.len()) {
        let (child, back) = fork_apart(rx, || {
            way(&mut tx);
            assert_broken(&mut tx);
        });
        senders.push(child);
        rx = back;
    }
    let victim = fork(|| Line::new().wait());
    drop(rx);
    senders.iter().for_each(Child::until_asleep);
    victim.kill();
    senders.into_iter().for_each(Child::join);
}

/// The receiver is killed while both are busy; all that it noted was in order.
fn a_sender_at_any_moment_is_disconnected_when_the_last_receiver_is_killed(backend: Backend) {
    let rounds = if long() { 10_000 } else { 300 };
    let mut random = Random::new(13);
    let size = |number: u64| match number % 20 {
        7 => CAPACITY + 1,
        step => 8 + 70 * usize::try_from(step).unwrap(),
    };
    let received = shared_counter();
    for _ in 0..rounds {
        let (mut rx, mut tx) = open(backend);
        received.store(0, Ordering::Relaxed);
        let victim = fork(|| {
            for number in 0.. {
                check(&rx.recv().unwrap(), 1, number, size(number));
                received.store(number + 1, Ordering::Release);
            }
        });
        let (sender, rx) = fork_apart(rx, || {
            let outcome = (0..).try_for_each(|number| tx.send(&pattern(1, number, size(number))));
            assert!(
                matches!(outcome, Err(SendError::Disconnected)),
                "{outcome:?}"
            );
            assert_broken(&mut tx);
        });
        drop((rx, tx));
        let before = random.below_u64(100);
        while received.load(Ordering::Acquire) < before {
            std::thread::yield_now();
        }
        victim.kill();
        sender.join();
    }
}
