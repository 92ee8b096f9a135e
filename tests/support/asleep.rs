//! Telling that a thread sleeps in the kernel, without guessing how long it takes to get there.
//!
//! It cannot tell what the thread waits for; the test arranges that only one wait is possible.

use std::fs;
use std::sync::mpsc;
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

/// How long a thread must have been asleep without a single switch. Longer than any bounded wait
/// that a pipe may make before its last, unbounded one.
const STEADY: Duration = Duration::from_millis(30);

/// Pause between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// After this long without sleep the helper gives up: the thread spins, or wakes again and again.
const PATIENCE: Duration = Duration::from_secs(40);

/// What one look at a thread shows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    state: char,
    switches: Switches,
}

/// Context switches of a thread so far (proc_pid_status(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Switches {
    /// Times that it gave up the processor to wait.
    pub(crate) voluntary: u64,
    /// Times that the processor was taken from it.
    pub(crate) forced: u64,
}

/// Waits until every one of the threads, each given as process and thread id, is asleep and has
/// been so for a while. Panics when one of them ends or never comes to rest.
pub(crate) fn until_asleep(threads: &[(Pid, Pid)]) {
    let give_up = Instant::now() + PATIENCE;
    let mut last = looks(threads);
    let mut since = Instant::now();
    while since.elapsed() < STEADY {
        assert!(
            Instant::now() < give_up,
            "{threads:?} do not come to rest: {last:?}"
        );
        sleep(BETWEEN_LOOKS);
        let now = looks(threads);
        if now != last || now.iter().any(|look| look.state != 'S') {
            last = now;
            since = Instant::now();
        }
    }
}

fn looks(threads: &[(Pid, Pid)]) -> Vec<Look> {
    threads.iter().map(|&(pid, tid)| look(pid, tid)).collect()
}

fn look(pid: Pid, tid: Pid) -> Look {
    let status = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status"))
        .unwrap_or_else(|error| panic!("thread {tid} of {pid} is gone instead of asleep: {error}"));
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in the status of {tid}"))
            .trim()
    };
    let state = field("State:")
        .chars()
        .next()
        .expect("a state has a letter");
    assert!(
        !matches!(state, 'Z' | 'X'),
        "thread {tid} of {pid} has ended instead of sleeping"
    );
    let count = |name: &str| field(name).parse().expect("a count of switches");
    let voluntary = count("voluntary_ctxt_switches:");
    let forced = count("nonvoluntary_ctxt_switches:");
    Look {
        state,
        switches: Switches { voluntary, forced },
    }
}

/// The context switches of a thread so far.
pub(crate) fn switches(pid: Pid, tid: Pid) -> Switches {
    look(pid, tid).switches
}

/// The kernel's id of the calling thread.
pub(crate) fn gettid() -> Pid {
    nix::unistd::gettid()
}

/// A thread whose kernel id is known, so that its sleep can be watched.
#[derive(Debug)]
pub(crate) struct Thread<T> {
    tid: Pid,
    handle: JoinHandle<T>,
}

/// Runs `work` in a new thread.
pub(crate) fn thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Thread<T> {
    let (tell, told) = mpsc::channel();
    let handle = std::thread::spawn(move || {
        tell.send(gettid()).expect("the creator waits for it");
        work()
    });
    Thread {
        tid: told.recv().expect("the thread tells its id first"),
        handle,
    }
}

impl<T> Thread<T> {
    /// The kernel's id of it.
    pub(crate) fn tid(&self) -> Pid {
        self.tid
    }

    /// Waits until it sleeps in the kernel and stays asleep.
    pub(crate) fn until_asleep(&self) {
        until_asleep(&[(nix::unistd::getpid(), self.tid)]);
    }

    /// Waits for its end; a panic in it goes on here.
    pub(crate) fn join(self) -> T {
        self.handle
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
