//! What one process does: lanes of short-lived threads that share its end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use shmpipe::{Receiver, Sender};

use super::notes::{Ending, Ledger, Notes};
use super::receivers::{Calls, Receiving};
use super::senders::Sending;
use crate::support::{Random, fork};

/// Lanes of a process, each with a thread that makes calls.
const LANES: u64 = 2;

/// Calls of one thread at most.
const CALLS: u64 = 2000;

/// Calls of a forked child at most.
const CHILDS_CALLS: u64 = 30;

/// What a process does to itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Troubles {
    /// Forks children that use the end, while other threads are in their calls.
    pub(super) forks: bool,
    /// Has no descriptor to spare now and then.
    pub(super) starves: bool,
}

/// An end as its process's lanes use it.
pub(super) trait Shared: Sync {
    type Handle: Send;
    type Worker;

    fn clone_of(&self) -> std::io::Result<Self::Handle>;
    /// A new life, whose receives wait without limit where `waits`.
    fn worker(&self, ledger: Ledger, waits: bool) -> Self::Worker;
    fn notes(worker: &Self::Worker) -> Notes;
    /// One call; tells whether there is anything left to do for this life.
    fn call(worker: &mut Self::Worker, handle: &mut Self::Handle, random: &mut Random) -> bool;
    /// Whether nobody of this process has anything left to do.
    fn is_done(worker: &Self::Worker) -> bool;
}

/// What a sending process shares.
pub(super) struct Sends(pub(super) Sender);

/// What a receiving process shares.
pub(super) struct Receives(pub(super) Receiver, pub(super) Calls);

/// A receiving life and whether it has seen the end.
pub(super) struct UntilEnd(Receiving, bool);

impl Shared for Sends {
    type Handle = Sender;
    type Worker = Sending;

    fn clone_of(&self) -> std::io::Result<Sender> {
        self.0.try_clone()
    }

    fn worker(&self, ledger: Ledger, _waits: bool) -> Sending {
        Sending::new(ledger)
    }

    fn notes(worker: &Sending) -> Notes {
        worker.notes
    }

    fn call(worker: &mut Sending, tx: &mut Sender, random: &mut Random) -> bool {
        worker.call(tx, random);
        !worker.is_used_up() && !worker.ledger.is_over()
    }

    fn is_done(worker: &Sending) -> bool {
        worker.ledger.is_over()
    }
}

impl Shared for Receives {
    type Handle = Receiver;
    type Worker = UntilEnd;

    fn clone_of(&self) -> std::io::Result<Receiver> {
        self.0.try_clone()
    }

    fn worker(&self, ledger: Ledger, waits: bool) -> UntilEnd {
        let calls = Calls { waits, ..self.1 };
        UntilEnd(Receiving::new(ledger, calls), false)
    }

    fn notes(worker: &UntilEnd) -> Notes {
        worker.0.notes
    }

    fn call(worker: &mut UntilEnd, rx: &mut Receiver, random: &mut Random) -> bool {
        worker.1 = !worker.0.call(rx, random);
        !worker.1
    }

    fn is_done(worker: &UntilEnd) -> bool {
        worker.1
    }
}

/// Works with an end to the end of the run.
pub(super) fn work<S: Shared>(shared: &S, ledger: Ledger, troubles: Troubles, seed: u64) {
    let mut random = Random::new(seed);
    // The first calls of a process, or of a thread, must do without a descriptor too.
    if troubles.starves && random.below(2) == 0 {
        set_descriptors(random.below_u64(4));
    }
    thread::scope(|scope| {
        for lane in 0..LANES {
            let random = Random::new(random.word());
            let lane = Lane {
                shared,
                ledger,
                troubles: Troubles {
                    starves: troubles.starves && lane == 0,
                    ..troubles
                },
            };
            scope.spawn(move || {
                // A panic must not wait for the other lane.
                let work = AssertUnwindSafe(|| lane.run(random));
                catch_unwind(work).unwrap_or_else(|_| std::process::abort());
            });
        }
    });
}

/// One thread after another.
struct Lane<'a, S: Shared> {
    shared: &'a S,
    ledger: Ledger,
    troubles: Troubles,
}

impl<S: Shared> Lane<'_, S> {
    fn run(&self, mut random: Random) {
        let mut handle = self.clone_of();
        loop {
            let theirs = Random::new(random.word());
            let calls = 1 + random.below_u64(CALLS);
            let run = || self.one_thread(handle, theirs, calls);
            let (back, is_done) = thread::scope(|scope| {
                let thread = scope.spawn(run);
                thread.join().unwrap_or_else(|_| std::process::abort())
            });
            if is_done {
                return;
            }
            // The handle goes on in another thread, or is dropped for a clone.
            handle = match random.below(2) {
                0 => back,
                _ => self.clone_of(),
            };
        }
    }

    /// A clone, which may be refused only while there is no descriptor to be had; then there are some again.
    fn clone_of(&self) -> S::Handle {
        loop {
            match self.shared.clone_of() {
                Ok(handle) => return handle,
                Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                    self.ledger.count_refused();
                    set_descriptors(all_descriptors());
                }
                Err(error) => panic!("a clone: {error}"),
            }
        }
    }

    /// One life of so many calls; tells whether this process has nothing left to do.
    fn one_thread(&self, handle: S::Handle, mut random: Random, calls: u64) -> (S::Handle, bool) {
        let mut handle = handle;
        let mut worker = self.shared.worker(self.ledger, true);
        for _ in 0..calls {
            if random.below(8) == 0 {
                handle = self.clone_of();
            }
            if self.troubles.starves && random.below(64) == 0 {
                let descriptors = match random.below(2) {
                    0 => random.below_u64(8),
                    _ => all_descriptors(),
                };
                set_descriptors(descriptors);
                self.ledger.count_starved();
            }
            if self.troubles.forks && random.below(256) == 0 {
                self.fork_one(&mut handle, Random::new(random.word()));
            }
            if !S::call(&mut worker, &mut handle, &mut random) {
                break;
            }
        }
        S::notes(&worker).ends_with(Ending::Thread);
        (handle, S::is_done(&worker))
    }

    /// A child that uses this thread's handle and clones of its process's end, and ends wherever it is.
    fn fork_one(&self, handle: &mut S::Handle, mut random: Random) {
        self.ledger.count_fork();
        fork(|| {
            // This process waits for it, and may have fragments of what comes next.
            let mut worker = self.shared.worker(self.ledger, false);
            let mut clone = self.clone_of();
            for _ in 0..random.below_u64(CHILDS_CALLS) {
                let handle = match random.below(2) {
                    0 => &mut *handle,
                    _ => &mut clone,
                };
                if !S::call(&mut worker, handle, &mut random) {
                    break;
                }
            }
            S::notes(&worker).ends_with(Ending::Process);
        })
        .join();
    }
}

fn all_descriptors() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE)
        .expect("a valid resource")
        .1
}

/// Lets this process have descriptors below this number only.
fn set_descriptors(limit: u64) {
    let hard = all_descriptors();
    setrlimit(Resource::RLIMIT_NOFILE, limit, hard).expect("a soft limit below the hard one");
}
