//! However long a blocked call looks before it sleeps, what it does is the same.

use std::time::{Duration, Instant};

use shmpipe::{Backend, PipeOptions, RecvTimeoutError, SendError, SendTimeoutError, Spin};

use crate::ends::{SHORT, assert_at_end};
use crate::support::{check, fork, fork_apart, on_both_backends, pattern};

on_both_backends! {
    messages_pass_to_and_fro_however_long_a_wait_looks,
    time_outs_keep_however_long_a_wait_looks,
    a_death_is_told_however_long_a_wait_looks,
    the_choice_goes_with_clones_and_both_directions,
    a_handle_can_choose_for_itself,
}

const CHOICES: [Spin; 5] = [
    Spin::Never,
    Spin::Adaptive,
    Spin::For(Duration::ZERO),
    Spin::For(Duration::from_millis(5)),
    Spin::For(Duration::MAX),
];

fn options(backend: Backend, spin: Spin) -> PipeOptions {
    PipeOptions::new()
        .backend(backend)
        .capacity(64 * 1024)
        .spin(spin)
}

fn messages_pass_to_and_fro_however_long_a_wait_looks(backend: Backend) {
    for spin in CHOICES {
        let (near, mut far) = options(backend, spin).duplex().unwrap();
        let (child, mut near) = fork_apart(near, move || {
            for number in 0..200 {
                check(&far.recv().unwrap(), 1, number, 3000);
                far.send(&pattern(2, number, 3000)).unwrap();
            }
        });
        for number in 0..200 {
            near.send(&pattern(1, number, 3000)).unwrap();
            check(&near.recv().unwrap(), 2, number, 3000);
        }
        child.join();
    }
}

fn time_outs_keep_however_long_a_wait_looks(backend: Backend) {
    for spin in CHOICES {
        let (mut rx, mut tx) = options(backend, spin).pipe().unwrap();
        let start = Instant::now();
        let outcome = rx.recv_timeout(SHORT).map(drop);
        assert!(
            matches!(outcome, Err(RecvTimeoutError::Timeout)),
            "{spin:?}"
        );
        assert!(!rx.poll(Some(SHORT)).unwrap());
        assert!(start.elapsed() >= 2 * SHORT, "{spin:?}");
        while tx.try_send(&[7; 3000]).is_ok() {}
        let start = Instant::now();
        let outcome = tx.send_timeout(&[7; 3000], SHORT);
        assert!(
            matches!(outcome, Err(SendTimeoutError::Timeout)),
            "{spin:?}"
        );
        assert!(start.elapsed() >= SHORT, "{spin:?}");
    }
}

fn a_death_is_told_however_long_a_wait_looks(backend: Backend) {
    for spin in CHOICES {
        let (mut rx, mut tx) = options(backend, spin).pipe().unwrap();
        let child = fork(|| {
            tx.send(b"last words").unwrap();
            std::thread::park();
        });
        drop(tx);
        assert_eq!(&*rx.recv().unwrap(), b"last words");
        child.kill();
        assert_at_end(&mut rx);

        let (rx, tx) = options(backend, spin).pipe().unwrap();
        let (child, mut tx) = fork_apart(tx, || {
            let _held = &rx;
            std::thread::park();
        });
        drop(rx);
        while tx.try_send(&[7; 3000]).is_ok() {}
        let sender = crate::support::thread(move || {
            loop {
                if let Err(error) = tx.send(&[7; 3000]) {
                    break error;
                }
            }
        });
        sender.until_asleep();
        child.kill();
        assert!(matches!(sender.join(), SendError::Disconnected), "{spin:?}");
    }
}

fn the_choice_goes_with_clones_and_both_directions(backend: Backend) {
    let (near, mut far) = options(backend, Spin::Never).duplex().unwrap();
    let mut near = near.try_clone().unwrap();
    let child = crate::support::thread(move || {
        let request = far.recv().unwrap().into_vec();
        far.send(&request).unwrap();
    });
    child.until_asleep();
    near.send(b"to a sleeper").unwrap();
    assert_eq!(&*near.recv().unwrap(), b"to a sleeper");
    child.join();
}

fn a_handle_can_choose_for_itself(backend: Backend) {
    let long = Spin::For(Duration::MAX);
    let (mut near, mut far) = options(backend, long).pipe().unwrap();
    for spin in CHOICES {
        near.set_spin(spin);
        far.set_spin(spin);
        let child = fork(|| {
            for number in 0..200 {
                far.send(&pattern(1, number, 3000)).unwrap();
            }
        });
        for number in 0..200 {
            check(&near.recv().unwrap(), 1, number, 3000);
        }
        child.join();
    }
}
