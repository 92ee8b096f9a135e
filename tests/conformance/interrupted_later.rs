//! A hook that is asked only some time after its calls began, or once a signal has ended a sleep.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use shmpipe::{Backend, Interrupt, Receiver, RecvTimeoutError, Sender};

use crate::ends::{FILLER, SHORT, drain, fill, open};
use crate::interrupted::{LONG, count_signals, handled, long_sender, with_each_interrupted};
use crate::support::{check, fork, on_both_backends, pattern};

on_both_backends! {
    a_later_hook_is_not_asked_by_a_sleep_that_ends_before,
    a_later_hook_is_asked_when_its_time_has_come_without_a_signal within 20,
    a_signal_has_a_later_hook_asked_at_once within 20,
    a_later_hook_that_says_no_lets_the_call_sleep_on_until_its_deadline,
}

fn a_later_hook_is_not_asked_by_a_sleep_that_ends_before(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let (mut full_rx, mut full) = open(backend);
    let held = fill(&mut full, 1);
    let hook = || panic!("it is asked");
    let child = fork(|| {
        Interrupt::new(&hook).after(LONG).during(|| {
            let outcome = rx.recv_timeout(SHORT).map(drop);
            assert!(matches!(outcome, Err(RecvTimeoutError::Timeout)));
            assert!(full.send_timeout(&[7; FILLER], SHORT).is_err());
            let ready = shmpipe::wait(&mut [&mut rx, &mut full], Some(SHORT));
            assert!(ready.unwrap().is_empty());
            check(&rx.recv().unwrap(), 1, 0, FILLER);
        });
    });
    child.until_asleep();
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    child.join();
    drain(&mut full_rx, 1, 0..held, FILLER);
}

/// That `call` is ended by a hook of the time `after`, no sooner.
#[track_caller]
fn ended_after<T, E: Into<io::Error>>(after: Duration, call: impl FnOnce() -> Result<T, E>) {
    let began = Instant::now();
    let outcome = Interrupt::new(&|| true).after(after).during(call);
    let kind = outcome.map(drop).map_err(|error| error.into().kind());
    assert_eq!(kind, Err(ErrorKind::Interrupted));
    assert!(began.elapsed() >= after);
}

fn a_later_hook_is_asked_when_its_time_has_come_without_a_signal(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    ended_after(SHORT, || rx.recv().map(drop));
    ended_after(SHORT, || rx.recv_timeout(LONG).map(drop));
    ended_after(SHORT, || rx.poll(None));
    ended_after(SHORT, || shmpipe::wait(&mut [&mut rx], None));
    let held = fill(&mut tx, 1);
    ended_after(SHORT, || tx.send(&[7; FILLER]));
    drain(&mut rx, 1, 0..held, FILLER);
    let mut other = tx.try_clone().unwrap();
    let first = long_sender(&mut tx);
    ended_after(SHORT, || other.send(&[7; FILLER]));
    assert!(rx.recv().is_ok());
    first.join();
}

fn a_signal_has_a_later_hook_asked_at_once(backend: Backend) {
    /// One that says yes once a signal more has been handled.
    fn interrupted<T, E: Into<io::Error>>(call: impl FnOnce() -> Result<T, E>) {
        let before = handled();
        let outcome = Interrupt::new(&|| handled() > before)
            .after(LONG)
            .during(call);
        let kind = outcome.map(drop).map_err(|error| error.into().kind());
        assert_eq!(kind, Err(ErrorKind::Interrupted));
    }
    count_signals();
    let (mut rx, mut tx): (Receiver, Sender) = open(backend);
    with_each_interrupted(3, || {
        interrupted(|| rx.recv().map(drop));
        interrupted(|| rx.poll(None));
        interrupted(|| shmpipe::wait(&mut [&mut rx], None));
    });
    let first = long_sender(&mut tx);
    with_each_interrupted(1, || interrupted(|| tx.send(&[7; FILLER])));
    assert!(rx.recv().is_ok());
    first.join();
}

fn a_later_hook_that_says_no_lets_the_call_sleep_on_until_its_deadline(backend: Backend) {
    let (mut rx, _tx) = open(backend);
    let asked = Cell::new(0);
    let hook = || {
        asked.set(asked.get() + 1);
        false
    };
    let began = Instant::now();
    let outcome = Interrupt::new(&hook)
        .after(SHORT / 2)
        .during(|| rx.recv_timeout(SHORT).map(drop));
    assert!(matches!(outcome, Err(RecvTimeoutError::Timeout)));
    assert!(began.elapsed() >= SHORT);
    assert!(asked.get() <= 1, "once, and not each time it slept");
}
