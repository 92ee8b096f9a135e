//! The common case: a message of one record, room or a record at hand, a side that nobody keeps to himself.
//!
//! What a busy pipe does all the time, in as few instructions as its promises allow. Whatever else may be
//! the matter, each of these gives up without having changed anything, and the call goes the long way.
//!
//! A send takes the senders' lock. A receive takes none: it copies the record out and moves `read` past it by one
//! compare-and-swap, which fails if anybody else was faster (`ring::reader`). What keeps it away from a message
//! in parts or in place is looked at *after* `read`, whose last mover has noted it before.
//!
//! The side lock is released before the other side is rung for. A call that dies between has not returned,
//! so what it changed counts as not made until the next one rings (`wait::event`); whoever has to wait, for
//! room or for a record, rings first.

use std::io;
use std::mem::MaybeUninit;

use super::rx::Rx;
use super::tx::{self, Tx};
use super::view::View;
use crate::backend::Fate;
use crate::ring::payload::Payload;
use crate::ring::reader::Reader;
use crate::ring::record::{FIRST, LAST, span_of};
use crate::ring::writer::Writer;
use crate::segment::layout::message;
use crate::sync::{Ordering, fence_after_swap};
use crate::wait::spin;

/// Longer messages are copied out under the lock, so that of several receivers only one copies each.
const CONTENDED_MAX: usize = 1024;

impl Tx {
    /// Sends `bytes` if that takes no wait and no more than one record; `None` if it does and nothing was
    /// sent.
    ///
    /// # Errors
    ///
    /// What waking the receivers reports; the message is in the ring then. It also is, and `None` returned, where
    /// every receiver turned out to have died.
    #[inline(always)]
    pub(crate) fn send_at_once(&mut self, bytes: impl Payload) -> Option<io::Result<()>> {
        let Self {
            end,
            life_line,
            fate,
            noted,
            ..
        } = self;
        let end = &**end;
        let control = end.control();
        // What was noted fits one record, and most of what comes is no longer.
        if bytes.len() > *noted && !tx::View::new(end).note_length(noted, bytes.len()) {
            return None;
        }
        if life_line.is_due_in_passing() && !tx::View::new(end).goes_on_or_is_rung_for(life_line) {
            return None;
        }
        if *fate != Fate::Open || !life_line.is_as_it_was(&control.room) {
            return None;
        }
        let guard = control.tx.lock.lock_at_once()?;
        if end.closing.is_closed() {
            return None;
        }
        let writer = Writer {
            control,
            storage: &end.storage,
            rules: end.rules,
        };
        let span = span_of(bytes.len());
        let tail = match writer.tail_with_room(span) {
            Some(tail) => tail,
            None => writer.tail_after_a_look(span)?,
        };
        if control.tx.state.load(Ordering::Relaxed) != message::WHOLE {
            return None;
        }
        writer.publish_at(tail, None, bytes, FIRST | LAST);
        drop(guard);
        spin::note_sent();
        fence_after_swap();
        if control.data.is_armed() {
            // Where the last receiver turns out to have gone, the long way says so.
            return self
                .ring_after_send()
                .map(|told| told.then_some(()))
                .transpose();
        }
        Some(Ok(()))
    }

    /// Tells whether there is anybody who could be rung for.
    #[cold]
    pub(super) fn ring_after_send(&mut self) -> io::Result<bool> {
        // A receiver that slept is not one that keeps us busy.
        self.life_line.ask_next_time();
        let is_there = match self.end.control().data.ring(self.end.socket()) {
            // The close rings for it.
            Err(_) if self.end.closing.is_closed() => true,
            outcome => outcome?,
        };
        self.life_line.note_rung(is_there);
        Ok(is_there)
    }
}

impl Rx {
    /// Receives a message of one record into `to` if there is one, it fits, and it is for this end; looks
    /// for it for a moment if the call `may_wait` and looking can pay. Returns the length, of which all is
    /// initialised then.
    #[inline]
    pub(crate) fn recv_soon(
        &mut self,
        to: &mut [MaybeUninit<u8>],
        may_wait: bool,
    ) -> Option<usize> {
        if self.reader().has_record() {
            self.stream.found();
            return self.recv_at_once(to);
        }
        if !may_wait || !self.spinner.may_look() {
            return None;
        }
        self.look_for_a_moment().then(|| self.recv_at_once(to))?
    }

    /// The length of the next message, if it is there, is one record and nobody is inside another. It stays, and is
    /// nobody's.
    pub(crate) fn next_length_at_once(&self) -> Option<usize> {
        let reader = self.reader();
        let next = reader.peek_whole()?;
        let state = reader.control.rx.custody.state.load(Ordering::Relaxed);
        let is_usable = self.fate == Fate::Open && !self.end.closing.is_closed();
        let is_plain = is_usable && state == message::WHOLE;
        is_plain.then_some(next.header.len)
    }

    /// Looks for a record before all that a wait takes.
    #[inline(never)]
    pub(super) fn look_for_a_moment(&mut self) -> bool {
        let reader = Reader {
            control: self.end.control(),
            storage: &self.end.storage,
            rules: self.end.rules,
            message_max: self.end.message_max(),
        };
        let is_there = self
            .stream
            .look(&reader.control.data, || reader.has_record());
        if is_there {
            self.spinner.was_short();
        }
        is_there
    }

    #[inline(always)]
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader {
            control: self.end.control(),
            storage: &self.end.storage,
            rules: self.end.rules,
            message_max: self.end.message_max(),
        }
    }

    #[inline(always)]
    fn recv_at_once(&mut self, to: &mut [MaybeUninit<u8>]) -> Option<usize> {
        let reader = self.reader();
        let control = reader.control;
        if self.fate != Fate::Open || self.end.closing.is_closed() {
            return None;
        }
        let next = reader.peek_whole()?;
        if control.rx.custody.state.load(Ordering::Relaxed) != message::WHOLE {
            return None;
        }
        let len = next.header.len;
        // What is due after so many bytes (`take::verify_now_and_then`) is for the long way.
        if len > to.len() || next.at.wrapping_sub(self.verified) > reader.rules.capacity() {
            return None;
        }
        let guard = if len > CONTENDED_MAX {
            Some(control.rx.lock.lock_at_once()?)
        } else {
            None
        };
        // SAFETY: just peeked, and `to` is long enough.
        unsafe { reader.copy_out(next, false, to.as_mut_ptr().cast()) };
        if !reader.take(next) {
            return None;
        }
        if guard.is_some() {
            drop(guard);
            self.stream.took(len);
        }
        self.settle_at_once(next.end());
        Some(len)
    }

    /// After records up to `read` were taken: gives their room back when it is time to, and rings for those
    /// who wait.
    #[inline(always)]
    pub(super) fn settle_at_once(&self, read: u64) {
        let reader = self.reader();
        if reader.unpublished_at(read) >= View::lazy_room(reader.rules) {
            self.give_room_back();
        }
        // Between giving room by `take` and looking whether anybody waits for it.
        fence_after_swap();
        if reader.control.room.is_armed() {
            self.give_room_back();
        }
    }

    #[cold]
    fn give_room_back(&self) {
        // As in `View::settle`.
        let _ = View::new(&self.end).give_room_back(false);
    }
}
