//! Messages made of several pieces: whole, in order, and otherwise as any other.

use std::io::{IoSlice, Write};

use shmpipe::{Backend, PipeOptions, SendError, Sender, TrySendError};

use crate::ends::{
    CAPACITY, FILLER, LARGE, assert_at_end, assert_empty_but_alive, open, open_duplex,
};
use crate::support::{check, fork, on_both_backends, pattern};

on_both_backends! {
    pieces_of_every_length_arrive_as_one_message,
    no_pieces_and_empty_pieces_are_an_empty_message,
    pieces_longer_than_the_pipe_arrive_whole,
    try_send_vectored_sends_all_or_nothing,
    pieces_over_the_limit_are_too_large_together,
    a_vectored_write_is_one_message_within_the_limit,
    pieces_cross_a_two_way_pipe,
    pieces_without_a_receiver_are_disconnected,
}

/// Cuts `message` after `at` bytes and then after each `step`.
fn cut(message: &[u8], at: usize, step: usize) -> Vec<IoSlice<'_>> {
    let (first, rest) = message.split_at(at);
    std::iter::once(first)
        .chain(rest.chunks(step))
        .map(IoSlice::new)
        .collect()
}

fn send_cut(tx: &mut Sender, number: u64, len: usize, at: usize, step: usize) {
    let message = pattern(1, number, len);
    tx.send_vectored(&cut(&message, at, step)).unwrap();
}

fn pieces_of_every_length_arrive_as_one_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut number = 0;
    for len in [
        1,
        7,
        8,
        9,
        63,
        64,
        65,
        200,
        4080,
        4081,
        CAPACITY / 8 - 8,
        CAPACITY / 8,
    ] {
        for at in [0, 1, 3, 7, 8, 9, len] {
            for step in [1, 3, 8, 13, 1000] {
                send_cut(&mut tx, number, len, at.min(len), step);
                check(&rx.recv().unwrap(), 1, number, len);
                number += 1;
            }
        }
    }
    assert_empty_but_alive(&mut rx);
}

fn no_pieces_and_empty_pieces_are_an_empty_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send_vectored(&[]).unwrap();
    tx.send_vectored(&[IoSlice::new(b""), IoSlice::new(b"")])
        .unwrap();
    drop(tx);
    assert_eq!(
        rx.messages().collect::<Result<Vec<_>, _>>().unwrap(),
        [b"", b""]
    );
    assert_at_end(&mut rx);
}

fn pieces_longer_than_the_pipe_arrive_whole(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| {
        for (number, step) in [(0, 1001), (1, CAPACITY / 8), (2, CAPACITY), (3, LARGE)] {
            send_cut(&mut tx, number, LARGE, 5, step);
        }
    });
    (0..4).for_each(|number| check(&rx.recv().unwrap(), 1, number, LARGE));
    sender.join();
    assert_empty_but_alive(&mut rx);
}

fn try_send_vectored_sends_all_or_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut sent = 0;
    let refused = loop {
        let message = pattern(1, sent, FILLER);
        match tx.try_send_vectored(&cut(&message, 3, 100)) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, TrySendError::Full), "{refused}");
    assert!(sent > 0);
    (0..sent).for_each(|number| check(&rx.recv().unwrap(), 1, number, FILLER));
    assert_empty_but_alive(&mut rx);
    let large = vec![0; LARGE];
    let outcome = tx.try_send_vectored(&cut(&large, 0, CAPACITY));
    assert!(
        matches!(
            outcome,
            Err(TrySendError::TooLargeAtOnce { len: LARGE, .. })
        ),
        "{outcome:?}"
    );
}

fn pieces_over_the_limit_are_too_large_together(backend: Backend) {
    let options = PipeOptions::new().backend(backend).max_message(100);
    let (mut rx, mut tx) = options.pipe().unwrap();
    let message = pattern(1, 0, 101);
    let outcome = tx.send_vectored(&cut(&message, 50, 30));
    assert!(
        matches!(outcome, Err(SendError::TooLarge { len: 101, max: 100 })),
        "{outcome:?}"
    );
    send_cut(&mut tx, 0, 100, 50, 30);
    check(&rx.recv().unwrap(), 1, 0, 100);
    assert_empty_but_alive(&mut rx);
}

fn a_vectored_write_is_one_message_within_the_limit(backend: Backend) {
    let options = PipeOptions::new().backend(backend).max_message(100);
    let (mut rx, mut tx) = options.pipe().unwrap();
    let message = pattern(1, 0, 130);
    assert_eq!(tx.write_vectored(&cut(&message, 99, 7)).unwrap(), 100);
    assert_eq!(&*rx.recv().unwrap(), &message[..100]);
    assert_eq!(tx.write_vectored(&cut(&message[..60], 9, 7)).unwrap(), 60);
    assert_eq!(&*rx.recv().unwrap(), &message[..60]);
    assert_eq!(tx.write_vectored(&[IoSlice::new(b"")]).unwrap(), 0);
    assert_empty_but_alive(&mut rx);
}

fn pieces_cross_a_two_way_pipe(backend: Backend) {
    let (mut left, mut right) = open_duplex(backend);
    let pieces = [IoSlice::new(b"to the "), IoSlice::new(b"right")];
    left.send_vectored(&pieces).unwrap();
    left.try_send_vectored(&pieces[1..]).unwrap();
    assert_eq!(left.write_vectored(&pieces[..1]).unwrap(), 7);
    assert_eq!(&*right.recv().unwrap(), b"to the right");
    assert_eq!(&*right.recv().unwrap(), b"right");
    assert_eq!(&*right.recv().unwrap(), b"to the ");
}

fn pieces_without_a_receiver_are_disconnected(backend: Backend) {
    let (rx, mut tx) = open(backend);
    drop(rx);
    let outcome = tx.send_vectored(&[IoSlice::new(b"x")]);
    assert!(
        matches!(outcome, Err(SendError::Disconnected)),
        "{outcome:?}"
    );
    let outcome = tx.try_send_vectored(&[]);
    assert!(
        matches!(outcome, Err(TrySendError::Disconnected)),
        "{outcome:?}"
    );
}
