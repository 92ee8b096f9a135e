//! Closing a side in this process while other threads are inside calls of other handles.
//!
//! To the pipe it is as if the process had been killed at that moment, which both backends survive at any instruction:
//! the descriptors are replaced under the numbers that the handles know (`sys::closing`), and whatever a call does with
//! one from then on is refused. What a killed process cannot do is made good afterwards. The calls that sleep are woken
//! and end, those that are in the middle of a change are waited for, and then the others learn of all that was
//! changed and of the message that this process was inside. No later call gets as far as to change anything, since each
//! looks for the mark under the side's lock.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::error::{Fault, RecvError};
use crate::ring::lock::Guard;
use crate::segment::layout::SideLock;
use crate::sys::clock::{Deadline, Timeout};
use crate::sys::closing::{Closing, is_our_thread};
use crate::sys::thread::Thread;

/// How long to wait for the lock before looking whose it is.
const LOOK: Duration = Duration::from_millis(5);

/// What a close needs of a side.
pub(super) struct Closable<'a> {
    pub(super) closing: &'a Closing,
    pub(super) lock: &'a SideLock,
    /// What makes the process a holder: the one by which a close reaches the other side, and the ancillary socket.
    pub(super) fds: (BorrowedFd<'a>, Option<BorrowedFd<'a>>),
}

impl<'a> Closable<'a> {
    /// Closes the side. `settle` makes good what is left to do, with the lock if it can be had, and with a descriptor that
    /// still reaches the other side. False if that has been done before.
    ///
    /// # Errors
    ///
    /// As [`Closing::begin`] and what its closer reports; `Deadlock` for a signal handler whose thread is inside a lock.
    pub(super) fn close(
        self,
        settle: impl FnOnce(Option<Guard<'a>>, Option<BorrowedFd<'_>>),
    ) -> io::Result<bool> {
        self.lock.refuse_reentrance().map_err(to_io_error)?;
        let Some(closer) = self.closing.begin()? else {
            return Ok(false);
        };
        let (first, ancillary) = self.fds;
        // No list, which would allocate: a signal handler may close too.
        match ancillary {
            Some(ancillary) => closer.take_away(&[first, ancillary])?,
            None => closer.take_away(&[first])?,
        }
        // The threads that follow one in poll(2) (`wait::poll_group`) end one after the other as each passes the lead on.
        closer.wake(|| self.lock.wake_all());
        settle(wait_for_our_calls(self.lock), closer.kept());
        closer.finish(first)?;
        Ok(true)
    }
}

/// Waits until no thread of this process is inside a section that began before the close. With the lock, unless another
/// process keeps it.
fn wait_for_our_calls(lock: &SideLock) -> Option<Guard<'_>> {
    let us = Thread::current().ok()?.id();
    loop {
        match lock.lock(Timeout::Unasked(Deadline::after(LOOK))) {
            Ok(guard) => return Some(guard),
            Err(Fault::NotNow) => {}
            Err(_) => return None,
        }
        // SYNC: side-lock. Whoever takes the lock after this sees that the side is closed.
        let owner = lock.owner_in_order();
        // The caller is inside no lock, so that it is said to be is a lie.
        owner.filter(|&id| id != us && is_our_thread(id))?;
    }
}

fn to_io_error(fault: Fault) -> io::Error {
    RecvError::from(fault).into()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::{AtomicU32, AtomicU64, Ordering};

    #[test]
    fn a_lock_that_a_liar_says_is_the_callers_own_is_not_waited_for() {
        let lock = SideLock {
            word: AtomicU32::new(0),
            namespace: AtomicU64::new(0),
        };
        let us = Thread::current().unwrap().id();
        lock.word.store(us, Ordering::Relaxed);
        assert!(wait_for_our_calls(&lock).is_none());
    }
}
