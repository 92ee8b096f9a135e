//! What poll(2) shows of an end: its side's socket is readable while there is something to do.
//!
//! No descriptor is added for that. The socket hangs up when the other side has no holder any more, and has tokens in it
//! (`wait::event`). For either side this always holds:
//!
//! > a token is in the socket, or `armed` is not 0.
//!
//! It holds at first, since a pipe is made with a token on each side. Only [`Event::drop_stale_tokens`] takes tokens out,
//! after `armed` was stored. A ringer clears `armed` only after it has sent the token (`wait::event` has the argument). So
//! a watched socket is never silent while there is something to do. Without a token `armed` is set, and the next change
//! sends one. A change before that was seen by the look between arming and taking tokens out. What is left is a change
//! whose maker died before it rang. Its call did not return, and the next change or the hang-up rings.
//!
//! It takes work to make the socket *not* readable while there is nothing to do. That is done only once somebody has asked
//! for the descriptor ([`state_word`]). Whoever leaves the side without a record, or without room for the longest one, then
//! arms, looks again, and takes stale tokens out, all under the side's lock. A later token from a ringer that was overtaken
//! is taken out by the next call that finds nothing.
//!
//! [`Event::drop_stale_tokens`]: crate::segment::layout::Event::drop_stale_tokens

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::poll::PollFlags;

use super::rx::Rx;
use super::tx::{self, Tx};
use super::{ancillary, fragments, take, view};
use crate::backend::{Look, Seen};
use crate::error::Fault;
use crate::ring::reassembly::Turn;
use crate::ring::record::span_of;
use crate::ring::reservation::Reservation;
use crate::ring::state_word;
use crate::segment::layout::message;
use crate::sync::full_fence;
use crate::sys::clock::{Deadline, Timeout};
use crate::sys::socket;
use crate::wait::event::ALL_TOKENS;
use crate::wait::life_line::LifeLine;
use crate::wait::sleep::Place;

/// Takes stale tokens out, after the caller armed with this number and found nothing. Under the lock. Costs one look where
/// there are none.
fn clear(place: Place<'_>, number: u32) -> io::Result<()> {
    let now = Deadline::after(Duration::ZERO);
    let found = socket::wait(place.socket, PollFlags::POLLIN, None, now)?;
    if found.ready && !found.hung_up {
        place
            .event
            .drop_stale_tokens(place.socket, number, ALL_TOKENS)?;
    }
    Ok(())
}

impl view::View<'_> {
    /// Whether somebody watches the receivers' side.
    #[inline]
    pub(super) fn is_watched(self) -> bool {
        state_word::is_watched(&self.reassembly().state)
    }

    /// Before an end that may not wait says that the pipe is empty: whether every sender is gone. One who watches
    /// had one event of the hang-up and has to find it.
    pub(super) fn is_disconnected(self, life_line: &mut LifeLine) -> io::Result<bool> {
        if self.is_watched() {
            life_line.look(self.place.event, self.end.socket())
        } else {
            life_line.is_disconnected(self.place.event, self.end.socket())
        }
    }

    /// Under the lock, after records were taken or none were found: if there is nothing to receive, takes tokens out.
    ///
    /// # Errors
    ///
    /// What poll(2) and recvfrom(2) report; the socket may then be readable for nothing. What is wrong with the ring is
    /// for the next receive to say, so the socket stays readable for it.
    #[cold]
    pub(super) fn show_readiness(self) -> io::Result<()> {
        if !matches!(self.is_ready(), Ok(false)) {
            return Ok(());
        }
        let number = self.place.event.arm(self.place.number);
        full_fence();
        if !matches!(self.is_ready(), Ok(false)) {
            return Ok(());
        }
        clear(self.place, number)
    }

    /// Before reporting an empty ring or sleeping: gives all room back.
    ///
    /// # Errors
    ///
    /// As [`Event::ring`](crate::segment::layout::Event::ring); likewise below.
    pub(super) fn settle_empty(self) -> Result<(), Fault> {
        self.reader.control.room.note_cpu();
        if self.reader.control.room.is_armed() || self.reader.unpublished() != 0 {
            self.give_room_back(true)?;
        }
        if self.end.ancillary.is_some() {
            ancillary::sweep(self)?;
        }
        if self.is_watched() {
            self.show_readiness()?;
        }
        Ok(())
    }
}

impl Rx {
    /// The descriptor to watch, after marking the side as watched.
    pub(crate) fn readiness_fd(&self) -> BorrowedFd<'_> {
        let view = view::View::new(&self.end);
        if state_word::set_watched(&view.reassembly().state) {
            if let Ok(_guard) = view.reader.control.rx.lock.lock(Timeout::Never) {
                // Else the next call that finds nothing does it.
                let _ = view.show_readiness();
            }
        }
        self.end.socket()
    }

    /// As [`readiness_fd`](Self::readiness_fd), by a descriptor that does not hold the side.
    ///
    /// # Errors
    ///
    /// Where it cannot be made, `EMFILE` above all.
    #[cfg(feature = "tokio")]
    pub(crate) fn watch_fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.end.closing.check()?;
        self.end.watch.of(self.readiness_fd())
    }

    /// The descriptor, for one wait and without the mark.
    pub(crate) fn descriptor(&self) -> (BorrowedFd<'_>, PollFlags) {
        (self.end.socket(), PollFlags::POLLIN)
    }

    /// Looks without waiting whether a receive would not block, and if it would, arms so that the socket becomes
    /// readable when that changes. It may be so already, by stale tokens: those are taken out when `seen` says
    /// that it is.
    ///
    /// # Errors
    ///
    /// `Io` as the operating system reports it; what else a receive would report at once.
    pub(crate) fn look(&mut self, seen: Seen) -> Result<Look, Fault> {
        self.fate.check(&self.end.closing)?;
        let Self {
            end, life_line, id, ..
        } = self;
        let view = view::View::new(end);
        let mut session = match view.session(Timeout::Never) {
            Err(Fault::NotNow) => {
                let is_there = take::is_there_without_lock(view)? == Some(true);
                return Ok(if is_there { Look::Ready } else { Look::Busy });
            }
            outcome => outcome?,
        };
        if Reservation::of_rx(view.reader.control)
            .owner_but(*id)?
            .is_some()
        {
            return Ok(Look::Busy);
        }
        match session.take_turn(|| view.is_untaken())? {
            Turn::Ours => {}
            Turn::Lost => return Ok(Look::Ready),
            Turn::Held(_) => {
                let is_ready = view.is_at_end_for_others(life_line)? || view.reader.has_first()?;
                return Ok(if is_ready { Look::Ready } else { Look::Busy });
            }
        }
        fragments::skip_residue(view)?;
        view.pass_over_withdrawn()?;
        if view.is_ready()? || seen == Seen::HungUp {
            return Ok(Look::Ready);
        }
        view.settle_empty()?;
        let is_inside = session.is_open() || view.reader.peek()?.is_some();
        if life_line.is_disconnected_by_close(view.place.event, end.socket())?
            || is_inside && view.left_unfinished() == Some(message::ORPHANED)
        {
            return Ok(Look::Ready);
        }
        let number = view.place.event.arm(view.place.number);
        full_fence();
        if view.is_ready()? {
            return Ok(Look::Ready);
        }
        if seen == Seen::Ready {
            clear(view.place, number)?;
        }
        Ok(if is_inside {
            Look::Inside
        } else {
            Look::NotYet
        })
    }
}

impl tx::View<'_> {
    /// As for a receiver.
    pub(super) fn is_disconnected(self, life_line: &mut LifeLine) -> io::Result<bool> {
        let event = &self.writer.control.room;
        if state_word::is_watched(&self.writer.control.tx.state) {
            life_line.look(event, self.end.socket())
        } else {
            life_line.is_disconnected(event, self.end.socket())
        }
    }

    /// Under the lock, after room was taken or was found wanting: where somebody watches the senders' side, takes
    /// tokens out unless there is room for the longest record. What is refused leaves the socket readable, so that
    /// one who watches calls in vain and gets the error.
    #[inline]
    pub(super) fn show_readiness_if_watched(self) {
        if state_word::is_watched(&self.writer.control.tx.state) {
            let _ = self.show_readiness();
        }
    }

    #[cold]
    fn show_readiness(self) -> Result<(), Fault> {
        if let Some(number) = self.arm_for_room()? {
            clear(self.place, number)?;
        }
        Ok(())
    }

    /// Arms unless there is room for the longest record.
    fn arm_for_room(self) -> Result<Option<u32>, Fault> {
        let writer = self.writer;
        let most = span_of(writer.rules.record_max());
        if writer.has_room(most)? || writer.has_room_exactly(most)? {
            return Ok(None);
        }
        self.place.event.set_wake_at(writer.enough_room_at());
        let number = self.place.event.arm(self.place.number);
        full_fence();
        Ok((!writer.has_room_exactly(most)?).then_some(number))
    }

    /// What the last owner of the lock left, if it died.
    pub(super) fn make_good(self, owner_died: bool) -> Result<(), Fault> {
        if owner_died {
            self.writer.recover()?;
            self.ring()?;
        }
        Ok(())
    }
}

impl Tx {
    /// As for a receiver.
    pub(crate) fn readiness_fd(&self) -> BorrowedFd<'_> {
        let view = tx::View::new(&self.end);
        let control = view.writer.control;
        if state_word::set_watched(&control.tx.state) {
            if let Ok(guard) = control.tx.lock.lock(Timeout::Never) {
                if view.make_good(guard.owner_died()).is_ok() {
                    view.show_readiness_if_watched();
                }
            }
        }
        self.end.socket()
    }

    /// As for a receiver.
    ///
    /// # Errors
    ///
    /// The errors of the receiver's call.
    #[cfg(feature = "tokio")]
    pub(crate) fn watch_fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.end.closing.check()?;
        self.end.watch.of(self.readiness_fd())
    }

    /// As for a receiver.
    pub(crate) fn descriptor(&self) -> (BorrowedFd<'_>, PollFlags) {
        (self.end.socket(), PollFlags::POLLIN)
    }

    /// The longest message for which there is room when the descriptor says so.
    pub(crate) fn ready_len(&self) -> usize {
        self.end.rules.fragment_max()
    }

    /// As for a receiver; ready is an end that has room for the longest record.
    ///
    /// # Errors
    ///
    /// The errors of the receiver's call.
    pub(crate) fn look(&mut self, seen: Seen) -> Result<Look, Fault> {
        self.fate.check(&self.end.closing)?;
        let Self {
            end, life_line, id, ..
        } = self;
        let view = tx::View::new(end);
        let control = view.writer.control;
        let guard = match control.tx.lock.lock(Timeout::Never) {
            Err(Fault::NotNow) => return Ok(Look::Busy),
            outcome => outcome?,
        };
        view.make_good(guard.owner_died())?;
        if seen == Seen::HungUp
            || life_line.is_disconnected_by_close(&control.room, end.socket())?
        {
            return Ok(Look::Ready);
        }
        if Reservation::of_tx(control).owner_but(*id)?.is_some() {
            return Ok(Look::Busy);
        }
        let Some(number) = view.arm_for_room()? else {
            return Ok(Look::Ready);
        };
        // Those who filled the ring may have died before they rang.
        view.ring()?;
        if seen == Seen::Ready {
            clear(view.place, number)?;
        }
        Ok(Look::NotYet)
    }
}
