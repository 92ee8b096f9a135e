//! What bindings of other languages need besides: fast paths alone, foreign descriptors, lent descriptors, deadlines.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::unistd::write;
use shmpipe::{
    Backend, Interest, PipeOptions, RecvTimeoutError, SendTimeoutError, Waitable, wait_with,
};

use crate::ends::{CAPACITY, FILLER, LARGE, SHORT, open, open_duplex};
use crate::handover::{connection, receiver, sender};
use crate::support::{check, fork, on_both_backends, open_fds, pattern, thread};

on_both_backends! {
    the_fast_path_of_a_receive_makes_no_system_call,
    the_fast_paths_pass_messages_or_change_nothing,
    a_fast_receive_into_memory_takes_what_fits_or_nothing,
    a_fast_receive_wakes_a_sender_that_sleeps_for_room,
    a_long_buffer_keeps_the_fast_path,
    foreign_descriptors_are_waited_for_beside_ends,
    a_foreign_descriptor_ends_a_wait_for_an_end,
    a_closed_peer_makes_a_foreign_descriptor_ready,
    lent_descriptors_are_those_that_an_end_is_taken_apart_into,
    deadlines_keep_their_time_and_may_be_past,
    ends_of_one_pipe_are_told_from_others,
    a_sender_sees_whether_its_message_would_wake_somebody,
}

/// In strict mode the kernel kills whoever makes any call but read, write and exit (seccomp(2)).
fn the_fast_path_of_a_receive_makes_no_system_call(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    (0..50).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
    // What the first call of a process looks up, and the buffer.
    check(&rx.recv().unwrap(), 1, 0, FILLER);
    let mut child = Some(rx);
    let outcome = fork(|| {
        let mut rx = child.take().unwrap();
        // The first calls of this process.
        check(&rx.recv().unwrap(), 1, 1, FILLER);
        let mut received = 0;
        // SAFETY: the call has no memory arguments.
        let strict = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
        for _ in 0..200 {
            received += i64::from(rx.recv_fast().is_some());
        }
        let expected = if backend == Backend::SharedMemory {
            48
        } else {
            0
        };
        let code = i64::from(strict != 0 || received != expected);
        // SAFETY: exit(2) of the only thread.
        unsafe { libc::syscall(libc::SYS_exit, code) };
    });
    outcome.join();
}

fn the_fast_paths_pass_messages_or_change_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let is_fast = backend == Backend::SharedMemory;
    assert!(rx.recv_fast().is_none());
    // What an end looks at when it sends for the first time is no part of the fast path.
    tx.send(b"first").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"first");
    for (number, len) in (0..).zip([0, 1, 100, 1025, CAPACITY / 8 - 8]) {
        assert_eq!(tx.send_fast(&pattern(1, number, len)).unwrap(), is_fast);
        if !is_fast {
            tx.send(&pattern(1, number, len)).unwrap();
            assert!(rx.recv_fast().is_none());
            check(&rx.recv().unwrap(), 1, number, len);
        } else {
            check(&rx.recv_fast().unwrap(), 1, number, len);
        }
        assert!(rx.recv_fast().is_none());
    }
    // Longer than a record.
    assert!(!tx.send_fast(&pattern(1, 0, CAPACITY / 8)).unwrap());
    tx.send(&pattern(1, 0, CAPACITY / 2)).unwrap();
    assert!(rx.recv_fast().is_none());
    check(&rx.recv().unwrap(), 1, 0, CAPACITY / 2);
    // Full, at the end, broken.
    while tx.send_fast(&[7; FILLER]).unwrap() {}
    drop(tx);
    while rx.recv_fast().is_some() {}
    while rx.recv().is_ok() {}
    assert!(rx.recv_fast().is_none());
    let (mut left, mut right) = open_duplex(backend);
    left.send(b"first").unwrap();
    assert_eq!(&*right.recv().unwrap(), b"first");
    assert_eq!(left.send_fast(b"fast").unwrap(), is_fast);
    assert_eq!(right.recv_fast().is_some(), is_fast);
    drop(right);
    assert!(!left.send_fast(b"to nobody").unwrap());
}

fn a_fast_receive_into_memory_takes_what_fits_or_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut memory = vec![0; CAPACITY];
    let unasked = |_: usize| -> Option<&mut [u8]> { unreachable!("nothing is there") };
    assert_eq!(rx.recv_fast_with(unasked), None);
    // The first look under the lock is what the fast path leaves to another call.
    assert!(!rx.poll(Some(Duration::ZERO)).unwrap());
    for (number, len) in (0..).zip([1, 100, 1025, CAPACITY / 8 - 8]) {
        tx.send(&pattern(1, number, len)).unwrap();
        assert_eq!(rx.recv_fast_with(|_| None), None);
        assert_eq!(rx.recv_fast_with(|len| Some(&mut memory[..len - 1])), None);
        let received = rx.recv_fast_with(|len| Some(&mut memory[..len]));
        if backend == Backend::SharedMemory {
            assert_eq!(received, Some(len));
            check(&memory[..len], 1, number, len);
        } else {
            assert_eq!(received, None);
            check(&rx.recv().unwrap(), 1, number, len);
        }
    }
    // After a read that took a part of a message the rest of it comes first.
    tx.send(b"rest").unwrap();
    tx.send(b"next").unwrap();
    rx.read_exact(&mut [0]).unwrap();
    assert_eq!(rx.recv_fast_with(unasked), None);
    assert_eq!(&*rx.recv().unwrap(), b"est");
    assert_eq!(&*rx.recv().unwrap(), b"next");
    // What needs no memory, what is longer than a record, the end.
    tx.send(b"").unwrap();
    assert_eq!(rx.recv_fast_with(unasked), None);
    assert!(rx.recv().unwrap().is_empty());
    tx.send(&pattern(1, 0, CAPACITY / 2)).unwrap();
    assert_eq!(rx.recv_fast_with(|_| Some(&mut memory[..])), None);
    check(&rx.recv().unwrap(), 1, 0, CAPACITY / 2);
    drop(tx);
    assert_eq!(rx.recv_fast_with(unasked), None);
}

fn a_fast_receive_wakes_a_sender_that_sleeps_for_room(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    while tx.try_send(&[7; FILLER]).is_ok() {}
    let blocked = thread(move || tx.send(&[8; FILLER]).unwrap());
    blocked.until_asleep();
    let mut received = 0;
    loop {
        let found = match rx.recv_fast() {
            Some(message) => message[0],
            None => rx.recv().unwrap()[0],
        };
        received += 1;
        if found == 8 {
            break;
        }
    }
    assert!(received > 50, "{received}");
    blocked.join();
}

fn a_long_buffer_keeps_the_fast_path(backend: Backend) {
    const LONG: usize = 5 << 20;
    // One record, and so much of the buffer that the buffer is kept.
    const RECORD: usize = 1_000_000;
    let options = PipeOptions::new().capacity(1 << 20);
    let options = match backend {
        Backend::SharedMemory => options.in_place(RECORD),
        _ => options.backend(backend),
    };
    let (mut rx, mut tx) = options.pipe().unwrap();
    let long = fork(|| tx.send(&pattern(1, 0, LONG)).unwrap());
    check(&rx.recv().unwrap(), 1, 0, LONG);
    long.join();
    let mut fast = 0;
    for number in 0..10 {
        let child = fork(|| {
            let mut slot = tx.reserve(RECORD).unwrap();
            slot.copy_from_slice(&pattern(2, number, RECORD));
            slot.commit().unwrap();
        });
        assert!(rx.poll(None).unwrap());
        match rx.recv_fast() {
            Some(message) => {
                check(&message, 2, number, RECORD);
                fast += 1;
            }
            None => check(&rx.recv().unwrap(), 2, number, RECORD),
        }
        child.join();
    }
    // Once for each capacity it is due to go the other way.
    let least = if backend == Backend::SharedMemory {
        7
    } else {
        0
    };
    assert!(fast >= least, "{fast} of 10");
}

fn foreign_descriptors_are_waited_for_beside_ends(backend: Backend) {
    let (mut first, mut tx) = open(backend);
    let (mut second, _tx) = open(backend);
    let (one, other) = UnixStream::pair().unwrap();
    let interests = [Interest::Readable, Interest::Writable, Interest::Both];
    let mut look = |interests: &[Interest], timeout| {
        let fds: Vec<_> = interests.iter().map(|&what| (one.as_fd(), what)).collect();
        let ready = wait_with(&mut [&mut first, &mut second], &fds, timeout).unwrap();
        (ready.ends, ready.fds)
    };
    let now = Some(Duration::ZERO);
    assert_eq!(look(&[], now), (vec![], vec![]));
    assert_eq!(look(&[Interest::Readable], now), (vec![], vec![]));
    let start = Instant::now();
    assert_eq!(look(&[Interest::Readable], Some(SHORT)), (vec![], vec![]));
    assert!(start.elapsed() >= SHORT);
    assert_eq!(look(&interests, None), (vec![], vec![1, 2]));
    write(&other, b"x").unwrap();
    assert_eq!(look(&interests, None), (vec![], vec![0, 1, 2]));
    tx.send(b"x").unwrap();
    // All that are ready, whatever was seen first.
    assert_eq!(look(&interests, None), (vec![0], vec![0, 1, 2]));
    assert_eq!(look(&[Interest::Readable], now), (vec![0], vec![0]));
    let none: &mut [&mut dyn Waitable] = &mut [];
    let ready = wait_with(none, &[(other.as_fd(), Interest::Readable)], now).unwrap();
    assert_eq!((ready.ends, ready.fds), (vec![], vec![]));
}

fn a_foreign_descriptor_ends_a_wait_for_an_end(backend: Backend) {
    let (mut rx, _tx) = open(backend);
    let (one, other) = UnixStream::pair().unwrap();
    let waiting = thread(move || {
        let fds = [(one.as_fd(), Interest::Readable)];
        let ready = wait_with(&mut [&mut rx], &fds, None).unwrap();
        assert_eq!((ready.ends, ready.fds), (vec![], vec![0]));
    });
    waiting.until_asleep();
    write(&other, b"x").unwrap();
    waiting.join();
}

fn a_closed_peer_makes_a_foreign_descriptor_ready(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let (one, other) = UnixStream::pair().unwrap();
    drop(other);
    for what in [Interest::Readable, Interest::Writable, Interest::Both] {
        let ready = wait_with(&mut [&mut rx], &[(one.as_fd(), what)], None).unwrap();
        assert_eq!((ready.ends, ready.fds), (vec![], vec![0]));
    }
    // A sender is waited for beside it, too.
    let ready = wait_with(&mut [&mut tx], &[(one.as_fd(), Interest::Readable)], None).unwrap();
    assert_eq!((ready.ends, ready.fds), (vec![0], vec![0]));
}

fn lent_descriptors_are_those_that_an_end_is_taken_apart_into(backend: Backend) {
    let (near, mut far) = open_duplex(backend);
    let before = open_fds();
    let lent = near.as_fds().unwrap();
    assert_eq!(lent.len(), 4);
    assert_eq!(open_fds(), before, "nothing was duplicated");
    let copies = lent.iter().map(|fd| fd.try_clone_to_owned().unwrap());
    let mut made = connection(copies.collect::<Vec<_>>()).unwrap();
    made.send(b"from the copy").unwrap();
    assert_eq!(&*far.recv().unwrap(), b"from the copy");
    let (rx, tx) = near.split();
    let numbers = |fds: Vec<std::os::fd::BorrowedFd<'_>>| {
        fds.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>()
    };
    let both = [numbers(rx.as_fds().unwrap()), numbers(tx.as_fds().unwrap())].concat();
    assert!(both.iter().all(|fd| before.contains_key(fd)), "{both:?}");
    assert_eq!(made.as_fds().unwrap().len(), both.len());
}

fn deadlines_keep_their_time_and_may_be_past(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let start = Instant::now();
    let outcome = rx.recv_deadline(start + SHORT).map(drop);
    assert!(matches!(outcome, Err(RecvTimeoutError::Timeout)));
    assert!(start.elapsed() >= SHORT);
    // One that has passed still takes what is there.
    tx.send_deadline(b"there", start).unwrap();
    assert_eq!(&*rx.recv_deadline(start).unwrap(), b"there");
    assert!(matches!(
        rx.recv_deadline(start),
        Err(RecvTimeoutError::Timeout)
    ));
    while tx.try_send(&[7; FILLER]).is_ok() {}
    let start = Instant::now();
    let outcome = tx.send_deadline(&[7; FILLER], start + SHORT);
    assert!(matches!(outcome, Err(SendTimeoutError::Timeout)));
    assert!(start.elapsed() >= SHORT);
    let outcome = tx.send_deadline(&[7; LARGE], start);
    assert!(matches!(outcome, Err(SendTimeoutError::Timeout)));
}

fn ends_of_one_pipe_are_told_from_others(backend: Backend) {
    let (rx, tx) = open(backend);
    let (other_rx, other_tx) = open(backend);
    assert!(rx.same_pipe(&rx) && rx.same_pipe(&rx.try_clone().unwrap()));
    assert!(tx.same_pipe(&tx) && tx.same_pipe(&tx.try_clone().unwrap()));
    assert!(!rx.same_pipe(&other_rx) && !tx.same_pipe(&other_tx));
    let handed = receiver(rx.try_clone().unwrap().into_fds().unwrap()).unwrap();
    assert!(rx.same_pipe(&handed) && !other_rx.same_pipe(&handed));
    let handed = sender(tx.try_clone().unwrap().into_fds().unwrap()).unwrap();
    assert!(tx.same_pipe(&handed) && !other_tx.same_pipe(&handed));
    let (left, right) = open_duplex(backend);
    assert!(left.same_pipe(&left.try_clone().unwrap()));
    assert!(!left.same_pipe(&right), "the other end");
    let unlike = match backend {
        Backend::Kernel => Backend::SharedMemory,
        _ => Backend::Kernel,
    };
    assert!(!rx.same_pipe(&open(unlike).0));
}

fn a_sender_sees_whether_its_message_would_wake_somebody(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let always = backend == Backend::Kernel;
    assert_eq!(tx.receiver_sleeps(), always);
    let receiver = fork(|| {
        check(&rx.recv().unwrap(), 1, 0, FILLER);
        check(&rx.recv().unwrap(), 1, 1, FILLER);
    });
    receiver.until_asleep();
    assert!(tx.receiver_sleeps());
    receiver.stop();
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    assert_eq!(tx.receiver_sleeps(), always, "it has been rung for");
    tx.send(&pattern(1, 1, FILLER)).unwrap();
    receiver.cont();
    receiver.join();
}
