//! Lies told during the call: another process changes words between a good and a bad value while an
//! honest end works.
//!
//! Which of the two values a call meets is chance; whatever it meets, it may use only once.

use std::time::Duration;

use crate::lie::{self, Lie};
use crate::stage::{CONTENTS, Content, Stage, capacity, longest, of_ring, open};
use crate::support::segment::{FIELDS, at};
use crate::support::{Random, fork, long, on_no_backend};
use crate::victim::{Outcome, Receive, Send, drop_in_time};

on_no_backend! {
    a_receiver_comes_through_words_that_change_under_its_hands within 120,
    a_sender_comes_through_words_that_change_under_its_hands within 120,
    two_honest_ends_come_through_a_third_that_scribbles within 120,
}

const MOMENT: Duration = Duration::from_micros(50);

/// How often a liar changes one word before it turns to another.
const FLIPS: usize = 300;

fn rounds() -> usize {
    if long() { 1_000_000 } else { 50_000 }
}

/// Changes one word after another between what it should be and something else, until it is killed.
fn flip_for_ever(stage: &Stage, mut random: Random) -> ! {
    let start = stage.image.u64(at::RX_READ);
    let words =
        [0, 8, 112, 120, longest() as u64 + 8].map(|behind| stage.image.place(start + behind));
    loop {
        let (place, len) = match random.below(3) {
            0 => {
                let (_, offset, len) = FIELDS[random.below(FIELDS.len())];
                (offset, len)
            }
            1 => {
                let (offset, len) =
                    random.pick(&[(at::TX_TAIL, 8), (at::RX_READ, 8), (at::HEAD, 8)]);
                (offset, len)
            }
            _ => (random.pick(&words), 8),
        };
        let good = match len {
            8 => stage.image.u64(place),
            _ => stage.image.u32(place).into(),
        };
        let shift = random.below(64);
        let bads = [
            0,
            good ^ 1 << shift,
            good.wrapping_add(8),
            good.wrapping_add(capacity() as u64),
            good ^ 1 << 63,
            random.word(),
        ];
        let bad = random.pick(&bads);
        for _ in 0..FLIPS {
            stage.memory.store(place, len, bad);
            std::hint::spin_loop();
            stage.memory.store(place, len, good);
        }
    }
}

fn a_receiver_comes_through_words_that_change_under_its_hands() {
    let mut random = Random::from_environment();
    for content in CONTENTS {
        let (rx, _tx, stage) = open(content);
        let seed = random.word();
        let liar = fork(|| flip_for_ever(&stage, Random::new(seed)));
        for round in 0..rounds() {
            stage.restore();
            let mut end = rx.try_clone().expect("a clone");
            let slow = random.pick(&[Receive::Within(MOMENT), Receive::PollWithin(MOMENT)]);
            let call = if round % 200 == 0 { slow } else { Receive::Try };
            for call in [call, Receive::TryBatch, Receive::Try, Receive::Poll] {
                if call.make(&mut end) == Outcome::Corrupted {
                    assert_eq!(Receive::Try.make(&mut end), Outcome::Corrupted);
                    break;
                }
            }
            drop_in_time(end);
        }
        liar.kill();
        stage.restore();
    }
}

fn a_sender_comes_through_words_that_change_under_its_hands() {
    let mut random = Random::from_environment();
    for content in CONTENTS {
        let (_rx, tx, stage) = open(content);
        let seed = random.word();
        let liar = fork(|| flip_for_ever(&stage, Random::new(seed)));
        for round in 0..rounds() {
            stage.restore();
            let mut end = tx.try_clone().expect("a clone");
            let len = random.pick(&[
                0,
                8,
                100,
                longest(),
                longest() + 1,
                of_ring(1500),
                of_ring(12_000),
            ]);
            let slow = Send::Within(len, MOMENT);
            let call = if round % 200 == 0 {
                slow
            } else {
                Send::Try(len)
            };
            for call in [call, Send::Try(len)] {
                if call.make(&mut end) == Outcome::Corrupted {
                    assert_eq!(Send::Try(0).make(&mut end), Outcome::Corrupted);
                    break;
                }
            }
            drop_in_time(end);
        }
        liar.kill();
        stage.restore();
    }
}

fn two_honest_ends_come_through_a_third_that_scribbles() {
    let mut random = Random::from_environment();
    let (rx, tx, stage) = open(Content::Nothing);
    let seed = random.word();
    let liar = fork(|| {
        let mut random = Random::new(seed);
        loop {
            lie::some(&mut random, &stage)
                .into_iter()
                .for_each(|lie| lie.tell(&stage));
            (0..random.below(20)).for_each(|_| Lie::tell(lie::chain(&mut random), &stage));
            stage.restore();
            (0..random.below(20_000)).for_each(|_| std::hint::spin_loop());
        }
    });
    let sender = fork(|| {
        let mut random = Random::new(seed ^ 1);
        for _ in 0..rounds() {
            let mut end = tx.try_clone().expect("a clone");
            while Send::Try(random.pick(&[0, 8, 100, of_ring(1500)])).make(&mut end)
                == Outcome::Done
            {}
            drop_in_time(end);
        }
    });
    for _ in 0..rounds() {
        let mut end = rx.try_clone().expect("a clone");
        for _ in 0..4 {
            Receive::Try.make(&mut end);
        }
        drop_in_time(end);
    }
    sender.join();
    liar.kill();
}
