//! The hook that ends calls which sleep: every sleep asks it, and nothing is lost by the end.
//!
//! Most calls are made in a forked child: it has one thread, so that is the one that a signal interrupts.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use shmpipe::{
    Backend, Interrupt, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender,
    TryRecvError,
};

use crate::ends::{FILLER, LARGE, SHORT, assert_empty_but_alive, drain, fill, open};
use crate::support::{Child, check, fork, on_both_backends, pattern, pipe, shared_counter, thread};

on_both_backends! {
    every_way_of_receiving_is_interrupted_and_the_message_that_comes_after_is_received within 20,
    every_way_of_sending_into_a_full_pipe_is_interrupted_and_nothing_is_sent,
    a_wait_for_many_is_interrupted,
    a_long_send_is_interrupted_inside_and_receivers_pass_over_it,
    a_slot_that_is_committed_by_a_long_send_is_interrupted_unsent,
    a_sender_behind_a_long_send_is_interrupted_and_the_other_goes_on within 20,
    a_sender_behind_a_slot_is_interrupted within 20,
    a_receiver_behind_another_one_inside_a_long_message_is_interrupted,
    a_long_receive_is_interrupted_inside_and_the_next_one_gets_the_whole,
    calls_go_on_with_the_same_deadline_where_the_hook_says_no,
    a_sender_behind_a_long_send_keeps_its_deadline_where_the_hook_says_no,
    a_readable_descriptor_has_the_hook_asked_without_a_signal within 20,
    a_descriptor_that_becomes_readable_wakes_a_sleeper,
    a_descriptor_that_hung_up_keeps_nobody_awake,
    a_sender_behind_a_long_send_asks_by_itself within 20,
    calls_that_need_not_sleep_ask_nobody,
    a_hook_may_use_pipes_and_is_not_asked_by_its_own_calls,
    the_inner_of_two_hooks_is_asked_and_the_outer_one_after_it,
}

/// Signals handled by this process and those that it forked.
static HANDLED: OnceLock<&AtomicU64> = OnceLock::new();

fn handled() -> u64 {
    HANDLED.get_or_init(shared_counter).load(Ordering::SeqCst)
}

extern "C" fn count(_signal: libc::c_int) {
    if let Some(handled) = HANDLED.get() {
        handled.fetch_add(1, Ordering::SeqCst);
    }
}

/// Has SIGUSR1 and SIGALRM counted, also in the processes that are forked from now on.
fn count_signals() {
    handled();
    let action = SigAction::new(
        SigHandler::Handler(count),
        SaFlags::empty(),
        SigSet::empty(),
    );
    for signal in [Signal::SIGUSR1, Signal::SIGALRM] {
        // SAFETY: the handler adds to an atomic and calls nothing.
        unsafe { sigaction(signal, &action) }.unwrap();
    }
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
    assert_eq!(outcome, 0, "{}", io::Error::last_os_error());
}

/// Makes `call` with a hook that ends it once a signal more has been handled than when it began, and asserts that it
/// was ended so. The hook says it once: a call that goes on sleeps for good.
#[track_caller]
fn interrupted<T, E: Into<io::Error>>(call: impl FnOnce() -> Result<T, E>) {
    let before = handled();
    let has_said = Cell::new(false);
    let hook = || handled() > before && !has_said.replace(true);
    let outcome = Interrupt::new(&hook).during(call);
    let kind = outcome.map(drop).map_err(|error| error.into().kind());
    assert_eq!(kind, Err(ErrorKind::Interrupted));
}

/// A child that makes `calls`, of which each sleeps until this process has sent a signal.
fn with_each_interrupted(count: usize, calls: impl FnOnce()) {
    let child = fork(calls);
    interrupt(&child, count);
    child.join();
}

fn interrupt(child: &Child, count: usize) {
    for _ in 0..count {
        child.until_asleep();
        let before = handled();
        kill(child.pid(), Signal::SIGUSR1).unwrap();
        while handled() == before {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

const LONG: Duration = Duration::from_secs(3600);

fn every_way_of_receiving_is_interrupted_and_the_message_that_comes_after_is_received(
    backend: Backend,
) {
    count_signals();
    let (mut rx, mut tx) = open(backend);
    with_each_interrupted(10, || {
        interrupted(|| rx.recv().map(drop));
        interrupted(|| rx.recv_timeout(LONG).map(drop));
        interrupted(|| rx.recv_into(&mut [0; FILLER]));
        interrupted(|| rx.recv_in_place().map(drop));
        interrupted(|| rx.recv_in_place_timeout(LONG).map(drop));
        interrupted(|| rx.recv_batch().map(drop));
        interrupted(|| rx.recv_batch_timeout(LONG).map(drop));
        interrupted(|| rx.poll(None));
        interrupted(|| rx.poll(Some(LONG)));
        interrupted(|| rx.read(&mut [0; FILLER]));
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    });
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    check(&rx.recv().unwrap(), 1, 0, FILLER);
    assert_empty_but_alive(&mut rx);
}

fn every_way_of_sending_into_a_full_pipe_is_interrupted_and_nothing_is_sent(backend: Backend) {
    count_signals();
    let (mut rx, mut tx) = open(backend);
    let held = fill(&mut tx, 1);
    with_each_interrupted(6, || {
        interrupted(|| tx.send(&[7; FILLER]));
        interrupted(|| tx.send_timeout(&[7; FILLER], LONG));
        interrupted(|| tx.send(&[7; LARGE]));
        interrupted(|| tx.send_vectored(&[io::IoSlice::new(&[7; FILLER])]));
        interrupted(|| tx.send_batch([[7; FILLER]]));
        interrupted(|| tx.write(&[7; FILLER]));
    });
    drain(&mut rx, 1, 0..held, FILLER);
    assert_empty_but_alive(&mut rx);
    tx.send(&pattern(1, held, FILLER)).unwrap();
    check(&rx.recv().unwrap(), 1, held, FILLER);
}

fn a_wait_for_many_is_interrupted(backend: Backend) {
    count_signals();
    let (mut rx, mut tx) = open(backend);
    let (mut full_rx, mut full) = open(backend);
    let held = fill(&mut full, 1);
    with_each_interrupted(2, || {
        interrupted(|| shmpipe::wait(&mut [&mut rx, &mut full], None));
        interrupted(|| shmpipe::wait(&mut [&mut rx, &mut full], Some(LONG)));
    });
    tx.send(b"there").unwrap();
    assert_eq!(shmpipe::wait(&mut [&mut rx, &mut full], None).unwrap(), [0]);
    drain(&mut full_rx, 1, 0..held, FILLER);
}

fn a_long_send_is_interrupted_inside_and_receivers_pass_over_it(backend: Backend) {
    count_signals();
    let (mut rx, mut tx) = open(backend);
    with_each_interrupted(2, || {
        interrupted(|| tx.send(&pattern(1, 0, LARGE)));
        interrupted(|| tx.send_timeout(&pattern(1, 1, LARGE), LONG));
    });
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    let sender = fork(|| {
        tx.send(&pattern(1, 2, LARGE)).unwrap();
        tx.send(&pattern(1, 3, FILLER)).unwrap();
    });
    check(&rx.recv().unwrap(), 1, 2, LARGE);
    check(&rx.recv().unwrap(), 1, 3, FILLER);
    sender.join();
    assert_empty_but_alive(&mut rx);
}

fn a_slot_that_is_committed_by_a_long_send_is_interrupted_unsent(backend: Backend) {
    count_signals();
    let (mut rx, mut tx) = open(backend);
    with_each_interrupted(1, || {
        let slot = tx.reserve(LARGE).unwrap();
        interrupted(|| slot.commit());
    });
    let sender = fork(|| tx.send(&pattern(1, 2, LARGE)).unwrap());
    check(&rx.recv().unwrap(), 1, 2, LARGE);
    sender.join();
    assert_empty_but_alive(&mut rx);
}

/// A child that is asleep inside a long send.
fn long_sender(tx: &mut Sender) -> Child {
    let child = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    child.until_asleep();
    child
}

fn a_sender_behind_a_long_send_is_interrupted_and_the_other_goes_on(backend: Backend) {
    count_signals();
    let (mut rx, mut tx) = open(backend);
    let first = long_sender(&mut tx);
    with_each_interrupted(3, || {
        interrupted(|| tx.send(&[7; FILLER]));
        interrupted(|| tx.send(&[7; LARGE]));
        interrupted(|| tx.send_timeout(&[7; FILLER], LONG));
    });
    // One that waits all the time is not forgotten when another one gives up.
    let third = fork(|| tx.send(&pattern(3, 0, LARGE)).unwrap());
    third.until_asleep();
    with_each_interrupted(1, || interrupted(|| tx.send(&[7; FILLER])));
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    check(&rx.recv().unwrap(), 3, 0, LARGE);
    first.join();
    third.join();
    assert_empty_but_alive(&mut rx);
}

fn a_sender_behind_a_slot_is_interrupted(backend: Backend) {
    if backend == Backend::Kernel {
        // Its slots keep nobody waiting.
        return;
    }
    count_signals();
    let (mut rx, mut tx) = open(backend);
    let mut other = tx.try_clone().unwrap();
    let mut slot = tx.reserve(4).unwrap();
    assert!(slot.is_in_place());
    with_each_interrupted(2, || {
        interrupted(|| other.send(&[7; FILLER]));
        interrupted(|| other.send(&[7; LARGE]));
    });
    slot.copy_from_slice(b"slot");
    slot.commit().unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"slot");
    assert_empty_but_alive(&mut rx);
}

fn a_receiver_behind_another_one_inside_a_long_message_is_interrupted(backend: Backend) {
    count_signals();
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| {
        tx.send(&pattern(1, 0, LARGE)).unwrap();
        tx.send(&pattern(1, 1, FILLER)).unwrap();
    });
    sender.until_asleep();
    sender.stop();
    let inside = fork(|| check(&rx.recv().unwrap(), 1, 0, LARGE));
    inside.until_asleep();
    with_each_interrupted(3, || {
        interrupted(|| rx.recv().map(drop));
        interrupted(|| rx.recv_timeout(LONG).map(drop));
        interrupted(|| rx.poll(None));
    });
    sender.cont();
    inside.join();
    check(&rx.recv().unwrap(), 1, 1, FILLER);
    sender.join();
    assert_empty_but_alive(&mut rx);
}

fn a_long_receive_is_interrupted_inside_and_the_next_one_gets_the_whole(backend: Backend) {
    count_signals();
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| {
        for number in 0..2 {
            tx.send(&pattern(1, number, LARGE)).unwrap();
        }
        tx.send(&pattern(1, 2, FILLER)).unwrap();
    });
    sender.until_asleep();
    sender.stop();
    let receiver = fork(|| {
        interrupted(|| rx.recv().map(drop));
        interrupted(|| rx.recv_into(&mut [0; LARGE]));
        interrupted(|| rx.recv_timeout(LONG).map(drop));
        sender.cont();
        check(&rx.recv().unwrap(), 1, 0, LARGE);
        sender.until_asleep();
        kill(sender.pid(), Signal::SIGSTOP).unwrap();
        interrupted(|| rx.recv_into(&mut [0; LARGE]));
        sender.cont();
        let mut message = vec![0; LARGE];
        assert_eq!(rx.recv_into(&mut message).unwrap(), LARGE);
        check(&message, 1, 1, LARGE);
    });
    interrupt(&receiver, 4);
    receiver.join();
    check(&rx.recv().unwrap(), 1, 2, FILLER);
    sender.join();
    assert_empty_but_alive(&mut rx);
}

/// Time-outs of this length are interrupted some three hundred times.
const WHILE: Duration = Duration::from_millis(300);

/// Makes `call` in a storm of signals, with a hook that never ends it, and asserts that it took its time.
fn keeps_its_time<T>(call: impl FnOnce() -> T) -> T {
    let before = handled();
    let asked = Cell::new(0);
    let hook = || {
        asked.set(asked.get() + 1);
        false
    };
    let start = Instant::now();
    let outcome = Interrupt::new(&hook).during(call);
    let elapsed = start.elapsed();
    assert!(elapsed >= WHILE, "{elapsed:?} is before {WHILE:?}");
    let signals = handled() - before;
    assert!(signals >= 10, "{signals} signals are no storm");
    // A signal may come between two sleeps, and then another one.
    assert!(asked.get() >= 10, "asked {} times", asked.get());
    outcome
}

fn calls_go_on_with_the_same_deadline_where_the_hook_says_no(backend: Backend) {
    count_signals();
    let (mut rx, mut tx) = open(backend);
    let child = fork(|| {
        start_storm();
        let outcome = keeps_its_time(|| rx.recv_timeout(WHILE).map(drop));
        assert!(matches!(outcome, Err(RecvTimeoutError::Timeout)));
        assert!(!keeps_its_time(|| rx.poll(Some(WHILE))).unwrap());
        let ready = keeps_its_time(|| shmpipe::wait(&mut [&mut rx], Some(WHILE)));
        assert!(ready.unwrap().is_empty());
        fill(&mut tx, 1);
        let outcome = keeps_its_time(|| tx.send_timeout(&[7; FILLER], WHILE));
        assert!(matches!(outcome, Err(SendTimeoutError::Timeout)));
    });
    child.join();
}

fn a_sender_behind_a_long_send_keeps_its_deadline_where_the_hook_says_no(backend: Backend) {
    count_signals();
    let (mut rx, mut tx) = open(backend);
    let first = long_sender(&mut tx);
    let child = fork(|| {
        start_storm();
        let outcome = keeps_its_time(|| tx.send_timeout(&[7; FILLER], WHILE));
        assert!(matches!(outcome, Err(SendTimeoutError::Timeout)));
    });
    child.join();
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    first.join();
}

/// A hook that says yes when it is asked for the second time.
fn second_time() -> impl Fn() -> bool {
    let asked = Cell::new(0);
    move || {
        asked.set(asked.get() + 1);
        asked.get() > 1
    }
}

/// Nobody sends a signal here: without the descriptor the calls would sleep for good.
fn a_readable_descriptor_has_the_hook_asked_without_a_signal(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let (mut full_rx, mut full) = open(backend);
    let held = fill(&mut full, 1);
    let (wake, mut handler) = pipe().unwrap();
    handler.write_all(b"!").unwrap();
    let kind = |call: &mut dyn FnMut() -> io::Result<()>| {
        let hook = second_time();
        let outcome = Interrupt::new(&hook).woken_by(wake.as_fd()).during(call);
        outcome.map_err(|error| error.kind())
    };
    let expected = Err(ErrorKind::Interrupted);
    assert_eq!(kind(&mut || Ok(rx.recv().map(drop)?)), expected);
    assert_eq!(kind(&mut || Ok(rx.recv_timeout(LONG).map(drop)?)), expected);
    assert_eq!(kind(&mut || rx.poll(None).map(drop)), expected);
    assert_eq!(
        kind(&mut || shmpipe::wait(&mut [&mut rx], None).map(drop)),
        expected
    );
    assert_eq!(kind(&mut || Ok(full.send(&[7; FILLER])?)), expected);
    assert_eq!(kind(&mut || Ok(tx.send(&[7; LARGE])?)), expected);
    // What is there is received, whatever else there is.
    full.try_clone().unwrap();
    assert_eq!(kind(&mut || Ok(full_rx.recv().map(drop)?)), Ok(()));
    drain(&mut full_rx, 1, 1..held, FILLER);
}

fn a_descriptor_that_becomes_readable_wakes_a_sleeper(backend: Backend) {
    let (mut rx, _tx) = open(backend);
    let (wake, mut handler) = pipe().unwrap();
    fcntl(&wake, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let sleeper = thread(move || {
        let seen = Cell::new(0);
        let hook = || {
            // Empty where it is asked before a sleep.
            seen.set(seen.get() + (&wake).read(&mut [0]).unwrap_or(0));
            seen.get() == 2
        };
        let interrupt = Interrupt::new(&hook).woken_by(wake.as_fd());
        let outcome = interrupt.during(|| rx.recv().map(drop));
        assert!(matches!(outcome, Err(RecvError::Interrupted)));
    });
    for _ in 0..2 {
        sleeper.until_asleep();
        handler.write_all(b"!").unwrap();
    }
    sleeper.join();
}

fn a_descriptor_that_hung_up_keeps_nobody_awake(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let (wake, handler) = pipe().unwrap();
    drop(handler);
    let sleeper = thread(move || {
        let interrupt = Interrupt::new(&|| false).woken_by(wake.as_fd());
        interrupt.during(|| rx.recv().unwrap().len())
    });
    sleeper.until_asleep();
    tx.send(&[7; FILLER]).unwrap();
    assert_eq!(sleeper.join(), FILLER);
}

/// futex(2) watches no descriptor; a signal that came too early must not be waited for until the next.
fn a_sender_behind_a_long_send_asks_by_itself(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let first = long_sender(&mut tx);
    let stop = shared_counter();
    let second = thread({
        let mut tx = tx.try_clone().unwrap();
        move || {
            Interrupt::new(&|| stop.load(Ordering::SeqCst) != 0).during(|| tx.send(&[7; FILLER]))
        }
    });
    second.until_asleep();
    stop.store(1, Ordering::SeqCst);
    assert!(matches!(second.join(), Err(SendError::Interrupted)));
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    first.join();
}

fn calls_that_need_not_sleep_ask_nobody(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let held = fill(&mut tx, 1);
    Interrupt::new(&|| panic!("asked")).during(|| {
        for _ in 0..held {
            assert!(rx.poll(None).unwrap());
            assert_eq!(shmpipe::wait(&mut [&mut rx], None).unwrap(), [0]);
            assert_eq!(rx.recv().unwrap().len(), FILLER);
        }
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        assert!(matches!(
            rx.recv_timeout(Duration::ZERO),
            Err(RecvTimeoutError::Timeout)
        ));
        assert!(!rx.poll(Some(Duration::ZERO)).unwrap());
        let ready = shmpipe::wait(&mut [&mut rx], Some(Duration::ZERO));
        assert!(ready.unwrap().is_empty());
        tx.send(&[7; FILLER]).unwrap();
        tx.send_timeout(&[7; FILLER], LONG).unwrap();
        tx.try_send(&[7; FILLER]).unwrap();
        drop(tx);
        assert_eq!(rx.messages().count(), 3);
    });
}

fn a_hook_may_use_pipes_and_is_not_asked_by_its_own_calls(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let (other_rx, mut other_tx) = open(backend);
    let other_rx = Cell::new(Some(other_rx));
    let hook = |expected: Result<usize, ErrorKind>| {
        let mut rx = other_rx.take().expect("asked once");
        let outcome = rx.recv_timeout(SHORT).map(|message| message.len());
        assert_eq!(
            outcome.map_err(|error| io::Error::from(error).kind()),
            expected
        );
        other_rx.set(Some(rx));
        true
    };
    // A recv that sleeps is in the middle of nothing.
    other_tx.send(&pattern(1, 0, LARGE / 4)).unwrap();
    interrupted_by(&|| hook(Ok(LARGE / 4)), || rx.recv().map(drop));
    interrupted_by(&|| hook(Err(ErrorKind::TimedOut)), || rx.recv().map(drop));
    // A long send that sleeps is.
    let mut tx = tx;
    other_tx.send(&pattern(1, 1, LARGE / 4)).unwrap();
    interrupted_by(&|| hook(Err(ErrorKind::Deadlock)), || tx.send(&[7; LARGE]));
    interrupted_by(&|| hook(Ok(LARGE / 4)), || rx.recv().map(drop));
}

#[track_caller]
fn interrupted_by<T, E: Into<io::Error>>(
    hook: &dyn Fn() -> bool,
    call: impl FnOnce() -> Result<T, E>,
) {
    let outcome = Interrupt::new(hook).during(call);
    let kind = outcome.map(drop).map_err(|error| error.into().kind());
    assert_eq!(kind, Err(ErrorKind::Interrupted));
}

fn the_inner_of_two_hooks_is_asked_and_the_outer_one_after_it(backend: Backend) {
    let (mut rx, _tx) = open(backend);
    let (outer, inner) = (Cell::new(0), Cell::new(0));
    let count = |asked: &Cell<u32>| {
        asked.set(asked.get() + 1);
        true
    };
    let asked = |rx: &mut Receiver| {
        assert!(matches!(rx.recv(), Err(RecvError::Interrupted)));
        (outer.get(), inner.get())
    };
    Interrupt::new(&|| count(&outer)).during(|| {
        Interrupt::new(&|| count(&inner)).during(|| assert_eq!(asked(&mut rx), (0, 1)));
        assert_eq!(asked(&mut rx), (1, 1));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Interrupt::new(&|| count(&inner)).during(|| panic!("this panic is part of the test"));
        }));
        assert!(panicked.is_err());
        assert_eq!(asked(&mut rx), (2, 1));
    });
    // Behind all of them nobody is asked.
    assert!(matches!(
        rx.recv_timeout(SHORT),
        Err(RecvTimeoutError::Timeout)
    ));
    assert_eq!((outer.get(), inner.get()), (2, 1));
}
