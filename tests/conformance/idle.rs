//! Idleness: whoever waits sleeps, without a single wake-up, until there is something to do.

use std::time::Duration;

use shmpipe::{Backend, PipeOptions};

use crate::ends::{FILLER, drain, fill, open};
use crate::support::{Child, check, fork, long, on_both_backends, pattern, switches};

on_both_backends! {
    a_blocked_recv_makes_no_context_switches,
    a_recv_that_looks_for_deadlocks_makes_no_context_switches_while_another_process_could_send,
    a_blocked_recv_with_a_far_deadline_makes_no_context_switches,
    a_blocked_poll_makes_no_context_switches,
    a_blocked_send_makes_no_context_switches,
    a_receiver_that_was_busy_makes_no_context_switches_once_it_is_idle,
    many_blocked_receivers_make_no_context_switches,
    a_receiver_makes_no_context_switches_once_another_has_what_it_saw_in_part,
}

/// Watches children that have come to rest. The sleep measures; it synchronises nothing.
fn assert_idle(children: &[Child]) {
    let watched = Duration::from_secs(if long() { 10 } else { 2 });
    children.iter().for_each(Child::until_asleep);
    let counts = || {
        children
            .iter()
            .map(|child| switches(child.pid(), child.pid()))
            .collect::<Vec<_>>()
    };
    let before = counts();
    std::thread::sleep(watched);
    assert_eq!(counts(), before, "context switches within {watched:?}");
}

fn a_blocked_recv_makes_no_context_switches(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = [fork(|| check(&rx.recv().unwrap(), 1, 0, FILLER))];
    assert_idle(&child);
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    child.into_iter().for_each(Child::join);
}

fn a_recv_that_looks_for_deadlocks_makes_no_context_switches_while_another_process_could_send(
    backend: Backend,
) {
    let options = PipeOptions::new().backend(backend).detect_deadlock(true);
    let (mut rx, mut tx) = options.pipe().unwrap();
    // It holds a sender itself, and this process does too.
    let child = [fork(|| check(&rx.recv().unwrap(), 1, 0, FILLER))];
    assert_idle(&child);
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    child.into_iter().for_each(Child::join);
}

fn a_blocked_recv_with_a_far_deadline_makes_no_context_switches(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let hour = Duration::from_secs(3600);
    let child = [fork(|| {
        check(&rx.recv_timeout(hour).unwrap(), 1, 0, FILLER)
    })];
    assert_idle(&child);
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    child.into_iter().for_each(Child::join);
}

fn a_blocked_poll_makes_no_context_switches(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = [fork(|| assert!(rx.poll(None).unwrap()))];
    assert_idle(&child);
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    child.into_iter().for_each(Child::join);
}

fn a_blocked_send_makes_no_context_switches(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let held = fill(&mut tx, 1);
    let child = [fork(|| tx.send(&pattern(1, held, FILLER)).unwrap())];
    assert_idle(&child);
    drain(&mut rx, 1, 0..held + 1, FILLER);
    child.into_iter().for_each(Child::join);
}

fn a_receiver_that_was_busy_makes_no_context_switches_once_it_is_idle(backend: Backend) {
    const MESSAGES: u64 = 5000;
    let (mut rx, mut tx) = open(backend);
    let child = [fork(|| drain(&mut rx, 1, 0..MESSAGES + 1, FILLER))];
    (0..MESSAGES).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
    assert_idle(&child);
    tx.send(&pattern(1, MESSAGES, FILLER)).unwrap();
    child.into_iter().for_each(Child::join);
}

fn many_blocked_receivers_make_no_context_switches(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let children: Vec<_> = (0..10)
        .map(|_| fork(|| check(&rx.recv().unwrap(), 1, 0, FILLER)))
        .collect();
    assert_idle(&children);
    children
        .iter()
        .for_each(|_| tx.send(&pattern(1, 0, FILLER)).unwrap());
    children.into_iter().for_each(Child::join);
}

fn a_receiver_makes_no_context_switches_once_another_has_what_it_saw_in_part(backend: Backend) {
    // In fragments, and fits the pipe.
    const FITS: usize = 30_000;
    let hour = Duration::from_secs(3600);
    let (mut rx, mut tx) = open(backend);
    let held = fill(&mut tx, 1);
    // Room for a part of it.
    drain(&mut rx, 1, 0..held / 4, FILLER);
    let sender = fork(|| tx.send(&pattern(2, 0, FITS)).unwrap());
    sender.until_asleep();
    sender.stop();
    drain(&mut rx, 1, held / 4..held, FILLER);
    let child = [fork(|| {
        check(&rx.recv_timeout(hour).unwrap(), 1, held, FILLER)
    })];
    // On a kernel pipe it does not rest yet: it looks for the rest of the message.
    if backend == Backend::SharedMemory {
        child.iter().for_each(Child::until_asleep);
    }
    // It waits for nothing else, so it takes the part that is there.
    let other = fork(|| check(&rx.recv().unwrap(), 2, 0, FITS));
    other.until_asleep();
    sender.cont();
    other.join();
    sender.join();
    assert_idle(&child);
    tx.send(&pattern(1, held, FILLER)).unwrap();
    child.into_iter().for_each(Child::join);
}
