//! Walking the kill points of a scenario, and what the survivors' books must show.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use shmpipe::{Backend, PipeOptions, Receiver, RecvError, Sender, kill_points};

use crate::support::{Child, check, found, identify};

/// Runs in a row in which the victim must survive before its points count as walked: how it waits, and
/// so how many points it passes, can differ a little from run to run.
const SURVIVALS: u32 = 3;

/// The sender whose messages the victim sends or receives.
pub(crate) const VICTIM: u16 = 1;
/// The sender that goes on after the victim's death.
pub(crate) const HEIR: u16 = 2;
/// The sender of what was in the pipe before.
pub(crate) const BEFORE: u16 = 3;

/// Messages of the heir.
pub(crate) const HEIRS: u64 = 3;

/// Whether others hold the victim's side too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copies {
    None,
    One,
}

/// How a victim ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Killed,
    Survived,
}

/// Runs `scenario` with the victim to die at point 1, 2, … until it survives; prints how many points
/// that were. There must be at least `least`.
pub(crate) fn walk(
    name: &str,
    backend: Backend,
    least: u64,
    scenario: impl Fn(u64, Copies) -> Ending,
) {
    let mut told = Vec::new();
    for copies in [Copies::None, Copies::One] {
        let mut deaths = 0;
        let mut survivals = 0;
        for fatal in 1.. {
            match scenario(fatal, copies) {
                Ending::Killed => {
                    deaths += 1;
                    survivals = 0;
                }
                Ending::Survived => survivals += 1,
            }
            if survivals == SURVIVALS {
                break;
            }
        }
        assert!(deaths >= least, "{name}: only {deaths} points were walked");
        told.push(deaths);
    }
    let places = places();
    found(&format!(
        "{backend}: {name}: killed at {} points without and {} with a copy of the end alive, in {} \
         places of the source",
        told[0],
        told[1],
        places.len(),
    ));
}

/// The places in the source where victims of this process died, from what they have printed.
fn places() -> BTreeSet<String> {
    let output = fs::read_to_string("/proc/self/fd/1").expect("a test's output is a file");
    output
        .lines()
        .filter_map(|line| line.strip_prefix("killed at "))
        .map(str::to_owned)
        .collect()
}

/// What the victim does with an end, to die at the `fatal`-th point of it.
pub(crate) fn doomed<T>(fatal: u64, work: impl FnOnce() -> T) {
    kill_points::arm(fatal);
    work();
    kill_points::arm(0);
}

/// Waits for the victim's end.
pub(crate) fn ending(victim: Child) -> Ending {
    match victim.wait_status() {
        WaitStatus::Signaled(_, Signal::SIGKILL, _) => Ending::Killed,
        WaitStatus::Exited(_, 0) => Ending::Survived,
        other => panic!("the victim ended otherwise: {other:?}"),
    }
}

pub(crate) fn open(backend: Backend, capacity: usize) -> (Receiver, Sender) {
    PipeOptions::new()
        .backend(backend)
        .capacity(capacity)
        .pipe()
        .unwrap()
}

/// What one receiver has got.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// For each sender the number of its next message.
    pub(crate) next: BTreeMap<u16, u64>,
    pub(crate) aborted: u64,
}

impl Books {
    /// Begins in the middle of one sender's messages.
    pub(crate) fn from(sender: u16, number: u64) -> Self {
        let mut books = Self::default();
        books.next.insert(sender, number);
        books
    }

    /// How many messages of `sender` have come, or would have from the first one on.
    pub(crate) fn of(&self, sender: u16) -> u64 {
        self.next.get(&sender).copied().unwrap_or(0)
    }

    /// Enters a message: whole, and the next one of its sender.
    pub(crate) fn enter(&mut self, message: &[u8]) {
        let (sender, number) = identify(message);
        check(message, sender, number, message.len());
        let next = self.next.entry(sender).or_default();
        assert_eq!(number, *next, "message of sender {sender}");
        *next += 1;
    }

    /// Receives until end-of-file, which must come.
    pub(crate) fn enter_all(&mut self, rx: &mut Receiver) {
        loop {
            match rx.recv() {
                Ok(message) => self.enter(&message),
                Err(RecvError::Aborted) => self.aborted += 1,
                Err(RecvError::Disconnected) => return,
                Err(error) => panic!("{error}, after {self:?}"),
            }
        }
    }
}

/// Counts one more in memory that outlives the counting process.
pub(crate) fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}
