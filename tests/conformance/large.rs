//! Messages larger than the pipe: whole, never mixed, and no trap for the calls beside them.

use std::time::Duration;

use shmpipe::{Backend, RecvError, SendTimeoutError, TryRecvError, TrySendError};

use crate::ends::{CAPACITY, LARGE, SHORT, assert_empty_but_alive, open};
use crate::support::{
    Line, check, fork, identify, long, on_both_backends, pattern, skipped, thread,
};

on_both_backends! {
    a_message_of_three_times_the_capacity_arrives_whole,
    sixty_four_mebibytes_arrive_whole_through_sixty_four_kibibytes within 120,
    a_gibibyte_arrives_whole_through_sixty_four_kibibytes within 180,
    large_messages_of_many_senders_are_never_mixed within 120,
    large_messages_of_many_threads_are_never_mixed within 120,
    try_recv_puts_a_large_message_together_over_several_calls,
    recv_timeout_keeps_the_fragments_of_a_large_message,
    recv_into_takes_a_large_message_when_the_buffer_is_large_enough,
    recv_into_that_is_too_small_leaves_a_large_message_whole,
    try_send_refuses_what_an_empty_pipe_cannot_hold_and_names_what_it_can,
    send_timeout_takes_back_a_large_message_that_was_sent_in_part,
    send_timeout_sends_a_large_message_that_is_received_in_time,
}

fn one_large_message(backend: Backend, len: usize) {
    let (mut rx, mut tx) = open(backend);
    let child = fork(|| {
        tx.send(&pattern(1, 0, len)).unwrap();
        tx.send(b"and a small one").unwrap();
    });
    check(&rx.recv().unwrap(), 1, 0, len);
    assert_eq!(&*rx.recv().unwrap(), b"and a small one");
    child.join();
}

fn a_message_of_three_times_the_capacity_arrives_whole(backend: Backend) {
    one_large_message(backend, LARGE);
}

fn sixty_four_mebibytes_arrive_whole_through_sixty_four_kibibytes(backend: Backend) {
    one_large_message(backend, 64 << 20);
}

fn a_gibibyte_arrives_whole_through_sixty_four_kibibytes(backend: Backend) {
    if !long() {
        return skipped("takes 4 GiB of memory; SHMPIPE_LONG=1 runs it");
    }
    one_large_message(backend, 1 << 30);
}

fn large_messages_of_many_senders_are_never_mixed(backend: Backend) {
    const SENDERS: u16 = 4;
    let messages = if long() { 500 } else { 25 };
    let (mut rx, tx) = open(backend);
    let start = |sender: u16| {
        fork(|| {
            let mut tx = tx.try_clone().unwrap();
            for number in 0..messages {
                tx.send(&pattern(sender, number, mixed_size(sender, number)))
                    .unwrap();
            }
        })
    };
    let children: Vec<_> = (0..SENDERS).map(start).collect();
    drop(tx);
    let mut next = [0; SENDERS as usize];
    while let Ok(message) = rx.recv() {
        let (sender, number) = identify(&message);
        check(&message, sender, number, mixed_size(sender, number));
        assert_eq!(number, next[usize::from(sender)], "sender {sender}");
        next[usize::from(sender)] += 1;
    }
    assert_eq!(next, [messages; SENDERS as usize]);
    children.into_iter().for_each(|child| child.join());
}

fn large_messages_of_many_threads_are_never_mixed(backend: Backend) {
    const SENDERS: u16 = 4;
    const MESSAGES: u64 = 25;
    let (mut rx, tx) = open(backend);
    let threads: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let mut tx = tx.try_clone().unwrap();
            thread(move || {
                for number in 0..MESSAGES {
                    tx.send(&pattern(sender, number, mixed_size(sender, number)))
                        .unwrap();
                }
            })
        })
        .collect();
    drop(tx);
    let mut next = [0; SENDERS as usize];
    while let Ok(message) = rx.recv() {
        let (sender, number) = identify(&message);
        check(&message, sender, number, mixed_size(sender, number));
        assert_eq!(number, next[usize::from(sender)], "sender {sender}");
        next[usize::from(sender)] += 1;
    }
    assert_eq!(next, [MESSAGES; SENDERS as usize]);
    threads.into_iter().for_each(|thread| thread.join());
}

/// Small and large in turns, none a multiple of another.
fn mixed_size(sender: u16, number: u64) -> usize {
    let odd = 8 + usize::from(sender) + usize::try_from(number).unwrap() % 13;
    if number % 3 == 0 {
        odd
    } else {
        LARGE + 1000 * odd
    }
}

fn try_recv_puts_a_large_message_together_over_several_calls(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    child.until_asleep();
    child.stop(); // what is in the pipe is a fragment; no more comes
    assert!(rx.poll(Some(Duration::ZERO)).unwrap());
    for _ in 0..3 {
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    }
    child.cont();
    loop {
        match rx.try_recv() {
            Ok(message) => break check(&message, 1, 0, LARGE),
            Err(TryRecvError::Empty) => assert!(rx.poll(None).unwrap(), "a fragment comes"),
            Err(error) => panic!("{error}"),
        }
    }
    child.join();
}

fn recv_timeout_keeps_the_fragments_of_a_large_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    child.until_asleep();
    child.stop(); // what is in the pipe is a fragment; no more comes
    for _ in 0..2 {
        let outcome = rx.recv_timeout(SHORT);
        assert!(
            matches!(outcome, Err(shmpipe::RecvTimeoutError::Timeout)),
            "{outcome:?}"
        );
    }
    child.cont();
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    child.join();
}

fn recv_into_takes_a_large_message_when_the_buffer_is_large_enough(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = fork(|| {
        tx.send(&pattern(1, 0, LARGE)).unwrap();
        tx.send(&pattern(1, 1, LARGE)).unwrap();
    });
    let mut exact = vec![0; LARGE];
    assert_eq!(rx.recv_into(&mut exact).unwrap(), LARGE);
    check(&exact, 1, 0, LARGE);
    let mut longer = vec![0; LARGE + 100];
    assert_eq!(rx.recv_into(&mut longer).unwrap(), LARGE);
    check(&longer[..LARGE], 1, 1, LARGE);
    child.join();
}

fn recv_into_that_is_too_small_leaves_a_large_message_whole(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    for len in [0, 1, CAPACITY, LARGE - 1] {
        let outcome = rx.recv_into(&mut vec![0; len]);
        assert!(
            matches!(outcome, Err(RecvError::BufferTooSmall { needed: LARGE })),
            "{outcome:?}"
        );
    }
    let mut buf = vec![0; LARGE];
    assert_eq!(rx.recv_into(&mut buf).unwrap(), LARGE);
    check(&buf, 1, 0, LARGE);
    child.join();
}

fn try_send_refuses_what_an_empty_pipe_cannot_hold_and_names_what_it_can(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let outcome = tx.try_send(&pattern(1, 0, LARGE));
    let Err(TrySendError::TooLargeAtOnce { len: LARGE, max }) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(
        max <= CAPACITY,
        "{max} bytes and their framing are more than the capacity"
    );
    assert_empty_but_alive(&mut rx);
    tx.try_send(&pattern(1, 1, max)).unwrap();
    check(&rx.recv().unwrap(), 1, 1, max);
    let outcome = tx.try_send(&pattern(1, 2, max + 1));
    assert!(matches!(outcome, Err(TrySendError::TooLargeAtOnce { len, .. }) if len == max + 1));
    // At another place of a ring as much fits.
    tx.try_send(&pattern(1, 3, 777)).unwrap();
    check(&rx.recv().unwrap(), 1, 3, 777);
    tx.try_send(&pattern(1, 4, max)).unwrap();
    check(&rx.recv().unwrap(), 1, 4, max);
}

fn send_timeout_takes_back_a_large_message_that_was_sent_in_part(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let taken = Line::new();
    let child = fork(|| {
        let outcome = tx.send_timeout(&pattern(1, 0, LARGE), Duration::from_secs(1));
        assert!(
            matches!(outcome, Err(SendTimeoutError::Timeout)),
            "{outcome:?}"
        );
        taken.signal();
        tx.send(b"the next message").unwrap();
    });
    // Takes the parts that are there once; they are not enough.
    assert!(rx.poll(None).unwrap());
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    taken.wait();
    assert_eq!(&*rx.recv().unwrap(), b"the next message");
    assert_empty_but_alive(&mut rx);
    child.join();
}

fn send_timeout_sends_a_large_message_that_is_received_in_time(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = fork(|| {
        tx.send_timeout(&pattern(1, 0, LARGE), Duration::from_secs(3600))
            .unwrap();
    });
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    child.join();
}
