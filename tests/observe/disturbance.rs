//! Looking disturbs nobody: no side lives longer for it, and what dies meanwhile is no trouble.

use std::fs;
use std::sync::atomic::Ordering;

use shmpipe::observe::Survey;
use shmpipe::{Backend, RecvError, SendError};

use crate::support::{fork, on_both_backends, open_fds, shared_counter};
use crate::{label, open};

on_both_backends! {
    an_end_of_file_comes_while_others_look,
    a_broken_pipe_comes_while_others_look,
    a_look_has_no_side_at_any_time,
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

// The kernel holds a file for the moment in which somebody reads its link in `/proc/PID/fd`, and closes it after that. So
// the end need not have come when a drop returns, but to one who waits it comes.

fn an_end_of_file_comes_while_others_look(backend: Backend) {
    // Made before the pipes, so that it holds none by its fork.
    let looker = looker();
    let label = label();
    for _ in 0..300 {
        let (mut rx, tx) = open(backend, &label);
        drop(tx);
        assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
    }
    looker.kill();
}

fn a_broken_pipe_comes_while_others_look(backend: Backend) {
    let looker = looker();
    let label = label();
    for _ in 0..300 {
        let (rx, mut tx) = open(backend, &label);
        drop(rx);
        // Until the pipe is full at the latest, where it waits for room or the end.
        let error = loop {
            if let Err(error) = tx.send(&[7; 1000]) {
                break error;
            }
        };
        assert!(matches!(error, SendError::Disconnected));
    }
    looker.kill();
}

fn a_look_has_no_side_at_any_time(backend: Backend) {
    let surveys = shared_counter();
    let looker = fork(|| {
        loop {
            Survey::take().unwrap();
            surveys.fetch_add(1, Ordering::Relaxed);
        }
    });
    let before = open_fds();
    let _ends = open(backend, &label());
    let is_side = |link: &String| link.starts_with("socket:") || link.starts_with("pipe:");
    let mut sides = open_fds();
    sides.retain(|number, link| !before.contains_key(number) && is_side(link));
    assert!(sides.len() >= 2, "{sides:?}");
    // It is stopped wherever it has come to while so many other pipes were made.
    for others in (0..8).cycle() {
        (0..others).for_each(|_| drop(open(backend, &label())));
        looker.stop();
        for entry in fs::read_dir(format!("/proc/{}/fd", looker.pid())).unwrap() {
            let link = fs::read_link(entry.unwrap().path()).unwrap();
            let link = link.to_string_lossy();
            assert!(!sides.values().any(|side| **side == link), "{link}");
        }
        looker.cont();
        if surveys.load(Ordering::Relaxed) >= 30 {
            break;
        }
    }
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
