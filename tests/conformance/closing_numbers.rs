//! Closing a side in this process, and its descriptors: their numbers are not used for anything else.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;

use shmpipe::{Backend, PipeOptions, RecvError, SendError};

use crate::ends::{FILLER, LARGE, assert_at_end, open};
use crate::support::{Held, long, on_both_backends, open_fds, without_spare_descriptors};

on_both_backends! {
    the_descriptors_of_the_side_are_gone_and_their_numbers_are_taken,
    a_side_with_descriptors_to_pass_is_closed_too,
    a_close_that_cannot_be_closes_nothing,
    no_call_uses_a_descriptor_that_was_opened_since within 60,
}

/// Files that whoever uses a number too long would write into, or read from.
fn assert_untouched(files: &mut [std::fs::File]) {
    for file in files {
        file.seek(SeekFrom::Start(0)).unwrap();
        let mut found = Vec::new();
        file.read_to_end(&mut found).unwrap();
        assert_eq!(found, b"untouched");
    }
}

fn the_descriptors_of_the_side_are_gone_and_their_numbers_are_taken(backend: Backend) {
    // What a process maps once.
    drop(open(backend).0.close());
    let before = Held::now();
    let (rx, tx) = open(backend);
    let theirs = [rx.try_clone().unwrap(), rx.try_clone().unwrap()];
    let of_side = rx.as_fds().unwrap()[1].as_raw_fd();
    let fds = open_fds();
    rx.close().unwrap();
    let now = open_fds();
    // And one by which the close reached the other side to its end.
    let are_taken = fds.keys().all(|number| now.contains_key(number));
    assert!(are_taken && now.len() == fds.len() + 1, "{fds:?} {now:?}");
    assert_ne!(fds[&of_side], now[&of_side]);
    assert!(!now.values().any(|what| *what == fds[&of_side]) || backend == Backend::Kernel);
    drop((rx, tx, theirs));
    assert_eq!(Held::now(), before);
}

fn a_side_with_descriptors_to_pass_is_closed_too(backend: Backend) {
    let options = PipeOptions::new().backend(backend).descriptors(true);
    let (rx, mut tx) = options.pipe().unwrap();
    let (fds, kept) = (rx.as_fds().unwrap(), rx.try_clone().unwrap());
    let numbers: Vec<_> = fds[1..].iter().map(AsRawFd::as_raw_fd).collect();
    assert_eq!(numbers.len(), 2);
    let before = open_fds();
    rx.close().unwrap();
    let after = open_fds();
    for number in numbers {
        assert_ne!(before[&number], after[&number]);
    }
    let null = std::fs::File::open("/dev/null").unwrap();
    let outcome = tx.send_with_fds(b"x", &[std::os::fd::AsFd::as_fd(&null)]);
    assert!(matches!(outcome, Err(SendError::Disconnected)));
    drop(kept);
}

fn a_close_that_cannot_be_closes_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let outcome = without_spare_descriptors(|| tx.close());
    assert_eq!(
        shmpipe::raw_os_error(&outcome.unwrap_err()),
        Some(libc::EMFILE)
    );
    tx.send(b"goes on").unwrap();
    assert_eq!(rx.recv().unwrap().len(), 7);
    tx.close().unwrap();
    assert_at_end(&mut rx);
}

fn no_call_uses_a_descriptor_that_was_opened_since(backend: Backend) {
    let rounds = if long() { 2000 } else { 150 };
    for round in 0..rounds {
        let (rx, tx) = open(backend);
        let (mut far_rx, mut far_tx) = (rx.try_clone().unwrap(), tx.try_clone().unwrap());
        let len = [8, FILLER, LARGE][round % 3];
        let mut calls = Vec::new();
        for _ in 0..2 {
            let (mut tx, mut rx) = (tx.try_clone().unwrap(), rx.try_clone().unwrap());
            calls.push(std::thread::spawn(
                move || while tx.send(&vec![7; len]).is_ok() {},
            ));
            calls.push(std::thread::spawn(move || {
                while matches!(rx.recv(), Ok(_) | Err(RecvError::Aborted)) {}
            }));
        }
        let _ = (far_rx.poll(None), far_tx.try_send(b"x"));
        if round % 2 == 0 {
            rx.close().unwrap();
        } else {
            tx.close().unwrap();
        }
        let mut files: Vec<_> = (0..20)
            .map(|_| {
                let memory = nix::sys::memfd::memfd_create(
                    c"foreign",
                    nix::sys::memfd::MFdFlags::MFD_CLOEXEC,
                );
                let mut file = std::fs::File::from(memory.unwrap());
                file.write_all(b"untouched").unwrap();
                file.seek(SeekFrom::Start(0)).unwrap();
                file
            })
            .collect();
        tx.close().unwrap();
        rx.close().unwrap();
        calls.into_iter().for_each(|call| call.join().unwrap());
        assert_untouched(&mut files);
    }
}
