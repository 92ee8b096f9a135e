//! What a sending thread does: any call of the sending end, noted before and after.

use std::io::{IoSlice, Write};
use std::time::Duration;

use shmpipe::{SendTimeoutError, Sender, TrySendError};

use super::messages::{NUMBERS, message};
use super::notes::{Ledger, Notes};
use crate::support::Random;

/// Messages of the largest batch.
const BATCH: usize = 8;

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

    /// One call of the sending end, which may send nothing.
    pub(super) fn call(&mut self, tx: &mut Sender, random: &mut Random) {
        if random.below(8) == 0 {
            self.send_batch(tx, 1 + random.below(BATCH));
            return;
        }
        let number = self.next;
        let message = message(self.notes.life, number);
        let is_sent = self.one(tx, random, &message, number);
        self.finish(if is_sent { 1 } else { 0 });
    }

    fn finish(&mut self, sent: usize) {
        self.next += sent;
        self.notes.sent_up_to(self.next);
        self.ledger.count_sent(sent);
    }

    fn send_batch(&mut self, tx: &mut Sender, count: usize) {
        let numbers = self.next..self.next + count;
        let batch: Vec<_> = numbers
            .map(|number| message(self.notes.life, number))
            .collect();
        self.notes.does("send_batch", count);
        self.notes.begin(self.next, count);
        assert_eq!(tx.send_batch(&batch).unwrap(), count);
        self.finish(count);
    }

    fn one(&self, tx: &mut Sender, random: &mut Random, message: &[u8], number: usize) -> bool {
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
                    Ok(()) => true,
                    Err(SendTimeoutError::Timeout) => false,
                    Err(error) => panic!("{error}"),
                }
            }
            6 => {
                does("send_vectored");
                tx.send_vectored(&pieces(message, random)).unwrap();
                true
            }
            7 => {
                does("try_send_vectored");
                tried(tx.try_send_vectored(&pieces(message, random)))
            }
            8 => {
                does("reserve");
                let mut slot = tx.reserve(message.len()).unwrap();
                slot.copy_from_slice(message);
                if random.below(4) == 0 {
                    does("drop of a slot");
                    return false;
                }
                does("commit");
                slot.commit().unwrap();
                true
            }
            // An empty write sends nothing.
            9 if !message.is_empty() => {
                does("write");
                assert_eq!(tx.write(message).unwrap(), message.len());
                true
            }
            _ => {
                does("send");
                tx.send(message).unwrap();
                true
            }
        }
    }
}

fn tried(outcome: Result<(), TrySendError>) -> bool {
    match outcome {
        Ok(()) => true,
        Err(TrySendError::Full | TrySendError::TooLargeAtOnce { .. }) => false,
        Err(error) => panic!("{error}"),
    }
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
