//! What one process does: lanes of short-lived threads that share its end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use shmpipe::{Receiver, Sender};

use super::notes::{Ending, Ledger, Notes};
use super::receivers::{Calls, More, Receiving};
use super::senders::Sending;
use crate::support::{Random, fork};

/// Lanes of a process, each with a thread that makes calls.
const LANES: u64 = 2;

/// Calls of one thread at most.
const CALLS: u64 = 2000;

/// One call in so many is a close.
const CLOSES: usize = 200;

/// Calls of a forked child at most.
const CHILDS_CALLS: u64 = 30;

/// What a process does to itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Troubles {
    /// Forks children that use the end, while other threads are in their calls.
    pub(super) forks: bool,
    /// Has no descriptor to spare now and then.
    pub(super) starves: bool,
    /// Closes its side while other threads are in their calls, and ends.
    pub(super) closes: bool,
}

/// An end as its process's lanes use it.
pub(super) trait Shared: Sync {
    type Handle: Send;
    type Worker;

    fn clone_of(&self) -> std::io::Result<Self::Handle>;
    /// Closes the side in this process.
    fn close(&self) -> std::io::Result<()>;
    /// A new life, whose receives wait without limit where `waits`.
    fn worker(&self, ledger: Ledger, waits: bool) -> Self::Worker;
    fn notes(worker: &Self::Worker) -> Notes;
    /// One call; returns whether there is anything left to do for this life.
    fn call(worker: &mut Self::Worker, handle: &mut Self::Handle, random: &mut Random) -> bool;
    /// Whether nobody of this process has anything left to do.
    fn is_done(worker: &Self::Worker) -> bool;
}

/// What a sending process shares.
pub(super) struct Sends(pub(super) Sender);

/// What a receiving process shares.
pub(super) struct Receives(pub(super) Receiver, pub(super) Calls);

/// A sending life, and whether its process has closed the side.
pub(super) struct UntilClosed(Sending, bool);

/// A receiving life and what it has seen last.
pub(super) struct UntilEnd(Receiving, More);

impl Shared for Sends {
    type Handle = Sender;
    type Worker = UntilClosed;

    fn clone_of(&self) -> std::io::Result<Sender> {
        self.0.try_clone()
    }

    fn close(&self) -> std::io::Result<()> {
        self.0.close()
    }

    fn worker(&self, ledger: Ledger, _waits: bool) -> UntilClosed {
        UntilClosed(Sending::new(ledger), false)
    }

    fn notes(worker: &UntilClosed) -> Notes {
        worker.0.notes
    }

    fn call(worker: &mut UntilClosed, tx: &mut Sender, random: &mut Random) -> bool {
        worker.1 = !worker.0.call(tx, random);
        !worker.1 && !worker.0.is_used_up() && !worker.0.ledger.is_over()
    }

    fn is_done(worker: &UntilClosed) -> bool {
        worker.1 || worker.0.ledger.is_over()
    }
}

impl Shared for Receives {
    type Handle = Receiver;
    type Worker = UntilEnd;

    fn clone_of(&self) -> std::io::Result<Receiver> {
        self.0.try_clone()
    }

    fn close(&self) -> std::io::Result<()> {
        self.0.close()
    }

    fn worker(&self, ledger: Ledger, waits: bool) -> UntilEnd {
        let calls = Calls { waits, ..self.1 };
        UntilEnd(Receiving::new(ledger, calls), More::MayCome)
    }

    fn notes(worker: &UntilEnd) -> Notes {
        worker.0.notes
    }

    fn call(worker: &mut UntilEnd, rx: &mut Receiver, random: &mut Random) -> bool {
        worker.1 = worker.0.call(rx, random);
        worker.1 == More::MayCome
    }

    fn is_done(worker: &UntilEnd) -> bool {
        worker.1 != More::MayCome
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
        let Some(mut handle) = self.clone_of() else {
            return;
        };
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
                _ => match self.clone_of() {
                    Some(clone) => clone,
                    None => return,
                },
            };
        }
    }

    /// A clone, which may be refused only while there is no descriptor to be had; then there are some again. `None` where
    /// the process has closed its side.
    fn clone_of(&self) -> Option<S::Handle> {
        loop {
            match self.shared.clone_of() {
                Ok(handle) => return Some(handle),
                Err(error) if error.kind() == std::io::ErrorKind::NotConnected => return None,
                Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                    self.ledger.count_refused();
                    set_descriptors(all_descriptors());
                }
                Err(error) => panic!("a clone: {error}"),
            }
        }
    }

    /// Closes the side, which may be refused only while there is no descriptor to be had.
    fn close(&self) {
        self.ledger.count_close();
        while let Err(error) = self.shared.close() {
            let errno = shmpipe::raw_os_error(&error);
            assert_eq!(errno, Some(libc::EMFILE), "a close: {error}");
            set_descriptors(all_descriptors());
        }
    }

    /// One life of so many calls; returns whether this process has nothing left to do.
    fn one_thread(&self, handle: S::Handle, mut random: Random, calls: u64) -> (S::Handle, bool) {
        let mut handle = handle;
        let mut worker = self.shared.worker(self.ledger, true);
        for _ in 0..calls {
            if random.below(8) == 0 {
                if let Some(clone) = self.clone_of() {
                    handle = clone;
                }
            }
            if self.troubles.closes && random.below(CLOSES) == 0 {
                self.close();
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
        let is_done = S::is_done(&worker);
        // What the process has of a message goes with the side.
        let ending = match is_done && self.troubles.closes {
            true => Ending::Process,
            false => Ending::Thread,
        };
        S::notes(&worker).ends_with(ending);
        (handle, is_done)
    }

    /// A child that uses this thread's handle and clones of its process's end, and ends wherever it is.
    fn fork_one(&self, handle: &mut S::Handle, mut random: Random) {
        self.ledger.count_fork();
        fork(|| {
            // This process waits for it, and may have fragments of what comes next.
            let mut worker = self.shared.worker(self.ledger, false);
            let Some(mut clone) = self.clone_of() else {
                S::notes(&worker).ends_with(Ending::Process);
                return;
            };
            for _ in 0..random.below_u64(CHILDS_CALLS) {
                let handle = match random.below(2) {
                    0 => &mut *handle,
                    _ => &mut clone,
                };
                if !S::call(&mut worker, handle, &mut random) {
                    break;
                }
            }
            if self.troubles.closes && random.below(2) == 0 {
                self.close();
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
