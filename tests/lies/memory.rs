//! A peer that works on the file behind the memory: seals refuse another size, and holes read as zeros.
//!
//! Where a machine has no page left to fill a hole with is not tried.

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::unistd::ftruncate;

use crate::stage::{CONTENTS, Content, of_ring, open};
use crate::support::{Random, fork, on_no_backend, page_size};
use crate::victim::{Receive, Send, drop_in_time};

on_no_backend! {
    the_size_of_the_memory_cannot_be_changed,
    both_ends_come_through_holes_in_the_memory within 60,
    both_ends_come_through_holes_that_are_punched_during_a_call within 60,
}

fn page() -> i64 {
    i64::try_from(page_size()).expect("a small number")
}

fn the_size_of_the_memory_cannot_be_changed() {
    let (_rx, _tx, stage) = open(Content::Small);
    let file = stage.memory.descriptor();
    let len = i64::try_from(stage.memory.len()).unwrap();
    for size in [
        0,
        1,
        page(),
        len - page(),
        len - 1,
        len + 1,
        len + page(),
        i64::MAX,
    ] {
        let outcome = ftruncate(&file, size);
        assert!(
            matches!(outcome, Err(Errno::EPERM | Errno::EFBIG)),
            "{size}: {outcome:?}"
        );
    }
    let grown = fallocate(&file, FallocateFlags::empty(), 0, len + page());
    assert_eq!(grown, Err(Errno::EPERM));
    assert_eq!(
        nix::sys::uio::pwrite(&file, &[0; 16], len),
        Err(Errno::EPERM)
    );
    // Nor can a peer forbid the others to write, or anything else.
    for seal in [
        SealFlag::F_SEAL_WRITE,
        SealFlag::F_SEAL_FUTURE_WRITE,
        SealFlag::F_SEAL_GROW,
    ] {
        assert_eq!(fcntl(&file, FcntlArg::F_ADD_SEALS(seal)), Err(Errno::EPERM));
    }
    assert_eq!(stage.memory.copy(), stage.image);
}

/// Takes pages out of the file.
fn punch(file: &std::os::fd::OwnedFd, offset: i64, len: i64) {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(file, flags, offset, len).expect("no seal forbids it");
}

fn both_ends_come_through_holes_in_the_memory() {
    let mut random = Random::from_environment();
    for content in CONTENTS {
        let (rx, tx, stage) = open(content);
        let file = stage.memory.descriptor();
        for _ in 0..2000 {
            stage.restore();
            let (offset, len) = random.pick(&[
                (0, page()),
                (page(), page()),
                (0, 2 * page()),
                (100, page() + 900),
            ]);
            punch(&file, offset, len);
            let (mut rx, mut tx) = (rx.try_clone().unwrap(), tx.try_clone().unwrap());
            for _ in 0..2 {
                Receive::Try.make(&mut rx);
                Send::Try(random.pick(&[0, 100, of_ring(1500)])).make(&mut tx);
            }
            drop_in_time(rx);
            drop_in_time(tx);
        }
        stage.restore();
    }
}

fn both_ends_come_through_holes_that_are_punched_during_a_call() {
    let mut random = Random::from_environment();
    for content in CONTENTS {
        let (rx, tx, stage) = open(content);
        let file = stage.memory.descriptor();
        let liar = fork(|| {
            loop {
                punch(&file, page(), page());
                punch(&file, 0, 2 * page());
            }
        });
        for _ in 0..5000 {
            stage.restore();
            let (mut rx, mut tx) = (rx.try_clone().unwrap(), tx.try_clone().unwrap());
            Receive::Try.make(&mut rx);
            Send::Try(random.pick(&[0, 100, of_ring(1500)])).make(&mut tx);
            drop_in_time(rx);
            drop_in_time(tx);
        }
        liar.kill();
        stage.restore();
    }
}
