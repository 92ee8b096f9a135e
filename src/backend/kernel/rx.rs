//! Receiving through a kernel pipe.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::PollFlags;

use super::frame::{EDGE, Header, Kind};
use super::reading::{Payload, Progress, Side};
use super::{End, page, parcel};
use crate::backend::lookout::Lookout;
use crate::backend::{self, Fate};
use crate::error::Fault;
use crate::ring::bearer;
use crate::ring::custody::{self, Partial, Turn};
use crate::ring::destination::Destination;
use crate::ring::lock::Guard;
use crate::segment::layout::message;
use crate::sys::clock::Patience;
use crate::sys::holders::Opposite;
use crate::sys::process::{Life, Process};
use crate::sys::socket;
use crate::wait::sleep::AFTER_EXEC;
use crate::wait::stay::Stay;

/// How often a receiver inside a message looks whether the message's sender has died while others keep
/// the pipe open, where the sender's process cannot be watched or has just died.
const SENDER_LOOK: Duration = Duration::from_millis(20);

/// Frames of nobody's message that are passed over before the caller looks at its deadline.
const FRAMES_AT_ONCE: usize = 256;

/// One handle to the receiving side.
pub(crate) struct Rx {
    pub(super) end: Arc<End>,
    pub(super) fate: Fate,
    /// The parts taken so far of a message that goes in parts.
    pub(super) partial: Partial,
    /// What of the frame at hand has gone to `partial`.
    pub(super) payload: Payload,
}

impl Rx {
    pub(super) fn new(end: Arc<End>) -> Self {
        Self {
            end,
            fate: Fate::Open,
            partial: Partial::new(),
            payload: Payload::default(),
        }
    }

    fn recv_open(&mut self, mut into: Destination<'_>, patience: Patience) -> Result<usize, Fault> {
        let Self {
            end,
            partial,
            payload,
            ..
        } = self;
        let side = Side::new(end);
        let rx = side.shared();
        let tally = &end.page.shared().rx_tally;
        let mut stay = Stay::default();
        let mut look_after = bearer::FIRST_LOOK;
        let mut lookout = Lookout::new(end.flags, patience);
        let mut watch = None;
        let mut lead = None;
        let mut kept: Option<Guard<'_>> = None;
        loop {
            let guard = match kept.take() {
                Some(guard) => guard,
                None => rx.lock.lock(patience)?,
            };
            stay.settle(tally);
            if let Turn::Held(holder) = partial.take_turn(&rx.custody)? {
                if side.is_hung_up_and_empty()? {
                    return Err(Fault::Disconnected);
                }
                lead = None;
                rx.custody
                    .wait_for(holder, guard, patience, &mut look_after)?;
                continue;
            }
            match take(side, partial, payload, &mut into)? {
                Progress::Got(len) => {
                    page::count(&rx.flow, tally, len);
                    return Ok(len);
                }
                Progress::End => {
                    parcel::sweep(side)?;
                    return Err(end_of_file(side, partial));
                }
                Progress::Empty => parcel::sweep(side)?,
            }
            if partial.is_open()
                && let Some(left) = side.left_unfinished()?
            {
                partial.close(&rx.custody);
                if left == message::ORPHANED {
                    return Err(Fault::Aborted);
                }
            }
            if patience.is_over() {
                partial.let_go();
                return Err(Fault::NotNow);
            }
            if partial.is_open() {
                stay.fall_asleep(tally);
                kept = Some(guard);
                lead = None;
                wait_inside(side, patience)?;
            } else if lookout.is_due() {
                drop(guard);
                watch = lookout.look(end.opposite()?)?;
            } else if lookout.is_alone() {
                return Err(Fault::Deadlock);
            } else {
                stay.fall_asleep(tally);
                drop(guard);
                let also = watch.as_ref().map(AsFd::as_fd);
                let deadline = patience.deadline();
                end.crowd
                    .wait(&mut lead, end.pipe(), PollFlags::POLLIN, also, deadline)?;
                lookout.forget();
            }
        }
    }

    fn poll_open(&mut self, patience: Patience) -> Result<bool, Fault> {
        let Self {
            end,
            partial,
            payload,
            ..
        } = self;
        let side = Side::new(end);
        let rx = side.shared();
        let tally = &end.page.shared().rx_tally;
        let mut stay = Stay::default();
        let mut look_after = bearer::FIRST_LOOK;
        let mut lookout = Lookout::new(end.flags, patience);
        let mut watch = None;
        let mut lead = None;
        loop {
            let guard = rx.lock.lock(patience)?;
            stay.settle(tally);
            if let Turn::Held(holder) = partial.take_turn(&rx.custody)? {
                if side.is_hung_up_and_empty()? {
                    return Ok(true);
                }
                lead = None;
                rx.custody
                    .wait_for(holder, guard, patience, &mut look_after)?;
                continue;
            }
            if is_ready(side, partial, payload)? {
                return Ok(true);
            }
            if patience.is_over() {
                return Ok(false);
            }
            if partial.is_open() {
                stay.fall_asleep(tally);
                drop(guard);
                lead = None;
                wait_inside(side, patience)?;
            } else if lookout.is_due() {
                drop(guard);
                watch = lookout.look(end.opposite()?)?;
            } else if lookout.is_alone() {
                return Ok(true);
            } else {
                stay.fall_asleep(tally);
                drop(guard);
                let also = watch.as_ref().map(AsFd::as_fd);
                let deadline = patience.deadline();
                end.crowd
                    .wait(&mut lead, end.pipe(), PollFlags::POLLIN, also, deadline)?;
                lookout.forget();
            }
        }
    }
}

/// Whether a receive would not wait; under the lock, when it is this end's turn.
pub(super) fn is_ready(
    side: Side<'_>,
    partial: &mut Partial,
    payload: &mut Payload,
) -> Result<bool, Fault> {
    Ok(match next_for_us(side, partial, payload)? {
        // Of a part whose header has been taken there may be nothing more yet.
        Progress::Got(header) if header.is_atomic() || side.has_bytes()? => true,
        Progress::End => true,
        Progress::Got(_) | Progress::Empty => {
            partial.is_open() && side.left_unfinished()? == Some(message::ORPHANED)
                || side.is_hung_up_and_empty()?
        }
    })
}

/// Waits for more of the message that this end is inside, or for its sender's death.
fn wait_inside(side: Side<'_>, patience: Patience) -> Result<(), Fault> {
    let deadline = patience.deadline();
    let (watch, deadline) = match side.sender().map(Process::watch).transpose()? {
        Some(Life::Alive(watch)) => (Some(watch), deadline.at_most(AFTER_EXEC)),
        _ => (None, deadline.at_most(SENDER_LOOK)),
    };
    socket::wait(
        side.pipe(),
        PollFlags::POLLIN,
        watch.as_ref().map(AsFd::as_fd),
        deadline,
    )?;
    Ok(())
}

fn end_of_file(side: Side<'_>, partial: &mut Partial) -> Fault {
    let sender_state = side.senders_state();
    partial.end_of_file(&side.shared().custody, sender_state)
}

/// Finds the next frame that is for this end: passes over what is left of a message that is nobody's.
fn next_for_us(
    side: Side<'_>,
    partial: &mut Partial,
    payload: &mut Payload,
) -> Result<Progress<Header>, Fault> {
    let custody = &side.shared().custody;
    for _ in 0..FRAMES_AT_ONCE {
        match side.find_frame(partial.is_open())? {
            Progress::Got(()) => {}
            Progress::Empty => return Ok(Progress::Empty),
            Progress::End => return Ok(Progress::End),
        }
        let header = match side.header()? {
            Progress::Got(header) => header,
            other => return Ok(other),
        };
        let passed = match header.kind {
            Kind::Whole | Kind::First | Kind::Parcel if partial.is_open() => {
                return Err(Fault::Corrupted);
            }
            Kind::Whole | Kind::First | Kind::Parcel => return Ok(Progress::Got(header)),
            Kind::Died | Kind::Part | Kind::Last if partial.is_open() => {
                return Ok(Progress::Got(header));
            }
            Kind::Part | Kind::Last if custody.state() != message::ORPHANED => {
                return Err(Fault::Corrupted);
            }
            Kind::Part | Kind::Last | Kind::Died | Kind::Withdrawn => {
                side.skip_payload(header, payload)?
            }
        };
        match passed {
            Progress::Got(()) if header.kind != Kind::Part => partial.close(custody),
            Progress::Got(()) => {}
            Progress::Empty => return Ok(Progress::Empty),
            Progress::End => return Ok(Progress::End),
        }
    }
    Ok(Progress::Empty)
}

/// Takes frames until a message is whole or the pipe is empty.
fn take(
    side: Side<'_>,
    partial: &mut Partial,
    payload: &mut Payload,
    into: &mut Destination<'_>,
) -> Result<Progress<usize>, Fault> {
    let custody = &side.shared().custody;
    let mut taken = 0;
    loop {
        let header = match next_for_us(side, partial, payload)? {
            Progress::Got(header) => header,
            Progress::Empty => return Ok(Progress::Empty),
            Progress::End => return Ok(Progress::End),
        };
        match header.kind {
            Kind::Whole => {
                let len = side.take_whole(header, into)?;
                partial.close(custody);
                return Ok(Progress::Got(len));
            }
            Kind::Parcel => {
                let taken = parcel::take(side, header, payload, into)?;
                partial.close(custody);
                if let Some(len) = taken {
                    return Ok(Progress::Got(len));
                }
            }
            Kind::First => {
                partial.close(custody);
                partial.begin(custody, header.len, into)?;
                *payload = Payload::default();
                side.take_nothing(header)?;
            }
            Kind::Died | Kind::Withdrawn => {
                side.take_nothing(header)?;
                partial.close(custody);
                return Err(Fault::Aborted);
            }
            Kind::Part | Kind::Last => {
                let (total, bytes) = partial.parts(into)?;
                match side.take_part(header, payload, total, bytes)? {
                    Progress::Got(()) if header.kind == Kind::Last => {
                        return partial.finish(custody, into).map(Progress::Got);
                    }
                    // With its edges, since a liar's parts may have nothing else.
                    Progress::Got(()) => taken += header.payload() + 2 * EDGE,
                    Progress::Empty => return Ok(Progress::Empty),
                    Progress::End => return Ok(Progress::End),
                }
                // One pipe's worth at a time, so that a fast sender cannot keep a call beyond its
                // deadline.
                if taken >= side.capacity() {
                    return Ok(Progress::Empty);
                }
            }
        }
    }
}

impl backend::Rx for Rx {
    fn recv(&mut self, into: Destination<'_>, patience: Patience) -> Result<usize, Fault> {
        self.fate.check()?;
        let outcome = self.recv_open(into, patience);
        if matches!(outcome, Err(Fault::Aborted)) {
            self.end.page.shared().rx_tally.count_aborted();
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
        self.end.opposite()
    }

    fn capacity(&self) -> usize {
        self.end.capacity()
    }
}

impl Drop for Rx {
    fn drop(&mut self) {
        if !self.partial.is_open() {
            return;
        }
        let side = Side::new(&self.end);
        if let Ok(_guard) = side.shared().lock.lock(custody::farewell()) {
            self.partial.abandon(&side.shared().custody);
        }
    }
}
