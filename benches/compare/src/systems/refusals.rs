//! Why a rival cannot do a workload, in the words of the table; `None` where it can.

pub(super) use shmpipe_measure::systems::refusals::{disturbs_others, no_batch};
use shmpipe_measure::workload::{Kind, Workload};

type Refusal = Option<&'static str>;

/// A ring of fixed items for one producer, which spins.
pub(super) fn only_small_from_one(workload: Workload) -> Refusal {
    if workload.peers() > 1 || workload.len > 64 {
        return Some("one sender, fixed small sizes");
    }
    disturbs_others(workload)
}

/// A ring's calls for many items at once.
pub(super) fn only_batches(workload: Workload) -> Refusal {
    (workload.kind != Kind::Batch).then_some("batches only")
}

/// Items of fixed sizes, one by one.
pub(super) fn only_small_and_single(workload: Workload) -> Refusal {
    if workload.len > 64 {
        return Some("fixed small sizes");
    }
    no_batch(workload)
}

/// A wrapper of pipe(2).
pub(super) fn as_the_plain_pipe(workload: Workload) -> Refusal {
    matches!(workload.kind, Kind::Batch | Kind::Loan).then_some("as pipe-plain here")
}

/// Slots of a fixed type for one producer.
pub(super) fn fits_a_slot(workload: Workload) -> Refusal {
    if workload.peers() > 1 {
        return Some("several producers lose messages");
    }
    (workload.len > 4096).then_some("fixed slots; its ring for blobs loses messages")
}

/// The same, spinning.
pub(super) fn fits_a_slot_and_spins(workload: Workload) -> Refusal {
    fits_a_slot(workload).or_else(|| disturbs_others(workload))
}

/// A ring of messages for one sender.
pub(super) fn fits_the_ring(workload: Workload) -> Refusal {
    if workload.peers() > 1 {
        return Some("one sender");
    }
    if workload.len >= workload.capacity() {
        return Some("not longer than its ring");
    }
    no_batch(workload)
}

/// A ring of bytes for one sender.
pub(super) fn from_one(workload: Workload) -> Refusal {
    (workload.peers() > 1).then_some("one sender")
}

/// Slots for one sender, whose room is given back for many at a time.
#[cfg(feature = "tachyon")]
pub(super) fn gives_back_by_many(workload: Workload) -> Refusal {
    if workload.peers() > 1 {
        return Some("one sender");
    }
    (workload.len >= 1 << 20).then_some("needs a ring of 64 messages")
}

/// The same, spinning.
#[cfg(feature = "tachyon")]
pub(super) fn gives_back_by_many_and_spins(workload: Workload) -> Refusal {
    gives_back_by_many(workload).or_else(|| disturbs_others(workload))
}

/// A stream for each sender.
#[cfg(feature = "shmipc")]
pub(super) fn a_stream_for_each(workload: Workload) -> Refusal {
    if workload.peers() > 1 {
        return Some("a stream for each sender");
    }
    no_batch(workload)
}

/// Loans of samples, received by polling.
#[cfg(feature = "iceoryx2")]
pub(super) fn polled(workload: Workload) -> Refusal {
    no_batch(workload).or_else(|| disturbs_others(workload))
}
