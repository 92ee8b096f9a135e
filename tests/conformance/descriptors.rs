//! Descriptors: how many an end holds, that no program inherits them, and that none leaks.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, SealFlag, fcntl};
use shmpipe::Backend;

use crate::ends::{FILLER, LARGE, open, open_duplex};
use crate::support::{check, fork, fork_apart, mappings, on_both_backends, open_fds, pattern};

on_both_backends! {
    a_process_with_one_simplex_end_holds_at_most_three_descriptors_for_it,
    a_process_with_one_duplex_end_holds_at_most_four_descriptors_for_it,
    every_descriptor_is_closed_on_exec,
    dropping_the_ends_closes_every_descriptor_and_unmaps_everything,
    dropping_clones_closes_every_descriptor_and_unmaps_everything,
    descriptors_stay_flat_over_many_pipes within 120,
    descriptors_stay_flat_over_many_deaths,
    shared_memory_is_sealed_and_carries_the_name_of_the_crate,
}

type Fds = BTreeMap<RawFd, String>;

/// What has been opened since `before`.
fn opened_since(before: &Fds) -> Fds {
    open_fds()
        .into_iter()
        .filter(|(fd, _)| !before.contains_key(fd))
        .collect()
}

fn a_process_with_one_simplex_end_holds_at_most_three_descriptors_for_it(backend: Backend) {
    let before = open_fds();
    let at_most_three = || {
        let mine = opened_since(&before);
        assert!(!mine.is_empty() && mine.len() <= 3, "{mine:?}");
    };
    let (mut rx, mut tx) = open(backend);
    let (receiver, back) = fork_apart(tx, || {
        at_most_three();
        check(&rx.recv().unwrap(), 1, 0, FILLER);
        check(&rx.recv().unwrap(), 1, 1, LARGE);
        at_most_three();
    });
    tx = back;
    let (sender, _rx) = fork_apart(rx, || {
        at_most_three();
        tx.send(&pattern(1, 0, FILLER)).unwrap();
        tx.send(&pattern(1, 1, LARGE)).unwrap();
        at_most_three();
    });
    sender.join();
    receiver.join();
}

fn a_process_with_one_duplex_end_holds_at_most_four_descriptors_for_it(backend: Backend) {
    let before = open_fds();
    let at_most_four = || {
        let mine = opened_since(&before);
        assert!(!mine.is_empty() && mine.len() <= 4, "{mine:?}");
    };
    let (left, mut right) = open_duplex(backend);
    let (child, mut left) = fork_apart(left, move || {
        at_most_four();
        check(&right.recv().unwrap(), 1, 0, LARGE);
        right.send(&pattern(2, 0, LARGE)).unwrap();
        at_most_four();
    });
    at_most_four();
    left.send(&pattern(1, 0, LARGE)).unwrap();
    check(&left.recv().unwrap(), 2, 0, LARGE);
    child.join();
    at_most_four();
}

fn every_descriptor_is_closed_on_exec(backend: Backend) {
    let before = open_fds();
    let (rx, tx) = open(backend);
    let (left, right) = open_duplex(backend);
    let clones = (
        rx.try_clone().unwrap(),
        tx.try_clone().unwrap(),
        left.try_clone().unwrap(),
    );
    let opened = opened_since(&before);
    assert!(!opened.is_empty());
    for (fd, what) in opened {
        // SAFETY: the descriptor is in this process's table and no other thread closes any.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let flags = fcntl(fd, FcntlArg::F_GETFD).unwrap();
        assert_eq!(
            flags & FdFlag::FD_CLOEXEC.bits(),
            FdFlag::FD_CLOEXEC.bits(),
            "{fd:?} {what}"
        );
    }
    drop((rx, tx, left, right, clones));
}

/// Runs `work` and asserts that it leaves descriptors and mappings as they were.
fn leaves_nothing_open(work: impl FnOnce()) {
    let before = (open_fds(), mappings());
    work();
    assert_eq!((open_fds(), mappings()), before);
}

fn dropping_the_ends_closes_every_descriptor_and_unmaps_everything(backend: Backend) {
    leaves_nothing_open(|| drop(open(backend)));
    leaves_nothing_open(|| drop(open_duplex(backend)));
    leaves_nothing_open(|| {
        let (mut rx, mut tx) = open(backend);
        let child = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
        check(&rx.recv().unwrap(), 1, 0, LARGE);
        child.join();
        tx.send(b"unread").unwrap();
    });
    leaves_nothing_open(|| {
        let (left, right) = open_duplex(backend);
        let (halves, _) = (left.split(), right.split());
        drop(halves.0);
    });
}

fn dropping_clones_closes_every_descriptor_and_unmaps_everything(backend: Backend) {
    leaves_nothing_open(|| {
        let (rx, tx) = open(backend);
        let clones: Vec<_> = (0..20)
            .map(|_| (rx.try_clone().unwrap(), tx.try_clone().unwrap()))
            .collect();
        drop((rx, tx));
        drop(clones);
    });
    let (left, _right) = open_duplex(backend);
    leaves_nothing_open(|| drop(left.try_clone().unwrap()));
}

fn descriptors_stay_flat_over_many_pipes(backend: Backend) {
    let pipes = if crate::support::long() {
        100_000
    } else {
        2000
    };
    leaves_nothing_open(|| {
        for number in 0..pipes {
            let (mut rx, mut tx) = open(backend);
            tx.send(&pattern(1, number, FILLER)).unwrap();
            check(&rx.recv().unwrap(), 1, number, FILLER);
        }
    });
}

fn descriptors_stay_flat_over_many_deaths(backend: Backend) {
    leaves_nothing_open(|| {
        for _ in 0..50 {
            let (mut rx, mut tx) = open(backend);
            let victim = fork(move || {
                for number in 0.. {
                    tx.send(&pattern(1, number, FILLER)).unwrap();
                }
            });
            check(&rx.recv().unwrap(), 1, 0, FILLER);
            victim.kill();
        }
    });
}

fn shared_memory_is_sealed_and_carries_the_name_of_the_crate(backend: Backend) {
    let before = open_fds();
    let (_rx, _tx) = open(backend);
    let opened = opened_since(&before);
    let segments: Vec<_> = opened
        .iter()
        .filter(|(_, what)| what.starts_with("/memfd:shmpipe"))
        .collect();
    // The kernel backend may keep a page of its own beside the pipe.
    assert!(
        backend == Backend::Kernel || !segments.is_empty(),
        "{opened:?}"
    );
    for (fd, _) in segments {
        // SAFETY: the descriptor is in this process's table and no other thread closes any.
        let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
        let seals = SealFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GET_SEALS).unwrap());
        let wanted = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        assert!(seals.contains(wanted), "{seals:?}");
    }
}
