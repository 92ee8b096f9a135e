//! Messages of every size that fits: whole, in order, the empty one included.

use shmpipe::{Backend, TryRecvError};

use crate::ends::{CAPACITY, assert_at_end, assert_empty_but_alive, open};
use crate::support::{check, fork, on_both_backends, pattern};

on_both_backends! {
    an_empty_message_is_received_as_an_empty_message,
    an_empty_message_is_told_from_no_message_and_from_the_end,
    empty_messages_keep_their_place_among_others,
    a_pipe_full_of_empty_messages_gives_each_of_them,
    every_small_size_arrives_whole,
    every_size_around_the_capacity_arrives_whole,
    sizes_that_do_not_divide_the_capacity_arrive_whole_for_many_rounds,
}

fn an_empty_message_is_received_as_an_empty_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"").unwrap();
    assert!(rx.poll(None).unwrap());
    assert_eq!(&*rx.recv().unwrap(), b"");
    tx.try_send(b"").unwrap();
    assert_eq!(rx.recv_into(&mut []).unwrap(), 0);
    tx.send(b"").unwrap();
    assert_eq!(rx.messages().next().unwrap().unwrap(), b"");
    assert_empty_but_alive(&mut rx);
}

fn an_empty_message_is_told_from_no_message_and_from_the_end(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    tx.send(b"").unwrap();
    drop(tx);
    assert!(rx.try_recv().unwrap().is_empty());
    assert_at_end(&mut rx);
}

fn empty_messages_keep_their_place_among_others(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sent: [&[u8]; 8] = [b"", b"a", b"", b"", b"bc", b"def", b"", b"g"];
    sent.iter().for_each(|message| tx.send(message).unwrap());
    drop(tx);
    assert_eq!(rx.messages().collect::<Result<Vec<_>, _>>().unwrap(), sent);
}

fn a_pipe_full_of_empty_messages_gives_each_of_them(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut sent = 0;
    while tx.try_send(b"").is_ok() {
        sent += 1;
        assert!(
            sent <= CAPACITY,
            "an empty message takes room too, or the pipe never fills"
        );
    }
    drop(tx);
    let received = rx
        .messages()
        .inspect(|message| assert!(message.as_ref().unwrap().is_empty()))
        .count();
    assert_eq!(received, sent);
}

fn every_small_size_arrives_whole(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for len in 0..1100 {
        tx.send(&pattern(1, len as u64, len)).unwrap();
        check(&rx.recv().unwrap(), 1, len as u64, len);
    }
}

fn every_size_around_the_capacity_arrives_whole(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sizes = || {
        [CAPACITY / 4, CAPACITY / 2, CAPACITY, 2 * CAPACITY]
            .into_iter()
            .flat_map(|middle| middle - 40..middle + 40)
    };
    let child = fork(|| {
        for (number, len) in (0..).zip(sizes()) {
            tx.send(&pattern(1, number, len)).unwrap();
        }
    });
    for (number, len) in (0..).zip(sizes()) {
        check(&rx.recv().unwrap(), 1, number, len);
    }
    child.join();
    assert_empty_but_alive(&mut rx);
}

fn sizes_that_do_not_divide_the_capacity_arrive_whole_for_many_rounds(backend: Backend) {
    // Primes, so that over the rounds a message begins and wraps around at every place of a ring.
    const SIZES: [usize; 7] = [1, 7, 61, 251, 1021, 4093, 16381];
    let rounds = if crate::support::long() { 20_000 } else { 1000 };
    let (mut rx, mut tx) = open(backend);
    let child = fork(|| {
        for number in 0..rounds {
            tx.send(&pattern(1, number, size(number))).unwrap();
        }
    });
    let size_of = size;
    for number in 0..rounds {
        check(&rx.recv().unwrap(), 1, number, size_of(number));
    }
    child.join();

    fn size(number: u64) -> usize {
        SIZES[usize::try_from(number).unwrap() % SIZES.len()]
    }
}
