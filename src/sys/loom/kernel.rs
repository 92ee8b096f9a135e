//! The kernel as the model checker sees it: queues of sleepers, tokens, and time.
//!
//! Each futex word and each socket has a queue with a lock of its own, as in the kernel: a call on one
//! orders nothing for a call on another. Sleepers are woken in the order in which they came, and a sleep
//! ends for no other reason than a wake, a token or [`let_time_pass`]; so whoever is forgotten sleeps
//! for good, which the checker reports as a deadlock.
//!
//! The checker replays what it has run, so all that it sees must come in the same order each time. Addresses and numbers
//! of descriptors differ from one replay to the next: they may be looked up, and nothing may be sorted by them.
//!
//! Not modelled: signals, spurious wake-ups, hang-ups, and refusals.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use loom::sync::{Condvar, Mutex};

use super::clock::Deadline;
use crate::sync::{AtomicU64, Ordering};

/// After it every deadline has passed.
const LATE: u64 = 1 << 20;

/// What one word or one socket has.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    last_ticket: u64,
    /// Tickets of futex sleepers, oldest first, and whether they have a deadline.
    asleep: VecDeque<(u64, bool)>,
    tokens: VecDeque<u32>,
}

/// What there is in one execution.
#[derive(Default)]
struct Kernel {
    tables: std::sync::Mutex<Tables>,
    seconds: AtomicU64,
}

/// Behind a lock that the checker does not see; it is never held across anything that the checker does.
#[derive(Default)]
struct Tables {
    /// By key, in the order in which they were first used.
    queues: Vec<(usize, Arc<Queue>)>,
    peers: BTreeMap<RawFd, RawFd>,
    last_thread_id: u32,
}

loom::lazy_static! {
    static ref KERNEL: Kernel = Kernel::default();
}

/// How often a thread is stopped where it could go on, unless `LOOM_MAX_PREEMPTIONS` says otherwise.
#[cfg(test)]
const PREEMPTIONS: usize = 2;
/// An execution of more steps than these counts as one that never ends.
#[cfg(test)]
const STEPS: usize = 5_000;

/// Runs `execution` in every order that the bounds allow, with a new kernel each time.
#[cfg(test)]
pub(crate) fn model(execution: impl Fn() + Send + Sync + 'static) {
    let mut checker = loom::model::Builder::new();
    checker.preemption_bound.get_or_insert(PREEMPTIONS);
    checker.max_branches = STEPS;
    checker.check(move || {
        // Made by the first thread: the one that makes it is ordered before all that use it.
        let _ = &*KERNEL;
        execution();
    });
}

/// The queue of a word by its address, or of a socket by its number.
pub(super) fn queue(key: usize) -> Arc<Queue> {
    let queues = &mut tables().queues;
    if let Some((_, known)) = queues.iter().find(|(known, _)| *known == key) {
        return Arc::clone(known);
    }
    let queue = Arc::new(Queue {
        state: Mutex::new(State::default()),
        changed: Condvar::new(),
    });
    queues.push((key, Arc::clone(&queue)));
    queue
}

pub(super) fn connect(left: RawFd, right: RawFd) {
    tables().peers.extend([(left, right), (right, left)]);
}

pub(super) fn peer_of(socket: RawFd) -> RawFd {
    tables().peers[&socket]
}

pub(super) fn new_thread_id() -> u32 {
    let mut tables = tables();
    tables.last_thread_id += 1;
    tables.last_thread_id
}

fn tables() -> std::sync::MutexGuard<'static, Tables> {
    KERNEL.tables.lock().expect("nobody panics inside")
}

pub(crate) fn now() -> Duration {
    Duration::from_secs(seconds())
}

pub(crate) fn ticks() -> u64 {
    0
}

/// From now on every sleep with a deadline ends at once, also of those who sleep already.
#[cfg(test)]
pub(crate) fn let_time_pass() {
    // Not a store, which the checker may put before an update that did not see it, as if time went back.
    KERNEL.seconds.swap(LATE, Ordering::SeqCst);
    let queues: Vec<_> = tables().queues.clone();
    for (_, queue) in queues {
        let mut state = queue.state.lock().expect("nobody panics inside");
        state.asleep.retain(|&(_, has_deadline)| !has_deadline);
        queue.changed.notify_all();
    }
}

fn is_over(deadline: Deadline) -> bool {
    deadline != Deadline::NEVER && (seconds() == LATE || deadline.passed())
}

/// Read by an update, which cannot be stale: time is the same for everybody.
fn seconds() -> u64 {
    KERNEL.seconds.fetch_add(0, Ordering::Relaxed)
}

impl Queue {
    /// Sleeps until woken, if `should_sleep` when nobody can wake unseen.
    pub(super) fn sleep(&self, deadline: Deadline, should_sleep: impl FnOnce() -> bool) {
        let mut state = self.state.lock().expect("nobody panics inside");
        if !should_sleep() || is_over(deadline) {
            return;
        }
        state.last_ticket += 1;
        let own = (state.last_ticket, deadline != Deadline::NEVER);
        state.asleep.push_back(own);
        while state.asleep.contains(&own) {
            state = self.changed.wait(state).expect("nobody panics inside");
        }
    }

    /// Wakes up to `count` sleepers and returns how many there were.
    pub(super) fn wake(&self, count: usize) -> usize {
        let mut state = self.state.lock().expect("nobody panics inside");
        let count = count.min(state.asleep.len());
        if count > 0 {
            state.asleep.drain(..count);
            self.changed.notify_all();
        }
        count
    }

    pub(super) fn push(&self, token: u32) {
        let mut state = self.state.lock().expect("nobody panics inside");
        state.tokens.push_back(token);
        self.changed.notify_all();
    }

    /// The oldest token, taken away when `taken`.
    pub(super) fn token(&self, taken: bool) -> Option<u32> {
        let mut state = self.state.lock().expect("nobody panics inside");
        let token = state.tokens.front().copied();
        if taken {
            state.tokens.pop_front();
        }
        token
    }

    /// Sleeps until there is a token; false when time passed first. Who wakes and finds the token gone
    /// sleeps on, as in poll(2).
    pub(super) fn wait_for_token(&self, deadline: Deadline) -> bool {
        let mut state = self.state.lock().expect("nobody panics inside");
        while state.tokens.is_empty() {
            if is_over(deadline) {
                return false;
            }
            state = self.changed.wait(state).expect("nobody panics inside");
        }
        true
    }
}

#[cfg(test)]
mod loom_tests {
    use super::*;

    #[test]
    fn keys_that_differ_from_replay_to_replay_change_nothing() {
        static REPLAYS: std::sync::Mutex<usize> = std::sync::Mutex::new(0);
        model(|| {
            let replay = {
                let mut replays = REPLAYS.lock().expect("nobody panics inside");
                *replays += 1;
                *replays
            };
            let swap = replay % 2;
            let deadline = Deadline::after(Duration::from_secs(1));
            let sleeper = move |key| {
                let queue = queue(key);
                loom::thread::spawn(move || queue.sleep(deadline, || true))
            };
            let sleepers = [sleeper(1 + swap), sleeper(2 - swap)];
            let_time_pass();
            for sleeper in sleepers {
                sleeper.join().expect("nothing to panic about");
            }
        });
        assert!(*REPLAYS.lock().expect("nobody panics inside") > 10);
    }
}
