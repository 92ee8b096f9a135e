//! A storm of messages: four processes send to two over one small pipe, and every message arrives
//! exactly once, whole, and in its sender's order.
//!
//! An ordinary run sends 10⁶ messages on each backend, `SHMPIPE_LONG=1` sends 10⁷; nobody dies here.

mod support;

use std::fs::File;
use std::io::{Read, Write};

use shmpipe::{Backend, PipeOptions, Receiver, Sender};
use support::{check, fork, fork_apart, identify, long, on_both_backends, pattern, pipe};

on_both_backends! {
    every_message_of_a_storm_arrives_exactly_once_whole_and_in_its_senders_order within 180,
}

const CAPACITY: usize = 64 * 1024;
const SENDERS: u16 = 4;
const RECEIVERS: usize = 2;

/// Messages shorter than this do not name their sender; they are counted by length.
const STAMPED: usize = 8;

fn messages_per_sender() -> u64 {
    if long() { 2_500_000 } else { 250_000 }
}

/// The length of a message: most are small, one in 64 is up to a page, and one in 2048 is anything
/// up to three times the pipe.
fn size(sender: u16, number: u64) -> usize {
    let mixed = (number ^ (u64::from(sender) << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let mixed = usize::try_from(mixed).unwrap();
    match mixed % 2048 {
        0 => (mixed >> 11) % (3 * CAPACITY + 1),
        chosen if chosen % 64 == 1 => (mixed >> 11) % 4097,
        _ => (mixed >> 11) % 129,
    }
}

/// What one receiver got, or what there was to get.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ledger {
    /// For each sender one bit for each of its numbers.
    numbers: Vec<Vec<u64>>,
    /// Messages that do not name their sender, by length.
    unstamped: [u64; STAMPED],
}

impl Ledger {
    fn new() -> Self {
        let words = usize::try_from(messages_per_sender().div_ceil(64)).unwrap();
        Self {
            numbers: vec![vec![0; words]; SENDERS.into()],
            unstamped: [0; STAMPED],
        }
    }

    /// Enters a message; panics when it is there already.
    fn enter(&mut self, sender: u16, number: u64) {
        let word = &mut self.numbers[usize::from(sender)][usize::try_from(number / 64).unwrap()];
        let bit = 1 << (number % 64);
        assert_eq!(
            *word & bit,
            0,
            "message {number} of sender {sender} came twice"
        );
        *word |= bit;
    }

    /// Everything that is sent.
    fn expected() -> Self {
        let mut ledger = Self::new();
        for sender in 0..SENDERS {
            for number in 0..messages_per_sender() {
                match size(sender, number) {
                    len if len < STAMPED => ledger.unstamped[len] += 1,
                    _ => ledger.enter(sender, number),
                }
            }
        }
        ledger
    }

    /// Adds another receiver's ledger; panics when both have the same message.
    fn merge(&mut self, other: &Self) {
        for (sender, (mine, theirs)) in self.numbers.iter_mut().zip(&other.numbers).enumerate() {
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                assert_eq!(
                    *mine & theirs,
                    0,
                    "two receivers got a message of sender {sender}"
                );
                *mine |= theirs;
            }
        }
        for (mine, theirs) in self.unstamped.iter_mut().zip(other.unstamped) {
            *mine += theirs;
        }
    }

    fn write(&self, report: &mut File) {
        for word in self.numbers.iter().flatten().chain(&self.unstamped) {
            report.write_all(&word.to_ne_bytes()).unwrap();
        }
    }

    fn read(report: &mut File) -> Self {
        let mut ledger = Self::new();
        for word in ledger
            .numbers
            .iter_mut()
            .flatten()
            .chain(&mut ledger.unstamped)
        {
            let mut bytes = [0; 8];
            report
                .read_exact(&mut bytes)
                .expect("a receiver reports before it ends");
            *word = u64::from_ne_bytes(bytes);
        }
        ledger
    }
}

fn send_all(tx: &mut Sender, sender: u16) {
    for number in 0..messages_per_sender() {
        tx.send(&pattern(sender, number, size(sender, number)))
            .unwrap();
    }
}

fn receive_all(rx: &mut Receiver) -> Ledger {
    let mut ledger = Ledger::new();
    let mut least = [0; SENDERS as usize];
    for message in rx.messages() {
        let message = message.unwrap();
        if message.len() < STAMPED {
            ledger.unstamped[message.len()] += 1;
            continue;
        }
        let (sender, number) = identify(&message);
        check(&message, sender, number, size(sender, number));
        let least = &mut least[usize::from(sender)];
        assert!(
            number >= *least,
            "message {number} of sender {sender} came after {least}"
        );
        *least = number + 1;
        ledger.enter(sender, number);
    }
    ledger
}

fn every_message_of_a_storm_arrives_exactly_once_whole_and_in_its_senders_order(backend: Backend) {
    let options = PipeOptions::new().backend(backend).capacity(CAPACITY);
    let (mut rx, mut tx) = options.pipe().unwrap();
    let mut receivers = Vec::new();
    for _ in 0..RECEIVERS {
        let (report, mut reporter) = pipe().unwrap();
        let rx = &mut rx;
        let (child, back) = fork_apart(tx, move || receive_all(rx).write(&mut reporter));
        tx = back;
        receivers.push((child, report));
    }
    drop(rx);
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| fork(|| send_all(&mut tx, sender)))
        .collect();
    drop(tx);
    let mut received = Ledger::new();
    for (_, report) in &mut receivers {
        received.merge(&Ledger::read(report));
    }
    let expected = Ledger::expected();
    for (sender, (got, sent)) in received.numbers.iter().zip(&expected.numbers).enumerate() {
        let missing = got.iter().zip(sent).position(|(got, sent)| got != sent);
        assert_eq!(
            missing.map(|word| word * 64),
            None,
            "first gap of sender {sender}"
        );
    }
    assert_eq!(
        received.unstamped, expected.unstamped,
        "short messages by length"
    );
    senders.into_iter().for_each(|sender| sender.join());
    receivers
        .into_iter()
        .for_each(|(receiver, _)| receiver.join());
}
