//! The fast path of a send, from top to bottom.
//!
//! It sends a message of one record, where there is room and nobody has reserved the side. That is what a busy pipe does
//! all the time, in as few instructions as its promises allow. In any other case it gives up without having changed
//! anything, and the call takes the slow path (`super::tx`).
//!
//! # The steps, and what orders them
//!
//! 1. *What this end has noted*: that the message is short enough, and that no close was announced. Nothing is shared.
//! 2. *Take the senders' lock* by one compare-and-swap (`ring::lock`). Acquire: what the last owner wrote is seen, `tail`
//!    and the state among it (`SYNC: side-lock`). The thread has announced the lock to the kernel before. If it dies from
//!    here on, the next owner learns of it and looks at what was left (`Writer::recover`).
//! 3. *Room* ([`tail_with_room`]): by `tail` and `head_seen`, which are written under the lock, so relaxed. `head_seen`
//!    came from `head` by an Acquire load (`SYNC: publish-head`), so whatever receivers copied out of that room is done.
//! 4. *The state* is `WHOLE`: nobody is inside a message in fragments or has reserved the side. Also written under the
//!    lock.
//! 5. *Copy the payload* behind the tail, relaxed: no receiver looks there.
//! 6. *Publish* ([`publish`], `Writer::publish_header`). First the header behind the record becomes 0, since a receiver
//!    looks there when it has taken this record. Then the record's header is stored by Release (`SYNC: publish-record`),
//!    and whoever loads it by Acquire (`super::fast_recv`, step 3) sees the payload and the 0. Before that store nobody
//!    sees anything of the record, after it everybody sees all of it. So a sender that is killed leaves nothing or all.
//! 7. *Move the tail*, Release (`SYNC: count-records`). A sender killed between 6 and 7 leaves a tail that lags by one
//!    record, and the next owner walks on to the first 0.
//! 8. *Release the lock*, Release (`SYNC: side-lock`).
//! 9. *Fence, and look for sleepers.* The header was stored before `armed` is loaded. A receiver that falls asleep stores
//!    `armed`, fences, and looks at the header. The fences order each pair, so one of the two sees the other (`wait::event`).
//!    On x86_64 the release of the lock is a full barrier by itself.
//! 10. *Wake them* ([`Tx::complete`]), after the lock was released. A call that dies before that has not returned, so its
//!     message counts as not sent until the next sender rings. Whoever has to wait rings first.

use std::hint::assert_unchecked;
use std::io;

use super::tx::{self, Tx};
use crate::backend::Fate;
use crate::ring::lock::Guard;
use crate::ring::payload::Payload;
use crate::ring::record::{FIRST, Header, LAST, span_of};
use crate::ring::writer::Writer;
use crate::segment::layout::message;
use crate::sync::{Ordering, cold_path, fence_after_swap};
use crate::sys::thread::{Known, Thread};

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
    pub(crate) fn send_on_fast_path(&mut self, bytes: impl Payload, known: &Known) -> Sent {
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
        // A call that takes the slow path after this counts twice, which does no harm.
        known.note_sent();
        // Step 1.
        let is_noted = IS_SHORT || bytes.len() <= self.noted.len;
        if !is_noted || !self.life_line.is_as_it_was(&control.room) {
            return apart(Sent::Not);
        }
        // Step 2.
        let Some(guard) = control.tx.lock.lock_uncontended_as(known) else {
            return apart(Sent::Not);
        };
        // Step 3.
        let writer = end.writer_of(control);
        let Some(tail) = tail_with_room(writer, span_of(bytes.len())) else {
            return apart(Sent::given_up(guard));
        };
        // Step 4. Both in any case, which is one branch.
        let is_whole = control.tx.state.load(Ordering::Relaxed) == message::WHOLE;
        if !is_whole | end.closing.is_closed() {
            return apart(Sent::given_up(guard));
        }
        // Steps 5 to 7.
        // SAFETY: nothing is noted that is over `fragment_max`, and nothing short that is not noted.
        unsafe {
            publish(writer, tail, bytes, || {
                self.is_scarce = true;
                self.life_line.ask_next_time();
            });
        }
        // After a short message in passing, by a section of its own.
        if !IS_SHORT && self.is_scarce {
            self.is_scarce = false;
            writer.claim_after(span_of(bytes.len()));
        }
        // Step 8.
        if !guard.release_uncontended() {
            return apart(Sent::Contended);
        }
        // Step 9.
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
            if let Some(guard) = control.tx.lock.lock_uncontended() {
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

    /// As [`send_on_fast_path`](Self::send_on_fast_path), with all that the fast path leaves to others; `None` if nothing was sent, or
    /// if every receiver turned out to have died.
    ///
    /// # Errors
    ///
    /// What waking the receivers reports; the message is in the ring then.
    #[inline]
    pub(crate) fn send_soon(&mut self, bytes: impl Payload) -> Option<io::Result<()>> {
        let sent = Thread::with(|known| self.send_on_fast_path(bytes, known));
        self.complete(bytes, sent)
    }

    /// What is to do after [`send_on_fast_path`](Self::send_on_fast_path); returns as [`send_soon`](Self::send_soon).
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
            // Where no receiver turns out to be left, the slow path says so.
            sent => self
                .after_send(sent)
                .map(|rung| rung.then_some(()))
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

    /// What the fast path has left to do after it has sent; false where no receiver turns out to be left.
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
                return Ok(is_there || !self.life_line.is_seen_disconnected() || is_closed);
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

    /// Rings for the receivers. Returns whether there are any.
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

/// The tail, if the room that senders have seen so far is enough. `None` also for cursors that need a closer look.
#[inline(always)]
fn tail_with_room(writer: Writer<'_>, span: u64) -> Option<u64> {
    let tx = &writer.control.tx;
    let tail = tx.tail.load(Ordering::Relaxed);
    let used = tail.wrapping_sub(tx.head_seen.load(Ordering::Relaxed));
    // A record's span is at most an eighth of the ring, so this does not go below 0.
    let is_enough = tail % 8 == 0 && used <= writer.rules.room_max() - span;
    is_enough.then_some(tail)
}

/// Publishes a whole message as one record at `tail`, for which there is room. Calls `note_scarce` when it is time to
/// [claim](Writer::claim_ahead) more lines, which is not to be done before this returns.
///
/// # Safety
///
/// `payload` is no longer than [`Rules::fragment_max`](crate::ring::record::Rules::fragment_max).
#[inline(always)]
unsafe fn publish(
    writer: Writer<'_>,
    tail: u64,
    payload: impl Payload,
    note_scarce: impl FnOnce(),
) {
    let header = Header {
        len: payload.len(),
        flags: FIRST | LAST,
    };
    let record = writer.storage.record(tail);
    // SAFETY: a fragment and its header are an eighth of the ring at most.
    unsafe { payload.copy_to_record(writer.storage, tail, record) };
    writer.publish_header(tail, record, header, note_scarce);
    writer.count(tail.wrapping_add(header.span()), 1, header.len);
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
        if guard.release_uncontended() {
            Self::Not
        } else {
            Self::ContendedAndNot
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::pair;
    use super::*;
    use crate::backend::{Rx as _, Tx as _};
    use crate::ring::payload::Destination;
    use crate::segment::geometry::Wanted;
    use crate::sys::clock::Timeout;
    use crate::wait::backoff::Spin;

    #[test]
    fn no_lines_are_claimed_where_another_one_writes_in_place() {
        let (mut rx, mut tx) = pair(Wanted::plain(65_536), Spin::default()).unwrap();
        let mut other = tx.try_clone().unwrap();
        let message: Vec<u8> = (0..500).map(|at| at as u8 | 1).collect();
        let loan = other.reserve(500, Timeout::Never).unwrap().unwrap();
        other.reserved(loan).write_at(0, &message);
        // What is left of a send that was through with its record before.
        let sent = tx.claim_ahead();
        assert!(matches!(sent, Sent::Quietly | Sent::ToBeLookedAfter));
        other.commit(loan).unwrap();
        let mut received = Vec::new();
        let into = Destination::Buffer(&mut received);
        assert_eq!(rx.recv(into, Timeout::Never).ok(), Some(500));
        assert!(received == message);
    }
}
