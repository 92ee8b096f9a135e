//! Messages that carry descriptors, through a kernel pipe.
//!
//! As in `backend::shm::ancillary`, with a frame in place of the record. A frame's header is in the shared page
//! before anything of it is taken, so the ticket is known and the message still whole when the descriptors are
//! looked for.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::PollFlags;

use super::frame::{ATOMIC_PAYLOAD, Header};
use super::page;
use super::reading::{Payload, Side as Receiving};
use super::tx::{Side, Tx};
use crate::backend::{ancillary, without_descriptors};
use crate::error::Fault;
use crate::ring::owner;
use crate::ring::payload::Destination;
use crate::sync::Ordering;
use crate::sys::clock::{Deadline, Timeout};
use crate::sys::scm_rights::{self, Sent};
use crate::sys::socket;
use crate::wait::log::WaitLog;

impl Tx {
    /// The socket for descriptors, where there is one.
    #[cfg(feature = "tokio")]
    pub(crate) fn ancillary(&self) -> Option<BorrowedFd<'_>> {
        self.end.ancillary.as_ref().map(AsFd::as_fd)
    }

    /// Sends `bytes` and `fds` as one message, whole or not at all.
    pub(crate) fn send_with_descriptors(
        &mut self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        timeout: Timeout,
    ) -> Result<(), Fault> {
        self.fate.check(&self.end.closing)?;
        let _ended = self.end.ended_by_close();
        let outcome = self.send_with_descriptors_open(bytes, fds, timeout);
        self.fate.seal(&self.end.closing, outcome)
    }

    fn send_with_descriptors_open(
        &self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        timeout: Timeout,
    ) -> Result<(), Fault> {
        let side = Side {
            end: &self.end,
            timeout,
        };
        let ancillary = self
            .end
            .ancillary
            .as_ref()
            .ok_or_else(without_descriptors)?;
        let (len, max) = (bytes.len(), ATOMIC_PAYLOAD);
        if len > max {
            return Err(Fault::TooLarge { len, max });
        }
        let shared = self.end.page.shared();
        let (tx, counters) = (&shared.tx, &shared.tx_counters);
        let mut wait_log = WaitLog::default();
        let mut look_after = owner::FIRST_LOOK;
        let mut lead = None;
        loop {
            let guard = side.lock()?;
            wait_log.settle(counters);
            if let Some(owner) = side.owner_but(self.id)? {
                lead = None;
                tx.reservation()
                    .wait_for(owner, guard, timeout, &mut look_after)?;
                continue;
            }
            side.make_good()?;
            counters.note_length(len);
            if !side.has_room()? {
                wait_log.fall_asleep(counters);
                drop(guard);
                side.wait_for_room(&mut lead)
                    .inspect_err(|_| wait_log.break_off(counters))?;
                continue;
            }
            let ticket = tx.ticket.load(Ordering::Relaxed).wrapping_add(1);
            let header = Header::ancillary(ticket, len).ok_or(Fault::Corrupted)?;
            // SYNC: ticket. Who sees it sees that the lock was taken before.
            tx.ticket.store(ticket, Ordering::Release);
            match scm_rights::send(ancillary.as_fd(), ticket, fds)? {
                // Only senders fill the pipe, so the room is still there; a liar's doing leaves the ancillary data to
                // be swept up.
                Sent::Whole if side.write_atomic(header, bytes)? => {
                    page::count(&tx.totals, counters, len);
                    return Ok(());
                }
                Sent::Whole => {
                    drop(guard);
                    side.wait_for_room(&mut lead)?;
                }
                Sent::Gone => return Err(Fault::Disconnected),
                Sent::Full => {
                    // Others may send while we wait.
                    drop(guard);
                    lead = None;
                    wait_for(ancillary.as_fd(), timeout)?;
                }
            }
        }
    }
}

impl Side<'_> {
    /// Whether an atomic write has room now.
    fn has_room(self) -> Result<bool, Fault> {
        let now = Deadline::after(Duration::ZERO);
        let found = socket::wait(self.end.pipe(), PollFlags::POLLOUT, None, now)?;
        if found.hung_up {
            Err(Fault::Disconnected)
        } else {
            Ok(found.ready)
        }
    }
}

/// Waits until the socket has room for ancillary data.
fn wait_for(ancillary: BorrowedFd<'_>, timeout: Timeout) -> Result<(), Fault> {
    if timeout.is_over() {
        return Err(Fault::NotNow);
    }
    let found = socket::wait(ancillary, PollFlags::POLLOUT, None, timeout.deadline())?;
    if found.hung_up {
        Err(Fault::Disconnected)
    } else {
        Ok(())
    }
}

/// Takes the message at hand and its descriptors; `None` when it died with a receiver that had taken them.
pub(super) fn take(
    side: Receiving<'_>,
    header: Header,
    payload: &mut Payload,
    into: &mut Destination<'_>,
) -> Result<Option<usize>, Fault> {
    // On a pipe that carries none only a liar writes such a frame.
    let ancillary = side.end.ancillary.as_ref().ok_or(Fault::Corrupted)?.as_fd();
    let Destination::WithDescriptors { bytes, .. } = into else {
        return Err(Fault::CarriesDescriptors);
    };
    let Some(found) = ancillary::find(ancillary, header.ticket())? else {
        side.skip_payload(header, payload)?;
        return Ok(None);
    };
    // What can fail comes before the ancillary data is removed.
    bytes
        .try_reserve(header.payload())
        .map_err(|error| Fault::Io(error.into()))?;
    scm_rights::drop_oldest(ancillary)?;
    let len = side.take_whole(header, into)?;
    if let Destination::WithDescriptors { fds, .. } = into {
        **fds = found;
    }
    Ok(Some(len))
}

/// Before reporting an empty pipe or sleeping: closes what senders have left in the socket that died before
/// the message was there.
pub(super) fn sweep(side: Receiving<'_>) -> Result<(), Fault> {
    let Some(ancillary) = &side.end.ancillary else {
        return Ok(());
    };
    let tx = &side.end.page.shared().tx;
    // SYNC: ticket. Whoever took this one or an earlier one has taken the lock before. If nobody is inside
    // now they have written, which is seen by the kernel, or died.
    let last = tx.ticket.load(Ordering::Acquire);
    let has_header = side.shared().header.load(Ordering::Relaxed) != 0;
    if !tx.lock.is_free() || has_header || side.has_bytes()? {
        return Ok(());
    }
    ancillary::close_up_to(ancillary.as_fd(), last)
}
