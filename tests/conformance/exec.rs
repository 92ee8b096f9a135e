//! Exec: a program that is started inherits no end, so it keeps no pipe alive.

use std::process::Command;

use shmpipe::Backend;

use crate::ends::{assert_at_end, assert_broken, assert_empty_but_alive, open, open_duplex};
use crate::support::{fork, on_both_backends};

on_both_backends! {
    a_program_started_by_a_holder_of_the_sender_does_not_keep_it_alive,
    a_program_started_by_a_holder_of_the_receiver_does_not_keep_it_alive,
    a_program_started_by_a_holder_of_a_duplex_end_keeps_neither_direction_alive,
    a_process_that_executes_a_program_gives_up_its_receiver,
}

/// A program that runs until it is killed.
fn sleeper() -> std::process::Child {
    Command::new("sleep").arg("1000").spawn().unwrap()
}

fn end(mut program: std::process::Child) {
    assert!(
        program.try_wait().unwrap().is_none(),
        "the program ran all the while"
    );
    program.kill().unwrap();
    program.wait().unwrap();
}

fn a_program_started_by_a_holder_of_the_sender_does_not_keep_it_alive(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let program = sleeper();
    assert_empty_but_alive(&mut rx);
    drop(tx);
    assert_at_end(&mut rx);
    end(program);
}

fn a_program_started_by_a_holder_of_the_receiver_does_not_keep_it_alive(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let program = sleeper();
    tx.send(b"there is a receiver").unwrap();
    drop(rx);
    assert_broken(&mut tx);
    end(program);
}

fn a_program_started_by_a_holder_of_a_duplex_end_keeps_neither_direction_alive(backend: Backend) {
    let (left, right) = open_duplex(backend);
    let program = sleeper();
    drop(left);
    let (mut rx, mut tx) = right.split();
    assert_at_end(&mut rx);
    assert_broken(&mut tx);
    end(program);
}

fn a_process_that_executes_a_program_gives_up_its_receiver(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let program = fork(move || {
        let error = nix::unistd::execv(c"/bin/sleep", &[c"sleep", c"1000"]).unwrap_err();
        panic!("executing sleep: {error}, {rx:?}");
    });
    crate::ends::assert_breaks(&mut tx);
    program.kill();
}
