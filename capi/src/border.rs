//! What comes from C, checked before it is used: pointers, lengths, time-outs and texts.

use std::ffi::{CStr, c_char, c_void};
use std::io::IoSlice;
use std::slice;
use std::time::Duration;

use libc::iovec;

use crate::status::Told;

/// How long a call may wait.
#[derive(Clone, Copy)]
pub(crate) enum Timeout {
    Forever,
    Never,
    For(Duration),
}

impl Timeout {
    /// Nanoseconds, of which a negative number is for ever.
    pub(crate) fn of_ns(timeout_ns: i64) -> Self {
        u64::try_from(timeout_ns).map_or(Self::Forever, |ns| Self::For(Duration::from_nanos(ns)))
    }

    /// As the crate's calls take it that have one function for all.
    pub(crate) fn as_timeout(self) -> Option<Duration> {
        match self {
            Self::Forever => None,
            Self::Never => Some(Duration::ZERO),
            Self::For(timeout) => Some(timeout),
        }
    }
}

/// A place for a result, set to `nothing` for the case that the call fails.
///
/// # Safety
///
/// `place` is null, or can be written to while the result is used.
pub(crate) unsafe fn out<'a, T>(place: *mut T, name: &str, nothing: T) -> Result<&'a mut T, Told> {
    if place.is_null() {
        return Err(Told::invalid(format_args!("{name} is NULL")));
    }
    // SAFETY: by the caller. What was there may be uninitialised and is not read.
    unsafe { place.write(nothing) };
    // SAFETY: by the caller.
    Ok(unsafe { &mut *place })
}

/// The caller's bytes; NULL is allowed where there are none.
///
/// # Safety
///
/// `data` is null, or so many bytes can be read there while the slice is used.
pub(crate) unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Result<&'a [u8], Told> {
    check(data, len)?;
    if len == 0 {
        return Ok(&[]);
    }
    // SAFETY: by the caller; not null, and not longer than an allocation can be.
    Ok(unsafe { slice::from_raw_parts(data.cast(), len) })
}

/// The caller's room; NULL is allowed where there is none.
///
/// # Safety
///
/// `data` is null, or so many bytes can be written there while the slice is used.
pub(crate) unsafe fn room<'a>(data: *mut c_void, len: usize) -> Result<&'a mut [u8], Told> {
    check(data, len)?;
    if len == 0 {
        return Ok(&mut []);
    }
    // SAFETY: by the caller; not null, and not longer than an allocation can be.
    Ok(unsafe { slice::from_raw_parts_mut(data.cast(), len) })
}

/// The caller's array; NULL is allowed where it is empty.
///
/// # Safety
///
/// `items` is null, or so many can be read there while the slice is used.
pub(crate) unsafe fn array<'a, T>(items: *const T, count: usize) -> Result<&'a [T], Told> {
    check(items.cast(), count.saturating_mul(size_of::<T>()))?;
    if count == 0 {
        return Ok(&[]);
    }
    // SAFETY: by the caller; not null, and not longer than an allocation can be.
    Ok(unsafe { slice::from_raw_parts(items, count) })
}

/// As [`array`], to be written to as well.
///
/// # Safety
///
/// As there, and so many can be written.
pub(crate) unsafe fn array_mut<'a, T>(items: *mut T, count: usize) -> Result<&'a mut [T], Told> {
    check(items.cast(), count.saturating_mul(size_of::<T>()))?;
    if count == 0 {
        return Ok(&mut []);
    }
    // SAFETY: by the caller; not null, and not longer than an allocation can be.
    Ok(unsafe { slice::from_raw_parts_mut(items, count) })
}

fn check(data: *const c_void, len: usize) -> Result<(), Told> {
    if data.is_null() && len > 0 {
        return Err(Told::invalid(format_args!("NULL with a length of {len}")));
    }
    if isize::try_from(len).is_err() {
        return Err(Told::invalid(format_args!(
            "a length of {len} is over what any memory has"
        )));
    }
    Ok(())
}

/// Bytes in each of the caller's pieces.
///
/// # Safety
///
/// As [`array`], and as [`bytes`] for each.
pub(crate) unsafe fn pieces<'a>(
    pieces: *const iovec,
    count: usize,
) -> Result<impl Iterator<Item = &'a [u8]>, Told> {
    // SAFETY: by the caller.
    let pieces: &'a [iovec] = unsafe { array(pieces, count) }?;
    for piece in pieces {
        check(piece.iov_base, piece.iov_len)?;
    }
    Ok(pieces.iter().map(|piece| {
        // SAFETY: by the caller.
        unsafe { bytes(piece.iov_base, piece.iov_len) }.unwrap_or_default()
    }))
}

/// So many pieces are gathered without an allocation.
const ON_THE_STACK: usize = 16;

/// Calls `with` with the caller's pieces.
///
/// # Safety
///
/// As [`pieces`].
pub(crate) unsafe fn with_io_slices<R>(
    first: *const iovec,
    count: usize,
    with: impl FnOnce(&[IoSlice<'_>]) -> R,
) -> Result<R, Told> {
    // SAFETY: by the caller.
    let pieces = unsafe { pieces(first, count) }?;
    if count > ON_THE_STACK {
        return Ok(with(&pieces.map(IoSlice::new).collect::<Vec<_>>()));
    }
    let mut few = [IoSlice::new(&[]); ON_THE_STACK];
    for (slice, piece) in few.iter_mut().zip(pieces) {
        *slice = IoSlice::new(piece);
    }
    Ok(with(&few[..count]))
}

/// The caller's text.
///
/// # Safety
///
/// `text` is null, or a zero-terminated string while the result is used.
pub(crate) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a CStr, Told> {
    if text.is_null() {
        return Err(Told::invalid(format_args!("{name} is NULL")));
    }
    // SAFETY: by the caller.
    Ok(unsafe { CStr::from_ptr(text) })
}
