//! The steps of the code, which lose no wake-up, and wrong ones, which do.

use super::{A_KILL, A_STOP, Harm, Mistake, NO_HARM, Side, TO_THE_END};
use crate::explorer::{Found, explore};

fn search(mistake: Mistake, sends: &[u8], hangs_up: bool, takes: &[&[u8]], harm: Harm) -> Found {
    explore([Side::new(mistake, sends, hangs_up, takes, harm)])
}

#[test]
fn no_wake_up_is_lost_among_the_threads_of_a_process() {
    search(Mistake::None, &[2], false, &[&[1, 1, 1]], NO_HARM).assert_clean("three", 10_000);
}

#[test]
fn nor_when_one_of_them_gives_up_at_any_moment() {
    search(Mistake::None, &[2], false, &[&[0, 1, 1]], NO_HARM).assert_clean("gives up", 1_000);
}

#[test]
fn nor_among_those_of_two_processes_when_one_is_killed_at_any_step() {
    search(Mistake::None, &[2], false, &[&[1, 1], &[1]], A_KILL).assert_clean("kill", 10_000);
}

#[test]
fn nor_when_one_is_stopped_for_good_at_any_step() {
    search(Mistake::None, &[2], false, &[&[1, 1], &[1]], A_STOP).assert_clean("stop", 10_000);
}

#[test]
fn every_thread_hears_of_the_end_whoever_else_is_killed_or_stopped() {
    for harm in [NO_HARM, A_KILL, A_STOP] {
        let takes: [&[u8]; 2] = [&[TO_THE_END, TO_THE_END], &[TO_THE_END]];
        search(Mistake::None, &[1], true, &takes, harm).assert_clean("the end", 1_000);
    }
}

#[test]
fn a_group_without_leader_is_found_to_sleep_in_poll() {
    search(Mistake::AllPoll, &[1], false, &[&[1, 1]], NO_HARM)
        .assert_found("all poll", "2 of one process sleep in poll(2)");
}

#[test]
fn a_follower_that_keeps_the_lock_is_found_to_lose_a_wake_up() {
    search(
        Mistake::FollowsUnderTheLock,
        &[2],
        false,
        &[&[1, 1]],
        NO_HARM,
    )
    .assert_found("follows under the lock", "a wake-up is lost");
}

#[test]
fn a_follower_without_a_mark_is_found_to_lose_a_wake_up() {
    search(Mistake::FollowsUnmarked, &[2], false, &[&[1, 1]], NO_HARM)
        .assert_found("follows unmarked", "a wake-up is lost");
}

#[test]
fn a_mark_that_nobody_keeps_is_found_to_lose_a_wake_up() {
    search(
        Mistake::NobodyKeepsMark,
        &[3],
        false,
        &[&[1, 1, 1]],
        NO_HARM,
    )
    .assert_found("nobody keeps the mark", "a wake-up is lost");
}

#[test]
fn a_leader_that_wakes_nobody_as_it_goes_is_found_to_lose_a_wake_up() {
    search(Mistake::PassesNothingOn, &[2], false, &[&[1, 1]], NO_HARM)
        .assert_found("passes nothing on", "a wake-up is lost");
}

#[test]
fn one_that_gives_up_with_the_wake_is_found_to_lose_it() {
    search(
        Mistake::GivesUpWithTheWake,
        &[2],
        false,
        &[&[1, 0, 1]],
        NO_HARM,
    )
    .assert_found("gives up with the wake", "a wake-up is lost");
}

#[test]
fn a_lead_kept_beyond_the_call_is_found_to_lose_a_wake_up() {
    search(Mistake::KeepsLead, &[2], false, &[&[1, 1]], NO_HARM)
        .assert_found("keeps the lead", "a wake-up is lost");
}

/// Why each process has a poll_group of its own.
#[test]
fn one_lead_for_all_processes_is_found_to_lose_a_wake_up_when_its_owner_is_killed_or_stopped() {
    for harm in [A_KILL, A_STOP] {
        search(
            Mistake::OneLeadForAllProcesses,
            &[1],
            false,
            &[&[1], &[1]],
            harm,
        )
        .assert_found("one lead for all", "a wake-up is lost");
    }
}
