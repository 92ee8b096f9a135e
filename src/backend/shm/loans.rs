//! Loans: messages written and read where they lie in the ring.
//!
//! The end has its side reserved meanwhile (`ring::reservation`). A message of more than one record, or one that follows a
//! message that was cut short, cannot be lent. The caller then goes by way of private memory.

use super::rx::Rx;
use super::take::verify_now_and_then;
use super::tx::{self, Tx};
use super::view::View;
use crate::backend::Fate;
use crate::error::Fault;
use crate::ring::place::InRing;
use crate::ring::record::{HEADER, span_of};
use crate::ring::reservation::{Reservation, not_the_owner};
use crate::ring::state_word;
use crate::segment::layout::message;
use crate::sync::{Ordering, full_fence};
use crate::sys::clock::Timeout;

/// Where a record lies, or will lie.
#[derive(Clone, Copy)]
pub(crate) struct Loan {
    position: u64,
    len: usize,
}

impl Loan {
    /// Length of the payload in bytes.
    pub(crate) fn len(self) -> usize {
        self.len
    }
}

impl Tx {
    /// Reserves the side and room for a message of `len` bytes, and waits for both. `None` if it cannot be written in place.
    pub(crate) fn reserve(&mut self, len: usize, timeout: Timeout) -> Result<Option<Loan>, Fault> {
        self.fate.check(&self.end.closing)?;
        if len > self.end.rules.record_max() {
            return Ok(None);
        }
        if len > self.noted.len {
            tx::View::new(&self.end).note_length(&mut self.noted, len);
        }
        let id = self.id;
        let outcome = self.when_there_is_room(span_of(len), timeout, |view, _, _| {
            let control = view.writer.control;
            if state_word::state(&control.tx.state, Ordering::Relaxed) != message::WHOLE {
                return Ok(None);
            }
            let reservation = Reservation::of_tx(control);
            reservation.take(id)?;
            // What is written in place may not be committed.
            view.writer.unclaim();
            let position = control.tx.tail.load(Ordering::Relaxed);
            reservation.is_lent();
            Ok(Some(Loan { position, len }))
        });
        let outcome = self.seal(outcome);
        self.may_have_reserved |= matches!(outcome, Ok(Some(_)));
        outcome
    }

    /// The reserved bytes.
    pub(crate) fn reserved(&self, loan: Loan) -> InRing<'_> {
        let start = loan.position.wrapping_add(HEADER);
        InRing::new(&self.end.storage, start, loan.len)
    }

    /// Publishes what was written in place and ends the reservation.
    pub(crate) fn commit(&mut self, loan: Loan) -> Result<(), Fault> {
        let outcome = self.commit_open(loan);
        if outcome.is_err() {
            // Where the lock could not be taken, the reservation is still there.
            self.give_back();
        }
        self.may_have_reserved = false;
        self.seal(outcome)
    }

    fn commit_open(&mut self, loan: Loan) -> Result<(), Fault> {
        let _ended = self.end.ended_by_close();
        let view = tx::View::new(&self.end);
        let writer = view.writer;
        let reservation = Reservation::of_tx(writer.control);
        let guard = writer.control.tx.lock.lock(Timeout::FOREVER)?;
        if guard.owner_died() {
            writer.recover()?;
        }
        self.end.closing.check()?;
        if !reservation.is_ours(self.id) {
            return Err(not_the_owner("slot"));
        }
        if writer.control.tx.tail.load(Ordering::Relaxed) != loan.position {
            reservation.give_back();
            return Err(Fault::Corrupted);
        }
        let gone = view.is_disconnected_in_passing(&mut self.life_line);
        if !matches!(gone, Ok(false)) {
            reservation.give_back();
            gone?;
            return Err(Fault::Disconnected);
        }
        writer.publish_in_place(loan.position, loan.len);
        reservation.give_back();
        let rung = view.ring();
        view.show_readiness_if_watched();
        drop(guard);
        rung?;
        Ok(())
    }

    /// Gives back what is held, unsent.
    #[cold]
    pub(crate) fn give_back(&mut self) {
        self.may_have_reserved = false;
        let control = self.end.control();
        let reservation = Reservation::of_tx(control);
        if !reservation.is_ours(self.id) {
            return;
        }
        // Before the lock, so that who cannot have it keeps nobody out.
        reservation.let_go();
        let Ok(guard) = control.tx.lock.lock(Timeout::closing()) else {
            return;
        };
        let view = tx::View::new(&self.end);
        if view.make_good(guard.owner_died()).is_err() {
            return;
        }
        reservation.tidy_up();
        view.show_readiness_if_watched();
    }
}

impl Rx {
    /// Holds the side with the next message if that is there, and is one record that nobody else has; looks for
    /// it for a moment if the call `may_wait` and looking can pay.
    pub(crate) fn lend(&mut self, may_wait: bool) -> Option<Loan> {
        if self.reader().has_record() {
            self.stream.found();
        } else if !may_wait || !self.backoff.may_look() || !self.look_for_a_moment() {
            return None;
        }
        if self.fate != Fate::Open {
            return None;
        }
        let reader = self.reader();
        let guard = reader.control.rx.lock.lock_uncontended()?;
        if self.end.closing.is_closed() {
            return None;
        }
        if state_word::state(&reader.control.rx.reassembly.state, Ordering::Relaxed)
            != message::WHOLE
        {
            return None;
        }
        let next = reader.peek_whole()?;
        // What is wrong there is for the ordinary way to say.
        let mut verified = self.verified;
        verify_now_and_then(View::new(&self.end), &mut verified, next).ok()?;
        let reservation = Reservation::of_rx(reader.control);
        reservation.take(self.id).ok()?;
        // After the note, so that whoever finds the mark of one who was killed finds whose it is.
        if !reader.mark(next) {
            reservation.give_back();
            return None;
        }
        reservation.is_lent();
        drop(guard);
        self.verified = verified;
        self.may_have_reserved = true;
        Some(Loan {
            position: next.at,
            len: next.header.len,
        })
    }

    /// The lent bytes.
    pub(crate) fn lent(&self, loan: Loan) -> InRing<'_> {
        let start = loan.position.wrapping_add(HEADER);
        InRing::new(&self.end.storage, start, loan.len)
    }

    /// Whether the message is still lent; for a forked copy, by whoever keeps it. What was copied before was the message
    /// if so.
    pub(crate) fn is_lent(&self, loan: Loan) -> bool {
        // The copies come before the look.
        full_fence();
        self.reader().is_marked(loan.position)
    }

    /// Takes the lent message out of the ring and gives the side back.
    pub(crate) fn done(&mut self, loan: Loan) {
        self.give_reservation_back(Some(loan));
    }

    /// Gives the side back, and the lent message stays.
    pub(crate) fn put_back(&mut self) {
        self.give_reservation_back(None);
    }

    /// Gives the side back; the lent message stays in the ring unless it is named.
    pub(super) fn give_reservation_back(&mut self, taken: Option<Loan>) {
        self.may_have_reserved = false;
        let view = View::new(&self.end);
        let reader = view.reader;
        let reservation = Reservation::of_rx(reader.control);
        if !reservation.is_ours(self.id) {
            return;
        }
        // Before the lock, so that who cannot have it has received the message all the same, and once, and keeps nobody
        // out.
        if let Some(loan) = taken {
            // In a ring that a liar has moved it stays as it is.
            let _ = reader.take_marked(loan.position, span_of(loan.len));
        }
        reservation.let_go();
        let Ok(_guard) = reader.control.rx.lock.lock(Timeout::closing()) else {
            self.settle_fast(reader.position());
            return;
        };
        reservation.tidy_up();
        view.settle();
    }
}
