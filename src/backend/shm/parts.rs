//! Records of messages that go in parts, on the receiving side.

use super::view::View;
use super::{parcel, rx};
use crate::error::Fault;
use crate::ring::custody::Partial;
use crate::ring::destination::Destination;
use crate::ring::record::{AFTER_DEATH, AFTER_WITHDRAWAL, FIRST, Header, LAST, PARCEL, PREFIX};
use crate::segment::layout::message;

/// Takes one record of a message in parts, or the record that follows one that was cut short.
/// Returns the message's length when that makes it whole.
pub(super) fn take_record(
    view: View<'_>,
    partial: &mut Partial,
    header: Header,
    into: &mut Destination<'_>,
) -> Result<Option<usize>, Fault> {
    if header.has(FIRST) {
        return begin(view, partial, header, into);
    }
    if partial.is_open() {
        return go_on(view, partial, header, into);
    }
    match view.custody().state() {
        message::ORPHANED => {
            skip(view, header);
            Ok(None)
        }
        _ => Err(Fault::Corrupted),
    }
}

fn begin(
    view: View<'_>,
    partial: &mut Partial,
    header: Header,
    into: &mut Destination<'_>,
) -> Result<Option<usize>, Fault> {
    let was_cut_short = partial.is_open();
    partial.close(view.custody());
    if was_cut_short {
        // The next call begins with this record.
        if header.has(AFTER_DEATH) {
            return Err(Fault::Aborted);
        }
        if !header.has(AFTER_WITHDRAWAL) {
            return Err(Fault::Corrupted);
        }
    }
    if header.has(PARCEL) {
        return parcel::take(view, header, into);
    }
    if header.has(LAST) {
        let len = rx::deliver(view, header, into)?;
        view.reader.consume(header);
        return Ok(Some(len));
    }
    partial.begin(view.custody(), view.reader.prefix(), into)?;
    let (taken, total) = take_bytes(view, partial, header, true, into)?;
    if taken as u64 >= total {
        return Err(Fault::Corrupted);
    }
    view.reader.consume(header);
    Ok(None)
}

fn go_on(
    view: View<'_>,
    partial: &mut Partial,
    header: Header,
    into: &mut Destination<'_>,
) -> Result<Option<usize>, Fault> {
    take_bytes(view, partial, header, false, into)?;
    view.reader.consume(header);
    if header.has(LAST) {
        partial.finish(view.custody(), into).map(Some)
    } else {
        Ok(None)
    }
}

/// Copies a part out behind those before it; returns how much of the message is there, and the whole.
fn take_bytes(
    view: View<'_>,
    partial: &mut Partial,
    header: Header,
    has_prefix: bool,
    into: &mut Destination<'_>,
) -> Result<(usize, u64), Fault> {
    let len = header.len - if has_prefix { PREFIX } else { 0 };
    let place = partial.next_place(len, into)?;
    // SAFETY: `header` was just peeked under the lock, and the place is so long.
    unsafe {
        view.reader
            .copy_out(header, has_prefix, place.as_mut_ptr().cast())
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
            Some(header) if header.has(FIRST) => view.custody().set_state(message::WHOLE),
            Some(header) => {
                skip(view, header);
                budget = budget.saturating_sub(view.reader.rules.effort(header));
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
        Some(header) if header.has(FIRST) => {
            view.custody().end_for_holder();
            if header.has(AFTER_DEATH) {
                Err(Fault::Aborted)
            } else {
                Ok(true)
            }
        }
        _ => Ok(false),
    }
}

fn skip(view: View<'_>, header: Header) {
    view.reader.consume(header);
    if header.has(LAST) {
        view.custody().set_state(message::WHOLE);
    }
}
