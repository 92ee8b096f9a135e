//! Watched ends, while others of the pipe are killed: never silent for ever, and right again after the next call.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use shmpipe::{Backend, Receiver, Sender, TryRecvError, TrySendError, kill_points};

use crate::support::{fork, on_both_backends, pin_to};
use crate::walk::{Copies, doomed, ending, open, walk};

on_both_backends! {
    a_watched_receiver_while_a_sender_is_killed within 600,
    a_watched_receiver_while_another_holder_of_it_is_killed within 600,
    a_watched_sender_while_a_receiver_is_killed within 600,
    a_watched_sender_while_another_holder_of_it_is_killed within 600,
    a_pipe_filled_by_the_dead_shows_after_a_send_that_found_it_full within 40,
}

const CAPACITY: usize = 16 * 1024;
const SHORT: usize = 1000;

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut watched = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut watched, PollTimeout::ZERO).unwrap() > 0
}

/// Takes what is there, and finds the descriptor right all along; returns how much that was. One vain call is
/// owed to a token that the dead one sent behind what another one had taken.
#[track_caller]
fn take_all(rx: &mut Receiver) -> u32 {
    let (mut taken, mut vain) = (0, 0);
    while is_readable(rx.as_fd()) {
        match rx.try_recv() {
            Ok(_) => taken += 1,
            Err(TryRecvError::Empty) => vain += 1,
            Err(error) => panic!("{error}"),
        }
        assert!(vain <= 1, "readable for nothing, after {taken}");
    }
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    taken
}

/// As [`take_all`], for room.
#[track_caller]
fn fill_all(tx: &mut Sender) -> u32 {
    let (mut sent, mut vain) = (0, 0);
    while is_readable(tx.as_fd()) {
        match tx.try_send(&[7; SHORT]) {
            Ok(()) => sent += 1,
            Err(TrySendError::Full) => vain += 1,
            Err(error) => panic!("{error}"),
        }
        assert!(vain <= 1, "readable for nothing, after {sent}");
    }
    sent
}

fn a_watched_receiver_while_a_sender_is_killed(backend: Backend) {
    walk(
        "a send to a watched receiver",
        backend,
        4,
        |fatal, copies| {
            let (mut rx, mut tx) = open(backend, CAPACITY);
            assert!(!is_readable(rx.as_fd()));
            let victim = fork(|| {
                doomed(fatal, || {
                    (0..2).for_each(|_| tx.send(&[1; SHORT]).unwrap());
                    // Full, if nothing else.
                    while tx.try_send(&[2; SHORT]).is_ok() {}
                });
            });
            let mut heir = (copies == Copies::One).then_some(tx);
            let ending = ending(victim);
            match &mut heir {
                None => assert!(is_readable(rx.as_fd()), "the end is there"),
                Some(tx) => {
                    // What the dead one has not told of is told with the next send, also one that finds no room.
                    match tx.try_send(b"next") {
                        Ok(()) | Err(TrySendError::Full) => {}
                        Err(error) => panic!("{error}"),
                    }
                    assert!(is_readable(rx.as_fd()));
                    assert!(take_all(&mut rx) > 0);
                    tx.send(b"after it").unwrap();
                    assert!(is_readable(rx.as_fd()));
                    assert_eq!(take_all(&mut rx), 1);
                }
            }
            ending
        },
    );
}

fn a_watched_receiver_while_another_holder_of_it_is_killed(backend: Backend) {
    walk("a watched receive", backend, 4, |fatal, copies| {
        let (mut rx, mut tx) = open(backend, CAPACITY);
        // With a copy alive the mode is on before; without, the victim puts it on.
        if copies == Copies::One {
            assert!(!is_readable(rx.as_fd()));
        }
        (0..3).for_each(|_| tx.send(&[1; SHORT]).unwrap());
        let victim = fork(|| {
            doomed(fatal, || {
                while is_readable(rx.as_fd()) {
                    let _ = rx.try_recv();
                }
                let _ = rx.recv_timeout(Duration::from_micros(100));
                let _ = shmpipe::wait(&mut [&mut rx], Some(Duration::from_micros(100)));
            });
        });
        let ending = ending(victim);
        take_all(&mut rx);
        for _ in 0..3 {
            tx.send(b"after it").unwrap();
            assert!(is_readable(rx.as_fd()));
            assert_eq!(take_all(&mut rx), 1);
        }
        drop(tx);
        assert!(is_readable(rx.as_fd()));
        ending
    });
}

fn a_watched_sender_while_a_receiver_is_killed(backend: Backend) {
    walk(
        "a receive for a watched sender",
        backend,
        4,
        |fatal, copies| {
            let (mut rx, mut tx) = open(backend, CAPACITY);
            assert!(fill_all(&mut tx) > 0);
            let victim = fork(|| {
                doomed(fatal, || while rx.try_recv().is_ok() {});
            });
            let heir = (copies == Copies::One).then_some(rx);
            let ending = ending(victim);
            match heir {
                None => assert!(is_readable(tx.as_fd()), "the end is there"),
                Some(mut rx) => {
                    while rx.try_recv().is_ok() {}
                    assert!(is_readable(tx.as_fd()));
                    assert!(fill_all(&mut tx) > 0);
                    while rx.try_recv().is_ok() {}
                    assert!(is_readable(tx.as_fd()));
                }
            }
            ending
        },
    );
}

fn a_watched_sender_while_another_holder_of_it_is_killed(backend: Backend) {
    walk("a watched send", backend, 4, |fatal, copies| {
        let (mut rx, mut tx) = open(backend, CAPACITY);
        if copies == Copies::One {
            assert!(is_readable(tx.as_fd()));
        }
        let victim = fork(|| {
            doomed(fatal, || {
                while is_readable(tx.as_fd()) {
                    let _ = tx.try_send(&[7; SHORT]);
                }
                let _ = tx.send_timeout(&[7; SHORT], Duration::from_micros(100));
                let _ = shmpipe::wait(&mut [&mut tx], Some(Duration::from_micros(100)));
            });
        });
        let ending = ending(victim);
        for _ in 0..3 {
            fill_all(&mut tx);
            assert!(!is_readable(tx.as_fd()));
            while rx.try_recv().is_ok() {}
            assert!(is_readable(tx.as_fd()));
        }
        drop(rx);
        assert!(is_readable(tx.as_fd()));
        ending
    });
}

fn a_pipe_filled_by_the_dead_shows_after_a_send_that_found_it_full(backend: Backend) {
    const MESSAGE: [u8; CAPACITY / 8 - 8] = [1; CAPACITY / 8 - 8];
    // Noting the CPU is a point where it has changed.
    pin_to(nix::sched::sched_getcpu().unwrap());
    for before_the_end in 0..10 {
        let (mut rx, mut tx) = open(backend, CAPACITY);
        // The first send of a pipe goes the long way.
        tx.send(&MESSAGE).unwrap();
        rx.recv().unwrap();
        assert!(!is_readable(rx.as_fd()));
        // So many fill it.
        for number in 0..7 {
            let dead = fork(|| {
                // How many points such a send has where nobody watches, the process's first call apart.
                let (_rx, mut other) = open(backend, CAPACITY);
                other.send(&MESSAGE).unwrap();
                let mut other = other.try_clone().unwrap();
                kill_points::arm(0);
                other.send(&MESSAGE).unwrap();
                let points = kill_points::passed();
                let mut tx = tx.try_clone().unwrap();
                // The last that fits looks for room anew, which is a point more.
                let fatal = points + 5 - before_the_end + u64::from(number == 6);
                doomed(fatal, || tx.try_send(&MESSAGE));
            });
            ending(dead);
        }
        match tx.try_send(&MESSAGE) {
            Ok(()) | Err(TrySendError::Full) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(is_readable(rx.as_fd()), "{before_the_end} before the end");
        assert!(take_all(&mut rx) > 0);
    }
}
