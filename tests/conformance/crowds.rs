//! Many threads of one process that sleep at the same side: one thing to do wakes one of them.
//!
//! What a thread does to others is counted in context switches, of which one that sleeps on makes none.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{Pid, getpid};
use shmpipe::{Backend, Receiver, RecvError, RecvTimeoutError, Sender, TryRecvError};

use crate::ends::{FILLER, SHORT, assert_at_end, drain, fill, open};
use crate::support::{
    Child, Line, Thread, check, fork, fork_apart, identify, on_both_backends, pattern, switches,
    thread, until_asleep,
};

on_both_backends! {
    one_message_wakes_one_of_many_sleeping_threads_and_that_one_the_next,
    as_many_messages_as_sleeping_threads_wake_each_thread_a_few_times,
    room_for_a_few_messages_wakes_a_few_of_many_sleeping_senders,
    a_thread_whose_time_is_over_leaves_the_messages_to_the_others,
    a_thread_that_sleeps_behind_another_keeps_its_time,
    every_sleeping_thread_hears_of_the_end_when_the_last_sender_is_killed,
    every_sleeping_thread_hears_of_the_last_receivers_end,
    a_handler_whose_thread_sleeps_for_all_is_woken_by_a_message,
    a_child_forked_while_threads_sleep_receives_by_itself,
    a_message_goes_to_another_process_when_one_of_many_sleeping_threads_is_stopped,
    a_message_goes_to_another_process_when_one_of_many_sleeping_threads_is_killed,
}

/// Threads that each receive one message and then rest until they are let go.
struct Crowd {
    threads: Vec<Thread<()>>,
    received: Arc<Line>,
    go: Arc<Line>,
}

impl Crowd {
    fn asleep(rx: &Receiver, count: usize) -> Self {
        let (received, go) = (Arc::new(Line::new()), Arc::new(Line::new()));
        let start = |_| {
            let (received, go) = (Arc::clone(&received), Arc::clone(&go));
            let mut rx = rx.try_clone().unwrap();
            thread(move || {
                let message = rx.recv().unwrap();
                let (sender, number) = identify(&message);
                check(&message, sender, number, FILLER);
                received.put(number);
                go.wait();
            })
        };
        let threads = (0..count).map(start).collect();
        let crowd = Self {
            threads,
            received,
            go,
        };
        crowd.until_asleep();
        crowd
    }

    fn ids(&self) -> Vec<(Pid, Pid)> {
        ids(&self.threads)
    }

    fn until_asleep(&self) {
        until_asleep(&self.ids());
    }

    /// How often each has gone to sleep.
    fn sleeps(&self) -> Vec<u64> {
        sleeps(&self.ids())
    }

    fn end(self) {
        self.threads.iter().for_each(|_| self.go.signal());
        self.threads.into_iter().for_each(Thread::join);
    }
}

fn ids<T>(threads: &[Thread<T>]) -> Vec<(Pid, Pid)> {
    threads.iter().map(|one| (getpid(), one.tid())).collect()
}

fn sleeps(ids: &[(Pid, Pid)]) -> Vec<u64> {
    let count = |&(pid, tid): &(Pid, Pid)| switches(pid, tid).voluntary;
    ids.iter().map(count).collect()
}

fn disturbed(before: &[u64], after: &[u64]) -> usize {
    before
        .iter()
        .zip(after)
        .filter(|(was, is)| was != is)
        .count()
}

fn one_message_wakes_one_of_many_sleeping_threads_and_that_one_the_next(backend: Backend) {
    const THREADS: u64 = 12;
    let (rx, mut tx) = open(backend);
    let crowd = Crowd::asleep(&rx, THREADS as usize);
    for number in 0..THREADS {
        let before = crowd.sleeps();
        tx.send(&pattern(0, number, FILLER)).unwrap();
        assert_eq!(crowd.received.take(), number);
        crowd.until_asleep();
        // The one that receives, and the one that sleeps in its place from now on.
        let woken = disturbed(&before, &crowd.sleeps());
        assert!((1..=2).contains(&woken), "{woken} of {THREADS} woke");
    }
    crowd.end();
}

fn as_many_messages_as_sleeping_threads_wake_each_thread_a_few_times(backend: Backend) {
    const THREADS: u64 = 200;
    let (rx, mut tx) = open(backend);
    let crowd = Crowd::asleep(&rx, THREADS as usize);
    let before = crowd.sleeps();
    (0..THREADS).for_each(|number| tx.send(&pattern(0, number, FILLER)).unwrap());
    let mut numbers: Vec<_> = (0..THREADS).map(|_| crowd.received.take()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..THREADS));
    crowd.until_asleep();
    let after = crowd.sleeps();
    let slept: u64 = before.iter().zip(&after).map(|(was, is)| is - was).sum();
    // Each is woken for its message, may wait for a lock, and rests in the end.
    assert!(slept <= 10 * THREADS, "{slept} sleeps of {THREADS} threads");
    crowd.end();
}

fn room_for_a_few_messages_wakes_a_few_of_many_sleeping_senders(backend: Backend) {
    const THREADS: u64 = 40;
    let (mut rx, mut tx) = open(backend);
    let held = fill(&mut tx, 0);
    let go = Arc::new(Line::new());
    let start = |number| {
        let (mut tx, go) = (tx.try_clone().unwrap(), Arc::clone(&go));
        thread(move || {
            tx.send(&pattern(1, number, FILLER)).unwrap();
            go.wait();
        })
    };
    let threads: Vec<_> = (0..THREADS).map(start).collect();
    let ids = ids(&threads);
    until_asleep(&ids);
    let before = sleeps(&ids);
    // Until there is room, which takes a different number of messages on each backend.
    let mut drained = 0;
    while disturbed(&before, &sleeps(&ids)) == 0 {
        drain(&mut rx, 0, drained..drained + 1, FILLER);
        drained += 1;
        until_asleep(&ids);
    }
    // Those that find room, at most an eighth of the capacity, and the one that sleeps for the others from now on.
    let woken = disturbed(&before, &sleeps(&ids));
    assert!(woken <= 20, "{woken} of {THREADS} woke");
    drain(&mut rx, 0, drained..held, FILLER);
    let mut numbers: Vec<_> = (0..THREADS)
        .map(|_| identify(&rx.recv().unwrap()).1)
        .collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..THREADS));
    until_asleep(&ids);
    let slept: u64 = before
        .iter()
        .zip(sleeps(&ids))
        .map(|(was, is)| is - was)
        .sum();
    assert!(slept <= 10 * THREADS, "{slept} sleeps of {THREADS} threads");
    threads.iter().for_each(|_| go.signal());
    threads.into_iter().for_each(Thread::join);
}

fn a_thread_whose_time_is_over_leaves_the_messages_to_the_others(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let mut timed = rx.try_clone().unwrap();
    let first = thread(move || {
        timed
            .recv_timeout(SHORT * 4)
            .map(|message| message.to_vec())
    });
    first.until_asleep();
    let crowd = Crowd::asleep(&rx, 3);
    let outcome = first.join();
    assert!(
        matches!(outcome, Err(RecvTimeoutError::Timeout)),
        "{outcome:?}"
    );
    crowd.until_asleep();
    for number in 0..3 {
        tx.send(&pattern(0, number, FILLER)).unwrap();
        assert_eq!(crowd.received.take(), number);
    }
    crowd.end();
}

fn a_thread_that_sleeps_behind_another_keeps_its_time(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let crowd = Crowd::asleep(&rx, 2);
    for _ in 0..3 {
        let start = Instant::now();
        let outcome = rx.recv_timeout(SHORT);
        let elapsed = start.elapsed();
        assert!(
            matches!(outcome, Err(RecvTimeoutError::Timeout)),
            "{outcome:?}"
        );
        assert!(elapsed >= SHORT, "{elapsed:?} is before {SHORT:?}");
        assert!(!rx.poll(Some(SHORT)).unwrap());
    }
    for number in 0..2 {
        tx.send(&pattern(0, number, FILLER)).unwrap();
        assert_eq!(crowd.received.take(), number);
    }
    crowd.end();
}

fn every_sleeping_thread_hears_of_the_end_when_the_last_sender_is_killed(backend: Backend) {
    let (rx, tx) = open(backend);
    let (rx, victim) = the_only_holder(rx, tx);
    let start = |_| {
        let mut rx = rx.try_clone().unwrap();
        thread(move || assert!(matches!(rx.recv(), Err(RecvError::Disconnected))))
    };
    let threads: Vec<_> = (0..100).map(start).collect();
    until_asleep(&ids(&threads));
    victim.kill();
    threads.into_iter().for_each(Thread::join);
    let mut rx = rx;
    assert_at_end(&mut rx);
}

/// Gives `theirs` to a child that does nothing.
fn the_only_holder<A, B>(ours: A, theirs: B) -> (A, Child) {
    let (child, ours) = fork_apart(ours, || {
        let _theirs = &theirs;
        loop {
            nix::unistd::pause();
        }
    });
    drop(theirs);
    (ours, child)
}

fn every_sleeping_thread_hears_of_the_last_receivers_end(backend: Backend) {
    let (rx, mut tx) = open(backend);
    fill(&mut tx, 0);
    let (tx, victim) = the_only_holder(tx, rx);
    let start = |_| {
        let mut tx: Sender = tx.try_clone().unwrap();
        thread(move || assert!(tx.send(&pattern(1, 0, FILLER)).is_err()))
    };
    let threads: Vec<_> = (0..50).map(start).collect();
    until_asleep(&ids(&threads));
    victim.kill();
    threads.into_iter().for_each(Thread::join);
}

/// What the handler receives with, whether it was entered, and the number that it got.
static HANDLERS: OnceLock<Mutex<Receiver>> = OnceLock::new();
static IS_ENTERED: OnceLock<Line> = OnceLock::new();
static OUTCOME: OnceLock<Line> = OnceLock::new();

extern "C" fn receive(_signal: libc::c_int) {
    let Some(Ok(mut rx)) = HANDLERS.get().map(Mutex::try_lock) else {
        return;
    };
    IS_ENTERED.get().expect("set before").signal();
    let number = rx.recv().map_or(u64::MAX, |message| identify(&message).1);
    OUTCOME.get().expect("set before").put(number);
}

fn a_handler_whose_thread_sleeps_for_all_is_woken_by_a_message(backend: Backend) {
    let (rx, mut tx) = open(backend);
    HANDLERS.set(Mutex::new(rx.try_clone().unwrap())).unwrap();
    IS_ENTERED.set(Line::new()).unwrap();
    OUTCOME.set(Line::new()).unwrap();
    let action = SigAction::new(
        SigHandler::Handler(receive),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler interrupts a thread that sleeps in the kernel and is in the middle of nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    let mut first_rx = rx.try_clone().unwrap();
    let first = thread(move || identify(&first_rx.recv().unwrap()).1);
    first.until_asleep();
    let crowd = Crowd::asleep(&rx, 2);
    let (us, it) = (getpid().as_raw(), first.tid().as_raw());
    // SAFETY: it sends a signal that has a handler.
    let outcome = unsafe { libc::syscall(libc::SYS_tgkill, us, it, libc::SIGUSR1) };
    assert_eq!(outcome, 0);
    IS_ENTERED.get().expect("set above").wait();
    first.until_asleep();
    tx.send(&pattern(0, 0, FILLER)).unwrap();
    assert_eq!(OUTCOME.get().expect("set above").take(), 0);
    (1..4).for_each(|number| tx.send(&pattern(0, number, FILLER)).unwrap());
    let mut numbers = vec![first.join()];
    numbers.extend((0..2).map(|_| crowd.received.take()));
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
    crowd.end();
}

fn a_child_forked_while_threads_sleep_receives_by_itself(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let crowd = Crowd::asleep(&rx, 2);
    let received = Line::new();
    let child = fork(|| {
        for _ in 0..2 {
            received.put(identify(&rx.recv().unwrap()).1);
        }
    });
    child.until_asleep();
    // The parent's threads are kept from receiving, so all that comes is the child's.
    let mut seen = Vec::new();
    for number in 0..4 {
        tx.send(&pattern(0, number, FILLER)).unwrap();
    }
    seen.extend((0..2).map(|_| crowd.received.take()));
    seen.extend((0..2).map(|_| received.take()));
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3]);
    child.join();
    crowd.end();
}

/// A child with many sleeping threads on a copy of `rx`.
fn crowd_in_a_child(rx: &Receiver) -> Child {
    let ready = Line::new();
    let child = fork(|| {
        let crowd = Crowd::asleep(rx, 5);
        ready.signal();
        crowd.end();
    });
    ready.wait();
    child
}

fn a_message_goes_to_another_process_when_one_of_many_sleeping_threads_is_stopped(
    backend: Backend,
) {
    let (mut rx, mut tx) = open(backend);
    let child = crowd_in_a_child(&rx);
    child.stop();
    for number in 0..3 {
        tx.send(&pattern(0, number, FILLER)).unwrap();
        check(&rx.recv().unwrap(), 0, number, FILLER);
    }
    child.cont();
    (0..5).for_each(|number| tx.send(&pattern(0, number, FILLER)).unwrap());
    child.join();
}

fn a_message_goes_to_another_process_when_one_of_many_sleeping_threads_is_killed(backend: Backend) {
    for _ in 0..10 {
        let (mut rx, mut tx) = open(backend);
        let child = crowd_in_a_child(&rx);
        let crowd = Crowd::asleep(&rx, 3);
        tx.send(&pattern(0, 0, FILLER)).unwrap();
        child.kill();
        // What the dead have taken is gone with them; what they have not is taken.
        crowd.until_asleep();
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        (1..4).for_each(|number| tx.send(&pattern(0, number, FILLER)).unwrap());
        for _ in 0..3 {
            crowd.received.take();
        }
        crowd.end();
    }
}
