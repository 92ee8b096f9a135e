//! A receiver's own limit on a message: kept whatever the senders make of theirs.

use std::io::{BufRead, IoSlice};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::uio::pwrite;
use shmpipe::{Backend, PipeOptions, Receiver, RecvError, Sender};

use crate::ends::{CAPACITY, LARGE, assert_at_end};
use crate::handover::{receiver, sender};
use crate::support::{check, fork, fork_apart, on_both_backends, pattern};

on_both_backends! {
    a_sender_that_rewrites_the_limit_gets_nothing_past_a_receiver,
    a_long_message_over_the_limit_is_refused_at_its_beginning,
    a_limit_holds_for_what_is_received_in_place_and_in_batches,
    a_message_over_the_limit_that_carries_descriptors_is_refused,
    a_receiver_that_is_attached_sets_its_own_limit,
    a_limit_is_that_of_all_handles_and_is_never_raised,
    messages_of_exactly_the_limit_come_whole,
}

const LIMIT: usize = 1000;

/// Where a segment keeps the limit (`docs/protocol.md`).
const AT_LIMIT: i64 = 48;

/// A sender of the same pipe that has written another limit into the segment and attached itself anew.
fn without_a_limit(tx: Sender) -> Sender {
    let fds = tx.into_fds().unwrap();
    pwrite(&fds[0], &u64::MAX.to_le_bytes(), AT_LIMIT).unwrap();
    sender(fds).unwrap()
}

fn limited(backend: Backend) -> (Receiver, Sender) {
    let options = PipeOptions::new().backend(backend).capacity(CAPACITY);
    let (rx, tx) = options.max_message(LIMIT).pipe().unwrap();
    (rx, without_a_limit(tx))
}

#[track_caller]
fn assert_refused(mut rx: Receiver, receive: impl Fn(&mut Receiver) -> Result<usize, RecvError>) {
    let outcome = receive(&mut rx);
    assert!(matches!(outcome, Err(RecvError::Corrupted)), "{outcome:?}");
    assert!(matches!(rx.recv(), Err(RecvError::Corrupted)), "it stays");
}

type Receive = fn(&mut Receiver) -> Result<usize, RecvError>;

const RECEIVES: [Receive; 9] = [
    |rx| rx.recv().map(|message| message.len()),
    |rx| loop {
        match rx.try_recv() {
            Ok(message) => return Ok(message.len()),
            Err(shmpipe::TryRecvError::Empty) => {}
            Err(shmpipe::TryRecvError::Corrupted) => return Err(RecvError::Corrupted),
            Err(other) => panic!("{other}"),
        }
    },
    |rx| rx.recv_into(&mut vec![0; 2 * LARGE]),
    |rx| {
        let outcome = rx.recv_into(&mut []);
        assert!(!matches!(outcome, Err(RecvError::BufferTooSmall { .. })));
        outcome
    },
    |rx| rx.recv_batch().map(|batch| batch.len()),
    |rx| rx.recv_in_place().map(|view| view.len()),
    |rx| match rx.fill_buf() {
        Ok(bytes) => Ok(bytes.len()),
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
            Err(RecvError::Corrupted)
        }
    },
    |rx| {
        assert!(rx.poll(None).is_ok_and(|is_ready| is_ready));
        rx.recv().map(|message| message.len())
    },
    |rx| rx.messages().next().unwrap().map(|message| message.len()),
];

fn a_sender_that_rewrites_the_limit_gets_nothing_past_a_receiver(backend: Backend) {
    for receive in RECEIVES {
        for len in [LIMIT + 1, 2 * LIMIT, CAPACITY / 8 - 8] {
            let (rx, mut tx) = limited(backend);
            tx.send(&pattern(1, 0, len)).unwrap();
            assert_refused(rx, receive);
        }
    }
}

fn a_long_message_over_the_limit_is_refused_at_its_beginning(backend: Backend) {
    for receive in RECEIVES {
        for len in [CAPACITY / 8, CAPACITY / 2, LARGE] {
            let (rx, mut tx) = limited(backend);
            // The rest of it does not fit: the sender waits until the receiver is gone.
            let (child, rx) = fork_apart(rx, || drop(tx.send(&pattern(1, 0, len))));
            drop(tx);
            assert_refused(rx, receive);
            child.join();
        }
    }
}

fn a_limit_holds_for_what_is_received_in_place_and_in_batches(backend: Backend) {
    for receive in RECEIVES {
        let (mut rx, mut tx) = limited(backend);
        tx.send_batch([vec![1; LIMIT], vec![2; LIMIT], vec![3; LIMIT + 1]])
            .unwrap();
        let mut received = 0;
        // What comes before it is good.
        while received < 2 {
            let batch = rx.recv_batch().unwrap();
            received += batch
                .inspect(|message| assert_eq!(message.len(), LIMIT))
                .count();
        }
        assert_refused(rx, receive);

        let (rx, mut tx) = limited(backend);
        let mut slot = tx.reserve(LIMIT + 1).unwrap();
        slot.copy_from_slice(&[1; LIMIT + 1]);
        slot.commit().unwrap();
        assert_refused(rx, receive);
    }
}

fn a_message_over_the_limit_that_carries_descriptors_is_refused(backend: Backend) {
    let options = PipeOptions::new().backend(backend).max_message(LIMIT);
    let (mut rx, tx) = options.descriptors(true).pipe().unwrap();
    let mut tx = without_a_limit(tx);
    tx.send_with_fds(&[1; LIMIT], &[std::io::stderr().as_fd()])
        .unwrap();
    tx.send_with_fds(&[1; LIMIT + 1], &[std::io::stderr().as_fd()])
        .unwrap();
    assert_eq!(rx.recv_with_fds().unwrap().0.len(), LIMIT);
    let outcome = rx.recv_with_fds().map(|(bytes, _)| bytes.len());
    assert!(matches!(outcome, Err(RecvError::Corrupted)), "{outcome:?}");
}

fn a_receiver_that_is_attached_sets_its_own_limit(backend: Backend) {
    for receive in RECEIVES {
        let (rx, tx) = limited(backend);
        let mut tx = tx;
        // It finds in the segment what the liar wrote.
        let mut rx = receiver(rx.into_fds().unwrap()).unwrap();
        rx.limit_messages(LIMIT);
        tx.send(&[1; LIMIT]).unwrap();
        assert_eq!(rx.recv().unwrap().len(), LIMIT);
        tx.send(&[1; LIMIT + 1]).unwrap();
        assert_refused(rx, receive);
    }
}

fn a_limit_is_that_of_all_handles_and_is_never_raised(backend: Backend) {
    let (mut rx, mut tx) = limited(backend);
    let clone = rx.try_clone().unwrap();
    rx.limit_messages(usize::MAX);
    rx.limit_messages(100);
    rx.limit_messages(200);
    tx.send(&[1; 101]).unwrap();
    assert_refused(clone, |rx| rx.recv().map(|message| message.len()));
    drop(tx);
    drop(rx);
}

fn messages_of_exactly_the_limit_come_whole(backend: Backend) {
    for limit in [0, 1, LIMIT, CAPACITY / 2, LARGE] {
        let options = PipeOptions::new().backend(backend).capacity(CAPACITY);
        let (mut rx, mut tx) = options.max_message(limit).pipe().unwrap();
        let child = fork(|| {
            (0..3).for_each(|number| tx.send(&pattern(1, number, limit)).unwrap());
            let message = pattern(1, 3, limit);
            let (one, other) = message.split_at(limit / 3);
            tx.send_vectored(&[IoSlice::new(one), IoSlice::new(other)])
                .unwrap();
        });
        drop(tx);
        (0..4).for_each(|number| check(&rx.recv().unwrap(), 1, number, limit));
        child.join();
        assert!(rx.poll(Some(Duration::ZERO)).unwrap());
        assert_at_end(&mut rx);
    }
}
