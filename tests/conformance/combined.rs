//! Batches, slots and views on pipes that are watched, waited for, counted, or carry descriptors.

use std::os::fd::AsFd;
use std::time::Duration;

use shmpipe::{Backend, RecvError, TryRecvError, wait};

use crate::ancillary::{null, open_carrying};
use crate::ends::{CAPACITY, FILLER, SHORT, assert_empty_but_alive, open};
use crate::readiness::{is_readable, short};
use crate::support::segment::Memory;
use crate::support::{check, fork, on_both_backends, on_no_backend, pattern};

on_both_backends! {
    a_watched_receiver_is_readable_until_the_view_of_the_last_message_is_dropped,
    a_watched_receiver_is_not_readable_after_a_batch_took_all,
    a_batch_of_a_watched_receiver_is_all_that_is_there,
    a_watched_sender_is_readable_exactly_while_there_is_room_for_a_slot,
    a_watched_sender_is_readable_exactly_while_there_is_room_for_a_batch,
    wait_does_not_tell_an_end_that_a_slot_keeps_out,
    wait_does_not_tell_an_end_that_a_view_keeps_out,
    batches_and_views_leave_a_message_with_descriptors_where_it_is,
    a_message_with_descriptors_waits_for_a_slot,
}

on_no_backend! {
    runs_and_slots_are_counted,
}

const NOW: Option<Duration> = Some(Duration::ZERO);

fn is_in_place(backend: Backend) -> bool {
    backend == Backend::SharedMemory
}

fn a_watched_receiver_is_readable_until_the_view_of_the_last_message_is_dropped(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for round in 0..100 {
        assert!(!is_readable(rx.as_fd()));
        for number in 0..3 {
            let mut slot = tx.reserve(FILLER).unwrap();
            slot.copy_from_slice(&pattern(1, number, FILLER));
            slot.commit().unwrap();
        }
        for number in 0..3 {
            assert!(is_readable(rx.as_fd()), "round {round} message {number}");
            let view = rx.recv_in_place().unwrap();
            // One of those that go once round the ring is copied.
            let is_first = round == 0;
            assert!(!is_first || view.is_in_place() == is_in_place(backend));
            check(&view.to_vec(), 1, number, FILLER);
        }
        assert!(!is_readable(rx.as_fd()), "round {round}");
    }
}

fn a_watched_receiver_is_not_readable_after_a_batch_took_all(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for round in 0..100 {
        assert!(!is_readable(rx.as_fd()));
        tx.send_batch((0..5).map(|number| pattern(1, number, FILLER)))
            .unwrap();
        assert!(is_readable(rx.as_fd()));
        let mut next = 0;
        while is_readable(rx.as_fd()) {
            for message in rx.recv_batch().unwrap() {
                check(message, 1, next, FILLER);
                next += 1;
            }
        }
        assert_eq!(next, 5, "round {round}");
    }
}

fn a_batch_of_a_watched_receiver_is_all_that_is_there(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for len in [8, 100].repeat(10) {
        assert!(!is_readable(rx.as_fd()));
        tx.send_batch((0..20).map(|number| pattern(1, number, len)))
            .unwrap();
        // One by itself, and then the others.
        check(&rx.recv().unwrap(), 1, 0, len);
        assert!(is_readable(rx.as_fd()));
        let batch = rx.recv_batch().unwrap();
        assert_eq!(batch.len(), 19);
        for (number, message) in (1..).zip(batch) {
            check(message, 1, number, len);
        }
        assert!(!is_readable(rx.as_fd()));
        assert_empty_but_alive(&mut rx);
    }
}

/// Sends by `send`, a message of the length that it is given, as long as the sender shows that there is room.
fn assert_readable_while_there_is_room(
    backend: Backend,
    mut send: impl FnMut(&mut shmpipe::Sender, &[u8]),
) {
    let (mut rx, mut tx) = open(backend);
    let len = short(backend);
    for _ in 0..10 {
        let mut sent = 0;
        while is_readable(tx.as_fd()) {
            send(&mut tx, &pattern(1, sent, len));
            sent += 1;
            assert!(sent as usize <= CAPACITY / len);
        }
        assert!(sent > 0);
        for number in 0..sent {
            check(&rx.recv().unwrap(), 1, number, len);
        }
        assert_empty_but_alive(&mut rx);
        assert!(is_readable(tx.as_fd()));
    }
}

fn a_watched_sender_is_readable_exactly_while_there_is_room_for_a_slot(backend: Backend) {
    assert_readable_while_there_is_room(backend, |tx, message| {
        drop(tx.reserve(message.len()).unwrap());
        let mut slot = tx.reserve(message.len()).unwrap();
        slot.copy_from_slice(message);
        slot.commit().unwrap();
    });
}

fn a_watched_sender_is_readable_exactly_while_there_is_room_for_a_batch(backend: Backend) {
    assert_readable_while_there_is_room(backend, |tx, message| {
        assert_eq!(tx.send_batch([message]).unwrap(), 1);
    });
}

fn wait_does_not_tell_an_end_that_a_slot_keeps_out(backend: Backend) {
    let (_rx, mut tx) = open(backend);
    let mut other = tx.try_clone().unwrap();
    let slot = other.reserve(FILLER).unwrap();
    let is_kept_out = slot.is_in_place();
    assert_eq!(is_kept_out, is_in_place(backend));
    let ready = wait(&mut [&mut tx], Some(SHORT)).unwrap();
    assert_eq!(ready.is_empty(), is_kept_out);
    drop(slot);
    assert_eq!(wait(&mut [&mut tx], None).unwrap(), [0]);
}

fn wait_does_not_tell_an_end_that_a_view_keeps_out(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut other = rx.try_clone().unwrap();
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    let view = other.recv_in_place().unwrap();
    assert_eq!(view.is_in_place(), is_in_place(backend));
    assert!(wait(&mut [&mut rx], Some(SHORT)).unwrap().is_empty());
    drop(view);
    assert!(wait(&mut [&mut rx], NOW).unwrap().is_empty());
    tx.send(&pattern(1, 1, FILLER)).unwrap();
    assert_eq!(wait(&mut [&mut rx], None).unwrap(), [0]);
    check(&rx.recv().unwrap(), 1, 1, FILLER);
}

fn batches_and_views_leave_a_message_with_descriptors_where_it_is(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    tx.send_batch(["one", "two"]).unwrap();
    tx.send_with_fds(b"with one", &[null().as_fd()]).unwrap();
    tx.send_batch(["three", "four"]).unwrap();
    let batch = rx.recv_batch().unwrap();
    assert_eq!(batch.collect::<Vec<_>>(), [b"one", b"two"]);
    for _ in 0..2 {
        let outcome = rx.recv_batch().map(|batch| batch.len());
        assert!(matches!(outcome, Err(RecvError::CarriesDescriptors)));
        let outcome = rx.try_recv_batch().map(|batch| batch.len());
        assert!(matches!(outcome, Err(TryRecvError::CarriesDescriptors)));
        let outcome = rx.recv_in_place().map(|view| view.len());
        assert!(matches!(outcome, Err(RecvError::CarriesDescriptors)));
    }
    let (message, fds) = rx.recv_with_fds().unwrap();
    assert_eq!((&*message, fds.len()), (&b"with one"[..], 1));
    let batch = rx.recv_batch().unwrap();
    assert_eq!(batch.collect::<Vec<_>>(), [&b"three"[..], b"four"]);

    // Nothing of it is remembered by a batch that ended before it.
    tx.send(b"five").unwrap();
    tx.send_with_fds(b"with one", &[null().as_fd()]).unwrap();
    assert_eq!(rx.recv_batch().unwrap().len(), 1);
    assert_eq!(rx.recv_with_fds().unwrap().1.len(), 1);
    assert_empty_but_alive(&mut rx);
}

fn a_message_with_descriptors_waits_for_a_slot(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let mut other = tx.try_clone().unwrap();
    let mut slot = tx.reserve(4).unwrap();
    slot.copy_from_slice(b"slot");
    let child = fork(|| {
        other.send_with_fds(b"with one", &[null().as_fd()]).unwrap();
    });
    if slot.is_in_place() {
        child.until_asleep();
        slot.commit().unwrap();
        assert_eq!(&*rx.recv().unwrap(), b"slot");
    } else {
        drop(slot);
    }
    let (message, fds) = rx.recv_with_fds().unwrap();
    assert_eq!((&*message, fds.len()), (&b"with one"[..], 1));
    child.join();
    assert_empty_but_alive(&mut rx);
}

/// What the segment counts for observers, by its byte map: messages and bytes sent, and the longest message.
fn counters(memory: Memory) -> [u64; 3] {
    let image = memory.copy();
    [0x0a8, 0x0b0, 0x300].map(|offset| image.u64(offset))
}

fn runs_and_slots_are_counted() {
    let (mut rx, mut tx) = open(Backend::SharedMemory);
    let memory = Memory::of_the_only_pipe();
    assert_eq!(counters(memory), [0; 3]);
    tx.send_batch([&[7; 10][..], &[7; 0], &[7; 33]]).unwrap();
    assert_eq!(counters(memory), [3, 43, 33]);
    let mut slot = tx.reserve(100).unwrap();
    slot.copy_from_slice(&[7; 100]);
    assert_eq!(counters(memory), [3, 43, 100]);
    slot.commit().unwrap();
    assert_eq!(counters(memory), [4, 143, 100]);
    tx.send_vectored(&[
        std::io::IoSlice::new(&[7; 50]),
        std::io::IoSlice::new(&[7; 55]),
    ])
    .unwrap();
    assert_eq!(counters(memory), [5, 248, 105]);
    drop(tx.reserve(8).unwrap());
    assert_eq!(counters(memory), [5, 248, 105]);
    assert_eq!(rx.recv_batch().unwrap().len(), 5);
}
