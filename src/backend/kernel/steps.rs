//! Sending a long message in steps, none of which waits, as `backend::shm::steps` does.
//!
//! The frame that a step leaves torn is what [`in_flight`](super::page::TxSide) says, so one who takes its owner for
//! dead, or finds the message taken back, fills it up as after a death under the lock.

use std::io::IoSlice;

use super::frame::{ATOMIC_PAYLOAD, EDGE, Header, Kind, fragment_payload};
use super::page;
use super::tx::{Side, Tx, note_what_was_left};
use crate::backend::Progress;
use crate::error::Fault;
use crate::ring::reservation::not_the_owner;
use crate::sync::Ordering;
use crate::sys::clock::Timeout;

impl Tx {
    /// Sends more of `bytes`, a message that does not fit an atomic frame.
    ///
    /// # Errors
    ///
    /// [`Fault::NotNow`] while there is more to send. After any other one the message has been taken back.
    pub(crate) fn send_step(&mut self, bytes: &[u8], progress: &mut Progress) -> Result<(), Fault> {
        self.fate.check(&self.end.closing)?;
        let outcome = self.step(bytes, progress);
        self.may_have_reserved |= progress.has_begun;
        if !matches!(outcome, Err(Fault::NotNow)) {
            *progress = Progress::default();
            self.take_back();
        }
        self.fate.seal(&self.end.closing, outcome)
    }

    fn step(&self, bytes: &[u8], progress: &mut Progress) -> Result<(), Fault> {
        let side = Side {
            end: &self.end,
            timeout: Timeout::Never,
        };
        let shared = self.end.page.shared();
        let (tx, counters) = (&shared.tx, &shared.tx_counters);
        let _guard = side.lock()?;
        if !progress.has_begun {
            if side.owner_but(self.id)?.is_some() {
                return Err(Fault::NotNow);
            }
            side.make_good()?;
            counters.note_length(bytes.len());
            tx.reservation().take_to_send(self.id)?;
            let header = Header {
                kind: Kind::First,
                len: bytes.len() as u64,
            };
            match side.write_atomic(header, &[]) {
                Ok(true) => progress.has_begun = true,
                Ok(false) => {
                    tx.reservation().message_is_whole();
                    return Err(Fault::NotNow);
                }
                Err(fault) => {
                    tx.reservation().message_is_whole();
                    return Err(fault);
                }
            }
        } else if !tx.reservation().step(self.id) {
            return Err(not_the_owner("message"));
        }
        if let Err(fault) = side.write_what_fits(bytes, progress) {
            tx.reservation().has_stepped();
            return Err(fault);
        }
        tx.reservation().message_is_whole();
        page::count(&tx.totals, counters, bytes.len());
        Ok(())
    }

    /// Takes the message in steps of this end back, if there is one.
    pub(crate) fn take_back(&mut self) {
        if !std::mem::take(&mut self.may_have_reserved) {
            return;
        }
        let shared = self.end.page.shared();
        let reservation = shared.tx.reservation();
        if !reservation.is_our_message(self.id) {
            return;
        }
        shared.tx_counters.count_aborted();
        // Before the lock, so that who cannot have it keeps nobody out.
        reservation.let_go();
        self.tidy_up();
    }

    /// Removes the note of an end that has let go, unless somebody was faster.
    fn tidy_up(&self) {
        let tx = &self.end.page.shared().tx;
        if let Ok(_guard) = tx.lock.lock(Timeout::closing()) {
            note_what_was_left(&self.end);
            tx.reservation().tidy_up();
        }
    }
}

impl Side<'_> {
    /// Writes frames while there is room, a pipe's worth at most, so that a fast receiver keeps no other task waiting.
    fn write_what_fits(self, bytes: &[u8], progress: &mut Progress) -> Result<(), Fault> {
        let capacity = self.end.capacity();
        let until = progress.sent.saturating_add(capacity);
        let (body, last) = bytes.split_at(bytes.len() - ATOMIC_PAYLOAD);
        while progress.sent < body.len() {
            if progress.sent >= until {
                return Err(Fault::NotNow);
            }
            if progress.fragment == 0 {
                progress.fragment = fragment_payload(capacity).min(body.len() - progress.sent);
                progress.written = 0;
            }
            self.write_fragment(&body[progress.sent..][..progress.fragment], progress)?;
            progress.sent += progress.fragment;
            progress.fragment = 0;
        }
        let header = Header {
            kind: Kind::Last,
            len: last.len() as u64,
        };
        if self.write_atomic(header, last)? {
            Ok(())
        } else {
            Err(Fault::NotNow)
        }
    }

    /// Writes the rest of the frame that is under way, or as much of it as there is room for.
    fn write_fragment(self, payload: &[u8], progress: &mut Progress) -> Result<(), Fault> {
        let in_flight = &self.end.page.shared().tx.in_flight;
        let header = Header {
            kind: Kind::Fragment,
            len: payload.len() as u64,
        }
        .encode();
        let trailer = self.end.page.cookie().to_ne_bytes();
        let whole = payload.len() + 2 * EDGE;
        let mut slices = [
            IoSlice::new(&header),
            IoSlice::new(payload),
            IoSlice::new(&trailer),
        ];
        let mut slices = &mut slices[..];
        IoSlice::advance_slices(&mut slices, progress.written);
        while progress.written < whole {
            // Never less than what would be missing after a death here.
            in_flight.store((whole - progress.written) as u64, Ordering::Relaxed);
            let written = self.write(slices)?.ok_or(Fault::NotNow)?;
            IoSlice::advance_slices(&mut slices, written);
            progress.written += written;
        }
        in_flight.store(0, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::pair;
    use super::*;
    use crate::segment::geometry::Wanted;
    use crate::segment::layout::message;

    /// It came to the lock between the two steps of one that takes its message back.
    #[test]
    fn the_death_of_another_sender_is_noted_by_one_who_comes_to_tidy_up() {
        let (_rx, tx) = pair(Wanted::plain(65_536), true, None).unwrap();
        let end = std::sync::Arc::clone(&tx.end);
        let other = std::thread::spawn(move || {
            let sending = &end.page.shared().tx;
            std::mem::forget(sending.lock.lock(Timeout::FOREVER).unwrap());
            sending.state.store(message::OPEN, Ordering::Relaxed);
        });
        other.join().unwrap();
        let sending = &tx.end.page.shared().tx;
        while !sending.lock.owner_has_died() {
            std::thread::yield_now();
        }
        tx.tidy_up();
        assert_eq!(sending.state.load(Ordering::Relaxed), message::ORPHANED);
    }

    #[test]
    fn an_owner_that_has_gone_on_is_not_taken_for_stuck_any_more() {
        use crate::backend::{Rx as _, Tx as _};
        use crate::ring::payload::Destination;

        let (mut rx, mut tx) = pair(Wanted::plain(65_536), true, None).unwrap();
        rx.end.stuck.note(1);
        tx.end.stuck.note(1);
        tx.send(&[7; 3000], Timeout::FOREVER).unwrap();
        let mut message = Vec::new();
        let into = Destination::Buffer(&mut message);
        assert_eq!(rx.recv(into, Timeout::FOREVER).unwrap(), 3000);
        assert!(!rx.end.stuck.is_noted() && !tx.end.stuck.is_noted());
    }
}
