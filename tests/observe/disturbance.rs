//! Looking disturbs nobody: no side lives longer for it, and what dies meanwhile is no trouble.

use shmpipe::observe::Survey;
use shmpipe::{Backend, RecvError, SendError, TryRecvError};

use crate::support::{fork, on_both_backends, open_fds};
use crate::{label, open};

on_both_backends! {
    an_end_of_file_comes_while_others_look,
    a_broken_pipe_comes_while_others_look,
    a_look_leaves_nothing_open,
    pipes_and_processes_that_die_while_others_look_are_no_trouble,
    a_pipe_works_on_while_others_look,
}

/// Surveys without end until it is killed.
fn looker() -> crate::support::Child {
    fork(|| {
        loop {
            Survey::take().unwrap();
        }
    })
}

/// The kernel holds a file for the moment in which somebody reads its link in `/proc/PID/fd`, and closes it after that. A
/// look that held what it finds until it ends would be met by nearly each round.
const ROUNDS: usize = 300;
const MOST_LATE: usize = ROUNDS / 4;

fn an_end_of_file_comes_while_others_look(backend: Backend) {
    // Made before the pipes, so that it holds none by its fork.
    let looker = looker();
    let label = label();
    let late = (0..ROUNDS).filter(|_| {
        let (mut rx, tx) = open(backend, &label);
        drop(tx);
        let is_late = matches!(rx.try_recv(), Err(TryRecvError::Empty));
        assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
        is_late
    });
    let late = late.count();
    assert!(late <= MOST_LATE, "{late} of {ROUNDS} ends came late");
    looker.kill();
}

fn a_broken_pipe_comes_while_others_look(backend: Backend) {
    let looker = looker();
    let label = label();
    let late = (0..ROUNDS).filter(|_| {
        let (rx, mut tx) = open(backend, &label);
        drop(rx);
        let is_late = tx.try_send(b"").is_ok();
        // Until the pipe is full at the latest, where it waits for room or the end.
        let error = loop {
            if let Err(error) = tx.send(&[7; 1000]) {
                break error;
            }
        };
        assert!(matches!(error, SendError::Disconnected));
        is_late
    });
    let late = late.count();
    assert!(late <= MOST_LATE, "{late} of {ROUNDS} ends came late");
    looker.kill();
}

fn a_look_leaves_nothing_open(backend: Backend) {
    let (_rx, _tx) = open(backend, &label());
    let before = open_fds();
    Survey::take().unwrap();
    assert_eq!(open_fds(), before);
}

fn pipes_and_processes_that_die_while_others_look_are_no_trouble(backend: Backend) {
    let label = label();
    let child = fork(|| {
        loop {
            let ends = open(backend, &label);
            fork(|| drop(ends)).join();
        }
    });
    for _ in 0..200 {
        for pipe in Survey::take().unwrap().pipes {
            // Whatever it is, it has a state.
            let _ = pipe.state();
        }
    }
    child.kill();
}

fn a_pipe_works_on_while_others_look(backend: Backend) {
    let looker = looker();
    let (mut rx, mut tx) = open(backend, &label());
    for number in 0..20_000_u64 {
        tx.send(&number.to_ne_bytes()).unwrap();
        assert_eq!(*rx.recv().unwrap(), number.to_ne_bytes());
    }
    looker.kill();
}
