//! Systems by name: what each is, what it can do, how a slice on it runs.
//!
//! Here are those that every Linux has; a program may have more. How each is used is in the modules below.

mod hand_over;
pub mod kernel;
mod limits;
mod ours;
pub mod refusals;
mod slots;

use std::fs::File;
use std::io;

use crate::outcome::Outcome;
use crate::record::Described;
use crate::session::processes;
use crate::wire::Plan;
use crate::workload::{Kind, Workload};

/// What a system is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Carries messages between processes.
    Pipe,
    /// What the hardware or kernel allows, with nothing of a pipe around it.
    Limit,
    /// Carries messages between threads of one process.
    InProcess,
    /// For tests of a program; never chosen by itself.
    Test,
}

impl Role {
    /// For the table and the record.
    pub fn label(self) -> &'static str {
        match self {
            Self::Pipe => "between processes",
            Self::Limit => "limit",
            Self::InProcess => "in-process limit",
            Self::Test => "test",
        }
    }
}

/// One system.
pub struct System {
    /// The name for the command line.
    pub name: &'static str,
    /// What it is.
    pub label: &'static str,
    /// Its package; empty for the kernel's own.
    pub package: &'static str,
    /// That package's version.
    pub version: String,
    /// What it is here for.
    pub role: Role,
    /// What it lacks beside a pipe; empty when nothing.
    lacks: &'static str,
    /// Whether opening it makes both ends at once; the others make each in its own process.
    makes_both: bool,
    refuses: fn(Workload) -> Option<&'static str>,
    /// Runs a slice.
    pub(crate) run: Run,
}

/// Runs a slice in the calling process, which reports a failure of its children to the file.
pub type Run = fn(&Plan, &File) -> io::Result<Outcome>;

impl System {
    /// A system that can do everything.
    pub fn new(name: &'static str, label: &'static str, role: Role, run: Run) -> Self {
        Self {
            name,
            label,
            package: "",
            version: String::new(),
            role,
            lacks: "",
            makes_both: false,
            refuses: refusals::none,
            run,
        }
    }

    /// The package that it is.
    pub fn package(self, package: &'static str) -> Self {
        Self { package, ..self }
    }

    /// What it lacks beside a pipe. Who lacks `sleep` or a `blocking receive` keeps a CPU busy while it waits.
    pub fn lacks(self, lacks: &'static str) -> Self {
        Self { lacks, ..self }
    }

    /// Which workloads it cannot do, and why.
    pub fn refuses(self, refuses: fn(Workload) -> Option<&'static str>) -> Self {
        Self { refuses, ..self }
    }

    /// Its ends are made together.
    pub fn makes_both(self) -> Self {
        Self {
            makes_both: true,
            ..self
        }
    }

    fn ours(self) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { version, ..self }.package("shmpipe")
    }

    /// Why it cannot do a workload; `None` when it can.
    pub fn refusal(&self, workload: Workload) -> Option<&'static str> {
        match workload.kind {
            Kind::Make if self.makes_both => None,
            Kind::Make if self.package == "shmpipe" => Some("as shm here"),
            Kind::Make => Some("its ends are made in two processes, by a name"),
            _ => (self.refuses)(workload),
        }
    }

    /// For the record.
    pub fn describe(&self) -> Described {
        Described {
            name: self.name.into(),
            label: self.label.into(),
            role: self.role.label().into(),
            version: self.version.clone(),
            lacks: self.lacks.into(),
        }
    }
}

/// shmpipe and the kernel's own ways, in the table's order.
pub fn common() -> Vec<System> {
    use Role::Pipe;
    let pipe = |name, label, run: Run| {
        System::new(name, label, Pipe, run)
            .makes_both()
            .lacks("whole messages over 4 KiB from several senders")
            .refuses(refusals::atomic_writes)
    };
    vec![
        System::new(
            "shm",
            "shmpipe, shared memory",
            Pipe,
            processes::<ours::SharedMemory>,
        )
        .makes_both()
        .ours(),
        System::new(
            "shm-sleep",
            "shmpipe, Spin::Never",
            Pipe,
            processes::<ours::Sleeping>,
        )
        .ours(),
        System::new(
            "shm-spin",
            "shmpipe, Spin::For(10 ms)",
            Pipe,
            processes::<ours::Spinning>,
        )
        .ours()
        .refuses(refusals::disturbs_others),
        System::new(
            "shm-copy",
            "shmpipe, copied in and out",
            Pipe,
            processes::<ours::Copying>,
        )
        .ours()
        .refuses(refusals::only_beside_loans),
        System::new(
            "shm-kernel",
            "shmpipe on kernel pipes",
            Pipe,
            processes::<ours::OnKernelPipes>,
        )
        .makes_both()
        .ours(),
        pipe("pipe", "kernel pipe, raw", processes::<kernel::TunedPipe>),
        pipe(
            "pipe-plain",
            "kernel pipe, 64 KiB",
            processes::<kernel::PlainPipe>,
        ),
        System::new(
            "stream",
            "Unix socketpair, raw",
            Pipe,
            processes::<kernel::Stream>,
        )
        .makes_both()
        .lacks("whole messages from several senders")
        .refuses(refusals::atomic_writes),
        System::new(
            "seqpacket",
            "Unix seqpacket socketpair",
            Pipe,
            processes::<kernel::Packets>,
        )
        .makes_both()
        .lacks("messages longer than its buffer")
        .refuses(refusals::packets),
    ]
}

/// What the hardware and the kernel allow, with nothing of a pipe around it.
pub fn limits() -> Vec<System> {
    use Role::Limit;
    vec![
        System::new(
            "atomics",
            "two atomics, spinning",
            Limit,
            processes::<limits::Line<false>>,
        )
        .refuses(refusals::only_small_round_trips),
        System::new(
            "atomics-fence",
            "two atomics, spinning with a barrier between looks",
            Limit,
            processes::<limits::Line<true>>,
        )
        .refuses(refusals::only_small_round_trips_between_cpus),
        System::new(
            "futex",
            "two futexes, sleeping",
            Limit,
            processes::<limits::Futex>,
        )
        .refuses(refusals::only_small_round_trips),
        System::new(
            "memcpy",
            "memcpy through two buffers",
            Limit,
            processes::<hand_over::Two>,
        )
        .refuses(refusals::only_large),
        System::new(
            "memcpy-deep",
            "memcpy through 4 MiB of buffers",
            Limit,
            processes::<hand_over::Many>,
        )
        .refuses(refusals::only_large_one_way),
    ]
}

/// Slots in shared memory and nothing else: the limit for messages of any size.
pub fn raw_limit() -> System {
    System::new("slots", "raw limit", Role::Limit, processes::<slots::Slots>)
        .lacks("sleep, end-of-file, several senders")
        .refuses(refusals::spins_from_one)
}
