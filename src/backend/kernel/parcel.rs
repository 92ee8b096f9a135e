//! Messages that carry descriptors, through a kernel pipe.
//!
//! As in `backend::shm::parcel`, with a frame in place of the record. A frame's header is in the shared page
//! before anything of it is taken, so the ticket is known and the message still whole when the descriptors are
//! looked for.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::PollFlags;

use super::frame::{ATOMIC_PAYLOAD, Header};
use super::page;
use super::reading::{Payload, Side as Receiving};
use super::tx::{Side, Tx};
use crate::backend::{parcels, without_parcels};
use crate::error::Fault;
use crate::ring::bearer;
use crate::ring::destination::Destination;
use crate::sync::Ordering;
use crate::sys::clock::{Deadline, Patience};
use crate::sys::parcels::{self as packets, Sent};
use crate::sys::socket;
use crate::wait::stay::Stay;

impl Tx {
    /// The socket for descriptors, where there is one.
    #[cfg(feature = "tokio")]
    pub(crate) fn parcels(&self) -> Option<BorrowedFd<'_>> {
        self.end.parcels.as_ref().map(AsFd::as_fd)
    }

    /// Sends `bytes` and `fds` as one message, whole or not at all.
    pub(crate) fn send_parcel(
        &mut self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        patience: Patience,
    ) -> Result<(), Fault> {
        self.fate.check(&self.end.closing)?;
        let _ended = self.end.ended_by_close();
        let outcome = self.send_parcel_open(bytes, fds, patience);
        self.fate.seal(&self.end.closing, outcome)
    }

    fn send_parcel_open(
        &self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        patience: Patience,
    ) -> Result<(), Fault> {
        let side = Side {
            end: &self.end,
            patience,
        };
        let parcels = self.end.parcels.as_ref().ok_or_else(without_parcels)?;
        let (len, max) = (bytes.len(), ATOMIC_PAYLOAD);
        if len > max {
            return Err(Fault::TooLarge { len, max });
        }
        let shared = self.end.page.shared();
        let (tx, tally) = (&shared.tx, &shared.tx_tally);
        let mut stay = Stay::default();
        let mut look_after = bearer::FIRST_LOOK;
        let mut lead = None;
        loop {
            let guard = side.lock()?;
            stay.settle(tally);
            if let Some(holder) = side.holder_but(self.id)? {
                lead = None;
                tx.hold()
                    .wait_for(holder, guard, patience, &mut look_after)?;
                continue;
            }
            side.make_good()?;
            tally.note_length(len);
            if !side.has_room()? {
                stay.fall_asleep(tally);
                drop(guard);
                side.wait_for_room(&mut lead)
                    .inspect_err(|_| stay.break_off(tally))?;
                continue;
            }
            let ticket = tx.ticket.load(Ordering::Relaxed).wrapping_add(1);
            let header = Header::parcel(ticket, len).ok_or(Fault::Corrupted)?;
            // SYNC: ticket. Who sees it sees that the lock was taken before.
            tx.ticket.store(ticket, Ordering::Release);
            match packets::send(parcels.as_fd(), ticket, fds)? {
                // Only senders fill the pipe, so the room is still there; a liar's doing leaves the packet to
                // be swept up.
                Sent::Whole if side.write_atomic(header, bytes)? => {
                    page::count(&tx.flow, tally, len);
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
                    wait_for(parcels.as_fd(), patience)?;
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

/// Waits until the socket has room for packets.
fn wait_for(parcels: BorrowedFd<'_>, patience: Patience) -> Result<(), Fault> {
    if patience.is_over() {
        return Err(Fault::NotNow);
    }
    let found = socket::wait(parcels, PollFlags::POLLOUT, None, patience.deadline())?;
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
    let parcels = side.end.parcels.as_ref().ok_or(Fault::Corrupted)?.as_fd();
    let Destination::Parcel { bytes, .. } = into else {
        return Err(Fault::CarriesDescriptors);
    };
    let Some(found) = parcels::find(parcels, header.ticket())? else {
        side.skip_payload(header, payload)?;
        return Ok(None);
    };
    // What can fail comes before the packet is taken away.
    bytes
        .try_reserve(header.payload())
        .map_err(|error| Fault::Io(error.into()))?;
    packets::drop_oldest(parcels)?;
    let len = side.take_whole(header, into)?;
    if let Destination::Parcel { fds, .. } = into {
        **fds = found;
    }
    Ok(Some(len))
}

/// Before reporting an empty pipe or sleeping: closes what senders have left in the socket that died before
/// the message was there.
pub(super) fn sweep(side: Receiving<'_>) -> Result<(), Fault> {
    let Some(parcels) = &side.end.parcels else {
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
    parcels::close_up_to(parcels.as_fd(), last)
}
