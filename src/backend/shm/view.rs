//! What a receiver sees of its side: the ring, the place to sleep, and the notes of both sides.

use std::io;

use super::End;
use crate::error::Fault;
use crate::ring::contention::lock_in_a_moment;
use crate::ring::reader::{Extent, Reader};
use crate::ring::reassembly::Session;
use crate::ring::record::{FIRST, LAST, Rules};
use crate::ring::reservation::Reservation;
use crate::ring::state_word;
use crate::segment::layout::{BEGUN, SharedReassembly, message};
use crate::sync::{Ordering, full_fence};
use crate::sys::clock::Timeout;
use crate::wait::life_line::LifeLine;
use crate::wait::sleep::Place;

/// Room is given back at the latest when it is this fraction of the ring.
const LAZY_FRACTION: u64 = 8;

/// What a receiver sees of its side, apart from the handle's own state.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) end: &'a End,
    pub(super) reader: Reader<'a>,
    pub(super) place: Place<'a>,
}

impl<'a> View<'a> {
    #[inline]
    pub(super) fn new(end: &'a End) -> Self {
        let control = end.control();
        let reader = Reader {
            control,
            storage: &end.storage,
            rules: end.rules,
            message_max: end.message_max(),
        };
        let place = Place {
            event: &control.data,
            number: &control.rx.epoch,
            socket: end.socket(),
            counters: &control.rx_counters,
            poll_group: &end.poll_group,
        };
        Self { end, reader, place }
    }

    /// Takes the side lock, and what this process has of a message in fragments.
    ///
    /// # Errors
    ///
    /// [`Fault::NotNow`] when the time-out passed first.
    #[inline]
    pub(super) fn session(self, timeout: Timeout) -> Result<Session<'a, ()>, Fault> {
        let rx = &self.reader.control.rx;
        let guard = rx.lock.lock(timeout)?;
        self.end.stuck.clear();
        // Again, since it may have been closed before this was in the lock.
        self.end.closing.check()?;
        Session::new(guard, &rx.reassembly, &self.end.fragments)
    }

    /// As [`session`](Self::session), for a call that may not wait and has found the lock taken.
    ///
    /// # Errors
    ///
    /// As [`lock_in_a_moment`]; [`Fault::NotNow`] at once for a call whose time has passed.
    pub(super) fn session_in_a_moment(self, timeout: Timeout) -> Result<Session<'a, ()>, Fault> {
        if timeout != Timeout::Never {
            return Err(Fault::NotNow);
        }
        let rx = &self.reader.control.rx;
        let guard = lock_in_a_moment(&rx.lock, &self.end.stuck, || rx.reassembly.is_waited_in())?;
        self.end.closing.check()?;
        Session::new(guard, &rx.reassembly, &self.end.fragments)
    }

    #[inline]
    pub(super) fn reassembly(self) -> &'a SharedReassembly {
        &self.reader.control.rx.reassembly
    }

    /// For a receiver that an owner keeps out: whether nothing can come any more but what the owner has.
    pub(super) fn is_at_end_for_others(self, life_line: &mut LifeLine) -> Result<bool, Fault> {
        Ok(life_line.look(self.place.event, self.end.socket())? && self.reader.peek()?.is_none())
    }

    /// What the senders noted of their last message in fragments.
    pub(super) fn senders_state(self) -> u32 {
        // SYNC: sender-state. Whoever reads the note finds every fragment published before it.
        state_word::state(&self.reader.control.tx.state, Ordering::Acquire)
    }

    /// Whether nothing has been taken of the message that was begun last.
    pub(super) fn is_untaken(self) -> bool {
        let begun_at = self.reader.control.rx.begun_at.load(Ordering::Relaxed);
        begun_at != BEGUN && begun_at != self.reader.position()
    }

    /// Whether a receive would find something to do. Under the lock.
    pub(super) fn is_ready(self) -> Result<bool, Fault> {
        let shared_reassembly = self.reassembly();
        let Some(next) = self.reader.peek()? else {
            return Ok(matches!(
                shared_reassembly.state(),
                message::ORPHANED | message::LOST
            ));
        };
        let begins = next.header.flags & (FIRST | LAST) == FIRST;
        if !begins || !matches!(shared_reassembly.state(), message::WHOLE | message::RESIDUE) {
            return Ok(true);
        }
        Ok(match self.reader.extent(next)? {
            // The death of its sender is to be reported.
            Extent::Growing(_) => self.left_unfinished() == Some(message::ORPHANED),
            _ => true,
        })
    }

    /// Removes a message that its sender has taken back before it was whole, if nobody is inside it. Otherwise a receiver that
    /// only looks would keep its room from the senders for ever. Under the lock.
    pub(super) fn pass_over_withdrawn(self) -> Result<(), Fault> {
        let Some(next) = self.reader.peek()? else {
            return Ok(());
        };
        let begins = next.header.flags & (FIRST | LAST) == FIRST;
        // In this order: with the note all that its sender has published is seen.
        if begins
            && self.reassembly().state() == message::WHOLE
            && self.left_unfinished() == Some(message::WITHDRAWN)
        {
            if let Extent::Growing(growth) = self.reader.extent(next)? {
                if self.reader.pass_over(growth) {
                    self.settle();
                }
            }
        }
        Ok(())
    }

    /// For a receiver inside a message of which nothing more is in the ring: whether its sender has
    /// died or taken it back, `ORPHANED` or `WITHDRAWN`. The caller looks at the ring once more.
    pub(super) fn left_unfinished(self) -> Option<u32> {
        let owner_died = self.reader.control.tx.lock.owner_has_died();
        let left = Reservation::of_tx(self.reader.control).left_to_receivers(owner_died);
        Some(left).filter(|&state| state == message::ORPHANED || state == message::WITHDRAWN)
    }

    /// After records were taken: gives their room back when it is time to, and rings for it.
    #[inline]
    pub(super) fn settle(self) {
        let control = self.reader.control;
        // Between giving room by `take` and looking whether anybody waits for it: a sender that arms
        // after this look sees the room.
        full_fence();
        if control.room.is_armed() || self.is_time_to_give_room_back() {
            // A sender that cannot be woken stays marked as waiting; the error is reported when the ring
            // is empty, and not in place of the message that was taken.
            let _ = self.give_room_back(false);
        }
        if self.is_watched() {
            // One who watches in vain then looks once more, and reports the error.
            let _ = self.show_readiness();
        }
    }

    /// Whether so much has been received that senders should hear of it.
    #[inline]
    pub(super) fn is_time_to_give_room_back(self) -> bool {
        self.reader.unpublished() >= Self::lazy_room(self.reader.rules)
    }

    /// So much room may have been made that senders have not heard of.
    #[inline(always)]
    pub(super) fn lazy_room(rules: Rules) -> u64 {
        rules.capacity() / LAZY_FRACTION
    }

    pub(super) fn give_room_back(self, is_empty: bool) -> io::Result<()> {
        let read = self.reader.publish_head();
        self.reader
            .control
            .room
            .ring_for_room(self.end.socket(), read, is_empty)
    }
}
