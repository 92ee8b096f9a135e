//! What the handles of both ends have in common: the checks before each call, and how one is taken.

use std::{mem, ptr};

use crate::status::{Told, shmpipe_status};

/// Who frees a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Caller,
    /// It is one half of a connection.
    Connection,
}

/// A handle to a sender or a receiver.
pub(crate) trait End: Sized {
    type Inner;

    /// Whether a slot or a view is open, which borrows the end.
    fn is_lent(&self) -> bool;

    fn owner(&self) -> Owner;

    /// The end, in a cell of its own. What a call before has lent is over.
    fn inner(&self) -> *mut Self::Inner;

    fn into_inner(self) -> Self::Inner;

    /// The end, for a call.
    ///
    /// # Safety
    ///
    /// `handle` is null or a live handle that nobody else uses while the end is used.
    #[inline]
    unsafe fn of<'a>(handle: *mut Self, name: &str) -> Result<&'a mut Self::Inner, Told> {
        // SAFETY: by the caller.
        let Some(handle) = (unsafe { handle.as_ref() }) else {
            return Err(Told::invalid(format_args!("{name} is NULL")));
        };
        if handle.is_lent() {
            return Err(lent(name));
        }
        // SAFETY: by the caller, and nothing borrows it.
        Ok(unsafe { &mut *handle.inner() })
    }

    /// Whether it is a handle that the caller may free. The half of a connection is only let go of: `*handle` becomes NULL.
    ///
    /// # Safety
    ///
    /// `handle` is null, or points to null or to a live handle that nobody else uses.
    unsafe fn is_callers(handle: *mut *mut Self) -> bool {
        // SAFETY: by the caller.
        let Some(place) = (unsafe { handle.as_mut() }) else {
            return false;
        };
        // SAFETY: by the caller.
        match unsafe { place.as_ref() } {
            Some(end) if end.owner() == Owner::Connection => {
                *place = ptr::null_mut();
                false
            }
            end => end.is_some(),
        }
    }

    /// Takes the end out of the caller's handle, which becomes NULL.
    ///
    /// # Safety
    ///
    /// As [`is_callers`](Self::is_callers).
    unsafe fn take(handle: *mut *mut Self, name: &str) -> Result<Self::Inner, Told> {
        // SAFETY: by the caller.
        let Some(place) = (unsafe { handle.as_mut() }) else {
            return Err(Told::invalid(format_args!("{name} is NULL")));
        };
        // SAFETY: by the caller.
        let Some(end) = (unsafe { place.as_ref() }) else {
            return Err(Told::invalid(format_args!("*{name} is NULL")));
        };
        if end.owner() == Owner::Connection {
            return Err(Told::invalid(format_args!(
                "*{name} is one half of a connection; split it first"
            )));
        }
        if end.is_lent() {
            return Err(lent(name));
        }
        let handle = mem::replace(place, ptr::null_mut());
        // SAFETY: made by `Box::into_raw`, and the caller's only copy has been set to null.
        let end = unsafe { Box::from_raw(handle) };
        Ok(end.into_inner())
    }
}

#[cold]
pub(crate) fn lent(name: &str) -> Told {
    Told::new(
        shmpipe_status::SHMPIPE_LENT,
        libc::EBUSY,
        format_args!("{name} has a slot or a view open"),
    )
}
