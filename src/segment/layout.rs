//! The byte map of a segment's control part, version 2 (`docs/protocol.md` has it as a table).
//!
//! Every line of 128 bytes has one group of writers, so that the two sides do not take lines from
//! each other for nothing. A value read from here may have been written by a broken or hostile
//! peer: it is loaded once and checked before it is used.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ops::Deref;

use super::geometry::Geometry;
use crate::sync::{AtomicU32, AtomicU64};

/// The place of a `T` that is not reached through a reference to what is around it.
///
/// A peer can write there at any moment, which a `T` behind a `&` may not suffer. The description is read from the
/// file into private memory instead.
#[repr(transparent)]
pub(crate) struct Untouched<T>(UnsafeCell<MaybeUninit<T>>);

// SAFETY: nothing reads or writes through it.
unsafe impl<T> Sync for Untouched<T> {}

#[cfg(loom)]
impl<T> Default for Untouched<T> {
    fn default() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }
}

/// A value that begins a stretch of 128 bytes and has it alone, on every target. The layout of a segment hangs on that
/// number. It is two cache lines of x86_64, whose prefetcher fetches pairs, and one of Apple's cores.
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(128))]
pub(crate) struct CachePadded<T>(T);

impl<T> Deref for CachePadded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The control part.
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
pub(crate) struct Control {
    geometry: CachePadded<Untouched<Geometry>>,
    /// What the senders share among themselves.
    pub(crate) tx: CachePadded<TxSide>,
    /// What the receivers share among themselves.
    pub(crate) rx: CachePadded<RxSide>,
    /// What senders look at to find room: `read` as it was some records ago, so that they need not
    /// take the receivers' line. Written by receivers (Release,
    /// `SYNC: publish-head`), and may go back a little; read by senders (Acquire).
    pub(crate) head: CachePadded<AtomicU64>,
    /// Receivers sleep on it until there is data.
    pub(crate) data: CachePadded<Event>,
    /// Senders sleep on it until there is room.
    pub(crate) room: CachePadded<Event>,
    /// What the senders count for observers, apart from what each send counts.
    pub(crate) tx_counters: CachePadded<Counters>,
    /// The same of the receivers.
    pub(crate) rx_counters: CachePadded<Counters>,
}

/// The senders' line. Everything but the lock word is written under the lock only, unless a field says otherwise.
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
pub(crate) struct TxSide {
    /// Serialises senders; survives its owner.
    pub(crate) lock: SideLock,
    /// One of [`message`]: what has become of the message being sent in fragments; and [`message::WATCHED`].
    pub(crate) state: AtomicU32,
    /// Last number used to arm [`Control::room`].
    pub(crate) epoch: AtomicU32,
    /// Position at which the next record goes, a multiple of 8. A record is published by its header,
    /// so this may lag behind by the last record, or run of records, of a sender that died.
    pub(crate) tail: AtomicU64,
    /// The latest `head` or `read` that a sender has loaded.
    pub(crate) head_seen: AtomicU64,
    /// What has been sent.
    pub(crate) totals: Totals,
    /// Who is sending, or last sent, a message in fragments; a hint whose death to watch for. In `RESERVED`, `AWAITED`
    /// and `SENDING` the owner, on whose id others sleep.
    pub(crate) sender: OwnerRecord,
    /// Ticket of the last message with descriptors, or of one whose sender died before it was there. Written
    /// before the descriptors are sent (Release, `SYNC: ticket`); read by receivers (Acquire).
    pub(crate) ticket: AtomicU64,
    /// Which of the owner's ends it is; 0 when it has let go, stored by the owner without the lock (Release,
    /// `SYNC: let-go`).
    pub(crate) end: AtomicU64,
    /// Position of the record that follows the last message that was cut short. Written before that record is
    /// published, so whoever sees the record counted in `tail` sees it (`SYNC: count-records`).
    pub(crate) cut: AtomicU64,
    /// 1 once a sender has been handed over other than by fork(2). Written without the lock, for good; read by
    /// receivers that look for a deadlock.
    pub(crate) handed: AtomicU32,
    /// Position up to which senders have claimed lines (`ring::writer`): each line that begins between `tail` and here
    /// begins with a 0 that need not be stored again. No more than that, so one that lies further off than a claim reaches is
    /// not believed.
    pub(crate) claimed: AtomicU64,
}

/// The receivers' line. Everything but the lock word is written under the lock only, unless a field says otherwise.
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
pub(crate) struct RxSide {
    /// Serialises receivers; survives its owner.
    pub(crate) lock: SideLock,
    /// Last number used to arm [`Control::data`].
    pub(crate) epoch: AtomicU32,
    /// Position of the next record to receive, a multiple of 8. Its lowest bit is the mark, set while that record is
    /// lent in place. What is before the position is free: `0 ≤ tail − read ≤ capacity − 8`. Receivers move it by
    /// compare-and-swap, also without the lock (Release). Senders read it (Acquire, `SYNC: publish-read`) where `head`
    /// shows no room and they will not come back soon.
    pub(crate) read: AtomicU64,
    /// Position behind the first record of the message in fragments that is under way; [`BEGUN`] once that record has
    /// been taken. Written before [`message::INSIDE`], and only compared with `read`: until then `read` is there only by
    /// the owner's doing, since others take the message whole or not at all.
    pub(crate) begun_at: AtomicU64,
    /// 0; nobody reads it.
    unused: Untouched<u64>,
    /// The message that is being received in fragments, if any.
    pub(crate) reassembly: SharedReassembly,
}

/// How much has gone through one side, for observers; only `ring::counters` touches it. On the line that each
/// send writes anyway, under the side's lock; receivers of a ring have none. It may be one message short for each
/// holder that died.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Totals {
    /// Messages of which the last record has gone through.
    pub(crate) messages: AtomicU64,
    /// Bytes of payload, those of messages in fragments as they go.
    pub(crate) bytes: AtomicU64,
}

/// What one side counts now and then, for observers; only `ring::counters` writes it, and no call depends on it.
/// Under the side's lock unless a field says otherwise. Times are `CLOCK_MONOTONIC` in nanoseconds.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Counters {
    /// Length in bytes of the largest message that was sent or tried; senders only, without the lock.
    pub(crate) largest: AtomicU64,
    /// Bytes in the ring, framing included, at the fullest moment that this side happened to see.
    pub(crate) high_water: AtomicU64,
    /// Waits that looked again for a while.
    pub(crate) spins: AtomicU64,
    /// Waits that slept, each as often as it was woken.
    pub(crate) sleeps: AtomicU64,
    /// Time that calls of this side have spent waiting for the other one, summed over those that waited at the
    /// same time.
    pub(crate) blocked: AtomicU64,
    /// When the one of this side that fell asleep last did so; 0 when it has woken.
    pub(crate) since: AtomicU64,
    /// Messages that were begun and never became whole: withdrawn or left by their sender, as far as senders have
    /// noticed; for receivers, how often one was reported. Without the lock.
    pub(crate) aborted: AtomicU64,
    /// When this side was at work, as of the last time that it asked the clock; 0 never. Without the lock.
    pub(crate) activity: AtomicU64,
}

/// The lock word of one side: 0, or the owner's thread id with the flags of the robust-futex ABI. Only
/// `ring::lock` touches it.
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
pub(crate) struct SideLock {
    pub(crate) word: AtomicU32,
    /// The pid namespace in which the ids in `word` mean something: that of the side's first holder.
    pub(crate) namespace: AtomicU64,
}

/// What all receivers see of a message in fragments: its state, and which process has the fragments. Written under the
/// receivers' lock, and touched only by `ring::reassembly` and `ring::reservation`. Receivers that are kept out sleep on the
/// owner's id.
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
pub(crate) struct SharedReassembly {
    /// One of [`message`], `WITHDRAWN` apart, and [`message::WATCHED`].
    pub(crate) state: AtomicU32,
    /// The owner's process while the state is `OPEN`, `INSIDE`, `WAITING`, `RESERVING`, `RESERVED` or `AWAITED`; nobody otherwise.
    pub(crate) owner: OwnerRecord,
    /// Which of that process's ends it is; as [`TxSide::end`].
    pub(crate) end: AtomicU64,
}

/// A process, as `ring::owner` writes it down for other processes.
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
pub(crate) struct OwnerRecord {
    /// Process id; 0 is nobody. Written last; also a futex word.
    pub(crate) id: AtomicU32,
    /// Random number that it has drawn, by which with its id it knows itself.
    pub(crate) token: AtomicU32,
    /// What tells others that process from earlier and later ones of the same id; 0 where it is unknown.
    pub(crate) birth: AtomicU64,
    /// The pid namespace in which the id means something.
    pub(crate) namespace: AtomicU64,
}

/// One side's place to sleep; only `wait::event` touches it.
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
pub(crate) struct Event {
    /// 0 when nobody waits, else the number of the last one that fell asleep. Sleepers store it under their lock,
    /// ringers clear it, anybody who makes a change reads it.
    pub(crate) armed: AtomicU32,
    /// Counts rings, modulo 2^32. Added to by ringers, read by observers alone; relaxed.
    pub(crate) bell: AtomicU32,
    /// How often a holder of the ringing side closed in good order (Release, `SYNC: close`). Calls of the other side that
    /// do not sleep look at the life-line when it has changed (Acquire).
    pub(crate) closes: AtomicU32,
    /// Where one of the ringing side ran not long ago, as `sys::cpus` numbers it; a hint.
    pub(crate) peer_cpu: AtomicU32,
    /// For senders: the position of `head` at which they want to be rung. Written before `armed`.
    pub(crate) wake_at: AtomicU64,
    /// When it was rung last, `CLOCK_MONOTONIC` in ns; a hint for the sleepers on how long they had to wait. Written
    /// by ringers.
    pub(crate) rung_at: AtomicU64,
    /// For receivers: 1 when the one that received last took all that was there in one call. A hint for senders of
    /// batches, relaxed; written by receivers.
    pub(crate) takes_runs: AtomicU32,
}

/// Beside a message of which the owner has noted that it has the first record; no position.
pub(crate) const BEGUN: u64 = 1;

/// States of a side: of its message in fragments, or of its reservation.
pub(crate) mod message {
    /// None is under way.
    pub(crate) const WHOLE: u32 = 0;
    /// Senders: its first fragment is there and its last is not. Receivers: the owner has fragments and not the lock.
    pub(crate) const OPEN: u32 = 1;
    /// Senders only: its sender took it back, as after a time-out.
    pub(crate) const WITHDRAWN: u32 = 2;
    /// Senders: its sender died inside it. Receivers: the process that had the first fragments has died or closed its end.
    /// The rest is passed over, and the next receiver reports the loss.
    pub(crate) const ORPHANED: u32 = 3;
    /// None is under way, and one end has reserved the side (`ring::reservation`).
    pub(crate) const RESERVED: u32 = 4;
    /// As `RESERVED`, and others wait for the side.
    pub(crate) const AWAITED: u32 = 5;
    /// Receivers only: as `OPEN`, and the owner has the lock. Whoever takes the lock and finds this knows that the lock's owner
    /// before it died there.
    pub(crate) const INSIDE: u32 = 6;
    /// Receivers only: as `ORPHANED`, and the loss has been reported.
    pub(crate) const RESIDUE: u32 = 7;
    /// Receivers only: as `ORPHANED`, and nothing of the message is left in the ring. The next receiver reports the loss.
    pub(crate) const LOST: u32 = 8;
    /// One end is about to become the owner and still has the lock. Whoever finds this under the lock knows what it knows by
    /// `INSIDE`.
    pub(crate) const RESERVING: u32 = 9;
    /// As `OPEN` for senders and `INSIDE` for receivers. The owner of the lock keeps it while it waits for the other side.
    pub(crate) const WAITING: u32 = 10;
    /// Senders only: one message is under way in steps. Between two of them its end has the side, as in `RESERVED`.
    pub(crate) const SENDING: u32 = 11;
    /// As `SENDING`, and the owner is in a step and has the lock. Whoever finds this under the lock knows what it knows by
    /// `INSIDE`.
    pub(crate) const STEPPING: u32 = 12;
    /// The bits of a state.
    pub(crate) const STATES: u32 = 0xff;
    /// Beside the state: somebody watches the side's readiness by its descriptor. Any of its holders sets it, without the lock
    /// and for good; only `ring::state_word` touches it.
    pub(crate) const WATCHED: u32 = 0x100;
}

#[cfg(not(loom))]
const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<SideLock>() == 16);
    assert!(offset_of!(SideLock, namespace) == 8);
    assert!(offset_of!(Control, tx) == 0x080);
    assert!(offset_of!(Control, rx) == 0x100);
    assert!(offset_of!(Control, head) == 0x180);
    assert!(offset_of!(Control, data) == 0x200);
    assert!(offset_of!(Control, room) == 0x280);
    assert!(offset_of!(Control, tx_counters) == 0x300);
    assert!(offset_of!(Control, rx_counters) == 0x380);
    assert!(size_of::<Control>() == 0x400);
    assert!(offset_of!(TxSide, state) == 16);
    assert!(offset_of!(TxSide, epoch) == 20);
    assert!(offset_of!(TxSide, tail) == 24);
    assert!(offset_of!(TxSide, head_seen) == 32);
    assert!(offset_of!(TxSide, totals) == 40);
    assert!(offset_of!(RxSide, epoch) == 16);
    assert!(offset_of!(RxSide, read) == 24);
    assert!(offset_of!(RxSide, begun_at) == 32);
    assert!(offset_of!(RxSide, reassembly) == 48);
    assert!(size_of::<OwnerRecord>() == 24);
    assert!(offset_of!(OwnerRecord, token) == 4);
    assert!(offset_of!(TxSide, sender) == 56);
    assert!(offset_of!(TxSide, ticket) == 80);
    assert!(offset_of!(TxSide, end) == 88);
    assert!(offset_of!(TxSide, cut) == 96);
    assert!(offset_of!(TxSide, handed) == 104);
    assert!(offset_of!(TxSide, claimed) == 112);
    assert!(size_of::<Totals>() == 16);
    assert!(size_of::<Counters>() == 64);
    assert!(offset_of!(SharedReassembly, owner) == 8);
    assert!(offset_of!(SharedReassembly, end) == 32);
    assert!(size_of::<SharedReassembly>() == 40);
    assert!(size_of::<Event>() == 40);
    assert!(size_of::<Control>() <= 4096);
};
