//! Messages that are written and read where they lie: slots and views, and those who wait for them.

use std::io::ErrorKind;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use shmpipe::{
    Backend, PipeOptions, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError,
    TryRecvError, TrySendError,
};

use crate::ends::{
    CAPACITY, FILLER, LARGE, SHORT, assert_at_end, assert_breaks, assert_empty_but_alive, fill,
    open, open_duplex,
};
use crate::support::{Line, check, fork, fork_apart, leaking, on_both_backends, pattern, thread};

on_both_backends! {
    a_slot_is_sent_by_its_commit,
    a_slot_is_written_at_any_offset,
    a_slot_that_is_dropped_sends_nothing,
    a_slot_beyond_the_limit_is_too_large,
    a_slot_waits_for_room,
    a_slot_without_a_receiver_is_disconnected,
    a_range_that_is_not_in_the_message_panics_and_harms_nothing,
    a_view_is_read_at_any_offset,
    a_view_is_received_when_it_is_dropped,
    a_view_of_a_long_message_is_whole,
    views_wait_for_messages_and_keep_their_time,
    views_come_to_the_end_of_the_pipe,
    slots_and_views_go_many_times_round_the_ring,
    the_rest_of_a_read_comes_first,
    slots_and_views_cross_a_two_way_pipe,
    other_senders_wait_for_a_slot,
    a_sender_that_waits_for_a_slot_hears_of_the_last_receivers_death,
    a_sender_killed_with_a_slot_blocks_nobody,
    a_slot_that_was_leaked_is_as_dropped,
    a_forked_copy_of_a_slot_is_void,
    a_forked_copy_of_a_slot_writes_nothing_into_the_pipe,
    a_forked_copy_of_a_view_reads_while_the_original_is_there_and_panics_after,
    other_receivers_wait_for_a_view,
    a_receiver_killed_with_a_view_leaves_the_message,
    a_view_that_was_leaked_was_not_received,
    a_forked_copy_of_a_view_is_dropped_without_effect,
}

/// Whether messages of this pipe are in place: kernel pipes have no place.
fn is_in_place(backend: Backend) -> bool {
    backend == Backend::SharedMemory
}

#[track_caller]
fn view_next(rx: &mut Receiver, number: u64, len: usize) {
    let view = rx.recv_in_place().unwrap();
    assert_eq!(view.len(), len);
    check(&view.to_vec(), 1, number, len);
}

fn a_slot_is_sent_by_its_commit(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for len in [0, 1, 7, 8, 9, 100, CAPACITY / 8 - 8, CAPACITY / 8 - 7] {
        let mut slot = tx.reserve(len).unwrap();
        let fits = len <= CAPACITY / 8 - 8;
        assert_eq!(slot.is_in_place(), is_in_place(backend) && fits);
        assert_eq!((slot.len(), slot.is_empty()), (len, len == 0));
        slot.copy_from_slice(&pattern(1, 0, len));
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        slot.commit().unwrap();
        check(&rx.recv().unwrap(), 1, 0, len);
    }
    let sender = fork(|| {
        let mut slot = tx.reserve(LARGE).unwrap();
        assert!(!slot.is_in_place());
        slot.copy_from_slice(&pattern(1, 1, LARGE));
        slot.commit().unwrap();
    });
    check(&rx.recv().unwrap(), 1, 1, LARGE);
    sender.join();
    assert_empty_but_alive(&mut rx);
}

fn a_slot_is_written_at_any_offset(backend: Backend) {
    const LEN: usize = 203;
    let (mut rx, mut tx) = open(backend);
    for step in [1, 3, 8, 13, 64, 100] {
        let message = pattern(1, step as u64, LEN);
        let mut slot = tx.reserve(LEN).unwrap();
        // From the back, so that what is written last must not harm what lies behind it.
        for start in (0..LEN).step_by(step).collect::<Vec<_>>().into_iter().rev() {
            let end = LEN.min(start + step);
            slot.write_at(start, &message[start..end]);
        }
        slot.commit().unwrap();
        check(&rx.recv().unwrap(), 1, step as u64, LEN);
    }
    let mut slot = tx.reserve(LEN).unwrap();
    // SAFETY: the other end is in this process and does nothing now.
    unsafe { slot.as_mut_slice() }.copy_from_slice(&pattern(1, 7, LEN));
    slot.commit().unwrap();
    check(&rx.recv().unwrap(), 1, 7, LEN);
}

fn a_slot_that_is_dropped_sends_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for len in [0, 100, LARGE] {
        let mut slot = tx.reserve(len).unwrap();
        slot.copy_from_slice(&vec![7; len]);
        drop(slot);
        assert_empty_but_alive(&mut rx);
    }
    tx.send(&pattern(1, 0, 50)).unwrap();
    check(&rx.recv().unwrap(), 1, 0, 50);
}

fn a_slot_beyond_the_limit_is_too_large(backend: Backend) {
    let options = PipeOptions::new().backend(backend).max_message(100);
    let (_rx, mut tx) = options.pipe().unwrap();
    let outcome = tx.reserve(101).map(|slot| slot.len());
    assert!(
        matches!(outcome, Err(SendError::TooLarge { len: 101, max: 100 })),
        "{outcome:?}"
    );
    assert_eq!(tx.reserve(100).unwrap().len(), 100);
}

fn a_slot_waits_for_room(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sent = fill(&mut tx, 1);
    let sender = fork(move || {
        let mut slot = tx.reserve(FILLER).unwrap();
        slot.copy_from_slice(&pattern(1, sent, FILLER));
        slot.commit().unwrap();
    });
    sender.until_asleep();
    (0..=sent).for_each(|number| check(&rx.recv().unwrap(), 1, number, FILLER));
    sender.join();
    assert_at_end(&mut rx);
}

fn a_slot_without_a_receiver_is_disconnected(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let slot = tx.reserve(8).unwrap();
    drop(rx);
    let outcome = slot.commit();
    assert!(
        matches!(outcome, Err(SendError::Disconnected)),
        "{outcome:?}"
    );
    assert_breaks(&mut tx);
    let outcome = tx.reserve(8).and_then(|slot| slot.commit());
    assert!(
        matches!(outcome, Err(SendError::Disconnected)),
        "{outcome:?}"
    );
}

fn a_range_that_is_not_in_the_message_panics_and_harms_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for (offset, count) in [(0, 11), (4, 7), (11, 0), (usize::MAX, 1)] {
        let mut slot = tx.reserve(10).unwrap();
        catch_unwind(AssertUnwindSafe(|| slot.write_at(offset, &vec![7; count]))).unwrap_err();
        catch_unwind(AssertUnwindSafe(|| slot.copy_from_slice(&[7; 9]))).unwrap_err();
        slot.copy_from_slice(b"0123456789");
        slot.commit().unwrap();
        let view = rx.recv_in_place().unwrap();
        catch_unwind(AssertUnwindSafe(|| {
            view.read_at(offset, &mut vec![7; count])
        }))
        .unwrap_err();
        catch_unwind(AssertUnwindSafe(|| view.copy_to(&mut [7; 11]))).unwrap_err();
        assert_eq!(view.to_vec(), b"0123456789");
    }
    assert_empty_but_alive(&mut rx);
}

fn a_view_is_read_at_any_offset(backend: Backend) {
    const LEN: usize = 203;
    let (mut rx, mut tx) = open(backend);
    let message = pattern(1, 0, LEN);
    tx.send(&message).unwrap();
    let view = rx.recv_in_place().unwrap();
    assert_eq!(view.is_in_place(), is_in_place(backend));
    for offset in 0..20 {
        for len in [0, 1, 7, 8, 9, 64, 100, LEN - offset] {
            let mut bytes = vec![0; len];
            view.read_at(offset, &mut bytes);
            assert_eq!(bytes, message[offset..offset + len]);
        }
    }
    // SAFETY: the other end is in this process and does nothing now.
    assert_eq!(unsafe { view.as_slice() }, message);
    assert_eq!(view.read::<[u8; LEN]>().unwrap()[..], message);
    assert_eq!(view.read::<[u8; LEN - 1]>(), None);
}

fn a_view_is_received_when_it_is_dropped(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    (0..3).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
    tx.send(b"").unwrap();
    (0..3).for_each(|number| view_next(&mut rx, number, FILLER));
    assert!(rx.try_recv_in_place().unwrap().is_empty());
    assert!(matches!(rx.try_recv_in_place(), Err(TryRecvError::Empty)));
    // The room is given back.
    (0..10).for_each(|_| {
        let sent = fill(&mut tx, 1);
        (0..sent).for_each(|number| view_next(&mut rx, number, FILLER));
    });
    assert_empty_but_alive(&mut rx);
}

fn a_view_of_a_long_message_is_whole(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| {
        tx.send(&pattern(1, 0, LARGE)).unwrap();
        tx.send(&pattern(1, 1, 8)).unwrap();
    });
    let view = rx.recv_in_place().unwrap();
    assert!(!view.is_in_place());
    check(&view.to_vec(), 1, 0, LARGE);
    drop(view);
    view_next(&mut rx, 1, 8);
    sender.join();
    assert_empty_but_alive(&mut rx);
}

fn views_wait_for_messages_and_keep_their_time(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let start = Instant::now();
    let outcome = rx.recv_in_place_timeout(SHORT).map(|view| view.len());
    assert!(
        matches!(outcome, Err(RecvTimeoutError::Timeout)),
        "{outcome:?}"
    );
    assert!(start.elapsed() >= SHORT);
    let blocked = thread(move || view_next(&mut rx, 0, 100));
    blocked.until_asleep();
    tx.send(&pattern(1, 0, 100)).unwrap();
    blocked.join();
}

fn views_come_to_the_end_of_the_pipe(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(&pattern(1, 0, 100)).unwrap();
    let view = rx.recv_in_place().unwrap();
    drop(tx);
    check(&view.to_vec(), 1, 0, 100);
    drop(view);
    assert!(matches!(rx.recv_in_place(), Err(RecvError::Disconnected)));
    assert_at_end(&mut rx);
}

fn slots_and_views_go_many_times_round_the_ring(backend: Backend) {
    const COUNT: u64 = 2000;
    let len = |number: u64| [0, 1, 61, 1021, 4093, 7, 251][number as usize % 7];
    let (mut rx, mut tx) = open(backend);
    let sender = fork(move || {
        for number in 0..COUNT {
            let mut slot = tx.reserve(len(number)).unwrap();
            slot.copy_from_slice(&pattern(1, number, len(number)));
            slot.commit().unwrap();
        }
    });
    (0..COUNT).for_each(|number| view_next(&mut rx, number, len(number)));
    sender.join();
    assert_at_end(&mut rx);
}

fn the_rest_of_a_read_comes_first(backend: Backend) {
    use std::io::Read;
    let (mut rx, mut tx) = open(backend);
    tx.send(b"a part and the rest").unwrap();
    rx.read_exact(&mut [0; 7]).unwrap();
    assert_eq!(rx.recv_in_place().unwrap().to_vec(), b"and the rest");
    assert_empty_but_alive(&mut rx);
}

fn slots_and_views_cross_a_two_way_pipe(backend: Backend) {
    let (mut left, mut right) = open_duplex(backend);
    let mut slot = left.reserve(5).unwrap();
    slot.copy_from_slice(b"right");
    slot.commit().unwrap();
    assert_eq!(right.recv_in_place().unwrap().to_vec(), b"right");
    assert!(matches!(
        right.try_recv_in_place(),
        Err(TryRecvError::Empty)
    ));
    let outcome = left.recv_in_place_timeout(SHORT).map(|view| view.len());
    assert!(matches!(outcome, Err(RecvTimeoutError::Timeout)));
}

fn other_senders_wait_for_a_slot(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut other = tx.try_clone().unwrap();
    let mut slot = tx.reserve(8).unwrap();
    if is_in_place(backend) {
        assert!(matches!(other.try_send(b"x"), Err(TrySendError::Full)));
        let start = Instant::now();
        let outcome = other.send_timeout(b"x", SHORT);
        assert!(matches!(outcome, Err(SendTimeoutError::Timeout)));
        assert!(start.elapsed() >= SHORT);
        let blocked = thread(move || other.send(&pattern(1, 1, 8)).unwrap());
        blocked.until_asleep();
        slot.copy_from_slice(&pattern(1, 0, 8));
        slot.commit().unwrap();
        blocked.join();
        check(&rx.recv().unwrap(), 1, 0, 8);
        check(&rx.recv().unwrap(), 1, 1, 8);
    } else {
        // A slot of its own memory is in nobody's way.
        other.try_send(&pattern(1, 1, 8)).unwrap();
        slot.copy_from_slice(&pattern(1, 0, 8));
        slot.commit().unwrap();
        check(&rx.recv().unwrap(), 1, 1, 8);
        check(&rx.recv().unwrap(), 1, 0, 8);
    }
    assert_empty_but_alive(&mut rx);
}

fn a_sender_that_waits_for_a_slot_hears_of_the_last_receivers_death(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let mut other = tx.try_clone().unwrap();
    let receiver = fork(move || {
        let _rx = rx;
        std::thread::park();
    });
    let slot = tx.reserve(8).unwrap();
    let blocked = thread(move || assert_breaks(&mut other));
    blocked.until_asleep();
    receiver.kill();
    blocked.join();
    let outcome = slot.commit();
    assert!(
        matches!(outcome, Err(SendError::Disconnected)),
        "{outcome:?}"
    );
}

fn a_sender_killed_with_a_slot_blocks_nobody(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for number in 0..5 {
        let go = Line::new();
        let victim = fork(|| {
            let mut slot = tx.reserve(100).unwrap();
            slot.copy_from_slice(&[7; 100]);
            go.signal();
            std::thread::park();
        });
        go.wait();
        victim.kill();
        tx.send(&pattern(1, number, 50)).unwrap();
        check(&rx.recv().unwrap(), 1, number, 50);
        assert_empty_but_alive(&mut rx);
    }
}

fn a_slot_that_was_leaked_is_as_dropped(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    mem::forget(leaking(|| tx.reserve(100).unwrap()));
    tx.send(&pattern(1, 0, 50)).unwrap();
    check(&rx.recv().unwrap(), 1, 0, 50);
    mem::forget(leaking(|| tx.reserve(100).unwrap()));
    let mut other = tx.try_clone().unwrap();
    drop(tx);
    other.try_send(&pattern(1, 1, 50)).unwrap();
    check(&rx.recv().unwrap(), 1, 1, 50);
    assert_empty_but_alive(&mut rx);
}

fn a_forked_copy_of_a_slot_is_void(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let slot = tx.reserve(8).unwrap();
    // In the child the copy is dropped.
    let (child, slot) = fork_apart(slot, || {});
    child.join();
    let mut slot = Some(slot);
    let child = fork(|| {
        let outcome = slot.take().unwrap().commit();
        if is_in_place(backend) {
            let is_refused = matches!(&outcome, Err(SendError::Io(error)) if error.kind() == ErrorKind::Unsupported);
            assert!(is_refused, "{outcome:?}");
        } else {
            // It is a message of the child's own.
            outcome.unwrap();
        }
    });
    child.join();
    if !is_in_place(backend) {
        assert_eq!(rx.recv().unwrap().len(), 8);
    }
    let mut slot = slot.unwrap();
    slot.copy_from_slice(&pattern(1, 0, 8));
    slot.commit().unwrap();
    check(&rx.recv().unwrap(), 1, 0, 8);
    assert_empty_but_alive(&mut rx);
}

fn other_receivers_wait_for_a_view(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut other = rx.try_clone().unwrap();
    tx.send(&pattern(1, 0, 100)).unwrap();
    let view = rx.recv_in_place().unwrap();
    tx.send(&pattern(1, 1, 100)).unwrap();
    if is_in_place(backend) {
        assert!(matches!(other.try_recv(), Err(TryRecvError::Empty)));
        assert!(!other.poll(Some(Duration::ZERO)).unwrap());
        let start = Instant::now();
        let outcome = other.recv_timeout(SHORT);
        assert!(matches!(outcome, Err(RecvTimeoutError::Timeout)));
        assert!(start.elapsed() >= SHORT);
    }
    let blocked = thread(move || check(&other.recv().unwrap(), 1, 1, 100));
    if is_in_place(backend) {
        blocked.until_asleep();
    }
    check(&view.to_vec(), 1, 0, 100);
    drop(view);
    blocked.join();
    assert_empty_but_alive(&mut rx);
}

fn a_receiver_killed_with_a_view_leaves_the_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for number in 0..5 {
        tx.send(&pattern(1, number, 100)).unwrap();
        let go = Line::new();
        let victim = fork(|| {
            let view = rx.recv_in_place().unwrap();
            check(&view.to_vec(), 1, number, 100);
            go.signal();
            std::thread::park();
        });
        go.wait();
        victim.kill();
        if is_in_place(backend) {
            check(&rx.recv().unwrap(), 1, number, 100);
        }
        assert_empty_but_alive(&mut rx);
    }
}

fn a_view_that_was_leaked_was_not_received(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(&pattern(1, 0, 100)).unwrap();
    mem::forget(leaking(|| rx.recv_in_place().unwrap()));
    if is_in_place(backend) {
        check(&rx.recv().unwrap(), 1, 0, 100);
        tx.send(&pattern(1, 1, 100)).unwrap();
        mem::forget(leaking(|| rx.recv_in_place().unwrap()));
        let mut other = rx.try_clone().unwrap();
        drop(rx);
        check(&other.try_recv().unwrap(), 1, 1, 100);
        rx = other;
    }
    assert_empty_but_alive(&mut rx);
}

fn a_forked_copy_of_a_view_is_dropped_without_effect(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut other = rx.try_clone().unwrap();
    tx.send(&pattern(1, 0, 100)).unwrap();
    let view = rx.recv_in_place().unwrap();
    let (child, view) = fork_apart(view, || {});
    child.join();
    assert!(matches!(other.try_recv(), Err(TryRecvError::Empty)));
    check(&view.to_vec(), 1, 0, 100);
    drop(view);
    assert_empty_but_alive(&mut other);
}

/// The child writes for as long as its parent sends one message after the other through the same room.
fn a_forked_copy_of_a_slot_writes_nothing_into_the_pipe(backend: Backend) {
    const MESSAGES: u64 = 2000;
    let (mut rx, mut tx) = open(backend);
    let mut other = tx.try_clone().unwrap();
    let mut slot = tx.reserve(1000).unwrap();
    slot.copy_from_slice(&pattern(1, 0, 1000));
    let (started, mut start) = shmpipe::pipe().unwrap();
    let mut started = started;
    let child = fork(|| {
        start.send(b"the writing begins").unwrap();
        for round in 0.. {
            slot.write_at(8 * (round % 124), &[0xff; 8]);
            slot.copy_from_slice(&[0xee; 1000]);
            // SAFETY: both processes are in this test, and the slice is the child's own memory.
            unsafe { slot.as_mut_slice() }.fill(0xdd);
        }
    });
    assert_eq!(started.recv().unwrap().len(), 18);
    slot.commit().unwrap();
    check(&rx.recv().unwrap(), 1, 0, 1000);
    for number in 1..MESSAGES {
        other.send(&pattern(1, number, 1000)).unwrap();
        check(&rx.recv().unwrap(), 1, number, 1000);
    }
    child.kill();
    assert_empty_but_alive(&mut rx);
}

fn a_forked_copy_of_a_view_reads_while_the_original_is_there_and_panics_after(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(&pattern(1, 0, 100)).unwrap();
    let view = rx.recv_in_place().unwrap();
    let (mut parent, mut line) = shmpipe::duplex().unwrap();
    let child = fork(|| {
        check(&view.to_vec(), 1, 0, 100);
        line.send(b"read").unwrap();
        // The parent has dropped its view and sent on when this is answered.
        assert_eq!(&*line.recv().unwrap(), b"dropped");
        let outcome = std::panic::catch_unwind(|| view.to_vec());
        assert_eq!(outcome.is_err(), is_in_place(backend), "{outcome:?}");
    });
    assert_eq!(&*parent.recv().unwrap(), b"read");
    drop(view);
    tx.send(&pattern(1, 1, 100)).unwrap();
    parent.send(b"dropped").unwrap();
    child.join();
    check(&rx.recv().unwrap(), 1, 1, 100);
    assert_empty_but_alive(&mut rx);
}
