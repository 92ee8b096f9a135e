//! Sending a long message in steps, none of which waits: for tasks, which own no lock between two polls.
//!
//! The first step reserves the senders' side (`ring::reservation`) and publishes as many fragments as there is room for. Each
//! later step finds the reservation and goes on. The lock is held for one step only, so its mark shows no death between
//! two steps. The reservation does.

use super::tx::{Tx, View};
use crate::backend::Progress;
use crate::error::Fault;
use crate::ring::record::{LAST, PREFIX, span_of};
use crate::ring::reservation::{Reservation, not_the_owner};
use crate::sys::clock::Timeout;
use crate::wait::life_line::LifeLine;

impl Tx {
    /// Sends more of `bytes`, a message that does not fit one record.
    ///
    /// # Errors
    ///
    /// [`Fault::NotNow`] while there is more to send. After any other one the message has been taken back.
    pub(crate) fn send_step(&mut self, bytes: &[u8], progress: &mut Progress) -> Result<(), Fault> {
        self.fate.check(&self.end.closing)?;
        let outcome = if progress.has_begun {
            self.go_on(bytes, progress)
        } else {
            self.begin(bytes, progress)
        };
        self.may_have_reserved |= progress.has_begun;
        if !matches!(outcome, Err(Fault::NotNow)) {
            *progress = Progress::default();
            self.take_back();
        }
        self.seal(outcome)
    }

    /// Takes the message in steps of this end back, if there is one.
    pub(crate) fn take_back(&mut self) {
        if self.may_have_reserved {
            self.give_back();
        }
    }

    fn begin(&mut self, bytes: &[u8], progress: &mut Progress) -> Result<(), Fault> {
        if bytes.len() > self.noted.len {
            View::new(&self.end).note_length(&mut self.noted, bytes.len());
        }
        let (id, fragment_max) = (self.id, self.end.rules.fragment_max());
        self.when_there_is_room(span_of(fragment_max), Timeout::Never, |view, _, _| {
            let writer = view.writer;
            let flags = writer.opening_flags();
            Reservation::of_tx(writer.control).take_to_send(id)?;
            let (first, _) = bytes.split_at(fragment_max - PREFIX);
            writer.publish(Some(bytes.len() as u64), first, flags);
            *progress = Progress {
                has_begun: true,
                sent: first.len(),
                ..Progress::default()
            };
            let rung = view.ring();
            Reservation::of_tx(writer.control).has_stepped();
            Ok(rung?)
        })?;
        self.go_on(bytes, progress)
    }

    fn go_on(&mut self, bytes: &[u8], progress: &mut Progress) -> Result<(), Fault> {
        let Self {
            end, life_line, id, ..
        } = self;
        let view = View::new(end);
        // No other thread has the lock for longer than a short section while the side is reserved.
        let guard = view.writer.control.tx.lock.lock(Timeout::closing())?;
        view.make_good(guard.owner_died())?;
        end.closing.check()?;
        let reservation = Reservation::of_tx(view.writer.control);
        if !reservation.step(*id) {
            return Err(not_the_owner("message"));
        }
        let outcome = fill(view, life_line, bytes, progress);
        view.show_readiness_if_watched();
        if reservation.is_our_message(*id) {
            reservation.has_stepped();
        }
        outcome
    }
}

/// Publishes fragments while there is room, a ring's worth at most, so that a fast receiver keeps no other task waiting.
fn fill(
    view: View<'_>,
    life_line: &mut LifeLine,
    bytes: &[u8],
    progress: &mut Progress,
) -> Result<(), Fault> {
    let writer = view.writer;
    let fragment_max = writer.rules.fragment_max();
    let until = progress
        .sent
        .saturating_add(writer.rules.capacity() as usize);
    while progress.sent < until {
        let (_, rest) = bytes.split_at(progress.sent.min(bytes.len()));
        let (fragment, after) = rest.split_at(fragment_max.min(rest.len()));
        let need = span_of(fragment.len());
        if !writer.has_room(need)? && !writer.has_room_exactly(need)? {
            break;
        }
        let is_last = after.is_empty();
        writer.publish(None, fragment, if is_last { LAST } else { 0 });
        progress.sent += fragment.len();
        if is_last {
            Reservation::of_tx(writer.control).message_is_whole();
            return view.ring().map_err(Fault::NotWoken);
        }
        view.ring()?;
    }
    if view.is_disconnected(life_line)? {
        return Err(Fault::Disconnected);
    }
    Err(Fault::NotNow)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::backend::Rx as _;
    use crate::ring::payload::Destination;
    use crate::segment::geometry::Wanted;
    use crate::segment::layout::message;
    use crate::wait::backoff::Spin;

    const LEN: usize = 100_000;

    #[test]
    fn the_death_of_another_sender_ends_no_message_in_steps() {
        let (mut rx, mut tx) = super::super::pair(Wanted::plain(65_536), Spin::default()).unwrap();
        let mut received = Vec::new();
        let bytes: Vec<u8> = (0..LEN).map(|at| (at % 251) as u8).collect();
        let mut progress = Progress::default();
        let mut others_die = true;
        loop {
            match tx.send_step(&bytes, &mut progress) {
                Ok(()) => break,
                outcome => assert!(matches!(outcome, Err(Fault::NotNow)), "it was cut short"),
            }
            let into = Destination::Buffer(&mut received);
            assert!(matches!(rx.recv(into, Timeout::Never), Err(Fault::NotNow)));
            if std::mem::take(&mut others_die) {
                // The kernel marks the lock when the thread is gone.
                let end = std::sync::Arc::clone(&tx.end);
                let other = std::thread::spawn(move || {
                    let lock = &end.control().tx.lock;
                    std::mem::forget(lock.lock(Timeout::FOREVER).unwrap());
                });
                other.join().unwrap();
                while !tx.end.control().tx.lock.owner_has_died() {
                    std::thread::yield_now();
                }
                let into = Destination::Buffer(&mut received);
                assert!(matches!(rx.recv(into, Timeout::Never), Err(Fault::NotNow)));
            }
        }
        assert!(!others_die, "it fits the pipe");
        let into = Destination::Buffer(&mut received);
        assert_eq!(rx.recv(into, Timeout::FOREVER).ok(), Some(LEN));
        assert!(received == bytes);
    }

    #[test]
    fn a_message_in_steps_that_is_taken_back_is_counted_once() {
        let (_rx, mut tx) = super::super::pair(Wanted::plain(65_536), Spin::default()).unwrap();
        let mut progress = Progress::default();
        let bytes = vec![7; LEN];
        assert!(tx.send_step(&bytes, &mut progress).is_err());
        let reservation = Reservation::of_tx(tx.end.control());
        assert!(progress.has_begun && reservation.is_our_message(tx.id));
        assert_eq!(reservation.left_to_receivers(true), message::SENDING);
        tx.give_back();
        let control = tx.end.control();
        let left = Reservation::of_tx(control).left_to_receivers(false);
        assert_eq!(left, message::WITHDRAWN);
        let aborted = control
            .tx_counters
            .aborted
            .load(crate::sync::Ordering::Relaxed);
        assert_eq!(aborted, 1);
    }
}
