//! What a survey shows: each pipe once, who holds it, and its state.

use std::os::unix::fs::OpenOptionsExt;

use shmpipe::observe::{Presence, State, Survey};
use shmpipe::{Backend, PipeOptions};

use crate::support::{Line, fork, fork_apart, on_both_backends, on_no_backend, open_fds, pipe};
use crate::{all, label, one, open};

on_both_backends! {
    each_pipe_is_shown_once_however_many_processes_hold_it,
    both_directions_of_a_duplex_pipe_are_shown,
    a_pipe_that_is_closed_is_not_shown,
    each_side_names_its_holders_and_no_others,
    one_who_looks_holds_nothing,
    a_receiver_that_waits_is_named,
    a_sender_that_is_blocked_is_named,
    a_pipe_whose_last_sender_is_gone_says_so,
    a_pipe_whose_last_receiver_is_gone_says_so,
    a_pipe_at_work_is_flowing,
    a_pipe_without_a_label_is_shown_without_one,
}
on_no_backend! {
    kernel_pipes_are_shown_where_they_are_asked_for,
    the_fill_of_a_pipe_on_the_kernel_backend_is_exact_where_kernel_pipes_are_asked_for,
}

fn each_pipe_is_shown_once_however_many_processes_hold_it(backend: Backend) {
    let label = label();
    let ends: Vec<_> = (0..3).map(|_| open(backend, &label)).collect();
    let clones = (
        ends[0].0.try_clone().unwrap(),
        ends[1].1.try_clone().unwrap(),
    );
    let go = Line::new();
    let children: Vec<_> = (0..4).map(|_| fork(|| go.wait())).collect();
    assert_eq!(all(&label).len(), 3);
    children.iter().for_each(|_| go.signal());
    children.into_iter().for_each(crate::support::Child::join);
    drop((ends, clones));
}

fn both_directions_of_a_duplex_pipe_are_shown(backend: Backend) {
    let label = label();
    let options = PipeOptions::new().backend(backend).label(&label);
    let (mut left, _right) = options.duplex().unwrap();
    left.send(b"over").unwrap();
    let looks: Vec<_> = all(&label)
        .into_iter()
        .map(|pipe| pipe.look.unwrap())
        .collect();
    let sent: Vec<_> = looks.iter().map(|look| look.sender.messages).collect();
    assert_eq!(sent.iter().sum::<u64>(), 1);
    assert_eq!(sent.len(), 2);
}

fn a_pipe_that_is_closed_is_not_shown(backend: Backend) {
    let label = label();
    let ends = open(backend, &label);
    assert_eq!(all(&label).len(), 1);
    drop(ends);
    assert_eq!(all(&label).len(), 0);
}

fn each_side_names_its_holders_and_no_others(backend: Backend) {
    let label = label();
    let (rx, tx) = open(backend, &label);
    let go = Line::new();
    // What is left here is the receiver alone.
    let is_apart = Line::new();
    let (sender, rx) = fork_apart(rx, || {
        is_apart.signal();
        go.wait();
        drop(tx);
    });
    is_apart.wait();
    let pipe = one(&label);
    let ids = |holders: &shmpipe::observe::Holders| -> Vec<u32> {
        holders
            .processes
            .iter()
            .map(|process| process.pid)
            .collect()
    };
    let (us, child) = (std::process::id(), sender.pid().as_raw().unsigned_abs());
    assert_eq!(ids(&pipe.receivers), [us]);
    assert_eq!(ids(&pipe.senders), [child]);
    assert!(pipe.others.is_empty());
    assert!(pipe.is_held_by(us) && pipe.is_held_by(child) && !pipe.is_held_by(1));
    assert!(!pipe.receivers.processes[0].name.is_empty());
    go.signal();
    sender.join();
    drop(rx);
}

/// As a survey opens the memory, at the time of another one.
fn one_who_looks_holds_nothing(backend: Backend) {
    let label = label();
    let ends = open(backend, &label);
    let fds = open_fds();
    let is_memory = |to: &str| to.starts_with("/memfd:") && to.contains(&label);
    let (number, _) = fds.iter().find(|(_, to)| is_memory(to)).unwrap();
    let path = format!("/proc/self/fd/{number}");
    let read_only = std::fs::File::open(&path).unwrap();
    let named = std::fs::File::options()
        .read(true)
        .custom_flags(nix::libc::O_PATH)
        .open(&path)
        .unwrap();
    let (is_apart, go) = (Line::new(), Line::new());
    let (looker, ends) = fork_apart(ends, || {
        is_apart.signal();
        go.wait();
    });
    is_apart.wait();
    let pipe = one(&label);
    assert!(pipe.others.is_empty(), "{:?}", pipe.others);
    go.signal();
    looker.join();
    drop(ends);
    assert_eq!(all(&label).len(), 0);
    drop((read_only, named));
}

fn a_receiver_that_waits_is_named(backend: Backend) {
    let label = label();
    let (mut rx, tx) = open(backend, &label);
    let (child, mut tx) = fork_apart(tx, || assert!(rx.recv().is_ok()));
    child.until_asleep();
    let pipe = one(&label);
    assert_eq!(pipe.state(), State::ReceiverWaiting);
    let look = pipe.look.unwrap();
    assert!(look.receiver.asleep.is_some() && look.sender.asleep.is_none());
    assert!(look.receiver.blocked >= look.receiver.asleep.unwrap());
    tx.send(b"awake").unwrap();
    child.join();
    let look = one(&label).look.unwrap();
    assert_eq!(look.receiver.asleep, None);
    assert!(look.receiver.sleeps >= 1);
}

fn a_sender_that_is_blocked_is_named(backend: Backend) {
    let label = label();
    let (rx, mut tx) = open(backend, &label);
    let (child, mut rx) = fork_apart(rx, move || while tx.send(&[7; 1000]).is_ok() {});
    child.until_asleep();
    let pipe = one(&label);
    assert_eq!(pipe.state(), State::SenderBlocked);
    let look = pipe.look.unwrap();
    assert!(look.sender.asleep.is_some());
    assert!(look.fill > look.capacity.unwrap() / 2, "{look:?}");
    rx.recv().unwrap();
    drop(rx);
    child.join();
}

fn a_pipe_whose_last_sender_is_gone_says_so(backend: Backend) {
    let label = label();
    let (rx, mut tx) = open(backend, &label);
    tx.send(b"left behind").unwrap();
    drop(tx);
    let pipe = one(&label);
    assert_eq!(pipe.receivers.presence, Presence::Held);
    if pipe.senders.presence == Presence::Unknown {
        // Others' processes may hold a kernel pipe where not all of them are readable.
        assert_eq!(backend, Backend::Kernel);
        assert_ne!(Survey::take().unwrap().unreadable_processes, 0);
        return;
    }
    assert_eq!(pipe.state(), State::EndOfFile);
    assert!(pipe.look.unwrap().fill > 0);
    drop(rx);
}

fn a_pipe_whose_last_receiver_is_gone_says_so(backend: Backend) {
    let label = label();
    let (rx, tx) = open(backend, &label);
    drop(rx);
    let pipe = one(&label);
    assert_eq!(pipe.senders.presence, Presence::Held);
    assert!(matches!(
        pipe.receivers.presence,
        Presence::Closed | Presence::Unknown
    ));
    if pipe.receivers.presence == Presence::Closed {
        assert_eq!(pipe.state(), State::BrokenPipe);
    }
    drop(tx);
}

fn a_pipe_at_work_is_flowing(backend: Backend) {
    let label = label();
    let (mut rx, mut tx) = open(backend, &label);
    let child = fork(|| {
        while tx.send(b"on and on").is_ok() {
            assert!(rx.recv().is_ok());
        }
    });
    // The survey itself says when; the watchdog ends a wait for nothing.
    while !all(&label)
        .iter()
        .any(|pipe| pipe.state() == State::Flowing)
    {}
    child.kill();
}

fn a_pipe_without_a_label_is_shown_without_one(backend: Backend) {
    let (_rx, _tx) = PipeOptions::new().backend(backend).pipe().unwrap();
    let us = std::process::id();
    let survey = Survey::take().unwrap();
    let ours: Vec<_> = survey
        .pipes
        .iter()
        .filter(|pipe| pipe.is_held_by(us))
        .collect();
    assert_eq!(ours.len(), 1);
    assert_eq!(ours[0].label, None);
    assert_eq!(ours[0].look.as_ref().unwrap().backend, backend);
}

fn kernel_pipes_are_shown_where_they_are_asked_for() {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    let _ends = open(Backend::SharedMemory, &label());
    let (_reader, mut writer) = pipe().unwrap();
    writer.write_all(&[0; 100]).unwrap();
    assert!(Survey::take().unwrap().kernel_pipes.is_empty());
    let before = open_fds();
    let survey = Survey::take_with_kernel_pipes().unwrap();
    assert_eq!(open_fds(), before, "nothing stays open");
    let found = survey.kernel_pipes.iter().find(|pipe| {
        let us = std::process::id();
        pipe.fill == 100
            && pipe
                .writers
                .processes
                .iter()
                .any(|process| process.pid == us)
    });
    // Sixteen pages, or less for a user with many pipes (pipe(7)).
    // SAFETY: the call takes integers.
    let capacity = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ) };
    assert_eq!(
        found.expect("our own pipe").capacity,
        u64::from(capacity.unsigned_abs())
    );
}

fn the_fill_of_a_pipe_on_the_kernel_backend_is_exact_where_kernel_pipes_are_asked_for() {
    let label = label();
    let (_rx, mut tx) = open(Backend::Kernel, &label);
    tx.send(&[1; 100]).unwrap();
    assert_eq!(one(&label).look.unwrap().fill, 100);
    let survey = Survey::take_with_kernel_pipes().unwrap();
    let pipe = survey
        .pipes
        .iter()
        .find(|pipe| pipe.label.as_deref() == Some(&*label));
    let pipe = pipe.expect("our own pipe");
    assert_eq!(
        pipe.look.as_ref().unwrap().fill,
        100 + 2 * 8,
        "header and trailer too"
    );
    // It is not listed by itself beside what it carries.
    assert!(survey.kernel_pipes.iter().all(|pipe| pipe.fill != 116));
}
