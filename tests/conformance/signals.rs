//! Signals: an interrupted wait goes on for what is left of it, and no byte is lost.
//!
//! Each wait is in a forked child: it has one thread, so that is the one interrupted.

use std::io::{BufRead, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use shmpipe::{Backend, RecvTimeoutError, SendTimeoutError};

use crate::ends::{FILLER, LARGE, assert_at_end, assert_empty_but_alive, drain, fill, open};
use crate::support::{check, fork, fork_apart, on_both_backends, pattern, shared_counter};

on_both_backends! {
    recv_timeout_keeps_its_time_in_a_signal_storm,
    send_timeout_keeps_its_time_in_a_signal_storm,
    poll_keeps_its_time_in_a_signal_storm,
    blocked_recv_gets_its_message_in_a_signal_storm,
    blocked_recv_gets_the_end_in_a_signal_storm,
    blocked_send_goes_on_in_a_signal_storm,
    large_messages_pass_whole_while_both_sides_are_in_a_signal_storm,
    a_handled_signal_does_not_end_a_blocked_recv,
    a_stream_passes_while_both_sides_are_in_a_signal_storm_and_nobody_sees_an_interruption,
}

/// Signals handled by this process and those that it forked, in memory that they share.
static HANDLED: OnceLock<&AtomicU64> = OnceLock::new();

extern "C" fn count(_signal: libc::c_int) {
    if let Some(handled) = HANDLED.get() {
        handled.fetch_add(1, Ordering::Relaxed);
    }
}

/// Has `signal` do nothing but interrupt: a handler without `SA_RESTART`, kept over fork(2).
fn interrupt_by(signal: Signal) {
    HANDLED.get_or_init(shared_counter);
    let action = SigAction::new(
        SigHandler::Handler(count),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler adds to an atomic and calls nothing.
    unsafe { sigaction(signal, &action) }.unwrap();
}

/// From now on this process gets a SIGALRM each millisecond.
fn start_storm() {
    let millisecond = libc::timeval {
        tv_sec: 0,
        tv_usec: 1000,
    };
    let timer = libc::itimerval {
        it_interval: millisecond,
        it_value: millisecond,
    };
    // SAFETY: `timer` is a live itimerval, and a null old value is allowed (setitimer(2)).
    let outcome =
        unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}

fn handled() -> u64 {
    HANDLED
        .get()
        .map_or(0, |handled| handled.load(Ordering::Relaxed))
}

/// Waits until so many signals have been handled. That a sleeper is asleep cannot be seen while it
/// is woken each millisecond.
fn until_handled(signals: u64) {
    while handled() < signals {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Time-outs of this length are interrupted some three hundred times.
const WHILE: Duration = Duration::from_millis(300);

/// Runs `wait` in a stormed child and asserts that it took its time and was interrupted.
fn keeps_its_time(wait: impl FnOnce()) {
    interrupt_by(Signal::SIGALRM);
    let child = fork(|| {
        start_storm();
        let start = Instant::now();
        wait();
        let elapsed = start.elapsed();
        assert!(elapsed >= WHILE, "{elapsed:?} is before {WHILE:?}");
        assert!(handled() >= 10, "{} signals are no storm", handled());
    });
    child.join();
}

fn recv_timeout_keeps_its_time_in_a_signal_storm(backend: Backend) {
    let (mut rx, _tx) = open(backend);
    keeps_its_time(|| {
        let outcome = rx.recv_timeout(WHILE);
        assert!(
            matches!(outcome, Err(RecvTimeoutError::Timeout)),
            "{outcome:?}"
        );
    });
}

fn send_timeout_keeps_its_time_in_a_signal_storm(backend: Backend) {
    let (_rx, mut tx) = open(backend);
    fill(&mut tx, 1);
    keeps_its_time(|| {
        let outcome = tx.send_timeout(&[7; FILLER], WHILE);
        assert!(
            matches!(outcome, Err(SendTimeoutError::Timeout)),
            "{outcome:?}"
        );
    });
}

fn poll_keeps_its_time_in_a_signal_storm(backend: Backend) {
    let (mut rx, _tx) = open(backend);
    keeps_its_time(|| assert!(!rx.poll(Some(WHILE)).unwrap()));
}

fn blocked_recv_gets_its_message_in_a_signal_storm(backend: Backend) {
    interrupt_by(Signal::SIGALRM);
    let (mut rx, mut tx) = open(backend);
    let child = fork(move || {
        start_storm();
        check(&rx.recv().unwrap(), 1, 0, FILLER);
    });
    until_handled(100);
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    child.join();
}

fn blocked_recv_gets_the_end_in_a_signal_storm(backend: Backend) {
    interrupt_by(Signal::SIGALRM);
    let (mut rx, tx) = open(backend);
    let (child, tx) = fork_apart(tx, move || {
        start_storm();
        assert_at_end(&mut rx);
    });
    until_handled(100);
    drop(tx);
    child.join();
}

fn blocked_send_goes_on_in_a_signal_storm(backend: Backend) {
    interrupt_by(Signal::SIGALRM);
    let (mut rx, mut tx) = open(backend);
    let held = fill(&mut tx, 1);
    let child = fork(|| {
        start_storm();
        tx.send(&pattern(1, held, FILLER)).unwrap();
    });
    until_handled(100);
    drain(&mut rx, 1, 0..held + 1, FILLER);
    child.join();
}

fn large_messages_pass_whole_while_both_sides_are_in_a_signal_storm(backend: Backend) {
    interrupt_by(Signal::SIGALRM);
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| {
        start_storm();
        let mut number = 0;
        while handled() < 400 {
            tx.send(&pattern(1, number, LARGE)).unwrap();
            number += 1;
        }
        tx.send(b"").unwrap();
    });
    let receiver = fork(|| {
        start_storm();
        for number in 0.. {
            let message = rx.recv().unwrap();
            if message.is_empty() {
                break;
            }
            check(&message, 1, number, LARGE);
        }
        assert_empty_but_alive(&mut rx);
    });
    sender.join();
    receiver.join();
}

fn a_handled_signal_does_not_end_a_blocked_recv(backend: Backend) {
    interrupt_by(Signal::SIGUSR1);
    let (mut rx, mut tx) = open(backend);
    let child = fork(move || check(&rx.recv().unwrap(), 1, 0, FILLER));
    for signals in 1..6 {
        child.until_asleep();
        kill(child.pid(), Signal::SIGUSR1).unwrap();
        until_handled(signals);
    }
    child.until_asleep();
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    child.join();
}

/// `write_all` and `read_until` would go on after an `Interrupted`; a single write or `fill_buf` would not.
fn a_stream_passes_while_both_sides_are_in_a_signal_storm_and_nobody_sees_an_interruption(
    backend: Backend,
) {
    interrupt_by(Signal::SIGALRM);
    let (mut rx, tx) = open(backend);
    let (reader, mut tx) = fork_apart(tx, || {
        start_storm();
        for number in 0.. {
            let lent = rx.fill_buf().unwrap();
            if lent.is_empty() {
                break;
            }
            check(lent, 1, number, FILLER);
            rx.consume(FILLER);
        }
    });
    let writer = fork(move || {
        start_storm();
        let mut number = 0;
        while handled() < 400 {
            let written = tx.write(&pattern(1, number, FILLER)).unwrap();
            assert_eq!(written, FILLER);
            number += 1;
        }
    });
    writer.join();
    reader.join();
}
