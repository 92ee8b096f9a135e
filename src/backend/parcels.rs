//! Finding the packet of descriptors that belongs to a message, among those that belong to none; both
//! backends use it, under the receivers' lock. `backend::shm::parcel` says why the right one is found.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::error::Fault;
use crate::sys::parcels;
use crate::sys::refused::refused;

/// How many packets without message one call passes over. Each is that of a sender that died; a liar could
/// send them for ever.
const STALE_AT_ONCE: usize = 4096;

/// Opens copies of the descriptors with this ticket, whose packet stays the oldest. `None` when it is gone.
///
/// # Errors
///
/// `EMFILE` when they cannot all be opened here; what recvmsg(2) reports; [`Fault::Corrupted`] for what no
/// correct sender sends.
pub(super) fn find(socket: BorrowedFd<'_>, ticket: u64) -> Result<Option<Vec<OwnedFd>>, Fault> {
    for _ in 0..STALE_AT_ONCE {
        let Some(packet) = parcels::peek(socket)? else {
            return Ok(None);
        };
        if packet.ticket > ticket {
            return Ok(None);
        }
        if packet.ticket == ticket {
            if packet.is_short {
                let error = io::Error::from_raw_os_error(libc::EMFILE);
                let count = packet.count;
                let refused = refused(format_args!("receiving {count} descriptors"), error);
                return Err(Fault::Io(refused));
            }
            if packet.fds.len() as u64 != packet.count {
                return Err(Fault::Corrupted);
            }
            return Ok(Some(packet.fds));
        }
        parcels::drop_oldest(socket)?;
    }
    Err(Fault::Corrupted)
}

/// Closes the packets up to this ticket, to which no message belongs any more.
///
/// # Errors
///
/// What recvfrom(2) reports.
pub(super) fn close_up_to(socket: BorrowedFd<'_>, last: u64) -> Result<(), Fault> {
    for _ in 0..STALE_AT_ONCE {
        match parcels::peek_ticket(socket)? {
            Some(ticket) if ticket <= last => parcels::drop_oldest(socket)?,
            _ => break,
        }
    }
    Ok(())
}
