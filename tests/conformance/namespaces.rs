//! Pid namespaces: the two sides of a pipe may live in different ones; one side may not, and says so.
//!
//! Where the kernel refuses a namespace (it takes privileges), a test is skipped by name.

use std::io::ErrorKind;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shmpipe::{Backend, RecvError, SendError, TryRecvError};

use crate::ends::{FILLER, LARGE, assert_at_end, assert_breaks, drain, open, open_duplex};
use crate::support::{
    Child, Line, check, fork, fork_apart, on_both_backends, pattern, skipped, until_asleep,
};

on_both_backends! {
    the_two_sides_of_a_pipe_work_in_different_pid_namespaces,
    the_end_comes_when_the_last_sender_is_killed_in_another_pid_namespace,
    a_death_inside_a_large_message_in_another_pid_namespace_is_reported_once,
    the_death_of_the_last_receiver_in_another_pid_namespace_breaks_the_pipe,
    a_side_in_use_in_one_pid_namespace_refuses_another_and_works_on,
}

/// The first process of a pid namespace of its own.
struct Inside {
    /// Its parent, which waits for it.
    outside: Child,
    /// Its id as it is seen here; itself it has the id 1.
    pid: Pid,
}

/// Runs `work` in a namespace of its own, as `fork_apart` does in a process of its own; none, and a
/// word why, where the kernel refuses.
fn fork_into_a_namespace<T>(parents: T, work: impl FnOnce()) -> Option<(Inside, T)> {
    let told = Line::new();
    let (outside, parents) = fork_apart(parents, || {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWPID) {
            skipped(&format!("no pid namespace of its own: {errno}"));
            return told.put(0);
        }
        fork(|| {
            // The /proc of this mount still shows the ids that processes have outside.
            let outer = std::fs::read_link("/proc/self").unwrap();
            told.put(outer.to_str().unwrap().parse().unwrap());
            work();
        })
        .join();
    });
    let pid = i32::try_from(told.take()).unwrap();
    if pid == 0 {
        return None;
    }
    let pid = Pid::from_raw(pid);
    Some((Inside { outside, pid }, parents))
}

impl Inside {
    fn join(self) {
        self.outside.join();
    }

    fn until_asleep(&self) {
        until_asleep(&[(self.pid, self.pid)]);
    }

    fn kill(self) {
        kill(self.pid, Signal::SIGKILL).unwrap();
        drop(self.outside);
    }
}

fn the_two_sides_of_a_pipe_work_in_different_pid_namespaces(backend: Backend) {
    let (left, mut right) = open_duplex(backend);
    let inside = fork_into_a_namespace(left, move || {
        for number in 0..200 {
            let len = right.recv().unwrap().len();
            right.send(&pattern(2, number, len)).unwrap();
        }
        assert!(matches!(right.recv(), Err(RecvError::Disconnected)));
    });
    let Some((inside, mut left)) = inside else {
        return;
    };
    for number in 0..200 {
        let len = if number % 20 == 0 { LARGE } else { FILLER };
        left.send(&pattern(1, number, len)).unwrap();
        check(&left.recv().unwrap(), 2, number, len);
    }
    drop(left);
    inside.join();
}

fn the_end_comes_when_the_last_sender_is_killed_in_another_pid_namespace(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let inside = fork_into_a_namespace(rx, move || {
        (0..5).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
        Line::new().wait();
    });
    let Some((inside, mut rx)) = inside else {
        return;
    };
    inside.until_asleep();
    inside.kill();
    drain(&mut rx, 1, 0..5, FILLER);
    assert_at_end(&mut rx);
}

fn a_death_inside_a_large_message_in_another_pid_namespace_is_reported_once(backend: Backend) {
    let (rx, tx) = open(backend);
    let mut theirs = tx.try_clone().unwrap();
    let inside = fork_into_a_namespace(rx, move || theirs.send(&pattern(1, 0, LARGE)).unwrap());
    let Some((inside, mut rx)) = inside else {
        return;
    };
    inside.until_asleep();
    kill(inside.pid, Signal::SIGSTOP).unwrap();
    until_stopped(inside.pid);
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    inside.kill();
    // The other sender is idle, and neither process knows the other's ids.
    assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
    drop(tx);
    assert_at_end(&mut rx);
}

/// Waits until a process that is no child of this one has stopped.
fn until_stopped(pid: Pid) {
    let is_stopped = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status
            .lines()
            .any(|line| line.starts_with("State:") && line.contains('T'))
    };
    while !is_stopped() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

fn the_death_of_the_last_receiver_in_another_pid_namespace_breaks_the_pipe(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let inside = fork_into_a_namespace(tx, move || drain(&mut rx, 1, 0..5, FILLER));
    let Some((inside, mut tx)) = inside else {
        return;
    };
    inside.until_asleep();
    (0..3).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
    inside.until_asleep();
    inside.kill();
    assert_breaks(&mut tx);
}

fn a_side_in_use_in_one_pid_namespace_refuses_another_and_works_on(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let go = Line::new();
    let inside = fork_into_a_namespace((), || {
        tx.send(&pattern(1, 0, FILLER)).unwrap();
        go.wait();
        tx.send(&pattern(1, 1, FILLER)).unwrap();
    });
    let Some((inside, ())) = inside else { return };
    drain(&mut rx, 1, 0..1, FILLER);
    // An owner's id would mean another process here, so the side is refused, not shared.
    let outcome = tx.send(b"from outside");
    let Err(SendError::Io(error)) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    go.signal();
    drain(&mut rx, 1, 1..2, FILLER);
    inside.join();
}
