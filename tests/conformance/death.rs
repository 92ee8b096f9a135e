//! Death in the middle: whoever dies at whatever moment, the others get whole messages, once, and
//! never hang.

use std::io::{ErrorKind, Read};

use shmpipe::{Backend, RecvError, TryRecvError};

use crate::ends::{
    CAPACITY, FILLER, LARGE, assert_at_end, assert_empty_but_alive, drain, fill, open,
};
use crate::support::{Line, check, fork, fork_apart, identify, long, on_both_backends, pattern};

on_both_backends! {
    a_sender_killed_inside_a_large_message_is_reported_once_and_then_the_others_go_on,
    a_sender_killed_inside_a_large_message_that_was_received_in_part_is_reported_once,
    a_sender_that_waits_for_its_turn_goes_on_after_the_one_before_it_was_killed,
    the_last_sender_killed_inside_a_large_message_is_reported_once_and_then_the_end,
    a_receiver_asleep_inside_a_large_message_learns_of_its_senders_death,
    a_receiver_learns_of_a_death_inside_a_message_although_the_other_senders_are_idle,
    the_room_that_a_dead_senders_message_took_is_free_again,
    a_receiver_killed_inside_a_large_message_leaves_the_next_messages_whole,
    a_sender_killed_while_it_waits_for_room_leaves_the_room_to_the_other,
    a_sender_killed_at_any_moment_leaves_whole_messages_in_order_and_the_end within 120,
    a_sender_killed_at_any_moment_does_not_disturb_another within 120,
    a_read_reports_a_dead_senders_message_after_the_bytes_before_it,
    nothing_remains_in_dev_shm_after_a_death,
}

fn a_sender_killed_inside_a_large_message_is_reported_once_and_then_the_others_go_on(
    backend: Backend,
) {
    let (mut rx, mut tx) = open(backend);
    let victim = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    victim.until_asleep();
    victim.kill();
    let other = fork(|| {
        tx.send(b"first").unwrap();
        tx.send(&pattern(2, 0, LARGE)).unwrap();
    });
    assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
    assert_eq!(&*rx.recv().unwrap(), b"first");
    check(&rx.recv().unwrap(), 2, 0, LARGE);
    assert_empty_but_alive(&mut rx);
    other.join();
}

fn a_sender_killed_inside_a_large_message_that_was_received_in_part_is_reported_once(
    backend: Backend,
) {
    let (mut rx, mut tx) = open(backend);
    let victim = fork(|| tx.send(&pattern(1, 0, 3 * LARGE)).unwrap());
    for _ in 0..2 {
        assert!(rx.poll(None).unwrap());
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        victim.until_asleep();
    }
    victim.kill();
    let other = fork(|| tx.send(b"the next message").unwrap());
    assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
    assert_eq!(&*rx.recv().unwrap(), b"the next message");
    assert_empty_but_alive(&mut rx);
    other.join();
}

fn a_sender_that_waits_for_its_turn_goes_on_after_the_one_before_it_was_killed(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let victim = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    victim.until_asleep();
    let others = [2, 3].map(|sender| fork(|| tx.send(&pattern(sender, 0, LARGE)).unwrap()));
    others.iter().for_each(|other| other.until_asleep());
    victim.kill();
    assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
    let mut senders = [0, 0].map(|_: u16| {
        let message = rx.recv().unwrap();
        let (sender, number) = identify(&message);
        check(&message, sender, number, LARGE);
        sender
    });
    senders.sort_unstable();
    assert_eq!(senders, [2, 3]);
    assert_empty_but_alive(&mut rx);
    others.into_iter().for_each(|other| other.join());
}

fn the_last_sender_killed_inside_a_large_message_is_reported_once_and_then_the_end(
    backend: Backend,
) {
    let (mut rx, mut tx) = open(backend);
    let victim = fork(move || {
        tx.send(&pattern(1, 0, FILLER)).unwrap();
        tx.send(&pattern(1, 1, LARGE)).unwrap();
    });
    victim.until_asleep();
    victim.kill();
    drain(&mut rx, 1, 0..1, FILLER);
    assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
    assert_at_end(&mut rx);
}

fn a_receiver_asleep_inside_a_large_message_learns_of_its_senders_death(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let mut theirs = tx.try_clone().unwrap();
    let victim = fork(move || theirs.send(&pattern(1, 0, LARGE)).unwrap());
    victim.until_asleep();
    victim.stop(); // so that the receiver takes a fragment and then sleeps
    let (receiver, tx) = fork_apart(tx, || {
        assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
        assert_at_end(&mut rx);
    });
    drop(tx);
    receiver.until_asleep();
    victim.kill();
    receiver.join();
}

fn a_receiver_learns_of_a_death_inside_a_message_although_the_other_senders_are_idle(
    backend: Backend,
) {
    let (mut rx, mut tx) = open(backend);
    let victim = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    victim.until_asleep();
    victim.kill();
    assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
    assert_empty_but_alive(&mut rx);
    tx.send(b"not idle any more").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"not idle any more");
}

fn the_room_that_a_dead_senders_message_took_is_free_again(backend: Backend) {
    const ROUNDS: u64 = 20;
    let (mut rx, mut tx) = open(backend);
    for round in 0..ROUNDS {
        let victim = fork(|| tx.send(&pattern(1, round, LARGE)).unwrap());
        victim.until_asleep();
        victim.kill();
        let other = fork(|| tx.send(&pattern(3, round, FILLER)).unwrap());
        assert!(
            matches!(rx.recv(), Err(RecvError::Aborted)),
            "round {round}"
        );
        check(&rx.recv().unwrap(), 3, round, FILLER);
        other.join();
        let held = fill(&mut tx, 2);
        drain(&mut rx, 2, 0..held, FILLER);
    }
    assert_empty_but_alive(&mut rx);
}

fn a_receiver_killed_inside_a_large_message_leaves_the_next_messages_whole(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| {
        tx.send(&pattern(1, 0, 2 * LARGE)).unwrap();
        (1..4).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
        tx.send(&pattern(1, 4, LARGE)).unwrap();
    });
    sender.until_asleep();
    sender.stop(); // so that the victim takes a fragment and then sleeps
    let victim = fork(|| {
        panic!(
            "received {:?} bytes",
            rx.recv().map(|message| message.len())
        )
    });
    victim.until_asleep();
    victim.kill();
    sender.cont();
    // The rest of the first message is gone with the dead, which is reported; what follows is whole.
    assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
    drain(&mut rx, 1, 1..4, FILLER);
    check(&rx.recv().unwrap(), 1, 4, LARGE);
    assert_empty_but_alive(&mut rx);
    sender.join();
}

fn a_sender_killed_while_it_waits_for_room_leaves_the_room_to_the_other(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let held = fill(&mut tx, 1);
    for victim in [0, 1] {
        let mut senders =
            [2, 3].map(|sender| Some(fork(|| tx.send(&pattern(sender, 0, FILLER)).unwrap())));
        senders
            .iter()
            .flatten()
            .for_each(|sender| sender.until_asleep());
        senders[victim].take().unwrap().kill();
        drain(&mut rx, 1, 0..held, FILLER);
        let survivor: u16 = if victim == 0 { 3 } else { 2 };
        check(&rx.recv().unwrap(), survivor, 0, FILLER);
        senders
            .into_iter()
            .flatten()
            .for_each(|sender| sender.join());
        assert_empty_but_alive(&mut rx);
        assert_eq!(fill(&mut tx, 1), held);
    }
}

/// Sizes among which a kill finds the sender in every state.
fn size(number: u64) -> usize {
    let number = usize::try_from(number).unwrap();
    match number % 20 {
        7 => CAPACITY / 2 + number % 11,
        13 => LARGE + number % 11,
        step => 8 + 100 * step,
    }
}

/// Each round kills the sender after a number of messages that goes up and down.
fn a_sender_killed_at_any_moment_leaves_whole_messages_in_order_and_the_end(backend: Backend) {
    let rounds = if long() { 20_000 } else { 600 };
    for round in 0..rounds {
        let (mut rx, mut tx) = open(backend);
        let victim = fork(move || {
            for number in 0.. {
                tx.send(&pattern(1, number, size(number))).unwrap();
            }
        });
        let before = round * 7 % 41;
        let mut number = 0;
        while number < before {
            check(&rx.recv().unwrap(), 1, number, size(number));
            number += 1;
        }
        victim.kill();
        loop {
            match rx.recv() {
                Ok(message) => check(&message, 1, number, size(number)),
                Err(RecvError::Aborted) => {
                    // What PIPE_BUF holds goes into a kernel pipe in one piece (pipe(7)).
                    assert!(size(number) > 4000, "message {number} was cut");
                    break assert_at_end(&mut rx);
                }
                Err(RecvError::Disconnected) => break assert_at_end(&mut rx),
                Err(error) => panic!("after message {number}: {error}"),
            }
            number += 1;
        }
    }
}

fn a_sender_killed_at_any_moment_does_not_disturb_another(backend: Backend) {
    let rounds = if long() { 5000 } else { 200 };
    for round in 0..rounds {
        let (mut rx, mut tx) = open(backend);
        let victim = fork(|| {
            for number in 0.. {
                tx.send(&pattern(0, number, size(number))).unwrap();
            }
        });
        let go_on = Line::new();
        let messages = 40;
        let survivor = fork(|| {
            for number in 0..messages {
                if number == messages / 2 {
                    go_on.wait(); // the second half is sent after the death
                }
                tx.send(&pattern(1, number, size(number))).unwrap();
            }
        });
        drop(tx);
        let mut victim = Some(victim);
        let mut next = [0, 0];
        let mut aborted = 0;
        loop {
            if next[0] > round * 7 % 41 && next[1] >= messages / 2 - 1 {
                if let Some(victim) = victim.take() {
                    victim.kill();
                    go_on.signal();
                }
            }
            match rx.recv() {
                Ok(message) => {
                    let (sender, number) = identify(&message);
                    check(&message, sender, number, size(number));
                    assert_eq!(number, next[usize::from(sender)], "sender {sender}");
                    next[usize::from(sender)] += 1;
                }
                Err(RecvError::Aborted) => aborted += 1,
                Err(RecvError::Disconnected) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(next[1], messages, "the survivor's messages");
        assert!(aborted <= 1, "one death was reported {aborted} times");
        survivor.join();
    }
}

fn a_read_reports_a_dead_senders_message_after_the_bytes_before_it(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let victim = fork(|| {
        tx.send(b"before").unwrap();
        tx.send(&pattern(1, 0, LARGE)).unwrap();
    });
    victim.until_asleep();
    victim.kill();
    let other = fork(move || tx.send(b"after").unwrap());
    let mut buf = [0; 100];
    assert_eq!(rx.read(&mut buf).unwrap(), 6);
    assert_eq!(&buf[..6], b"before");
    assert_eq!(
        rx.read(&mut buf).unwrap_err().kind(),
        ErrorKind::InvalidData
    );
    assert_eq!(rx.read(&mut buf).unwrap(), 5);
    assert_eq!(&buf[..5], b"after");
    assert_eq!(rx.read(&mut buf).unwrap(), 0);
    other.join();
}

fn nothing_remains_in_dev_shm_after_a_death(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let victim = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    victim.until_asleep();
    victim.kill();
    let entries = std::fs::read_dir("/dev/shm")
        .into_iter()
        .flatten()
        .flatten();
    let ours: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("shmpipe"))
        .collect();
    assert_eq!(ours, [""; 0]);
    drop(tx);
    assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
    assert_at_end(&mut rx);
}
