//! What a sending thread does: any call of the sending end, noted before and after.

use std::io::{self, IoSlice, Write};
use std::time::Duration;

use shmpipe::{SendTimeoutError, Sender, TrySendError};

use super::messages::{NUMBERS, message};
use super::notes::{Ledger, Notes};
use crate::support::Random;

/// Messages of the largest batch.
const BATCH: usize = 8;

/// How one call came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Sent,
    NotSent,
    /// Nor was it sent: the process has closed its side.
    Closed,
}

/// One life that sends.
pub(super) struct Sending {
    pub(super) notes: Notes,
    pub(super) ledger: Ledger,
    next: usize,
}

impl Sending {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self {
            notes: ledger.begin_life(),
            ledger,
            next: 0,
        }
    }

    /// Whether this life has no number left for a call.
    pub(super) fn is_used_up(&self) -> bool {
        self.next + BATCH > NUMBERS
    }

    /// One call of the sending end, which may send nothing; returns whether the process still has the side.
    pub(super) fn call(&mut self, tx: &mut Sender, random: &mut Random) -> bool {
        if random.below(8) == 0 {
            return self.send_batch(tx, 1 + random.below(BATCH));
        }
        let number = self.next;
        let message = message(self.notes.life, number);
        let outcome = self.one(tx, random, &message, number);
        self.finish(usize::from(outcome == Outcome::Sent));
        outcome != Outcome::Closed
    }

    fn finish(&mut self, sent: usize) {
        self.next += sent;
        self.notes.sent_up_to(self.next);
        self.ledger.count_sent(sent);
    }

    fn send_batch(&mut self, tx: &mut Sender, count: usize) -> bool {
        let numbers = self.next..self.next + count;
        let batch: Vec<_> = numbers
            .map(|number| message(self.notes.life, number))
            .collect();
        self.notes.does("send_batch", count);
        self.notes.begin(self.next, count);
        match tx.send_batch(&batch) {
            Ok(sent) => {
                assert_eq!(sent, count);
                self.finish(count);
                true
            }
            Err(error) => {
                self.finish(error.sent);
                of_closed(error.error);
                false
            }
        }
    }

    fn one(&self, tx: &mut Sender, random: &mut Random, message: &[u8], number: usize) -> Outcome {
        let does = |what| {
            self.notes.does(what, message.len());
            self.notes.begin(number, 1);
        };
        match random.below(12) {
            0..=2 => {
                does("try_send");
                tried(tx.try_send(message))
            }
            3..=5 => {
                does("send_timeout");
                match tx.send_timeout(message, some_time(random)) {
                    Ok(()) => Outcome::Sent,
                    Err(SendTimeoutError::Timeout) => Outcome::NotSent,
                    Err(error) => of_closed(error),
                }
            }
            6 => {
                does("send_vectored");
                waited(tx.send_vectored(&pieces(message, random)))
            }
            7 => {
                does("try_send_vectored");
                tried(tx.try_send_vectored(&pieces(message, random)))
            }
            8 => {
                does("reserve");
                let mut slot = match tx.reserve(message.len()) {
                    Ok(slot) => slot,
                    Err(error) => return of_closed(error),
                };
                slot.copy_from_slice(message);
                if random.below(4) == 0 {
                    does("drop of a slot");
                    return Outcome::NotSent;
                }
                does("commit");
                waited(slot.commit())
            }
            // An empty write sends nothing.
            9 if !message.is_empty() => {
                does("write");
                waited(tx.write(message).map(|len| assert_eq!(len, message.len())))
            }
            _ => {
                does("send");
                waited(tx.send(message))
            }
        }
    }
}

fn tried(outcome: Result<(), TrySendError>) -> Outcome {
    match outcome {
        Ok(()) => Outcome::Sent,
        Err(TrySendError::Full | TrySendError::TooLargeAtOnce { .. }) => Outcome::NotSent,
        Err(error) => of_closed(error),
    }
}

fn waited(outcome: Result<(), impl Into<io::Error>>) -> Outcome {
    outcome.map_or_else(of_closed, |()| Outcome::Sent)
}

/// For the only error that there may be.
fn of_closed(error: impl Into<io::Error>) -> Outcome {
    let error = error.into();
    assert_eq!(error.kind(), io::ErrorKind::NotConnected, "{error:?}");
    Outcome::Closed
}

fn some_time(random: &mut Random) -> Duration {
    Duration::from_micros(random.below_u64(2000))
}

/// The message in three pieces, some of which may be empty.
fn pieces<'a>(message: &'a [u8], random: &mut Random) -> [IoSlice<'a>; 3] {
    let (first, rest) = message.split_at(random.below(message.len() + 1));
    let (second, third) = rest.split_at(random.below(rest.len() + 1));
    [first, second, third].map(IoSlice::new)
}
