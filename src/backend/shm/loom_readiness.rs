//! Watched ends under the model checker: who sleeps in poll(2) on the descriptor is never left in silence, and is
//! not shown what is not there.

use std::os::fd::AsFd;

use loom::thread;

use super::{Rx, Tx, pair};
use crate::backend::{Rx as _, Tx as _};
use crate::error::Fault;
use crate::ring::payload::Destination;
use crate::segment::geometry::Wanted;
use crate::sys::clock::{Deadline, Timeout};
use crate::sys::kernel::model;
use crate::sys::socket;
use crate::wait::backoff::Spin;
use nix::poll::PollFlags;

/// Room for one record of eight bytes.
const TIGHT: usize = 32;
/// Room for three.
const WIDE: usize = 64;

fn until_readable(fd: &impl AsFd) {
    let found = socket::wait(fd.as_fd(), PollFlags::POLLIN, None, Deadline::NEVER).unwrap();
    assert!(found.ready);
}

/// Receives so many messages as an event loop does, by level.
fn serve(rx: &mut Rx, count: usize) {
    for _ in 0..count {
        loop {
            until_readable(&rx.readiness_fd());
            match rx.recv(Destination::Slice(&mut [0; 8]), Timeout::Never) {
                Ok(8) => break,
                // Another one may be inside the side; it goes on meanwhile.
                Err(Fault::NotNow) => thread::yield_now(),
                outcome => panic!("{outcome:?}"),
            }
        }
    }
}

fn send(mut tx: Tx, count: usize) -> Tx {
    (0..count).for_each(|_| tx.send(b"8 bytes.", Timeout::FOREVER).unwrap());
    tx
}

/// Whether the socket has tokens once nobody is inside any call and the end was found empty.
fn is_silent_when_empty(rx: &mut Rx) -> bool {
    let outcome = rx.recv(Destination::Slice(&mut [0; 8]), Timeout::Never);
    assert!(matches!(outcome, Err(Fault::NotNow)));
    socket::peek_token(rx.readiness_fd()).unwrap().is_none()
}

#[test]
fn a_watcher_hears_of_each_message() {
    model(|| {
        let (mut rx, tx) = pair(Wanted::plain(WIDE), Spin::default()).unwrap();
        let sender = thread::spawn(move || send(tx, 2));
        serve(&mut rx, 2);
        let tx = sender.join().unwrap();
        assert!(is_silent_when_empty(&mut rx));
        drop(tx);
    });
}

#[test]
fn a_watcher_of_two_senders_hears_of_each_message() {
    model(|| {
        let (mut rx, tx) = pair(Wanted::plain(WIDE), Spin::default()).unwrap();
        let other = tx.try_clone().unwrap();
        let senders = [
            thread::spawn(move || send(tx, 1)),
            thread::spawn(move || send(other, 1)),
        ];
        serve(&mut rx, 2);
        let senders = senders.map(|sender| sender.join().unwrap());
        assert!(is_silent_when_empty(&mut rx));
        drop(senders);
    });
}

#[test]
fn a_watcher_and_one_who_blocks_get_one_message_each() {
    model(|| {
        let (mut rx, tx) = pair(Wanted::plain(WIDE), Spin::default()).unwrap();
        let mut other = rx.try_clone().unwrap();
        let blocker = thread::spawn(move || {
            let mut bytes = Vec::new();
            let into = Destination::Buffer(&mut bytes);
            other.recv(into, Timeout::FOREVER).unwrap();
            other
        });
        let sender = thread::spawn(move || send(tx, 2));
        serve(&mut rx, 1);
        drop((blocker.join().unwrap(), sender.join().unwrap()));
    });
}

#[test]
fn a_watching_sender_hears_of_room() {
    model(|| {
        let (rx, mut tx) = pair(Wanted::plain(TIGHT), Spin::default()).unwrap();
        let receiver = thread::spawn(move || {
            let mut rx = rx;
            for _ in 0..2 {
                let into = Destination::Slice(&mut [0; 8]);
                let _: usize = rx.recv(into, Timeout::FOREVER).unwrap();
            }
            rx
        });
        for _ in 0..2 {
            loop {
                until_readable(&tx.readiness_fd());
                match tx.send(b"8 bytes.", Timeout::Never) {
                    Ok(()) => break,
                    Err(Fault::NotNow) => {}
                    outcome => panic!("{outcome:?}"),
                }
            }
        }
        drop(receiver.join().unwrap());
    });
}
