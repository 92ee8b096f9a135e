//! Lies made for one weakness each: rings without an end, claims of a length, senders that are said to
//! have died.
//!
//! Each is a picture of the memory that nobody changes during the call.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use shmpipe::{Backend, PipeOptions, RecvError, SendError, TryRecvError, TrySendError};

use crate::lie::{Lie, OWNER_DIED};
use crate::stage::{Content, capacity, in_fragments, longest, of_ring, open};
use crate::support::on_no_backend;
use crate::support::segment::{FIRST, LAST, Memory, PACK, at};
use crate::victim::{Outcome, Receive, Send, drop_in_time};

/// Where a held side names its owner.
const TX_SENDER: usize = 0x0b0;

/// Up to where lines are said to begin with 0.
const TX_CLAIMED: usize = 0x0f0;
const LINE: u64 = 64;

const MOMENT: Duration = Duration::from_millis(1);

on_no_backend! {
    a_sender_after_a_death_follows_records_once_round_the_ring_and_no_further within 20,
    a_receiver_follows_fragments_without_end_once_round_the_ring_and_no_further within 20,
    a_blocked_receiver_does_not_take_the_same_fragments_again_and_again within 20,
    a_ring_of_whole_messages_without_end_comes_to_an_end within 20,
    packs_without_end_come_to_an_end within 20,
    a_forged_pack_is_corruption_and_stays within 20,
    a_receiver_passes_over_fragments_of_nobody_once_round_the_ring_and_no_further within 20,
    a_large_ring_full_of_empty_fragments_does_not_lengthen_a_call within 60,
    a_claimed_length_is_not_allocated within 20,
    a_length_beyond_the_ring_is_corruption_and_stays within 20,
    messages_before_a_lie_inside_a_batch_come_first within 20,
    time_outs_hold_on_a_side_that_is_said_to_be_held within 40,
    a_slot_whose_pipe_was_moved_is_corruption within 20,
    a_claim_beyond_its_reach_is_not_believed within 20,
}

fn a_sender_after_a_death_follows_records_once_round_the_ring_and_no_further() {
    let (_rx, tx, stage) = open(Content::Nothing);
    let tail = stage.image.u64(at::TX_TAIL);
    for payload in [0, 8, 24, longest() as u64] {
        for flags in [0, FIRST, LAST, FIRST | LAST] {
            let capacity = capacity() as u64;
            for ahead in [
                0,
                8,
                capacity,
                capacity + 8,
                1 << 40,
                1 << 62,
                (1 << 63) - 8,
            ] {
                stage.restore();
                Lie::Chain { payload, flags }.tell(&stage);
                stage.memory.store(at::TX_LOCK, 4, OWNER_DIED);
                stage.memory.store(at::RX_READ, 8, tail.wrapping_add(ahead));
                let mut end = tx.try_clone().unwrap();
                assert_eq!(
                    Send::Try(8).make(&mut end),
                    Outcome::Corrupted,
                    "{ahead} ahead"
                );
            }
        }
    }
    stage.restore();
}

fn a_receiver_follows_fragments_without_end_once_round_the_ring_and_no_further() {
    let (rx, _tx, stage) = open(Content::Nothing);
    for payload in [0, 8, 24, longest() as u64] {
        stage.restore();
        Lie::Chain { payload, flags: 0 }.tell(&stage);
        let mut end = rx.try_clone().unwrap();
        // A part of no message is wrong at once; those of one of 1 TiB are, when they come again.
        let outcome = Receive::Try.make(&mut end);
        assert!(
            matches!(outcome, Outcome::NotNow | Outcome::Corrupted),
            "{outcome:?}"
        );
        drop_in_time(end);
    }
    stage.restore();
}

fn a_blocked_receiver_does_not_take_the_same_fragments_again_and_again() {
    let (rx, _tx, stage) = open(Content::Nothing);
    for payload in [8, 24, longest() as u64] {
        for call in [
            Receive::Block,
            Receive::Iterate,
            Receive::Stream(capacity()),
        ] {
            stage.restore();
            Lie::Chain { payload, flags: 0 }.tell(&stage);
            let mut end = rx.try_clone().unwrap();
            assert_eq!(call.make(&mut end), Outcome::Corrupted);
            drop_in_time(end);
        }
    }
    stage.restore();
}

/// Empty messages, of which a byte stream wants as many as there are, and others.
fn a_ring_of_whole_messages_without_end_comes_to_an_end() {
    for payload in [0, 8, 24, longest() as u64] {
        let (rx, tx, stage) = open(Content::Nothing);
        drop(tx);
        stage.restore();
        Lie::Chain {
            payload,
            flags: FIRST | LAST,
        }
        .tell(&stage);
        let mut end = rx.try_clone().unwrap();
        let outcome = std::io::copy(&mut end, &mut std::io::sink());
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::InvalidData);
        let mut end = rx.try_clone().unwrap();
        let received = end
            .messages()
            .take(2 * capacity())
            .filter(Result::is_ok)
            .count() as u64;
        assert!(
            received <= 2 * capacity() as u64 / (payload + 8),
            "{received} messages"
        );
        assert!(matches!(end.recv(), Err(RecvError::Corrupted)));
    }
}

fn packs_without_end_come_to_an_end() {
    let most = longest() as u64;
    for (payload, taken) in [(8, 0), (24, 0), (24, 2), (most, most as u32 / 8 - 1)] {
        let flags = PACK | FIRST | LAST | 8 << 8 | taken << 16;
        for by_batches in [false, true] {
            let (rx, tx, stage) = open(Content::Nothing);
            drop(tx);
            stage.restore();
            Lie::Chain { payload, flags }.tell(&stage);
            let mut end = rx.try_clone().unwrap();
            let mut received = 0;
            let end_of_it = loop {
                let outcome = if by_batches {
                    end.recv_batch().map(|batch| batch.count())
                } else {
                    end.recv().map(|_| 1)
                };
                match outcome {
                    Ok(count) => received += count,
                    Err(error) => break error,
                }
                assert!(received <= capacity(), "{received} messages");
            };
            assert!(matches!(end_of_it, RecvError::Corrupted), "{end_of_it}");
        }
    }
}

fn a_forged_pack_is_corruption_and_stays() {
    let (rx, _tx, stage) = open(Content::Packed);
    let right = PACK | FIRST | LAST | 24 << 8;
    for (len, flags) in [
        (9 * 24, right | 9 << 16),
        (9 * 24, right | 0xffff << 16),
        (9 * 24, right & !(0xff << 8)),
        (9 * 24, right | 0xff << 8),
        (9 * 24 + 8, right),
        (9 * 24 - 1, right),
        (0, right),
        (9 * 24, right & !FIRST),
        (9 * 24, right & !LAST),
        (9 * 24, right | 4),
        (9 * 24, right | 8),
        (9 * 24, right | 16),
        (9 * 24, right | 64),
        // Longer than any record.
        ((longest() as u64 / 24 + 1) * 24, right),
    ] {
        for call in [Receive::Try, Receive::TryBatch, Receive::Slice(64)] {
            stage.restore();
            let value = u64::from(flags) << 32 | (len + 1);
            Lie::Word { behind: 0, value }.tell(&stage);
            let mut end = rx.try_clone().unwrap();
            assert_eq!(call.make(&mut end), Outcome::Corrupted, "{value:#x}");
            stage.restore();
            assert_eq!(call.make(&mut end), Outcome::Corrupted, "{value:#x}");
        }
    }
    stage.restore();
    let mut end = rx.try_clone().unwrap();
    assert_eq!(end.recv_batch().unwrap().len(), 8 + 9);
}

fn a_receiver_passes_over_fragments_of_nobody_once_round_the_ring_and_no_further() {
    let (rx, _tx, stage) = open(Content::Nothing);
    const ORPHANED: u64 = 3;
    for payload in [0, 8, 24, longest() as u64] {
        for call in [
            Receive::Try,
            Receive::Poll,
            Receive::Within(Duration::from_millis(1)),
            Receive::Block,
        ] {
            stage.restore();
            Lie::Chain { payload, flags: 0 }.tell(&stage);
            stage.memory.store(
                stage.image.place(stage.image.u64(at::RX_READ)),
                8,
                payload + 1,
            );
            stage.memory.store(at::RX_REASSEMBLY_STATE, 4, ORPHANED);
            let mut end = rx.try_clone().unwrap();
            call.make(&mut end);
            drop_in_time(end);
        }
    }
    stage.restore();
}

fn a_large_ring_full_of_empty_fragments_does_not_lengthen_a_call() {
    let options = PipeOptions::new()
        .backend(Backend::SharedMemory)
        .capacity(64 << 20);
    let (mut rx, _tx) = options.pipe().unwrap();
    let memory = Memory::of_the_only_pipe();
    let data = memory.len() - (64 << 20);
    // A message of 1 TiB, of which there are 8 bytes and then millions of parts without any.
    memory.store(data, 8, 9 | u64::from(FIRST) << 32);
    memory.store(data + 8, 8, 1 << 40);
    for place in (data + 16..memory.len()).step_by(8) {
        memory.store(place, 8, 1);
    }
    // Somebody who polls, so that each of them would ring.
    memory.store(at::ROOM + at::ARMED, 4, 5);
    let start = Instant::now();
    assert!(matches!(
        rx.try_recv(),
        Err(TryRecvError::Empty | TryRecvError::Corrupted)
    ));
    let took = start.elapsed();
    assert!(
        took < Duration::from_secs(1),
        "a call that never waits took {took:?}"
    );
}

fn a_claimed_length_is_not_allocated() {
    let (rx, _tx, stage) = open(Content::InFragments);
    let prefix = stage.image.u64(at::RX_READ) + 8;
    for claim in [
        in_fragments().len() as u64 + 1,
        1 << 20,
        1 << 31,
        (1 << 32) - 1,
        1 << 40,
        1 << 62,
        1 << 63,
        u64::MAX,
    ] {
        for call in [Receive::Try, Receive::Within(Duration::from_micros(50))] {
            stage.restore();
            stage.memory.store(stage.image.place(prefix), 8, claim);
            let mut end = rx.try_clone().unwrap();
            assert_eq!(
                call.make(&mut end),
                Outcome::Corrupted,
                "a claim of {claim}"
            );
            drop_in_time(end);
        }
        stage.restore();
        stage.memory.store(stage.image.place(prefix), 8, claim);
        let mut end = rx.try_clone().unwrap();
        assert_eq!(
            Receive::Slice(of_ring(5000)).make(&mut end),
            if claim > of_ring(5000) as u64 {
                Outcome::Misfit
            } else {
                Outcome::Corrupted
            }
        );
        drop_in_time(end);
    }
    stage.restore();
}

fn a_length_beyond_the_ring_is_corruption_and_stays() {
    let (rx, tx, stage) = open(Content::Small);
    let most = longest() as u64;
    let flags = u64::from(FIRST | LAST) << 32;
    for length in [
        most + 1,
        most + 8,
        capacity() as u64,
        1 << 31,
        (1 << 32) - 2,
    ] {
        stage.restore();
        Lie::Word {
            behind: 0,
            value: flags | (length + 1),
        }
        .tell(&stage);
        let mut end = rx.try_clone().unwrap();
        assert!(
            matches!(end.try_recv(), Err(TryRecvError::Corrupted)),
            "{length}"
        );
        stage.restore();
        assert!(
            matches!(end.try_recv(), Err(TryRecvError::Corrupted)),
            "{length}"
        );
    }
    let tail = stage.image.u64(at::TX_TAIL);
    let capacity = capacity() as u64;
    for head in [
        tail + 8,
        tail.wrapping_sub(capacity + 8),
        tail ^ 1 << 63,
        1 << 62,
        u64::MAX,
    ] {
        stage.restore();
        stage.memory.store(at::TX_HEAD_SEEN, 8, head);
        let mut end = tx.try_clone().unwrap();
        assert!(
            matches!(end.try_send(b"x"), Err(TrySendError::Corrupted)),
            "{head}"
        );
        stage.restore();
        assert!(
            matches!(end.try_send(b"x"), Err(TrySendError::Corrupted)),
            "{head}"
        );
    }
    stage.restore();
}

fn messages_before_a_lie_inside_a_batch_come_first() {
    let (rx, _tx, stage) = open(Content::Small);
    let flags = u64::from(FIRST | LAST) << 32;
    // The messages are of 100, 0 and 300 bytes.
    let [second, third] = [112, 120];
    for (behind, before) in [(second, 1), (third, 2)] {
        for value in [
            u64::MAX,
            flags,
            flags | (longest() as u64 + 2),
            flags | 1 << 31,
            5 << 32,
        ] {
            stage.restore();
            Lie::Word { behind, value }.tell(&stage);
            let mut end = rx.try_clone().unwrap();
            let batch = end.try_recv_batch().unwrap();
            assert_eq!(batch.len(), before, "{value:#x} at {behind}");
            assert_eq!(Receive::TryBatch.make(&mut end), Outcome::Corrupted);
            stage.restore();
            assert_eq!(Receive::TryBatch.make(&mut end), Outcome::Corrupted);
        }
    }
    // A tail that lies.
    let read = stage.image.u64(at::RX_READ);
    let capacity = capacity() as u64;
    for tail in [
        read,
        read + 8,
        read + capacity - 8,
        read + capacity,
        read + capacity + 8,
        read.wrapping_sub(8),
        read + 1,
        u64::MAX,
    ] {
        stage.restore();
        stage.memory.store(at::TX_TAIL, 8, tail);
        let mut end = rx.try_clone().unwrap();
        let batch = end.try_recv_batch().unwrap();
        assert!((1..=3).contains(&batch.len()), "{tail}");
        assert_eq!(batch.map(<[u8]>::len).next(), Some(100));
    }
    stage.restore();
}

fn time_outs_hold_on_a_side_that_is_said_to_be_held() {
    let (rx, tx, stage) = open(Content::Small);
    let ours = u64::from(std::process::id());
    for state in [4, 5] {
        for (owner, may_live) in [(0, false), (ours, true), (1, true), (0x3fff_fff0, true)] {
            stage.restore();
            stage.memory.store(at::RX_REASSEMBLY_STATE, 4, state);
            stage.memory.store(at::RX_REASSEMBLY_OWNER, 4, owner);
            stage.memory.store(at::TX_STATE, 4, state);
            stage.memory.store(TX_SENDER, 4, owner);
            // Whose birth nobody has told; where one of that id lives it is waited for, as far as the time-out goes.
            let may_be = |outcome| {
                let is_expected = matches!(outcome, Outcome::NotNow | Outcome::Done);
                is_expected && (may_live || outcome == Outcome::Done)
            };
            for call in [Receive::Within(MOMENT), Receive::Try, Receive::TryBatch] {
                let outcome = call.make(&mut rx.try_clone().unwrap());
                assert!(may_be(outcome), "{call:?}, held by {owner}: {outcome:?}");
            }
            for call in [Send::Within(8, MOMENT), Send::Try(8)] {
                let outcome = call.make(&mut tx.try_clone().unwrap());
                assert!(may_be(outcome), "{call:?}, held by {owner}: {outcome:?}");
            }
        }
    }
    stage.restore();
}

fn a_slot_whose_pipe_was_moved_is_corruption() {
    let (_rx, tx, stage) = open(Content::Nothing);
    let tail = stage.image.u64(at::TX_TAIL);
    for moved in [tail + 8, tail.wrapping_sub(8), tail + 1, u64::MAX] {
        stage.restore();
        let mut end = tx.try_clone().unwrap();
        let mut slot = end.reserve(100).unwrap();
        stage.memory.store(at::TX_TAIL, 8, moved);
        slot.copy_from_slice(&[7; 100]);
        let outcome = slot.commit();
        assert!(
            matches!(outcome, Err(SendError::Corrupted)),
            "{outcome:?} at {moved}"
        );
        assert_eq!(Send::Try(1).make(&mut end), Outcome::Corrupted);
    }
    stage.restore();
}

fn a_claim_beyond_its_reach_is_not_believed() {
    let (mut rx, mut tx, stage) = open(Content::Nothing);
    let mut pass = |payload: &[u8]| {
        tx.try_send(payload).unwrap();
        assert_eq!(&*rx.try_recv().unwrap(), payload);
        let more = rx.try_recv().map(|message| message.to_vec());
        assert!(matches!(more, Err(TryRecvError::Empty)), "{more:?}");
    };
    let tail = stage.image.u64(at::TX_TAIL);
    let mut tail = tail + pass_to_a_line(tail, &mut pass);
    // Records that take a line each, so that old headers lie where the next ones will be.
    for ahead in [
        capacity() as u64,
        1 << 40,
        1 << 62,
        1 << 63,
        0_u64.wrapping_sub(LINE),
    ] {
        for _ in 0..2 * capacity() as u64 / LINE {
            stage.memory.store(TX_CLAIMED, 8, tail.wrapping_add(ahead));
            pass(&[0xff; LINE as usize - 8]);
            tail += LINE;
        }
    }
}

/// Lets a message pass behind which a line begins, and returns how many bytes of the ring that took.
fn pass_to_a_line(tail: u64, pass: &mut impl FnMut(&[u8])) -> u64 {
    let span = 2 * LINE - tail % LINE;
    pass(&vec![7; span as usize - 8]);
    span
}
