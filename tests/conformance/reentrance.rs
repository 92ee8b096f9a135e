//! Signal handlers that use pipes while their thread is inside a call: an error in time, and nothing lost or shut.
//!
//! A thread can tell the kernel of one lock at a time. A handler that takes another one, or waits for its own
//! thread's, must be refused.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use shmpipe::{Backend, Receiver, RecvError, Sender, Slot, View};

use crate::ends::{FILLER, LARGE, SHORT, assert_empty_but_alive, drain, fill, open};
use crate::support::{Child, check, fork, leaking, on_both_backends, pattern, shared_counters};

on_both_backends! {
    a_handlers_long_send_elsewhere_inside_a_long_send_shuts_nobody_out_when_it_is_killed within 20,
    a_handlers_sends_on_its_threads_own_side_are_refused_in_time,
    a_handlers_receives_inside_its_threads_long_receive_are_refused_in_time,
    a_handler_whose_thread_is_inside_nothing_sends_and_waits_as_anybody,
    a_handler_that_commits_a_slot_inside_a_long_send_gives_its_side_back within 20,
    a_handler_that_drops_a_view_inside_a_long_send_has_received_it_once,
    a_child_that_a_handler_forks_inside_a_long_send_sends_as_any_other,
    handlers_at_any_moment_of_short_sends_lose_nothing within 120,
    a_thread_killed_in_any_handler_shuts_nobody_out within 120,
}

/// What the handlers of this file have done, in memory that forked processes share.
struct Books {
    /// Handlers that came to their end.
    handled: &'static AtomicU64,
    /// Sends and receives by handlers that succeeded, that were refused, and that ended in another way.
    done: &'static AtomicU64,
    refused: &'static AtomicU64,
    otherwise: &'static AtomicU64,
}

static BOOKS: std::sync::OnceLock<Books> = std::sync::OnceLock::new();

fn books() -> &'static Books {
    BOOKS.get_or_init(|| {
        let [handled, done, refused, otherwise] = shared_counters(4) else {
            unreachable!("four were asked for")
        };
        Books {
            handled,
            done,
            refused,
            otherwise,
        }
    })
}

impl Books {
    fn note<T, E: Into<io::Error>>(&self, outcome: Result<T, E>) {
        let counter = match outcome.map_err(Into::into) {
            Ok(_) => self.done,
            Err(error) if error.kind() == ErrorKind::Deadlock => self.refused,
            Err(_) => self.otherwise,
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until so many handlers came to their end.
    fn until_handled(&self, count: u64) {
        while self.handled.load(Ordering::SeqCst) < count {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[track_caller]
    fn assert(&self, done: u64, refused: u64) {
        let found = [self.done, self.refused, self.otherwise];
        let found = found.map(|counter| counter.load(Ordering::SeqCst));
        assert_eq!(found, [done, refused, 0], "done, refused, otherwise");
    }
}

/// What the next handler does; a leaked box.
static ACT: AtomicPtr<Box<dyn Fn()>> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn handle(_signal: libc::c_int) {
    // SAFETY: null or a box that is never freed.
    if let Some(act) = unsafe { ACT.load(Ordering::SeqCst).as_ref() } {
        let errno = nix::errno::Errno::last_raw();
        act();
        nix::errno::Errno::set_raw(errno);
    }
    books().handled.fetch_add(1, Ordering::SeqCst);
}

/// Has `signal` do `act` in this process and those that it forks from now on.
///
/// What `act` calls is async-signal-safe as far as the thread is in no allocation, which the tests see to by
/// interrupting sleeps and short sends alone.
fn on_signal(signal: Signal, act: impl Fn() + 'static) {
    books();
    let act: Box<dyn Fn()> = Box::new(act);
    ACT.store(Box::into_raw(Box::new(act)), Ordering::SeqCst);
    let action = SigAction::new(
        SigHandler::Handler(handle),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: see above.
    unsafe { sigaction(signal, &action) }.unwrap();
}

/// A cell for an end that handlers use one at a time.
fn shared<T: 'static>(end: T) -> &'static Cell<Option<T>> {
    Box::leak(Box::new(Cell::new(Some(end))))
}

fn with<T: 'static>(cell: &'static Cell<Option<T>>, act: impl FnOnce(&mut T)) {
    let mut end = cell.take().expect("handlers do not interrupt handlers");
    act(&mut end);
    cell.set(Some(end));
}

/// Interrupts a child that is asleep, and waits until its handler is through and it sleeps again.
fn interrupt(child: &Child, nth: u64) {
    child.until_asleep();
    kill(child.pid(), Signal::SIGUSR1).unwrap();
    books().until_handled(nth);
    child.until_asleep();
}

fn assert_goes_on(rx: &mut Receiver, tx: &mut Sender) {
    let other = fork(|| {
        tx.send(b"short").unwrap();
        tx.send(&pattern(9, 0, LARGE)).unwrap();
    });
    assert_eq!(&*rx.recv().unwrap(), b"short");
    check(&rx.recv().unwrap(), 9, 0, LARGE);
    assert_empty_but_alive(rx);
    other.join();
}

fn a_handlers_long_send_elsewhere_inside_a_long_send_shuts_nobody_out_when_it_is_killed(
    backend: Backend,
) {
    let (mut rx, mut tx) = open(backend);
    let (mut other_rx, mut other_tx) = open(backend);
    let clone = shared(other_tx.try_clone().unwrap());
    on_signal(Signal::SIGUSR1, move || {
        with(clone, |tx| books().note(tx.send(&[7; LARGE])));
    });
    let victim = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    victim.until_asleep();
    kill(victim.pid(), Signal::SIGUSR1).unwrap();
    // In the handler or behind it, whichever way it goes.
    victim.until_asleep();
    victim.kill();
    let sender = fork(|| tx.send(b"short").unwrap());
    assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
    assert_eq!(&*rx.recv().unwrap(), b"short");
    sender.join();
    assert_goes_on(&mut rx, &mut tx);
    assert_goes_on(&mut other_rx, &mut other_tx);
    books().assert(0, 1);
}

fn a_handlers_sends_on_its_threads_own_side_are_refused_in_time(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let clone = shared(tx.try_clone().unwrap());
    on_signal(Signal::SIGUSR1, move || {
        with(clone, |tx| {
            books().note(tx.send(b"lost otherwise"));
            books().note(tx.try_send(b"lost otherwise"));
            let start = Instant::now();
            books().note(tx.send_timeout(b"lost otherwise", Duration::from_secs(3600)));
            books().note(tx.send_timeout(&[7; LARGE], Duration::from_secs(3600)));
            books().note(tx.send_batch([b"lost otherwise"; 3]));
            assert!(start.elapsed() < Duration::from_secs(60));
        });
    });
    let sender = fork(|| {
        tx.send(&pattern(1, 0, LARGE)).unwrap();
        tx.send(&pattern(1, 1, LARGE)).unwrap();
    });
    interrupt(&sender, 1);
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    interrupt(&sender, 2);
    check(&rx.recv().unwrap(), 1, 1, LARGE);
    sender.join();
    books().assert(0, 10);
    assert_goes_on(&mut rx, &mut tx);
}

fn a_handlers_receives_inside_its_threads_long_receive_are_refused_in_time(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let clone = shared(rx.try_clone().unwrap());
    on_signal(Signal::SIGUSR1, move || {
        with(clone, |rx| {
            let start = Instant::now();
            books().note(rx.recv());
            books().note(rx.try_recv());
            books().note(rx.recv_timeout(Duration::from_secs(3600)));
            books().note(rx.recv_into(&mut [0; FILLER]));
            books().note(rx.poll(Some(Duration::from_secs(3600))));
            assert!(start.elapsed() < Duration::from_secs(60));
        });
    });
    let sender = fork(|| {
        tx.send(&pattern(1, 0, LARGE)).unwrap();
        tx.send(&pattern(1, 1, FILLER)).unwrap();
    });
    sender.until_asleep();
    sender.stop();
    let receiver = fork(|| {
        check(&rx.recv().unwrap(), 1, 0, LARGE);
        check(&rx.recv().unwrap(), 1, 1, FILLER);
    });
    interrupt(&receiver, 1);
    sender.cont();
    receiver.join();
    sender.join();
    books().assert(0, 5);
    assert_goes_on(&mut rx, &mut tx);
}

fn a_handler_whose_thread_is_inside_nothing_sends_and_waits_as_anybody(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let (mut other_rx, mut other_tx) = open(backend);
    let clone = shared(other_tx.try_clone().unwrap());
    on_signal(Signal::SIGUSR1, move || {
        with(clone, |tx| books().note(tx.send(&pattern(2, 0, LARGE))));
    });
    let receiver = fork(|| check(&rx.recv().unwrap(), 1, 0, FILLER));
    receiver.until_asleep();
    kill(receiver.pid(), Signal::SIGUSR1).unwrap();
    // Asleep inside the handler's send.
    receiver.until_asleep();
    check(&other_rx.recv().unwrap(), 2, 0, LARGE);
    books().until_handled(1);
    kill(receiver.pid(), Signal::SIGUSR1).unwrap();
    assert!(other_rx.poll(None).unwrap());
    receiver.until_asleep();
    receiver.kill();
    books().assert(1, 0);
    // Both sides that the dead one was in, or near, go on.
    let sender = fork(|| other_tx.send(b"after it").unwrap());
    assert!(matches!(other_rx.recv(), Err(RecvError::Aborted)));
    assert_eq!(&*other_rx.recv().unwrap(), b"after it");
    sender.join();
    assert_goes_on(&mut rx, &mut tx);
    assert_goes_on(&mut other_rx, &mut other_tx);
}

fn a_handler_that_commits_a_slot_inside_a_long_send_gives_its_side_back(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let (mut other_rx, mut other_tx) = open(backend);
    let sender = leaking(|| Box::leak(Box::new(other_tx.try_clone().unwrap())));
    let sender = std::ptr::from_mut(sender);
    let slot: &'static Cell<Option<Slot<'static>>> =
        leaking(|| Box::leak(Box::new(Cell::new(None))));
    on_signal(Signal::SIGUSR1, move || {
        books().note(slot.take().expect("one signal only").commit());
    });
    let child = fork(|| {
        // SAFETY: leaked, and used here alone.
        let mut reserved = unsafe { &mut *sender }.reserve(8).unwrap();
        reserved.copy_from_slice(b"unsent.8");
        slot.set(Some(reserved));
        tx.send(&pattern(1, 0, LARGE)).unwrap();
    });
    interrupt(&child, 1);
    books().assert(0, 1);
    // While the one that had the slot lives on.
    assert_goes_on(&mut other_rx, &mut other_tx);
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    child.join();
}

fn a_handler_that_drops_a_view_inside_a_long_send_has_received_it_once(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let (mut other_rx, mut other_tx) = open(backend);
    let receiver = leaking(|| Box::leak(Box::new(other_rx.try_clone().unwrap())));
    let receiver = std::ptr::from_mut(receiver);
    let view: &'static Cell<Option<View<'static>>> =
        leaking(|| Box::leak(Box::new(Cell::new(None))));
    other_tx.send(b"seen in place").unwrap();
    other_tx.send(b"the next").unwrap();
    on_signal(Signal::SIGUSR1, move || drop(view.take()));
    let child = fork(|| {
        // SAFETY: leaked, and used here alone.
        let lent = unsafe { &mut *receiver }.recv_in_place().unwrap();
        assert_eq!(lent.to_vec(), b"seen in place");
        view.set(Some(lent));
        tx.send(&pattern(1, 0, LARGE)).unwrap();
    });
    interrupt(&child, 1);
    assert_eq!(&*other_rx.recv().unwrap(), b"the next");
    assert_goes_on(&mut other_rx, &mut other_tx);
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    child.join();
}

fn a_child_that_a_handler_forks_inside_a_long_send_sends_as_any_other(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let (mut other_rx, other_tx) = open(backend);
    let clone = shared(other_tx.try_clone().unwrap());
    on_signal(Signal::SIGUSR1, move || {
        fork(|| with(clone, |tx| books().note(tx.send(&pattern(2, 0, LARGE))))).join();
    });
    let sender = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    sender.until_asleep();
    kill(sender.pid(), Signal::SIGUSR1).unwrap();
    check(&other_rx.recv().unwrap(), 2, 0, LARGE);
    books().until_handled(1);
    books().assert(1, 0);
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    sender.join();
}

/// From now on this process gets a SIGALRM each so many microseconds.
fn start_storm(microseconds: i64) {
    let interval = libc::timeval {
        tv_sec: 0,
        tv_usec: microseconds,
    };
    let timer = libc::itimerval {
        it_interval: interval,
        it_value: interval,
    };
    // SAFETY: `timer` is a live itimerval, and a null old value is allowed (setitimer(2)).
    let outcome =
        unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(outcome, 0, "{}", io::Error::last_os_error());
}

const ROUNDS: u64 = 400;

fn handlers_at_any_moment_of_short_sends_lose_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let (mut other_rx, other_tx) = open(backend);
    let same = shared(tx.try_clone().unwrap());
    let other = shared(other_tx);
    on_signal(Signal::SIGALRM, move || {
        with(same, |tx| books().note(tx.send(b"same side")));
        with(other, |tx| books().note(tx.send(b"other pipe")));
    });
    let sender = fork(|| {
        start_storm(200);
        let mut number = 0;
        while books().handled.load(Ordering::Relaxed) < ROUNDS {
            tx.send(&pattern(1, number, FILLER)).unwrap();
            number += 1;
        }
        start_storm(0);
        tx.send(&number.to_ne_bytes()).unwrap();
    });
    let (mut numbered, mut by_handlers) = (0, 0);
    let sent = loop {
        // The other pipe must not fill up.
        while other_rx
            .try_recv()
            .is_ok_and(|message| &*message == b"other pipe")
        {
            by_handlers += 1;
        }
        match &*rx.recv().unwrap() {
            b"same side" => by_handlers += 1,
            message if message.len() == FILLER => {
                check(message, 1, numbered, FILLER);
                numbered += 1;
            }
            message => break u64::from_ne_bytes(message.try_into().unwrap()),
        }
    };
    sender.join();
    while let Ok(message) = other_rx.try_recv() {
        assert_eq!(&*message, b"other pipe");
        by_handlers += 1;
    }
    assert_eq!(numbered, sent);
    let refused = books().refused.load(Ordering::SeqCst);
    books().assert(by_handlers, refused);
    assert_eq!(
        by_handlers + refused,
        2 * books().handled.load(Ordering::SeqCst)
    );
}

fn a_thread_killed_in_any_handler_shuts_nobody_out(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let (mut other_rx, mut other_tx) = open(backend);
    let other = shared(other_tx.try_clone().unwrap());
    on_signal(Signal::SIGALRM, move || {
        with(other, |tx| {
            let _ = tx.try_send(&[7; FILLER]);
        });
    });
    for round in 1..=40 {
        let victim = fork(|| {
            start_storm(100);
            loop {
                let _ = tx.try_send(&[7; FILLER]);
            }
        });
        books().until_handled(round * 20);
        victim.kill();
        for (rx, tx) in [(&mut rx, &mut tx), (&mut other_rx, &mut other_tx)] {
            while rx.try_recv().is_ok() {}
            tx.send_timeout(b"after it", Duration::from_secs(30))
                .unwrap();
            assert_eq!(&*rx.recv().unwrap(), b"after it");
        }
    }
    assert!(fill(&mut tx, 1) > 0);
    let held = rx.recv_timeout(SHORT).unwrap().len();
    assert_eq!(held, FILLER);
    drop(tx);
    drain(&mut rx, 1, 1..2, FILLER);
}
