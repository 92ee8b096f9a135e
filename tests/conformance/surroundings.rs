//! Poor surroundings: a process that may open nothing, or that has no standard streams.
//!
//! Calls that a filter refuses are in `seccomp.rs` and `sandboxed.rs`; steps that run out of something in `refused.rs`;
//! what the errors say in `causes.rs`.

use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use shmpipe::{
    Backend, PipeOptions, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender,
    Waitable, wait,
};

use crate::ancillary::open_carrying;
use crate::ends::{FILLER, LARGE, SHORT, assert_at_end, drain, fill, open};
use crate::support::{
    Child, check, doing, fork, fork_apart, on_both_backends, on_no_backend, open_fds, pattern,
    with_fd_limit,
};

on_both_backends! {
    a_process_that_may_open_nothing_receives_what_it_has_to_wait_for,
    a_process_that_may_open_nothing_waits_for_room,
    a_process_that_may_open_nothing_gets_the_end_it_sleeps_for,
    a_process_that_may_open_nothing_keeps_its_time_outs,
    a_process_that_may_open_nothing_waits_for_many_ends,
    more_ends_than_the_limit_on_descriptors_are_waited_for,
    a_queued_message_is_received_before_the_end_by_one_who_may_open_nothing,
    no_descriptor_is_that_of_a_standard_stream,
    received_descriptors_are_no_standard_streams,
}

on_no_backend! {
    descriptors_that_were_standard_streams_are_moved_by_from_fds,
}

/// Runs `work` in a child that can open nothing at all; `parents` is the parent's alone.
fn where_nothing_opens<T>(parents: T, work: impl FnOnce()) -> (Child, T) {
    fork_apart(parents, || {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
        work();
    })
}

fn a_process_that_may_open_nothing_receives_what_it_has_to_wait_for(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let (receiver, mut tx) = where_nothing_opens(tx, || {
        doing("a message");
        assert_eq!(&*rx.recv().unwrap(), b"first");
        doing("a long message");
        check(&rx.recv().unwrap(), 1, 1, LARGE);
        assert!(rx.poll(None).unwrap());
        assert_eq!(&*rx.recv().unwrap(), b"last");
    });
    receiver.until_asleep();
    tx.send(b"first").unwrap();
    receiver.until_asleep();
    tx.send(&pattern(1, 1, LARGE)).unwrap();
    receiver.until_asleep();
    tx.send(b"last").unwrap();
    receiver.join();
}

fn a_process_that_may_open_nothing_waits_for_room(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let held = fill(&mut tx, 1);
    let (sender, mut rx) = where_nothing_opens(rx, || {
        doing("room");
        for number in held..2 * held {
            tx.send(&pattern(1, number, FILLER)).unwrap();
        }
        tx.send(&pattern(1, 2 * held, LARGE)).unwrap();
        doing("a broken pipe");
        let error = (0..).find_map(|_| tx.send(&[7; FILLER]).err()).unwrap();
        assert!(matches!(error, SendError::Disconnected), "{error}");
    });
    sender.until_asleep();
    drain(&mut rx, 1, 0..2 * held, FILLER);
    check(&rx.recv().unwrap(), 1, 2 * held, LARGE);
    sender.until_asleep();
    drop(rx);
    sender.join();
}

fn a_process_that_may_open_nothing_gets_the_end_it_sleeps_for(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let (receiver, tx) = where_nothing_opens(tx, || {
        doing("the end");
        assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
        assert_at_end(&mut rx);
    });
    receiver.until_asleep();
    drop(tx);
    receiver.join();
}

fn a_process_that_may_open_nothing_keeps_its_time_outs(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let (full_rx, mut full) = open(backend);
    fill(&mut full, 1);
    let (child, _parents) = where_nothing_opens((tx, full_rx), || {
        let began = Instant::now();
        let outcome = rx.recv_timeout(SHORT);
        assert!(
            matches!(outcome, Err(RecvTimeoutError::Timeout)),
            "{outcome:?}"
        );
        assert!(began.elapsed() >= SHORT);
        assert!(!rx.poll(Some(SHORT)).unwrap());
        assert!(!rx.poll(Some(Duration::ZERO)).unwrap());
        assert!(wait(&mut [&mut rx], Some(SHORT)).unwrap().is_empty());
        let outcome = full.send_timeout(&[7; FILLER], SHORT);
        assert!(
            matches!(outcome, Err(SendTimeoutError::Timeout)),
            "{outcome:?}"
        );
        assert!(wait(&mut [&mut full], Some(SHORT)).unwrap().is_empty());
        assert!(began.elapsed() >= 5 * SHORT);
    });
    child.join();
}

fn a_process_that_may_open_nothing_waits_for_many_ends(backend: Backend) {
    let (mut first, first_tx) = open(backend);
    let (mut second, second_tx) = open(backend);
    let (third_rx, mut third) = open(backend);
    fill(&mut third, 1);
    let parents = (first_tx, second_tx, third_rx);
    let (child, (first_tx, mut second_tx, mut third_rx)) = where_nothing_opens(parents, || {
        let mut ready = |timeout| {
            doing("one of three ends");
            wait(&mut [&mut first, &mut second, &mut third], timeout).unwrap()
        };
        assert_eq!(ready(Some(Duration::ZERO)), []);
        assert_eq!(ready(None), [1]);
        assert_eq!(&*second.recv().unwrap(), b"for the second");
        let mut ready = |timeout| wait(&mut [&mut first, &mut second, &mut third], timeout);
        assert_eq!(ready(None).unwrap(), [0]);
        assert!(matches!(first.recv(), Err(RecvError::Disconnected)));
        doing("room in the third");
        assert_eq!(wait(&mut [&mut second, &mut third], None).unwrap(), [1]);
        third.send(b"there was room").unwrap();
    });
    child.until_asleep();
    second_tx.send(b"for the second").unwrap();
    child.until_asleep();
    drop(first_tx);
    child.until_asleep();
    while third_rx.recv().unwrap().len() == FILLER {}
    child.join();
}

fn more_ends_than_the_limit_on_descriptors_are_waited_for(backend: Backend) {
    let mut pipes: Vec<_> = (0..20).map(|_| open(backend)).collect();
    pipes[13].1.send(b"there").unwrap();
    let mut ends: Vec<&mut dyn Waitable> = pipes
        .iter_mut()
        .map(|(rx, _)| -> &mut dyn Waitable { rx })
        .collect();
    assert_eq!(with_fd_limit(3, || wait(&mut ends, None)).unwrap(), [13]);
}

fn a_queued_message_is_received_before_the_end_by_one_who_may_open_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"the last").unwrap();
    drop(tx);
    let (child, ()) = where_nothing_opens((), || {
        assert!(rx.poll(None).unwrap());
        assert_eq!(wait(&mut [&mut rx], None).unwrap(), [0]);
        assert_eq!(&*rx.recv().unwrap(), b"the last");
        assert_at_end(&mut rx);
    });
    child.join();
}

/// As [`open_fds`], for a child whose standard streams are closed: without the descriptors that were open before.
fn without_standard_streams(work: impl FnOnce()) {
    let child = fork(|| {
        for number in 0..3 {
            // SAFETY: the child writes to none of them, and nothing owns them.
            unsafe { libc::close(number) };
        }
        work();
    });
    child.join();
}

/// Asserts in a child without standard streams that none of what is open took the place of one.
fn assert_none_is_standard() {
    let open = open_fds();
    // A panic could not be printed.
    let taken = open.keys().filter(|&&number| number < 3).count();
    assert_eq!(taken, 0);
}

fn no_descriptor_is_that_of_a_standard_stream(backend: Backend) {
    without_standard_streams(|| {
        let options = PipeOptions::new().backend(backend).descriptors(true);
        let (rx, mut tx) = options.pipe().unwrap();
        let ends = options.duplex().unwrap();
        // On a kernel pipe this makes a descriptor of its own.
        tx.readiness().unwrap();
        assert_none_is_standard();
        let clones = (rx.try_clone().unwrap(), tx.try_clone().unwrap());
        let fds = tx.try_clone().unwrap().into_fds().unwrap();
        assert_none_is_standard();
        // SAFETY: they come from `into_fds` of a sender.
        let another = unsafe { Sender::from_fds(fds) }.unwrap();
        assert_none_is_standard();
        tx.send(&pattern(1, 0, 100)).unwrap();
        drop((rx, ends, clones, another));
    });
}

fn received_descriptors_are_no_standard_streams(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let (mut here, there) = open(backend);
    tx.send_with_end(b"an end", there).unwrap();
    without_standard_streams(|| {
        let (message, mut end) = rx.recv_with_end::<Sender>().unwrap();
        assert_eq!(&*message, b"an end");
        assert_none_is_standard();
        end.send(b"back").unwrap();
    });
    assert_eq!(&*here.recv().unwrap(), b"back");
}

fn descriptors_that_were_standard_streams_are_moved_by_from_fds() {
    let (mut rx, tx) = open(Backend::SharedMemory);
    let fds = tx.into_fds().unwrap();
    without_standard_streams(|| {
        let low = fds.into_iter().map(|fd| {
            // SAFETY: it takes an owned descriptor and makes one, at the lowest number, which is free.
            let low = unsafe { libc::dup(std::os::fd::AsRawFd::as_raw_fd(&fd)) };
            assert!(low < 3);
            // SAFETY: just made, and nobody else's.
            unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(low) }
        });
        let low: Vec<_> = low.collect();
        // SAFETY: they come from `into_fds` of a sender.
        let mut tx = unsafe { Sender::from_fds(low) }.unwrap();
        assert_none_is_standard();
        tx.send(b"from there").unwrap();
    });
    assert_eq!(&*rx.recv().unwrap(), b"from there");
    assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
}
