//! What the storm's processes do until they are killed or sent home.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use shmpipe::{
    Connection, Receiver, RecvError, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError,
    TrySendError,
};

use super::messages::{Entry, LAST_CALL, Life, message, recognize, verify};
use super::notes::{Notes, RESTS};
use crate::support::Line;
use crate::support::Random;

/// What a process does with its end of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sends,
    Receives,
    /// One thread does both in turns, with time-outs: it may be inside a long message while it does
    /// the other, so it must not wait there for those who wait for it.
    Alternates,
    /// Two threads do one each and die at once.
    SendsAndReceives,
}

impl Kind {
    pub(super) fn sends(self) -> bool {
        self != Self::Receives
    }

    pub(super) fn receives(self) -> bool {
        self != Self::Sends
    }
}

/// What one process works with.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) kind: Kind,
    pub(super) life: Life,
    pub(super) notes: Notes,
    /// Not 0 when nobody shall send any more.
    pub(super) over: &'a AtomicU64,
    /// To the keeper of the books.
    pub(super) line: &'a Line,
}

impl Job<'_> {
    /// Works to the end of the era.
    pub(super) fn run(self, end: Connection) {
        let (mut rx, mut tx) = end.split();
        match self.kind {
            Kind::Sends => {
                drop(rx);
                self.send_until_told(&mut tx);
            }
            Kind::Receives => {
                drop(tx);
                self.receive_until_sent_home(&mut rx);
            }
            Kind::Alternates => {
                self.alternate_until_told(&mut rx, &mut tx);
                self.receive_until_sent_home(&mut rx);
            }
            Kind::SendsAndReceives => thread::scope(|scope| {
                scope.spawn(|| {
                    // A panic must not wait for the other thread, which may be killed before it ends.
                    let sending = AssertUnwindSafe(|| self.send_until_told(&mut tx));
                    catch_unwind(sending).unwrap_or_else(|_| std::process::abort());
                });
                self.receive_until_sent_home(&mut rx);
            }),
        }
    }

    fn is_over(self) -> bool {
        self.over.load(Ordering::Relaxed) != 0
    }

    fn send_until_told(self, tx: &mut Sender) {
        let mut number = 0;
        while !self.is_over() {
            self.notes.begin(number);
            tx.send(&message(self.life, number)).unwrap();
            self.notes.sent(number);
            number += 1;
        }
        self.line.put(RESTS);
    }

    fn receive_until_sent_home(self, rx: &mut Receiver) {
        loop {
            self.notes.reach();
            match rx.recv() {
                Ok(message) => {
                    if self.note(&message) {
                        return;
                    }
                }
                Err(RecvError::Aborted) => self.notes.told_of_a_death(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Notes a message, at once, so that few are in hand unnoted, and checks it; returns whether it sends its receiver home.
    fn note(self, message: &[u8]) -> bool {
        let entry = recognize(message);
        self.notes.received(entry, self.line);
        verify(message, entry);
        matches!(entry, Entry::Stamped(LAST_CALL, _))
    }

    fn alternate_until_told(self, rx: &mut Receiver, tx: &mut Sender) {
        let mut random = Random::new(self.life.into());
        let mut number = 0;
        while !self.is_over() {
            if random.below_u64(2) == 0 {
                number += u32::from(self.try_to_send(tx, number, &mut random));
            } else {
                self.try_to_receive(rx, &mut random);
            }
        }
        self.line.put(RESTS);
    }

    fn try_to_send(self, tx: &mut Sender, number: u32, random: &mut Random) -> bool {
        self.notes.begin(number);
        let message = message(self.life, number);
        let is_sent = match random.below_u64(3) {
            0 => match tx.try_send(&message) {
                Ok(()) => true,
                Err(TrySendError::Full | TrySendError::TooLargeAtOnce { .. }) => false,
                Err(error) => panic!("{error}"),
            },
            _ => match tx.send_timeout(&message, some_time(random)) {
                Ok(()) => true,
                Err(SendTimeoutError::Timeout) => false,
                Err(error) => panic!("{error}"),
            },
        };
        if is_sent {
            self.notes.sent(number);
        } else {
            self.notes.take_back(number);
        }
        is_sent
    }

    fn try_to_receive(self, rx: &mut Receiver, random: &mut Random) {
        self.notes.reach();
        let is_home_time = match random.below_u64(3) {
            0 => match rx.try_recv() {
                Ok(message) => self.note(&message),
                Err(TryRecvError::Empty) => false,
                // On a CPU that is starved others may be in the middle of a call for long.
                Err(TryRecvError::Io(error)) if error.kind() == ErrorKind::ResourceBusy => false,
                Err(TryRecvError::Aborted) => {
                    self.notes.told_of_a_death();
                    false
                }
                Err(error) => panic!("{error}"),
            },
            _ => match rx.recv_timeout(some_time(random)) {
                Ok(message) => self.note(&message),
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Aborted) => {
                    self.notes.told_of_a_death();
                    false
                }
                Err(error) => panic!("{error}"),
            },
        };
        assert!(!is_home_time, "sent home while others may still send");
    }
}

fn some_time(random: &mut Random) -> Duration {
    Duration::from_micros(random.below_u64(4000))
}
