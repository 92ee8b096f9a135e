//! Finding the descriptors of a message on the ancillary socket, among those that belong to no message.
//!
//! Both backends use it under the receivers' lock. `backend::shm::ancillary` argues why the right ones are found.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::error::Fault;
use crate::sys::refused::refused;
use crate::sys::scm_rights;

/// How much ancillary data without a message one call passes over. Each piece is that of a sender that died; a liar could
/// send them for ever.
const MAX_STALE: usize = 4096;

/// Opens copies of the descriptors with this ticket, which stay the oldest on the socket. `None` when they were taken.
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

/// Closes the descriptors of all tickets up to this one, to which no message belongs any more.
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
