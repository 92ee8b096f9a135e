//! The order of the code, which loses no wake-up, and the wrong orders, which do.

use super::{FOREVER, Mistake, Pipe};
use crate::explorer::{Found, explore};

fn search(mistake: Mistake, sends: &[u8], takes: &[u8], kills: u8) -> Found {
    explore([Pipe::new(mistake, sends, takes, kills)])
}

#[test]
fn no_wake_up_of_one_receiver_is_lost_when_a_sender_is_killed_at_any_step() {
    search(Mistake::None, &[2, 2], &[FOREVER], 1).assert_clean("one receiver", 10_000);
}

#[test]
fn no_wake_up_of_two_receivers_is_lost_when_nobody_dies() {
    // The first one takes a message and goes; what it leaves behind is the other one's.
    search(Mistake::None, &[2, 1], &[1, FOREVER], 0).assert_clean("two receivers", 10_000);
}

#[test]
fn no_wake_up_of_two_receivers_is_lost_when_one_end_is_killed_at_any_step() {
    search(Mistake::None, &[1, 1], &[1, FOREVER], 1).assert_clean("two receivers, a kill", 10_000);
}

#[test]
fn clearing_before_ringing_is_found_to_lose_a_wake_up_of_a_killed_sender() {
    search(Mistake::ClearsThenRings, &[2, 2], &[FOREVER], 1)
        .assert_found("clears, then rings", "a wake-up is lost");
    search(Mistake::ClearsThenRings, &[2, 2], &[FOREVER], 0)
        .assert_clean("clears, then rings, without a kill", 1000);
}

#[test]
fn storing_zero_after_ringing_is_found_to_lose_a_wake_up_without_a_kill() {
    search(Mistake::StoresZero, &[2, 2], &[FOREVER], 0)
        .assert_found("stores 0", "a wake-up is lost");
}

#[test]
fn a_ring_without_fence_is_found_to_lose_a_wake_up() {
    search(Mistake::RingsWithoutFence, &[2, 2], &[FOREVER], 0)
        .assert_found("rings without fence", "a wake-up is lost");
}

#[test]
fn a_last_look_without_fence_is_found_to_lose_a_wake_up() {
    search(Mistake::SleepsWithoutFence, &[2, 2], &[FOREVER], 0)
        .assert_found("sleeps without fence", "a wake-up is lost");
}

#[test]
fn tokens_taken_out_without_a_look_are_found_to_lose_a_wake_up() {
    search(Mistake::DrainsWithoutLook, &[2, 2], &[FOREVER], 0)
        .assert_found("drains without a look", "a wake-up is lost");
}
