//! Many pipes made and killed leave nothing: descriptors, mappings and memory stay flat.

use shmpipe::{Backend, Receiver, RecvError, Sender};

use crate::ends::{FILLER, LARGE, assert_breaks, open};
use crate::support::{check, fork, holdings, long, on_both_backends, pattern};

on_both_backends! {
    descriptors_and_memory_stay_flat_over_many_pipes_made_and_killed within 180,
}

/// Memory that the allocator may keep or give back.
const SLACK_BYTES: usize = 1 << 20;

/// Every second pipe is killed with its sender, the others with their receiver; inside a message or
/// between two.
fn descriptors_and_memory_stay_flat_over_many_pipes_made_and_killed(backend: Backend) {
    let pipes = if long() { 100_000 } else { 5000 };
    let mut early = holdings();
    for number in 0..pipes {
        if number == pipes / 10 {
            early = holdings();
        }
        let (rx, tx) = open(backend);
        let len = if number % 32 < 2 { LARGE } else { FILLER };
        if number % 2 == 0 {
            kill_the_sender(rx, tx, len);
        } else {
            kill_the_receiver(rx, tx, len);
        }
    }
    let now = holdings();
    println!(
        "{backend}: after {} pipes {early:?}, after {pipes} {now:?}",
        pipes / 10
    );
    assert!(
        now.is_flat_since(&early, SLACK_BYTES),
        "{now:?} after {pipes}, {early:?} early on"
    );
}

fn kill_the_sender(mut rx: Receiver, mut tx: Sender, len: usize) {
    let victim = fork(|| {
        for number in 0.. {
            tx.send(&pattern(1, number, len)).unwrap();
        }
    });
    drop(tx);
    check(&rx.recv().unwrap(), 1, 0, len);
    victim.kill();
    while !matches!(rx.recv(), Err(RecvError::Disconnected)) {}
}

fn kill_the_receiver(mut rx: Receiver, mut tx: Sender, len: usize) {
    let victim = fork(|| {
        for number in 0.. {
            check(&rx.recv().unwrap(), 1, number, len);
        }
    });
    drop(rx);
    tx.send(&pattern(1, 0, len)).unwrap();
    victim.kill();
    assert_breaks(&mut tx);
}
