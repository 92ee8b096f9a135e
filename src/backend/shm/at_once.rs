//! The common case: a message of one record, a lock that nobody holds, room or a record at hand.
//!
//! What a busy pipe does all the time, in as few instructions as its promises allow. Whatever else may be
//! the matter, each of these gives up without having changed anything, and the call goes the long way.
//!
//! The side lock is released before the other side is rung for. A call that dies between has not returned,
//! so what it changed counts as not made until the next one rings (`wait::event`); whoever has to wait, for
//! room or for a record, rings first.

use super::rx::{self, Rx};
use super::tx::{self, Tx};
use super::view::View;
use crate::error::Fault;
use crate::ring::destination::Destination;
use crate::ring::record::{FIRST, LAST, span_of};
use crate::segment::layout::message;
use crate::sync::{Ordering, fence_after_release};

impl Tx {
    /// Sends `bytes` if that takes no wait and no more than one record; tells whether it did.
    ///
    /// # Errors
    ///
    /// What waking the receivers reports; the message is in the ring then.
    #[inline]
    pub(super) fn send_at_once(&mut self, bytes: &[u8]) -> Result<bool, Fault> {
        let Self { end, life_line, .. } = self;
        let end = &**end;
        let control = end.segment.control();
        if life_line.is_due_in_passing() && !tx::View::new(end).goes_on(life_line) {
            return Ok(false);
        }
        if bytes.len() > end.rules.part_max() || !life_line.is_as_it_was(&control.room) {
            return Ok(false);
        }
        let Some(guard) = control.tx.lock.lock_at_once() else {
            return Ok(false);
        };
        let writer = tx::View::new(end).writer;
        let span = span_of(bytes.len());
        if !writer.surely_has_room(span) && !writer.has_room(span)?
            || control.tx.state.load(Ordering::Relaxed) != message::WHOLE
        {
            return Ok(false);
        }
        writer.publish(None, bytes, FIRST | LAST);
        drop(guard);
        fence_after_release();
        if control.data.is_armed() {
            // A receiver that slept is not one that keeps us busy.
            life_line.ask_next_time();
            control.data.ring(end.socket())?;
        }
        Ok(true)
    }
}

impl Rx {
    /// Receives a message of one record if there is one and it is for this end.
    ///
    /// # Errors
    ///
    /// `BufferTooSmall`, `Io` when memory is short, and [`Fault::Corrupted`].
    #[inline]
    pub(super) fn recv_at_once(
        &mut self,
        into: &mut Destination<'_>,
    ) -> Result<Option<usize>, Fault> {
        let Self {
            end,
            partial,
            unverified,
            ..
        } = self;
        let view = View::new(end);
        let control = view.reader.control;
        if !view.reader.has_record() {
            return Ok(None);
        }
        let Some(guard) = control.rx.lock.lock_at_once() else {
            return Ok(None);
        };
        if !partial.is_at_rest(view.custody()) {
            return Ok(None);
        }
        let Some(header) = view.reader.peek_whole() else {
            return Ok(None);
        };
        rx::verify_now_and_then(view, unverified, header)?;
        let len = rx::deliver(view, header, into)?;
        view.reader.consume(header);
        if view.is_time_to_give_room_back() {
            // As in `settle`.
            let _ = view.give_room_back(false);
        }
        drop(guard);
        // Between giving room by `consume` and looking whether anybody waits for it.
        fence_after_release();
        if control.room.is_armed() {
            let _ = view.give_room_back(false);
        }
        Ok(Some(len))
    }
}
