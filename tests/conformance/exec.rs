//! Exec: a program that is started inherits no end, so it keeps no pipe alive.

use std::process::Command;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::getpid;
use shmpipe::{Backend, RecvError, Sender};

use crate::ends::{LARGE, assert_at_end, assert_broken, assert_empty_but_alive, open, open_duplex};
use crate::support::{Line, fork, on_both_backends, pattern, thread};

on_both_backends! {
    a_program_started_by_a_holder_of_the_sender_does_not_keep_it_alive,
    a_program_started_by_a_holder_of_the_receiver_does_not_keep_it_alive,
    a_program_started_by_a_holder_of_a_duplex_end_keeps_neither_direction_alive,
    a_process_that_executes_a_program_gives_up_its_receiver,
    a_process_that_executes_a_program_inside_a_large_send_is_reported_once,
    a_receiver_asleep_inside_a_large_message_learns_that_its_sender_executed_a_program,
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

extern "C" fn stuck(_signal: libc::c_int) {
    loop {
        // SAFETY: pause(2) waits for a signal and touches nothing.
        unsafe { libc::pause() };
    }
}

/// Becomes the program `sleep`, when `go` says so, while another thread of the process is inside a
/// large send and gets no further.
fn execute_inside_a_large_send(mut tx: Sender, is_inside: &Line, go: &Line) {
    let action = SigAction::new(
        SigHandler::Handler(stuck),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler never returns, so it leaves nothing behind that it might have interrupted.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    let sender = thread(move || tx.send(&pattern(1, 0, LARGE)));
    sender.until_asleep();
    let (process, thread) = (getpid().as_raw(), sender.tid().as_raw());
    // SAFETY: tgkill(2) takes integers; the thread is one of this process.
    let outcome = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR1) };
    assert_eq!(outcome, 0);
    sender.until_asleep();
    is_inside.signal();
    go.wait();
    let error = nix::unistd::execv(c"/bin/sleep", &[c"sleep", c"1000"]).unwrap_err();
    panic!("executing sleep: {error}");
}

fn a_process_that_executes_a_program_inside_a_large_send_is_reported_once(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let (is_inside, go) = (Line::new(), Line::new());
    let theirs = tx.try_clone().unwrap();
    let program = fork(|| execute_inside_a_large_send(theirs, &is_inside, &go));
    is_inside.wait();
    go.signal();
    let other = fork(move || tx.send(b"the next message").unwrap());
    assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
    assert_eq!(&*rx.recv().unwrap(), b"the next message");
    assert_at_end(&mut rx);
    other.join();
    program.kill();
}

fn a_receiver_asleep_inside_a_large_message_learns_that_its_sender_executed_a_program(
    backend: Backend,
) {
    let (mut rx, mut tx) = open(backend);
    let (is_inside, go, learned) = (Line::new(), Line::new(), Line::new());
    let theirs = tx.try_clone().unwrap();
    let program = fork(|| execute_inside_a_large_send(theirs, &is_inside, &go));
    is_inside.wait();
    let receiver = fork(|| {
        assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
        learned.signal();
        assert_eq!(&*rx.recv().unwrap(), b"the next message");
    });
    receiver.until_asleep();
    go.signal();
    learned.wait(); // the other sender is idle until then
    tx.send(b"the next message").unwrap();
    receiver.join();
    program.kill();
}
