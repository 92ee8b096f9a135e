//! Victims that receive.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shmpipe::{
    Backend, Message, Receiver, RecvError, RecvTimeoutError, SendError, Sender, TryRecvError,
};

use crate::support::{
    Child, Line, check, fork, fork_apart, on_both_backends, pattern, shared_counter,
};
use crate::walk::{Books, Copies, Ending, VICTIM, count, doomed, ending, open, walk};

on_both_backends! {
    receives_of_what_is_there within 600,
    a_receive_that_waits_for_a_sender within 600,
    a_receive_that_times_out within 600,
    a_receive_of_a_block_into_a_slice within 600,
    a_receive_in_fragments within 600,
    a_receive_in_fragments_that_times_out_and_goes_on within 600,
    a_receive_in_time_of_a_message_that_fits within 600,
    a_receiver_dropped_inside_a_message within 600,
    a_receive_that_makes_room_for_a_sleeper within 600,
    a_poll within 600,
    reads_of_a_stream within 600,
    a_receive_of_a_batch within 600,
    views_of_what_is_there within 600,
    a_clone_that_is_dropped within 600,
    a_receive_after_a_death_inside_a_message within 600,
}

const CAPACITY: usize = 16 * 1024;
const LARGE: usize = 3 * CAPACITY;
/// Long enough for every phase of a wait to begin.
const SHORT: Duration = Duration::from_millis(2);

/// Messages that the sender sends in all where somebody outlives the victim to receive them.
const MESSAGES: u64 = 60;

/// What the victim receives through, counting the receives that returned.
struct Talk {
    rx: Receiver,
    taken: &'static AtomicU64,
    len: fn(u64) -> usize,
}

impl Talk {
    fn number(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn recv(&mut self) {
        let (number, len) = (self.number(), self.len);
        check(&self.rx.recv().unwrap(), VICTIM, number, len(number));
        count(self.taken);
    }

    fn recv_into_too_small(&mut self) {
        let needed = (self.len)(self.number());
        let outcome = self.rx.recv_into(&mut vec![0; needed - 1]);
        assert!(
            matches!(outcome, Err(RecvError::BufferTooSmall { needed: told }) if told == needed),
            "{outcome:?}"
        );
    }

    fn recv_into(&mut self) {
        let (number, len) = (self.number(), self.len);
        let mut buffer = vec![0; len(number)];
        let got = self.rx.recv_into(&mut buffer).unwrap();
        check(&buffer[..got], VICTIM, number, len(number));
        count(self.taken);
    }
}

/// When the sender sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// Some messages before the victim begins, the others after its end.
    Before(u64),
    /// Beside the victim.
    Beside,
    /// Before the victim, which finds it asleep in front of a full pipe.
    Asleep,
}

/// One kind of victim.
struct Scenario {
    sending: Sending,
    len: fn(u64) -> usize,
    /// Who dies before the victim, after how many of its points.
    predecessor: Option<u64>,
    /// How many messages one call takes.
    at_once: u64,
    work: fn(&mut Talk),
}

const PLAIN: Scenario = Scenario {
    sending: Sending::Before(3),
    len: |_| 100,
    predecessor: None,
    at_once: 1,
    work: |_| {},
};

impl Scenario {
    /// The sender: so many messages at once, the others when it is told to, in all as many as there is
    /// anybody for.
    fn send(&self, tx: &mut Sender, ready: &Line, go: &Line, copies: Copies) {
        let first = match self.sending {
            Sending::Before(first) => first,
            _ => u64::MAX,
        };
        if self.sending == Sending::Beside {
            ready.signal();
        }
        for number in 0.. {
            if number == first {
                ready.signal();
                go.wait();
            }
            if copies == Copies::One && number >= MESSAGES {
                return;
            }
            match tx.send(&pattern(VICTIM, number, (self.len)(number))) {
                Ok(()) => {}
                Err(SendError::Disconnected) if copies == Copies::None => return,
                Err(error) => panic!("message {number}: {error}"),
            }
        }
    }

    fn start_sender<'a>(
        &'a self,
        rx: Receiver,
        mut tx: Sender,
        lines: &'a [Line; 2],
        copies: Copies,
    ) -> (Child, Receiver) {
        let [ready, go] = lines;
        fork_apart(rx, move || self.send(&mut tx, ready, go, copies))
    }

    fn run(&self, backend: Backend, fatal: u64, copies: Copies) -> Ending {
        let (rx, tx) = open(backend, CAPACITY);
        let taken = shared_counter();
        let lines = [Line::new(), Line::new()];
        let (sender, rx) = self.start_sender(rx, tx, &lines, copies);
        match self.sending {
            Sending::Before(_) | Sending::Beside => lines[0].wait(),
            Sending::Asleep => sender.until_asleep(),
        }
        let mut lost = 0;
        if let Some(at) = self.predecessor {
            let mut talk = self.talk(rx.try_clone().unwrap(), shared_counter());
            let dead = fork(move || doomed(at, || talk.recv()));
            assert_eq!(
                ending(dead),
                Ending::Killed,
                "it had fewer points than {at}"
            );
            lost = 1;
        }
        let heir = (copies == Copies::One).then(|| rx.try_clone().unwrap());
        let mut talk = self.talk(rx, taken);
        let is_after_a_death = self.predecessor.is_some();
        let victim = fork(move || {
            doomed(fatal, || {
                if is_after_a_death {
                    // Its first message may be the one in which the other died, or the next, after a report.
                    if matches!(talk.rx.recv(), Err(RecvError::Aborted)) {
                        talk.rx.recv().unwrap();
                    }
                } else {
                    (self.work)(&mut talk);
                }
                drop(talk);
            });
        });
        let ending = ending(victim);
        lines[1].signal();
        if let Some(mut heir) = heir {
            let least = taken.load(Ordering::Relaxed);
            // What the victim had in its hands is lost with it, and what its work left half received.
            lost += self.at_once;
            let reports = inherit(&mut heir, least, lost);
            REPORTS.fetch_add(reports, Ordering::Relaxed);
        }
        sender.join();
        ending
    }

    fn talk(&self, rx: Receiver, taken: &'static AtomicU64) -> Talk {
        let len = self.len;
        Talk { rx, taken, len }
    }

    fn walk(&self, name: &str, backend: Backend, least: u64) {
        walk(name, backend, least, |fatal, copies| {
            self.run(backend, fatal, copies)
        });
        let reports = REPORTS.load(Ordering::Relaxed);
        assert!(
            (self.len)(0) < CAPACITY || reports > 0,
            "a message in fragments is lost without a word"
        );
    }
}

/// Messages in fragments that were reported as lost, in all runs of this test.
static REPORTS: AtomicU64 = AtomicU64::new(0);

/// Receives all that the dead left. The first message is `least`, or one of the `lost` after it. That the dead had a
/// message in fragments is reported, unless it died between the last one and the end of its call. Returns how often
/// that was.
fn inherit(rx: &mut Receiver, least: u64, lost: u64) -> u64 {
    let mut reports = 0;
    let first = loop {
        match rx.recv().map(Message::into_vec) {
            Err(RecvError::Aborted) => reports += 1,
            outcome => break outcome.unwrap(),
        }
    };
    let (_, number) = crate::support::identify(&first);
    let most = least + lost;
    assert!(
        (least..=most).contains(&number),
        "message {number} came first, of {least} to {most}"
    );
    assert!(
        reports <= number - least,
        "{reports} reports of lost messages, and message {number} came first, of {least} on"
    );
    let mut books = Books::from(VICTIM, number);
    books.enter(&first);
    books.enter_all(rx);
    assert_eq!(books.of(VICTIM), MESSAGES);
    assert_eq!(books.aborted, 0, "no sender has died");
    reports
}

fn receives_of_what_is_there(backend: Backend) {
    let scenario = Scenario {
        work: |talk| {
            talk.recv();
            talk.recv();
        },
        ..PLAIN
    };
    scenario.walk("two receives", backend, 8);
}

fn a_receive_that_waits_for_a_sender(backend: Backend) {
    let scenario = Scenario {
        sending: Sending::Beside,
        work: |talk| (0..8).for_each(|_| talk.recv()),
        ..PLAIN
    };
    scenario.walk("receives beside a sender", backend, 20);
}

fn a_receive_that_times_out(backend: Backend) {
    let scenario = Scenario {
        sending: Sending::Before(0),
        work: |talk| {
            let outcome = talk.rx.recv_timeout(SHORT);
            assert!(matches!(outcome, Err(RecvTimeoutError::Timeout)));
            assert!(matches!(talk.rx.try_recv(), Err(TryRecvError::Empty)));
        },
        ..PLAIN
    };
    scenario.walk("a receive that times out", backend, 8);
}

fn a_receive_of_a_block_into_a_slice(backend: Backend) {
    let scenario = Scenario {
        len: |_| 1500,
        work: |talk| {
            talk.recv_into_too_small();
            talk.recv_into();
        },
        ..PLAIN
    };
    scenario.walk("a receive into a slice", backend, 8);
}

/// Every third message is larger than the pipe, the first one too.
fn often_large(number: u64) -> usize {
    if number % 3 == 0 { LARGE } else { 700 }
}

fn a_receive_in_fragments(backend: Backend) {
    let scenario = Scenario {
        sending: Sending::Beside,
        len: often_large,
        work: Talk::recv,
        ..PLAIN
    };
    scenario.walk("a receive of 3 times the pipe", backend, 20);
}

fn a_receive_in_fragments_that_times_out_and_goes_on(backend: Backend) {
    let scenario = Scenario {
        sending: Sending::Beside,
        len: often_large,
        work: |talk| {
            while talk.number() == 0 {
                let len = talk.len;
                match talk.rx.recv_timeout(Duration::from_micros(20)) {
                    Ok(message) => {
                        check(&message, VICTIM, 0, len(0));
                        count(talk.taken);
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        },
        ..PLAIN
    };
    scenario.walk("a receive of 3 times the pipe in small turns", backend, 20);
}

fn a_receive_in_time_of_a_message_that_fits(backend: Backend) {
    let scenario = Scenario {
        // Over an eighth of the capacity, and whole in the pipe on both backends.
        len: |_| CAPACITY / 8 + 1000,
        work: |talk| {
            for number in 0..2 {
                let message = talk.rx.recv_timeout(SHORT).unwrap();
                check(&message, VICTIM, number, (talk.len)(number));
                count(talk.taken);
            }
        },
        ..PLAIN
    };
    scenario.walk("a receive in time of two messages that fit", backend, 20);
}

fn a_receiver_dropped_inside_a_message(backend: Backend) {
    let scenario = Scenario {
        sending: Sending::Asleep,
        len: often_large,
        // Takes what is there of the first message; the rest is nobody's when the end is dropped.
        work: |talk| match talk.rx.try_recv() {
            Ok(_) => drop(count(talk.taken)),
            Err(TryRecvError::Empty) => {}
            Err(error) => panic!("{error}"),
        },
        ..PLAIN
    };
    scenario.walk("a receiver dropped inside a message", backend, 20);
}

fn a_receive_that_makes_room_for_a_sleeper(backend: Backend) {
    let scenario = Scenario {
        sending: Sending::Asleep,
        len: |_| 3000,
        work: |talk| (0..3).for_each(|_| talk.recv()),
        ..PLAIN
    };
    scenario.walk("receives that wake a sender", backend, 12);
}

fn a_poll(backend: Backend) {
    let scenario = Scenario {
        sending: Sending::Before(1),
        work: |talk| {
            assert!(talk.rx.poll(None).unwrap());
            talk.recv();
            assert!(!talk.rx.poll(Some(SHORT)).unwrap());
        },
        ..PLAIN
    };
    scenario.walk("polls", backend, 12);
}

fn reads_of_a_stream(backend: Backend) {
    let scenario = Scenario {
        work: |talk| {
            let mut bytes = [0; 60];
            talk.rx.read_exact(&mut bytes).unwrap();
            // The rest of the first message, which this end keeps for itself.
            talk.rx.read_exact(&mut bytes[..40]).unwrap();
            count(talk.taken);
        },
        ..PLAIN
    };
    scenario.walk("reads", backend, 4);
}

fn a_receive_of_a_batch(backend: Backend) {
    let scenario = Scenario {
        sending: Sending::Before(5),
        at_once: 5,
        work: |talk| {
            let first = talk.number();
            let batch = talk.rx.recv_batch().unwrap();
            assert_eq!(batch.len(), 5);
            for (number, message) in (first..).zip(batch) {
                check(message, VICTIM, number, 100);
            }
            talk.taken.fetch_add(5, Ordering::Relaxed);
        },
        ..PLAIN
    };
    scenario.walk("a batch of five", backend, 4);
}

fn views_of_what_is_there(backend: Backend) {
    let scenario = Scenario {
        work: |talk| {
            for _ in 0..2 {
                let number = talk.number();
                let view = talk.rx.recv_in_place().unwrap();
                check(&view.to_vec(), VICTIM, number, 100);
                drop(view);
                count(talk.taken);
            }
        },
        ..PLAIN
    };
    scenario.walk("two views", backend, 8);
}

fn a_clone_that_is_dropped(backend: Backend) {
    let scenario = Scenario {
        work: |talk| {
            let mut clone = talk.rx.try_clone().unwrap();
            check(&clone.recv().unwrap(), VICTIM, 0, 100);
            count(talk.taken);
            drop(clone);
            talk.recv();
        },
        ..PLAIN
    };
    scenario.walk("a clone receives and is dropped", backend, 8);
}

/// Two deaths in a row: the first inside a message of many parts, the second at each point of the
/// receive after it.
fn a_receive_after_a_death_inside_a_message(backend: Backend) {
    for at in [8, 14, 20] {
        let scenario = Scenario {
            sending: Sending::Asleep,
            len: often_large,
            predecessor: Some(at),
            ..PLAIN
        };
        let name = format!("a receive after a death inside a message, at point {at}");
        scenario.walk(&name, backend, 8);
    }
}
