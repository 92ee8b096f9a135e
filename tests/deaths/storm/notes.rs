//! What one process of the storm writes down about itself, in memory that outlives it.
//!
//! Each word is written before the thing that it announces or after the thing that it reports, so
//! that a death in between leaves one message in doubt and never more.

use std::sync::atomic::{AtomicU64, Ordering};

use super::messages::Entry;
use crate::support::{Line, shared_counters};

/// Messages that a receiver can note before they are entered into the books. More than the pipe
/// holds, so that receivers can empty it once nobody sends.
const LOG_LENGTH: usize = 8192;

/// Put on the line by a process that will not send any more.
pub(super) const RESTS: u64 = 1;

/// Put on the line by a receiver that has no room left to note messages.
pub(super) const LOG_IS_FULL: u64 = 2;

/// The notes of one process, and of one after another in its place.
#[derive(Clone, Copy)]
pub(super) struct Notes {
    /// Sends that were begun.
    begun: &'static AtomicU64,
    /// Sends that have returned.
    returned: &'static AtomicU64,
    /// 1 while a message may be taken that is not in the log.
    hands: &'static AtomicU64,
    /// Deaths inside a message that were reported.
    aborted: &'static AtomicU64,
    /// Messages ever noted in the log.
    noted: &'static AtomicU64,
    /// How many of those are in the books; written by the keeper of the books only.
    entered: &'static AtomicU64,
    log: &'static [AtomicU64],
}

impl Notes {
    pub(super) fn new() -> Self {
        let words = shared_counters(6 + LOG_LENGTH);
        // Touched now, so that the memory in use does not grow later.
        words
            .iter()
            .for_each(|word| word.store(0, Ordering::Relaxed));
        let [begun, returned, hands, aborted, noted, entered, log @ ..] = words else {
            unreachable!("there are more than six");
        };
        Self {
            begun,
            returned,
            hands,
            aborted,
            noted,
            entered,
            log,
        }
    }

    /// Blank again, for the next process.
    pub(super) fn wipe(self) {
        let words = [
            self.begun,
            self.returned,
            self.hands,
            self.aborted,
            self.noted,
            self.entered,
        ];
        words
            .iter()
            .for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// Before a send of message `number`.
    pub(super) fn begin(self, number: u32) {
        self.begun.store(u64::from(number) + 1, Ordering::Release);
    }

    /// After a send of message `number` returned without having sent it.
    pub(super) fn take_back(self, number: u32) {
        self.begun.store(u64::from(number), Ordering::Release);
    }

    /// After the send of message `number` returned.
    pub(super) fn sent(self, number: u32) {
        self.returned
            .store(u64::from(number) + 1, Ordering::Release);
    }

    /// Before a receive. One that times out may leave a part of a message in its process's hands.
    pub(super) fn reach(self) {
        self.hands.store(1, Ordering::Release);
    }

    /// After a message was received.
    pub(super) fn received(self, entry: Entry, line: &Line) {
        let noted = self.noted.load(Ordering::Relaxed);
        if self.is_full(noted) {
            line.put(LOG_IS_FULL);
            while self.is_full(noted) {
                std::thread::yield_now();
            }
        }
        self.log[noted as usize % LOG_LENGTH].store(entry.to_word(), Ordering::Relaxed);
        self.noted.store(noted + 1, Ordering::Release);
        self.hands.store(0, Ordering::Release);
    }

    fn is_full(self, noted: u64) -> bool {
        noted - self.entered.load(Ordering::Acquire) == LOG_LENGTH as u64
    }

    /// After a receive reported that a sender had died inside its message.
    pub(super) fn told_of_a_death(self) {
        self.aborted.fetch_add(1, Ordering::Release);
        self.hands.store(0, Ordering::Release);
    }

    /// Enters what is new in the log by `enter`.
    pub(super) fn each_new(self, mut enter: impl FnMut(Entry)) {
        let noted = self.noted.load(Ordering::Acquire);
        for at in self.entered.load(Ordering::Relaxed)..noted {
            let word = self.log[at as usize % LOG_LENGTH].load(Ordering::Relaxed);
            enter(Entry::from_word(word));
        }
        self.entered.store(noted, Ordering::Release);
    }

    /// How many sends were begun and how many have returned.
    pub(super) fn sends(self) -> (u32, u32) {
        let count = |word: &AtomicU64| word.load(Ordering::Acquire) as u32;
        (count(self.begun), count(self.returned))
    }

    /// Whether its process may have taken a message that it did not note.
    pub(super) fn has_full_hands(self) -> bool {
        self.hands.load(Ordering::Acquire) == 1
    }

    pub(super) fn deaths_told(self) -> u64 {
        self.aborted.load(Ordering::Acquire)
    }
}
