//! Messages that carry descriptors, through shared memory.
//!
//! The message goes through the ring, as one record with a *ticket*; its descriptors go through a socket, as
//! one ancillary message with the same ticket. The sender, under its side's lock: takes a new ticket, sends the ancillary message,
//! publishes the record. The receiver, under its own: finds the record, opens copies of the ancillary message's
//! descriptors, takes the ancillary message away, moves past the record.
//!
//! # Why no message gets another one's descriptors
//!
//! A ticket is counted up under the senders' lock before its ancillary message is sent, so none is used twice, whoever
//! dies. Packets lie in the order of their tickets, and records in the ring as well. Hence:
//!
//! - *A sender killed after the ancillary message and before the record*: an ancillary message without record. The next receiver
//!   that meets a greater ticket, or an empty ring while no sender is inside ([`sweep`]), closes it.
//! - *A receiver killed after it took the ancillary message away*: a record without ancillary message. A record is published after
//!   its ancillary message was sent, so an ancillary message that is not there has been taken; the message died with its receiver,
//!   and the next one passes over it. The kernel has closed the descriptors.
//! - *A receiver killed before that*: the kernel closes its copies, and both are still there.
//! - *One that may not open so many descriptors*: the same; the call fails, and both are still there.

use nix::poll::PollFlags;

use std::os::fd::{AsFd, BorrowedFd};

use super::tx::{Tx, View as Sending};
use super::view::View;
use super::{End, take};
use crate::backend::{ancillary, without_descriptors};
use crate::error::Fault;
use crate::ring::destination::Destination;
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

/// Sends the ancillary message and publishes the record, for which there is room, under the lock; tells whether there was room
/// for the ancillary message too.
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
            view.ring().map_err(Fault::Untold)?;
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

/// Waits until the socket has room for ancillary messages.
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
    take::append(view, next, true, bytes)?;
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
