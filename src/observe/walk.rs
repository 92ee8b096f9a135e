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

/// Most that is read of one ring, in bytes, calls counted as [`MIN_READ_COST`] at least: some 0.6 ms.
const BUDGET: usize = 1 << 20;

/// Bytes read at a time where records are short; where they are long, a header is.
const PIECE: usize = 16 * 1024;

/// Bytes that a call of pread(2) counts for at least.
const MIN_READ_COST: usize = 512;

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
        let lag = span_of(self.rules.record_max());
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
            let Some(left) = self.budget.checked_sub(len.max(MIN_READ_COST)) else {
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
    (other.wrapping_sub(one) as i64) > 0
}

fn earlier(one: u64, other: u64) -> u64 {
    if is_before(other, one) { other } else { one }
}

#[cfg(test)]
mod tests;
