//! Whole sends and receives under the model checker: everything is the real code but the kernel.
//!
//! The ends live until all is done, so that no close wakes anybody who was forgotten.

use loom::thread;

use super::{Rx, Tx, pair};
use crate::backend::{Rx as _, Tx as _};
use crate::ring::payload::Destination;
use crate::segment::geometry::Wanted;
use crate::sys::clock::Timeout;
use crate::sys::kernel::model;
use crate::wait::backoff::Spin;

/// Room for one record of eight bytes, so that both sides have to wait.
const TIGHT: usize = 32;
/// Room for three, so that only receivers wait.
pub(super) const WIDE: usize = 64;
/// So large that the room of an empty message is not given back at once.
pub(super) const LAZY: usize = 128;

pub(super) fn send(mut tx: Tx, messages: &[&[u8]]) -> Tx {
    messages
        .iter()
        .for_each(|message| send_one(&mut tx, message));
    tx
}

/// As a public end does it: by the fast path if that can be, else by the slow path.
pub(super) fn send_one(tx: &mut Tx, message: &[u8]) {
    match tx.send_soon(message) {
        Some(rung) => rung.unwrap(),
        None => tx.send(message, Timeout::FOREVER).unwrap(),
    }
}

/// Likewise.
pub(super) fn receive(rx: &mut Rx) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LAZY);
    match rx.recv_soon(bytes.spare_capacity_mut(), true) {
        // SAFETY: so many bytes have been initialised.
        Some(len) => unsafe { bytes.set_len(len) },
        None => {
            let into = Destination::Buffer(&mut bytes);
            rx.recv(into, Timeout::FOREVER).unwrap();
        }
    }
    bytes
}

/// One sender sends `messages` to one receiver.
fn pass_on(messages: &'static [&'static [u8]]) {
    model(move || {
        let (mut rx, tx) = pair(Wanted::plain(TIGHT), Spin::default()).unwrap();
        let sender = thread::spawn(move || send(tx, messages));
        for &message in messages {
            assert_eq!(receive(&mut rx), message);
        }
        drop(sender.join().unwrap());
    });
}

#[test]
fn messages_pass_while_both_sides_sleep() {
    pass_on(&[b"the 1st.", b"the 2nd.", b"the 3rd."]);
}

#[test]
fn room_is_given_back_after_the_message_was_copied_out() {
    // Empty messages put a header at every word, also where the others' bytes have been. The second one is there
    // when the receiver comes back from the first, for which it had to wait.
    pass_on(&[b"the 1st.", b"", b"", b""]);
    pass_on(&[b"", b"the 2nd.", b"", b"", b""]);
}

#[test]
fn a_receiver_that_makes_room_and_then_stops_wakes_the_sender() {
    model(|| {
        let (mut rx, tx) = pair(Wanted::plain(LAZY), Spin::default()).unwrap();
        let mut tx = send(tx, &[b"".as_slice(); 14]);
        (0..6).for_each(|_| assert_eq!(receive(&mut rx), b""));
        // Fits when the next one is taken, whose room is too little to be given back at once.
        let sender = thread::spawn(move || {
            send_one(&mut tx, &[7; 56]);
            tx
        });
        assert_eq!(receive(&mut rx), b"");
        drop(sender.join().unwrap());
    });
}

#[test]
fn a_message_longer_than_the_ring_passes_in_fragments() {
    // The bound of a sleep inside a message never comes here, so whoever is forgotten sleeps for good.
    pass_on(&[b"in 3 fragments"]);
}

#[test]
fn what_was_written_in_place_and_not_sent_is_no_record() {
    model(|| {
        let (mut rx, tx) = pair(Wanted::plain(LAZY), Spin::default()).unwrap();
        let sender = thread::spawn(move || {
            // Claims the lines behind it.
            let mut tx = send(tx, &[b""]);
            let loan = tx.reserve(16, Timeout::Never).unwrap().unwrap();
            tx.reserved(loan).write_at(0, &[0xff; 16]);
            tx.give_back();
            send(tx, &[b"", b"the 3rd."])
        });
        let received = [receive(&mut rx), receive(&mut rx), receive(&mut rx)];
        assert_eq!(received, [&b""[..], b"", b"the 3rd."]);
        drop(sender.join().unwrap());
    });
}

#[test]
fn two_senders_take_turns() {
    model(|| {
        let (mut rx, tx) = pair(Wanted::plain(TIGHT), Spin::default()).unwrap();
        let other = tx.try_clone().unwrap();
        let senders = [
            thread::spawn(move || send(tx, &[b"from one"])),
            thread::spawn(move || send(other, &[b"or other"])),
        ];
        let mut received = [receive(&mut rx), receive(&mut rx)];
        received.sort();
        assert_eq!(received, [b"from one", b"or other"]);
        for sender in senders {
            drop(sender.join().unwrap());
        }
    });
}

#[test]
fn two_receivers_get_one_message_each() {
    model(|| {
        let (mut rx, tx) = pair(Wanted::plain(WIDE), Spin::default()).unwrap();
        let mut other = rx.try_clone().unwrap();
        let receiver = thread::spawn(move || (receive(&mut other), other));
        let sender = thread::spawn(move || send(tx, &[b"the 1st.", b"the 2nd."]));
        let first = receive(&mut rx);
        let (second, other) = receiver.join().unwrap();
        let mut received = [first, second];
        received.sort();
        assert_eq!(received, [b"the 1st.", b"the 2nd."]);
        drop((sender.join().unwrap(), other));
    });
}
