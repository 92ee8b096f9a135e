//! Records of messages that go in parts, on the receiving side.

use super::view::View;
use super::{parcel, take};
use crate::error::Fault;
use crate::ring::custody::Partial;
use crate::ring::destination::Destination;
use crate::ring::reader::Next;
use crate::ring::record::{AFTER_DEATH, AFTER_WITHDRAWAL, FIRST, LAST, PARCEL, PREFIX};
use crate::segment::layout::message;

/// Takes one record of a message in parts, or the record that follows one that was cut short.
/// Returns the message's length when that makes it whole.
pub(super) fn take_record(
    view: View<'_>,
    partial: &mut Partial,
    next: Next,
    into: &mut Destination<'_>,
) -> Result<Option<usize>, Fault> {
    if next.header.has(FIRST) {
        return begin(view, partial, next, into);
    }
    if partial.is_open() {
        return go_on(view, partial, next, into);
    }
    match view.custody().state() {
        message::ORPHANED => {
            skip(view, next)?;
            Ok(None)
        }
        _ => Err(Fault::Corrupted),
    }
}

fn begin(
    view: View<'_>,
    partial: &mut Partial,
    next: Next,
    into: &mut Destination<'_>,
) -> Result<Option<usize>, Fault> {
    let was_cut_short = partial.is_open();
    partial.close(view.custody());
    if was_cut_short {
        // The next call begins with this record.
        if next.header.has(AFTER_DEATH) {
            return Err(Fault::Aborted);
        }
        if !next.header.has(AFTER_WITHDRAWAL) {
            return Err(Fault::Corrupted);
        }
    }
    if next.header.has(PARCEL) {
        return parcel::take(view, next, into);
    }
    if next.header.has(LAST) {
        let len = take::deliver(view, next, into)?;
        // Another receiver may have been faster, now that nobody is inside a message.
        return Ok(view.reader.take(next).then_some(len));
    }
    partial.begin(view.custody(), view.reader.total(next)?, into)?;
    let (taken, total) = take_bytes(view, partial, next, true, into)?;
    if taken as u64 >= total {
        return Err(Fault::Corrupted);
    }
    view.reader.take_own(next)?;
    Ok(None)
}

fn go_on(
    view: View<'_>,
    partial: &mut Partial,
    next: Next,
    into: &mut Destination<'_>,
) -> Result<Option<usize>, Fault> {
    take_bytes(view, partial, next, false, into)?;
    view.reader.take_own(next)?;
    if next.header.has(LAST) {
        partial.finish(view.custody(), into).map(Some)
    } else {
        Ok(None)
    }
}

/// Copies a part out behind those before it; returns how much of the message is there, and the whole.
fn take_bytes(
    view: View<'_>,
    partial: &mut Partial,
    next: Next,
    has_prefix: bool,
    into: &mut Destination<'_>,
) -> Result<(usize, u64), Fault> {
    let len = next.header.len - if has_prefix { PREFIX } else { 0 };
    let place = partial.next_place(len, into)?;
    // SAFETY: `next` was just peeked, and the place is so long.
    unsafe {
        view.reader
            .copy_out(next, has_prefix, place.as_mut_ptr().cast())
    };
    // SAFETY: all of it has just been copied.
    Ok(unsafe { partial.arrived(len, into) })
}

/// Passes over the records of a message whose receiver is gone, as far as they are there; one ring's
/// worth at most, in case a liar goes on writing them.
pub(super) fn skip_orphaned(view: View<'_>) -> Result<(), Fault> {
    let mut budget = view.reader.rules.effort_max();
    while view.custody().state() == message::ORPHANED && budget > 0 {
        match view.reader.peek()? {
            Some(next) if next.header.has(FIRST) => view.custody().set_state(message::WHOLE),
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

/// For a receiver that a living holder keeps out: takes over where the holder's message has come to its
/// end without it, since its sender died or took it back. Tells whether it did.
///
/// # Errors
///
/// [`Fault::Aborted`] for a sender that died: told here and not to the holder.
pub(super) fn take_over_if_cut_short(view: View<'_>) -> Result<bool, Fault> {
    match view.reader.peek()? {
        Some(next) if next.header.has(FIRST) => {
            view.custody().end_for_holder();
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
        view.custody().set_state(message::WHOLE);
    }
    Ok(())
}
