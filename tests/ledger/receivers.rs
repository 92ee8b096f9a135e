//! What a receiving thread does: any call of the receiving end; whatever comes is checked and entered.

use std::io::{self, Read};
use std::time::Duration;

use shmpipe::{Batch, Receiver, RecvError, RecvTimeoutError, TryRecvError, View, wait};

use super::messages::{CAPACITY, Entry};
use super::notes::{Ledger, Notes};
use crate::support::Random;

/// Which calls a receiver makes besides those for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Calls {
    /// Takes several at once, all of which die with one who is killed there.
    pub(super) batches: bool,
    /// Reads bytes, so that empty messages do not show.
    pub(super) reads: bool,
    /// Waits without limit.
    pub(super) waits: bool,
}

/// How one call came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Took,
    Nothing,
    Aborted,
    AtEnd,
    /// The process has closed its side.
    Closed,
}

/// What one life comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    MayCome,
    /// The pipe is at its end.
    Never,
    /// For others.
    NotForUs,
}

/// One life that receives.
pub(super) struct Receiving {
    pub(super) notes: Notes,
    ledger: Ledger,
    calls: Calls,
    /// For each sending life the least number that may come next.
    least: std::collections::BTreeMap<super::messages::Life, usize>,
}

impl Receiving {
    pub(super) fn new(ledger: Ledger, calls: Calls) -> Self {
        Self {
            notes: ledger.begin_life(),
            ledger,
            calls,
            least: Default::default(),
        }
    }

    /// One call of the receiving end; returns whether more can come.
    pub(super) fn call(&mut self, rx: &mut Receiver, random: &mut Random) -> More {
        self.notes.reach();
        let outcome = match random.below(16) {
            0 if self.calls.batches => self.in_a_batch(rx, random),
            1 if self.calls.reads && self.calls.waits => self.by_reading(rx),
            2 | 3 => self.in_place(rx, random),
            4 => self.after_a_look(rx, random),
            5 | 6 if self.calls.waits => self.with_a_slice(rx, random),
            7..=10 => {
                self.notes.does("try_recv", 0);
                let outcome = rx.try_recv().map(|message| Entry::recognize(&message));
                self.tried(outcome)
            }
            11 | 12 if self.calls.waits => return self.recv(rx),
            _ => {
                self.notes.does("recv_timeout", 0);
                let outcome = rx.recv_timeout(some_time(random));
                let outcome = outcome.map(|message| Entry::recognize(&message));
                self.timed(outcome)
            }
        };
        self.note(outcome)
    }

    /// The call that waits without limit.
    pub(super) fn recv(&mut self, rx: &mut Receiver) -> More {
        self.notes.reach();
        self.notes.does("recv", 0);
        let outcome = rx.recv().map(|message| Entry::recognize(&message));
        let outcome = self.waited(outcome);
        self.note(outcome)
    }

    fn note(&mut self, outcome: Outcome) -> More {
        if outcome == Outcome::Aborted {
            self.notes.told_of_a_death();
        }
        self.notes
            .rest(!matches!(outcome, Outcome::Nothing | Outcome::Closed));
        match outcome {
            Outcome::AtEnd => More::Never,
            Outcome::Closed => More::NotForUs,
            _ => More::MayCome,
        }
    }

    fn enter(&mut self, entry: Entry) {
        self.ledger.enter(entry);
        if let Entry::Stamped(life, number) = entry {
            let least = self.least.entry(life).or_default();
            assert!(
                number >= *least,
                "message {number} of life {life} came after {least} to one receiver"
            );
            *least = number + 1;
        }
    }

    fn waited(&mut self, outcome: Result<Entry, RecvError>) -> Outcome {
        match outcome {
            Ok(entry) => {
                self.enter(entry);
                Outcome::Took
            }
            Err(error) => ended(error),
        }
    }

    fn tried(&mut self, outcome: Result<Entry, TryRecvError>) -> Outcome {
        match outcome {
            Ok(entry) => self.waited(Ok(entry)),
            Err(error) => tried(error),
        }
    }

    fn timed(&mut self, outcome: Result<Entry, RecvTimeoutError>) -> Outcome {
        match outcome {
            Ok(entry) => self.waited(Ok(entry)),
            Err(error) => timed(error),
        }
    }

    fn in_a_batch(&mut self, rx: &mut Receiver, random: &mut Random) -> Outcome {
        let (notes, waits) = (self.notes, self.calls.waits);
        let mut enter = |batch: Batch<'_>| {
            batch
                .into_iter()
                .for_each(|message| self.enter(Entry::recognize(message)));
            Outcome::Took
        };
        match random.below(3) {
            0 if waits => {
                notes.does("recv_batch", 0);
                rx.recv_batch().map_or_else(ended, &mut enter)
            }
            1 => {
                notes.does("try_recv_batch", 0);
                rx.try_recv_batch().map_or_else(tried, &mut enter)
            }
            _ => {
                notes.does("recv_batch_timeout", 0);
                let outcome = rx.recv_batch_timeout(some_time(random));
                outcome.map_or_else(timed, &mut enter)
            }
        }
    }

    fn in_place(&mut self, rx: &mut Receiver, random: &mut Random) -> Outcome {
        let (notes, waits) = (self.notes, self.calls.waits);
        let mut enter = |view: View<'_>| {
            let entry = Entry::recognize(&view.to_vec());
            notes.views(entry);
            self.enter(entry);
            drop(view);
            notes.viewed();
            Outcome::Took
        };
        match random.below(3) {
            0 if waits => {
                notes.does("recv_in_place", 0);
                rx.recv_in_place().map_or_else(ended, &mut enter)
            }
            1 => {
                notes.does("try_recv_in_place", 0);
                rx.try_recv_in_place().map_or_else(tried, &mut enter)
            }
            _ => {
                notes.does("recv_in_place_timeout", 0);
                let outcome = rx.recv_in_place_timeout(some_time(random));
                outcome.map_or_else(timed, &mut enter)
            }
        }
    }

    /// A look, which takes nothing, and a try.
    fn after_a_look(&mut self, rx: &mut Receiver, random: &mut Random) -> Outcome {
        if random.below(2) == 0 {
            self.notes.does("poll", 0);
            if let Err(error) = rx.poll(Some(some_time(random))) {
                return of_closed(error);
            }
        } else {
            self.notes.does("wait", 0);
            if let Err(error) = wait(&mut [rx], Some(some_time(random))) {
                return of_closed(error);
            }
        }
        self.notes.does("try_recv", 1);
        let outcome = rx.try_recv().map(|message| Entry::recognize(&message));
        self.tried(outcome)
    }

    /// Into a slice that may be too small at first.
    fn with_a_slice(&mut self, rx: &mut Receiver, random: &mut Random) -> Outcome {
        let mut slice = vec![0; random.below(CAPACITY)];
        loop {
            self.notes.does("recv_into", slice.len());
            match rx.recv_into(&mut slice) {
                Ok(len) => return self.waited(Ok(Entry::recognize(&slice[..len]))),
                Err(RecvError::BufferTooSmall { needed }) => {
                    assert!(needed > slice.len(), "{needed} in {}", slice.len());
                    slice.resize(needed, 0);
                }
                Err(error) => return ended(error),
            }
        }
    }

    /// As bytes, to the end of a message.
    fn by_reading(&mut self, rx: &mut Receiver) -> Outcome {
        let (mut stream, mut bytes) = (Vec::new(), [0; 1000]);
        loop {
            self.notes.does("read", stream.len());
            match rx.read(&mut bytes) {
                Ok(0) => {
                    assert_eq!(stream.len(), 0, "the stream ends inside a message");
                    return Outcome::AtEnd;
                }
                Ok(len) => stream.extend_from_slice(&bytes[..len]),
                Err(error) => panic!("{error}"),
            }
            while let Some(entry) = Entry::take_first(&mut stream) {
                self.enter(entry);
            }
            if stream.is_empty() {
                return Outcome::Took;
            }
        }
    }
}

fn ended(error: RecvError) -> Outcome {
    match error {
        RecvError::Disconnected => Outcome::AtEnd,
        RecvError::Aborted => Outcome::Aborted,
        error => of_closed(error),
    }
}

fn tried(error: TryRecvError) -> Outcome {
    match error {
        TryRecvError::Empty => Outcome::Nothing,
        // On a CPU that is starved others may be in the middle of a call for long.
        TryRecvError::Io(error) if error.kind() == io::ErrorKind::ResourceBusy => Outcome::Nothing,
        TryRecvError::Disconnected => Outcome::AtEnd,
        TryRecvError::Aborted => Outcome::Aborted,
        error => of_closed(error),
    }
}

fn timed(error: RecvTimeoutError) -> Outcome {
    match error {
        RecvTimeoutError::Timeout => Outcome::Nothing,
        RecvTimeoutError::Disconnected => Outcome::AtEnd,
        RecvTimeoutError::Aborted => Outcome::Aborted,
        error => of_closed(error),
    }
}

/// For the only other error that there may be.
fn of_closed(error: impl Into<io::Error>) -> Outcome {
    let error = error.into();
    assert_eq!(error.kind(), io::ErrorKind::NotConnected, "{error:?}");
    Outcome::Closed
}

fn some_time(random: &mut Random) -> Duration {
    Duration::from_micros(random.below_u64(2000))
}
