//! Broken pipe: a send fails when no receiver is left, and a blocked one is released.

use std::thread::sleep;
use std::time::Duration;

use shmpipe::{Backend, SendError};

use crate::ends::{FILLER, LARGE, assert_at_end, assert_breaks, assert_broken, drain, fill, open};
use crate::support::{Line, fork, fork_apart, on_both_backends, pattern};

on_both_backends! {
    send_without_a_receiver_is_disconnected_for_an_empty_message_too,
    send_without_a_receiver_raises_no_signal,
    a_receiver_killed_asleep_raises_no_signal_in_the_sender,
    a_sender_killed_asleep_raises_no_signal_in_the_receiver,
    the_first_send_a_while_after_the_last_receiver_died_is_disconnected,
    send_after_the_last_receiver_was_killed_is_disconnected,
    blocked_send_is_disconnected_when_the_last_receiver_drops,
    blocked_send_is_disconnected_when_the_last_receiver_is_killed,
    blocked_send_is_disconnected_when_the_last_receiver_exits,
    every_blocked_sender_is_disconnected_when_the_last_receiver_is_killed,
    send_inside_a_large_message_is_disconnected_when_the_last_receiver_is_killed,
    blocked_send_waits_on_while_a_copy_of_the_receiver_lives,
    messages_left_unread_by_the_last_receiver_do_not_delay_the_broken_pipe,
}

fn send_without_a_receiver_is_disconnected_for_an_empty_message_too(backend: Backend) {
    let (rx, mut tx) = open(backend);
    drop(rx);
    assert_broken(&mut tx);
}

/// SIGPIPE has its default in a test's process (see `support::isolate`): it would kill the child.
fn send_without_a_receiver_raises_no_signal(backend: Backend) {
    let child = fork(|| {
        let (rx, mut tx) = open(backend);
        tx.send(b"received by nobody").unwrap();
        drop(rx);
        assert_broken(&mut tx);
    });
    child.join();
}

fn a_receiver_killed_asleep_raises_no_signal_in_the_sender(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let (receiver, mut tx) = fork_apart(tx, move || assert!(rx.recv().is_err()));
    receiver.until_asleep();
    receiver.kill();
    // It has left word that it sleeps, so the sender may try to wake it.
    fork(|| assert_breaks(&mut tx)).join();
}

fn a_sender_killed_asleep_raises_no_signal_in_the_receiver(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let held = fill(&mut tx, 1);
    let (sender, mut rx) = fork_apart(rx, move || {
        let outcome = tx.send(&pattern(1, held, FILLER));
        panic!("a full pipe took a message: {outcome:?}");
    });
    sender.until_asleep();
    sender.kill();
    let receiver = fork(|| {
        drain(&mut rx, 1, 0..held, FILLER);
        assert_at_end(&mut rx);
    });
    receiver.join();
}

/// However many messages it took, and however far apart they came.
fn the_first_send_a_while_after_the_last_receiver_died_is_disconnected(backend: Backend) {
    // Longer than the time for which a death may go unnoticed.
    let a_while = Duration::from_millis(2);
    for taken in [0, 1, 2, 3, 8, 20] {
        let (mut rx, tx) = open(backend);
        let got_one = Line::new();
        let (receiver, mut tx) = fork_apart(tx, || {
            for _ in 0..taken {
                rx.recv().unwrap();
                got_one.signal();
            }
            // Not dropped: nothing is announced.
            std::mem::forget(rx);
        });
        for _ in 0..taken {
            sleep(a_while);
            tx.send(b"taken").unwrap();
            got_one.wait();
        }
        receiver.join();
        sleep(a_while);
        let outcome = tx.send(b"for nobody");
        assert!(
            matches!(outcome, Err(SendError::Disconnected)),
            "{outcome:?} after {taken} messages"
        );
    }
}

fn send_after_the_last_receiver_was_killed_is_disconnected(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let never = Line::new();
    let child = fork(|| never.wait());
    drop(rx);
    tx.send(b"a copy of the receiver lives").unwrap();
    child.kill();
    assert_breaks(&mut tx);
}

/// A sender sleeps on a full pipe while the only receiver, in a process of its own, leaves.
fn blocked_send_is_released(backend: Backend, ends: fn(crate::support::Child, &Line)) {
    let (rx, mut tx) = open(backend);
    let go = Line::new();
    let (sender, rx) = fork_apart(rx, || {
        let held = fill(&mut tx, 1);
        let outcome = tx.send(&pattern(1, held, FILLER));
        assert!(
            matches!(outcome, Err(SendError::Disconnected)),
            "{outcome:?}"
        );
        assert_broken(&mut tx);
    });
    let (receiver, tx) = fork_apart(tx, || {
        let held = rx;
        go.wait();
        std::mem::forget(held); // the process's end is to close it
    });
    drop(tx);
    sender.until_asleep();
    ends(receiver, &go);
    sender.join();
}

fn blocked_send_is_disconnected_when_the_last_receiver_drops(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let (sender, rx) = fork_apart(rx, || {
        let held = fill(&mut tx, 1);
        let outcome = tx.send(&pattern(1, held, FILLER));
        assert!(
            matches!(outcome, Err(SendError::Disconnected)),
            "{outcome:?}"
        );
        assert_broken(&mut tx);
    });
    sender.until_asleep();
    drop(rx);
    sender.join();
}

fn blocked_send_is_disconnected_when_the_last_receiver_is_killed(backend: Backend) {
    blocked_send_is_released(backend, |receiver, _go| receiver.kill());
}

fn blocked_send_is_disconnected_when_the_last_receiver_exits(backend: Backend) {
    blocked_send_is_released(backend, |receiver, go| {
        go.signal();
        receiver.join();
    });
}

fn every_blocked_sender_is_disconnected_when_the_last_receiver_is_killed(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let never = Line::new();
    let receiver = fork(|| never.wait());
    let held = fill(&mut tx, 0);
    drop(rx);
    let send = |sender: u16| {
        fork(|| {
            let outcome = tx.try_clone().unwrap().send(&pattern(sender, held, FILLER));
            assert!(
                matches!(outcome, Err(SendError::Disconnected)),
                "{outcome:?}"
            );
        })
    };
    let senders: Vec<_> = (1..=5).map(send).collect();
    senders.iter().for_each(|sender| sender.until_asleep());
    receiver.kill();
    senders.into_iter().for_each(|sender| sender.join());
}

fn send_inside_a_large_message_is_disconnected_when_the_last_receiver_is_killed(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let never = Line::new();
    let receiver = fork(|| never.wait());
    let (sender, rx) = fork_apart(rx, || {
        let outcome = tx.send(&pattern(1, 0, LARGE));
        assert!(
            matches!(outcome, Err(SendError::Disconnected)),
            "{outcome:?}"
        );
        assert_broken(&mut tx);
    });
    drop(rx);
    sender.until_asleep();
    receiver.kill();
    sender.join();
}

fn blocked_send_waits_on_while_a_copy_of_the_receiver_lives(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let mut copy = rx.try_clone().unwrap();
    let held = fill(&mut tx, 1);
    let sender = fork(|| tx.send(&pattern(1, held, FILLER)).unwrap());
    sender.until_asleep();
    drop(rx);
    sender.until_asleep();
    drain(&mut copy, 1, 0..held + 1, FILLER);
    sender.join();
}

fn messages_left_unread_by_the_last_receiver_do_not_delay_the_broken_pipe(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let held = fill(&mut tx, 1);
    drain(&mut rx, 1, 0..held / 4, FILLER);
    drop(rx);
    assert_broken(&mut tx);
}
