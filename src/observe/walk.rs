//! What a ring has taken in and given out, from outside: what its senders counted, less what still lies in it.
//!
//! Receivers count nothing, so an observer counts what they have *not* taken, by the headers of the records between
//! `read` and `tail`. The ring goes on meanwhile. But room is used again only when `read` has passed it, so what lies
//! behind the `read` that is loaded *after* a walk has not changed while it was walked, and of the rest nothing is
//! believed: the walk must have met that position as the beginning of a record.
//!
//! A sender stores header, tail and counters, in this order. Where the tail is the same before and after the walk,
//! the records that are published behind it are known too, so a pipe that stands still is counted exactly, whoever
//! died in it, but for a sender that was stopped or killed between tail and counters.

use std::io;

use crate::ring::record::{HEADER, Header, LAST, Rules, span_of};

/// Most that is read of one ring, in bytes, calls counted as [`LEAST`] at least: some 0.6 ms.
const BUDGET: usize = 1 << 20;

/// Bytes read at a time where records are short.
const PIECE: usize = 16 * 1024;

/// Bytes read at a time where each piece would have one header in it, and what a call costs at least.
const LEAST: usize = 512;

/// Messages and their payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

/// The positions of a ring and what its senders counted, of about one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursors {
    pub(super) tail: u64,
    pub(super) read: u64,
    pub(super) sent: Count,
}

/// What has gone through a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) sent: Count,
    pub(super) received: Count,
    /// Bytes of records in the ring.
    pub(super) fill: u64,
    /// Whether `received` is no count but an estimate from the average length.
    pub(super) is_estimate: bool,
}

/// What a walk came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Counted(Passed),
    /// There is more in the ring than one look reads.
    TooMuch,
    /// The ring has gone on too far; look again.
    MovedOn,
    /// This word at this position is no header, and must be one.
    NoHeader(u64, u64),
}

/// Why a walk has ended where it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// Nothing follows.
    End,
    /// No record can begin with this word, or end where this one would.
    NoHeader(u64),
    /// The budget is spent.
    Budget,
}

/// Reads the headers of a ring, so many bytes of it and no more.
pub(super) struct Walker<R> {
    read_at: R,
    rules: Rules,
    budget: usize,
    piece: Vec<u8>,
    /// Position of the first byte in `piece`.
    first: u64,
}

/// The records that one walk has met.
#[derive(Debug)]
pub(super) struct Walk {
    before: Cursors,
    /// Where the first one begins.
    begin: u64,
    /// Their headers, checked.
    headers: Vec<u64>,
    stop: Stop,
}

impl<R: FnMut(u64, &mut [u8]) -> io::Result<()>> Walker<R> {
    /// For a ring of which `read_at` fills a slice from a place on, without going round.
    pub(super) fn new(rules: Rules, read_at: R) -> Self {
        Self {
            read_at,
            rules,
            budget: BUDGET,
            piece: Vec::new(),
            first: 0,
        }
    }

    /// Walks from `read` to `tail` and on over what is published and not counted.
    ///
    /// # Errors
    ///
    /// What `read_at` reports.
    pub(super) fn walk(&mut self, before: Cursors) -> io::Result<Walk> {
        let tail = before.tail;
        // Receivers may have taken what a dead sender did not count any more.
        let begin = earlier(before.read, tail);
        let lag = span_of(self.rules.part_max());
        let mut headers = Vec::new();
        let (mut at, mut span) = (begin, 0);
        self.piece.clear();
        let stop = loop {
            let is_counted = is_before(at, tail);
            if !is_counted && at.wrapping_sub(tail) >= lag {
                break Stop::End;
            }
            let Some(word) = self.word(at, span)? else {
                break Stop::Budget;
            };
            span = match self.rules.decode(word) {
                Ok(Some(header)) => header.span(),
                Ok(None) if !is_counted => break Stop::End,
                _ => break Stop::NoHeader(word),
            };
            let next = at.wrapping_add(span);
            if is_counted && is_before(tail, next) {
                break Stop::NoHeader(word);
            }
            headers.push(word);
            at = next;
        };
        Ok(Walk {
            before,
            begin,
            headers,
            stop,
        })
    }

    /// The word at a position, if the budget allows; the record before it took `span` bytes.
    fn word(&mut self, at: u64, span: u64) -> io::Result<Option<u64>> {
        let into = at.wrapping_sub(self.first) as usize;
        if into >= self.piece.len() {
            let place = at & (self.rules.capacity() - 1);
            let wanted = if span as usize > PIECE / 4 {
                HEADER as usize
            } else {
                PIECE
            };
            let len = wanted.min((self.rules.capacity() - place) as usize);
            let Some(left) = self.budget.checked_sub(len.max(LEAST)) else {
                return Ok(None);
            };
            self.budget = left;
            self.piece.resize(len, 0);
            (self.read_at)(place, &mut self.piece)?;
            self.first = at;
        }
        let into = at.wrapping_sub(self.first) as usize;
        let word = self.piece[into..].first_chunk();
        // Positions and pieces are multiples of 8.
        Ok(word.map(|word| u64::from_le_bytes(*word)))
    }
}

impl Walk {
    /// What has gone through the ring, by this walk and the cursors as they were after it.
    pub(super) fn settle(&self, after: Cursors) -> Outcome {
        let tail = self.before.tail;
        let from = after.read;
        let stands_still = after.tail == tail;
        if !stands_still && !is_before(from, tail) {
            // All that was counted before has been taken since.
            return Outcome::Counted(Passed {
                sent: self.before.sent,
                received: self.before.sent,
                fill: 0,
                is_estimate: false,
            });
        }
        let (mut left, mut uncounted) = (Count::default(), Count::default());
        let (mut at, mut is_met) = (self.begin, false);
        for &word in &self.headers {
            is_met |= at == from;
            let is_counted = is_before(at, tail);
            if !is_counted && !stands_still {
                // Of what lies behind a tail that has moved since nothing is known.
                break;
            }
            let header = Header::of_checked(word);
            if is_met {
                left.add(header);
            }
            if !is_counted {
                uncounted.add(header);
            }
            at = at.wrapping_add(header.span());
        }
        let end = at;
        is_met |= end == from;
        match self.stop {
            Stop::Budget => return Outcome::TooMuch,
            _ if !is_met => return Outcome::MovedOn,
            Stop::NoHeader(word) if stands_still || end != tail => {
                return Outcome::NoHeader(end, word);
            }
            _ => {}
        }
        let counted = if stands_still {
            after.sent
        } else {
            self.before.sent
        };
        let sent = Count {
            messages: counted.messages.wrapping_add(uncounted.messages),
            bytes: counted.bytes.wrapping_add(uncounted.bytes),
        };
        Outcome::Counted(Passed {
            sent,
            received: Count {
                messages: sent.messages.saturating_sub(left.messages),
                bytes: sent.bytes.saturating_sub(left.bytes),
            },
            fill: end.wrapping_sub(from),
            is_estimate: false,
        })
    }
}

impl Count {
    fn add(&mut self, header: Header) {
        self.messages += u64::from(header.has(LAST));
        self.bytes += header.payload() as u64;
    }
}

impl Cursors {
    /// What receivers have probably taken: messages of the average length.
    pub(super) fn estimate(self, fill: u64) -> Passed {
        let share = |of: u64| {
            let part = u128::from(of) * u128::from(fill) / u128::from(self.tail.max(1));
            of.saturating_sub(u64::try_from(part).unwrap_or(u64::MAX))
        };
        Passed {
            sent: self.sent,
            received: Count {
                messages: share(self.sent.messages),
                bytes: share(self.sent.bytes),
            },
            fill,
            is_estimate: true,
        }
    }
}

/// Whether the one position comes before the other; they are less than half of all positions apart.
fn is_before(one: u64, other: u64) -> bool {
    other.wrapping_sub(one).cast_signed() > 0
}

fn earlier(one: u64, other: u64) -> u64 {
    if is_before(other, one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::record::{AFTER_DEATH, FIRST, PARCEL};

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
        ring.now.tail = ring.publish(next, 28, FIRST | LAST | PARCEL | AFTER_DEATH);
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
        let walk = ring.walk_within(LEAST);
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
        let lag = span_of(Rules::new(RING as usize).part_max());
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
}
