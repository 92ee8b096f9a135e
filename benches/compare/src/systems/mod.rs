//! Every system by name: what it is, what it can do, how a slice on it runs.
//!
//! How each is used is in the modules below, in the way its own documentation says is fast.

mod kernel;
mod limits;
mod ours;
mod spoiled;
mod threads;

use std::fs::File;
use std::io;

use crate::outcome::Outcome;
use crate::session::processes;
use crate::wire::Plan;
use crate::workload::{Kind, Workload};

/// What a system is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Carries messages between processes.
    Pipe,
    /// What the hardware or kernel allows, with nothing of a pipe around it.
    Limit,
    /// Carries messages between threads of one process.
    InProcess,
    /// For the tests of this program; never chosen by itself.
    Test,
}

impl Role {
    /// For the table and the record.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Pipe => "between processes",
            Self::Limit => "limit",
            Self::InProcess => "in-process limit",
            Self::Test => "test",
        }
    }

    /// Whether it is no pipe between processes and shows what is possible.
    pub(crate) fn is_limit(self) -> bool {
        matches!(self, Self::Limit | Self::InProcess)
    }
}

/// One system.
pub(crate) struct System {
    /// The name for the command line.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) label: &'static str,
    /// Its package in Cargo.lock; empty for the kernel's own.
    pub(crate) package: &'static str,
    /// What it is here for.
    pub(crate) role: Role,
    /// What it lacks beside a pipe; empty when nothing.
    pub(crate) lacks: &'static str,
    /// Why it cannot do a workload; `None` when it can.
    pub(crate) refuses: fn(Workload) -> Option<&'static str>,
    /// Runs a slice.
    pub(crate) run: fn(&Plan, &File) -> io::Result<Outcome>,
}

type Run = fn(&Plan, &File) -> io::Result<Outcome>;

impl System {
    fn new(name: &'static str, label: &'static str, role: Role, run: Run) -> Self {
        Self {
            name,
            label,
            package: "",
            role,
            lacks: "",
            refuses: |_| None,
            run,
        }
    }

    fn package(self, package: &'static str) -> Self {
        Self { package, ..self }
    }

    fn lacks(self, lacks: &'static str) -> Self {
        Self { lacks, ..self }
    }

    fn refuses(self, refuses: fn(Workload) -> Option<&'static str>) -> Self {
        Self { refuses, ..self }
    }
}

fn only_small_round_trips(workload: Workload) -> Option<&'static str> {
    (!workload.is_two_way() || workload.len > 56).then_some("round trips of up to 56 bytes only")
}

fn only_large_one_way(workload: Workload) -> Option<&'static str> {
    let one_way = matches!(workload.kind, Kind::OneWay { senders: 1 });
    (!one_way || workload.len < 1024).then_some("one way from 1 KiB only")
}

fn only_small_from_one(workload: Workload) -> Option<&'static str> {
    (workload.peers() > 1 || workload.len > 64).then_some("one sender, fixed small sizes")
}

fn only_small(workload: Workload) -> Option<&'static str> {
    (workload.len > 64).then_some("fixed small sizes")
}

/// All systems, in the table's order.
pub(crate) fn all() -> Vec<System> {
    use Role::{InProcess, Limit, Pipe, Test};
    vec![
        System::new(
            "shm",
            "shmpipe, shared memory",
            Pipe,
            processes::<ours::SharedMemory>,
        )
        .package("shmpipe"),
        System::new(
            "shm-kernel",
            "shmpipe on kernel pipes",
            Pipe,
            processes::<ours::OnKernelPipes>,
        )
        .package("shmpipe"),
        System::new(
            "pipe",
            "kernel pipe, 1 MiB",
            Pipe,
            processes::<kernel::TunedPipe>,
        )
        .lacks("whole messages over 4 KiB from several senders"),
        System::new(
            "pipe-plain",
            "kernel pipe, 64 KiB",
            Pipe,
            processes::<kernel::PlainPipe>,
        )
        .lacks("whole messages over 4 KiB from several senders"),
        System::new(
            "stream",
            "Unix stream socketpair",
            Pipe,
            processes::<kernel::Stream>,
        )
        .lacks("whole messages from several senders"),
        System::new(
            "seqpacket",
            "Unix seqpacket socketpair",
            Pipe,
            processes::<kernel::Packets>,
        )
        .lacks("messages longer than its buffer")
        .refuses(|workload| (workload.len >= 1 << 20).then_some("longer than its buffer")),
        System::new(
            "atomics",
            "two atomics, spinning",
            Limit,
            processes::<limits::Line>,
        )
        .refuses(only_small_round_trips),
        System::new(
            "futex",
            "two futexes, sleeping",
            Limit,
            processes::<limits::Futex>,
        )
        .refuses(only_small_round_trips),
        System::new(
            "memcpy",
            "memcpy through two buffers",
            Limit,
            processes::<limits::HandOver>,
        )
        .refuses(only_large_one_way),
        System::new("rtrb", "rtrb, between threads", InProcess, threads::rtrb)
            .package("rtrb")
            .refuses(only_small_from_one),
        System::new(
            "crossbeam",
            "crossbeam-channel, between threads",
            InProcess,
            threads::crossbeam,
        )
        .package("crossbeam-channel")
        .refuses(only_small),
        System::new(
            "lossy",
            "a pipe that loses a message",
            Test,
            processes::<spoiled::Lossy>,
        ),
        System::new(
            "hanging",
            "a pipe that stops",
            Test,
            processes::<spoiled::Hanging>,
        ),
        System::new(
            "dying",
            "a pipe whose sender is killed",
            Test,
            processes::<spoiled::Dying>,
        ),
    ]
}
