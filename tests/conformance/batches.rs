//! Batches: many messages at a go, each of them whole, in order and counted.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use shmpipe::{
    Backend, PipeOptions, Receiver, RecvError, RecvTimeoutError, SendError, TryRecvError,
};

use crate::ends::{
    CAPACITY, FILLER, LARGE, SHORT, assert_at_end, assert_empty_but_alive, fill, open, open_duplex,
};
use crate::support::{check, fork, fork_apart, identify, on_both_backends, pattern, thread};

on_both_backends! {
    a_batch_arrives_as_its_messages_in_order,
    a_batch_longer_than_the_pipe_is_received_while_it_is_sent,
    a_batch_with_long_messages_in_it_arrives_whole,
    an_empty_batch_sends_nothing,
    a_batch_ends_at_a_message_over_the_limit_and_counts_those_before_it,
    a_blocked_batch_counts_what_was_sent_before_the_receiver_went,
    an_iterator_that_panics_leaves_the_pipe_as_it_was,
    a_receive_of_a_batch_takes_all_that_is_there,
    a_receive_of_a_batch_waits_for_the_first_message_and_keeps_its_time,
    a_batch_takes_no_more_than_its_bound,
    a_batch_goes_round_the_ring,
    messages_of_a_batch_that_are_not_looked_at_are_gone,
    a_long_message_comes_by_itself,
    the_rest_of_a_read_comes_first,
    what_is_there_comes_before_the_end,
    what_is_there_comes_before_the_death_of_a_sender,
    batches_of_several_senders_arrive_whole_each_in_order,
    several_receivers_of_batches_get_each_message_once,
    batches_cross_a_two_way_pipe,
}

fn patterns(numbers: std::ops::Range<u64>, len: fn(u64) -> usize) -> Vec<Vec<u8>> {
    numbers
        .map(|number| pattern(1, number, len(number)))
        .collect()
}

fn uneven(number: u64) -> usize {
    [0, 1, 8, 13, 64, 100, 333, 1000][number as usize % 8]
}

/// Receives by batches until `count` messages have come.
fn receive(rx: &mut Receiver, count: u64, len: fn(u64) -> usize) {
    let mut next = 0;
    while next < count {
        for message in rx.recv_batch().unwrap() {
            check(message, 1, next, len(next));
            next += 1;
        }
    }
    assert_eq!(next, count);
}

fn a_batch_arrives_as_its_messages_in_order(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for count in [1, 2, 7, 63, 64, 65, 130] {
        let messages = patterns(0..count, uneven);
        let sender = fork(|| assert_eq!(tx.send_batch(&messages).unwrap() as u64, count));
        for number in 0..count {
            check(&rx.recv().unwrap(), 1, number, uneven(number));
        }
        sender.join();
        assert_empty_but_alive(&mut rx);
    }
}

fn a_batch_longer_than_the_pipe_is_received_while_it_is_sent(backend: Backend) {
    const COUNT: u64 = 3000;
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| {
        let messages = (0..COUNT).map(|number| pattern(1, number, uneven(number)));
        assert_eq!(tx.send_batch(messages).unwrap() as u64, COUNT);
    });
    receive(&mut rx, COUNT, uneven);
    sender.join();
    assert_empty_but_alive(&mut rx);
}

fn a_batch_with_long_messages_in_it_arrives_whole(backend: Backend) {
    let len = |number| match number % 10 {
        3 => LARGE,
        4 => CAPACITY / 8 - 8,
        5 => CAPACITY / 8 - 7,
        _ => uneven(number),
    };
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| assert_eq!(tx.send_batch(patterns(0..80, len)).unwrap(), 80));
    receive(&mut rx, 80, len);
    sender.join();
    assert_empty_but_alive(&mut rx);
}

fn an_empty_batch_sends_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    assert_eq!(tx.send_batch::<[&[u8]; 0]>([]).unwrap(), 0);
    assert_empty_but_alive(&mut rx);
}

fn a_batch_ends_at_a_message_over_the_limit_and_counts_those_before_it(backend: Backend) {
    let options = PipeOptions::new().backend(backend).max_message(100);
    let (mut rx, mut tx) = options.pipe().unwrap();
    for before in [0, 1, 63, 64, 65] {
        let mut messages = patterns(0..before, |_| 100);
        messages.push(vec![0; 101]);
        messages.push(vec![0; 1]);
        let error = tx.send_batch(&messages).unwrap_err();
        assert_eq!(error.sent as u64, before);
        assert!(
            matches!(error.error, SendError::TooLarge { len: 101, max: 100 }),
            "{error}"
        );
        (0..before).for_each(|number| check(&rx.recv().unwrap(), 1, number, 100));
        assert_empty_but_alive(&mut rx);
    }
}

fn a_blocked_batch_counts_what_was_sent_before_the_receiver_went(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let alone = fill(&mut tx, 1);
    drop(rx);
    let (rx, mut tx) = open(backend);
    let messages = patterns(0..alone + 10, |_| FILLER);
    let (sender, rx) = fork_apart(rx, || {
        let error = tx.send_batch(&messages).unwrap_err();
        assert!(matches!(error.error, SendError::Disconnected), "{error}");
        assert_eq!(error.sent as u64, alone);
        let error = tx.send_batch(&messages).unwrap_err();
        assert_eq!(error.sent, 0);
    });
    sender.until_asleep();
    drop(rx);
    sender.join();
}

fn an_iterator_that_panics_leaves_the_pipe_as_it_was(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let messages = (0..100).map(|number: u64| match number {
        90 => panic!("this panic is part of the test"),
        _ => pattern(1, number, 8),
    });
    let outcome = catch_unwind(AssertUnwindSafe(|| tx.send_batch(messages)));
    outcome.unwrap_err();
    // Those that had been taken together were not sent.
    (0..64).for_each(|number| check(&rx.recv().unwrap(), 1, number, 8));
    assert_empty_but_alive(&mut rx);
    tx.send(b"the side is free").unwrap();
    rx.recv().unwrap();
}

fn a_receive_of_a_batch_takes_all_that_is_there(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for round in 0..20 {
        (0..30).for_each(|number| {
            tx.send(&pattern(1, number, uneven(number + round)))
                .unwrap()
        });
        let batch = rx.recv_batch().unwrap();
        assert_eq!(batch.len(), 30);
        assert!(format!("{batch:?}").starts_with('['));
        for (number, message) in (0..).zip(batch) {
            check(message, 1, number, uneven(number + round));
        }
        assert!(matches!(rx.try_recv_batch(), Err(TryRecvError::Empty)));
    }
}

fn a_receive_of_a_batch_waits_for_the_first_message_and_keeps_its_time(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let start = Instant::now();
    let outcome = rx.recv_batch_timeout(SHORT).map(|batch| batch.len());
    assert!(
        matches!(outcome, Err(RecvTimeoutError::Timeout)),
        "{outcome:?}"
    );
    assert!(start.elapsed() >= SHORT);
    let blocked = thread(move || {
        let mut batch = rx.recv_batch().unwrap();
        check(batch.next().unwrap(), 1, 0, 8);
        let more = batch.len() as u64;
        // The pipe has to stay open until all are sent.
        for number in 1 + more..10 {
            check(&rx.recv().unwrap(), 1, number, 8);
        }
    });
    blocked.until_asleep();
    tx.send_batch(patterns(0..10, |_| 8)).unwrap();
    blocked.join();
}

fn a_batch_takes_no_more_than_its_bound(backend: Backend) {
    const BOUND: usize = 256 * 1024;
    let options = PipeOptions::new().backend(backend).capacity(1 << 20);
    let (mut rx, mut tx) = options.pipe().unwrap();
    let count = fill(&mut tx, 1);
    let mut next = 0;
    while next < count {
        let batch = rx.recv_batch().unwrap();
        let bytes: usize = batch.clone().map(<[u8]>::len).sum();
        assert!(bytes <= BOUND + FILLER, "{bytes} bytes at once");
        for message in batch {
            check(message, 1, next, FILLER);
            next += 1;
        }
    }
    assert_empty_but_alive(&mut rx);
}

fn a_batch_goes_round_the_ring(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    // Far round, in steps that do not divide the ring.
    for round in 0..200 {
        let len = |number: u64| [1021, 4093, 61, 7, 251][number as usize % 5];
        let sent = tx.send_batch(patterns(round..round + 5, len)).unwrap();
        assert_eq!(rx.recv_batch().unwrap().len(), sent);
        tx.send_batch(patterns(0..5, len)).unwrap();
        for (number, message) in (0..).zip(rx.recv_batch().unwrap()) {
            check(message, 1, number, len(number));
        }
    }
    assert_empty_but_alive(&mut rx);
}

fn messages_of_a_batch_that_are_not_looked_at_are_gone(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send_batch(patterns(0..10, |_| 8)).unwrap();
    let first = rx.recv_batch().unwrap().next().map(<[u8]>::to_vec);
    check(&first.unwrap(), 1, 0, 8);
    assert_empty_but_alive(&mut rx);
}

fn a_long_message_comes_by_itself(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| {
        tx.send_batch(patterns(0..3, |_| 8)).unwrap();
        tx.send(&pattern(1, 3, LARGE)).unwrap();
        tx.send_batch(patterns(4..6, |_| 8)).unwrap();
    });
    receive(&mut rx, 6, |number| if number == 3 { LARGE } else { 8 });
    sender.join();
    assert_empty_but_alive(&mut rx);
}

fn the_rest_of_a_read_comes_first(backend: Backend) {
    use std::io::Read;
    let (mut rx, mut tx) = open(backend);
    tx.send_batch([&b"a part and the rest"[..], b"the next"])
        .unwrap();
    rx.read_exact(&mut [0; 7]).unwrap();
    let mut batch = rx.recv_batch().unwrap();
    assert_eq!(batch.next().unwrap(), b"and the rest");
    let next = batch.next().map(<[u8]>::to_vec);
    let next = next.unwrap_or_else(|| rx.recv_batch().unwrap().next().unwrap().to_vec());
    assert_eq!(next, b"the next");
    assert_empty_but_alive(&mut rx);
}

fn what_is_there_comes_before_the_end(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = fork(move || {
        tx.send_batch(patterns(0..10, uneven)).unwrap();
    });
    sender.join();
    receive(&mut rx, 10, uneven);
    for _ in 0..2 {
        assert!(matches!(rx.recv_batch(), Err(RecvError::Disconnected)));
        assert!(matches!(
            rx.try_recv_batch(),
            Err(TryRecvError::Disconnected)
        ));
    }
    assert_at_end(&mut rx);
}

fn what_is_there_comes_before_the_death_of_a_sender(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let mut heir = tx.try_clone().unwrap();
    let sender = fork(move || {
        let mut tx = tx;
        tx.send_batch(patterns(0..10, |_| 8)).unwrap();
        tx.send(&pattern(1, 10, LARGE)).unwrap();
    });
    sender.until_asleep();
    sender.kill();
    receive(&mut rx, 10, |_| 8);
    let outcome = rx.recv_batch().map(|batch| batch.len());
    assert!(matches!(outcome, Err(RecvError::Aborted)), "{outcome:?}");
    heir.send_batch(patterns(0..10, |_| 8)).unwrap();
    receive(&mut rx, 10, |_| 8);
    assert_empty_but_alive(&mut rx);
}

fn batches_of_several_senders_arrive_whole_each_in_order(backend: Backend) {
    const SENDERS: u16 = 3;
    const COUNT: u64 = 2000;
    let (mut rx, tx) = open(backend);
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let mut tx = tx.try_clone().unwrap();
            fork(move || {
                let messages = (0..COUNT).map(|number| pattern(sender, number, 8 + uneven(number)));
                tx.send_batch(messages).unwrap();
            })
        })
        .collect();
    drop(tx);
    let mut next = [0; SENDERS as usize];
    while let Ok(batch) = rx.recv_batch() {
        for message in batch {
            let (sender, number) = identify(message);
            assert_eq!(number, next[usize::from(sender)]);
            check(message, sender, number, 8 + uneven(number));
            next[usize::from(sender)] += 1;
        }
    }
    assert_eq!(next, [COUNT; SENDERS as usize]);
    senders.into_iter().for_each(|sender| sender.join());
}

fn several_receivers_of_batches_get_each_message_once(backend: Backend) {
    const COUNT: u64 = 5000;
    let (rx, mut tx) = open(backend);
    let receivers: Vec<_> = (0..3)
        .map(|_| {
            let mut rx = rx.try_clone().unwrap();
            thread(move || {
                let mut numbers = Vec::new();
                while let Ok(batch) = rx.recv_batch() {
                    for message in batch {
                        let (_, number) = identify(message);
                        check(message, 1, number, 8 + uneven(number));
                        numbers.push(number);
                    }
                }
                assert!(numbers.is_sorted());
                numbers
            })
        })
        .collect();
    tx.send_batch((0..COUNT).map(|number| pattern(1, number, 8 + uneven(number))))
        .unwrap();
    drop(tx);
    let mut all: Vec<_> = receivers
        .into_iter()
        .flat_map(|receiver| receiver.join())
        .collect();
    all.sort_unstable();
    assert_eq!(all, (0..COUNT).collect::<Vec<_>>());
}

fn batches_cross_a_two_way_pipe(backend: Backend) {
    let (mut left, mut right) = open_duplex(backend);
    assert_eq!(left.send_batch(["a", "b"]).unwrap(), 2);
    assert_eq!(right.send_batch([b"c"]).unwrap(), 1);
    assert_eq!(right.recv_batch().unwrap().len(), 2);
    assert_eq!(left.try_recv_batch().unwrap().len(), 1);
    let outcome = left.recv_batch_timeout(SHORT).map(|batch| batch.len());
    assert!(
        matches!(outcome, Err(RecvTimeoutError::Timeout)),
        "{outcome:?}"
    );
}
