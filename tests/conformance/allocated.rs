//! Memory that is allocated when a pipe is made, or only as it is used.

use std::fs;
use std::os::unix::fs::MetadataExt;

use shmpipe::{Backend, PipeOptions, Receiver, Sender};

use crate::inherit::program;
use crate::support::{check, ends_well, fork, on_both_backends, pattern};

on_both_backends! {
    memory_is_allocated_when_a_pipe_is_made,
    memory_that_is_allocated_as_it_is_used_carries_messages_between_forked_processes,
    memory_that_is_allocated_as_it_is_used_is_there_before_it_is_handed_over,
    an_executed_program_takes_an_end_of_memory_that_was_not_allocated,
}

const CAPACITY: usize = 1 << 20;

fn made(backend: Backend, allocate: bool) -> (Receiver, Sender) {
    let options = PipeOptions::new().backend(backend).capacity(CAPACITY);
    options.allocate(allocate).pipe().unwrap()
}

/// Bytes that are allocated of the rings of which this process has descriptors, each counted once.
fn allocated() -> u64 {
    let mut seen = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let path = entry.unwrap().path();
        let is_ring = fs::read_link(&path)
            .is_ok_and(|link| link.to_string_lossy().starts_with("/memfd:shmpipe "));
        if is_ring {
            let ring = fs::metadata(&path).unwrap();
            seen.push((ring.ino(), ring.blocks() * 512));
        }
    }
    seen.sort_unstable();
    seen.dedup();
    seen.iter().map(|(_, bytes)| bytes).sum()
}

#[track_caller]
fn assert_allocated(backend: Backend, is_all: bool) {
    let allocated = allocated();
    match backend {
        Backend::SharedMemory => assert_eq!(allocated > CAPACITY as u64, is_all, "{allocated}"),
        _ => assert_eq!(allocated, 0),
    }
}

fn memory_is_allocated_when_a_pipe_is_made(backend: Backend) {
    let _ends = made(backend, true);
    assert_allocated(backend, true);
}

fn memory_that_is_allocated_as_it_is_used_carries_messages_between_forked_processes(
    backend: Backend,
) {
    let (mut rx, mut tx) = made(backend, false);
    assert_allocated(backend, false);
    let child = fork(|| {
        for number in 0..50 {
            tx.send(&pattern(1, number, 50_000)).unwrap();
        }
        tx.send(&pattern(1, 50, 3 * CAPACITY)).unwrap();
    });
    for number in 0..50 {
        check(&rx.recv().unwrap(), 1, number, 50_000);
    }
    check(&rx.recv().unwrap(), 1, 50, 3 * CAPACITY);
    child.join();
    // What the other process has used is there for this one too.
    assert_allocated(backend, true);
}

fn memory_that_is_allocated_as_it_is_used_is_there_before_it_is_handed_over(backend: Backend) {
    let (rx, tx) = made(backend, false);
    assert_eq!(tx.as_fds().unwrap().len(), 2);
    assert_allocated(backend, true);
    let (rx, tx) = (rx.into_fds().unwrap(), tx.into_fds().unwrap());
    // SAFETY: they come from `into_fds` of a receiver.
    let mut rx = unsafe { Receiver::from_fds(rx) }.unwrap();
    // SAFETY: they come from `into_fds` of a sender.
    let mut tx = unsafe { Sender::from_fds(tx) }.unwrap();
    tx.send(&pattern(1, 0, 1000)).unwrap();
    check(&rx.recv().unwrap(), 1, 0, 1000);
}

fn an_executed_program_takes_an_end_of_memory_that_was_not_allocated(backend: Backend) {
    let (rx, mut tx) = made(backend, false);
    let mut command = program("prefault");
    rx.inherit(&mut command, "END").unwrap();
    tx.send(backend.to_string().as_bytes()).unwrap();
    ends_well(command.spawn().unwrap());
}
