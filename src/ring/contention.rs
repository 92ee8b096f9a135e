//! The side lock for calls that may not wait.
//!
//! A call that may not wait for the other side still has to look at its own, and another holder of that may be in the
//! middle of a call. What such a section takes is little, so the call waits for it, as read(2) of a pipe with
//! `O_NONBLOCK` waits for the pipe's own mutex: else it would have to say that nothing is there without having looked.
//! It does not wait for a holder that keeps the lock until the *other* side does something.

use std::time::Duration;

use super::lock::Guard;
use crate::error::Fault;
use crate::segment::layout::SideLock;
use crate::sys::clock::{Deadline, Patience};

/// A section that takes longer is that of a holder which was stopped, or kept from running, in the middle of it.
const SECTION_MAX: Duration = Duration::from_millis(100);

/// First interval of looks whether the holder keeps the lock by now; then they double.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// Takes a lock that another holder has at the moment.
///
/// # Errors
///
/// [`Fault::NotNow`] when that one keeps it until the other side goes on, by what `is_kept` says; [`Fault::Busy`] when
/// it is in its section for over 100 ms.
#[cold]
pub(crate) fn lock_in_a_moment(
    lock: &SideLock,
    is_kept: impl Fn() -> bool,
) -> Result<Guard<'_>, Fault> {
    let end = Deadline::after(SECTION_MAX);
    let mut look_after = FIRST_LOOK;
    loop {
        if is_kept() {
            return Err(Fault::NotNow);
        }
        match lock.lock(Patience::Until(end.at_most(look_after))) {
            Err(Fault::NotNow) if end.passed() => return Err(Fault::Busy),
            Err(Fault::NotNow) => look_after *= 2,
            outcome => return outcome,
        }
    }
}
