//! How long after a death a survivor learns of it, beside one at a raw kernel pipe that was held by
//! the very same victim.
//!
//! It measures and asserts nothing but the outcome; `figures` says what many delays come to, and the
//! test in `latency` and the bench `detection` what to make of that.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, signal};
use shmpipe::{Backend, PipeOptions, Receiver, RecvError, SendError, Sender, TryRecvError};

use crate::support::Random;
use crate::support::{Child, Line, fork, pipe, shared_counters};

const CAPACITY: usize = 64 * 1024;

/// Messages that pass before the wait, so that each side knows where the other runs.
const GREETINGS: usize = 64;

const MESSAGE: [u8; 64] = [7; 64];

/// Who is left when the victim dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Survivor {
    /// The last sender dies.
    Receiver,
    /// The last receiver dies, and the pipe is full unless the two were busy.
    Sender,
    /// A sender dies inside a long message, and another waits for its turn to send.
    NextSender,
}

/// What the survivor does at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// It began to wait no more than 50 µs ago, so it may still spin.
    First,
    /// It began to wait 50 to 550 µs ago: it is falling asleep, or has just done so.
    Early,
    /// It has slept for long.
    Parked,
    /// It sends or receives as fast as it can, and first receives what is queued. The survivor at the
    /// kernel pipe has nothing to do but to wait.
    Busy,
}

/// One kind of death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    survivor: Survivor,
    moment: Moment,
}

/// Every kind.
pub(crate) fn cases() -> impl Iterator<Item = Case> {
    let moments = [Moment::First, Moment::Early, Moment::Parked, Moment::Busy];
    [Survivor::Receiver, Survivor::Sender, Survivor::NextSender]
        .into_iter()
        .flat_map(move |survivor| moments.map(|moment| Case { survivor, moment }))
        .filter(|case| case.survivor != Survivor::NextSender || case.moment != Moment::Busy)
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let survivor = match self.survivor {
            Survivor::Receiver => "receiver",
            Survivor::Sender => "sender",
            Survivor::NextSender => "next sender",
        };
        let moment = match self.moment {
            Moment::First => "waits since < 50 µs",
            Moment::Early => "waits since 50-550 µs",
            Moment::Parked => "parked",
            Moment::Busy => "busy",
        };
        write!(f, "{survivor} {moment}")
    }
}

/// All ends of both pipes; each process keeps its own and drops the others.
struct Ends {
    rx: Option<Receiver>,
    tx: Option<Sender>,
    reader: Option<File>,
    writer: Option<File>,
}

impl Ends {
    /// Opens both, one first in this round and the other in the next: a dying process closes its
    /// descriptors in their order.
    fn open(backend: Backend, is_ours_first: bool) -> Self {
        let ours = || {
            PipeOptions::new()
                .backend(backend)
                .capacity(CAPACITY)
                .pipe()
        };
        let ((rx, tx), (reader, writer)) = if is_ours_first {
            let ours = ours().expect("a pipe");
            (ours, pipe().expect("a kernel pipe"))
        } else {
            let theirs = pipe().expect("a kernel pipe");
            (ours().expect("a pipe"), theirs)
        };
        Self {
            rx: Some(rx),
            tx: Some(tx),
            reader: Some(reader),
            writer: Some(writer),
        }
    }

    fn rx(&mut self) -> &mut Receiver {
        self.rx.as_mut().expect("kept by this process")
    }

    fn tx(&mut self) -> &mut Sender {
        self.tx.as_mut().expect("kept by this process")
    }
}

/// What the processes of a round tell each other without the pipes.
struct Signs {
    start: Instant,
    /// The survivor at our pipe is about to wait.
    waits: &'static AtomicU64,
    /// When the survivor at the kernel pipe and the one at ours learned of the death.
    told: [&'static AtomicU64; 2],
    ready: Line,
    go: Line,
}

impl Signs {
    fn tell(&self, which: usize) {
        self.told[which].store(self.nanoseconds(), Ordering::Release);
    }

    fn nanoseconds(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).expect("less than centuries")
    }
}

/// Delays from one death to either survivor's knowing of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delays {
    pub(crate) kernel_pipe: Duration,
    pub(crate) ours: Duration,
}

/// Measures one kind of death again and again.
pub(crate) struct Deaths {
    backend: Backend,
    case: Case,
    signs: Signs,
    random: Random,
    rounds: u64,
}

impl Deaths {
    pub(crate) fn new(backend: Backend, case: Case) -> Self {
        let [waits, pipe, ours] = shared_counters(3) else {
            unreachable!("three were asked for");
        };
        let signs = Signs {
            start: Instant::now(),
            waits,
            told: [pipe, ours],
            ready: Line::new(),
            go: Line::new(),
        };
        Self {
            backend,
            case,
            signs,
            random: Random::new(1),
            rounds: 0,
        }
    }

    /// One death.
    pub(crate) fn one(&mut self) -> Delays {
        let mut ends = Ends::open(self.backend, self.rounds % 2 == 0);
        self.rounds += 1;
        self.signs.waits.store(0, Ordering::Relaxed);
        let is_busy = self.case.moment == Moment::Busy;
        let (survivor, signs) = (self.case.survivor, &self.signs);
        let ends = &mut ends;
        let (victim, theirs, ours) = match survivor {
            Survivor::Receiver => (
                fork(|| sending_victim(ends, is_busy)),
                fork(|| read_to_the_end(ends, signs)),
                fork(|| receive_to_the_end(ends, is_busy, signs)),
            ),
            Survivor::Sender => (
                fork(|| receiving_victim(ends, is_busy)),
                fork(|| write_to_the_end(ends, signs)),
                fork(|| send_to_the_end(ends, is_busy, signs)),
            ),
            Survivor::NextSender => (
                fork(|| long_sending_victim(ends)),
                fork(|| read_to_the_end(ends, signs)),
                fork(|| send_next(ends, signs)),
            ),
        };
        let rx = ends.rx.take();
        *ends = Ends {
            rx: None,
            tx: None,
            reader: None,
            writer: None,
        };
        signs.ready.wait();
        theirs.until_asleep();
        if !is_busy {
            victim.until_asleep();
        }
        // Stopped, the victim leaves the room that is made for the next one.
        let _holder = rx
            .filter(|_| survivor == Survivor::NextSender)
            .map(|mut rx| {
                victim.stop();
                assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
                rx
            });
        self.reach_the_moment(&ours);
        let killed_at = self.signs.nanoseconds();
        victim.kill();
        theirs.join();
        ours.join();
        let [kernel_pipe, ours] = self.signs.told.map(|told| {
            Duration::from_nanos(told.load(Ordering::Acquire).saturating_sub(killed_at))
        });
        Delays { kernel_pipe, ours }
    }

    fn reach_the_moment(&mut self, ours: &Child) {
        self.signs.go.signal();
        let delay = match self.case.moment {
            Moment::Parked => return ours.until_asleep(),
            Moment::First => self.random.below_u64(50),
            Moment::Early => 50 + self.random.below_u64(500),
            Moment::Busy => 1000 + self.random.below_u64(1000),
        };
        while self.signs.waits.load(Ordering::Acquire) == 0 {
            std::hint::spin_loop();
        }
        // A sleep of so short a time would be several times as long.
        let since = Instant::now();
        while since.elapsed() < Duration::from_micros(delay) {
            std::hint::spin_loop();
        }
    }
}

/// Works for ever if `is_busy`, and else waits with what its process holds.
fn stay_or(is_busy: bool, mut work: impl FnMut()) {
    if is_busy {
        loop {
            work();
        }
    }
    Line::new().wait();
}

fn sending_victim(ends: &mut Ends, is_busy: bool) {
    drop((ends.rx.take(), ends.reader.take()));
    (0..GREETINGS).for_each(|_| ends.tx().send(&MESSAGE).expect("a receiver lives"));
    stay_or(is_busy, || {
        ends.tx().send(&MESSAGE).expect("a receiver lives")
    });
}

fn receiving_victim(ends: &mut Ends, is_busy: bool) {
    drop((ends.tx.take(), ends.writer.take()));
    for _ in 0..GREETINGS {
        ends.rx().recv().expect("a sender lives");
    }
    stay_or(is_busy, || {
        ends.rx().recv().expect("a sender lives");
    });
}

/// Sleeps inside a message until it is stopped there.
fn long_sending_victim(ends: &mut Ends) {
    drop((ends.rx.take(), ends.reader.take()));
    let outcome = ends.tx().send(&vec![7; 3 * CAPACITY]);
    panic!("a message larger than the pipe went in: {outcome:?}");
}

fn send_next(ends: &mut Ends, signs: &Signs) {
    drop((ends.rx.take(), ends.reader.take(), ends.writer.take()));
    signs.ready.signal();
    signs.go.wait();
    signs.waits.store(1, Ordering::Release);
    let outcome = ends.tx().send(&MESSAGE);
    signs.tell(1);
    outcome.expect("a receiver lives");
}

fn read_to_the_end(ends: &mut Ends, signs: &Signs) {
    let mut reader = ends.reader.take().expect("forked with it");
    drop((ends.rx.take(), ends.tx.take(), ends.writer.take()));
    let outcome = reader.read(&mut [0]);
    signs.tell(0);
    assert!(matches!(outcome, Ok(0)), "{outcome:?}");
}

fn write_to_the_end(ends: &mut Ends, signs: &Signs) {
    // SAFETY: ignoring a signal runs no handler.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }.expect("SIGPIPE can be ignored");
    let mut writer = ends.writer.take().expect("forked with it");
    drop((ends.rx.take(), ends.tx.take(), ends.reader.take()));
    let outcome = writer.write_all(&vec![7; 4 << 20]);
    signs.tell(0);
    assert!(outcome.is_err(), "four MiB went into a pipe");
}

fn receive_to_the_end(ends: &mut Ends, is_busy: bool, signs: &Signs) {
    drop((ends.tx.take(), ends.reader.take(), ends.writer.take()));
    for _ in 0..GREETINGS {
        ends.rx().recv().expect("the victim lives");
    }
    signs.ready.signal();
    signs.go.wait();
    signs.waits.store(1, Ordering::Release);
    let outcome = loop {
        match ends.rx().recv().map(|_| ()) {
            Ok(()) if is_busy => {}
            outcome => break outcome,
        }
    };
    signs.tell(1);
    assert!(
        matches!(outcome, Err(RecvError::Disconnected)),
        "{outcome:?}"
    );
}

fn send_to_the_end(ends: &mut Ends, is_busy: bool, signs: &Signs) {
    drop((ends.rx.take(), ends.reader.take(), ends.writer.take()));
    (0..GREETINGS).for_each(|_| ends.tx().send(&MESSAGE).expect("the victim lives"));
    signs.ready.signal();
    signs.go.wait();
    if !is_busy {
        while ends.tx().try_send(&MESSAGE).is_ok() {}
    }
    signs.waits.store(1, Ordering::Release);
    let outcome = loop {
        match ends.tx().send(&MESSAGE) {
            Ok(()) if is_busy => {}
            outcome => break outcome,
        }
    };
    signs.tell(1);
    assert!(
        matches!(outcome, Err(SendError::Disconnected)),
        "{outcome:?}"
    );
}
