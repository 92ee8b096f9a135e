//! The byte-stream view, writing and whole streams: as on `std::io::pipe`.

use std::io::{self, BufRead, BufReader, ErrorKind, IoSlice, Read, Write};

use shmpipe::{Backend, PipeOptions, TryRecvError};

use crate::ends::{CAPACITY, FILLER, open, open_duplex};
use crate::support::{check, fork, fork_apart, on_both_backends, pattern};

on_both_backends! {
    io_copy_moves_a_stream_into_and_out_of_the_pipe,
    lines_come_out_of_a_buffered_reader_whatever_the_writes_were,
    a_hundred_mebibytes_in_one_write_all_arrive_whole_through_sixty_four_kibibytes within 120,
    a_hundred_mebibytes_in_many_writes_arrive_whole_through_sixty_four_kibibytes within 120,
    read_to_end_ends_when_the_writer_drops,
    read_to_end_ends_when_the_writer_is_killed,
    each_write_is_one_message,
    an_empty_write_sends_nothing,
    flush_succeeds_and_does_nothing,
    a_write_over_the_limit_sends_the_first_part,
    a_write_where_no_byte_is_allowed_is_an_error,
    a_write_without_a_reader_is_a_broken_pipe,
    formatted_text_passes,
    a_vectored_write_loses_no_byte_that_it_counts,
    a_connection_is_read_and_written_as_its_halves_are,
}

fn io_copy_moves_a_stream_into_and_out_of_the_pipe(backend: Backend) {
    const LEN: usize = 1_000_003;
    let (mut rx, mut tx) = open(backend);
    let child = fork(move || {
        let copied = io::copy(&mut &pattern(1, 0, LEN)[..], &mut tx).unwrap();
        assert_eq!(copied, LEN as u64);
    });
    let mut received = Vec::new();
    assert_eq!(io::copy(&mut rx, &mut received).unwrap(), LEN as u64);
    check(&received, 1, 0, LEN);
    child.join();
}

fn lines_come_out_of_a_buffered_reader_whatever_the_writes_were(backend: Backend) {
    let (rx, mut tx) = open(backend);
    for piece in ["first li", "ne\nsecond line\n\nfou", "", "rth line\nno end"] {
        tx.write_all(piece.as_bytes()).unwrap();
    }
    drop(tx);
    let lines: Vec<String> = BufReader::new(rx).lines().map(Result::unwrap).collect();
    assert_eq!(
        lines,
        ["first line", "second line", "", "fourth line", "no end"]
    );
}

/// Reads `len` bytes in pieces and compares them with what one pattern of that length is.
fn assert_stream(mut stream: impl Read, len: usize) {
    let expected = pattern(1, 0, len);
    let mut buf = [0; 10_000];
    let mut at = 0;
    loop {
        let read = stream.read(&mut buf).unwrap();
        if read == 0 {
            break;
        }
        assert!(
            at + read <= len,
            "{} bytes are more than were sent",
            at + read
        );
        assert!(
            buf[..read] == expected[at..at + read],
            "wrong bytes after {at}"
        );
        at += read;
    }
    assert_eq!(at, len);
}

const HUNDRED_MEBIBYTES: usize = 100 << 20;

fn a_hundred_mebibytes_in_one_write_all_arrive_whole_through_sixty_four_kibibytes(
    backend: Backend,
) {
    let (rx, mut tx) = open(backend);
    let (child, rx) = fork_apart(rx, move || {
        tx.write_all(&pattern(1, 0, HUNDRED_MEBIBYTES)).unwrap()
    });
    assert_stream(rx, HUNDRED_MEBIBYTES);
    child.join();
}

fn a_hundred_mebibytes_in_many_writes_arrive_whole_through_sixty_four_kibibytes(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let (child, rx) = fork_apart(rx, move || {
        let bytes = pattern(1, 0, HUNDRED_MEBIBYTES);
        bytes
            .chunks(7919)
            .for_each(|piece| tx.write_all(piece).unwrap());
    });
    assert_stream(rx, HUNDRED_MEBIBYTES);
    child.join();
}

fn read_to_end_ends_when_the_writer_drops(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    (0..10).for_each(|number| tx.write_all(&pattern(1, number, FILLER)).unwrap());
    drop(tx);
    let mut received = Vec::new();
    assert_eq!(rx.read_to_end(&mut received).unwrap(), 10 * FILLER);
    (0..)
        .zip(received.chunks(FILLER))
        .for_each(|(number, part)| check(part, 1, number, FILLER));
    assert_eq!(rx.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(rx.read_to_end(&mut received).unwrap(), 0);
}

fn read_to_end_ends_when_the_writer_is_killed(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let writer = fork(move || {
        tx.write_all(b"last words").unwrap();
        crate::support::Line::new().wait();
    });
    let reader = fork(|| {
        let mut text = String::new();
        rx.read_to_string(&mut text).unwrap();
        assert_eq!(text, "last words");
    });
    reader.until_asleep();
    writer.until_asleep();
    writer.kill();
    reader.join();
}

fn each_write_is_one_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    assert_eq!(tx.write(b"one").unwrap(), 3);
    tx.write_all(&pattern(1, 0, CAPACITY / 2)).unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"one");
    check(&rx.recv().unwrap(), 1, 0, CAPACITY / 2);
}

fn an_empty_write_sends_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    assert_eq!(tx.write(b"").unwrap(), 0);
    tx.write_all(b"").unwrap();
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
}

fn flush_succeeds_and_does_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.flush().unwrap();
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    drop(rx);
    tx.flush().unwrap();
}

fn a_write_over_the_limit_sends_the_first_part(backend: Backend) {
    let (mut rx, mut tx) = PipeOptions::new()
        .backend(backend)
        .max_message(10)
        .pipe()
        .unwrap();
    assert_eq!(tx.write(b"0123456789ABC").unwrap(), 10);
    assert_eq!(&*rx.recv().unwrap(), b"0123456789");
    tx.write_all(b"0123456789ABCDEFGHIJKLM").unwrap();
    drop(tx);
    let parts: Vec<_> = rx.messages().map(Result::unwrap).collect();
    assert_eq!(parts, [&b"0123456789"[..], b"ABCDEFGHIJ", b"KLM"]);
}

fn a_write_where_no_byte_is_allowed_is_an_error(backend: Backend) {
    let (_rx, mut tx) = PipeOptions::new()
        .backend(backend)
        .max_message(0)
        .pipe()
        .unwrap();
    assert_eq!(tx.write(b"").unwrap(), 0);
    assert_eq!(tx.write(b"x").unwrap_err().kind(), ErrorKind::InvalidInput);
}

fn a_write_without_a_reader_is_a_broken_pipe(backend: Backend) {
    let (rx, mut tx) = open(backend);
    drop(rx);
    assert_eq!(tx.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(
        tx.write_all(&[7; FILLER]).unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
    let copied = io::copy(&mut &b"some bytes"[..], &mut tx);
    assert_eq!(copied.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

fn formatted_text_passes(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    writeln!(tx, "{} and {:?}", 1, "two").unwrap();
    drop(tx);
    let mut text = String::new();
    rx.read_to_string(&mut text).unwrap();
    assert_eq!(text, "1 and \"two\"\n");
}

fn a_vectored_write_loses_no_byte_that_it_counts(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let parts = [
        IoSlice::new(b""),
        IoSlice::new(b"abc"),
        IoSlice::new(b"defg"),
    ];
    let written = tx.write_vectored(&parts).unwrap();
    assert!(written > 0);
    drop(tx);
    let mut received = Vec::new();
    rx.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"abcdefg"[..written]);
}

fn a_connection_is_read_and_written_as_its_halves_are(backend: Backend) {
    let (mut left, mut right) = open_duplex(backend);
    left.write_all(b"a line\n").unwrap();
    left.flush().unwrap();
    let mut line = [0; 7];
    right.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"a line\n");
    right.write_all(b"an answer").unwrap();
    drop(right);
    let mut text = String::new();
    left.read_to_string(&mut text).unwrap();
    assert_eq!(text, "an answer");
    assert_eq!(left.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}
