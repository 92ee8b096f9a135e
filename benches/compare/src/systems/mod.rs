//! Every system by name: those of `shmpipe-measure`, and the rivals.
//!
//! How each rival is used is in the modules below, in the way its own documentation says is fast.

mod channels;
#[cfg(feature = "iceoryx2")]
mod iceoryx;
mod refusals;
mod shmem;
#[cfg(feature = "shmipc")]
mod shmipc;
mod slots;
mod spoiled;
#[cfg(feature = "tachyon")]
mod tachyon;
mod threads;

use shmpipe_measure::session::processes;
use shmpipe_measure::systems::{self, Role, System};

/// An end of another library's channel.
pub(crate) struct End<T>(T);

/// All systems, in the table's order.
pub(crate) fn all() -> Vec<System> {
    let mut all = systems::common();
    all.extend(rivals());
    all.extend(systems::limits());
    all.extend(in_process());
    all.extend(spoiled());
    for system in all.iter_mut().filter(|system| system.version.is_empty()) {
        system.version = version(system.package);
    }
    all
}

/// The version of a package in this workspace's Cargo.lock, from which the program was built.
fn version(package: &str) -> String {
    let lock = include_str!("../../Cargo.lock");
    let header = format!("name = \"{package}\"\nversion = \"");
    lock.split_once(&header)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or_else(String::new, |(version, _)| version.to_owned())
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

/// What carries messages between threads of one process.
fn in_process() -> Vec<System> {
    use Role::InProcess;
    vec![
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        assert!(version("rtrb").starts_with("0."), "{:?}", version("rtrb"));
        assert_eq!(version(""), "");
    }
}
