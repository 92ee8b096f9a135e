//! Closing a side in this process while other handles to it live: what later calls report, and what the other side sees.

use std::io::{Error, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shmpipe::{Backend, RecvError, SendError, TryRecvError, wait};

use crate::ends::{FILLER, LARGE, assert_at_end, drain, fill, open, open_duplex};
use crate::support::{Line, check, fork, long, on_both_backends, pattern, thread};

on_both_backends! {
    ends_of_values_close_as_the_ends_below_them,
    later_receives_are_refused,
    later_sends_are_refused,
    what_was_sent_before_the_close_is_received,
    a_second_close_is_as_the_first,
    closes_of_many_handles_at_once_are_one,
    receivers_hear_of_a_message_that_was_received_in_part,
    a_slot_cannot_be_committed_after_the_close,
    a_view_can_be_read_after_the_close,
    both_directions_of_a_connection_are_closed,
    the_other_side_in_the_same_process_is_not_closed,
    nothing_that_was_sent_is_lost_by_a_close_of_a_busy_side within 60,
}

#[track_caller]
pub(crate) fn assert_closed(error: impl Into<Error>) {
    let error = error.into();
    assert_eq!(error.kind(), ErrorKind::NotConnected, "{error:?}");
}

fn ends_of_values_close_as_the_ends_below_them(backend: Backend) {
    let (rx, tx) = open(backend);
    let kept = tx.try_clone().unwrap();
    let mut rx = shmpipe::typed::Receiver::<u32>::from(rx);
    let mut tx = shmpipe::typed::Sender::<u32>::from(tx);
    tx.send(&7).unwrap();
    tx.close().unwrap();
    assert_closed(tx.send(&8).unwrap_err());
    assert_eq!(rx.recv().unwrap(), 7);
    assert!(matches!(
        rx.recv(),
        Err(shmpipe::typed::RecvError::Pipe(RecvError::Disconnected))
    ));
    drop(kept);
    let (left, right) = open_duplex(backend);
    let kept = left.try_clone().unwrap();
    let left = shmpipe::typed::Connection::<u32, u32>::from(left);
    let mut right = shmpipe::typed::Connection::<u32, u32>::from(right);
    left.close().unwrap();
    assert!(right.recv().is_err() && right.send(&1).is_err());
    drop(kept);
}

fn later_receives_are_refused(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut other = rx.try_clone().unwrap();
    for message in [&b""[..], b"never received", &[7; FILLER], &[7; 20_000]] {
        tx.try_send(message).unwrap();
    }
    rx.close().unwrap();
    for rx in [&mut rx, &mut other] {
        for _ in 0..2 {
            assert_closed(rx.recv().map(drop).unwrap_err());
            assert_closed(rx.try_recv().map(drop).unwrap_err());
            assert_closed(rx.recv_timeout(Duration::ZERO).map(drop).unwrap_err());
            assert_closed(rx.recv_into(&mut [0; 100]).unwrap_err());
            assert_closed(rx.recv_with(|_| None::<&mut [u8]>).unwrap_err());
            assert_closed(rx.recv_in_place().map(drop).unwrap_err());
            assert_closed(rx.poll(Some(Duration::ZERO)).unwrap_err());
            assert_closed(rx.read(&mut [0; 8]).unwrap_err());
            assert_closed(rx.messages().next().unwrap().unwrap_err());
            assert_closed(wait(&mut [rx], None).unwrap_err());
        }
        assert_closed(rx.try_clone().unwrap_err());
        assert_closed(rx.as_fds().map(drop).unwrap_err());
    }
    assert_closed(rx.into_fds().unwrap_err());
}

fn later_sends_are_refused(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut other = tx.try_clone().unwrap();
    other.send(b"").unwrap();
    tx.close().unwrap();
    for tx in [&mut tx, &mut other] {
        for len in [0, 1, FILLER, 20_000, LARGE] {
            let message = vec![7; len];
            assert_closed(tx.send(&message).unwrap_err());
            assert_closed(tx.send_timeout(&message, Duration::ZERO).unwrap_err());
            if len != LARGE {
                assert_closed(tx.try_send(&message).unwrap_err());
            }
            let slot = tx.reserve(len);
            assert_closed(slot.and_then(|slot| slot.commit()).unwrap_err());
            assert_closed(tx.send_batch([&message]).unwrap_err());
        }
        assert_closed(tx.write(b"x").unwrap_err());
        assert_closed(tx.try_clone().unwrap_err());
        assert_closed(wait(&mut [tx], None).unwrap_err());
    }
    assert_closed(tx.into_fds().unwrap_err());
    assert_eq!(rx.recv().unwrap().len(), 0);
    assert_at_end(&mut rx);
}

fn what_was_sent_before_the_close_is_received(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let kept = tx.try_clone().unwrap();
    let count = fill(&mut tx, 1);
    tx.close().unwrap();
    drain(&mut rx, 1, 0..count, FILLER);
    assert_at_end(&mut rx);
    drop(kept);
}

fn a_second_close_is_as_the_first(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let other = tx.try_clone().unwrap();
    for tx in [&tx, &other, &tx] {
        tx.close().unwrap();
    }
    assert_at_end(&mut rx);
    fork(|| tx.close().unwrap()).join();
}

fn closes_of_many_handles_at_once_are_one(backend: Backend) {
    for _ in 0..20 {
        let (mut rx, tx) = open(backend);
        let handles: Vec<_> = (0..4).map(|_| tx.try_clone().unwrap()).collect();
        let closing: Vec<_> = handles
            .into_iter()
            .map(|tx| thread(move || tx.close().unwrap()))
            .collect();
        closing.into_iter().for_each(|closing| closing.join());
        assert_at_end(&mut rx);
    }
}

fn receivers_hear_of_a_message_that_was_received_in_part(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| {
        tx.send(&pattern(1, 0, LARGE)).unwrap();
        tx.send(&pattern(1, 1, FILLER)).unwrap();
    });
    sender.until_asleep();
    sender.stop();
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    let has_closed = Line::new();
    let child = fork(|| {
        has_closed.wait();
        assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
        check(&rx.recv().unwrap(), 1, 1, FILLER);
    });
    let kept = rx.try_clone().unwrap();
    rx.close().unwrap();
    has_closed.signal();
    sender.cont();
    child.join();
    sender.join();
    drop(kept);
}

fn a_slot_cannot_be_committed_after_the_close(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let other = tx.try_clone().unwrap();
    let mut slot = tx.reserve(5).unwrap();
    slot.copy_from_slice(b"never");
    other.close().unwrap();
    assert_closed(slot.commit().unwrap_err());
    assert_at_end(&mut rx);
}

fn a_view_can_be_read_after_the_close(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let other = rx.try_clone().unwrap();
    tx.send(b"in place").unwrap();
    let view = rx.recv_in_place().unwrap();
    other.close().unwrap();
    let mut found = vec![0; view.len()];
    view.copy_to(&mut found);
    assert_eq!(found, b"in place");
    drop(view);
    assert!(matches!(tx.send(b"x"), Err(SendError::Disconnected)));
}

fn both_directions_of_a_connection_are_closed(backend: Backend) {
    let (left, mut right) = open_duplex(backend);
    let mut kept = left.try_clone().unwrap();
    left.close().unwrap();
    assert!(matches!(right.recv(), Err(RecvError::Disconnected)));
    assert!(matches!(right.send(b"x"), Err(SendError::Disconnected)));
    assert_closed(kept.send(b"x").unwrap_err());
    assert_closed(kept.recv().map(drop).unwrap_err());
}

fn the_other_side_in_the_same_process_is_not_closed(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let mut other = tx.try_clone().unwrap();
    other.send(b"here").unwrap();
    tx.close().unwrap();
    let mut clone = rx.try_clone().unwrap();
    assert_eq!(&*clone.recv().unwrap(), b"here");
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Disconnected)));
}

/// A child receives; of what the parent's threads had sent when the close ended them nothing is missing.
fn nothing_that_was_sent_is_lost_by_a_close_of_a_busy_side(backend: Backend) {
    let rounds = if long() { 300 } else { 30 };
    for round in 0..rounds {
        let (mut rx, tx) = open(backend);
        let (mut total_rx, mut total_tx) = open(backend);
        let len = [8, FILLER, 20_000][round % 3];
        let has_begun = Line::new();
        let child_tx = tx.try_clone().unwrap();
        let child = fork(|| {
            child_tx.close().unwrap();
            let mut count = 0u64;
            loop {
                match rx.recv() {
                    Ok(message) => {
                        assert_eq!(message.len(), len);
                        count += 1;
                    }
                    Err(RecvError::Disconnected) => break,
                    Err(error) => panic!("message {count}: {error}"),
                }
                if count == 10 {
                    has_begun.signal();
                }
            }
            total_tx.send(&count.to_ne_bytes()).unwrap();
        });
        let stop = AtomicBool::new(false);
        let sent: u64 = std::thread::scope(|scope| {
            let sending: Vec<_> = (0..3)
                .map(|_| {
                    let mut tx = tx.try_clone().unwrap();
                    let stop = &stop;
                    scope.spawn(move || {
                        let mut sent = 0;
                        loop {
                            match tx.send(&vec![7; len]) {
                                Ok(()) => sent += 1,
                                Err(error) => {
                                    assert_closed(error);
                                    assert!(stop.load(Ordering::SeqCst));
                                    return sent;
                                }
                            }
                        }
                    })
                })
                .collect();
            has_begun.wait();
            stop.store(true, Ordering::SeqCst);
            tx.close().unwrap();
            sending
                .into_iter()
                .map(|sending| sending.join().unwrap())
                .sum()
        });
        let received = total_rx.recv().unwrap();
        assert_eq!(u64::from_ne_bytes(received[..].try_into().unwrap()), sent);
        child.join();
    }
}
