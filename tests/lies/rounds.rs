//! Lies that are there before the call: some 10⁶ of them, each followed by honest calls.
//!
//! They are told by this process itself: which process wrote a byte cannot be seen from the byte. Lies
//! told during a call are in `races`.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use shmpipe::{Receiver, Sender};

use crate::lie::{self, Lie};
use crate::stage::{CONTENTS, Content, Stage, capacity, first_message, longest, of_ring, open};
use crate::support::segment::at;
use crate::support::{Random, long, on_no_backend};
use crate::victim::{Outcome, Receive, Send, drop_in_time};

on_no_backend! {
    a_receiver_comes_through_whatever_was_written_before_its_call within 400,
    a_sender_comes_through_whatever_was_written_before_its_call within 400,
    a_blocked_receiver_comes_back_when_the_liar_is_gone within 200,
    a_blocked_sender_comes_back_when_the_liar_is_gone within 200,
}

/// Rounds of each of the first two tests, for each content of the ring.
const ROUNDS: usize = 100_000;

/// One call in so many may wait for a moment.
const SELDOM: usize = 200;

const MOMENT: Duration = Duration::from_micros(50);

fn rounds(count: usize) -> usize {
    if long() { 20 * count } else { count }
}

/// Runs one round and says what the lies were when it fails.
fn telling<T>(lies: &[Lie], round: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(round)).unwrap_or_else(|panic| {
        eprintln!("after these lies: {lies:x?}");
        resume_unwind(panic)
    })
}

fn any_receive(random: &mut Random) -> Receive {
    match random.below(SELDOM) {
        0 => random.pick(&[Receive::Within(MOMENT), Receive::PollWithin(MOMENT)]),
        number if number % 8 == 1 => Receive::Poll,
        number if number % 4 == 2 => Receive::TryBatch,
        _ => Receive::Try,
    }
}

fn any_send(random: &mut Random) -> Send {
    let len = random.pick(&[
        0,
        1,
        8,
        100,
        200,
        longest(),
        longest() + 1,
        of_ring(1500),
        of_ring(3000),
        capacity() - 24,
        of_ring(12_000),
    ]);
    match random.below(SELDOM) {
        0 => Send::Within(len, MOMENT),
        _ => Send::Try(len),
    }
}

/// Corruption stays with the end that found it, also when the memory is in order again, and with no
/// other end.
fn check_sticky(rx: &mut Receiver, fresh: &Receiver, stage: &Stage, content: Content) {
    stage.restore();
    assert_eq!(Receive::Try.make(rx), Outcome::Corrupted);
    assert_eq!(Receive::Poll.make(rx), Outcome::Done);
    if matches!(content, Content::Small | Content::Full) {
        let mut other = fresh.try_clone().expect("a clone");
        assert_eq!(*other.try_recv().expect("a message"), first_message());
    }
}

/// Tells lies before each round, for each content of the ring.
fn in_rounds(mut round: impl FnMut(&mut Random, (&Receiver, &Sender), &Stage, Content)) {
    let mut random = Random::from_environment();
    for content in CONTENTS {
        let (rx, tx, stage) = open(content);
        for _ in 0..rounds(ROUNDS) {
            stage.restore();
            let lies = lie::some(&mut random, &stage);
            lies.iter().for_each(|lie| lie.tell(&stage));
            telling(&lies, || round(&mut random, (&rx, &tx), &stage, content));
        }
        stage.restore();
    }
}

fn a_receiver_comes_through_whatever_was_written_before_its_call() {
    let mut found = Found::default();
    in_rounds(|random, (rx, _), stage, content| {
        let mut end = rx.try_clone().expect("a clone");
        for _ in 0..random.pick(&[1, 1, 2, 4]) {
            let outcome = any_receive(random).make(&mut end);
            found.note(outcome);
            if outcome == Outcome::Corrupted {
                check_sticky(&mut end, rx, stage, content);
                break;
            }
        }
        drop_in_time(end);
    });
    found.check(&[Outcome::NotNow, Outcome::Aborted, Outcome::Refused]);
}

fn a_sender_comes_through_whatever_was_written_before_its_call() {
    let mut found = Found::default();
    in_rounds(|random, (_, tx), stage, _| {
        let mut end = tx.try_clone().expect("a clone");
        for _ in 0..random.pick(&[1, 1, 2, 4]) {
            let outcome = any_send(random).make(&mut end);
            found.note(outcome);
            if outcome == Outcome::Corrupted {
                stage.restore();
                assert_eq!(Send::Try(1).make(&mut end), Outcome::Corrupted);
                break;
            }
        }
        drop_in_time(end);
    });
    found.check(&[Outcome::NotNow, Outcome::Misfit, Outcome::Refused]);
}

/// A lie after which a call that waits without limit has nothing to wait for but the end of the other
/// side, which has come: locks and reassembly, which a living stranger can hold for ever, are in order.
fn tell_what_ends(lies: &[Lie], stage: &Stage) {
    stage.restore();
    lies.iter().for_each(|lie| lie.tell(stage));
    let put_back = |from: usize, to: usize| stage.memory.write(from, &stage.image.0[from..to]);
    put_back(at::TX_LOCK, at::TX_STATE);
    put_back(at::RX_LOCK, 0x110);
    put_back(at::RX_REASSEMBLY_STATE, at::HEAD);
}

fn a_blocked_receiver_comes_back_when_the_liar_is_gone() {
    let mut random = Random::from_environment();
    for content in CONTENTS {
        let (rx, tx, stage) = open(content);
        drop(tx);
        let stage = Stage {
            image: stage.memory.copy(),
            ..stage
        };
        for _ in 0..rounds(ROUNDS / 10) {
            let lies = lie::some(&mut random, &stage);
            tell_what_ends(&lies, &stage);
            // Messages without bytes are nothing to a stream, and a ring that has no end of them is
            // one that it reads for ever.
            let is_nothing = |lie: &Lie| matches!(lie, Lie::Chain { payload: 0, .. });
            let stream = if lies.iter().any(is_nothing) {
                Receive::Block
            } else {
                Receive::Stream(of_ring(600))
            };
            telling(&lies, || {
                let mut end = rx.try_clone().expect("a clone");
                let slice = Receive::Slice(random.pick(&[0, 8, of_ring(600), of_ring(5000)]));
                let calls = [
                    Receive::Block,
                    slice,
                    stream,
                    Receive::Iterate,
                    Receive::Batch,
                    Receive::PollForEver,
                ];
                random.pick(&calls).make(&mut end);
                drop_in_time(end);
            });
        }
        stage.restore();
    }
}

fn a_blocked_sender_comes_back_when_the_liar_is_gone() {
    let mut random = Random::from_environment();
    for content in CONTENTS {
        let (rx, tx, stage) = open(content);
        drop(rx);
        let stage = Stage {
            image: stage.memory.copy(),
            ..stage
        };
        for _ in 0..rounds(ROUNDS / 10) {
            let lies = lie::some(&mut random, &stage);
            tell_what_ends(&lies, &stage);
            telling(&lies, || {
                let mut end = tx.try_clone().expect("a clone");
                let len = random.pick(&[1, 8, 100, longest(), of_ring(1500), of_ring(12_000)]);
                random
                    .pick(&[Send::Block(len), Send::Stream(len), Send::Batch(len)])
                    .make(&mut end);
                drop_in_time(end);
            });
        }
        stage.restore();
    }
}

/// How often each outcome came.
#[derive(Default)]
struct Found(Vec<(Outcome, usize)>);

impl Found {
    fn note(&mut self, outcome: Outcome) {
        match self.0.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, count)) => *count += 1,
            None => self.0.push((outcome, 1)),
        }
    }

    /// The lies must have been worth telling: these came, and success, and corruption.
    fn check(&self, others: &[Outcome]) {
        println!("{:?}", self.0);
        for wanted in [Outcome::Done, Outcome::Corrupted].iter().chain(others) {
            assert!(
                self.0.iter().any(|(known, _)| known == wanted),
                "never {wanted:?}"
            );
        }
    }
}
