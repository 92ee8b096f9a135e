//! A send and a receive, instruction by instruction: after each one the shared memory is looked at, and
//! at each one that changed it a process is killed.
//!
//! The looks check I1, I2, I4 and I6 as far as bytes show them; the kills, that whoever has a copy of
//! the dead one's end goes on (I3, I5). What the processor reorders is not seen so; loom is for that.
#![cfg(target_arch = "x86_64")]

#[path = "../support/mod.rs"]
mod support;

mod scene;

use scene::{Call, Case, message};
use support::segment::{Image, at};
use support::trace::Point;
use support::{on_no_backend, pin_to};

on_no_backend! {
    a_send_of_8_bytes_is_whole_or_absent_after_every_instruction within 100,
    a_send_of_100_bytes_is_whole_or_absent_after_every_instruction within 100,
    a_send_by_block_copy_is_whole_or_absent_after_every_instruction within 100,
    a_send_in_fragments_is_right_as_far_as_it_is_there_after_every_instruction within 100,
    a_send_to_a_sleeper_leaves_it_marked_until_it_was_rung_for within 100,
    a_send_into_a_full_ring_shows_nothing within 100,
    a_receive_takes_the_message_out_in_one_instruction within 100,
    a_receive_that_gives_room_back_takes_the_message_out_in_one_instruction within 100,
    a_receive_into_a_slice_moves_on_only_when_the_bytes_are_there within 100,
    a_receive_in_fragments_leaves_what_it_has_not_read_as_it_was within 100,
    a_receiver_that_falls_asleep_leaves_the_pipe_to_others within 100,
    a_sender_that_falls_asleep_leaves_the_pipe_to_others within 100,
    a_receiver_that_closes_its_end_leaves_the_pipe_to_others within 100,
}

/// Changes that are all followed by a kill; of more, those to payload that nobody sees yet are sampled.
const ALL_KILLED: usize = 300;

/// An instruction that changed the memory, and the memory after it.
struct Change {
    point: Point,
    image: Image,
    /// Only payload was written that nobody can see.
    is_unseen: bool,
}

/// Runs the call instruction by instruction, then again for each change with a kill after it.
fn step_and_kill(queued: Vec<Vec<u8>>, received: usize, call: Call) {
    // On one processor a step does not have to wake another one.
    // SAFETY: no preconditions.
    pin_to(usize::try_from(unsafe { libc::sched_getcpu() }).unwrap());
    let case = Case {
        queued,
        received,
        call,
    };
    let mut scene = case.scene();
    let Some(mut child) = scene.start(&case) else {
        return;
    };
    let mut last = scene.before.clone();
    let mut now = vec![0; scene.memory.len()];
    let mut changes = Vec::new();
    let mut steps = 0;
    let mut was_different = false;
    while let Some(point) = child.step() {
        steps += 1;
        scene.memory.copy_to(&mut now);
        if now == last.0 {
            continue;
        }
        let image = Image(now.clone());
        let is_different = scene.check(&case, &image, &child);
        let control = image.control();
        let is_unseen = now[..control] == last.0[..control] && is_different == was_different;
        was_different = is_different;
        last = image.clone();
        changes.push(Change {
            point,
            image,
            is_unseen,
        });
    }
    child.finish();
    assert_eq!(was_different, case.call.is_seen(), "the call did its work");
    let slept = |event| {
        changes
            .iter()
            .any(|change| change.image.u32(event + at::ARMED) != 0)
    };
    match case.call {
        Call::ReceiveNothing => assert!(slept(at::DATA), "it never slept"),
        Call::SendNothing => assert!(slept(at::ROOM), "it never slept"),
        _ => {}
    }
    scene.check_survivors(&last, true);
    let mut kills = 0;
    for (index, change) in changes.iter().enumerate() {
        let neighbours = [index.wrapping_sub(1), index + 1];
        let is_inside = neighbours
            .iter()
            .all(|&at| changes.get(at).is_some_and(|at| at.is_unseen));
        let is_dull = change.is_unseen && is_inside && index % 16 != 0;
        if changes.len() > ALL_KILLED && is_dull {
            continue;
        }
        kill_at(&case, change, index % 2 == 0);
        kills += 1;
    }
    println!(
        "{steps} instructions, {} of them changed the memory, {kills} kills",
        changes.len()
    );
}

/// Kills a child right after the change and checks what the others find.
fn kill_at(case: &Case, change: &Change, sends_first: bool) {
    let mut scene = case.scene();
    let mut child = scene.start(case).expect("the first one could be traced");
    child.run_through(change.point);
    let image = scene.memory.copy();
    let data = image.control();
    assert_eq!(
        image.0[data..],
        change.image.0[data..],
        "the child has taken another way"
    );
    for word in [at::TX_TAIL, at::RX_READ, at::HEAD] {
        assert_eq!(
            image.u64(word),
            change.image.u64(word),
            "the child has taken another way"
        );
    }
    child.kill();
    scene.check_survivors(&image, sends_first);
}

fn a_send_of_8_bytes_is_whole_or_absent_after_every_instruction() {
    step_and_kill(vec![message(1, 40)], 0, Call::Send(message(100, 8)));
}

fn a_send_of_100_bytes_is_whole_or_absent_after_every_instruction() {
    step_and_kill(Vec::new(), 0, Call::Send(message(100, 100)));
}

fn a_send_by_block_copy_is_whole_or_absent_after_every_instruction() {
    step_and_kill(vec![message(1, 40)], 0, Call::Send(message(100, 203)));
}

fn a_send_in_fragments_is_right_as_far_as_it_is_there_after_every_instruction() {
    let long = message(100, 12_000);
    step_and_kill(vec![message(1, 500); 5], 0, Call::SendInFragments(long));
}

fn a_send_to_a_sleeper_leaves_it_marked_until_it_was_rung_for() {
    step_and_kill(Vec::new(), 0, Call::SendToASleeper(message(100, 16)));
}

/// Messages that leave room for none of 100 bytes.
fn full() -> Vec<Vec<u8>> {
    let mut queued = vec![message(1, 504); 7];
    queued.push(message(2, 490));
    queued
}

fn a_send_into_a_full_ring_shows_nothing() {
    step_and_kill(full(), 0, Call::TrySend);
}

fn a_receive_takes_the_message_out_in_one_instruction() {
    step_and_kill(vec![message(1, 40), message(2, 40)], 0, Call::Receive);
}

fn a_receive_that_gives_room_back_takes_the_message_out_in_one_instruction() {
    let queued = vec![message(1, 300), message(2, 300), message(3, 9)];
    step_and_kill(queued, 1, Call::Receive);
}

fn a_receive_into_a_slice_moves_on_only_when_the_bytes_are_there() {
    step_and_kill(
        vec![message(1, 61), message(2, 40)],
        0,
        Call::ReceiveIntoSlice,
    );
}

fn a_receive_in_fragments_leaves_what_it_has_not_read_as_it_was() {
    step_and_kill(vec![message(1, 1500), message(2, 40)], 0, Call::Receive);
}

fn a_receiver_that_falls_asleep_leaves_the_pipe_to_others() {
    step_and_kill(Vec::new(), 0, Call::ReceiveNothing);
}

fn a_sender_that_falls_asleep_leaves_the_pipe_to_others() {
    step_and_kill(full(), 0, Call::SendNothing);
}

fn a_receiver_that_closes_its_end_leaves_the_pipe_to_others() {
    step_and_kill(vec![message(1, 40)], 0, Call::CloseReceiver);
}
