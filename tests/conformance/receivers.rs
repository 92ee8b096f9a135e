//! Many receivers on one end: each message goes to exactly one of them.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use shmpipe::{Backend, Receiver, RecvError};

use crate::ends::{CAPACITY, FILLER, assert_at_end, open};
use crate::support::{
    Child, Line, check, fork, fork_apart, identify, long, on_both_backends, pattern,
    shared_counter, thread,
};

on_both_backends! {
    each_message_goes_to_exactly_one_of_many_processes within 120,
    each_message_goes_to_exactly_one_of_many_threads,
    one_message_wakes_some_receiver_of_many_that_sleep,
    each_of_many_sleeping_receivers_is_woken_by_a_message_of_its_own,
    a_message_that_comes_after_a_sleeping_receiver_was_killed_goes_to_the_survivor,
    sleeping_receivers_that_are_killed_one_by_one_take_no_message_along,
    a_receiver_killed_while_it_receives_leaves_the_rest_to_the_survivor within 120,
}

/// Mostly small, now and then more than the pipe holds.
fn size(number: u64) -> usize {
    let number = usize::try_from(number).unwrap();
    if number % 101 == 0 {
        2 * CAPACITY + number % 7
    } else {
        8 + number % 300
    }
}

/// Receives until the end; asserts increasing numbers, whole messages, and tells each number.
fn report(rx: &mut Receiver, numbers: &mut dyn FnMut(u64)) {
    let mut least = 0;
    loop {
        let message = match rx.recv() {
            Ok(message) => message,
            // What another one had begun to take was lost with it.
            Err(RecvError::Aborted) => continue,
            Err(error) => {
                assert!(matches!(error, RecvError::Disconnected), "{error}");
                break;
            }
        };
        let (sender, number) = identify(&message);
        check(&message, sender, number, size(number));
        assert!(number >= least, "{number} after {least}");
        least = number + 1;
        numbers(number);
    }
    assert_at_end(rx);
}

fn each_message_goes_to_exactly_one_of_many_processes(backend: Backend) {
    const RECEIVERS: usize = 3;
    let messages: u64 = if long() { 200_000 } else { 10_000 };
    let (mut rx, mut tx) = open(backend);
    let received = Line::new();
    let mut children = Vec::new();
    for _ in 0..RECEIVERS {
        let (child, back) = fork_apart(tx, || report(&mut rx, &mut |number| received.put(number)));
        children.push(child);
        tx = back;
    }
    let sender = fork(move || {
        (0..messages).for_each(|number| tx.send(&pattern(0, number, size(number))).unwrap());
    });
    let mut seen = BTreeSet::new();
    for _ in 0..messages {
        let number = received.take();
        assert!(seen.insert(number), "{number} was received twice");
    }
    assert_eq!(seen.last(), Some(&(messages - 1)));
    sender.join();
    children.into_iter().for_each(Child::join);
}

fn each_message_goes_to_exactly_one_of_many_threads(backend: Backend) {
    const MESSAGES: u64 = 10_000;
    let (rx, mut tx) = open(backend);
    let start = |_| {
        let mut rx = rx.try_clone().unwrap();
        thread(move || {
            let mut numbers = Vec::new();
            report(&mut rx, &mut |number| numbers.push(number));
            numbers
        })
    };
    let threads: Vec<_> = (0..3).map(start).collect();
    (0..MESSAGES).for_each(|number| tx.send(&pattern(0, number, size(number))).unwrap());
    drop(tx);
    let mut all: Vec<u64> = threads
        .into_iter()
        .flat_map(|thread| thread.join())
        .collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..MESSAGES));
}

/// Receivers in processes of their own that each take one message and tell its number.
fn sleepers(rx: &mut Receiver, count: u64, received: &Line) -> Vec<Child> {
    let start = |_| {
        fork(|| {
            let message = rx.recv().unwrap();
            let (sender, number) = identify(&message);
            check(&message, sender, number, FILLER);
            received.put(number);
        })
    };
    let children: Vec<_> = (0..count).map(start).collect();
    children.iter().for_each(Child::until_asleep);
    children
}

fn one_message_wakes_some_receiver_of_many_that_sleep(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let received = Line::new();
    let children = sleepers(&mut rx, 5, &received);
    for number in 0..5 {
        tx.send(&pattern(0, number, FILLER)).unwrap();
        assert_eq!(received.take(), number);
    }
    children.into_iter().for_each(Child::join);
}

fn each_of_many_sleeping_receivers_is_woken_by_a_message_of_its_own(backend: Backend) {
    const RECEIVERS: u64 = 20;
    let (mut rx, mut tx) = open(backend);
    let received = Line::new();
    let children = sleepers(&mut rx, RECEIVERS, &received);
    (0..RECEIVERS).for_each(|number| tx.send(&pattern(0, number, FILLER)).unwrap());
    let seen: BTreeSet<u64> = (0..RECEIVERS).map(|_| received.take()).collect();
    assert!(seen.into_iter().eq(0..RECEIVERS));
    children.into_iter().for_each(Child::join);
}

fn a_message_that_comes_after_a_sleeping_receiver_was_killed_goes_to_the_survivor(
    backend: Backend,
) {
    for victim in [0, 1] {
        let (mut rx, mut tx) = open(backend);
        let received = Line::new();
        let mut children = sleepers(&mut rx, 2, &received);
        children.remove(victim).kill();
        tx.send(&pattern(0, 7, FILLER)).unwrap();
        assert_eq!(received.take(), 7);
        children.into_iter().for_each(Child::join);
    }
}

fn sleeping_receivers_that_are_killed_one_by_one_take_no_message_along(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let received = Line::new();
    let mut children = sleepers(&mut rx, 9, &received);
    for _ in 0..8 {
        children.swap_remove(children.len() / 2).kill();
    }
    tx.send(&pattern(0, 3, FILLER)).unwrap();
    assert_eq!(received.take(), 3);
    children.into_iter().for_each(Child::join);
}

/// Each round kills a receiver at a moment that depends on how far it has come. What it had taken
/// out of the pipe by then is gone with it: no more than the one message it has not told of yet.
fn a_receiver_killed_while_it_receives_leaves_the_rest_to_the_survivor(backend: Backend) {
    let rounds = if long() { 2000 } else { 100 };
    for round in 0..rounds {
        let (mut rx, tx) = open(backend);
        let (by_victim, by_survivor) = (Line::new(), Line::new());
        let (victim, tx) = fork_apart(tx, || report(&mut rx, &mut |number| by_victim.put(number)));
        let (survivor, mut tx) = fork_apart(tx, || {
            report(&mut rx, &mut |number| by_survivor.put(number));
            by_survivor.put(u64::MAX);
        });
        drop(rx);
        let (stop, sent) = (shared_counter(), shared_counter());
        let sender = fork(move || {
            let mut number = 0;
            while stop.load(Ordering::Relaxed) == 0 {
                tx.send(&pattern(0, number, size(number))).unwrap();
                number += 1;
            }
            sent.store(number, Ordering::Release);
        });
        let mut seen = BTreeSet::new();
        for _ in 0..1 + round * 7 % 50 {
            seen.insert(by_victim.take());
        }
        victim.kill();
        stop.store(1, Ordering::Relaxed);
        by_victim.put(u64::MAX);
        for line in [by_victim, by_survivor] {
            for number in std::iter::repeat_with(|| line.take()).take_while(|&n| n != u64::MAX) {
                assert!(seen.insert(number), "{number} was received twice");
            }
        }
        sender.join();
        survivor.join();
        let lost = sent.load(Ordering::Acquire) - seen.len() as u64;
        assert!(lost <= 1, "{lost} messages were lost with one receiver");
    }
}
