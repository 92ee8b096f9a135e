//! Ends handed to executed programs: by a variable that names them, and to no other program.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::process::Command;

use shmpipe::{Backend, Connection, PipeOptions, Receiver, Sender};

use crate::ends::{LARGE, assert_at_end, assert_breaks, assert_empty_but_alive, open, open_duplex};
use crate::support::{
    self, Tasks, check, ends_well, on_both_backends, open_fds, pattern, run_task, thread,
};

on_both_backends! {
    a_sender_handed_to_a_program_sends_there_and_the_end_comes_when_the_program_has_exited,
    a_receiver_handed_to_a_program_receives_there_and_the_pipe_breaks_when_it_has_exited,
    a_connection_handed_to_a_program_goes_both_ways,
    the_end_comes_when_a_program_that_was_handed_the_sender_is_killed,
    the_end_does_not_come_before_the_command_is_dropped,
    a_command_that_is_never_spawned_gives_the_end_up_when_it_is_dropped,
    several_ends_go_with_one_command,
    exactly_the_descriptors_of_the_end_are_open_in_the_program,
    a_program_that_another_thread_starts_meanwhile_inherits_nothing,
    a_command_that_is_spawned_twice_gives_each_program_a_copy,
    a_program_whose_own_programs_outlive_it_hands_nothing_on,
    the_limit_of_a_message_goes_to_the_program,
}

pub(crate) const TASKS: Tasks = &[
    ("send", send),
    ("receive", receive),
    ("answer", answer),
    ("two ends", two_ends),
    ("nothing but the end", nothing_but_the_end),
    ("one message", one_message),
    ("a program of its own", a_program_of_its_own),
    ("within the limit", within_the_limit),
    ("prefault", super::pages::prefault),
    #[cfg(feature = "serde")]
    ("serde", super::serde_handed::lengths),
    ("typed", super::typed_handed::squares),
    ("twice", super::inherit_refused::twice),
    ("wrong kind first", super::inherit_refused::wrong_kind_first),
    ("stale variable", super::inherit_refused::stale_variable),
];

#[test]
fn a_binary_that_was_executed_for_a_task_does_it() {
    run_task(TASKS);
}

/// This binary, to be executed for `task`.
pub(crate) fn program(task: &str) -> Command {
    support::program(
        "inherit::a_binary_that_was_executed_for_a_task_does_it",
        task,
    )
}

fn a_sender_handed_to_a_program_sends_there_and_the_end_comes_when_the_program_has_exited(
    backend: Backend,
) {
    let (mut rx, tx) = open(backend);
    let mut command = program("send");
    tx.inherit(&mut command, "END").unwrap();
    let child = command.spawn().unwrap();
    drop(command);
    for number in 0..100 {
        check(&rx.recv().unwrap(), 1, number, 1000);
    }
    check(&rx.recv().unwrap(), 1, 100, LARGE);
    assert_at_end(&mut rx);
    ends_well(child);
}

fn send() {
    let mut tx = Sender::from_env("END").unwrap();
    for number in 0..100 {
        tx.send(&pattern(1, number, 1000)).unwrap();
    }
    tx.send(&pattern(1, 100, LARGE)).unwrap();
}

fn a_receiver_handed_to_a_program_receives_there_and_the_pipe_breaks_when_it_has_exited(
    backend: Backend,
) {
    let (rx, mut tx) = open(backend);
    tx.send(&pattern(1, 0, 1000)).unwrap(); // before there is a program
    let mut command = program("receive");
    rx.inherit(&mut command, "END").unwrap();
    let child = command.spawn().unwrap();
    drop(command);
    tx.send(&pattern(1, 1, LARGE)).unwrap();
    ends_well(child);
    assert_breaks(&mut tx);
}

fn receive() {
    let mut rx = Receiver::from_env("END").unwrap();
    check(&rx.recv().unwrap(), 1, 0, 1000);
    check(&rx.recv().unwrap(), 1, 1, LARGE);
}

fn a_connection_handed_to_a_program_goes_both_ways(backend: Backend) {
    let (mut near, far) = open_duplex(backend);
    let mut command = program("answer");
    far.inherit(&mut command, "END").unwrap();
    let child = command.spawn().unwrap();
    drop(command);
    for number in 0..10 {
        near.send(&pattern(1, number, 1000)).unwrap();
        check(&near.recv().unwrap(), 1, number, 1000);
    }
    let (mut rx, tx) = near.split();
    drop(tx);
    assert_at_end(&mut rx);
    ends_well(child);
}

fn answer() {
    let mut end = Connection::from_env("END").unwrap();
    while let Ok(request) = end.recv() {
        let request = request.into_vec();
        end.send(&request).unwrap();
    }
}

fn the_end_comes_when_a_program_that_was_handed_the_sender_is_killed(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let mut command = Command::new("sleep");
    tx.inherit(command.arg("1000"), "END").unwrap();
    let mut child = command.spawn().unwrap();
    drop(command);
    assert_empty_but_alive(&mut rx);
    let receiver = thread(move || assert_at_end(&mut rx));
    receiver.until_asleep();
    child.kill().unwrap();
    receiver.join();
    child.wait().unwrap();
}

fn the_end_does_not_come_before_the_command_is_dropped(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let mut command = Command::new("true");
    tx.inherit(&mut command, "END").unwrap();
    ends_well(command.spawn().unwrap());
    assert_empty_but_alive(&mut rx);
    drop(command);
    assert_at_end(&mut rx);
}

fn a_command_that_is_never_spawned_gives_the_end_up_when_it_is_dropped(backend: Backend) {
    let before = open_fds();
    let (mut rx, tx) = open(backend);
    let mut command = Command::new("true");
    tx.inherit(&mut command, "END").unwrap();
    assert_empty_but_alive(&mut rx);
    drop(command);
    assert_at_end(&mut rx);
    drop(rx);
    assert_eq!(open_fds(), before);
}

fn several_ends_go_with_one_command(backend: Backend) {
    let (requests, mut tx) = open(backend);
    let (mut rx, answers) = open(backend);
    let mut command = program("two ends");
    requests.inherit(&mut command, "REQUESTS").unwrap();
    answers.inherit(&mut command, "ANSWERS").unwrap();
    let child = command.spawn().unwrap();
    drop(command);
    for number in 0..10 {
        tx.send(&pattern(1, number, 100)).unwrap();
        check(&rx.recv().unwrap(), 1, number, 100);
    }
    drop(tx);
    assert_at_end(&mut rx);
    ends_well(child);
}

fn two_ends() {
    let mut tx = Sender::from_env("ANSWERS").unwrap();
    let mut rx = Receiver::from_env("REQUESTS").unwrap();
    for request in rx.messages() {
        tx.send(&request.unwrap()).unwrap();
    }
}

fn exactly_the_descriptors_of_the_end_are_open_in_the_program(backend: Backend) {
    let (near, far) = open_duplex(backend);
    let others = (open(backend), near.try_clone().unwrap());
    let mut command = program("nothing but the end");
    far.inherit(&mut command, "END").unwrap();
    ends_well(command.spawn().unwrap());
    drop(others);
}

fn ours(fds: &BTreeMap<RawFd, String>) -> Vec<&String> {
    let is_ours = |what: &&String| {
        ["memfd:shmpipe", "socket:", "pipe:"]
            .iter()
            .any(|kind| what.contains(kind))
    };
    fds.iter()
        .filter(|(fd, _)| **fd > 2)
        .map(|(_, what)| what)
        .filter(is_ours)
        .collect()
}

fn nothing_but_the_end() {
    let fds = open_fds();
    assert_eq!(ours(&fds).len(), 4, "{fds:?}");
    let end = Connection::from_env("END").unwrap();
    let fds = open_fds();
    assert_eq!(ours(&fds).len(), 4, "{fds:?}");
    drop(end);
    let fds = open_fds();
    assert_eq!(ours(&fds).len(), 0, "{fds:?}");
}

/// A program that is started while there are ends to be handed to others keeps none of them open.
fn a_program_that_another_thread_starts_meanwhile_inherits_nothing(backend: Backend) {
    let mut strangers = Vec::new();
    let mut ends = Vec::new();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut strangers = Vec::new();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                strangers.push(Command::new("sleep").arg("1000").spawn().unwrap());
            }
            strangers
        });
        for _ in 0..30 {
            let (rx, tx) = open(backend);
            let mut command = Command::new("true");
            tx.inherit(&mut command, "END").unwrap();
            ends_well(command.spawn().unwrap());
            ends.push(rx);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        strangers = other.join().unwrap();
    });
    assert!(!strangers.is_empty());
    ends.iter_mut().for_each(assert_at_end);
    for mut stranger in strangers {
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}

fn a_command_that_is_spawned_twice_gives_each_program_a_copy(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let mut command = program("one message");
    tx.inherit(&mut command, "END").unwrap();
    let children = [command.spawn().unwrap(), command.spawn().unwrap()];
    drop(command);
    assert_eq!(&*rx.recv().unwrap(), b"one");
    assert_eq!(&*rx.recv().unwrap(), b"one");
    assert_at_end(&mut rx);
    children.into_iter().for_each(ends_well);
}

fn one_message() {
    Sender::from_env("END").unwrap().send(b"one").unwrap();
}

fn a_program_whose_own_programs_outlive_it_hands_nothing_on(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let mut command = program("a program of its own");
    tx.inherit(&mut command, "END").unwrap();
    ends_well(command.spawn().unwrap());
    drop(command);
    let id = rx.recv().unwrap().into_vec();
    assert_at_end(&mut rx);
    let id = String::from_utf8(id).unwrap().parse().unwrap();
    let id = nix::unistd::Pid::from_raw(id);
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGKILL).expect("it runs all the while");
}

fn a_program_of_its_own() {
    let mut tx = Sender::from_env("END").unwrap();
    #[expect(clippy::zombie_processes, reason = "it outlives this program")]
    let own = Command::new("sleep").arg("1000").spawn().unwrap();
    tx.send(own.id().to_string().as_bytes()).unwrap();
}

fn the_limit_of_a_message_goes_to_the_program(backend: Backend) {
    let options = PipeOptions::new().backend(backend).max_message(10);
    let (mut rx, tx) = options.pipe().unwrap();
    let mut command = program("within the limit");
    tx.inherit(&mut command, "END").unwrap();
    ends_well(command.spawn().unwrap());
    assert_eq!(rx.recv().unwrap().len(), 10);
}

fn within_the_limit() {
    let mut tx = Sender::from_env("END").unwrap();
    tx.send(&[7; 11]).unwrap_err();
    tx.send(&[7; 10]).unwrap();
}
