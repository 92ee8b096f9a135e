//! Taking records: what one look at the ring comes to, and copying out.
//!
//! A message that fits the ring is taken when it is whole, by one move of `read`, also where it lies in fragments: so a
//! call that ends before has taken nothing, and neither has a receiver that is killed. Fragments are taken as they come
//! of a message that is longer than the ring, and by a receiver that waits without limit ([`fragments`](super::fragments)).

use super::fragments;
use super::view::View;
use crate::error::Fault;
use crate::ring::destination::Destination;
use crate::ring::reader::{Extent, Growth, Next, Unlocked};
use crate::ring::reassembly::Reassembly;
use crate::ring::record::{FIRST, LAST, PREFIX};
use crate::segment::layout::message;

/// How often a receiver tries to get a message before others, until it looks at its deadline.
const OVERTAKEN: u32 = 64;

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

/// Takes records until a message is whole or the ring is empty. Fragments of a message that fits the ring are taken
/// before it is whole only by one who `streams`.
#[inline]
pub(super) fn take(
    view: View<'_>,
    reassembly: &mut Reassembly<()>,
    verified: &mut u64,
    into: &mut Destination<'_>,
    streams: bool,
) -> Result<Attempt, Fault> {
    for _ in 0..OVERTAKEN {
        let Some(next) = view.reader.peek()? else {
            return Ok(Attempt::Empty);
        };
        if next.header.flags != FIRST | LAST || reassembly.is_under_way(view.reassembly()) {
            return take_fragments(view, reassembly, into, streams);
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

/// Takes a whole message without the lock, for a call that may not wait for those who have it; `None` where that takes
/// the lock.
///
/// # Errors
///
/// [`Fault::NotNow`] when there is nothing to take: no record, or a message that is not whole yet.
pub(super) fn take_without_lock(
    view: View<'_>,
    into: &mut Destination<'_>,
) -> Result<Option<usize>, Fault> {
    for _ in 0..OVERTAKEN {
        let next = match view.reader.peek_unlocked()? {
            None => continue,
            Some(Unlocked::Empty) => return Err(Fault::NotNow),
            Some(Unlocked::Record(next)) => next,
        };
        // After `read`, whose last mover has noted it before.
        if view.reassembly().state() != message::WHOLE {
            return Ok(None);
        }
        let received = if next.header.flags == FIRST | LAST {
            let len = deliver(view, next, into)?;
            view.reader.take(next).then_some(len)
        } else if next.header.flags & (FIRST | LAST) == FIRST {
            match view.reader.extent(next)? {
                Extent::Whole => take_whole(view, next, into)?,
                Extent::Growing(_) => return Err(Fault::NotNow),
                Extent::Unclear => return Ok(None),
                Extent::Moved => None,
            }
        } else {
            return Ok(None);
        };
        if received.is_some() {
            return Ok(received);
        }
    }
    Ok(None)
}

/// Whether a receive would find something to do, for a look without the lock; `None` where only the lock can tell.
pub(super) fn is_there_without_lock(view: View<'_>) -> Result<Option<bool>, Fault> {
    let Some(found) = view.reader.peek_unlocked()? else {
        return Ok(None);
    };
    if view.reassembly().state() != message::WHOLE {
        return Ok(None);
    }
    Ok(match found {
        Unlocked::Empty => Some(false),
        Unlocked::Record(next) if next.header.flags & (FIRST | LAST) == FIRST => {
            match view.reader.extent(next)? {
                Extent::Whole => Some(true),
                Extent::Growing(_) => Some(false),
                Extent::Unclear | Extent::Moved => None,
            }
        }
        Unlocked::Record(_) => Some(true),
    })
}

/// Takes a message of which all fragments are there by one move of `read`; `None` when another receiver was faster,
/// or when the message turns out to have been cut short.
pub(super) fn take_whole(
    view: View<'_>,
    first: Next,
    into: &mut Destination<'_>,
) -> Result<Option<usize>, Fault> {
    let reader = view.reader;
    // Bounded by the caller's look at the extent.
    let total = (reader.prefix(first) as usize).min(reader.rules.single_record_max());
    if !reader.is_still(first.at) {
        return Ok(None);
    }
    let place = match into {
        Destination::Slice(slice) if slice.len() < total => {
            return Err(Fault::BufferTooSmall { needed: total });
        }
        Destination::Slice(slice) => slice.as_mut_ptr(),
        Destination::Buffer(buffer) | Destination::WithDescriptors { bytes: buffer, .. } => {
            buffer.clear();
            buffer
                .try_reserve(total)
                .map_err(|error| Fault::Io(error.into()))?;
            buffer.spare_capacity_mut().as_mut_ptr().cast()
        }
    };
    let mut next = first;
    let mut filled = 0;
    loop {
        let has_prefix = next == first;
        let len = next.header.len - if has_prefix { PREFIX } else { 0 };
        if filled + len > total {
            return Ok(None);
        }
        // SAFETY: `filled + len` bytes are there.
        let to = unsafe { place.add(filled) };
        // SAFETY: just peeked, and the place is so long.
        unsafe { reader.copy_out(next, has_prefix, to) };
        filled += len;
        if next.header.has(LAST) {
            break;
        }
        next = match reader.following(next) {
            Ok(Some(following)) if !following.header.has(FIRST) => following,
            _ => return Ok(None),
        };
        if next.end().wrapping_sub(first.at) > reader.rules.capacity() {
            return Ok(None);
        }
    }
    if filled != total || !reader.take_run(first.at, next.end().wrapping_sub(first.at)) {
        return Ok(None);
    }
    if let Destination::Buffer(buffer) | Destination::WithDescriptors { bytes: buffer, .. } = into {
        // SAFETY: so many bytes are reserved, and the copies have initialised them.
        unsafe { buffer.set_len(total) };
    }
    Ok(Some(total))
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
        Destination::Buffer(buffer) | Destination::WithDescriptors { bytes: buffer, .. } => {
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
fn take_fragments(
    view: View<'_>,
    reassembly: &mut Reassembly<()>,
    into: &mut Destination<'_>,
    streams: bool,
) -> Result<Attempt, Fault> {
    // One ring's worth at a time, so that a fast sender cannot keep a call beyond its deadline.
    let mut budget = view.reader.rules.effort_max();
    while let Some(next) = view.reader.peek()? {
        let outcome = fragments::take_record(view, reassembly, next, into, streams)?;
        view.settle();
        if let Some(attempt) = outcome {
            return Ok(attempt);
        }
        budget = budget.saturating_sub(view.reader.rules.effort(next.header));
        if budget == 0 {
            return Ok(Attempt::Enough);
        }
    }
    Ok(Attempt::Empty)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::backend::{Rx as _, Tx as _};
    use crate::segment::geometry::Wanted;
    use crate::sys::clock::Timeout;
    use crate::wait::backoff::Spin;

    #[test]
    fn what_is_read_of_a_message_that_another_one_has_taken_is_not_believed() {
        let (mut rx, mut tx) = super::super::pair(Wanted::plain(4096), Spin::default()).unwrap();
        let slow = rx.try_clone().unwrap();
        let reader = View::new(&slow.end).reader;
        let mut pass = |byte| {
            tx.send(&[byte; 1500], Timeout::Never).unwrap();
            let first = reader.peek().unwrap().unwrap();
            assert_eq!(reader.extent(first).unwrap(), Extent::Whole);
            let mut message = Vec::new();
            let into = Destination::Buffer(&mut message);
            assert_eq!(rx.recv(into, Timeout::Never).unwrap(), 1500);
            first
        };
        let first = pass(0);
        // Once round the ring: where it began lie other bytes.
        for _ in 0..3 {
            pass(0xff);
        }
        assert_eq!(reader.extent(first).unwrap(), Extent::Moved);
    }
}
