//! Taking records under the receivers' lock: what one look at the ring comes to, and copying out.

use super::parts;
use super::view::View;
use crate::error::Fault;
use crate::ring::custody::Partial;
use crate::ring::destination::Destination;
use crate::ring::reader::Next;
use crate::ring::record::{FIRST, LAST, PREFIX};

/// How often a receiver tries to get a message before others, until it looks at its deadline.
const OVERTAKEN: u32 = 64;

/// What one look at the ring under the lock came to.
pub(super) enum Attempt {
    /// A message of this length went to its destination.
    Received(usize),
    /// The ring is empty; so far nothing, or only parts, of a message.
    Empty,
    /// As much as the ring holds has been taken, and there may be more.
    Enough,
}

/// Takes records until a message is whole or the ring is empty.
#[inline]
pub(super) fn take(
    view: View<'_>,
    partial: &mut Partial,
    verified: &mut u64,
    into: &mut Destination<'_>,
) -> Result<Attempt, Fault> {
    for _ in 0..OVERTAKEN {
        let Some(next) = view.reader.peek()? else {
            return Ok(Attempt::Empty);
        };
        if next.header.flags != FIRST | LAST || partial.is_under_way(view.custody()) {
            return take_in_parts(view, partial, into);
        }
        verify_now_and_then(view, verified, next)?;
        let len = deliver(view, next, into)?;
        if view.reader.take(next) {
            view.settle();
            return Ok(Attempt::Received(len));
        }
    }
    Ok(Attempt::Enough)
}

/// Looks once round the ring whether anybody has written what was taken, in case a liar has linked its
/// records without end.
#[inline]
pub(super) fn verify_now_and_then(
    view: View<'_>,
    verified: &mut u64,
    next: Next,
) -> Result<(), Fault> {
    if next.at.wrapping_sub(*verified) > view.reader.rules.capacity() {
        view.reader.check_written()?;
        *verified = next.at;
    }
    Ok(())
}

/// Copies the payload of a whole message to where the caller wants it.
#[inline]
pub(super) fn deliver(
    view: View<'_>,
    next: Next,
    into: &mut Destination<'_>,
) -> Result<usize, Fault> {
    let len = next.header.len;
    match into {
        Destination::Slice(slice) => {
            if slice.len() < len {
                return Err(Fault::BufferTooSmall { needed: len });
            }
            // SAFETY: `next` was just peeked, and the slice is long enough.
            unsafe { view.reader.copy_out(next, false, slice.as_mut_ptr()) };
        }
        Destination::Buffer(buffer) | Destination::Parcel { bytes: buffer, .. } => {
            buffer.clear();
            append(view, next, false, buffer)?;
        }
    }
    Ok(len)
}

/// Appends a record's payload, less its prefix if it has one, to `buffer`, which grows by what is there and never
/// by a claim.
#[inline]
pub(super) fn append(
    view: View<'_>,
    next: Next,
    has_prefix: bool,
    buffer: &mut Vec<u8>,
) -> Result<(), Fault> {
    let len = next.header.len - if has_prefix { PREFIX } else { 0 };
    buffer
        .try_reserve(len)
        .map_err(|error| Fault::Io(error.into()))?;
    let spare = buffer.spare_capacity_mut().as_mut_ptr();
    // SAFETY: `next` was just peeked, and its length is reserved.
    unsafe { view.reader.copy_out(next, has_prefix, spare.cast()) };
    // SAFETY: the copy has initialised so many bytes behind the old length.
    unsafe { buffer.set_len(buffer.len() + len) };
    Ok(())
}

#[cold]
fn take_in_parts(
    view: View<'_>,
    partial: &mut Partial,
    into: &mut Destination<'_>,
) -> Result<Attempt, Fault> {
    // One ring's worth at a time, so that a fast sender cannot keep a call beyond its deadline.
    let mut budget = view.reader.rules.effort_max();
    while let Some(next) = view.reader.peek()? {
        let received = parts::take_record(view, partial, next, into)?;
        view.settle();
        if let Some(len) = received {
            return Ok(Attempt::Received(len));
        }
        budget = budget.saturating_sub(view.reader.rules.effort(next.header));
        if budget == 0 {
            return Ok(Attempt::Enough);
        }
    }
    Ok(Attempt::Empty)
}
