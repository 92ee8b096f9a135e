//! Finding the ancillary message of descriptors that belongs to a message, among those that belong to none; both
//! backends use it, under the receivers' lock. `backend::shm::ancillary` says why the right one is found.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::error::Fault;
use crate::sys::refused::refused;
use crate::sys::scm_rights;

/// How many ancillary messages without message one call passes over. Each is that of a sender that died; a liar could
/// send them for ever.
const MAX_STALE: usize = 4096;

/// Opens copies of the descriptors with this ticket, whose ancillary message stays the oldest. `None` when it is gone.
///
/// # Errors
///
/// `EMFILE` when they cannot all be opened here; what recvmsg(2) reports; [`Fault::Corrupted`] for what no
/// correct sender sends.
pub(super) fn find(socket: BorrowedFd<'_>, ticket: u64) -> Result<Option<Vec<OwnedFd>>, Fault> {
    for _ in 0..MAX_STALE {
        let Some(ancillary) = scm_rights::peek(socket)? else {
            return Ok(None);
        };
        if ancillary.ticket > ticket {
            return Ok(None);
        }
        if ancillary.ticket == ticket {
            if ancillary.is_short {
                let error = io::Error::from_raw_os_error(libc::EMFILE);
                let count = ancillary.count;
                let refused = refused(format_args!("receiving {count} descriptors"), error);
                return Err(Fault::Io(refused));
            }
            if ancillary.fds.len() as u64 != ancillary.count {
                return Err(Fault::Corrupted);
            }
            return Ok(Some(ancillary.fds));
        }
        scm_rights::drop_oldest(socket)?;
    }
    Err(Fault::Corrupted)
}

/// Closes the ancillary messages up to this ticket, to which no message belongs any more.
///
/// # Errors
///
/// What recvfrom(2) reports.
pub(super) fn close_up_to(socket: BorrowedFd<'_>, last: u64) -> Result<(), Fault> {
    for _ in 0..MAX_STALE {
        match scm_rights::peek_ticket(socket)? {
            Some(ticket) if ticket <= last => scm_rights::drop_oldest(socket)?,
            _ => break,
        }
    }
    Ok(())
}
