//! Records of messages that go in fragments, on the receiving side, under its lock.

use super::ancillary;
use super::deliver::{deliver, take_whole};
use super::view::View;
use crate::error::Fault;
use crate::ring::payload::Destination;
use crate::ring::reader::{Extent, Growth, Next};
use crate::ring::reassembly::Reassembly;
use crate::ring::record::{AFTER_DEATH, AFTER_WITHDRAWAL, ANCILLARY, FIRST, LAST, PREFIX};
use crate::segment::layout::BEGUN;
use crate::sync::Ordering;

/// What one look at the ring under the lock came to.
pub(super) enum Attempt {
    /// A message of this length went to its destination.
    Received(usize),
    /// The ring is empty; so far nothing, or only fragments, of a message.
    Empty,
    /// A message is there that is not whole yet.
    Growing(Growth),
    /// As much as the ring holds has been taken, and there may be more.
    Enough,
}

/// Takes one record of a message in fragments, or the record that follows one that was cut short. `None` where more may
/// be there.
pub(super) fn take_record(
    view: View<'_>,
    reassembly: &mut Reassembly<()>,
    next: Next,
    into: &mut Destination<'_>,
    streams: bool,
) -> Result<Option<Attempt>, Fault> {
    if next.header.has(FIRST) {
        return begin(view, reassembly, next, into, streams);
    }
    if reassembly.is_open() {
        return go_on(view, reassembly, next, into);
    }
    if view.reassembly().has_residue() {
        skip(view, next)?;
        return Ok(None);
    }
    Err(Fault::Corrupted)
}

fn begin(
    view: View<'_>,
    reassembly: &mut Reassembly<()>,
    next: Next,
    into: &mut Destination<'_>,
    streams: bool,
) -> Result<Option<Attempt>, Fault> {
    let was_cut_short = reassembly.is_open();
    view.reassembly().end_residue();
    if was_cut_short {
        reassembly.close(view.reassembly());
        // The next call begins with this record.
        if next.header.has(AFTER_DEATH) {
            return Err(Fault::Aborted);
        }
        if !next.header.has(AFTER_WITHDRAWAL) {
            return Err(Fault::Corrupted);
        }
    }
    if next.header.has(ANCILLARY) {
        return Ok(ancillary::take(view, next, into)?.map(Attempt::Received));
    }
    if let Some(len) = take_of_pack(view, next, into)? {
        return Ok(Some(Attempt::Received(len)));
    }
    if next.header.has(LAST) {
        let len = deliver(view, next, into)?;
        // Another receiver may have been faster, now that nobody is inside a message.
        return Ok(view.reader.take(next).then_some(Attempt::Received(len)));
    }
    match view.reader.extent(next)? {
        Extent::Whole => {
            if let Some(len) = take_whole(view, next, into)? {
                return Ok(Some(Attempt::Received(len)));
            }
        }
        Extent::Growing(growth) if !streams => return Ok(Some(Attempt::Growing(growth))),
        Extent::Growing(_) | Extent::Unclear => {}
        Extent::Moved => return Ok(None),
    }
    let total = view.reader.total(next);
    if !view.reader.is_still(next.at) {
        return Ok(None);
    }
    let total = total?;
    let begun_at = &view.reader.control.rx.begun_at;
    begun_at.store(next.end(), Ordering::Relaxed);
    reassembly.begin(view.reassembly(), total, into)?;
    let (taken, total) = take_bytes(view, reassembly, next, true, into)?;
    if taken as u64 >= total {
        return Err(Fault::Corrupted);
    }
    if view.reader.take(next) {
        reassembly.has_begun();
        begun_at.store(BEGUN, Ordering::Relaxed);
    } else {
        // It was whole, and another receiver has taken it without the lock.
        reassembly.close(view.reassembly());
    }
    Ok(None)
}

/// Takes the next message of a pack; `None` for any other record. Under the lock.
pub(super) fn take_of_pack(
    view: View<'_>,
    next: Next,
    into: &mut Destination<'_>,
) -> Result<Option<usize>, Fault> {
    let Some(message) = view.reader.next_of_pack(next) else {
        return Ok(None);
    };
    let len = deliver(view, message, into)?;
    view.reader.take_of_pack(next)?;
    view.reader.control.data.note_taken_singly();
    Ok(Some(len))
}

fn go_on(
    view: View<'_>,
    reassembly: &mut Reassembly<()>,
    next: Next,
    into: &mut Destination<'_>,
) -> Result<Option<Attempt>, Fault> {
    take_bytes(view, reassembly, next, false, into)?;
    view.reader.take_own(next)?;
    if next.header.has(LAST) {
        let len = reassembly.finish(view.reassembly(), into)?;
        Ok(Some(Attempt::Received(len)))
    } else {
        Ok(None)
    }
}

/// Copies a fragment out behind those before it; returns how much of the message is there, and the whole.
fn take_bytes(
    view: View<'_>,
    reassembly: &mut Reassembly<()>,
    next: Next,
    has_prefix: bool,
    into: &mut Destination<'_>,
) -> Result<(usize, u64), Fault> {
    let len = next.header.len - if has_prefix { PREFIX } else { 0 };
    let place = reassembly.next_place(len, into)?;
    // SAFETY: `next` was just peeked, and the place is so long.
    unsafe {
        view.reader
            .copy_out(next, has_prefix, place.as_mut_ptr().cast())
    };
    // SAFETY: all of it has just been copied.
    Ok(unsafe { reassembly.arrived(len, into) })
}

/// Passes over the records of a message whose receiver has died or closed its end, as far as they are there. One ring's worth
/// at most, in case a liar goes on writing them.
pub(super) fn skip_residue(view: View<'_>) -> Result<(), Fault> {
    let mut budget = view.reader.rules.effort_max();
    while view.reassembly().has_residue() && budget > 0 {
        match view.reader.peek()? {
            Some(next) if next.header.has(FIRST) => view.reassembly().end_residue(),
            Some(next) => {
                skip(view, next)?;
                budget = budget.saturating_sub(view.reader.rules.effort(next.header));
            }
            None => break,
        }
    }
    view.settle();
    Ok(())
}

/// For a receiver that a living owner keeps out: takes over if the owner's message ended because its sender died or took it
/// back. Returns whether it did.
///
/// # Errors
///
/// [`Fault::Aborted`] for a sender that died: reported here and not to the owner.
pub(super) fn take_over_if_cut_short(view: View<'_>) -> Result<bool, Fault> {
    match view.reader.peek()? {
        Some(next) if next.header.has(FIRST) => {
            view.reassembly().end_for_owner();
            if next.header.has(AFTER_DEATH) {
                Err(Fault::Aborted)
            } else {
                Ok(true)
            }
        }
        _ => Ok(false),
    }
}

fn skip(view: View<'_>, next: Next) -> Result<(), Fault> {
    view.reader.take_own(next)?;
    if next.header.has(LAST) {
        view.reassembly().end_residue();
    }
    Ok(())
}
