//! One slice on one system: opens it, forks the peers or starts threads, and gives the outcome.
//!
//! It runs in a process of its own, which `supervise` limits in time. How the two sides behave is
//! in `one_way` and `round_trip`.

use std::fs::File;
use std::io::{self, Write};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getppid};

use crate::clock::{Until, Usage, WARM_UP_NANOS, now};
use crate::kills;
use crate::message::MAX_SENDERS;
use crate::one_way;
use crate::outcome::{Outcome, latency};
use crate::quota;
use crate::round_trip;
use crate::shared::{Atomics, Shared};
use crate::wire::{Plan, Rx, Wire};
use crate::workload::Kind;

/// Begins the line of a process that failed; the rest is the reason.
pub(crate) const ERROR_PREFIX: &str = "error ";

/// What both sides of a slice see.
#[repr(C)]
pub(crate) struct Control {
    /// Stops that processes or threads have come to before they begin: counts up to twice their number.
    /// All write it by AcqRel and read it by Acquire.
    pub(crate) ready: AtomicU64,
    /// 0, or 1 when all warm-up messages have arrived. The receiver writes it by Release, the senders read
    /// it by Acquire.
    pub(crate) measuring: AtomicU64,
    /// 0, or 1 when all messages have arrived. The receiver or the pinging side writes it by Release, lingering
    /// peers read it by Acquire.
    drained: AtomicU64,
    /// What each peer did; written by it once, before it ends.
    pub(crate) accounts: [Account; MAX_SENDERS],
}

/// What a peer did in the measured part.
#[repr(C)]
pub(crate) struct Account {
    /// When its measured part began; 0 before. The peer writes it by Release, the receiver reads it by
    /// Acquire.
    pub(crate) start_nanos: AtomicU64,
    /// Messages it sent in it; 0 before all are sent. The peer writes it by Release, the receiver reads it
    /// by Acquire.
    pub(crate) messages: AtomicU64,
    /// This and the next four: written by the peer, read by the session after the peer's end.
    cpu_nanos: AtomicU64,
    voluntary: AtomicU64,
    involuntary: AtomicU64,
    syscalls: AtomicU64,
    in_place: AtomicU64,
}

// SAFETY: atomics and arrays of them.
unsafe impl Atomics for Control {}

impl Account {
    /// Notes what was used, and how many messages were made in place. The end of the peer, which the session
    /// waits for, publishes it.
    pub(crate) fn note(&self, usage: Usage, in_place: u64) {
        self.cpu_nanos.store(usage.cpu_nanos, Ordering::Relaxed);
        self.voluntary.store(usage.voluntary, Ordering::Relaxed);
        self.involuntary.store(usage.involuntary, Ordering::Relaxed);
        self.syscalls.store(usage.syscalls, Ordering::Relaxed);
        self.in_place.store(in_place, Ordering::Relaxed);
    }

    fn usage(&self) -> Usage {
        Usage {
            cpu_nanos: self.cpu_nanos.load(Ordering::Relaxed),
            voluntary: self.voluntary.load(Ordering::Relaxed),
            involuntary: self.involuntary.load(Ordering::Relaxed),
            syscalls: self.syscalls.load(Ordering::Relaxed),
        }
    }
}

/// Forks a child that dies with its parent, whatever it waits for; `None` in the child. The process must have one thread.
///
/// # Errors
///
/// What fork(2) reports.
pub fn fork_child() -> io::Result<Option<Pid>> {
    let parent = Pid::this();
    // SAFETY: the caller has one thread: no system starts one in `open`, and the supervisor starts none.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => {
            // A parent that has died meanwhile sends nothing.
            if set_pdeathsig(Signal::SIGKILL).is_err() || getppid() != parent {
                process::exit(1);
            }
            Ok(None)
        }
    }
}

/// Runs a slice between forked processes, or a kill, if the plan has one.
///
/// # Errors
///
/// The first thing that went wrong: a lost or damaged message, what a system reports, a peer's end.
pub fn processes<W: Wire>(plan: &Plan, report: &File) -> io::Result<Outcome> {
    if let Some(kill) = plan.kill {
        kills::session::<W>(plan, kill, report)?;
        // It has reported by itself, and nothing of the parent's stack is to be run a second time here.
        process::exit(0);
    }
    if plan.workload.kind == Kind::Make {
        return make::<W>(plan);
    }
    let slice = Slice::<W>::open(plan)?;
    let mut children = Vec::new();
    for peer in 0..plan.workload.peers() {
        match fork_child()? {
            Some(child) => children.push(child),
            None => {
                let code = match slice.peer(peer) {
                    Ok(()) => 0,
                    Err(error) => tell(report, &error),
                };
                // Nothing of the parent's stack is to be run a second time here.
                process::exit(code);
            }
        }
    }
    let outcome = slice.main()?;
    for child in children {
        match waitpid(child, None)? {
            WaitStatus::Exited(_, 0) => {}
            end => return Err(io::Error::other(format!("a peer process ended by {end:?}"))),
        }
    }
    Ok(slice.complete(outcome))
}

/// Makes and drops both ends again and again.
fn make<W: Wire>(plan: &Plan) -> io::Result<Outcome> {
    pin(plan, plan.cpus[0])?;
    let go = |nanos| -> io::Result<(u64, u64)> {
        let start = now();
        let mut time = Until::from_now(nanos, plan.workload.stride());
        let mut count = 0;
        while !time.is_over() {
            drop(W::open(plan, "there")?);
            count += 1;
        }
        Ok((count, now() - start))
    };
    go(WARM_UP_NANOS)?;
    let before = Usage::now()?;
    let (messages, nanos) = go(plan.slice_nanos)?;
    Ok(Outcome {
        messages,
        nanos,
        main: Usage::now()?.since(before),
        peers: Usage::default(),
        used_over: messages,
        in_place: [0, 0],
        latency: latency(),
    })
}

/// Runs a slice between threads.
///
/// # Errors
///
/// As [`processes`].
pub fn threads<W: Wire>(plan: &Plan, report: &File) -> io::Result<Outcome> {
    let slice = Slice::<W>::open(plan)?;
    let outcome = thread::scope(|scope| {
        for peer in 0..plan.workload.peers() {
            let slice = &slice;
            scope.spawn(move || {
                if let Err(error) = slice.peer(peer) {
                    process::exit(tell(report, &error));
                }
            });
        }
        slice.main()
    })?;
    Ok(slice.complete(outcome))
}

/// Reports a failure, and gives the exit code for it.
pub(crate) fn tell(mut report: &File, error: &io::Error) -> i32 {
    let text = error.to_string().replace('\n', " ");
    // A supervisor that has gone needs no account.
    let _ = writeln!(report, "{ERROR_PREFIX}{text}");
    1
}

struct Slice<'a, W> {
    plan: &'a Plan,
    control: Shared<Control>,
    there: W,
    back: Option<W>,
}

impl<'a, W: Wire> Slice<'a, W> {
    fn open(plan: &'a Plan) -> io::Result<Self> {
        if let Some(cgroup) = &plan.cgroup {
            quota::enter(cgroup)?;
        }
        // A library may ask on how many CPUs it can run from the start: see taskset(1).
        pin(plan, plan.cpus[0])?;
        Ok(Self {
            plan,
            control: Shared::new()?,
            there: W::open(plan, "there")?,
            back: match plan.workload.is_two_way() {
                true => Some(W::open(plan, "back")?),
                false => None,
            },
        })
    }

    fn peer(&self, peer: usize) -> io::Result<()> {
        pin(self.plan, self.plan.peer_cpu(peer))?;
        let linger = || {
            // SYNC: drained
            while W::LINGERS && self.control.drained.load(Ordering::Acquire) == 0 {
                thread::yield_now();
            }
        };
        let account = &self.control.accounts[peer];
        match &self.back {
            Some(back) => {
                // On both sides the sending end first: some receiving ends wait for theirs.
                let mut tx = back.tx(self.plan)?;
                let mut rx = self.there.rx(self.plan)?;
                self.gather(&mut rx)?;
                round_trip::echo(self.plan, &mut rx, &mut tx, account)?;
                linger();
            }
            None => {
                let mut tx = self.there.tx(self.plan)?;
                self.wait_for(1);
                self.wait_for(2);
                one_way::send(self.plan, &mut tx, &self.control, peer)?;
                linger();
            }
        }
        Ok(())
    }

    fn main(&self) -> io::Result<Outcome> {
        let outcome = self.measure();
        // SYNC: drained
        self.control.drained.store(1, Ordering::Release);
        outcome
    }

    fn measure(&self) -> io::Result<Outcome> {
        match &self.back {
            Some(back) => {
                let mut tx = self.there.tx(self.plan)?;
                let mut rx = back.rx(self.plan)?;
                self.gather(&mut rx)?;
                round_trip::ping(self.plan, &mut tx, &mut rx)
            }
            None => {
                let mut rx = self.there.rx(self.plan)?;
                self.gather(&mut rx)?;
                one_way::receive(self.plan, &mut rx, &self.control)
            }
        }
    }

    /// Waits until every side has its ends, and then until every receiver knows its senders.
    fn gather(&self, rx: &mut W::Rx) -> io::Result<()> {
        self.wait_for(1);
        rx.settle()?;
        self.wait_for(2);
        Ok(())
    }

    /// Waits until every side has come to its so many-eth stop.
    fn wait_for(&self, stop: u64) {
        // SYNC: gather
        self.control.ready.fetch_add(1, Ordering::AcqRel);
        let all = (self.plan.workload.peers() as u64 + 1) * stop;
        // SYNC: gather
        while self.control.ready.load(Ordering::Acquire) < all {
            thread::yield_now();
        }
    }

    /// Adds what the peers used, which have ended.
    fn complete(&self, mut outcome: Outcome) -> Outcome {
        for account in &self.control.accounts[..self.plan.workload.peers()] {
            let usage = account.usage();
            outcome.peers.cpu_nanos += usage.cpu_nanos;
            outcome.peers.voluntary += usage.voluntary;
            outcome.peers.involuntary += usage.involuntary;
            outcome.peers.syscalls += usage.syscalls;
            outcome.in_place[0] += account.in_place.load(Ordering::Relaxed);
        }
        outcome
    }
}

/// Restricts the calling thread to one CPU; to all of the plan's in a cgroup whose quota is the limit.
pub(crate) fn pin(plan: &Plan, cpu: usize) -> io::Result<()> {
    match plan.cgroup {
        Some(_) => pin_to(&plan.cpus),
        None => pin_to(&[cpu]),
    }
}

/// Restricts the calling thread to those CPUs.
///
/// # Errors
///
/// Names CPUs that it may not run on.
pub fn pin_to(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)
        .map_err(|errno| io::Error::other(format!("cannot run on CPUs {cpus:?}: {}", errno.desc())))
}
