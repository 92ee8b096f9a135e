//! What a core dump of a process shows of its pipes: no memory twice, and none where that was asked for.

use std::fs;

use shmpipe::{Backend, PipeOptions, Sender};

use crate::support::{fork, on_both_backends};

on_both_backends! {
    a_core_dump_holds_a_ring_once,
    a_core_dump_leaves_a_ring_out_where_that_was_asked_for,
    an_end_that_is_handed_over_is_left_out_as_the_pipe_was_made,
}

/// Whether core dumps leave each mapping of the rings of this process out, in the order of their addresses
/// (`dd` of `VmFlags`, proc_pid_smaps(5)).
fn left_out() -> Vec<bool> {
    let text = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut is_ours = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            if is_ours {
                found.push(flags.split_whitespace().any(|flag| flag == "dd"));
            }
        } else if line.contains('-') && line.contains(' ') && !line.contains(" kB") {
            is_ours = line.contains("/memfd:shmpipe ");
        }
    }
    found
}

/// Both mappings of each of so many rings; of kernel pipes there are none.
fn rings(backend: Backend, count: usize, once: [bool; 2]) -> Vec<bool> {
    match backend {
        Backend::Kernel => Vec::new(),
        _ => once.repeat(count),
    }
}

fn a_core_dump_holds_a_ring_once(backend: Backend) {
    let (_rx, tx) = PipeOptions::new().backend(backend).pipe().unwrap();
    let once = [false, true];
    assert_eq!(left_out(), rings(backend, 1, once));
    fork(|| assert_eq!(left_out(), rings(backend, 1, once))).join();
    // SAFETY: they come from `into_fds` of a sender.
    let _tx = unsafe { Sender::from_fds(tx.into_fds().unwrap()) }.unwrap();
    assert_eq!(left_out(), rings(backend, 2, once));
}

fn a_core_dump_leaves_a_ring_out_where_that_was_asked_for(backend: Backend) {
    let options = PipeOptions::new()
        .backend(backend)
        .exclude_from_core_dumps(true);
    let (mut rx, mut tx) = options.pipe().unwrap();
    let never = [true, true];
    assert_eq!(left_out(), rings(backend, 1, never));
    fork(|| {
        assert_eq!(left_out(), rings(backend, 1, never));
        tx.send(b"a secret").unwrap();
    })
    .join();
    assert_eq!(&*rx.recv().unwrap(), b"a secret");
    drop((rx, tx));
    let (_rx, _tx) = options.exclude_from_core_dumps(false).pipe().unwrap();
    assert_eq!(left_out(), rings(backend, 1, [false, true]));
}

fn an_end_that_is_handed_over_is_left_out_as_the_pipe_was_made(backend: Backend) {
    let options = PipeOptions::new()
        .backend(backend)
        .exclude_from_core_dumps(true);
    let (mut rx, tx) = options.pipe().unwrap();
    // SAFETY: they come from `into_fds` of a sender.
    let mut tx = unsafe { Sender::from_fds(tx.into_fds().unwrap()) }.unwrap();
    assert_eq!(left_out(), rings(backend, 2, [true, true]));
    tx.send(b"a secret").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"a secret");
}
