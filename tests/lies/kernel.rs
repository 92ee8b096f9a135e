//! Lies to the kernel backend: garbage and clever frames in the pipe, any words in the page beside it.

use std::time::Duration;

use crate::kernel_frames::{FIRST, FRAGMENT, KernelStage, LAST, USED, WHOLE, flood, header, open};
use crate::support::{Random, fork, long, on_no_backend};
use crate::victim::{Outcome, Receive, Send, drop_in_time};

on_no_backend! {
    a_fragment_that_becomes_a_last_one_does_not_overflow_its_buffer within 20,
    empty_fragments_without_end_do_not_keep_a_call_that_never_waits within 20,
    descriptors_that_a_copy_was_made_to_block_do_not_lengthen_a_time_out within 20,
    a_receiver_comes_through_any_bytes_in_the_pipe_and_the_page within 120,
    a_sender_comes_through_any_words_in_the_page within 120,
}

fn a_fragment_that_becomes_a_last_one_does_not_overflow_its_buffer() {
    let (rx, _tx, stage) = open();
    let mut rx = rx;
    // A message that is longer than the pipe, of whose first part of 5000 bytes there are 4000.
    stage.put(&[
        &header(FIRST, 1 << 20),
        &stage.cookie,
        &header(FRAGMENT, 5000),
        &[1; 4000],
    ]);
    assert_eq!(Receive::Try.make(&mut rx), Outcome::NotNow);
    // Now it has been a last part of 4080 bytes all along, and here they are.
    let place = stage.place_of(u64::from_le_bytes(header(FRAGMENT, 5000)));
    stage
        .memory
        .store(place, 8, u64::from_le_bytes(header(LAST, 4080)));
    stage.put(&[&[2; 4080], &stage.cookie]);
    assert_eq!(Receive::Try.make(&mut rx), Outcome::Corrupted);
    drop_in_time(rx);
}

fn empty_fragments_without_end_do_not_keep_a_call_that_never_waits() {
    let (mut rx, tx, stage) = open();
    drop(tx);
    stage.put(&[&header(FIRST, 1 << 40), &stage.cookie]);
    let empty = [&header(FRAGMENT, 0)[..], &stage.cookie]
        .concat()
        .repeat(256);
    let liar = fork(|| flood(&stage, &empty));
    for _ in 0..100 {
        assert_eq!(Receive::Try.make(&mut rx), Outcome::NotNow);
        let call = Receive::Within(Duration::from_millis(1));
        assert_eq!(call.make(&mut rx), Outcome::NotNow);
    }
    liar.kill();
}

fn descriptors_that_a_copy_was_made_to_block_do_not_lengthen_a_time_out() {
    let (mut rx, mut tx, stage) = open();
    // A child's copies of descriptors share their flags with the parent's.
    fork(|| stage.make_blocking()).join();
    let moment = Duration::from_millis(1);
    for call in [Receive::Try, Receive::Within(moment), Receive::Poll] {
        assert_eq!(call.make(&mut rx), Outcome::NotNow);
    }
    while Send::Try(4000).make(&mut tx) == Outcome::Done {}
    for call in [
        Send::Try(4000),
        Send::Within(4000, moment),
        Send::Within(100_000, moment),
    ] {
        assert_eq!(call.make(&mut tx), Outcome::NotNow);
    }
}

/// Something that a liar puts into the pipe.
fn put_something(random: &mut Random, stage: &KernelStage) {
    let len = random.pick(&[0, 1, 7, 8, 16, 100, 500, 4080, 4081]);
    let payload = vec![random.word() as u8; len];
    let kind = random.pick(&[0, WHOLE, WHOLE, FIRST, FRAGMENT, LAST, 5, 6, 7]);
    let claim = random.pick(&[
        0,
        1,
        100,
        4080,
        4081,
        262_144,
        262_145,
        1 << 31,
        1 << 40,
        (1 << 53) - 1,
    ]);
    match random.below(6) {
        0 => {
            let noise: Vec<u8> = (0..len).map(|_| random.word() as u8).collect();
            stage.put(&[&noise]);
        }
        1 => stage.put(&[&header(kind, claim), &payload]),
        2 => stage.put(&[&header(kind, claim), &stage.cookie, &payload]),
        3 => stage.put(&[&vec![0; len]]),
        4 => {
            stage.put(&[
                &header(FIRST, random.pick(&[claim, len as u64 + 100])),
                &stage.cookie,
            ]);
            stage.put_frame(FRAGMENT, &payload);
            stage.put_frame(LAST, &[3; 100]);
        }
        _ => stage.put_frame(kind, &payload),
    }
}

/// Writes to a word of the page, or to all of it.
fn scribble(random: &mut Random, stage: &KernelStage, range: std::ops::Range<usize>) {
    let place = range.start + random.below((range.end - range.start) / 8) * 8;
    let right = stage.image.u64(place);
    let frame = u64::from_le_bytes(header(
        random.pick(&[0, WHOLE, FIRST, FRAGMENT, LAST, 5]),
        random.pick(&[0, 8, 100, 4080, 262_144]),
    ));
    let values = [
        0,
        1,
        2,
        3,
        right.wrapping_add(1),
        right.wrapping_sub(1),
        262_144 + 16,
        262_144 + 17,
        1 << 31,
        (1 << 32) - 1,
        1 << 63,
        u64::MAX,
        0x4000_0000,
        0x8000_0000,
        frame,
        u64::from_le_bytes(stage.cookie),
        random.word(),
    ];
    if random.below(20) == 0 {
        for place in range.step_by(8) {
            stage.memory.store(place, 8, random.word());
        }
    } else {
        stage.memory.store(place, 8, random.pick(&values));
    }
}

fn rounds() -> usize {
    if long() { 1_000_000 } else { 60_000 }
}

fn a_receiver_comes_through_any_bytes_in_the_pipe_and_the_page() {
    let mut random = Random::from_environment();
    let (rx, tx, stage) = open();
    for round in 0..rounds() {
        stage.restore();
        let mut end = rx.try_clone().expect("a clone");
        for _ in 0..random.pick(&[1, 2, 4]) {
            if random.below(3) != 0 {
                put_something(&mut random, &stage);
            }
            if random.below(2) == 0 {
                scribble(&mut random, &stage, 0..USED);
            }
            let moment = Duration::from_micros(50);
            let call = match random.below(200) {
                0 => random.pick(&[Receive::Within(moment), Receive::PollWithin(moment)]),
                number if number % 8 == 1 => Receive::Poll,
                _ => Receive::Try,
            };
            if call.make(&mut end) == Outcome::Corrupted {
                stage.restore();
                assert_eq!(
                    Receive::Try.make(&mut end),
                    Outcome::Corrupted,
                    "round {round}"
                );
                break;
            }
        }
        drop_in_time(end);
    }
    stage.restore();
    let mut tx = tx;
    let mut rx = rx;
    tx.send(b"in order again").expect("a pipe put back");
    assert_eq!(&*rx.recv().expect("a message"), b"in order again");
}

fn a_sender_comes_through_any_words_in_the_page() {
    let mut random = Random::from_environment();
    let (rx, tx, stage) = open();
    for round in 0..rounds() {
        stage.restore();
        let mut end = tx.try_clone().expect("a clone");
        for _ in 0..random.pick(&[1, 2, 4]) {
            scribble(&mut random, &stage, 0..USED);
            let len = random.pick(&[0, 1, 100, 4080, 4081, 20_000, 100_000]);
            let call = match random.below(200) {
                0 => Send::Within(len, Duration::from_micros(50)),
                _ => Send::Try(len),
            };
            if call.make(&mut end) == Outcome::Corrupted {
                stage.restore();
                assert_eq!(
                    Send::Try(1).make(&mut end),
                    Outcome::Corrupted,
                    "round {round}"
                );
                break;
            }
        }
        drop_in_time(end);
    }
    drop((rx, tx));
}
