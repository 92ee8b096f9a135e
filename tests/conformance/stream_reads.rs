//! The byte-stream view, single reads: what one call takes, and what it leaves.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use shmpipe::{Backend, RecvError};

use crate::ends::{FILLER, LARGE, assert_at_end, open};
use crate::support::{check, fork, fork_apart, on_both_backends, pattern};

on_both_backends! {
    a_read_gathers_several_small_messages_when_they_are_there,
    a_read_takes_what_fits_and_leaves_the_rest,
    a_read_skips_empty_messages,
    a_read_waits_past_empty_messages_for_a_byte,
    a_read_of_nothing_but_empty_messages_ends_at_the_end,
    a_read_blocks_while_the_pipe_is_empty,
    a_read_with_an_empty_buffer_returns_at_once_and_takes_nothing,
    a_read_byte_by_byte_gives_every_byte,
    a_read_of_a_large_message_gives_its_bytes_in_order,
    a_read_of_zero_bytes_means_the_end_and_it_stays,
    read_exact_at_the_end_is_an_unexpected_end,
    the_rest_of_a_message_after_a_read_is_what_recv_returns,
    the_rest_of_a_message_after_a_read_is_what_every_kind_of_recv_returns,
    the_rest_of_a_message_after_a_read_makes_poll_true,
    the_rest_of_a_message_after_a_read_does_not_fit_a_smaller_buffer,
    the_rest_of_a_message_after_a_read_stays_with_its_handle,
}

fn a_read_gathers_several_small_messages_when_they_are_there(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for message in [&b"abc"[..], b"d", b"efgh"] {
        tx.send(message).unwrap();
    }
    let mut buf = [0; 16];
    assert_eq!(rx.read(&mut buf).unwrap(), 8);
    assert_eq!(&buf[..8], b"abcdefgh");
}

fn a_read_takes_what_fits_and_leaves_the_rest(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"abcdef").unwrap();
    tx.send(b"ghij").unwrap();
    let mut buf = [0; 4];
    assert_eq!(rx.read(&mut buf).unwrap(), 4);
    assert_eq!(&buf, b"abcd");
    assert_eq!(rx.read(&mut buf).unwrap(), 4);
    assert_eq!(&buf, b"efgh");
    assert_eq!(rx.read(&mut buf).unwrap(), 2);
    assert_eq!(&buf[..2], b"ij");
}

fn a_read_skips_empty_messages(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for message in [&b""[..], b"a", b"", b"", b"b", b""] {
        tx.send(message).unwrap();
    }
    drop(tx);
    let mut received = Vec::new();
    rx.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"ab");
}

fn a_read_waits_past_empty_messages_for_a_byte(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    (0..3).for_each(|_| tx.send(b"").unwrap());
    let child = fork(move || {
        let mut buf = [0; 8];
        assert_eq!(rx.read(&mut buf).unwrap(), 1);
        assert_eq!(buf[0], b'x');
    });
    child.until_asleep();
    tx.send(b"").unwrap();
    child.until_asleep();
    tx.send(b"x").unwrap();
    child.join();
}

fn a_read_of_nothing_but_empty_messages_ends_at_the_end(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    (0..3).for_each(|_| tx.send(b"").unwrap());
    drop(tx);
    assert_eq!(rx.read(&mut [0; 8]).unwrap(), 0);
    assert_at_end(&mut rx);
}

fn a_read_blocks_while_the_pipe_is_empty(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let (child, mut tx) = fork_apart(tx, move || {
        let mut buf = [0; 8];
        assert_eq!(rx.read(&mut buf).unwrap(), 7);
        assert_eq!(rx.read(&mut buf).unwrap(), 0);
    });
    child.until_asleep();
    tx.send(b"at last").unwrap();
    child.until_asleep();
    drop(tx);
    child.join();
}

fn a_read_with_an_empty_buffer_returns_at_once_and_takes_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    assert_eq!(rx.read(&mut []).unwrap(), 0);
    tx.send(b"still there").unwrap();
    assert_eq!(rx.read(&mut []).unwrap(), 0);
    assert_eq!(&*rx.recv().unwrap(), b"still there");
}

fn a_read_byte_by_byte_gives_every_byte(backend: Backend) {
    let (rx, mut tx) = open(backend);
    for number in 0..3 {
        tx.send(&pattern(1, number, FILLER)).unwrap();
    }
    drop(tx);
    #[allow(
        clippy::unbuffered_bytes,
        reason = "reads of a single byte are what is tested"
    )]
    let bytes: Vec<u8> = rx.bytes().map(Result::unwrap).collect();
    assert_eq!(bytes.len(), 3 * FILLER);
    (0..)
        .zip(bytes.chunks(FILLER))
        .for_each(|(number, part)| check(part, 1, number, FILLER));
}

fn a_read_of_a_large_message_gives_its_bytes_in_order(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    let mut received = vec![0; LARGE];
    let (first, rest) = received.split_at_mut(999);
    rx.read_exact(first).unwrap();
    for part in rest.chunks_mut(5000) {
        rx.read_exact(part).unwrap();
    }
    check(&received, 1, 0, LARGE);
    child.join();
}

fn a_read_of_zero_bytes_means_the_end_and_it_stays(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"abc").unwrap();
    drop(tx);
    let mut buf = [0; 8];
    assert_eq!(rx.read(&mut buf).unwrap(), 3);
    (0..3).for_each(|_| assert_eq!(rx.read(&mut buf).unwrap(), 0));
    assert_at_end(&mut rx);
}

fn read_exact_at_the_end_is_an_unexpected_end(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"abc").unwrap();
    drop(tx);
    let error = rx.read_exact(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

/// A pipe with a message of ten bytes of which a read has taken four, and one more.
fn with_a_rest(backend: Backend) -> (shmpipe::Receiver, shmpipe::Sender) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"0123456789").unwrap();
    tx.send(b"next").unwrap();
    let mut start = [0; 4];
    rx.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"0123");
    (rx, tx)
}

fn the_rest_of_a_message_after_a_read_is_what_recv_returns(backend: Backend) {
    let (mut rx, tx) = with_a_rest(backend);
    assert_eq!(&*rx.recv().unwrap(), b"456789");
    assert_eq!(&*rx.recv().unwrap(), b"next");
    drop(tx);
    assert_at_end(&mut rx);
}

fn the_rest_of_a_message_after_a_read_is_what_every_kind_of_recv_returns(backend: Backend) {
    let (mut rx, _tx) = with_a_rest(backend);
    assert_eq!(&*rx.try_recv().unwrap(), b"456789");
    assert_eq!(&*rx.try_recv().unwrap(), b"next");
    let (mut rx, _tx) = with_a_rest(backend);
    assert_eq!(
        &*rx.recv_timeout(Duration::from_secs(3600)).unwrap(),
        b"456789"
    );
    assert_eq!(
        &*rx.recv_timeout(Duration::from_secs(3600)).unwrap(),
        b"next"
    );
    let (mut rx, _tx) = with_a_rest(backend);
    let mut buf = [0; 10];
    assert_eq!(rx.recv_into(&mut buf).unwrap(), 6);
    assert_eq!(&buf[..6], b"456789");
    assert_eq!(rx.recv_into(&mut buf).unwrap(), 4);
    let (mut rx, tx) = with_a_rest(backend);
    drop(tx);
    assert_eq!(
        rx.messages().collect::<Result<Vec<_>, _>>().unwrap(),
        [&b"456789"[..], b"next"]
    );
    let (mut rx, _tx) = with_a_rest(backend);
    assert_eq!(rx.recv().unwrap().into_vec(), b"456789");
    assert_eq!(rx.recv().unwrap().into_vec(), b"next");
}

fn the_rest_of_a_message_after_a_read_makes_poll_true(backend: Backend) {
    let (mut rx, tx) = with_a_rest(backend);
    drop(tx);
    assert!(rx.poll(Some(Duration::ZERO)).unwrap());
    assert!(rx.poll(None).unwrap());
    assert_eq!(rx.recv().unwrap().len(), 6);
    assert_eq!(&*rx.recv().unwrap(), b"next");
}

fn the_rest_of_a_message_after_a_read_does_not_fit_a_smaller_buffer(backend: Backend) {
    let (mut rx, _tx) = with_a_rest(backend);
    let outcome = rx.recv_into(&mut [0; 5]);
    assert!(
        matches!(outcome, Err(RecvError::BufferTooSmall { needed: 6 })),
        "{outcome:?}"
    );
    assert_eq!(&*rx.recv().unwrap(), b"456789");
}

fn the_rest_of_a_message_after_a_read_stays_with_its_handle(backend: Backend) {
    let (mut rx, tx) = with_a_rest(backend);
    let mut clone = rx.try_clone().unwrap();
    assert_eq!(&*clone.recv().unwrap(), b"next");
    assert_eq!(&*rx.recv().unwrap(), b"456789");
    drop(tx);
    assert_at_end(&mut rx);
    assert_at_end(&mut clone);
}
