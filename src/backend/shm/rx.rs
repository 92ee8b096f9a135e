//! Receiving through shared memory.

use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::End;
use super::fragments::{self, Attempt};
use super::take::{self, take};
use super::view::View;
use crate::backend::deadlock::DeadlockCheck;
use crate::backend::{self, Fate};
use crate::error::Fault;
use crate::ring::owner;
use crate::ring::payload::Destination;
use crate::ring::reader::{Extent, Growth};
use crate::ring::reassembly::{Session, Turn};
use crate::ring::reservation::{self, Reservation};
use crate::segment::layout::message;
use crate::sys::clock::Timeout;
use crate::sys::holders::Opposite;
use crate::wait::backoff::{Backoff, Spin};
use crate::wait::life_line::LifeLine;
use crate::wait::sleep::{Wait, Woken};
use crate::wait::stream::Stream;

/// How often a receiver inside a message looks whether the message's sender has died while others keep
/// the pipe open, where the sender's process cannot be watched.
const SENDER_LOOK: Duration = Duration::from_millis(20);

/// One handle to the receiving side.
pub(crate) struct Rx {
    pub(super) end: Arc<End>,
    pub(super) life_line: LifeLine,
    pub(super) backoff: Backoff,
    pub(super) fate: Fate,
    /// Identifies this handle among those of its process.
    pub(super) id: u64,
    /// Position up to which this handle has checked that senders wrote what is there.
    pub(super) verified: u64,
    pub(super) stream: Stream,
    /// Whether this handle may still have the side reserved, for a message that it has lent.
    pub(super) may_have_reserved: bool,
}

impl Rx {
    pub(super) fn new(end: Arc<End>) -> Self {
        let backoff = Backoff::new(end.spin);
        let verified = View::new(&end).reader.position();
        Self {
            end,
            life_line: LifeLine::default(),
            backoff,
            fate: Fate::Open,
            id: reservation::new_end(),
            verified,
            stream: Stream::default(),
            may_have_reserved: false,
        }
    }

    /// How this handle waits from now on.
    pub(crate) fn choose_spin(&mut self, spin: Spin) {
        self.backoff.choose(spin);
    }

    fn recv_open(&mut self, into: &mut Destination<'_>, timeout: Timeout) -> Result<usize, Fault> {
        let Self {
            end,
            life_line,
            backoff,
            id,
            verified,
            ..
        } = self;
        let mut call = Call::new(end, life_line, backoff, *id, timeout);
        let mut session = None;
        let outcome = call.recv(&mut session, verified, into);
        if outcome.is_err() {
            if let Some(session) = &mut session {
                session.keep(into);
            }
        }
        outcome
    }

    fn poll_open(&mut self, timeout: Timeout) -> Result<bool, Fault> {
        let Self {
            end,
            life_line,
            backoff,
            id,
            ..
        } = self;
        Call::new(end, life_line, backoff, *id, timeout).poll()
    }
}

/// One call that may have to wait.
struct Call<'a> {
    view: View<'a>,
    life_line: &'a mut LifeLine,
    backoff: &'a mut Backoff,
    /// The handle's.
    id: u64,
    timeout: Timeout,
    wait: Wait<'a>,
    woken: Woken,
    look_after: Duration,
    deadlock_check: DeadlockCheck,
    /// Whether sleeps end with the sender's process too, because a message is there that is not whole.
    is_after_sender: bool,
}

impl<'a> Call<'a> {
    fn new(
        end: &'a End,
        life_line: &'a mut LifeLine,
        backoff: &'a mut Backoff,
        id: u64,
        timeout: Timeout,
    ) -> Self {
        Self {
            view: View::new(end),
            life_line,
            backoff,
            id,
            timeout,
            wait: Wait::new(timeout.deadline()),
            woken: Woken::Look,
            look_after: owner::FIRST_LOOK,
            deadlock_check: DeadlockCheck::new(end.segment.geometry().flags(), timeout),
            is_after_sender: false,
        }
    }

    /// Receives one message. A session that is left behind is inside a message of which fragments may lie in the
    /// caller's slice.
    fn recv(
        &mut self,
        session: &mut Option<Session<'a, ()>>,
        verified: &mut u64,
        into: &mut Destination<'_>,
    ) -> Result<usize, Fault> {
        let view = self.view;
        let mut has_looked_again = false;
        // A message that fits the ring is left there until it is whole, except by a call that waits without limit.
        let mut streams = self.timeout == Timeout::FOREVER;
        loop {
            view.end.closing.check()?;
            let current = match session {
                Some(current) => current,
                None => match self.begin(into)? {
                    Begun::Session(begun) => session.insert(begun),
                    Begun::Received(len) => return Ok(len),
                    Begun::LookAgain => continue,
                },
            };
            if self.wait.settle(view.place) {
                view.reader.note_fill();
            }
            let growing = match take(view, current, verified, into, streams)? {
                Attempt::Received(len) => return Ok(len),
                Attempt::Enough => {
                    view.reader.check_written()?;
                    if self.timeout.is_over() {
                        return Err(Fault::NotNow);
                    }
                    continue;
                }
                Attempt::Growing(growth) => Some(growth),
                Attempt::Empty => None,
            };
            view.settle_empty()?;
            if self.woken == Woken::HungUp {
                self.life_line.note_disconnected();
            }
            let is_inside = current.is_open() || growing.is_some();
            let gone = self.is_disconnected()?;
            let left = is_inside.then(|| view.left_unfinished()).flatten();
            if gone || left.is_some() {
                let is_there = match growing {
                    Some(growth) => view.reader.has_grown(growth),
                    None => view.reader.peek()?.is_some(),
                };
                if is_there || growing.is_some() {
                    // Sent between the look at the ring and the looks after it. Honest senders do that
                    // once. What will not get whole any more is taken as it is.
                    streams = true;
                    if has_looked_again && self.timeout.is_over() {
                        return Err(Fault::NotNow);
                    }
                    has_looked_again = true;
                    continue;
                }
                if gone {
                    return Err(current.end_of_file(view.reassembly(), view.senders_state()));
                }
                current.close(view.reassembly());
                self.wait.restart();
                self.deadlock_check.forget();
                streams = self.timeout == Timeout::FOREVER;
                if left == Some(message::ORPHANED) {
                    return Err(Fault::Aborted);
                }
            }
            if self.timeout.is_over() {
                return Err(Fault::NotNow);
            }
            self.rest(session, growing)?;
        }
    }

    fn poll(&mut self) -> Result<bool, Fault> {
        let view = self.view;
        loop {
            let mut session = match view.session(self.timeout) {
                Err(Fault::NotNow) if take::is_there_without_lock(view)? == Some(true) => {
                    return Ok(true);
                }
                outcome => outcome?,
            };
            self.wait.settle(view.place);
            if let Some(owner) = Reservation::of_rx(view.reader.control).owner_but(self.id)? {
                self.wait_for_reservation(owner, session)?;
                continue;
            }
            match session.take_turn(|| view.is_untaken())? {
                Turn::Ours => {}
                Turn::Lost => return Ok(true),
                Turn::Held(owner) => {
                    if view.is_at_end_for_others(self.life_line)? || view.reader.has_first()? {
                        return Ok(true);
                    }
                    self.wait.step_aside();
                    session.wait_for(owner, self.timeout, &mut self.look_after)?;
                    continue;
                }
            }
            fragments::skip_residue(view)?;
            view.pass_over_withdrawn()?;
            if view.is_ready()? || self.woken == Woken::HungUp {
                return Ok(true);
            }
            view.settle_empty()?;
            let growing = match view.reader.peek()? {
                Some(next) if !session.is_open() => match view.reader.extent(next)? {
                    Extent::Growing(growth) => Some(growth),
                    _ => return Ok(true),
                },
                Some(_) => return Ok(true),
                None => None,
            };
            let is_inside = session.is_open() || growing.is_some();
            if self.is_disconnected()?
                || is_inside && view.left_unfinished() == Some(message::ORPHANED)
            {
                return Ok(true);
            }
            if self.timeout.is_over() {
                return Ok(false);
            }
            if self.deadlock_check.is_alone() {
                return Ok(true);
            }
            if session.is_open() {
                self.look_after_sender()?;
            }
            self.rest_without_lock(session, growing)?;
        }
    }

    /// Takes the lock and the turn.
    fn begin(&mut self, into: &mut Destination<'_>) -> Result<Begun<'a>, Fault> {
        let view = self.view;
        let mut session = match view.session(self.timeout) {
            Err(Fault::NotNow) => match take::take_without_lock(view, into)? {
                Some(len) => return Ok(Begun::Received(len)),
                None => view.session_in_a_moment(self.timeout)?,
            },
            outcome => outcome?,
        };
        self.wait.settle(view.place);
        if let Some(owner) = Reservation::of_rx(view.reader.control).owner_but(self.id)? {
            self.wait_for_reservation(owner, session)?;
            return Ok(Begun::LookAgain);
        }
        match session.take_turn(|| view.is_untaken())? {
            Turn::Ours => {}
            Turn::Lost => {
                view.reassembly().report_lost();
                return Err(Fault::Aborted);
            }
            Turn::Held(owner) => {
                if !fragments::take_over_if_cut_short(view)? {
                    if view.is_at_end_for_others(self.life_line)? {
                        return Err(Fault::Disconnected);
                    }
                    self.wait.step_aside();
                    session.wait_for(owner, self.timeout, &mut self.look_after)?;
                    return Ok(Begun::LookAgain);
                }
            }
        }
        Ok(Begun::Session(session))
    }

    fn wait_for_reservation(&mut self, owner: u32, session: Session<'_, ()>) -> Result<(), Fault> {
        self.wait.step_aside();
        let reservation = Reservation::of_rx(self.view.reader.control);
        reservation.wait_for(
            owner,
            session.into_guard(),
            self.timeout,
            &mut self.look_after,
        )
    }

    /// Whether no sender is left, as far as a call asks that is about to wait or has no time to wait.
    fn is_disconnected(&mut self) -> Result<bool, Fault> {
        let view = self.view;
        Ok(self
            .life_line
            .is_disconnected_by_close(view.place.event, view.end.socket())?
            || self.timeout.is_over() && view.is_disconnected(self.life_line)?)
    }

    fn look_after_sender(&mut self) -> Result<(), Fault> {
        let sender = self.view.reader.control.tx.sender.process();
        if !mem::replace(&mut self.is_after_sender, true) {
            // The process that deadlock detection watches.
            self.wait.watch(None);
            self.deadlock_check.forget();
        }
        Ok(self.wait.look_after(sender, SENDER_LOOK)?)
    }

    /// Waits once. A call that is inside a message keeps the lock.
    fn rest(
        &mut self,
        session: &mut Option<Session<'a, ()>>,
        growing: Option<Growth>,
    ) -> Result<(), Fault> {
        let view = self.view;
        if session.as_ref().is_some_and(|current| current.is_open()) {
            if !self.wait.will_sleep() {
                self.backoff.begin_at(view.reader.position());
            }
            self.look_after_sender()?;
            view.reassembly().set_waiting(true);
            let ready = || view.reader.has_record();
            self.woken = self.wait.step(view.place, None, self.backoff, ready)?;
            view.reassembly().set_waiting(false);
            return Ok(());
        }
        match session.take() {
            Some(session) if self.deadlock_check.is_alone() && growing.is_none() => {
                drop(session);
                Err(Fault::Deadlock)
            }
            Some(session) => self.rest_without_lock(session, growing),
            None => Ok(()),
        }
    }

    fn rest_without_lock(
        &mut self,
        session: Session<'a, ()>,
        growing: Option<Growth>,
    ) -> Result<(), Fault> {
        let view = self.view;
        if !self.wait.will_sleep() {
            self.backoff.begin_at(view.reader.position());
        }
        if self.is_after_sender && growing.is_none() && !session.is_open() {
            // The message has gone to another receiver, or was taken back.
            self.is_after_sender = false;
            self.wait.watch(None);
        }
        if growing.is_some() {
            self.look_after_sender()?;
        } else if self.wait.will_sleep() && self.deadlock_check.is_due() && !session.is_open() {
            drop(session);
            let opposite = view.end.opposite(|sides| sides.tx);
            self.wait.watch(self.deadlock_check.look(opposite)?);
            return Ok(());
        }
        let ready = || match growing {
            Some(growth) => view.reader.has_grown(growth),
            None => view.reader.has_record(),
        };
        let guard = Some(session.into_guard());
        self.woken = self.wait.step(view.place, guard, self.backoff, ready)?;
        self.deadlock_check.forget();
        Ok(())
    }
}

/// How a look under the lock began.
enum Begun<'a> {
    /// It is the caller's turn.
    Session(Session<'a, ()>),
    /// A message of this length was received without the lock.
    Received(usize),
    /// Others had the side.
    LookAgain,
}

impl backend::Rx for Rx {
    fn recv(&mut self, mut into: Destination<'_>, timeout: Timeout) -> Result<usize, Fault> {
        self.fate.check(&self.end.closing)?;
        let _ended = self.end.ended_by_close();
        let outcome = self.recv_open(&mut into, timeout);
        if let Ok(len) = outcome {
            self.stream.took(len);
        }
        if matches!(outcome, Err(Fault::Aborted)) {
            self.end.segment.control().rx_counters.count_aborted();
        }
        self.fate.seal(&self.end.closing, outcome)
    }

    fn poll(&mut self, timeout: Timeout) -> Result<bool, Fault> {
        self.fate.check(&self.end.closing)?;
        let _ended = self.end.ended_by_close();
        match self.poll_open(timeout) {
            Err(Fault::NotNow) if !self.end.closing.is_closed() => Ok(false),
            outcome => self.fate.seal(&self.end.closing, outcome),
        }
    }

    fn try_clone(&self) -> io::Result<Self> {
        self.end.closing.check()?;
        Ok(Self::new(Arc::clone(&self.end)))
    }

    fn to_fds(&self) -> io::Result<Vec<OwnedFd>> {
        self.end.to_fds()
    }

    fn opposite(&self) -> io::Result<Opposite> {
        Ok(self.end.opposite(|sides| sides.tx))
    }

    fn capacity(&self) -> usize {
        self.end.rules.capacity() as usize
    }
}

impl Drop for Rx {
    fn drop(&mut self) {
        if self.may_have_reserved {
            self.give_reservation_back(None);
        }
    }
}
