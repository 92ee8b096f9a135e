//! End-of-file: it comes when the last sender anywhere is gone, however it went, and after every
//! message that had been sent.

use std::ffi::CStr;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitStatus;
use shmpipe::{Backend, Receiver, RecvError, Sender};

use crate::ends::{FILLER, assert_at_end, assert_empty_but_alive, drain, open};
use crate::support::{
    Child, Line, check, fork, fork_apart, not_under_a_sanitizer, on_both_backends, pattern,
    until_asleep,
};

on_both_backends! {
    every_sent_message_and_then_the_end_comes_after_the_last_sender_drops,
    every_sent_message_and_then_the_end_comes_after_the_last_sender_exits,
    every_sent_message_and_then_the_end_comes_after_the_last_sender_exits_at_once,
    every_sent_message_and_then_the_end_comes_after_the_last_sender_is_killed,
    every_sent_message_and_then_the_end_comes_after_the_last_sender_executes_a_program,
    blocked_recv_reports_the_end_when_the_last_sender_drops,
    blocked_recv_reports_the_end_when_the_last_sender_exits,
    blocked_recv_reports_the_end_when_the_last_sender_exits_at_once,
    blocked_recv_reports_the_end_when_the_last_sender_is_killed,
    blocked_recv_reports_the_end_when_the_last_sender_executes_a_program,
    blocked_recv_in_a_thread_reports_the_end_when_another_thread_drops_the_last_sender,
    a_pipe_that_was_never_used_reports_the_end_when_its_sender_drops,
    a_forked_copy_of_the_sender_keeps_the_pipe_alive_and_its_sends_arrive,
    a_sender_in_the_receivers_own_process_keeps_the_pipe_alive,
    a_forked_copy_that_does_nothing_keeps_the_pipe_alive,
    the_end_comes_only_when_the_last_of_many_senders_is_gone,
    a_hundred_blocked_receivers_all_report_the_end_when_the_last_sender_is_killed within 120,
    a_hundred_blocked_receivers_all_report_the_end_when_the_last_sender_drops within 120,
}

/// How a sending process gives up its end. It does not return unless it is a drop.
type Leaving = fn(Sender);

fn drops(tx: Sender) {
    drop(tx);
}

fn exits(tx: Sender) {
    // Leaked, so that it is the process's end that closes it.
    std::mem::forget(tx);
    std::process::exit(0);
}

fn exits_at_once(tx: Sender) {
    std::mem::forget(tx);
    // SAFETY: `_exit` ends the process; it runs no destructor and no handler.
    unsafe { libc::_exit(0) }
}

fn is_killed(tx: Sender) {
    kill(nix::unistd::getpid(), Signal::SIGKILL).unwrap();
    unreachable!("killed with {tx:?}");
}

fn executes_a_program(tx: Sender) {
    let arguments: [&CStr; 2] = [c"sleep", c"1000"];
    let error = nix::unistd::execv(c"/bin/sleep", &arguments).unwrap_err();
    panic!("executing sleep: {error}, {tx:?}");
}

/// A child sends, leaves and is gone, and only then is anything received.
fn messages_then_the_end(backend: Backend, leaves: Leaving) {
    let (rx, child) = sending_child(backend, leaves);
    let status = child.wait_status();
    let as_wanted = matches!(
        status,
        WaitStatus::Exited(_, 0) | WaitStatus::Signaled(_, Signal::SIGKILL, _)
    );
    assert!(as_wanted, "{status:?}");
    assert_messages_and_the_end(rx);
}

const MESSAGES: u64 = 20;

/// A child that sends all the messages and then leaves, and the receiver of its pipe.
fn sending_child(backend: Backend, leaves: Leaving) -> (Receiver, Child) {
    let (rx, mut tx) = open(backend);
    let child = fork(move || {
        (0..MESSAGES).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
        leaves(tx);
    });
    (rx, child)
}

fn assert_messages_and_the_end(mut rx: Receiver) {
    drain(&mut rx, 1, 0..MESSAGES, FILLER);
    assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
    assert_at_end(&mut rx);
}

fn every_sent_message_and_then_the_end_comes_after_the_last_sender_drops(backend: Backend) {
    messages_then_the_end(backend, drops);
}

fn every_sent_message_and_then_the_end_comes_after_the_last_sender_exits(backend: Backend) {
    let reason = "a forked child that exits leaks what the threads it has not got held";
    if not_under_a_sanitizer(reason) {
        messages_then_the_end(backend, exits);
    }
}

fn every_sent_message_and_then_the_end_comes_after_the_last_sender_exits_at_once(backend: Backend) {
    messages_then_the_end(backend, exits_at_once);
}

fn every_sent_message_and_then_the_end_comes_after_the_last_sender_is_killed(backend: Backend) {
    messages_then_the_end(backend, is_killed);
}

fn every_sent_message_and_then_the_end_comes_after_the_last_sender_executes_a_program(
    backend: Backend,
) {
    let (rx, program) = sending_child(backend, executes_a_program);
    assert_messages_and_the_end(rx);
    program.kill(); // it still ran: the end came from the exec
}

/// A receiver sleeps in recv while the only sender leaves.
fn the_end_wakes_a_sleeper(backend: Backend, leaves: Leaving) {
    let (mut rx, tx) = open(backend);
    let go = Line::new();
    let (receiver, tx) = fork_apart(tx, move || {
        assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
        assert_at_end(&mut rx);
    });
    let sender = fork(|| {
        go.wait();
        leaves(tx);
    });
    receiver.until_asleep();
    go.signal();
    receiver.join();
    drop(sender);
}

fn blocked_recv_reports_the_end_when_the_last_sender_drops(backend: Backend) {
    the_end_wakes_a_sleeper(backend, drops);
}

fn blocked_recv_reports_the_end_when_the_last_sender_exits(backend: Backend) {
    the_end_wakes_a_sleeper(backend, exits);
}

fn blocked_recv_reports_the_end_when_the_last_sender_exits_at_once(backend: Backend) {
    the_end_wakes_a_sleeper(backend, exits_at_once);
}

fn blocked_recv_reports_the_end_when_the_last_sender_is_killed(backend: Backend) {
    the_end_wakes_a_sleeper(backend, is_killed);
}

fn blocked_recv_reports_the_end_when_the_last_sender_executes_a_program(backend: Backend) {
    the_end_wakes_a_sleeper(backend, executes_a_program);
}

fn blocked_recv_in_a_thread_reports_the_end_when_another_thread_drops_the_last_sender(
    backend: Backend,
) {
    let (mut rx, tx) = open(backend);
    let receiver = crate::support::thread(move || assert_at_end(&mut rx));
    receiver.until_asleep();
    drop(tx);
    receiver.join();
}

fn a_pipe_that_was_never_used_reports_the_end_when_its_sender_drops(backend: Backend) {
    let (mut rx, tx) = open(backend);
    drop(tx);
    assert_at_end(&mut rx);
}

fn a_forked_copy_of_the_sender_keeps_the_pipe_alive_and_its_sends_arrive(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let go = Line::new();
    let child = fork(|| {
        go.wait();
        tx.send(b"from the copy").unwrap();
    });
    tx.send(b"from the original").unwrap();
    drop(tx);
    assert_eq!(&*rx.recv().unwrap(), b"from the original");
    assert_empty_but_alive(&mut rx);
    go.signal();
    assert_eq!(&*rx.recv().unwrap(), b"from the copy");
    assert_at_end(&mut rx);
    child.join();
}

fn a_sender_in_the_receivers_own_process_keeps_the_pipe_alive(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let child = fork(|| drop(tx.try_clone().unwrap()));
    child.join();
    assert_empty_but_alive(&mut rx);
    drop(tx);
    assert_at_end(&mut rx);
}

fn a_forked_copy_that_does_nothing_keeps_the_pipe_alive(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let never = Line::new();
    let child = fork(|| never.wait());
    drop(tx);
    assert_empty_but_alive(&mut rx);
    child.kill();
    assert_at_end(&mut rx);
}

fn the_end_comes_only_when_the_last_of_many_senders_is_gone(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let children: Vec<_> = (0..5)
        .map(|sender| {
            let mut tx = tx.try_clone().unwrap();
            fork(move || {
                tx.send(&pattern(sender, 0, FILLER)).unwrap();
                Line::new().wait();
            })
        })
        .collect();
    drop(tx);
    let mut seen = [0; 5];
    for _ in 0..5 {
        let message = rx.recv().unwrap();
        let (sender, number) = crate::support::identify(&message);
        check(&message, sender, number, FILLER);
        seen[usize::from(sender)] += 1;
    }
    assert_eq!(seen, [1; 5]);
    for child in children {
        assert_empty_but_alive(&mut rx);
        child.kill();
    }
    assert_at_end(&mut rx);
}

/// A hundred processes sleep in recv on one end while the only sender leaves.
fn the_end_wakes_a_hundred_sleepers(backend: Backend, leaves: Leaving) {
    let (mut rx, mut tx) = open(backend);
    let mut receivers = Vec::new();
    for _ in 0..100 {
        let (receiver, back) = fork_apart(tx, || {
            assert!(matches!(rx.recv(), Err(RecvError::Disconnected)))
        });
        receivers.push(receiver);
        tx = back;
    }
    let go = Line::new();
    let sender = fork(|| {
        go.wait();
        leaves(tx);
    });
    let threads: Vec<_> = receivers
        .iter()
        .map(|child| (child.pid(), child.pid()))
        .collect();
    until_asleep(&threads);
    go.signal();
    receivers.into_iter().for_each(Child::join);
    drop(sender);
}

fn a_hundred_blocked_receivers_all_report_the_end_when_the_last_sender_is_killed(backend: Backend) {
    the_end_wakes_a_hundred_sleepers(backend, is_killed);
}

fn a_hundred_blocked_receivers_all_report_the_end_when_the_last_sender_drops(backend: Backend) {
    the_end_wakes_a_hundred_sleepers(backend, drops);
}
