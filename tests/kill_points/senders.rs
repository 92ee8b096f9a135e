//! Victims that send.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shmpipe::{Backend, SendTimeoutError, Sender, TrySendError, kill_points};

use crate::support::{
    Line, check, fork, fork_apart, identify, on_both_backends, pattern, pin_to, shared_counter,
};
use crate::walk::{
    BEFORE, Books, Copies, Ending, HEIR, HEIRS, VICTIM, count, doomed, ending, open, walk,
};

on_both_backends! {
    a_send_to_a_receiver_that_is_busy_elsewhere within 600,
    a_send_to_a_receiver_that_sleeps within 600,
    a_send_of_a_block within 600,
    a_send_into_a_full_pipe within 600,
    a_send_that_times_out within 600,
    a_send_in_fragments within 600,
    a_send_in_fragments_that_times_out within 600,
    sends_that_do_not_wait within 600,
    writes_of_a_stream within 600,
    a_batch within 600,
    a_batch_into_a_full_pipe within 600,
    a_slot_that_is_committed within 600,
    a_slot_that_is_dropped within 600,
    sends_and_slots_over_lines_that_were_claimed within 600,
    a_clone_that_is_dropped within 600,
    a_send_after_a_death_within_a_send within 600,
    a_send_after_a_death_inside_a_message within 600,
    a_ring_filled_by_the_dead_is_rung_for_by_the_one_that_finds_it_full within 40,
}

/// Small, so that a pipe is soon full.
const CAPACITY: usize = 16 * 1024;
pub(crate) const LARGE: usize = 3 * CAPACITY;
/// Payload of a record that takes a whole cache line.
const LINE: usize = 56;
/// Long enough for every phase of a wait to begin.
const SHORT: Duration = Duration::from_millis(2);

/// What the victim sends through, counting the sends that returned.
pub(crate) struct Talk {
    pub(crate) tx: Sender,
    pub(crate) returned: &'static AtomicU64,
}

impl Talk {
    pub(crate) fn next(&self, len: usize) -> Vec<u8> {
        pattern(VICTIM, self.returned.load(Ordering::Relaxed), len)
    }

    fn send(&mut self, len: usize) {
        self.tx.send(&self.next(len)).unwrap();
        count(self.returned);
    }

    fn send_batch(&mut self, count: u64) {
        let first = self.returned.load(Ordering::Relaxed);
        let messages = (first..first + count).map(|number| pattern(VICTIM, number, 480));
        assert_eq!(self.tx.send_batch(messages).unwrap() as u64, count);
        self.returned.fetch_add(count, Ordering::Relaxed);
    }

    fn commit(&mut self, len: usize) {
        let message = self.next(len);
        let mut slot = self.tx.reserve(len).unwrap();
        slot.write_at(0, &message[..10]);
        slot.write_at(10, &message[10..]);
        slot.commit().unwrap();
        count(self.returned);
    }

    fn send_in_vain(&mut self, len: usize) {
        let outcome = self.tx.send_timeout(&self.next(len), SHORT);
        assert!(
            matches!(outcome, Err(SendTimeoutError::Timeout)),
            "{outcome:?}"
        );
    }
}

/// When the receiver begins to receive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receiving {
    /// After the victim's end.
    Late,
    /// At once, beside the victim.
    Early,
    /// Before the victim, which finds it asleep.
    Asleep,
}

/// What one does who dies before the victim, and the point at which.
pub(crate) type Predecessor = (fn(&mut Talk), u64);

/// One kind of victim.
pub(crate) struct Scenario {
    pub(crate) receiving: Receiving,
    /// Whether the pipe is full to begin with.
    pub(crate) is_full: bool,
    /// Whether a message may be cut short by a death.
    pub(crate) goes_in_fragments: bool,
    /// Who dies before the victim, if anybody.
    pub(crate) predecessor: Option<Predecessor>,
    /// How many messages one call sends, which come all or none out of shared memory.
    pub(crate) at_once: u64,
    /// Length of the messages of who goes on after the death.
    pub(crate) heirs_len: usize,
    pub(crate) work: fn(&mut Talk),
}

pub(crate) const PLAIN: Scenario = Scenario {
    receiving: Receiving::Late,
    is_full: false,
    goes_in_fragments: false,
    predecessor: None,
    at_once: 1,
    heirs_len: 100,
    work: |_| {},
};

impl Scenario {
    fn run(&self, backend: Backend, fatal: u64, copies: Copies) -> Ending {
        let (mut rx, mut tx) = open(backend, CAPACITY);
        let returned = shared_counter();
        let go = Line::new();
        let before = if self.is_full { fill(&mut tx) } else { 0 };
        if let Some((work, at)) = self.predecessor {
            kill_one_at(&mut rx, &tx, work, at);
        }
        let predecessors = u64::from(self.predecessor.is_some());
        // Rings for nobody until it is told to receive.
        let (receiver, tx) = fork_apart(tx, || {
            if self.receiving == Receiving::Late {
                go.wait();
            }
            let mut books = Books::default();
            books.enter_all(&mut rx);
            let sent = returned.load(Ordering::Relaxed);
            let got = books.of(VICTIM);
            // Out of shared memory a batch comes all or none, but for the first message of a process, which
            // goes the long way.
            let step = match backend {
                Backend::SharedMemory if !self.is_full && sent > 0 => self.at_once,
                _ => 1,
            };
            let mut may_come = (sent..=sent + self.at_once).step_by(step as usize);
            assert!(may_come.any(|count| count == got), "{got} of {sent} came");
            assert_eq!(books.of(BEFORE), before);
            assert_eq!(
                books.of(HEIR),
                if copies == Copies::One { HEIRS } else { 0 }
            );
            let cut_short = u64::from(self.goes_in_fragments) + predecessors;
            assert!(books.aborted <= cut_short, "{books:?}");
        });
        drop(rx);
        if self.receiving == Receiving::Asleep {
            receiver.until_asleep();
        }
        let heir = (copies == Copies::One).then(|| tx.try_clone().unwrap());
        let victim = fork(move || {
            let mut talk = Talk { tx, returned };
            doomed(fatal, || {
                (self.work)(&mut talk);
                // Closing is a part of what can be interrupted.
                drop(talk);
            });
        });
        let ending = ending(victim);
        if self.receiving == Receiving::Late {
            go.signal();
        }
        if let Some(mut heir) = heir {
            for number in 0..HEIRS {
                heir.send(&pattern(HEIR, number, self.heirs_len)).unwrap();
            }
        }
        receiver.join();
        ending
    }

    pub(crate) fn walk(&self, name: &str, backend: Backend, least: u64) {
        walk(name, backend, least, |fatal, copies| {
            self.run(backend, fatal, copies)
        });
    }
}

/// Fills the pipe to the last byte that a small message finds.
fn fill(tx: &mut Sender) -> u64 {
    let mut number = 0;
    for len in [1000, 8] {
        loop {
            match tx.try_send(&pattern(BEFORE, number, len)) {
                Ok(()) => number += 1,
                Err(TrySendError::Full) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    number
}

/// Lets one sender die at a certain point of `work`. Its message is none of the victim's.
fn kill_one_at(rx: &mut shmpipe::Receiver, tx: &Sender, work: fn(&mut Talk), at: u64) {
    let uncounted = shared_counter();
    // The number of a message that nobody expects, so that one that came whole would be noticed.
    let dead = fork(|| {
        let mut talk = Talk {
            tx: tx.try_clone().unwrap(),
            returned: uncounted,
        };
        doomed(at, || work(&mut talk));
    });
    // A busy machine can let its time-out come early, and it survives; then there is no death.
    ending(dead);
    // What it got out whole is taken here, since the books of the others begin after it.
    while let Ok(message) = rx.try_recv() {
        Books::default().enter(&message);
    }
}

/// Each record ends where a line begins, so that what a dead one left there would be taken for the next header.
fn sends_and_slots_over_lines_that_were_claimed(backend: Backend) {
    let scenario = Scenario {
        heirs_len: LINE,
        work: |talk| {
            talk.send(LINE);
            talk.send(500);
            talk.send(LINE);
            let message = talk.next(500);
            let mut slot = talk.tx.reserve(message.len()).unwrap();
            slot.write_at(0, &message);
            drop(slot);
            talk.send(LINE);
        },
        ..PLAIN
    };
    scenario.walk("sends over claimed lines", backend, 12);
}

fn a_send_to_a_receiver_that_is_busy_elsewhere(backend: Backend) {
    let scenario = Scenario {
        work: |talk| {
            talk.send(8);
            talk.send(100);
        },
        ..PLAIN
    };
    scenario.walk("two sends", backend, 8);
}

fn a_send_to_a_receiver_that_sleeps(backend: Backend) {
    let scenario = Scenario {
        receiving: Receiving::Asleep,
        work: |talk| talk.send(8),
        ..PLAIN
    };
    scenario.walk("a send to a sleeper", backend, 8);
}

fn a_send_of_a_block(backend: Backend) {
    let scenario = Scenario {
        work: |talk| talk.send(1500),
        ..PLAIN
    };
    scenario.walk("a send of 1500 bytes", backend, 8);
}

fn a_send_into_a_full_pipe(backend: Backend) {
    let scenario = Scenario {
        receiving: Receiving::Early,
        is_full: true,
        work: |talk| {
            talk.send(1500);
            talk.send(8);
        },
        ..PLAIN
    };
    scenario.walk("two sends into a full pipe", backend, 8);
}

fn a_send_that_times_out(backend: Backend) {
    let scenario = Scenario {
        is_full: true,
        work: |talk| talk.send_in_vain(1500),
        ..PLAIN
    };
    scenario.walk("a send that times out", backend, 5);
}

fn a_send_in_fragments(backend: Backend) {
    let scenario = Scenario {
        receiving: Receiving::Early,
        goes_in_fragments: true,
        work: |talk| talk.send(LARGE),
        ..PLAIN
    };
    scenario.walk("a send of 3 times the pipe", backend, 40);
}

fn a_send_in_fragments_that_times_out(backend: Backend) {
    let scenario = Scenario {
        goes_in_fragments: true,
        work: |talk| talk.send_in_vain(LARGE),
        ..PLAIN
    };
    scenario.walk("a message taken back", backend, 20);
}

fn sends_that_do_not_wait(backend: Backend) {
    let scenario = Scenario {
        goes_in_fragments: true,
        work: |talk| {
            let message = talk.next(CAPACITY / 4 - 100);
            talk.tx.try_send(&message).unwrap();
            count(talk.returned);
            for _ in 0..3 {
                let message = talk.next(CAPACITY / 4 - 100);
                match talk.tx.try_send(&message) {
                    Ok(()) => drop(count(talk.returned)),
                    Err(TrySendError::Full) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        },
        ..PLAIN
    };
    scenario.walk("sends that do not wait", backend, 20);
}

fn writes_of_a_stream(backend: Backend) {
    let scenario = Scenario {
        receiving: Receiving::Early,
        goes_in_fragments: true,
        work: |talk| {
            for len in [20, 3000, CAPACITY] {
                let bytes = talk.next(len);
                talk.tx.write_all(&bytes).unwrap();
                count(talk.returned);
            }
            talk.tx.flush().unwrap();
        },
        ..PLAIN
    };
    scenario.walk("three writes", backend, 20);
}

fn a_batch(backend: Backend) {
    let scenario = Scenario {
        at_once: 4,
        work: |talk| {
            talk.send(8);
            talk.send_batch(4);
            talk.send_batch(4);
        },
        ..PLAIN
    };
    scenario.walk("a send and two batches of four", backend, 20);
}

fn a_batch_into_a_full_pipe(backend: Backend) {
    let scenario = Scenario {
        receiving: Receiving::Early,
        is_full: true,
        at_once: 4,
        work: |talk| talk.send_batch(4),
        ..PLAIN
    };
    scenario.walk("a batch into a full pipe", backend, 8);
}

fn a_slot_that_is_committed(backend: Backend) {
    let scenario = Scenario {
        work: |talk| {
            talk.commit(50);
            talk.commit(100);
        },
        ..PLAIN
    };
    scenario.walk("two slots", backend, 8);
}

fn a_slot_that_is_dropped(backend: Backend) {
    let scenario = Scenario {
        work: |talk| {
            let mut slot = talk.tx.reserve(50).unwrap();
            slot.copy_from_slice(&[7; 50]);
            drop(slot);
            talk.send(8);
        },
        ..PLAIN
    };
    scenario.walk("a slot that is dropped, and a send", backend, 8);
}

fn a_clone_that_is_dropped(backend: Backend) {
    let scenario = Scenario {
        work: |talk| {
            let mut clone = talk.tx.try_clone().unwrap();
            clone.send(&talk.next(8)).unwrap();
            count(talk.returned);
            drop(clone);
            talk.send(8);
        },
        ..PLAIN
    };
    scenario.walk("a clone sends and is dropped", backend, 8);
}

/// How many points a call passes when nothing waits.
fn points_of(backend: Backend, work: fn(&mut Talk)) -> u64 {
    let (_rx, tx) = open(backend, CAPACITY);
    let points = shared_counter();
    fork(|| {
        let returned = shared_counter();
        let mut talk = Talk { tx, returned };
        kill_points::arm(0);
        work(&mut talk);
        points.store(kill_points::passed(), Ordering::Relaxed);
    })
    .join();
    points.load(Ordering::Relaxed)
}

/// Two deaths in a row: the first at each point of a send, the second at each point of the next one.
fn a_send_after_a_death_within_a_send(backend: Backend) {
    let first: fn(&mut Talk) = |talk| talk.send(8);
    for at in 1..=points_of(backend, first) {
        let scenario = Scenario {
            predecessor: Some((first, at)),
            work: |talk| talk.send(100),
            ..PLAIN
        };
        scenario.walk(&format!("a send after a death at point {at}"), backend, 4);
    }
}

fn a_send_after_a_death_inside_a_message(backend: Backend) {
    let first: fn(&mut Talk) = |talk| talk.send_in_vain(LARGE);
    for at in (2..points_of(backend, first)).step_by(5) {
        let scenario = Scenario {
            predecessor: Some((first, at)),
            work: |talk| talk.send(100),
            ..PLAIN
        };
        let name = format!("a send after a death inside a message, at point {at}");
        scenario.walk(&name, backend, 4);
    }
}

/// As many deaths in a row as fill the pipe, each at the same point near the end of a send, while a receiver
/// sleeps: the one that then finds no room must wake it.
fn a_ring_filled_by_the_dead_is_rung_for_by_the_one_that_finds_it_full(backend: Backend) {
    const LEN: usize = CAPACITY / 8 - 8;
    const DEAD: u64 = 8;
    // Noting the CPU is a point where it has changed.
    pin_to(nix::sched::sched_getcpu().unwrap());
    for before_the_end in 0..8 {
        let (rx, tx) = open(backend, CAPACITY);
        let (receiver, mut tx) = fork_apart(tx, move || {
            let mut rx = rx;
            let mut last = None;
            for message in rx.messages() {
                let message = message.unwrap();
                let (_, number) = identify(&message);
                check(&message, VICTIM, number, LEN);
                assert!(last < Some(number), "{number} after {last:?}");
                last = Some(number);
            }
            assert_eq!(last, Some(DEAD), "the survivor's message");
        });
        // The first send of a pipe goes the long way.
        tx.send(&pattern(VICTIM, 0, LEN)).unwrap();
        receiver.until_asleep();
        for number in 1..DEAD {
            let dead = fork(|| {
                let message = pattern(VICTIM, number, LEN);
                // How many points such a send has where nobody sleeps, the process's first call apart.
                let (_rx, mut other) = open(backend, CAPACITY);
                other.send(&message).unwrap();
                let mut other = other.try_clone().unwrap();
                kill_points::arm(0);
                other.send(&message).unwrap();
                let points = kill_points::passed();
                let mut tx = tx.try_clone().unwrap();
                // The last that fits looks for room anew, which is a point more.
                let fatal = points + 3 - before_the_end + u64::from(number == 7);
                doomed(fatal, || tx.try_send(&message));
            });
            ending(dead);
        }
        tx.send(&pattern(VICTIM, DEAD, LEN)).unwrap();
        drop(tx);
        receiver.join();
    }
}
