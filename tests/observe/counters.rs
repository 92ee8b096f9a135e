//! What the counters say after calls whose number is known.

use std::os::fd::AsFd;
use std::time::Duration;

use shmpipe::observe::Look;
use shmpipe::{Backend, RecvError};

use crate::support::{fork, on_both_backends};
use crate::{label, one, open};

on_both_backends! {
    messages_and_bytes_are_those_that_went_through,
    messages_in_fragments_count_once_with_all_their_bytes,
    clones_and_forked_copies_count_together,
    the_largest_message_is_that_of_all_senders,
    rings_are_those_for_somebody_who_waits_and_no_closes,
    a_message_that_was_refused_for_want_of_room_is_not_counted,
    a_full_pipe_leaves_its_mark,
    the_time_of_a_blocked_send_is_counted,
    the_time_of_a_waiting_receive_is_counted,
    waiting_ends_with_its_time_out,
    a_message_that_its_sender_took_back_is_an_aborted_one,
    a_message_whose_sender_died_is_an_aborted_one,
    age_and_activity_are_not_in_the_future,
    limit_capacity_and_version_are_told,
}

fn look(label: &str) -> Look {
    one(label).look.unwrap()
}

fn messages_and_bytes_are_those_that_went_through(backend: Backend) {
    let label = label();
    let (mut rx, mut tx) = open(backend, &label);
    for len in [0, 1, 8, 100] {
        tx.send(&vec![1; len]).unwrap();
    }
    assert!(rx.recv().is_ok());
    assert!(rx.try_recv().is_ok());
    let mut buffer = [0; 8];
    rx.recv_into(&mut buffer).unwrap();
    let look = look(&label);
    assert_eq!((look.sender.messages, look.sender.bytes), (4, 109));
    assert_eq!((look.receiver.messages, look.receiver.bytes), (3, 9));
    assert!(look.fill >= 100 && look.fill < 200, "{look:?}");
}

fn messages_in_fragments_count_once_with_all_their_bytes(backend: Backend) {
    let label = label();
    let (mut rx, mut tx) = open(backend, &label);
    const LARGE: usize = 300_000;
    let child = fork(|| {
        assert_eq!(rx.recv().unwrap().len(), LARGE);
        assert_eq!(rx.recv().unwrap().len(), 3);
    });
    tx.send(&vec![1; LARGE]).unwrap();
    tx.send(b"abc").unwrap();
    child.join();
    let look = look(&label);
    for side in [&look.sender, &look.receiver] {
        assert_eq!((side.messages, side.bytes), (2, LARGE as u64 + 3));
    }
    assert_eq!(look.sender.largest, LARGE as u64);
    assert_eq!((look.fill, look.sender.aborted), (0, 0));
}

fn clones_and_forked_copies_count_together(backend: Backend) {
    let label = label();
    let (mut rx, mut tx) = open(backend, &label);
    let mut clone = tx.try_clone().unwrap();
    fork(|| tx.send(b"1").unwrap()).join();
    tx.send(b"2").unwrap();
    clone.send(b"3").unwrap();
    fork(|| assert!(rx.recv().is_ok())).join();
    assert!(rx.recv().is_ok());
    let look = look(&label);
    assert_eq!((look.sender.messages, look.receiver.messages), (3, 2));
}

fn the_largest_message_is_that_of_all_senders(backend: Backend) {
    let label = label();
    let (mut rx, mut tx) = open(backend, &label);
    let mut clone = tx.try_clone().unwrap();
    for (sender, len) in [(0, 10), (1, 200), (0, 20), (1, 199)] {
        let sender = if sender == 0 { &mut tx } else { &mut clone };
        sender.send(&vec![0; len]).unwrap();
        assert!(rx.recv().is_ok());
    }
    assert_eq!(look(&label).sender.largest, 200);
}

fn rings_are_those_for_somebody_who_waits_and_no_closes(backend: Backend) {
    let label = label();
    let (rx, mut tx) = open(backend, &label);
    let rings = |count| (backend == Backend::SharedMemory).then_some(count);
    // Whoever watches an empty pipe is to be told of the first message.
    let _watched = rx.as_fd();
    for message in ["rung for", "on top of it"] {
        tx.send(message.as_bytes()).unwrap();
        assert_eq!(look(&label).sender.rings, rings(1), "{message}");
    }
    let mut tx = Some(tx);
    fork(|| drop(tx.take())).join();
    let look = look(&label);
    assert_eq!(
        (look.sender.rings, look.receiver.rings),
        (rings(1), rings(0))
    );
}

fn a_message_that_was_refused_for_want_of_room_is_not_counted(backend: Backend) {
    let label = label();
    let (_rx, mut tx) = open(backend, &label);
    let mut sent = 0;
    while tx.try_send(&[0; 1000]).is_ok() {
        sent += 1;
    }
    let look = look(&label);
    assert_eq!(
        (look.sender.messages, look.sender.bytes),
        (sent, sent * 1000)
    );
    assert_eq!(look.receiver.messages, 0);
}

fn a_full_pipe_leaves_its_mark(backend: Backend) {
    let label = label();
    let (mut rx, mut tx) = open(backend, &label);
    while tx.try_send(&[0; 1000]).is_ok() {}
    let full = look(&label).fill;
    while rx.try_recv().is_ok() {}
    let look = look(&label);
    assert_eq!(look.fill, 0);
    if backend == Backend::SharedMemory {
        assert_eq!(look.sender.high_water, full);
    }
}

fn the_time_of_a_blocked_send_is_counted(backend: Backend) {
    let label = label();
    let (_rx, mut tx) = open(backend, &label);
    while tx.try_send(&[0; 1000]).is_ok() {}
    let before = look(&label).sender;
    let wait = Duration::from_millis(40);
    tx.send_timeout(&[0; 1000], wait).unwrap_err();
    let after = look(&label).sender;
    let counted = after.blocked - before.blocked;
    // A spin's last looks go uncounted.
    assert!(counted >= wait / 2, "{counted:?} of {wait:?}");
    assert!(after.sleeps > before.sleeps);
}

fn the_time_of_a_waiting_receive_is_counted(backend: Backend) {
    let label = label();
    let (mut rx, _tx) = open(backend, &label);
    let wait = Duration::from_millis(40);
    rx.recv_timeout(wait).unwrap_err();
    assert!(!rx.poll(Some(wait)).unwrap());
    let receiver = look(&label).receiver;
    assert!(
        receiver.blocked >= wait,
        "{:?} of twice {wait:?}",
        receiver.blocked
    );
    assert!(receiver.sleeps >= 2);
}

fn waiting_ends_with_its_time_out(backend: Backend) {
    let label = label();
    let (mut rx, _tx) = open(backend, &label);
    rx.recv_timeout(Duration::from_millis(5)).unwrap_err();
    assert_eq!(look(&label).receiver.asleep, None);
    let first = look(&label).receiver.blocked;
    let second = look(&label).receiver.blocked;
    assert_eq!(first, second, "it grows only while somebody waits");
}

fn a_message_that_its_sender_took_back_is_an_aborted_one(backend: Backend) {
    let label = label();
    let (_rx, mut tx) = open(backend, &label);
    tx.send_timeout(&vec![0; 300_000], Duration::from_millis(5))
        .unwrap_err();
    let look = look(&label);
    assert_eq!((look.sender.aborted, look.sender.messages), (1, 0));
    assert_eq!(look.sender.largest, 300_000, "it was tried");
}

fn a_message_whose_sender_died_is_an_aborted_one(backend: Backend) {
    let label = label();
    let (mut rx, mut tx) = open(backend, &label);
    let child = fork(|| tx.send(&vec![0; 300_000]).unwrap());
    child.until_asleep();
    child.kill();
    drop(tx);
    assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
    let look = look(&label);
    assert_eq!((look.receiver.aborted, look.receiver.messages), (1, 0));
}

fn age_and_activity_are_not_in_the_future(backend: Backend) {
    let label = label();
    let (mut rx, mut tx) = open(backend, &label);
    let first = look(&label);
    assert_eq!(first.sender.last_active, None);
    tx.send(b"now").unwrap();
    assert!(rx.recv().is_ok());
    // Where the machine is busy the time may be up before there is anything to sleep for.
    let look = loop {
        rx.recv_timeout(Duration::from_millis(1)).unwrap_err();
        let look = look(&label);
        if look.receiver.last_active.is_some() {
            break look;
        }
    };
    let age = look.age.expect("one clock");
    assert!(age > first.age.unwrap());
    assert!(look.taken > first.taken);
    assert!(look.receiver.last_active.expect("it has waited") < age);
    assert!(look.sender.last_active.expect("it has sent") < age);
}

fn limit_capacity_and_version_are_told(backend: Backend) {
    let label = label();
    let options = shmpipe::PipeOptions::new().backend(backend).label(&label);
    let (_rx, tx) = options.capacity(100_000).max_message(77).pipe().unwrap();
    let look = look(&label);
    assert_eq!((look.limit, look.version), (Some(77), 2));
    assert_eq!(look.capacity, Some(tx.capacity() as u64));
    assert_eq!(look.backend, backend);
}
