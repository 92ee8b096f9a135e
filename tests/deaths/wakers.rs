//! Whoever dies while it publishes a message or wakes the other side leaves that to the next one.
//!
//! One victim after another dies within some microseconds of such a moment, and then a survivor does
//! one thing that must be noticed. Nobody else is there to hide a wake-up that was lost: that would
//! show as a hang.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use shmpipe::{Backend, Receiver, RecvError, SendError};

use crate::ends::{FILLER, fill, open};
use crate::support::Random;
use crate::support::{
    Child, Line, check, fork, fork_apart, identify, long, on_both_backends, pattern, shared_counter,
};

on_both_backends! {
    a_message_sent_after_a_busy_sender_was_killed_is_received within 120,
    a_message_sent_after_a_sender_was_killed_around_its_wake_up_is_received within 120,
    a_sender_asleep_on_a_full_pipe_goes_on_after_a_receiver_was_killed_around_its_wake_up within 120,
}

/// The sender's name of messages from the survivor.
const SURVIVOR: u16 = 0;

/// That of messages from victims.
const VICTIM: u16 = 1;

/// Victims in one test, of which `ordinary` in its ordinary form.
fn victims(ordinary: u64) -> u64 {
    if long() { 50_000 } else { ordinary }
}

/// Receives to the end and tells of each message from the survivor. Those of victims are all alike, so
/// that both sides spend their time in the pipe.
fn tell_of_the_survivors(mut rx: Receiver, told: &Line) {
    let from_victim = pattern(VICTIM, 0, 8);
    loop {
        match rx.recv() {
            Ok(message) if *message == *from_victim => {}
            Ok(message) => {
                let (sender, number) = identify(&message);
                check(&message, SURVIVOR, number, 8);
                assert_eq!(sender, SURVIVOR);
                told.put(number);
            }
            Err(RecvError::Disconnected) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn spin_for(span: Duration) {
    let since = Instant::now();
    while since.elapsed() < span {
        std::hint::spin_loop();
    }
}

/// A victim that is ready before it is told to go, so that the kill can be timed.
struct Starter {
    is_ready: &'static AtomicU64,
    may_go: &'static AtomicU64,
}

impl Starter {
    fn new() -> Self {
        Self {
            is_ready: shared_counter(),
            may_go: shared_counter(),
        }
    }

    /// Forks a process that does `work` once it may go.
    fn start(&self, work: impl FnOnce()) -> Child {
        self.is_ready.store(0, Ordering::Relaxed);
        self.may_go.store(0, Ordering::Relaxed);
        let child = fork(|| {
            self.is_ready.store(1, Ordering::Release);
            while self.may_go.load(Ordering::Acquire) == 0 {
                std::hint::spin_loop();
            }
            work();
            Line::new().wait();
        });
        while self.is_ready.load(Ordering::Acquire) == 0 {
            std::hint::spin_loop();
        }
        child
    }

    /// Lets it go and kills it after `wait`.
    fn kill_after(&self, child: Child, wait: impl FnOnce()) {
        self.may_go.store(1, Ordering::Release);
        wait();
        child.kill();
    }
}

/// The receiver keeps up, so it may have taken what the dead one had not yet counted.
fn a_message_sent_after_a_busy_sender_was_killed_is_received(backend: Backend) {
    let (rx, tx) = open(backend);
    let (told, starter) = (Line::new(), Starter::new());
    let (receiver, mut tx) = fork_apart(tx, || tell_of_the_survivors(rx, &told));
    let mut random = Random::new(37);
    let from_victim = pattern(VICTIM, 0, 8);
    for number in 0..victims(800) {
        let victim = starter.start(|| {
            loop {
                tx.send(&from_victim).unwrap();
            }
        });
        // Asleep, so that sender and receiver have a processor each where there are two.
        let span = Duration::from_micros(random.below_u64(400));
        starter.kill_after(victim, || sleep(span));
        tx.send(&pattern(SURVIVOR, number, 8)).unwrap();
        assert_eq!(told.take(), number);
    }
    drop(tx);
    receiver.join();
}

/// The receiver sleeps when the victim sends its only message, in whatever phase.
fn a_message_sent_after_a_sender_was_killed_around_its_wake_up_is_received(backend: Backend) {
    let (rx, tx) = open(backend);
    let (told, starter) = (Line::new(), Starter::new());
    let (receiver, mut tx) = fork_apart(tx, || tell_of_the_survivors(rx, &told));
    let mut random = Random::new(41);
    let from_victim = pattern(VICTIM, 0, 8);
    for number in 0..victims(300) {
        let victim = starter.start(|| {
            // A kill takes some microseconds to arrive.
            spin_for(Duration::from_micros(6));
            tx.send(&from_victim).unwrap();
        });
        // Chooses the phase; nothing depends on how long it is.
        sleep(Duration::from_micros(random.below_u64(1500)));
        let span = Duration::from_nanos(random.below_u64(15_000));
        starter.kill_after(victim, || spin_for(span));
        tx.send(&pattern(SURVIVOR, number, 8)).unwrap();
        assert_eq!(told.take(), number);
    }
    drop(tx);
    receiver.join();
}

/// The victim makes room, and then the survivor empties the pipe and needs more than it held.
fn a_sender_asleep_on_a_full_pipe_goes_on_after_a_receiver_was_killed_around_its_wake_up(
    backend: Backend,
) {
    let (_rx, mut tx) = open(backend);
    let held = fill(&mut tx, 0);
    let (rx, mut tx) = open(backend);
    let starter = Starter::new();
    let (sender, mut rx) = fork_apart(rx, || {
        let outcome = (0..).try_for_each(|number| tx.send(&pattern(SURVIVOR, number, FILLER)));
        assert!(
            matches!(outcome, Err(SendError::Disconnected)),
            "{outcome:?}"
        );
    });
    drop(tx);
    let mut random = Random::new(43);
    let mut least = 0;
    for _ in 0..victims(300) {
        let messages = 1 + random.below_u64(held);
        let victim = starter.start(|| {
            for _ in 0..messages {
                rx.recv().unwrap();
            }
        });
        // Chooses the phase; nothing depends on how long it is.
        sleep(Duration::from_micros(random.below_u64(1500)));
        let span = Duration::from_nanos(random.below_u64(60_000));
        starter.kill_after(victim, || spin_for(span));
        for _ in 0..held + 1 {
            let message = rx.recv().unwrap();
            let (_, number) = identify(&message);
            check(&message, SURVIVOR, number, FILLER);
            assert!(number >= least, "message {number} came after {least}");
            least = number + 1;
        }
    }
    drop(rx);
    sender.join();
}
