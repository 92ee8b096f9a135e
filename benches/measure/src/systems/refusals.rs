//! Why a system cannot do a workload, in the words of the table; `None` where it can.

use crate::workload::{Kind, Workload};

/// The reason.
pub type Refusal = Option<&'static str>;

/// Can do everything.
pub fn none(_: Workload) -> Refusal {
    None
}

/// Spins for as long as it waits.
pub fn disturbs_others(workload: Workload) -> Refusal {
    let is_out = workload.runs_beside_others();
    is_out.then_some("spins, and the systems are measured at the same time here")
}

/// Two cache lines, one for each way.
pub fn only_small_round_trips(workload: Workload) -> Refusal {
    (!workload.is_two_way() || workload.len > 56).then_some("round trips of up to 56 bytes only")
}

/// The same, with nothing that gives way.
pub fn only_small_round_trips_between_cpus(workload: Workload) -> Refusal {
    let is_out = workload.is_one_cpu() || workload.kind == Kind::Wake;
    only_small_round_trips(workload).or(is_out.then_some("as atomics here"))
}

/// Buffers that change hands, both ways.
pub fn only_large(workload: Workload) -> Refusal {
    let is_its =
        workload.is_plain_one_way() || matches!(workload.kind, Kind::Loan | Kind::RoundTrip);
    (!is_its || workload.len < 1024).then_some("from 1 KiB, from one sender")
}

/// Buffers that change hands.
pub fn only_large_one_way(workload: Workload) -> Refusal {
    let is_its = workload.is_plain_one_way() || workload.kind == Kind::Loan;
    (!is_its || workload.len < 1024).then_some("one way from 1 KiB only")
}

/// Is the same system as another one but for loans.
pub fn only_beside_loans(workload: Workload) -> Refusal {
    (workload.kind != Kind::Loan).then_some("as shm here")
}

/// Has no call for many messages at once.
pub fn no_batch(workload: Workload) -> Refusal {
    (workload.kind == Kind::Batch).then_some("no call for many messages at once")
}

/// Packets of limited size, one a call.
pub fn packets(workload: Workload) -> Refusal {
    if workload.len >= 1 << 20 {
        return Some("longer than its buffer");
    }
    no_batch(workload)
}

/// Bytes, whose reader finds a message whole only where one write is not split among others' (`PIPE_BUF`, pipe(7)).
pub fn atomic_writes(workload: Workload) -> Refusal {
    (workload.peers() > 1 && workload.len > 4096).then_some("not whole from several senders")
}

/// Slots for one sender and one receiver, which spin.
pub fn spins_from_one(workload: Workload) -> Refusal {
    let is_its = workload.is_plain_one_way() || workload.kind == Kind::RoundTrip;
    (!is_its || workload.is_one_cpu()).then_some("round trips and one way from one sender")
}
