//! Receiving through shared memory.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::take::{Attempt, take};
use super::view::View;
use super::{End, parts};
use crate::backend::lookout::Lookout;
use crate::backend::{self, Fate};
use crate::error::Fault;
use crate::ring::bearer;
use crate::ring::custody::{self, Partial, Turn};
use crate::ring::destination::Destination;
use crate::ring::hold::Hold;
use crate::ring::lock::Guard;
use crate::segment::layout::message;
use crate::sys::clock::Patience;
use crate::sys::holders::Opposite;
use crate::wait::life_line::LifeLine;
use crate::wait::sleep::{Wait, Woken};
use crate::wait::spin::Spinner;
use crate::wait::stream::Stream;

/// How often a receiver inside a message looks whether the message's sender has died while others keep
/// the pipe open, where the sender's process cannot be watched.
const SENDER_LOOK: Duration = Duration::from_millis(20);

/// One handle to the receiving side.
pub(crate) struct Rx {
    pub(super) end: Arc<End>,
    pub(super) life_line: LifeLine,
    pub(super) spinner: Spinner,
    pub(super) fate: Fate,
    /// The parts taken so far of a message that goes in parts.
    pub(super) partial: Partial,
    /// Position up to which was looked whether anybody wrote what is there.
    pub(super) verified: u64,
    pub(super) stream: Stream,
    /// Whether a message lent by this end may still hold the side.
    pub(super) may_hold: bool,
}

impl Rx {
    pub(super) fn new(end: Arc<End>) -> Self {
        let spinner = Spinner::new(end.spin);
        let verified = View::new(&end).reader.position();
        Self {
            end,
            life_line: LifeLine::default(),
            spinner,
            fate: Fate::Open,
            partial: Partial::new(),
            verified,
            stream: Stream::default(),
            may_hold: false,
        }
    }

    fn recv_open(
        &mut self,
        into: &mut Destination<'_>,
        patience: Patience,
    ) -> Result<usize, Fault> {
        let Self {
            end,
            life_line,
            spinner,
            partial,
            verified,
            ..
        } = self;
        let view = View::new(end);
        let mut wait = Wait::new(patience.deadline());
        let mut woken = Woken::Look;
        let mut look_after = bearer::FIRST_LOOK;
        let hold = Hold::of_rx(view.reader.control);
        let mut has_looked_again = false;
        let mut lookout = Lookout::new(end.segment.geometry().flags(), patience);
        // Kept from one look to the next only in the middle of a message.
        let mut kept: Option<Guard<'_>> = None;
        loop {
            let guard = match kept.take() {
                Some(guard) => guard,
                None => view.reader.control.rx.lock.lock(patience)?,
            };
            if wait.settle(view.place) {
                view.reader.note_fill();
            }
            if hold.is_held()
                && let Some(holder) = hold.holder_but(partial.id())?
            {
                wait.step_aside();
                hold.wait_for(holder, guard, patience, &mut look_after)?;
                continue;
            }
            if let Turn::Held(holder) = partial.take_turn(view.custody())? {
                if parts::take_over_if_cut_short(view)? {
                    kept = Some(guard);
                    continue;
                }
                if view.is_at_end_for_others(life_line)? {
                    return Err(Fault::Disconnected);
                }
                wait.step_aside();
                view.custody()
                    .wait_for(holder, guard, patience, &mut look_after)?;
                continue;
            }
            match take(view, partial, verified, into)? {
                Attempt::Received(len) => return Ok(len),
                Attempt::Enough => {
                    view.reader.check_written()?;
                    if patience.is_over() {
                        partial.let_go();
                        return Err(Fault::NotNow);
                    }
                    kept = Some(guard);
                    continue;
                }
                Attempt::Empty => {}
            }
            view.settle_empty()?;
            if woken == Woken::HungUp {
                life_line.note_gone();
            }
            let gone = life_line.is_gone_by_close(view.place.event, end.socket())?
                || patience.is_over() && view.is_gone(life_line)?;
            let left = if partial.is_open() {
                view.left_unfinished()
            } else {
                None
            };
            if gone || left.is_some() {
                if view.reader.peek()?.is_some() {
                    // Sent between the look at the ring and the looks after it. Honest senders do that
                    // once.
                    if has_looked_again && patience.is_over() {
                        partial.let_go();
                        return Err(Fault::NotNow);
                    }
                    has_looked_again = true;
                    kept = Some(guard);
                    continue;
                }
                if gone {
                    return Err(partial.end_of_file(view.custody(), view.senders_state()));
                }
                partial.close(view.custody());
                wait.restart();
                if left == Some(message::ORPHANED) {
                    return Err(Fault::Aborted);
                }
            }
            if patience.is_over() {
                partial.let_go();
                return Err(Fault::NotNow);
            }
            let ready = || view.reader.has_record();
            if !wait.will_sleep() {
                spinner.begin_at(view.reader.position());
            }
            if partial.is_open() {
                wait.look_after(view.reader.control.tx.sender.process(), SENDER_LOOK)?;
                woken = wait.step(view.place, None, spinner, ready)?;
                kept = Some(guard);
            } else {
                if wait.will_sleep() && lookout.is_due() {
                    drop(guard);
                    wait.watch(lookout.look(end.opposite(|sides| sides.tx))?);
                    continue;
                }
                if lookout.is_alone() {
                    return Err(Fault::Deadlock);
                }
                woken = wait.step(view.place, Some(guard), spinner, ready)?;
                lookout.forget();
            }
        }
    }

    fn poll_open(&mut self, patience: Patience) -> Result<bool, Fault> {
        let Self {
            end,
            life_line,
            spinner,
            partial,
            ..
        } = self;
        let view = View::new(end);
        let mut wait = Wait::new(patience.deadline());
        let mut woken = Woken::Look;
        let mut look_after = bearer::FIRST_LOOK;
        let mut lookout = Lookout::new(end.segment.geometry().flags(), patience);
        let hold = Hold::of_rx(view.reader.control);
        loop {
            let guard = view.reader.control.rx.lock.lock(patience)?;
            wait.settle(view.place);
            if hold.is_held()
                && let Some(holder) = hold.holder_but(partial.id())?
            {
                wait.step_aside();
                hold.wait_for(holder, guard, patience, &mut look_after)?;
                continue;
            }
            if let Turn::Held(holder) = partial.take_turn(view.custody())? {
                if view.is_at_end_for_others(life_line)? || view.reader.has_first()? {
                    return Ok(true);
                }
                wait.step_aside();
                view.custody()
                    .wait_for(holder, guard, patience, &mut look_after)?;
                continue;
            }
            parts::skip_orphaned(view)?;
            if view.reader.peek()?.is_some() || woken == Woken::HungUp {
                return Ok(true);
            }
            view.settle_empty()?;
            if life_line.is_gone_by_close(view.place.event, end.socket())?
                || patience.is_over() && life_line.look(view.place.event, end.socket())?
                || partial.is_open() && view.left_unfinished() == Some(message::ORPHANED)
            {
                return Ok(true);
            }
            if patience.is_over() {
                return Ok(false);
            }
            if partial.is_open() {
                wait.look_after(view.reader.control.tx.sender.process(), SENDER_LOOK)?;
            } else if wait.will_sleep() && lookout.is_due() {
                drop(guard);
                wait.watch(lookout.look(end.opposite(|sides| sides.tx))?);
                continue;
            } else if lookout.is_alone() {
                return Ok(true);
            }
            let ready = || view.reader.has_record();
            if !wait.will_sleep() {
                spinner.begin_at(view.reader.position());
            }
            woken = wait.step(view.place, Some(guard), spinner, ready)?;
            lookout.forget();
        }
    }
}

impl backend::Rx for Rx {
    fn recv(&mut self, mut into: Destination<'_>, patience: Patience) -> Result<usize, Fault> {
        self.fate.check()?;
        let outcome = self.recv_open(&mut into, patience);
        match outcome {
            Ok(len) => self.stream.took(len),
            Err(_) => self.partial.keep(&into),
        }
        if matches!(outcome, Err(Fault::Aborted)) {
            self.end.segment.control().rx_tally.count_aborted();
        }
        self.fate.seal(outcome)
    }

    fn poll(&mut self, patience: Patience) -> Result<bool, Fault> {
        self.fate.check()?;
        match self.poll_open(patience) {
            Err(Fault::NotNow) => Ok(false),
            outcome => self.fate.seal(outcome),
        }
    }

    fn try_clone(&self) -> io::Result<Self> {
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
        if self.may_hold {
            self.give_hold_back(None);
        }
        if !self.partial.is_open() {
            return;
        }
        let view = View::new(&self.end);
        let Ok(_guard) = view.reader.control.rx.lock.lock(custody::farewell()) else {
            return;
        };
        if self.partial.abandon(view.custody()) {
            // Makes room for the sender; what is wrong with the ring is for others to report.
            let _ = parts::skip_orphaned(view);
        }
    }
}
