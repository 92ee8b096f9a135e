//! Several receivers under the model checker: each message goes to one of them, whole, whether it is taken without
//! the lock, in fragments, or where it lies.

use loom::thread;

use super::loom_pipe::{LAZY, WIDE, receive, send, send_one};
use super::{Rx, Tx, pair};
use crate::backend::Rx as _;
use crate::segment::geometry::Wanted;
use crate::sys::kernel::model;
use crate::wait::backoff::Spin;

/// A pipe with `messages` in it and two receivers.
fn filled(capacity: usize, messages: &[&[u8]]) -> (Rx, Rx, Tx) {
    let (rx, tx) = pair(Wanted::plain(capacity), Spin::default()).unwrap();
    let other = rx.try_clone().unwrap();
    (rx, other, send(tx, messages))
}

/// Both have got in order what they have got, and together each message once.
fn assert_shared_out(one: &[Vec<u8>], other: &[Vec<u8>], sent: &[&[u8]]) {
    assert!(one.is_sorted() && other.is_sorted(), "{one:?}, {other:?}");
    let mut all = [one, other].concat();
    all.sort();
    assert_eq!(all, sent);
}

/// One receiver is slow, the other one takes two messages, in the room of which `later` is sent: the first 24 bytes
/// of that lie where the headers of both were.
fn overtake(later: &'static [&'static [u8]]) {
    model(move || {
        let first: [&[u8]; 3] = [b"the 1st.", b"the 2nd.", b"the 3rd, longer."];
        let (mut rx, mut other, mut tx) = filled(WIDE, &first);
        // The other's copy may be under way where `later` is written.
        rx.end.storage.expect_races();
        let slow = thread::spawn(move || (receive(&mut other), other));
        let mut received = vec![receive(&mut rx), receive(&mut rx)];
        later.iter().for_each(|message| send_one(&mut tx, message));
        let (copied, other) = slow.join().unwrap();
        received.extend(later.iter().map(|_| receive(&mut rx)));
        assert_shared_out(&received, &[copied], &[&first, later].concat());
        drop((tx, other));
    });
}

#[test]
fn what_another_receiver_has_taken_is_not_taken_again() {
    overtake(&[b"the 4th.", b"the 5th."]);
}

#[test]
fn what_was_a_header_before_another_receiver_was_faster_is_no_lie() {
    overtake(&[&[0xff; 24]]);
}

#[test]
fn a_message_that_is_lent_is_nobody_elses() {
    model(|| {
        let (mut rx, mut other, tx) = filled(WIDE, &[b"the 1st.", b"the 2nd."]);
        let at_once = thread::spawn(move || (receive(&mut other), other));
        let mut received = Vec::new();
        if let Some(loan) = rx.lend(false) {
            let mut bytes = vec![0; loan.len()];
            rx.lent(loan).read_at(0, &mut bytes);
            rx.done(loan);
            received.push(bytes);
        }
        let (copied, other) = at_once.join().unwrap();
        if received.is_empty() {
            received.push(receive(&mut rx));
        }
        assert_shared_out(&received, &[copied], &[b"the 1st.", b"the 2nd."]);
        drop((tx, other));
    });
}

#[test]
fn a_message_that_was_lent_and_not_taken_is_there_for_all() {
    model(|| {
        let (mut rx, mut other, tx) = filled(WIDE, &[b"the 1st.", b"the 2nd."]);
        let at_once = thread::spawn(move || (receive(&mut other), other));
        if rx.lend(false).is_some() {
            rx.give_reservation_back(None);
        }
        let (copied, other) = at_once.join().unwrap();
        assert_shared_out(&[receive(&mut rx)], &[copied], &[b"the 1st.", b"the 2nd."]);
        drop((tx, other));
    });
}

#[test]
fn the_fragments_of_a_message_go_to_one_receiver() {
    model(|| {
        let (mut rx, mut other, tx) = filled(LAZY, &[&[b'a'; LAZY / 2], b"one"]);
        let receiver = thread::spawn(move || (receive(&mut other), other));
        let received = receive(&mut rx);
        let (copied, other) = receiver.join().unwrap();
        assert_shared_out(&[received], &[copied], &[&[b'a'; LAZY / 2], b"one"]);
        drop((tx, other));
    });
}
