//! The byte-stream view, lent reads: `io::BufRead` on the ends, and how it mixes with every other call.

use std::io::{BufRead, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::time::Duration;

use shmpipe::{Backend, PipeOptions, Receiver, RecvError, Sender};

use crate::ends::{CAPACITY, FILLER, LARGE, assert_at_end, open, open_duplex};
use crate::support::{check, fork, fork_apart, on_both_backends, pattern};

on_both_backends! {
    fill_buf_lends_the_next_message_until_it_is_consumed,
    fill_buf_skips_empty_messages,
    fill_buf_blocks_while_the_pipe_is_empty,
    fill_buf_lends_nothing_at_the_end_and_it_stays,
    consuming_more_than_there_is_takes_all_and_no_more,
    lines_need_no_buffered_reader,
    read_until_goes_over_the_edges_of_messages,
    a_large_message_is_lent_whole,
    what_was_not_consumed_is_what_every_kind_of_recv_returns,
    what_was_not_consumed_makes_poll_true,
    reads_and_lent_reads_go_on_where_the_other_left_off,
    after_a_received_message_fill_buf_lends_the_next_one,
    after_a_message_was_taken_as_a_vector_fill_buf_lends_the_next_one,
    a_message_whose_sender_died_is_reported_once_and_the_lines_go_on,
    an_error_that_a_read_put_off_comes_from_fill_buf,
    a_vectored_read_fills_one_buffer_after_the_other,
    a_vectored_read_waits_for_a_byte_and_for_no_more,
    a_vectored_write_is_one_message,
    a_vectored_write_of_nothing_sends_nothing,
    a_vectored_write_over_the_limit_sends_the_first_part,
    a_vectored_write_without_a_reader_is_a_broken_pipe,
    a_connection_lends_and_gathers_as_its_halves_do,
}

fn fill_buf_lends_the_next_message_until_it_is_consumed(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"abcdef").unwrap();
    tx.send(b"ghi").unwrap();
    assert_eq!(rx.fill_buf().unwrap(), b"abcdef");
    assert_eq!(rx.fill_buf().unwrap(), b"abcdef");
    rx.consume(0);
    rx.consume(4);
    assert_eq!(rx.fill_buf().unwrap(), b"ef");
    rx.consume(2);
    assert_eq!(rx.fill_buf().unwrap(), b"ghi");
}

fn fill_buf_skips_empty_messages(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for message in [&b""[..], b"", b"a", b""] {
        tx.send(message).unwrap();
    }
    drop(tx);
    assert_eq!(rx.fill_buf().unwrap(), b"a");
    rx.consume(1);
    assert_eq!(rx.fill_buf().unwrap(), b"");
}

fn fill_buf_blocks_while_the_pipe_is_empty(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let (child, mut tx) = fork_apart(tx, move || {
        assert_eq!(rx.fill_buf().unwrap(), b"at last");
        rx.consume(7);
        assert_eq!(rx.fill_buf().unwrap(), b"");
    });
    child.until_asleep();
    tx.send(b"").unwrap();
    child.until_asleep();
    tx.send(b"at last").unwrap();
    child.until_asleep();
    drop(tx);
    child.join();
}

fn fill_buf_lends_nothing_at_the_end_and_it_stays(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"abc").unwrap();
    assert_eq!(rx.fill_buf().unwrap(), b"abc");
    drop(tx);
    rx.consume(3);
    (0..3).for_each(|_| assert_eq!(rx.fill_buf().unwrap(), b""));
    assert_at_end(&mut rx);
    assert_eq!(rx.fill_buf().unwrap(), b"");
}

fn consuming_more_than_there_is_takes_all_and_no_more(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"abc").unwrap();
    tx.send(b"next").unwrap();
    rx.consume(usize::MAX);
    assert_eq!(rx.fill_buf().unwrap(), b"abc");
    rx.consume(usize::MAX);
    assert_eq!(rx.fill_buf().unwrap(), b"next");
}

fn lines_need_no_buffered_reader(backend: Backend) {
    let (rx, mut tx) = open(backend);
    for piece in [
        "first li",
        "",
        "ne\r\nsecond line\n\nfou",
        "rth line\nno end",
    ] {
        tx.send(piece.as_bytes()).unwrap();
    }
    drop(tx);
    let lines: Vec<String> = rx.lines().map(Result::unwrap).collect();
    assert_eq!(
        lines,
        ["first line", "second line", "", "fourth line", "no end"]
    );
}

fn read_until_goes_over_the_edges_of_messages(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for piece in [&b"ab"[..], b"c", b"", b"d;ef", b";gh"] {
        tx.send(piece).unwrap();
    }
    drop(tx);
    let mut parts = Vec::new();
    loop {
        let mut part = Vec::new();
        if rx.read_until(b';', &mut part).unwrap() == 0 {
            break;
        }
        parts.push(part);
    }
    assert_eq!(parts, [&b"abcd;"[..], b"ef;", b"gh"]);
    assert_at_end(&mut rx);
}

fn a_large_message_is_lent_whole(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    check(rx.fill_buf().unwrap(), 1, 0, LARGE);
    child.join();
}

/// A pipe with a message of which `fill_buf` and `consume` have taken four bytes, and one more message.
fn with_a_rest(backend: Backend) -> (Receiver, Sender) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"0123456789").unwrap();
    tx.send(b"next").unwrap();
    assert_eq!(rx.fill_buf().unwrap(), b"0123456789");
    rx.consume(4);
    (rx, tx)
}

fn what_was_not_consumed_is_what_every_kind_of_recv_returns(backend: Backend) {
    let (mut rx, _tx) = with_a_rest(backend);
    assert_eq!(&*rx.recv().unwrap(), b"456789");
    assert_eq!(&*rx.recv().unwrap(), b"next");
    let (mut rx, _tx) = with_a_rest(backend);
    assert_eq!(rx.try_recv().unwrap().into_vec(), b"456789");
    assert_eq!(rx.try_recv().unwrap().into_vec(), b"next");
    let (mut rx, _tx) = with_a_rest(backend);
    let hour = Duration::from_secs(3600);
    assert_eq!(&*rx.recv_timeout(hour).unwrap(), b"456789");
    assert_eq!(&*rx.recv_timeout(hour).unwrap(), b"next");
    let (mut rx, _tx) = with_a_rest(backend);
    let mut buf = [0; 10];
    let outcome = rx.recv_into(&mut buf[..5]);
    assert!(
        matches!(outcome, Err(RecvError::BufferTooSmall { needed: 6 })),
        "{outcome:?}"
    );
    assert_eq!(rx.recv_into(&mut buf).unwrap(), 6);
    assert_eq!(&buf[..6], b"456789");
    assert_eq!(rx.recv_into(&mut buf).unwrap(), 4);
    let (mut rx, tx) = with_a_rest(backend);
    drop(tx);
    assert_eq!(
        rx.messages().collect::<Result<Vec<_>, _>>().unwrap(),
        [&b"456789"[..], b"next"]
    );
}

fn what_was_not_consumed_makes_poll_true(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"ab").unwrap();
    assert_eq!(rx.fill_buf().unwrap(), b"ab");
    assert!(rx.poll(Some(Duration::ZERO)).unwrap());
    rx.consume(1);
    assert!(rx.poll(Some(Duration::ZERO)).unwrap());
    rx.consume(1);
    assert!(!rx.poll(Some(Duration::ZERO)).unwrap());
}

fn reads_and_lent_reads_go_on_where_the_other_left_off(backend: Backend) {
    let (mut rx, mut tx) = with_a_rest(backend);
    let mut buf = [0; 2];
    rx.read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"45");
    assert_eq!(rx.fill_buf().unwrap(), b"6789");
    rx.consume(3);
    let mut rest = [0; 8];
    assert_eq!(rx.read(&mut rest).unwrap(), 5);
    assert_eq!(&rest[..5], b"9next");
    tx.send(b"and on").unwrap();
    assert_eq!(rx.fill_buf().unwrap(), b"and on");
}

fn after_a_received_message_fill_buf_lends_the_next_one(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for message in [&b"one"[..], b"two", b"three"] {
        tx.send(message).unwrap();
    }
    assert_eq!(&*rx.recv().unwrap(), b"one");
    assert_eq!(rx.fill_buf().unwrap(), b"two");
    assert_eq!(&*rx.recv().unwrap(), b"two");
    assert_eq!(rx.fill_buf().unwrap(), b"three");
}

fn after_a_message_was_taken_as_a_vector_fill_buf_lends_the_next_one(backend: Backend) {
    let (mut rx, mut tx) = with_a_rest(backend);
    assert_eq!(rx.recv().unwrap().into_vec(), b"456789");
    rx.consume(1);
    assert_eq!(rx.fill_buf().unwrap(), b"next");
    assert_eq!(rx.recv().unwrap().into_vec(), b"next");
    tx.send(b"last").unwrap();
    assert_eq!(rx.fill_buf().unwrap(), b"last");
}

/// Has a child killed in the middle of a large message, after it sent `before`.
fn die_inside_a_message(tx: &mut Sender, before: &[u8]) {
    let victim = fork(|| {
        tx.send(before).unwrap();
        tx.send(&pattern(1, 0, LARGE)).unwrap();
    });
    victim.until_asleep();
    victim.kill();
}

fn a_message_whose_sender_died_is_reported_once_and_the_lines_go_on(backend: Backend) {
    let (rx, mut tx) = open(backend);
    die_inside_a_message(&mut tx, b"whole\nhalf ");
    let (other, rx) = fork_apart(rx, move || {
        tx.write_all(b"a line\nafterwards").unwrap();
    });
    let mut lines = rx.lines();
    assert_eq!(lines.next().unwrap().unwrap(), "whole");
    // Of the line in which the error came, `lines` keeps nothing, here as with any reader.
    let error = lines.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(lines.next().unwrap().unwrap(), "a line");
    assert_eq!(lines.next().unwrap().unwrap(), "afterwards");
    assert!(lines.next().is_none());
    other.join();
}

fn an_error_that_a_read_put_off_comes_from_fill_buf(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    die_inside_a_message(&mut tx, b"whole");
    let (other, tx) = fork_apart(tx, || {
        // One read takes the whole message, meets the death behind it, and has bytes to return first.
        let mut buf = [0; CAPACITY];
        assert_eq!(rx.read(&mut buf).unwrap(), 5);
        assert!(rx.poll(Some(Duration::ZERO)).unwrap());
        assert_eq!(rx.fill_buf().unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(rx.fill_buf().unwrap(), b"");
    });
    drop(tx);
    other.join();
}

fn a_vectored_read_fills_one_buffer_after_the_other(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"abcdef").unwrap();
    tx.send(b"").unwrap();
    tx.send(b"ghi").unwrap();
    let (mut first, mut second, mut third) = ([0; 4], [0; 3], [0; 8]);
    let mut bufs = [
        IoSliceMut::new(&mut []),
        IoSliceMut::new(&mut first),
        IoSliceMut::new(&mut second),
        IoSliceMut::new(&mut third),
    ];
    assert_eq!(rx.read_vectored(&mut bufs).unwrap(), 9);
    assert_eq!((&first, &second), (b"abcd", b"efg"));
    assert_eq!(&third[..2], b"hi");
    drop(tx);
    assert_eq!(
        rx.read_vectored(&mut [IoSliceMut::new(&mut first)])
            .unwrap(),
        0
    );
}

fn a_vectored_read_waits_for_a_byte_and_for_no_more(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = fork(move || {
        let (mut first, mut second) = ([0; 4], [0; 4]);
        let mut bufs = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(rx.read_vectored(&mut bufs).unwrap(), 4);
        assert_eq!(&first, b"full");
    });
    child.until_asleep();
    tx.send(b"full").unwrap();
    child.join();
}

fn a_vectored_write_is_one_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for len in [6, FILLER, CAPACITY / 2] {
        let whole = pattern(1, 0, len);
        let (first, rest) = whole.split_at(len / 3);
        let pieces = [b"", first, b"", rest, b""].map(IoSlice::new);
        assert_eq!(tx.write_vectored(&pieces).unwrap(), len);
        check(&rx.recv().unwrap(), 1, 0, len);
        let alone = [b"", &whole[..], b""].map(IoSlice::new);
        assert_eq!(tx.write_vectored(&alone).unwrap(), len);
        check(&rx.recv().unwrap(), 1, 0, len);
    }
}

fn a_vectored_write_of_nothing_sends_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    assert_eq!(tx.write_vectored(&[]).unwrap(), 0);
    assert_eq!(
        tx.write_vectored(&[b"", b""].map(|b| IoSlice::new(b)))
            .unwrap(),
        0
    );
    assert!(!rx.poll(Some(Duration::ZERO)).unwrap());
}

fn a_vectored_write_over_the_limit_sends_the_first_part(backend: Backend) {
    let limited = |max| {
        let options = PipeOptions::new().backend(backend).max_message(max);
        options.pipe().unwrap()
    };
    let pieces = [&b"01234"[..], b"56789ABC"].map(IoSlice::new);
    let (mut rx, mut tx) = limited(10);
    assert_eq!(tx.write_vectored(&pieces).unwrap(), 10);
    assert_eq!(&*rx.recv().unwrap(), b"0123456789");
    let (mut rx, mut tx) = limited(3);
    assert_eq!(tx.write_vectored(&pieces).unwrap(), 3);
    assert_eq!(&*rx.recv().unwrap(), b"012");
    let (_rx, mut tx) = limited(0);
    let error = tx.write_vectored(&pieces).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

fn a_vectored_write_without_a_reader_is_a_broken_pipe(backend: Backend) {
    let (rx, mut tx) = open(backend);
    drop(rx);
    let error = tx
        .write_vectored(&[b"ab", b"cd"].map(|b| IoSlice::new(b)))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

fn a_connection_lends_and_gathers_as_its_halves_do(backend: Backend) {
    let (mut left, mut right) = open_duplex(backend);
    let pieces = [&b"a li"[..], b"ne\nand "].map(IoSlice::new);
    assert_eq!(left.write_vectored(&pieces).unwrap(), 11);
    let mut line = String::new();
    right.read_line(&mut line).unwrap();
    assert_eq!(line, "a line\n");
    let (mut first, mut second) = ([0; 2], [0; 8]);
    let mut bufs = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(right.read_vectored(&mut bufs).unwrap(), 4);
    assert_eq!((&first, &second[..2]), (b"an", &b"d "[..]));
    drop(left);
    assert_eq!(right.fill_buf().unwrap(), b"");
}
