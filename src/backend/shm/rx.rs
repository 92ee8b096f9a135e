//! Receiving through shared memory.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

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
use crate::ring::reader::Next;
use crate::ring::record::{FIRST, LAST, PREFIX};
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

/// How often a receiver tries to get a message before others, until it looks at its deadline.
const OVERTAKEN: u32 = 64;

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

/// What one look at the ring under the lock came to.
enum Attempt {
    /// A message of this length went to its destination.
    Received(usize),
    /// The ring is empty; so far nothing, or only parts, of a message.
    Empty,
    /// As much as the ring holds has been taken, and there may be more.
    Enough,
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
            if partial.is_open() {
                wait.look_after(view.reader.control.tx.sender.process(), SENDER_LOOK)?;
                woken = wait.step(view.place, None, spinner, ready)?;
                kept = Some(guard);
            } else {
                if wait.is_last() && lookout.is_due() {
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
                hold.wait_for(holder, guard, patience, &mut look_after)?;
                continue;
            }
            if let Turn::Held(holder) = partial.take_turn(view.custody())? {
                if view.is_at_end_for_others(life_line)? || view.reader.has_first()? {
                    return Ok(true);
                }
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
            } else if wait.is_last() && lookout.is_due() {
                drop(guard);
                wait.watch(lookout.look(end.opposite(|sides| sides.tx))?);
                continue;
            } else if lookout.is_alone() {
                return Ok(true);
            }
            let ready = || view.reader.has_record();
            woken = wait.step(view.place, Some(guard), spinner, ready)?;
            lookout.forget();
        }
    }
}

/// Takes records until a message is whole or the ring is empty.
#[inline]
fn take(
    view: View<'_>,
    partial: &mut Partial,
    verified: &mut u64,
    into: &mut Destination<'_>,
) -> Result<Attempt, Fault> {
    for _ in 0..OVERTAKEN {
        let Some(next) = view.reader.peek()? else {
            return Ok(Attempt::Empty);
        };
        if next.header.flags != FIRST | LAST || partial.is_under_way(view.custody()) {
            return take_in_parts(view, partial, into);
        }
        verify_now_and_then(view, verified, next)?;
        let len = deliver(view, next, into)?;
        if view.reader.take(next) {
            view.settle();
            return Ok(Attempt::Received(len));
        }
    }
    Ok(Attempt::Enough)
}

/// Looks once round the ring whether anybody has written what was taken, in case a liar has linked its
/// records without end.
#[inline]
pub(super) fn verify_now_and_then(
    view: View<'_>,
    verified: &mut u64,
    next: Next,
) -> Result<(), Fault> {
    if next.at.wrapping_sub(*verified) > view.reader.rules.capacity() {
        view.reader.check_written()?;
        *verified = next.at;
    }
    Ok(())
}

/// Copies the payload of a whole message to where the caller wants it.
#[inline]
pub(super) fn deliver(
    view: View<'_>,
    next: Next,
    into: &mut Destination<'_>,
) -> Result<usize, Fault> {
    let len = next.header.len;
    match into {
        Destination::Slice(slice) => {
            if slice.len() < len {
                return Err(Fault::BufferTooSmall { needed: len });
            }
            // SAFETY: `next` was just peeked, and the slice is long enough.
            unsafe { view.reader.copy_out(next, false, slice.as_mut_ptr()) };
        }
        Destination::Buffer(buffer) | Destination::Parcel { bytes: buffer, .. } => {
            buffer.clear();
            append(view, next, false, buffer)?;
        }
    }
    Ok(len)
}

/// Appends a record's payload, less its prefix if it has one, to `buffer`, which grows by what is there and never
/// by a claim.
#[inline]
pub(super) fn append(
    view: View<'_>,
    next: Next,
    has_prefix: bool,
    buffer: &mut Vec<u8>,
) -> Result<(), Fault> {
    let len = next.header.len - if has_prefix { PREFIX } else { 0 };
    buffer
        .try_reserve(len)
        .map_err(|error| Fault::Io(error.into()))?;
    let spare = buffer.spare_capacity_mut().as_mut_ptr();
    // SAFETY: `next` was just peeked, and its length is reserved.
    unsafe { view.reader.copy_out(next, has_prefix, spare.cast()) };
    // SAFETY: the copy has initialised so many bytes behind the old length.
    unsafe { buffer.set_len(buffer.len() + len) };
    Ok(())
}

#[cold]
fn take_in_parts(
    view: View<'_>,
    partial: &mut Partial,
    into: &mut Destination<'_>,
) -> Result<Attempt, Fault> {
    // One ring's worth at a time, so that a fast sender cannot keep a call beyond its deadline.
    let mut budget = view.reader.rules.effort_max();
    while let Some(next) = view.reader.peek()? {
        let received = parts::take_record(view, partial, next, into)?;
        view.settle();
        if let Some(len) = received {
            return Ok(Attempt::Received(len));
        }
        budget = budget.saturating_sub(view.reader.rules.effort(next.header));
        if budget == 0 {
            return Ok(Attempt::Enough);
        }
    }
    Ok(Attempt::Empty)
}

impl backend::Rx for Rx {
    fn recv(&mut self, mut into: Destination<'_>, patience: Patience) -> Result<usize, Fault> {
        self.fate.check()?;
        let outcome = self.recv_open(&mut into, patience);
        if outcome.is_err() {
            self.partial.keep(&into);
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
