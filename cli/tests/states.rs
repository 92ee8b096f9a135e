//! Each state that a pipe can be in, as `ls` and `stat` name it.

mod support;

use std::time::{Duration, Instant};

use shmpipe::Backend;

use support::{Helper, checked, label, open, text_of};

/// After this long a state that has not come will not come.
const PATIENCE: Duration = Duration::from_secs(30);

const BACKENDS: [Backend; 2] = [Backend::SharedMemory, Backend::Kernel];

#[test]
fn helper() {
    support::play_part();
}

/// Looks until `ls` says that the pipe with this label is so, and once by each other way.
#[track_caller]
fn becomes(label: &str, state: &str) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let value = checked(&text_of(&["ls", label, "--json"]));
        let found = &value["pipes"][0]["state"];
        if found == state {
            break;
        }
        assert!(Instant::now() < give_up, "{label} is {found}, not {state}");
    }
}

/// As [`becomes`] for a state that stays.
#[track_caller]
fn becomes_for_good(label: &str, state: &str) {
    becomes(label, state);
    // A note may follow the table, for whom some processes are not readable.
    let table = text_of(&["ls", label]);
    let row = table.lines().nth(1).unwrap();
    assert!(row.trim_end().ends_with(state), "{table}");
    let text = text_of(&["stat", label, "--over", "0.05"]);
    let line = text
        .lines()
        .find(|line| line.starts_with("state "))
        .unwrap();
    assert!(line.ends_with(state), "{line}");
}

#[test]
fn a_pipe_that_nobody_uses_is_idle() {
    for backend in BACKENDS {
        let label = label("idle");
        let (mut rx, mut tx) = open(backend, &label);
        becomes_for_good(&label, "idle");
        tx.send(b"one").unwrap();
        rx.recv().unwrap();
        becomes_for_good(&label, "idle");
    }
}

#[test]
fn a_pipe_between_two_that_keep_up_is_flowing() {
    for backend in BACKENDS {
        let label = label("flowing");
        let (rx, tx) = open(backend, &label);
        let _receiver = Helper::receiver(rx, Duration::ZERO);
        let _sender = Helper::sender(tx, Duration::ZERO);
        becomes(&label, "flowing");
    }
}

#[test]
fn a_sender_without_room_is_blocked() {
    for backend in BACKENDS {
        let label = label("blocked");
        let (rx, tx) = open(backend, &label);
        let _sender = Helper::sender(tx, Duration::ZERO);
        becomes_for_good(&label, "sender blocked");
        drop(rx);
    }
}

#[test]
fn a_receiver_without_a_message_waits() {
    for backend in BACKENDS {
        let label = label("waiting");
        let (rx, tx) = open(backend, &label);
        let _receiver = Helper::receiver(rx, Duration::ZERO);
        becomes_for_good(&label, "receiver waiting");
        drop(tx);
    }
}

/// Whether it can be told that a side of such a pipe is gone: whom one may not see may hold a kernel pipe.
fn can_tell(backend: Backend) -> bool {
    let value = checked(&text_of(&["ls", "--json"]));
    backend == Backend::SharedMemory || value["unreadable_processes"] == 0
}

#[test]
fn a_pipe_without_senders_and_one_without_receivers_say_so() {
    for backend in BACKENDS {
        let (no_sender, no_receiver) = (label("no-sender"), label("no-receiver"));
        let (_rx, tx) = open(backend, &no_sender);
        drop(tx);
        let (rx, _tx) = open(backend, &no_receiver);
        drop(rx);
        if can_tell(backend) {
            becomes_for_good(&no_sender, "end-of-file");
            becomes_for_good(&no_receiver, "broken pipe");
            assert!(text_of(&["ls", &no_sender]).contains(" closed "));
        }
    }
}
