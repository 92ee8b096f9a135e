//! What the processes write down, in memory that they share and that outlives each of them.
//!
//! Each word is written before the thing that it announces or after the thing that it reports, so that a death
//! in between leaves the message in doubt and never more. No word goes through the pipe under test.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::messages::{Entry, Life, NUMBERS, STAMPED, size};
use crate::support::{gettid, long, shared_counters};

/// Words of the notes of one life.
const WORDS: usize = 16;

/// Messages that can be noted as having come twice.
const TWICE: usize = 64;

/// Lives that a run can have.
fn most_lives() -> usize {
    if long() { 60_000 } else { 15_000 }
}

/// How a life has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Not, or by a kill.
    None,
    /// Its thread ended, and its process went on.
    Thread,
    /// Its process ended with it.
    Process,
}

/// The notes of one life.
#[derive(Clone, Copy)]
pub(super) struct Notes {
    pub(super) life: Life,
    words: &'static [AtomicU64],
}

/// The words of a life's notes.
#[derive(Clone, Copy)]
enum Word {
    /// Sends that were begun: a message's number and 1.
    Begun,
    /// Sends that returned.
    Returned,
    /// 1 while a message may be taken that is not entered.
    Hands,
    /// 1 from a receive that ended without a message to one that got one.
    Inside,
    /// Receives that reported `Aborted`.
    Aborted,
    /// The message that is looked at in place and not given back.
    Viewed,
    /// 0, or an [`Ending`].
    Ending,
    /// Index and 1 of what it does in [`DOING`].
    Doing,
    /// Number or length that belongs to what it does.
    Detail,
    /// Process and thread, for who reads what hung.
    Process,
    Thread,
}

/// Everything that a life does that may take long.
pub(super) const DOING: [&str; 24] = [
    "send",
    "try_send",
    "send_timeout",
    "send_batch",
    "reserve",
    "commit",
    "drop of a slot",
    "send_vectored",
    "try_send_vectored",
    "write",
    "recv",
    "try_recv",
    "recv_timeout",
    "recv_into",
    "poll",
    "wait",
    "read",
    "recv_batch",
    "try_recv_batch",
    "recv_batch_timeout",
    "recv_in_place",
    "try_recv_in_place",
    "recv_in_place_timeout",
    "try_clone",
];

impl Notes {
    fn word(self, word: Word) -> &'static AtomicU64 {
        &self.words[word as usize]
    }

    fn get(self, word: Word) -> u64 {
        self.word(word).load(Ordering::Acquire)
    }

    fn set(self, word: Word, value: u64) {
        self.word(word).store(value, Ordering::Release);
    }

    /// Before a call, named as in [`DOING`].
    pub(super) fn does(self, what: &str, detail: usize) {
        let at = DOING
            .iter()
            .position(|&name| name == what)
            .expect("a call that is listed");
        self.set(Word::Detail, detail as u64);
        self.set(Word::Doing, at as u64 + 1);
    }

    /// Before a send of `count` messages from `number` on.
    pub(super) fn begin(self, number: usize, count: usize) {
        self.set(Word::Begun, (number + count) as u64);
    }

    /// After a send returned with all messages before `number` sent, and none from there on.
    pub(super) fn sent_up_to(self, number: usize) {
        self.set(Word::Returned, number as u64);
        self.set(Word::Begun, number as u64);
    }

    /// Before a receive.
    pub(super) fn reach(self) {
        self.set(Word::Hands, 1);
    }

    /// After a receive; `took` says whether it got what it found whole.
    pub(super) fn rest(self, took: bool) {
        self.set(Word::Inside, u64::from(!took));
        self.set(Word::Hands, 0);
    }

    pub(super) fn told_of_a_death(self) {
        self.word(Word::Aborted).fetch_add(1, Ordering::Release);
    }

    /// Before a message that is still in the pipe is entered.
    pub(super) fn views(self, entry: Entry) {
        self.set(Word::Viewed, entry.to_word());
    }

    /// After it is given back.
    pub(super) fn viewed(self) {
        self.set(Word::Viewed, 0);
    }

    pub(super) fn ends_with(self, ending: Ending) {
        self.set(Word::Ending, ending as u64);
    }

    pub(super) fn sends(self) -> (usize, usize) {
        (
            self.get(Word::Begun) as usize,
            self.get(Word::Returned) as usize,
        )
    }

    pub(super) fn has_full_hands(self) -> bool {
        self.get(Word::Hands) == 1
    }

    pub(super) fn is_inside(self) -> bool {
        self.get(Word::Inside) == 1
    }

    pub(super) fn deaths_told(self) -> u64 {
        self.get(Word::Aborted)
    }

    pub(super) fn viewed_word(self) -> u64 {
        self.get(Word::Viewed)
    }

    pub(super) fn ending(self) -> Ending {
        [Ending::None, Ending::Thread, Ending::Process][self.get(Word::Ending) as usize]
    }
}

/// The memory that all processes of a run share.
#[derive(Clone, Copy)]
pub(super) struct Ledger {
    lives: &'static AtomicU64,
    /// Not 0 when nobody shall send any more.
    over: &'static AtomicU64,
    sent: &'static AtomicU64,
    received: &'static AtomicU64,
    /// Processes that were forked by others than the keeper.
    forked: &'static AtomicU64,
    /// Times that a process had no descriptor to spare for a while.
    starved: &'static AtomicU64,
    /// Clones that were refused.
    refused: &'static AtomicU64,
    /// Sides that a process closed.
    closed: &'static AtomicU64,
    /// Messages noted as having come twice.
    doubles: &'static AtomicU64,
    twice: &'static [AtomicU64],
    /// Short messages that were received, by length.
    short: &'static [AtomicU64],
    notes: &'static [AtomicU64],
    /// One bit for each number of each life: whether it was received.
    bits: &'static [AtomicU64],
}

impl Ledger {
    pub(super) fn new() -> Self {
        let [
            lives,
            over,
            sent,
            received,
            forked,
            starved,
            refused,
            closed,
            doubles,
        ] = shared_counters(9)
        else {
            unreachable!("there are as many as were asked for");
        };
        Self {
            lives,
            over,
            sent,
            received,
            forked,
            starved,
            refused,
            closed,
            doubles,
            twice: shared_counters(TWICE),
            short: shared_counters(STAMPED),
            notes: shared_counters(most_lives() * WORDS),
            bits: shared_counters(most_lives() * NUMBERS / 64),
        }
    }

    /// Notes for a new life of the calling thread.
    pub(super) fn begin_life(self) -> Notes {
        let life = self.lives.fetch_add(1, Ordering::Relaxed) as usize;
        assert!(life < most_lives(), "{life} lives are too many");
        let notes = self.notes_of(life);
        notes.set(Word::Process, u64::from(std::process::id()));
        notes.set(Word::Thread, gettid().as_raw() as u64);
        notes
    }

    fn notes_of(self, life: usize) -> Notes {
        Notes {
            life: Life::try_from(life).expect("fewer lives than 16 bits count"),
            words: &self.notes[life * WORDS..][..WORDS],
        }
    }

    /// The notes of everybody so far.
    pub(super) fn all(self) -> impl Iterator<Item = Notes> {
        let lives = self.lives.load(Ordering::Acquire) as usize;
        (0..lives).map(move |life| self.notes_of(life))
    }

    pub(super) fn is_over(self) -> bool {
        self.over.load(Ordering::Relaxed) != 0
    }

    pub(super) fn end(self) {
        self.over.store(1, Ordering::Relaxed);
    }

    pub(super) fn count_sent(self, count: usize) {
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn count_fork(self) {
        self.forked.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_starved(self) {
        self.starved.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_close(self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages sent and received so far.
    pub(super) fn progress(self) -> (u64, u64) {
        let count = |word: &AtomicU64| word.load(Ordering::Relaxed);
        (count(self.sent), count(self.received))
    }

    /// Forks, starvings, refused clones and closes so far.
    pub(super) fn troubles(self) -> [u64; 4] {
        [self.forked, self.starved, self.refused, self.closed]
            .map(|word| word.load(Ordering::Relaxed))
    }

    /// Enters one received message.
    pub(super) fn enter(self, entry: Entry) {
        self.received.fetch_add(1, Ordering::Relaxed);
        match entry {
            Entry::Short(len) => {
                self.short[len].fetch_add(1, Ordering::Release);
            }
            Entry::Stamped(life, number) => {
                let (word, bit) = self.bit(life, number);
                if word.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
                    let at = self.doubles.fetch_add(1, Ordering::AcqRel) as usize;
                    assert!(at < TWICE, "{at} messages came twice, the last {entry:?}");
                    self.twice[at].store(entry.to_word(), Ordering::Release);
                }
            }
        }
    }

    fn bit(self, life: Life, number: usize) -> (&'static AtomicU64, u64) {
        let begun = self.lives.load(Ordering::Acquire);
        assert!(
            u64::from(life) < begun && number < NUMBERS,
            "message {number} of life {life}, and there were {begun} lives"
        );
        let at = usize::from(life) * NUMBERS + number;
        (&self.bits[at / 64], 1 << (at % 64))
    }

    pub(super) fn was_received(self, life: Life, number: usize) -> bool {
        let (word, bit) = self.bit(life, number);
        word.load(Ordering::Acquire) & bit != 0
    }

    pub(super) fn short_received(self, len: usize) -> u64 {
        self.short[len].load(Ordering::Acquire)
    }

    /// The messages that came twice, as words.
    pub(super) fn twice(self) -> impl Iterator<Item = u64> {
        let doubles = self.doubles.load(Ordering::Acquire) as usize;
        self.twice[..doubles]
            .iter()
            .map(|word| word.load(Ordering::Acquire))
    }

    /// What each life that has not ended, nor its process, was doing last.
    pub(super) fn doing(self) -> String {
        let mut text = String::new();
        let is_there = |notes: &Notes| {
            let process = format!("/proc/{}", notes.get(Word::Process));
            notes.ending() == Ending::None && std::path::Path::new(&process).exists()
        };
        for notes in self.all().filter(is_there) {
            let (begun, returned) = notes.sends();
            let doing = (notes.get(Word::Doing) as usize).checked_sub(1);
            let doing = doing.map_or("nothing yet", |at| DOING[at]);
            let _ = writeln!(
                text,
                "life {} (process {}, thread {}): {doing} {}; {returned} of {begun} sent, the next of {} bytes; \
                 hands {}, inside {}",
                notes.life,
                notes.get(Word::Process),
                notes.get(Word::Thread),
                notes.get(Word::Detail),
                size(notes.life, returned),
                notes.get(Word::Hands),
                notes.get(Word::Inside),
            );
        }
        text
    }
}
