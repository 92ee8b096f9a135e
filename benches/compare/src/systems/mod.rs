//! Every system by name: what it is, what it can do, how a slice on it runs.
//!
//! How each is used is in the modules below, in the way its own documentation says is fast.

mod channels;
mod hand_over;
#[cfg(feature = "iceoryx2")]
mod iceoryx;
mod kernel;
mod limits;
mod ours;
mod refusals;
mod shmem;
#[cfg(feature = "shmipc")]
mod shmipc;
mod slots;
mod spoiled;
#[cfg(feature = "tachyon")]
mod tachyon;
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
    /// Whether opening it makes both ends at once; the others make each in its own process.
    makes_both: bool,
    /// Whether it never sleeps, and keeps a CPU busy for as long as it waits.
    pub(crate) spins: bool,
    refuses: fn(Workload) -> Option<&'static str>,
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
            makes_both: false,
            spins: false,
            refuses: refusals::none,
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

    fn makes_both(self) -> Self {
        Self {
            makes_both: true,
            ..self
        }
    }

    fn spins(self) -> Self {
        Self {
            spins: true,
            ..self
        }
    }

    /// Why it cannot do a workload; `None` when it can.
    pub(crate) fn refusal(&self, workload: Workload) -> Option<&'static str> {
        match workload.kind {
            Kind::Make if self.makes_both => None,
            Kind::Make if self.package == "shmpipe" => Some("as shm here"),
            Kind::Make => Some("its ends are made in two processes, by a name"),
            _ => (self.refuses)(workload),
        }
    }
}

/// All systems, in the table's order.
pub(crate) fn all() -> Vec<System> {
    let mut all = ours_and_the_kernels();
    all.extend(rivals());
    all.extend(limits());
    all.extend(spoiled());
    all
}

fn rivals() -> Vec<System> {
    use Role::Pipe;
    vec![
        System::new(
            "ipc-channel",
            "ipc-channel, bytes",
            Pipe,
            processes::<channels::IpcChannel>,
        )
        .package("ipc-channel")
        .makes_both()
        .lacks("readiness to poll")
        .refuses(refusals::no_batch),
        System::new(
            "interprocess",
            "interprocess, unnamed pipe",
            Pipe,
            processes::<channels::Unnamed>,
        )
        .package("interprocess")
        .makes_both()
        .lacks("capacity over 64 KiB, whole messages")
        .refuses(refusals::as_the_plain_pipe),
        System::new("ringfire", "ringfire, futex", Pipe, slots::ringfire)
            .package("ringfire")
            .lacks("end-of-file, messages of any size, several senders without loss")
            .refuses(refusals::fits_a_slot),
        System::new(
            "ringfire-spin",
            "ringfire, spinning",
            Pipe,
            slots::ringfire_spinning,
        )
        .package("ringfire")
        .lacks("end-of-file, messages of any size, several senders without loss, sleep")
        .spins()
        .refuses(refusals::fits_a_slot_and_spins),
        System::new("ipc_ring", "ipc_ring", Pipe, processes::<channels::IpcRing>)
            .package("ipc_ring")
            .lacks("end-of-file, several senders, messages longer than the ring")
            .refuses(refusals::fits_the_ring),
        System::new("shmring", "shmring", Pipe, processes::<channels::ShmRing>)
            .package("shmring")
            .lacks("end-of-file after a kill, messages, several senders")
            .refuses(refusals::from_one),
        System::new(
            "shmem-ipc",
            "shmem-ipc, ring of bytes",
            Pipe,
            processes::<shmem::Shmem>,
        )
        .package("shmem-ipc")
        .makes_both()
        .lacks("end-of-file, messages, several senders")
        .refuses(refusals::from_one),
        #[cfg(feature = "tachyon")]
        System::new(
            "tachyon",
            "tachyon-ipc, hybrid",
            Pipe,
            processes::<tachyon::Tachyon<false>>,
        )
        .package("tachyon-ipc")
        .lacks("end-of-file, waiting for room, several senders, messages as long as its ring")
        .refuses(refusals::gives_back_by_many),
        #[cfg(feature = "tachyon")]
        System::new(
            "tachyon-spin",
            "tachyon-ipc, polling",
            Pipe,
            processes::<tachyon::Tachyon<true>>,
        )
        .package("tachyon-ipc")
        .lacks(
            "end-of-file, waiting for room, several senders, messages as long as its ring, sleep",
        )
        .spins()
        .refuses(refusals::gives_back_by_many_and_spins),
        #[cfg(feature = "shmipc")]
        System::new(
            "shmipc",
            "shmipc, V4 with eventfd, 256 MiB",
            Pipe,
            processes::<shmipc::Shmipc>,
        )
        .package("shmipc")
        .lacks("whole messages, calls without a runtime, delivery after the sender's exit")
        .refuses(refusals::a_stream_for_each),
        #[cfg(feature = "iceoryx2")]
        System::new(
            "iceoryx2",
            "iceoryx2, publish-subscribe",
            Pipe,
            processes::<iceoryx::Iceoryx>,
        )
        .package("iceoryx2")
        .lacks("blocking receive, end-of-file")
        .spins()
        .refuses(refusals::polled),
    ]
}

/// Rivals that were thought of and are not here, with the reason.
pub(crate) fn left_out() -> Vec<(&'static str, &'static str)> {
    vec![
        #[cfg(not(feature = "iceoryx2"))]
        ("iceoryx2", "built without the feature iceoryx2"),
        #[cfg(not(feature = "shmipc"))]
        ("shmipc", "built without the feature shmipc"),
        #[cfg(not(feature = "tachyon"))]
        (
            "tachyon-ipc",
            "built without the feature tachyon, which needs a C++23 compiler and libclang",
        ),
        (
            "ipmpsc",
            "serializes each message by bincode 1, and is built on packages of 2021",
        ),
        ("kekbit", "a journal in files that one side polls"),
        ("raw_sync, shared_memory", "locks and memory, no messages"),
        (
            "ipc-ring48",
            "messages of 48 bytes only, and calls that do not wait",
        ),
        ("faster-fifo, Boost message_queue, Aeron", "not Rust"),
    ]
}

fn ours_and_the_kernels() -> Vec<System> {
    use Role::Pipe;
    vec![
        System::new(
            "shm",
            "shmpipe, shared memory",
            Pipe,
            processes::<ours::SharedMemory>,
        )
        .makes_both()
        .package("shmpipe"),
        System::new(
            "shm-sleep",
            "shmpipe, Spin::Never",
            Pipe,
            processes::<ours::Sleeping>,
        )
        .package("shmpipe"),
        System::new(
            "shm-spin",
            "shmpipe, Spin::For(10 ms)",
            Pipe,
            processes::<ours::Spinning>,
        )
        .package("shmpipe")
        .refuses(refusals::disturbs_others),
        System::new(
            "shm-copy",
            "shmpipe, copied in and out",
            Pipe,
            processes::<ours::Copying>,
        )
        .package("shmpipe")
        .refuses(refusals::only_beside_loans),
        System::new(
            "shm-kernel",
            "shmpipe on kernel pipes",
            Pipe,
            processes::<ours::OnKernelPipes>,
        )
        .makes_both()
        .package("shmpipe"),
        System::new(
            "pipe",
            "kernel pipe, 1 MiB",
            Pipe,
            processes::<kernel::TunedPipe>,
        )
        .makes_both()
        .lacks("whole messages over 4 KiB from several senders"),
        System::new(
            "pipe-plain",
            "kernel pipe, 64 KiB",
            Pipe,
            processes::<kernel::PlainPipe>,
        )
        .makes_both()
        .lacks("whole messages over 4 KiB from several senders"),
        System::new(
            "stream",
            "Unix stream socketpair",
            Pipe,
            processes::<kernel::Stream>,
        )
        .makes_both()
        .lacks("whole messages from several senders"),
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

fn limits() -> Vec<System> {
    use Role::{InProcess, Limit};
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
        System::new("rtrb", "rtrb, between threads", InProcess, threads::rtrb)
            .package("rtrb")
            .refuses(refusals::only_small_from_one),
        System::new(
            "rtrb-chunks",
            "rtrb by chunks, between threads",
            InProcess,
            threads::rtrb_chunks,
        )
        .package("rtrb")
        .refuses(refusals::only_batches),
        System::new(
            "crossbeam",
            "crossbeam-channel, between threads",
            InProcess,
            threads::crossbeam,
        )
        .package("crossbeam-channel")
        .refuses(refusals::only_small_and_single),
    ]
}

/// Systems with a fault, for the tests.
fn spoiled() -> Vec<System> {
    use Role::Test;
    vec![
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
