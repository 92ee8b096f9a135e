//! Messages that carry descriptors, through shared memory.
//!
//! The message is one record in the ring, and its payload begins with a *ticket*. The descriptors travel over a socket
//! as ancillary data (`SCM_RIGHTS`) of the same ticket.
//!
//! - The sender holds the senders' lock. It takes a new ticket, sends the ancillary data and publishes the record.
//! - The receiver holds the receivers' lock. It finds the record, opens copies of the descriptors, removes the ancillary
//!   data from the socket and moves past the record.
//!
//! # Why no message gets another one's descriptors
//!
//! A ticket is counted up under the senders' lock before it is sent, so no ticket is used twice, whoever dies. The socket
//! and the ring both have their tickets in ascending order. Hence:
//!
//! - *A sender killed after it sent the ancillary data and before it published*: data without a record. The next receiver
//!   that meets a greater ticket closes it. So does one that finds the ring empty while no sender is inside ([`sweep`]).
//! - *A receiver killed after it removed the ancillary data*: a record without data. Data is sent before its record is
//!   published, so data that is missing has been removed. The message died with its receiver, the kernel has closed the
//!   descriptors, and the next receiver passes over the record.
//! - *A receiver killed before that*: the kernel closes its copies, and both are still there.
//! - *A receiver that may not open so many descriptors*: its call fails, and both are still there.

use nix::poll::PollFlags;

use std::os::fd::{AsFd, BorrowedFd};

use super::End;
use super::deliver::append;
use super::tx::{Tx, View as Sending};
use super::view::View;
use crate::backend::{ancillary, without_descriptors};
use crate::error::Fault;
use crate::ring::payload::Destination;
use crate::ring::reader::Next;
use crate::ring::record::{ANCILLARY, LAST, PREFIX, span_of};
use crate::segment::layout::message;
use crate::sync::Ordering;
use crate::sys::clock::Timeout;
use crate::sys::scm_rights::{self, Sent};
use crate::sys::socket;

impl End {
    fn ancillary(&self) -> Result<BorrowedFd<'_>, Fault> {
        self.ancillary
            .as_ref()
            .map(AsFd::as_fd)
            .ok_or_else(without_descriptors)
    }
}

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
        self.seal(outcome)
    }

    fn send_with_descriptors_open(
        &mut self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        timeout: Timeout,
    ) -> Result<(), Fault> {
        self.end.ancillary()?;
        let (len, max) = (bytes.len(), self.end.rules.fragment_max() - PREFIX);
        if len > max {
            return Err(Fault::TooLarge { len, max });
        }
        if len > self.noted.len {
            // Not for the fast path, since a message with descriptors may be over the sender's limit.
            Sending::new(&self.end).note_length(&mut { self.noted }, len);
        }
        let need = span_of(PREFIX + len);
        while !self.when_there_is_room(need, timeout, |view, _, _| send_now(view, bytes, fds))? {
            // Others may send while we wait.
            wait_for_ancillary_room(self.end.ancillary()?, timeout)?;
        }
        Ok(())
    }
}

/// Sends the ancillary data and publishes the record, for which there is room. Under the lock. Returns whether the socket
/// had room too.
fn send_now(view: Sending<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<bool, Fault> {
    let writer = view.writer;
    let last = &writer.control.tx.ticket;
    let ticket = last.load(Ordering::Relaxed).wrapping_add(1);
    // SYNC: ticket. Who sees it sees that the lock was taken before.
    last.store(ticket, Ordering::Release);
    match scm_rights::send(view.end.ancillary()?, ticket, fds)? {
        Sent::Whole => {
            let flags = writer.opening_flags() | LAST | ANCILLARY;
            writer.publish(Some(ticket), bytes, flags);
            writer.set_state(message::WHOLE);
            view.ring().map_err(Fault::NotWoken)?;
            view.show_readiness_if_watched();
            Ok(true)
        }
        Sent::Gone => Err(Fault::Disconnected),
        Sent::Full => {
            view.ring()?;
            Ok(false)
        }
    }
}

/// Waits until the socket has room for ancillary data.
fn wait_for_ancillary_room(ancillary: BorrowedFd<'_>, timeout: Timeout) -> Result<(), Fault> {
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
    view: View<'_>,
    next: Next,
    into: &mut Destination<'_>,
) -> Result<Option<usize>, Fault> {
    // On a pipe that carries none only a liar writes such a record.
    let ancillary = view.end.ancillary.as_ref().ok_or(Fault::Corrupted)?.as_fd();
    let Destination::WithDescriptors { bytes, fds } = into else {
        return Err(Fault::CarriesDescriptors);
    };
    let Some(found) = ancillary::find(ancillary, view.reader.prefix(next))? else {
        view.reader.take_own(next)?;
        return Ok(None);
    };
    bytes.clear();
    append(view, next, true, bytes)?;
    scm_rights::drop_oldest(ancillary)?;
    **fds = found;
    view.reader.take_own(next)?;
    Ok(Some(bytes.len()))
}

/// Before reporting an empty ring or sleeping: closes what senders have left in the socket that died before
/// the message was there.
pub(super) fn sweep(view: View<'_>) -> Result<(), Fault> {
    let Some(ancillary) = &view.end.ancillary else {
        return Ok(());
    };
    let tx = &view.reader.control.tx;
    // SYNC: ticket. Whoever took this one or an earlier one has taken the lock before. If nobody is inside
    // now they have published, which is seen with the lock, or died.
    let last = tx.ticket.load(Ordering::Acquire);
    if !tx.lock.is_free() || view.reader.peek()?.is_some() {
        return Ok(());
    }
    ancillary::close_up_to(ancillary.as_fd(), last)
}
