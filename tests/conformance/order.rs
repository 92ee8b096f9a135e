//! Many senders: whole messages, each sender's in its order, and no message before its cause.

use shmpipe::Backend;

use crate::ends::{CAPACITY, FILLER, assert_at_end, assert_empty_but_alive, open};
use crate::support::{Line, check, fork, identify, long, on_both_backends, pattern, thread};

on_both_backends! {
    messages_of_many_threads_arrive_once_each_in_their_senders_order,
    messages_of_many_processes_arrive_once_each_in_their_senders_order within 120,
    messages_of_threads_in_many_processes_arrive_once_each_in_their_senders_order within 120,
    a_send_that_returned_before_another_began_is_received_first,
    parent_and_child_send_through_copies_of_one_end_each_in_order within 120,
    dropping_a_clone_of_the_sender_changes_nothing,
    dropping_a_clone_of_the_receiver_changes_nothing,
}

const SENDERS: u16 = 4;

/// Mostly small, now and then more than the pipe holds.
fn size(sender: u16, number: u64) -> usize {
    let number = usize::try_from(number).unwrap();
    match number % 97 {
        0 => 2 * CAPACITY + usize::from(sender),
        step => 8 + step * usize::from(sender + 1),
    }
}

fn send_all(tx: &mut shmpipe::Sender, sender: u16, messages: u64) {
    for number in 0..messages {
        tx.send(&pattern(sender, number, size(sender, number)))
            .unwrap();
    }
}

/// Receives until the end and asserts that each sender's messages came whole, once and in order.
fn receive_all(rx: &mut shmpipe::Receiver, messages: u64) {
    let mut next = [0; SENDERS as usize];
    while let Ok(message) = rx.recv() {
        let (sender, number) = identify(&message);
        check(&message, sender, number, size(sender, number));
        assert_eq!(number, next[usize::from(sender)], "sender {sender}");
        next[usize::from(sender)] += 1;
    }
    assert_eq!(next, [messages; SENDERS as usize]);
    assert_at_end(rx);
}

fn messages_of_many_threads_arrive_once_each_in_their_senders_order(backend: Backend) {
    let messages = if long() { 100_000 } else { 3000 };
    let (mut rx, tx) = open(backend);
    let start = |sender| {
        let mut tx = tx.try_clone().unwrap();
        thread(move || send_all(&mut tx, sender, messages))
    };
    let threads: Vec<_> = (0..SENDERS).map(start).collect();
    drop(tx);
    receive_all(&mut rx, messages);
    threads.into_iter().for_each(|thread| thread.join());
}

fn messages_of_many_processes_arrive_once_each_in_their_senders_order(backend: Backend) {
    let messages = if long() { 100_000 } else { 3000 };
    let (mut rx, mut tx) = open(backend);
    // No clones: each child uses its inherited copy of the one end.
    let children: Vec<_> = (0..SENDERS)
        .map(|sender| fork(|| send_all(&mut tx, sender, messages)))
        .collect();
    drop(tx);
    receive_all(&mut rx, messages);
    children.into_iter().for_each(|child| child.join());
}

fn messages_of_threads_in_many_processes_arrive_once_each_in_their_senders_order(backend: Backend) {
    let messages = if long() { 100_000 } else { 3000 };
    let (mut rx, tx) = open(backend);
    let start = |first: u16| {
        fork(|| {
            let both = [first, first + 1].map(|sender| {
                let mut tx = tx.try_clone().unwrap();
                thread(move || send_all(&mut tx, sender, messages))
            });
            both.into_iter().for_each(|thread| thread.join());
        })
    };
    let children: Vec<_> = (0..SENDERS).step_by(2).map(start).collect();
    drop(tx);
    receive_all(&mut rx, messages);
    children.into_iter().for_each(|child| child.join());
}

fn a_send_that_returned_before_another_began_is_received_first(backend: Backend) {
    const ROUNDS: u64 = 1000;
    let (mut rx, mut tx) = open(backend);
    let turns: [Line; 3] = std::array::from_fn(|_| Line::new());
    // Three processes in a circle: each sends only after the one before it has sent.
    let start = |place: usize| {
        let (mine, next) = (&turns[place], &turns[(place + 1) % turns.len()]);
        let tx = &mut tx;
        fork(move || {
            for _ in 0..ROUNDS {
                let number = mine.take();
                tx.send(&pattern(0, number, FILLER)).unwrap();
                next.put(number + 1);
            }
        })
    };
    let children: Vec<_> = (0..turns.len()).map(start).collect();
    turns[0].put(0);
    crate::ends::drain(&mut rx, 0, 0..3 * ROUNDS, FILLER);
    children.into_iter().for_each(|child| child.join());
}

fn parent_and_child_send_through_copies_of_one_end_each_in_order(backend: Backend) {
    let messages = if long() { 1_000_000 } else { 100_000 };
    let (mut rx, mut tx) = open(backend);
    let receiver = fork(|| {
        let mut next = [0, 0];
        while next != [messages; 2] {
            let message = rx.recv().unwrap();
            let (sender, number) = identify(&message);
            check(&message, sender, number, 8 + usize::from(sender));
            assert_eq!(number, next[usize::from(sender)], "sender {sender}");
            next[usize::from(sender)] += 1;
        }
        assert_empty_but_alive(&mut rx);
    });
    let child = fork(|| (0..messages).for_each(|number| tx.send(&pattern(0, number, 8)).unwrap()));
    (0..messages).for_each(|number| tx.send(&pattern(1, number, 9)).unwrap());
    child.join();
    receiver.join();
}

fn dropping_a_clone_of_the_sender_changes_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for number in 0..100 {
        let mut clone = tx.try_clone().unwrap();
        clone.send(&pattern(1, number, FILLER)).unwrap();
        drop(clone);
        drop(tx.try_clone().unwrap());
        assert_eq!(rx.recv().unwrap().len(), FILLER);
        assert_empty_now(&mut rx);
        tx.send(&pattern(2, number, FILLER)).unwrap();
        check(&rx.recv().unwrap(), 2, number, FILLER);
    }
    // The original may go as well as any other.
    let mut last = tx.try_clone().unwrap();
    drop(tx);
    assert_empty_but_alive(&mut rx);
    last.send(b"last").unwrap();
    drop(last);
    assert_eq!(&*rx.recv().unwrap(), b"last");
    assert_at_end(&mut rx);
}

fn assert_empty_now(rx: &mut shmpipe::Receiver) {
    assert!(matches!(rx.try_recv(), Err(shmpipe::TryRecvError::Empty)));
}

fn dropping_a_clone_of_the_receiver_changes_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for number in 0..100 {
        tx.send(&pattern(1, number, FILLER)).unwrap();
        drop(rx.try_clone().unwrap());
        check(&rx.recv().unwrap(), 1, number, FILLER);
    }
    let mut last = rx.try_clone().unwrap();
    tx.send(b"received by the clone").unwrap();
    drop(rx);
    assert_eq!(&*last.recv().unwrap(), b"received by the clone");
    assert_empty_but_alive(&mut last);
    tx.send(b"received by nobody").unwrap();
    drop(last);
    crate::ends::assert_broken(&mut tx);
}
