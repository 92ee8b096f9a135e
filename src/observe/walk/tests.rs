//! Walks over rings in private memory, written as senders do, that go on between the walk and its end.

use super::*;
use crate::ring::record::{AFTER_DEATH, ANCILLARY, FIRST};

const RING: u64 = 4096;

/// A ring in private memory, written as senders do.
struct Ring {
    bytes: Vec<u8>,
    now: Cursors,
}

impl Ring {
    fn new(start: u64) -> Self {
        Self {
            bytes: vec![0; RING as usize],
            now: Cursors {
                tail: start,
                read: start,
                sent: Count::default(),
            },
        }
    }

    fn store(&mut self, at: u64, word: u64) {
        let place = (at % RING) as usize;
        self.bytes[place..place + 8].copy_from_slice(&word.to_le_bytes());
    }

    /// Publishes a record and does not count it; returns where the next one goes.
    fn publish(&mut self, at: u64, len: usize, flags: u32) -> u64 {
        let header = Header { len, flags };
        let next = at.wrapping_add(header.span());
        self.store(next, 0);
        self.store(at, header.encode());
        next
    }

    fn send(&mut self, len: usize) {
        self.now.tail = self.publish(self.now.tail, len, FIRST | LAST);
        self.now.sent.messages += 1;
        self.now.sent.bytes += len as u64;
    }

    fn receive(&mut self, len: usize) {
        self.now.read = self.now.read.wrapping_add(span_of(len));
    }

    fn walk(&self) -> Walk {
        self.walk_within(BUDGET)
    }

    fn walk_within(&self, budget: usize) -> Walk {
        let mut walker = Walker::new(Rules::new(RING as usize), |place, bytes: &mut [u8]| {
            let place = place as usize;
            bytes.copy_from_slice(&self.bytes[place..place + bytes.len()]);
            Ok(())
        });
        walker.budget = budget;
        walker.walk(self.now).unwrap()
    }
}

fn counted(outcome: Outcome) -> [u64; 5] {
    match outcome {
        Outcome::Counted(passed) => [
            passed.sent.messages,
            passed.sent.bytes,
            passed.received.messages,
            passed.received.bytes,
            passed.fill,
        ],
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_in_the_ring_was_not_received() {
    // Across the end of the ring, and of all positions.
    for start in [0, 4000, u64::MAX - 39] {
        let mut ring = Ring::new(start);
        for len in [0, 9, 100] {
            ring.send(len);
        }
        assert_eq!(counted(ring.walk().settle(ring.now)), [3, 109, 0, 0, 144]);
        ring.receive(0);
        ring.receive(9);
        assert_eq!(counted(ring.walk().settle(ring.now)), [3, 109, 2, 9, 112]);
        ring.receive(100);
        assert_eq!(counted(ring.walk().settle(ring.now)), [3, 109, 3, 109, 0]);
    }
}

#[test]
fn parts_count_their_bytes_and_the_last_one_its_message() {
    let mut ring = Ring::new(0);
    let next = ring.publish(0, 108, FIRST);
    let next = ring.publish(next, 50, LAST);
    ring.now.tail = ring.publish(next, 28, FIRST | LAST | ANCILLARY | AFTER_DEATH);
    ring.now.sent = Count {
        messages: 2,
        bytes: 100 + 50 + 20,
    };
    assert_eq!(counted(ring.walk().settle(ring.now))[2..4], [0, 0]);
    ring.receive(108);
    assert_eq!(counted(ring.walk().settle(ring.now))[2..4], [0, 100]);
    ring.receive(50);
    assert_eq!(counted(ring.walk().settle(ring.now))[2..4], [1, 150]);
}

#[test]
fn what_a_dead_sender_did_not_count_is_counted() {
    let mut ring = Ring::new(0);
    ring.send(8);
    let next = ring.publish(16, 5, FIRST | LAST);
    ring.publish(next, 6, FIRST | LAST);
    assert_eq!(counted(ring.walk().settle(ring.now)), [3, 19, 0, 0, 48]);
    ring.receive(8);
    ring.receive(5);
    assert_eq!(counted(ring.walk().settle(ring.now)), [3, 19, 2, 13, 16]);
}

#[test]
fn messages_taken_and_sent_during_the_walk_change_no_others() {
    let mut ring = Ring::new(0);
    for len in [8, 16, 24] {
        ring.send(len);
    }
    let walk = ring.walk();
    ring.receive(8);
    assert_eq!(counted(walk.settle(ring.now)), [3, 48, 1, 8, 56]);
    ring.send(100);
    assert_eq!(counted(walk.settle(ring.now)), [3, 48, 1, 8, 56]);
    for len in [16, 24, 100] {
        ring.receive(len);
    }
    assert_eq!(counted(walk.settle(ring.now)), [3, 48, 3, 48, 0]);
}

#[test]
fn a_sender_that_counts_late_is_waited_for() {
    let mut ring = Ring::new(0);
    ring.send(8);
    let sent = std::mem::take(&mut ring.now.sent);
    let walk = ring.walk();
    ring.now.sent = sent;
    assert_eq!(counted(walk.settle(ring.now)), [1, 8, 0, 0, 16]);
}

#[test]
fn records_that_were_overwritten_during_the_walk_are_not_believed() {
    let mut ring = Ring::new(0);
    for _ in 0..4 {
        ring.send(120);
    }
    // What has come in the place of the first two is of another length, or no record.
    for word in [3_u64 << 32 | 41, 0, u64::MAX] {
        ring.store(0, word);
        let walk = ring.walk();
        let mut after = ring.now;
        after.read = 256;
        after.tail += 8;
        assert_eq!(walk.settle(after), Outcome::MovedOn, "{word:#x}");
    }
}

#[test]
fn a_word_that_must_be_a_header_and_is_none_is_told() {
    let mut ring = Ring::new(0);
    ring.send(8);
    ring.send(8);
    for word in [0, u64::MAX, 3 << 32 | 4097, 3 << 32 | 10] {
        ring.store(16, word);
        let outcome = ring.walk().settle(ring.now);
        assert_eq!(outcome, Outcome::NoHeader(16, word), "{word:#x}");
    }
}

#[test]
fn no_more_is_read_than_the_budget_allows() {
    let mut ring = Ring::new(0);
    for _ in 0..100 {
        ring.send(8);
    }
    let walk = ring.walk_within(MIN_READ_COST);
    assert_eq!(walk.settle(ring.now), Outcome::TooMuch);
    assert_eq!(
        ring.walk_within(4096).settle(ring.now),
        ring.walk().settle(ring.now)
    );
}

#[test]
fn records_without_end_are_walked_once_round_at_most() {
    let mut ring = Ring::new(0);
    // Nothing but headers of empty messages, and a tail as far away as may be.
    for at in (0..RING).step_by(8) {
        ring.store(at, 3 << 32 | 1);
    }
    ring.now.tail = RING;
    let lag = span_of(Rules::new(RING as usize).record_max());
    assert_eq!(ring.walk().headers.len() as u64, (RING + lag) / 8);
}

#[test]
fn an_estimate_goes_by_the_average_length() {
    let cursors = Cursors {
        tail: 1600,
        read: 800,
        sent: Count {
            messages: 100,
            bytes: 800,
        },
    };
    let received = cursors.estimate(800).received;
    assert_eq!((received.messages, received.bytes), (50, 400));
    let lies = Cursors { tail: 0, ..cursors };
    assert_eq!(lies.estimate(u64::MAX).received, Count::default());
}
