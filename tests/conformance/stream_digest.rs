//! The byte-stream view, 100 MiB at a time: what went in comes out, by its SHA-256 digest.

use std::io::{self, BufRead, BufReader, Read, Write};

use sha2::{Digest, Sha256};
use shmpipe::Backend;

use crate::ends::open;
use crate::support::{Random, fork_apart, on_both_backends, pattern};

on_both_backends! {
    a_hundred_mebibytes_pass_by_io_copy_on_both_sides within 120,
    a_hundred_mebibytes_pass_from_vectored_writes_to_lent_reads within 120,
    a_hundred_mebibytes_of_lines_pass_through_a_buffered_reader within 120,
}

const LEN: usize = 100 << 20;

/// A sink that keeps nothing but the digest and the length of what was written.
struct Hashed(Sha256, usize);

impl Hashed {
    fn new() -> Self {
        Self(Sha256::new(), 0)
    }

    fn of(bytes: &[u8]) -> Vec<u8> {
        Sha256::digest(bytes).to_vec()
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        self.1 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn a_hundred_mebibytes_pass_by_io_copy_on_both_sides(backend: Backend) {
    let bytes = pattern(1, 0, LEN);
    let (rx, mut tx) = open(backend);
    let (child, mut rx) = fork_apart(rx, || {
        let copied = io::copy(&mut &bytes[..], &mut tx).unwrap();
        assert_eq!(copied, LEN as u64);
    });
    drop(tx);
    let mut hashed = Hashed::new();
    assert_eq!(io::copy(&mut rx, &mut hashed).unwrap(), LEN as u64);
    assert_eq!(hashed.0.finalize().to_vec(), Hashed::of(&bytes));
    child.join();
}

fn a_hundred_mebibytes_pass_from_vectored_writes_to_lent_reads(backend: Backend) {
    let bytes = pattern(1, 0, LEN);
    let (rx, mut tx) = open(backend);
    let (child, mut rx) = fork_apart(rx, || {
        let mut random = Random::new(1);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let mut cut = |most: usize| {
                let len = random.below(most + 1).min(rest.len());
                let (piece, behind) = rest.split_at(len);
                rest = behind;
                io::IoSlice::new(piece)
            };
            let mut pieces = [cut(9000), cut(0), cut(100), cut(70_000)];
            let mut left = &mut pieces[..];
            while !left.is_empty() {
                let written = tx.write_vectored(left).unwrap();
                io::IoSlice::advance_slices(&mut left, written);
                if written == 0 {
                    assert!(left.iter().all(|piece| piece.is_empty()));
                    break;
                }
            }
        }
    });
    drop(tx);
    let mut hashed = Hashed::new();
    loop {
        let lent = rx.fill_buf().unwrap();
        if lent.is_empty() {
            break;
        }
        // Not always all of it.
        let amount = lent.len().min(50_000);
        hashed.write_all(&lent[..amount]).unwrap();
        rx.consume(amount);
    }
    assert_eq!(hashed.1, LEN);
    assert_eq!(hashed.0.finalize().to_vec(), Hashed::of(&bytes));
    child.join();
}

fn a_hundred_mebibytes_of_lines_pass_through_a_buffered_reader(backend: Backend) {
    let bytes = pattern(1, 0, LEN);
    let (rx, mut tx) = open(backend);
    let (child, rx) = fork_apart(rx, || {
        bytes
            .chunks(60_013)
            .for_each(|piece| tx.write_all(piece).unwrap());
    });
    drop(tx);
    let mut hashed = Hashed::new();
    let mut reader = BufReader::new(rx.take(u64::MAX));
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).unwrap() > 0 {
        hashed.write_all(&line).unwrap();
        line.clear();
    }
    assert_eq!(hashed.1, LEN);
    assert_eq!(hashed.0.finalize().to_vec(), Hashed::of(&bytes));
    child.join();
}
