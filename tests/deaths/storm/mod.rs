//! A storm in which processes die: eight work on one duplex pair and are killed and replaced at
//! moments chosen by a seeded generator, or stopped for a while.
//!
//! Nothing is received twice, torn, or out of its sender's order at any receiver; of the messages
//! whose send returned, no more is lost than the one that each killed receiver may have had in its
//! hands; no more deaths are reported than senders died inside a long message; and the parent, which
//! holds both ends throughout, keeps no descriptor, mapping or memory of the dead.
//!
//! The storm goes in eras. After each, all rest and the books must balance, so that they need no
//! memory of more than one era. 2,000 kills for each backend, 10⁵ in the long form.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use shmpipe::{Backend, Connection, PipeOptions, RecvError, TryRecvError};

use self::books::{Books, Received, Sums};
use self::messages::{CAPACITY, LAST_CALL, Life, message};
use self::notes::{LOG_IS_FULL, Notes, RESTS};
use self::work::{Job, Kind};
use crate::support::Random;
use crate::support::{
    Child, Holdings, Line, fork, holdings, long, on_both_backends, shared_counter,
};

mod books;
mod messages;
mod notes;
mod work;

on_both_backends! {
    a_storm_of_deaths_tears_doubles_and_reorders_nothing_and_loses_what_the_dead_held within 300,
}

/// What works at each of the two ends.
const KINDS: [Kind; 4] = [
    Kind::Sends,
    Kind::Receives,
    Kind::Alternates,
    Kind::SendsAndReceives,
];

/// Kills in one era.
const ERA: u64 = 200;

/// Memory that may come and go with the books of an era.
const SLACK_BYTES: usize = 2 << 20;

/// The longest pause between two blows.
const PAUSE_MICROSECONDS: u64 = 1500;

/// The place of one process after another that does the same work.
struct Slot {
    side: usize,
    kind: Kind,
    notes: Notes,
    life: Life,
    received: Received,
    /// `None` only while it is replaced and between two eras.
    child: Option<Child>,
}

/// The pair, its processes, and the hand that kills them.
struct Storm {
    ends: [Option<Connection>; 2],
    slots: Vec<Slot>,
    lives: Life,
    over: &'static AtomicU64,
    line: Line,
    random: Random,
    /// By the side that sends.
    books: [Books; 2],
    stopped: Option<usize>,
    stops: u64,
    killed: u64,
}

impl Storm {
    fn new(backend: Backend, seed: u64) -> Self {
        let options = PipeOptions::new().backend(backend).capacity(CAPACITY);
        let (left, right) = options.duplex().unwrap();
        let place = |(side, kind)| Slot {
            side,
            kind,
            notes: Notes::new(),
            life: LAST_CALL,
            received: Received::default(),
            child: None,
        };
        let places = KINDS.iter().flat_map(|&kind| [(0, kind), (1, kind)]);
        Self {
            ends: [Some(left), Some(right)],
            slots: places.map(place).collect(),
            lives: LAST_CALL,
            over: shared_counter(),
            line: Line::new(),
            random: Random::new(seed),
            books: Default::default(),
            stopped: None,
            stops: 0,
            killed: 0,
        }
    }

    fn start(&mut self, at: usize) {
        self.lives += 1;
        let (ends, slot) = (&mut self.ends, &mut self.slots[at]);
        let (side, notes) = (slot.side, slot.notes);
        slot.life = self.lives;
        slot.received = Received::default();
        notes.wipe();
        if slot.kind.sends() {
            self.books[side].open(slot.life);
        }
        let job = Job {
            kind: slot.kind,
            life: slot.life,
            notes,
            over: self.over,
            line: &self.line,
        };
        slot.child = Some(fork(|| {
            drop(ends[1 - side].take());
            job.run(ends[side].take().expect("the parent holds both ends"));
        }));
    }

    /// Enters what the process at `at` has left.
    fn bury(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if slot.kind.sends() {
            self.books[slot.side].close_sender(slot.life, slot.notes);
        }
        if slot.kind.receives() {
            self.books[1 - slot.side].close_receiver(&mut slot.received, slot.notes);
        }
    }

    /// Enters what has been received by now.
    fn enter_all(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot.kind.receives()) {
            self.books[1 - slot.side].enter(&mut slot.received, slot.notes);
        }
    }

    fn kill(&mut self, at: usize) {
        let child = self.slots[at].child.take();
        child.expect("a slot is empty between two eras only").kill();
        if self.stopped == Some(at) {
            self.stopped = None;
        }
        self.killed += 1;
        self.bury(at);
        self.start(at);
    }

    fn child(&self, at: usize) -> &Child {
        let child = self.slots[at].child.as_ref();
        child.expect("a slot is empty between two eras only")
    }

    fn stop(&mut self, at: usize) {
        self.child(at).stop();
        self.stopped = Some(at);
        self.stops += 1;
    }

    fn go_on(&mut self) {
        if let Some(at) = self.stopped.take() {
            self.child(at).cont();
        }
    }

    /// One blow at one process.
    fn strike(&mut self) {
        // Chooses a moment; nothing depends on how long it is.
        sleep(Duration::from_micros(
            self.random.below_u64(PAUSE_MICROSECONDS),
        ));
        self.enter_all();
        let at = self.random.below_u64(self.slots.len() as u64) as usize;
        match (self.random.below_u64(6), self.stopped) {
            (0, None) => self.stop(at),
            (0, Some(_)) => self.go_on(),
            _ => self.kill(at),
        }
    }

    /// Starts everybody, kills `kills` of them, and lets the others finish.
    fn era(&mut self, kills: u64) -> [Sums; 2] {
        self.over.store(0, Ordering::Relaxed);
        for at in 0..self.slots.len() {
            self.start(at);
        }
        let end = self.killed + kills;
        while self.killed < end {
            self.strike();
        }
        self.go_on();
        self.over.store(1, Ordering::Relaxed);
        self.until_all_rest();
        self.send_all_home()
    }

    /// Waits until nobody will send any more.
    fn until_all_rest(&mut self) {
        let mut busy = self.slots.iter().filter(|slot| slot.kind.sends()).count();
        while busy > 0 {
            match self.line.take() {
                RESTS => busy -= 1,
                LOG_IS_FULL => {}
                other => panic!("{other} is no word of the line"),
            }
            self.enter_all();
        }
    }

    /// Ends every receiver by a message that comes after all others, and balances the books.
    fn send_all_home(&mut self) -> [Sums; 2] {
        let receivers = KINDS.iter().filter(|kind| kind.receives()).count();
        for end in self.ends.iter_mut().flatten() {
            for number in 0..receivers {
                end.send(&message(LAST_CALL, number as u32)).unwrap();
            }
        }
        for at in 0..self.slots.len() {
            let child = self.slots[at].child.take();
            child.expect("started with the era").join();
            self.bury(at);
        }
        for end in self.ends.iter_mut().flatten() {
            assert!(matches!(end.try_recv(), Err(TryRecvError::Empty)));
        }
        std::mem::take(&mut self.books).map(|books| books.balance(receivers as u64))
    }
}

/// The number that a variable asks for.
fn asked(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|error| panic!("{variable}={value}: {error}")),
    )
}

fn a_storm_of_deaths_tears_doubles_and_reorders_nothing_and_loses_what_the_dead_held(
    backend: Backend,
) {
    let ordinary = if long() { 100_000 } else { 2000 };
    let kills = asked("SHMPIPE_STORM_KILLS").unwrap_or(ordinary);
    let seed = asked("SHMPIPE_STORM_SEED").unwrap_or(7);
    let start = Instant::now();
    let mut storm = Storm::new(backend, seed);
    let mut sums = [Sums::default(); 2];
    let mut early: Option<Holdings> = None;
    while storm.killed < kills {
        let era = storm.era(ERA.min(kills - storm.killed));
        sums.iter_mut()
            .zip(era)
            .for_each(|(sums, era)| sums.add(era));
        let now = holdings();
        let early = early.get_or_insert(now);
        if storm.killed <= kills / 10 {
            *early = now;
        }
        assert!(
            now.is_flat_since(early, SLACK_BYTES),
            "{now:?} after {} kills, {early:?} early on",
            storm.killed
        );
    }
    let seconds = start.elapsed().as_secs();
    println!(
        "{backend}: seed {seed}, {} processes killed, {} stopped, {seconds} s",
        storm.killed, storm.stops
    );
    println!("left to right: {}", sums[0]);
    println!("right to left: {}", sums[1]);
    println!("the parent after a tenth: {early:?}");
    println!("and in the end: {:?}", holdings());
    let [left, right] = storm.ends;
    drop(left);
    let mut right = right.expect("the parent holds both ends");
    assert!(matches!(right.recv(), Err(RecvError::Disconnected)));
}
