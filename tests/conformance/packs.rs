//! Batches of short messages of one length, to receivers that take batches: such messages go together, and
//! whoever takes one by one finds each of them whole, once, in order.

use std::io::Read;
use std::time::Duration;

use shmpipe::{Backend, PipeOptions, Receiver, RecvError, SendError, Sender, TryRecvError};

use crate::ends::{assert_at_end, assert_empty_but_alive, open};
use crate::support::{
    check, fork, identify, on_both_backends, on_one_backend, pattern, shared_counter, thread,
};

on_both_backends! {
    short_messages_of_a_batch_come_one_by_one_by_any_call,
    short_messages_of_a_batch_come_together_after_some_came_alone,
    batches_of_any_mixture_of_lengths_arrive_in_order,
    a_batch_of_short_messages_longer_than_the_pipe_arrives,
    a_slice_that_is_too_small_leaves_a_message_of_a_batch_where_it_is,
    a_stream_reads_across_the_messages_of_batches,
    a_read_gathers_the_messages_of_a_batch,
    what_a_receiver_that_exits_leaves_of_a_batch_is_for_others,
    receivers_of_one_and_of_many_get_each_message_of_batches_once,
    short_messages_over_a_limit_are_refused,
    short_messages_of_a_batch_come_before_the_end,
    a_sender_of_batches_hears_that_the_receiver_is_gone,
    an_end_is_ready_while_messages_of_a_batch_are_left,
    a_pipe_without_room_for_all_of_a_batch_takes_some,
}

mod in_shared_memory {
    super::on_one_backend! {
        SharedMemory:
        short_messages_of_one_length_take_no_header_each,
        receivers_of_one_message_get_records_of_their_own
    }
}

const COUNT: u64 = 64;

/// A pipe whose receiver has received a batch, after which senders know that it does.
fn open_for_batches(backend: Backend) -> (Receiver, Sender) {
    let (mut rx, mut tx) = open(backend);
    take_one_batch(&mut rx, &mut tx);
    (rx, tx)
}

fn take_one_batch(rx: &mut Receiver, tx: &mut Sender) {
    tx.send(b"x").unwrap();
    assert_eq!(rx.recv_batch().unwrap().len(), 1);
}

fn messages(numbers: std::ops::Range<u64>, len: usize) -> Vec<Vec<u8>> {
    numbers.map(|number| pattern(1, number, len)).collect()
}

/// Receives one message by one of the calls there are.
fn recv_by(call: u64, rx: &mut Receiver, len: usize) -> Vec<u8> {
    assert!(rx.poll(Some(Duration::ZERO)).unwrap());
    match call % 6 {
        0 => rx.recv().unwrap().into_vec(),
        1 => rx.try_recv().unwrap().into_vec(),
        2 => rx.recv_timeout(Duration::from_secs(60)).unwrap().into_vec(),
        3 => {
            let mut buf = vec![0; len + 3];
            let len = rx.recv_into(&mut buf).unwrap();
            buf.truncate(len);
            buf
        }
        4 => {
            let view = rx.recv_in_place().unwrap();
            let mut bytes = vec![0; view.len()];
            view.copy_to(&mut bytes);
            bytes
        }
        _ => {
            let mut memory = Vec::new();
            let len = rx
                .recv_with(|len| {
                    memory.resize(len, 0);
                    Some(&mut memory[..])
                })
                .unwrap();
            memory.truncate(len);
            memory
        }
    }
}

fn short_messages_of_a_batch_come_one_by_one_by_any_call(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for len in 0..=66 {
        take_one_batch(&mut rx, &mut tx);
        assert_eq!(tx.send_batch(messages(0..20, len)).unwrap(), 20);
        for number in 0..20 {
            let message = recv_by(number + len as u64, &mut rx, len);
            check(&message, 1, number, len);
        }
        assert_empty_but_alive(&mut rx);
    }
}

fn short_messages_of_a_batch_come_together_after_some_came_alone(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for alone in 0..COUNT {
        take_one_batch(&mut rx, &mut tx);
        let len = 1 + alone as usize;
        tx.send_batch(messages(0..COUNT, len)).unwrap();
        tx.send(&pattern(1, COUNT, 9)).unwrap();
        for number in 0..alone {
            check(&rx.recv().unwrap(), 1, number, len);
        }
        let mut number = alone;
        while number <= COUNT {
            let batch = rx.recv_batch().unwrap();
            assert!(batch.len() as u64 <= COUNT + 1 - number);
            for message in batch {
                check(message, 1, number, if number == COUNT { 9 } else { len });
                number += 1;
            }
        }
        assert_empty_but_alive(&mut rx);
    }
}

fn batches_of_any_mixture_of_lengths_arrive_in_order(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    // Of one length for so many messages in a row.
    for row in [1, 2, 3, 4, 5, 63, 64, 65, 100] {
        let len = |number: u64| [8, 13, 0, 64, 65, 1, 1000][(number / row) as usize % 7];
        take_one_batch(&mut rx, &mut tx);
        let sender = fork(|| {
            let all = (0..700).map(|number| pattern(1, number, len(number)));
            assert_eq!(tx.send_batch(all).unwrap(), 700);
        });
        let mut number = 0;
        while number < 700 {
            // Now and then one by itself.
            if number % 3 == 0 {
                check(&rx.recv().unwrap(), 1, number, len(number));
                number += 1;
            }
            if number < 700 {
                for message in rx.recv_batch().unwrap() {
                    check(message, 1, number, len(number));
                    number += 1;
                }
            }
        }
        sender.join();
        assert_empty_but_alive(&mut rx);
    }
}

fn a_batch_of_short_messages_longer_than_the_pipe_arrives(backend: Backend) {
    const ALL: u64 = 30_000;
    for one_by_one in [false, true] {
        let (mut rx, mut tx) = open_for_batches(backend);
        let sender = fork(|| {
            let all = (0..ALL).map(|number| pattern(1, number, 8));
            assert_eq!(tx.send_batch(all).unwrap() as u64, ALL);
        });
        let mut number = 0;
        while number < ALL {
            if one_by_one {
                check(&rx.recv().unwrap(), 1, number, 8);
                number += 1;
                continue;
            }
            for message in rx.recv_batch().unwrap() {
                check(message, 1, number, 8);
                number += 1;
            }
        }
        sender.join();
        assert_empty_but_alive(&mut rx);
    }
}

fn a_slice_that_is_too_small_leaves_a_message_of_a_batch_where_it_is(backend: Backend) {
    let (mut rx, mut tx) = open_for_batches(backend);
    tx.send_batch(messages(0..10, 20)).unwrap();
    for number in 0..10 {
        for _ in 0..2 {
            let outcome = rx.recv_into(&mut [0; 19]);
            assert!(
                matches!(outcome, Err(RecvError::BufferTooSmall { needed: 20 })),
                "{outcome:?}"
            );
        }
        check(&rx.recv().unwrap(), 1, number, 20);
    }
    assert_empty_but_alive(&mut rx);
}

fn a_stream_reads_across_the_messages_of_batches(backend: Backend) {
    let (mut rx, mut tx) = open_for_batches(backend);
    tx.send_batch(messages(0..50, 12)).unwrap();
    let mut bytes = vec![0; 50 * 12];
    for piece in bytes.chunks_mut(7) {
        rx.read_exact(piece).unwrap();
    }
    for (number, message) in (0..).zip(bytes.chunks(12)) {
        check(message, 1, number, 12);
    }
    assert_empty_but_alive(&mut rx);
}

fn a_read_gathers_the_messages_of_a_batch(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for len in [1, 8, 13, 64] {
        take_one_batch(&mut rx, &mut tx);
        tx.send_batch(messages(0..10, len)).unwrap();
        tx.send(&pattern(1, 10, len)).unwrap();
        let mut bytes = vec![0; 11 * len];
        // The first read ends inside a message.
        let (first, rest) = bytes.split_at_mut(4 * len + len / 2);
        assert_eq!(rx.read(first).unwrap(), first.len());
        assert_eq!(rx.read(rest).unwrap(), rest.len());
        for (number, message) in (0..).zip(bytes.chunks(len)) {
            check(message, 1, number, len);
        }
        assert_empty_but_alive(&mut rx);
    }
}

fn what_a_receiver_that_exits_leaves_of_a_batch_is_for_others(backend: Backend) {
    let (mut rx, mut tx) = open_for_batches(backend);
    tx.send_batch(messages(0..40, 8)).unwrap();
    let mut next = 0;
    for taken in [1, 3, 7, 20] {
        fork(|| {
            for number in next..next + taken {
                check(&rx.recv().unwrap(), 1, number, 8);
            }
        })
        .join();
        next += taken;
        check(&rx.recv().unwrap(), 1, next, 8);
        next += 1;
    }
    for number in next..40 {
        check(&rx.recv().unwrap(), 1, number, 8);
    }
    assert_empty_but_alive(&mut rx);
}

fn receivers_of_one_and_of_many_get_each_message_of_batches_once(backend: Backend) {
    const EACH: u64 = 4000;
    let (rx, tx) = open_for_batches(backend);
    // Sums over all receivers, of which one is another process.
    let (came, sum) = (shared_counter(), shared_counter());
    let receive = move |mut rx: Receiver, many: bool| {
        use std::sync::atomic::Ordering::Relaxed;
        let mut last = [None; 2];
        let mut enter = |message: &[u8]| {
            let (sender, number) = identify(message);
            check(message, sender, number, 8);
            let last = &mut last[usize::from(sender)];
            assert!(last.is_none_or(|last| last < number), "out of order");
            *last = Some(number);
            came.fetch_add(1, Relaxed);
            sum.fetch_add(number, Relaxed);
        };
        loop {
            if many {
                match rx.recv_batch() {
                    Ok(batch) => batch.for_each(&mut enter),
                    Err(error) => return assert!(matches!(error, RecvError::Disconnected)),
                }
            } else {
                match rx.recv() {
                    Ok(message) => enter(&message),
                    Err(error) => return assert!(matches!(error, RecvError::Disconnected)),
                }
            }
        }
    };
    let senders: Vec<_> = (0..2)
        .map(|sender| {
            let mut tx = tx.try_clone().unwrap();
            fork(move || {
                for first in (0..EACH).step_by(40) {
                    let batch = (first..first + 40).map(|number| pattern(sender, number, 8));
                    assert_eq!(tx.send_batch(batch).unwrap(), 40);
                }
            })
        })
        .collect();
    drop(tx);
    let process = {
        let rx = rx.try_clone().unwrap();
        fork(move || receive(rx, false))
    };
    let threads: Vec<_> = [true, false, true]
        .map(|many| {
            let rx = rx.try_clone().unwrap();
            thread(move || receive(rx, many))
        })
        .into();
    drop(rx);
    senders.into_iter().for_each(|sender| sender.join());
    threads.into_iter().for_each(|thread| thread.join());
    process.join();
    use std::sync::atomic::Ordering::Relaxed;
    assert_eq!(came.load(Relaxed), 2 * EACH);
    assert_eq!(sum.load(Relaxed), EACH * (EACH - 1));
}

fn short_messages_over_a_limit_are_refused(backend: Backend) {
    let options = PipeOptions::new().backend(backend).max_message(10);
    let (mut rx, mut tx) = options.pipe().unwrap();
    take_one_batch(&mut rx, &mut tx);
    let error = tx.send_batch(messages(0..20, 11)).unwrap_err();
    assert_eq!(error.sent, 0);
    assert!(
        matches!(error.error, SendError::TooLarge { len: 11, max: 10 }),
        "{error}"
    );
    let mut mixed = messages(0..20, 10);
    mixed.extend(messages(20..40, 11));
    assert_eq!(tx.send_batch(mixed).unwrap_err().sent, 20);
    assert_eq!(rx.recv_batch().unwrap().len(), 20);
    assert_empty_but_alive(&mut rx);
}

fn short_messages_of_a_batch_come_before_the_end(backend: Backend) {
    let (mut rx, mut tx) = open_for_batches(backend);
    fork(|| assert_eq!(tx.send_batch(messages(0..30, 8)).unwrap(), 30)).join();
    drop(tx);
    for number in 0..30 {
        check(&rx.recv().unwrap(), 1, number, 8);
    }
    assert_at_end(&mut rx);
}

fn a_sender_of_batches_hears_that_the_receiver_is_gone(backend: Backend) {
    let (rx, mut tx) = open_for_batches(backend);
    drop(rx);
    for _ in 0..2 {
        let error = tx.send_batch(messages(0..30, 8)).unwrap_err();
        assert_eq!(error.sent, 0);
        assert!(matches!(error.error, SendError::Disconnected), "{error}");
    }
}

fn an_end_is_ready_while_messages_of_a_batch_are_left(backend: Backend) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let (mut rx, mut tx) = open_for_batches(backend);
    let is_readable = |rx: &Receiver| {
        let mut fds = [PollFd::new(rx.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
    };
    assert!(!is_readable(&rx));
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    for _ in 0..3 {
        tx.send_batch(messages(0..10, 8)).unwrap();
        for number in 0..10 {
            assert!(is_readable(&rx), "message {number} is there");
            check(&rx.try_recv().unwrap(), 1, number, 8);
        }
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        assert!(!is_readable(&rx));
        take_one_batch(&mut rx, &mut tx);
    }
}

fn a_pipe_without_room_for_all_of_a_batch_takes_some(backend: Backend) {
    let (mut rx, mut tx) = open_for_batches(backend);
    // Of a pipe that is nearly full, at any distance from full.
    for spare in 0..12 {
        let mut fillers = 0;
        while tx.try_send(&[7; 1000]).is_ok() {
            fillers += 1;
        }
        while fillers > 0 && spare > 0 && tx.try_send(&vec![7; 8 * spare]).is_ok() {
            fillers += 1;
        }
        let sender = fork(|| assert_eq!(tx.send_batch(messages(0..40, 24)).unwrap(), 40));
        for _ in 0..fillers {
            rx.recv().unwrap();
        }
        let mut number = 0;
        while number < 40 {
            for message in rx.recv_batch().unwrap() {
                check(message, 1, number, 24);
                number += 1;
            }
        }
        sender.join();
        assert_empty_but_alive(&mut rx);
    }
}

/// A small pipe that has received a batch.
fn open_small(backend: Backend) -> (Receiver, Sender) {
    let options = PipeOptions::new().backend(backend).capacity(16 * 1024);
    let (mut rx, mut tx) = options.pipe().unwrap();
    take_one_batch(&mut rx, &mut tx);
    (rx, tx)
}

fn short_messages_of_one_length_take_no_header_each(backend: Backend) {
    let (mut rx, mut tx) = open_small(backend);
    let capacity = rx.capacity() as u64;
    // With a header each there were room for 1 in 16 bytes; nobody receives meanwhile.
    let count = capacity / 8 * 9 / 10;
    let all = (0..count).map(|number| pattern(1, number, 8));
    assert_eq!(tx.send_batch(all).unwrap() as u64, count);
    for number in 0..count {
        check(&rx.recv().unwrap(), 1, number, 8);
    }
    assert_empty_but_alive(&mut rx);
}

fn receivers_of_one_message_get_records_of_their_own(backend: Backend) {
    let (mut rx, mut tx) = open_small(backend);
    tx.send_batch(messages(0..10, 8)).unwrap();
    for number in 0..10 {
        check(&rx.recv().unwrap(), 1, number, 8);
    }
    // It has received one by one, so each message makes room by itself, also for one who waits for it.
    let count = rx.capacity() as u64 / 16 - 1;
    assert_eq!(tx.send_batch(messages(0..count, 8)).unwrap() as u64, count);
    for number in 0..1000 {
        check(&rx.recv().unwrap(), 1, number, 8);
        tx.send_batch(messages(number + count..number + count + 1, 8))
            .unwrap();
    }
}
