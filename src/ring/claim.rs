//! Lines of the ring that a sender claims ahead: it zeroes their first words before there is anything to put into them.
//!
//! That is done for speed alone, by any sender under the lock, in free room, where nobody looks. It has two uses:
//!
//! - The lines are the sender's own by then. Receivers have read them last time round, so the first store to each must wait
//!   for the line, and the release of the lock waits for the store: so much for each small message. Stores to many
//!   lines wait together.
//! - The zero behind a record need not be stored where the next header begins a line that was claimed. For this
//!   `claimed` is kept in shared memory.
//!
//! What must hold: *outside of a record that is not published yet, each line that begins between `tail` and `claimed`
//! begins with 0.* A claim makes it so, and a record that is published lies behind the tail from then on. Whoever is about to
//! write there what may never be published takes the claim back before ([`Writer::unclaim`]), and so does the next owner after
//! one that died, perhaps inside a copy. Both do so under the lock, before anything else is published.
//!
//! `claimed` is as untrusted as the rest. It decides about one store into the ring, which whoever can write `claimed` could
//! undo; and by no value does it do so for longer than a true claim.

use super::record::HEADER;
use super::storage::Storage;
use super::writer::Writer;
use crate::segment::layout::Control;
use crate::sync::Ordering;

/// Each time the tail has gone this far, the sender claims the lines of as much again. Measured on Zen 4
/// with a receiver on a neighbouring CPU: a send of 64 bytes takes 40 ns without and 17 ns with it, one of 1 KiB
/// 150 and 110. 1024 does nothing for the latter; prefetchw nothing at all, for lines that are there to read.
/// Under the model checker, whose rings have a few words, less; likewise of a line.
pub(super) const AHEAD: u64 = if cfg!(loom) { 32 } else { 2048 };

/// Bytes of the lines that are claimed at a time.
const CLAIMED: u64 = AHEAD + LOW;

/// It is time for the next claim when no more than this is left of the last one. Whether that is so is looked at behind
/// records that end where a line begins, which of records of one length is each eighth at least.
const LOW: u64 = if cfg!(loom) { LINE } else { 9 * LINE };

/// Bytes of a cache line.
pub(super) const LINE: u64 = if cfg!(loom) { 8 } else { 64 };

/// So far ahead of the tail a claim reaches at most.
const REACH: u64 = HEADER + LINE + CLAIMED;

/// Whether a line that begins `claimed` bytes before the end of what is claimed begins with a 0. A liar's value is believed
/// no further than a true one reaches.
#[inline(always)]
pub(super) fn is_zero(claimed: u64) -> bool {
    (1..=REACH).contains(&claimed)
}

/// As [`is_zero`], and whether it is too early for the next claim.
#[inline(always)]
pub(super) fn is_ample(claimed: u64) -> bool {
    (LOW + 1..=REACH).contains(&claimed)
}

impl Writer<'_> {
    /// How far behind `position`, where a line begins behind the tail, lines are claimed; also what a liar says.
    #[inline(always)]
    pub(super) fn claimed_behind(self, position: u64) -> u64 {
        let claimed = self.control.tx.claimed.load(Ordering::Relaxed);
        claimed.wrapping_sub(position)
    }

    /// For one who is about to write behind the tail what may not be published, or takes over from one who may have:
    /// no line is claimed any more.
    pub(crate) fn unclaim(self) {
        let tx = &self.control.tx;
        tx.claimed
            .store(tx.tail.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Claims more behind a record of `span` bytes that was just published. Long copies get their lines many at a time.
    #[inline]
    pub(crate) fn claim_after(self, span: u64) {
        if span < AHEAD {
            self.claim_ahead();
        }
    }

    /// Whether there seems to be room to [claim](Self::claim_ahead), also without the lock.
    pub(crate) fn may_claim(self) -> bool {
        let tail = self.control.tx.tail.load(Ordering::Relaxed);
        is_free(self.control, self.storage, first_line(tail))
    }

    /// Claims the lines behind the tail, if there is room. Under the lock; nobody holds the side.
    pub(crate) fn claim_ahead(self) {
        let tail = self.control.tx.tail.load(Ordering::Relaxed);
        claim(self.control, self.storage, tail);
    }
}

/// Claims the lines behind the header at `tail`, which is 0, as [`Writer::claim_ahead`].
#[inline(never)]
pub(super) fn claim(control: &Control, storage: &Storage, tail: u64) {
    let first = first_line(tail);
    if !is_free(control, storage, first) {
        return;
    }
    for offset in (0..CLAIMED).step_by(LINE as usize) {
        let line = storage.header(first.wrapping_add(offset));
        line.store(0, Ordering::Relaxed);
    }
    let end = first.wrapping_add(CLAIMED);
    control.tx.claimed.store(end, Ordering::Relaxed);
}

/// Where the first line begins behind a header at `tail`.
fn first_line(tail: u64) -> u64 {
    tail.wrapping_add(HEADER + LINE - 1) & !(LINE - 1)
}

/// Whether the lines of a claim from `first` on lie in room that receivers have given back.
fn is_free(control: &Control, storage: &Storage, first: u64) -> bool {
    let capacity = storage.capacity() as u64;
    if capacity < CLAIMED {
        // Under the model checker alone.
        return false;
    }
    let head = control.tx.head_seen.load(Ordering::Relaxed);
    first.wrapping_sub(head) <= capacity.saturating_sub(CLAIMED)
}
