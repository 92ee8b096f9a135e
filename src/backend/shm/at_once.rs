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

use std::hint::assert_unchecked;
use std::io;
use std::mem::MaybeUninit;

use super::rx::Rx;
use super::tx::{self, Tx};
use super::view::View;
use crate::backend::Fate;
use crate::ring::lock::Guard;
use crate::ring::payload::Payload;
use crate::ring::reader::{self, Reader};
use crate::ring::record::{Rules, span_of};
use crate::segment::layout::{Control, message};
use crate::sync::{Ordering, cold_path, fence_after_swap};
use crate::sys::thread::{Known, Thread};

/// Longer messages are copied out under the lock, so that of several receivers only one copies each.
pub(super) const CONTENDED_MAX: usize = 1024;

/// Messages that are shorter go by a fast path of their own, which calls nothing and so keeps all in registers. Under the
/// model checker, for which each section of the lock counts, the empty ones.
pub(super) const SHORT: usize = if cfg!(loom) { 1 } else { 64 };

/// What came of a send on the fast path, and what is to follow ([`Tx::complete`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Sent {
    /// The message is in the ring, and there is nothing else to do.
    Quietly,
    /// It is there, and somebody may sleep who waits for it.
    ToBeRungFor,
    /// It is there, and it is time to look whether there is a receiver.
    ToBeLookedAfter,
    /// It is there, and others wait for the side, which the caller still has.
    Contended,
    /// Nothing was sent, which takes the slow path.
    Not,
    /// As `Not`, and others wait for the side, which the caller still has.
    ContendedAndNot,
}

impl Tx {
    /// Sends `bytes` if that takes no wait and no more than one record, and they are short. Calls nothing.
    #[inline(always)]
    pub(crate) fn send_at_once(&mut self, bytes: impl Payload, known: &Known) -> Sent {
        if bytes.len() > self.noted.short {
            return self.send_longer(bytes, known);
        }
        // SAFETY: nothing noted as short is as long.
        unsafe { assert_unchecked(bytes.len() < SHORT) };
        self.send_whole::<true>(bytes, known)
    }

    #[inline(never)]
    fn send_longer(&mut self, bytes: impl Payload, known: &Known) -> Sent {
        self.send_whole::<false>(bytes, known)
    }

    /// Sends `bytes` if that takes no wait and no more than one record.
    #[inline(always)]
    fn send_whole<const IS_SHORT: bool>(&mut self, bytes: impl Payload, known: &Known) -> Sent {
        let end = &*self.end;
        let control = end.control();
        // A call that goes the slow path then counts twice, which nobody minds.
        known.note_sent();
        let is_noted = IS_SHORT || bytes.len() <= self.noted.len;
        if !is_noted || !self.life_line.is_as_it_was(&control.room) {
            return apart(Sent::Not);
        }
        let Some(guard) = control.tx.lock.lock_at_once_as(known) else {
            return apart(Sent::Not);
        };
        let writer = end.writer_of(control);
        let Some(tail) = writer.tail_with_room(span_of(bytes.len())) else {
            return apart(Sent::given_up(guard));
        };
        let is_whole = control.tx.state.load(Ordering::Relaxed) == message::WHOLE;
        // Both in any case, which is one branch.
        if !is_whole | end.closing.is_closed() {
            return apart(Sent::given_up(guard));
        }
        // SAFETY: nothing is noted that is over `part_max`, and nothing short that is not noted.
        unsafe {
            writer.publish_whole(tail, bytes, || {
                self.is_scarce = true;
                self.life_line.ask_next_time();
            });
        }
        // After a short message in passing, by a section of its own.
        if !IS_SHORT && self.is_scarce {
            self.is_scarce = false;
            writer.claim_after(span_of(bytes.len()));
        }
        if !guard.release_at_once() {
            return apart(Sent::Contended);
        }
        fence_after_swap();
        if control.data.is_armed() {
            return apart(Sent::ToBeRungFor);
        }
        if self.life_line.is_to_ask() {
            if self.is_scarce {
                cold_path();
                return self.claim_ahead();
            }
            if self.life_line.is_due_in_passing() {
                return apart(Sent::ToBeLookedAfter);
            }
        }
        Sent::Quietly
    }

    /// After a short message: claims lines ahead, by a section of its own; and asks the clock, also where each message finds
    /// that there is nothing to claim.
    #[inline(never)]
    fn claim_ahead(&mut self) -> Sent {
        self.is_scarce = false;
        let control = self.end.control();
        if self.end.writer().may_claim() {
            if let Some(guard) = control.tx.lock.lock_at_once() {
                // Somebody may write in place there by now, or be inside a message.
                if control.tx.state.load(Ordering::Relaxed) == message::WHOLE {
                    self.end.writer().claim_ahead();
                }
                drop(guard);
            }
        }
        if self.life_line.is_due_in_passing() {
            return Sent::ToBeLookedAfter;
        }
        Sent::Quietly
    }

    /// As [`send_at_once`](Self::send_at_once), with all that the fast path leaves to others; `None` if nothing was sent, or
    /// if every receiver turned out to have died.
    ///
    /// # Errors
    ///
    /// What waking the receivers reports; the message is in the ring then.
    #[inline]
    pub(crate) fn send_soon(&mut self, bytes: impl Payload) -> Option<io::Result<()>> {
        let sent = Thread::with(|known| self.send_at_once(bytes, known));
        self.complete(bytes, sent)
    }

    /// What is to do after [`send_at_once`](Self::send_at_once); returns as [`send_soon`](Self::send_soon).
    #[inline(always)]
    pub(crate) fn complete(
        &mut self,
        bytes: impl Payload,
        mut sent: Sent,
    ) -> Option<io::Result<()>> {
        let is_sent = !self.has_given_up(sent) || {
            sent = if self.prepare_to_send(bytes.len()) {
                Thread::with(|known| self.send_longer(bytes, known))
            } else {
                Sent::Not
            };
            !self.has_given_up(sent)
        };
        match sent {
            _ if !is_sent => None,
            Sent::Quietly => Some(Ok(())),
            // Where the last receiver turns out to have gone, the slow path says so.
            sent => self
                .after_send(sent)
                .map(|told| told.then_some(()))
                .transpose(),
        }
    }

    /// Whether nothing was sent; releases the lock where that was left to others.
    #[inline(always)]
    fn has_given_up(&self, sent: Sent) -> bool {
        if sent == Sent::ContendedAndNot {
            self.end.control().tx.lock.release_contended();
        }
        matches!(sent, Sent::Not | Sent::ContendedAndNot)
    }

    /// What the fast path has left to do after it has sent; false where the last receiver turns out to have gone.
    ///
    /// # Errors
    ///
    /// What waking the receivers reports.
    #[cold]
    fn after_send(&mut self, sent: Sent) -> io::Result<bool> {
        let view = tx::View::new(&self.end);
        let control = view.writer.control;
        match sent {
            Sent::Contended => {
                control.tx.lock.release_contended();
                fence_after_swap();
            }
            Sent::ToBeLookedAfter if !control.data.is_armed() => {
                let is_there = view.goes_on(&mut self.life_line);
                // A hang-up that a close of our side has made says nothing of receivers, and comes behind this message.
                let is_closed = self.end.closing.is_closed();
                return Ok(is_there || !self.life_line.is_seen_gone() || is_closed);
            }
            _ => {}
        }
        if !control.data.is_armed() {
            return Ok(true);
        }
        if self.life_line.is_due() {
            view.note_where_and_when();
        }
        self.ring_after_send()
    }

    /// Before the slow path: whether the fast one can go now, after what it leaves to others.
    ///
    /// It notes the length for observers, and looks for room.
    #[inline(never)]
    fn prepare_to_send(&mut self, len: usize) -> bool {
        let view = tx::View::new(&self.end);
        let is_short = len <= self.noted.len || view.note_length(&mut self.noted, len);
        is_short && self.fate == Fate::Open && view.look_for_room(span_of(len))
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

/// Marks a way out that is not the usual one, so that this one comes first.
#[inline(always)]
fn apart(sent: Sent) -> Sent {
    cold_path();
    sent
}

impl Sent {
    /// Nothing was sent; the lock was had for nothing.
    #[inline(always)]
    fn given_up(guard: Guard<'_>) -> Self {
        if guard.release_at_once() {
            Self::Not
        } else {
            Self::ContendedAndNot
        }
    }
}

impl Rx {
    /// Receives a short message into `to` if there is one, it fits, and it is for this end. Returns the length, of which
    /// all is initialised then. Calls nothing.
    #[inline(always)]
    pub(crate) fn recv_at_once(&mut self, to: &mut [MaybeUninit<u8>]) -> Option<usize> {
        let end = &*self.end;
        let control = end.control();
        if self.fate != Fate::Open || end.closing.is_closed() {
            return None;
        }
        let (next, record) = Reader::peek_short(control, &end.storage, end.short_max())?;
        if control.rx.custody.state.load(Ordering::Relaxed) != message::WHOLE {
            return None;
        }
        let len = next.header.len;
        // What is due after so many bytes (`take::verify_now_and_then`) is for the long way.
        if len > to.len() || next.at.wrapping_sub(self.verified) > end.rules.capacity() {
            return None;
        }
        // SAFETY: `to` is long enough; nothing over `short_max`, an eighth of the ring at most, is peeked.
        unsafe { record.copy_out(to.as_mut_ptr().cast(), len) };
        if !reader::take(control, next) {
            return None;
        }
        self.stream.found();
        if is_to_be_settled(control, end.rules, next.end()) {
            return self.settled(len);
        }
        Some(len)
    }

    /// As [`recv_at_once`](Self::recv_at_once), for a message of any length; looks for it for a moment if the call
    /// `may_wait` and looking can pay.
    #[inline(never)]
    pub(crate) fn recv_soon(
        &mut self,
        to: &mut [MaybeUninit<u8>],
        may_wait: bool,
    ) -> Option<usize> {
        if !self.reader().has_record()
            && (!may_wait || !self.spinner.may_look() || !self.look_for_a_moment())
        {
            return None;
        }
        match self.recv_at_once(to) {
            None => self.recv_longer(to),
            received => received,
        }
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

    /// Receives a message that several receivers must not copy at a time, under the lock.
    #[inline(never)]
    fn recv_longer(&mut self, to: &mut [MaybeUninit<u8>]) -> Option<usize> {
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
        let is_due = next.at.wrapping_sub(self.verified) > reader.rules.capacity();
        if len <= CONTENDED_MAX || len > to.len() || is_due {
            return None;
        }
        let guard = control.rx.lock.lock_at_once()?;
        // SAFETY: just peeked, and `to` is long enough.
        unsafe { reader.copy_out(next, false, to.as_mut_ptr().cast()) };
        if !reader.take(next) {
            return None;
        }
        drop(guard);
        self.stream.found();
        self.stream.took(len);
        self.settle_at_once(next.end());
        Some(len)
    }

    /// After records up to `read` were taken: gives their room back when it is time to, and rings for those
    /// who wait.
    #[inline(always)]
    pub(super) fn settle_at_once(&self, read: u64) {
        if is_to_be_settled(self.end.control(), self.end.rules, read) {
            self.give_room_back();
        }
    }

    /// As [`settle_at_once`](Self::settle_at_once), where there is something to do; for a message of `len` bytes.
    #[cold]
    fn settled(&self, len: usize) -> Option<usize> {
        self.give_room_back();
        Some(len)
    }

    #[cold]
    fn give_room_back(&self) {
        // As in `View::settle`.
        let _ = View::new(&self.end).give_room_back(false);
    }
}

/// After records up to `read` were taken: whether it is time to give their room back, or somebody waits for it.
#[inline(always)]
fn is_to_be_settled(control: &Control, rules: Rules, read: u64) -> bool {
    let unpublished = read.wrapping_sub(control.head.load(Ordering::Relaxed));
    // Between giving room by `take` and looking whether anybody waits for it.
    fence_after_swap();
    unpublished >= View::lazy_room(rules) || control.room.is_armed()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::pair;
    use super::*;
    use crate::backend::{Rx as _, Tx as _};
    use crate::ring::destination::Destination;
    use crate::segment::geometry::Wanted;
    use crate::sys::clock::Patience;
    use crate::wait::spin::Spin;

    #[test]
    fn no_lines_are_claimed_where_another_one_writes_in_place() {
        let (mut rx, mut tx) = pair(Wanted::plain(65_536), Spin::default()).unwrap();
        let mut other = tx.try_clone().unwrap();
        let message: Vec<u8> = (0..500).map(|at| at as u8 | 1).collect();
        let loan = other.reserve(500, Patience::Never).unwrap().unwrap();
        other.reserved(loan).write_at(0, &message);
        // What is left of a send that was through with its record before.
        let sent = tx.claim_ahead();
        assert!(matches!(sent, Sent::Quietly | Sent::ToBeLookedAfter));
        other.commit(loan).unwrap();
        let mut received = Vec::new();
        let into = Destination::Buffer(&mut received);
        assert_eq!(rx.recv(into, Patience::Never).ok(), Some(500));
        assert!(received == message);
    }
}
