//! Copying whole messages out of the ring to where the caller wants them.

use super::view::View;
use crate::error::Fault;
use crate::ring::payload::Destination;
use crate::ring::reader::Next;
use crate::ring::record::{FIRST, LAST, PREFIX};

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
