//! A peer that sits on a lock, or says that somebody does: time-outs hold, and nothing else is owed.
//!
//! A call without a time-out may wait as long as the squatter likes.

use std::mem;
use std::time::{Duration, Instant};

use shmpipe::{RecvTimeoutError, SendTimeoutError};

use crate::lie::{OWNER_DIED, WAITERS};
use crate::stage::{Content, Stage, first_message, in_fragments, open};
use crate::support::segment::at;
use crate::support::{Line, fork, on_no_backend, thread};
use crate::victim::{Outcome, Receive, Send, bounded, drop_in_time};

on_no_backend! {
    time_outs_hold_while_a_stranger_sits_on_the_lock within 60,
    what_is_there_whole_is_received_while_a_stranger_sits_on_the_lock within 20,
    a_whole_message_in_fragments_is_received_while_a_stranger_sits_on_the_lock within 20,
    the_mark_of_a_death_that_was_none_is_taken_for_one within 20,
    time_outs_hold_while_a_stranger_holds_the_message within 60,
    a_close_ends_while_a_stranger_sits_on_the_lock within 60,
    a_view_that_is_dropped_beside_a_squatter_was_received_once within 20,
    a_view_that_was_leaked_beside_a_squatter_keeps_nobody_out within 20,
    a_slot_that_is_dropped_beside_a_squatter_keeps_nobody_out within 20,
}

const TIMEOUT: Duration = Duration::from_millis(3);

/// Long enough for whatever is to come.
const LONG: Duration = Duration::from_secs(10);

fn time_outs_hold_while_a_stranger_sits_on_the_lock() {
    let (rx, tx, stage) = open(Content::Nothing);
    let started = Line::new();
    let squatter = fork(|| {
        started.put(u64::from(std::process::id()));
        loop {
            nix::unistd::pause();
        }
    });
    let stranger = started.take();
    let own = u64::from(nix::unistd::gettid().as_raw().unsigned_abs());
    for owner in [1, stranger, own, 0x3fff_ffff] {
        for word in [
            owner,
            owner | WAITERS,
            owner | OWNER_DIED,
            owner | OWNER_DIED | WAITERS,
        ] {
            stage.restore();
            stage.memory.store(at::TX_LOCK, 4, word);
            stage.memory.store(at::RX_LOCK, 4, word);
            let (mut rx, mut tx) = (rx.try_clone().unwrap(), tx.try_clone().unwrap());
            assert_eq!(Receive::Try.make(&mut rx), Outcome::NotNow, "{word:#x}");
            assert_eq!(Receive::Poll.make(&mut rx), Outcome::NotNow, "{word:#x}");
            assert_eq!(Send::Try(8).make(&mut tx), Outcome::NotNow, "{word:#x}");
            let start = Instant::now();
            assert!(matches!(
                rx.recv_timeout(TIMEOUT),
                Err(RecvTimeoutError::Timeout)
            ));
            assert!(matches!(
                tx.send_timeout(b"x", TIMEOUT),
                Err(SendTimeoutError::Timeout)
            ));
            assert!(!rx.poll(Some(TIMEOUT)).unwrap());
            assert!(start.elapsed() >= 3 * TIMEOUT, "{:?}", start.elapsed());
            drop_in_time(rx);
            drop_in_time(tx);
        }
    }
    // The squatter has gone, and with it every reason to wait.
    squatter.kill();
    stage.restore();
    let (mut rx, mut tx) = (rx, tx);
    tx.send(b"x").unwrap();
    assert_eq!(Receive::Block.make(&mut rx), Outcome::Done);
}

/// Beside a call of another thread, which ends too.
fn a_close_ends_while_a_stranger_sits_on_the_lock() {
    let own = u64::from(nix::unistd::gettid().as_raw().unsigned_abs());
    for owner in [1, own, 0x3fff_ffff] {
        for word in [owner, owner | WAITERS, owner | OWNER_DIED | WAITERS] {
            let (rx, tx, stage) = open(Content::Full);
            stage.memory.store(at::TX_LOCK, 4, word);
            stage.memory.store(at::RX_LOCK, 4, word);
            let (mut their_rx, mut their_tx) = (rx.try_clone().unwrap(), tx.try_clone().unwrap());
            let calls = [
                thread(move || {
                    their_rx
                        .recv_batch()
                        .map(drop)
                        .map_err(std::io::Error::from)
                }),
                thread(move || their_tx.send(&[7; 100]).map_err(std::io::Error::from)),
            ];
            bounded("close", Duration::ZERO, || {
                tx.close().unwrap();
                rx.close().unwrap();
                Outcome::Done
            });
            for call in calls {
                if let Err(error) = call.join() {
                    assert_eq!(error.kind(), std::io::ErrorKind::NotConnected, "{word:#x}");
                }
            }
            drop_in_time((rx, tx));
        }
    }
}

fn what_is_there_whole_is_received_while_a_stranger_sits_on_the_lock() {
    let (mut rx, _tx, stage) = open(Content::Small);
    beside_a_squatter(&stage, || {
        assert!(rx.poll(Some(Duration::ZERO)).unwrap());
        assert_eq!(rx.try_recv().unwrap().to_vec(), first_message());
        assert!(rx.poll(Some(TIMEOUT)).unwrap());
        assert_eq!(rx.recv_timeout(TIMEOUT).unwrap().len(), 0);
        assert_eq!(rx.try_recv().unwrap().len(), 300);
        assert_eq!(Receive::Try.make(&mut rx), Outcome::NotNow);
    });
}

fn a_whole_message_in_fragments_is_received_while_a_stranger_sits_on_the_lock() {
    let (mut rx, _tx, stage) = open(Content::InFragments);
    beside_a_squatter(&stage, || {
        assert!(rx.poll(Some(Duration::ZERO)).unwrap());
        assert_eq!(rx.try_recv().unwrap().to_vec(), in_fragments());
        assert_eq!(Receive::Try.make(&mut rx), Outcome::NotNow);
    });
}

fn the_mark_of_a_death_that_was_none_is_taken_for_one() {
    let (rx, tx, stage) = open(Content::Small);
    for word in [OWNER_DIED, WAITERS, OWNER_DIED | WAITERS] {
        stage.restore();
        stage.memory.store(at::TX_LOCK, 4, word);
        stage.memory.store(at::RX_LOCK, 4, word);
        let (mut rx, mut tx) = (rx.try_clone().unwrap(), tx.try_clone().unwrap());
        tx.send(b"the fourth").unwrap();
        assert_eq!([(); 3].map(|()| rx.recv().unwrap().len()), [100, 0, 300]);
        assert_eq!(&*rx.recv().unwrap(), b"the fourth");
    }
    stage.restore();
}

fn time_outs_hold_while_a_stranger_holds_the_message() {
    const OPEN: u64 = 1;
    let (rx, _tx, stage) = open(Content::InFragments);
    let own = u64::from(std::process::id());
    for owner in [0, 1, own, 0x7fff_ffff, 0xffff_ffff] {
        for birth in [0, 1, u64::MAX] {
            stage.restore();
            stage.memory.store(at::RX_REASSEMBLY_STATE, 4, OPEN);
            stage.memory.store(at::RX_REASSEMBLY_OWNER, 4, owner);
            stage.memory.store(at::RX_REASSEMBLY_OWNER + 8, 8, birth);
            let mut end = rx.try_clone().unwrap();
            for call in [Receive::Try, Receive::Poll, Receive::Within(TIMEOUT)] {
                let outcome = call.make(&mut end);
                // The owner may be one that is proven dead.
                let expected = [
                    Outcome::NotNow,
                    Outcome::Done,
                    Outcome::Corrupted,
                    Outcome::Aborted,
                ];
                assert!(expected.contains(&outcome), "{call:?}: {outcome:?}");
            }
            drop_in_time(end);
        }
    }
    stage.restore();
}

/// Has `act` done while a process that does nothing sits on both locks.
fn beside_a_squatter(stage: &Stage, act: impl FnOnce()) {
    let started = Line::new();
    let squatter = fork(|| {
        started.put(u64::from(std::process::id()));
        loop {
            nix::unistd::pause();
        }
    });
    let owner = started.take();
    stage.memory.store(at::TX_LOCK, 4, owner);
    stage.memory.store(at::RX_LOCK, 4, owner);
    act();
    stage.memory.store(at::TX_LOCK, 4, 0);
    stage.memory.store(at::RX_LOCK, 4, 0);
    squatter.kill();
}

fn a_view_that_is_dropped_beside_a_squatter_was_received_once() {
    let (mut rx, _tx, stage) = open(Content::Small);
    let mut other = rx.try_clone().unwrap();
    let view = rx.recv_in_place().unwrap();
    assert_eq!(view.to_vec(), first_message());
    beside_a_squatter(&stage, || drop(view));
    // While the end that had the view is there and does nothing.
    assert_eq!(other.recv_timeout(LONG).unwrap().len(), 0);
    assert_eq!(rx.recv_timeout(LONG).unwrap().len(), 300);
    // And where that end is the one that goes on.
    stage.restore();
    let view = rx.recv_in_place().unwrap();
    beside_a_squatter(&stage, || drop(view));
    assert_eq!(rx.recv_timeout(LONG).unwrap().len(), 0);
}

fn a_view_that_was_leaked_beside_a_squatter_keeps_nobody_out() {
    let (mut rx, _tx, stage) = open(Content::Small);
    let mut other = rx.try_clone().unwrap();
    mem::forget(rx.recv_in_place().unwrap());
    beside_a_squatter(&stage, || drop(rx));
    assert_eq!(other.recv_timeout(LONG).unwrap().to_vec(), first_message());
}

fn a_slot_that_is_dropped_beside_a_squatter_keeps_nobody_out() {
    let (mut rx, mut tx, stage) = open(Content::Nothing);
    let mut other = tx.try_clone().unwrap();
    let slot = tx.reserve(8).unwrap();
    beside_a_squatter(&stage, || drop(slot));
    // While the end that had the slot is there and does nothing.
    other.send_timeout(b"another", LONG).unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"another");
    drop(tx);
}
