//! Receiving through a kernel pipe.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::PollFlags;

use super::frame::{EDGE, Header, Kind};
use super::reading::{Extent, Payload, Progress, Side};
use super::{End, ancillary, page};
use crate::backend::deadlock::DeadlockCheck;
use crate::backend::{self, Fate, Look};
use crate::error::Fault;
use crate::ring::owner;
use crate::ring::payload::Destination;
use crate::ring::reassembly::{Reassembly, Session, Turn};
use crate::segment::layout::{Counters, SharedReassembly, message};
use crate::sys::clock::Timeout;
use crate::sys::holders::Opposite;
use crate::sys::process::{Life, Process};
use crate::sys::socket;
use crate::wait::log::WaitLog;
use crate::wait::poll_group::Lead;
use crate::wait::sleep::AFTER_EXEC;

/// How often a receiver inside a message looks whether the message's sender has died while others keep
/// the pipe open, where the sender's process cannot be watched or has just died.
const SENDER_LOOK: Duration = Duration::from_millis(20);

/// Frames of nobody's message that are passed over before the caller looks at its deadline.
const FRAMES_PER_CALL: usize = 256;

/// First and longest interval of looks at a message that is not whole yet, for one who leaves it in the pipe until it
/// is: poll(2) would show its first bytes all the time.
const GROWTH_LOOKS: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(10));

/// One handle to the receiving side.
pub(crate) struct Rx {
    pub(super) end: Arc<End>,
    pub(super) fate: Fate,
}

impl Rx {
    pub(super) fn new(end: Arc<End>) -> Self {
        Self {
            end,
            fate: Fate::Open,
        }
    }

    /// Receives the next message if it is there and one frame. Anything else stays for a call that can report it, the
    /// loss of a message above all, which is reported once.
    pub(crate) fn recv_more(&mut self, mut into: Destination<'_>) -> Option<usize> {
        self.fate.check(&self.end.closing).ok()?;
        let outcome = self.take_more(&mut into);
        self.fate.seal(&self.end.closing, outcome).ok()?
    }

    fn take_more(&self, into: &mut Destination<'_>) -> Result<Option<usize>, Fault> {
        let side = Side::new(&self.end);
        let (shared, counters) = (side.shared(), &self.end.page.shared().rx_counters);
        let guard = shared.lock.lock(Timeout::Never)?;
        self.end.closing.check()?;
        let mut session = Session::new(guard, &shared.reassembly, &self.end.fragments)?;
        if session.take_turn(|| side.is_untaken())? != Turn::Ours || session.is_open() {
            return Ok(None);
        }
        match next_for_us(side, &mut session)? {
            Progress::Got(header) if header.kind == Kind::Whole => {
                let len = side.take_whole(header, into)?;
                shared.reassembly.end_residue();
                page::count(&shared.totals, counters, len);
                Ok(Some(len))
            }
            // All of it is there, so it comes whole. In this order: what follows one that is cut short after the look for
            // a cut is not counted.
            Progress::Got(header)
                if header.kind == Kind::First
                    && side.extent(header.len)? == Extent::Whole
                    && !side.may_be_cut() =>
            {
                match take(side, &mut session, into, false)? {
                    Attempt::Received(len) => {
                        page::count(&shared.totals, counters, len);
                        Ok(Some(len))
                    }
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }
}

/// One call that may have to wait.
struct Call<'a> {
    side: Side<'a>,
    timeout: Timeout,
    wait_log: WaitLog,
    look_after: Duration,
    growth_look: Duration,
    deadlock_check: DeadlockCheck,
    watch: Option<OwnedFd>,
    /// Kept from one sleep to the next.
    lead: Option<Lead<'a>>,
}

impl<'a> Call<'a> {
    fn new(end: &'a End, timeout: Timeout) -> Self {
        Self {
            side: Side::new(end),
            timeout,
            wait_log: WaitLog::default(),
            look_after: owner::FIRST_LOOK,
            growth_look: GROWTH_LOOKS.0,
            deadlock_check: DeadlockCheck::new(end.flags, timeout),
            watch: None,
            lead: None,
        }
    }

    fn counters(&self) -> &'a Counters {
        &self.side.end.page.shared().rx_counters
    }

    fn recv(&mut self, into: &mut Destination<'_>) -> Result<usize, Fault> {
        let side = self.side;
        let shared_reassembly = &side.shared().reassembly;
        // What fits the pipe is left there until it is whole, but by one who waits for nothing else.
        let streams = self.timeout == Timeout::FOREVER;
        let mut session: Option<Session<'_, Payload>> = None;
        loop {
            side.end.closing.check()?;
            let current = match &mut session {
                Some(current) => current,
                None => match self.begin()? {
                    Some(begun) => session.insert(begun),
                    None => continue,
                },
            };
            self.wait_log.settle(self.counters());
            match take(side, current, into, streams)? {
                Attempt::Received(len) => {
                    page::count(&side.shared().totals, self.counters(), len);
                    return Ok(len);
                }
                Attempt::End => {
                    ancillary::sweep(side)?;
                    return Err(current.end_of_file(shared_reassembly, side.senders_state()));
                }
                Attempt::Growing if self.timeout.is_over() => return Err(Fault::NotNow),
                Attempt::Growing => {
                    self.wait_log.fall_asleep(self.counters());
                    session = None;
                    self.wait_for_growth()?;
                    continue;
                }
                Attempt::Empty => {
                    side.has_met_all_cuts()?;
                    ancillary::sweep(side)?;
                }
            }
            if current.is_open() {
                if let Some(left) = side.left_unfinished()? {
                    current.close(shared_reassembly);
                    if left == message::ORPHANED {
                        return Err(Fault::Aborted);
                    }
                }
            }
            if self.timeout.is_over() {
                return Err(Fault::NotNow);
            }
            if current.is_open() {
                self.wait_log.fall_asleep(self.counters());
                shared_reassembly.set_waiting(true);
                self.wait_inside()?;
                shared_reassembly.set_waiting(false);
            } else if self.deadlock_check.is_alone() {
                return Err(Fault::Deadlock);
            } else if let Some(session) = session.take() {
                self.rest(session)?;
            }
        }
    }

    fn poll(&mut self) -> Result<bool, Fault> {
        let side = self.side;
        loop {
            let mut session = side.session(self.timeout)?;
            self.wait_log.settle(self.counters());
            match session.take_turn(|| side.is_untaken())? {
                Turn::Ours => {}
                Turn::Lost => return Ok(true),
                Turn::Held(owner) => {
                    if side.is_hung_up_and_empty()? {
                        return Ok(true);
                    }
                    self.lead = None;
                    session.wait_for(owner, self.timeout, &mut self.look_after)?;
                    continue;
                }
            }
            let is_growing = match look(side, &mut session)? {
                Look::Ready => return Ok(true),
                Look::Busy => true,
                Look::NotYet | Look::Inside => false,
            };
            if self.timeout.is_over() {
                return Ok(false);
            }
            if is_growing {
                self.wait_log.fall_asleep(self.counters());
                drop(session);
                self.wait_for_growth()?;
            } else if session.is_open() {
                self.wait_log.fall_asleep(self.counters());
                drop(session);
                self.wait_inside()?;
            } else if self.deadlock_check.is_alone() {
                return Ok(true);
            } else {
                self.rest(session)?;
            }
        }
    }

    /// Takes the lock and the turn; `None` where the caller looks again.
    fn begin(&mut self) -> Result<Option<Session<'a, Payload>>, Fault> {
        let side = self.side;
        let mut session = side.session(self.timeout)?;
        match session.take_turn(|| side.is_untaken())? {
            Turn::Ours => {}
            Turn::Lost => {
                side.shared().reassembly.report_lost();
                return Err(Fault::Aborted);
            }
            Turn::Held(owner) => {
                if side.is_hung_up_and_empty()? {
                    return Err(Fault::Disconnected);
                }
                self.lead = None;
                session.wait_for(owner, self.timeout, &mut self.look_after)?;
                return Ok(None);
            }
        }
        Ok(Some(session))
    }

    /// Waits for bytes outside of a message, without the lock.
    fn rest(&mut self, session: Session<'a, Payload>) -> Result<(), Fault> {
        let end = self.side.end;
        if self.deadlock_check.is_due() {
            drop(session);
            self.watch = self.deadlock_check.look(end.opposite()?)?;
            return Ok(());
        }
        self.wait_log.fall_asleep(self.counters());
        drop(session);
        let also = self.watch.as_ref().map(AsFd::as_fd);
        let deadline = self.timeout.deadline();
        let poll_group = &end.poll_group;
        poll_group
            .wait(
                &mut self.lead,
                end.pipe(),
                PollFlags::POLLIN,
                also,
                deadline,
            )
            .inspect_err(|_| self.wait_log.break_off(self.counters()))?;
        self.deadlock_check.forget();
        Ok(())
    }

    /// Waits a little for more of a message that stays in the pipe until it is whole, without the lock.
    fn wait_for_growth(&mut self) -> Result<(), Fault> {
        self.lead = None;
        let deadline = self.timeout.deadline().at_most(self.growth_look);
        self.growth_look = (self.growth_look * 2).min(GROWTH_LOOKS.1);
        socket::wait(self.side.pipe(), PollFlags::empty(), None, deadline)
            .inspect_err(|_| self.wait_log.break_off(self.counters()))?;
        Ok(())
    }

    /// Waits for more of the message that this process is inside.
    fn wait_inside(&mut self) -> Result<(), Fault> {
        self.lead = None;
        wait_inside(self.side, self.timeout)
            .inspect_err(|_| self.wait_log.break_off(self.counters()))
    }
}

/// Whether a receive would not wait; under the lock, when it is this process's turn. `Busy` is a message that is not
/// whole yet, which no descriptor shows.
pub(super) fn look(side: Side<'_>, reassembly: &mut Reassembly<Payload>) -> Result<Look, Fault> {
    let is_ready = match next_for_us(side, reassembly)? {
        Progress::Got(header) if header.kind == Kind::First => match side.extent(header.len)? {
            Extent::Growing => return Ok(Look::Busy),
            Extent::Whole | Extent::Unclear => true,
        },
        // Of a fragment whose header has been taken there may be nothing more yet.
        Progress::Got(header) if header.is_atomic() || side.has_bytes()? => true,
        Progress::End => true,
        Progress::Got(_) | Progress::Empty => {
            side.has_met_all_cuts()?;
            reassembly.is_open() && side.left_unfinished()? == Some(message::ORPHANED)
                || side.is_hung_up_and_empty()?
        }
    };
    Ok(match is_ready {
        true => Look::Ready,
        false if reassembly.is_open() => Look::Inside,
        false => Look::NotYet,
    })
}

/// Waits for more of the message that this process is inside, or for its sender's death.
fn wait_inside(side: Side<'_>, timeout: Timeout) -> Result<(), Fault> {
    let deadline = timeout.deadline();
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

/// What one look at the pipe came to.
enum Attempt {
    /// A message of this length went to its destination.
    Received(usize),
    /// The pipe is empty; so far nothing, or only fragments, of a message.
    Empty,
    /// A message is there that is not whole yet.
    Growing,
    /// The pipe is empty for good.
    End,
}

/// Finds the next frame that is for this process: passes over what is left of a message that is nobody's.
fn next_for_us(
    side: Side<'_>,
    reassembly: &mut Reassembly<Payload>,
) -> Result<Progress<Header>, Fault> {
    let shared_reassembly = &side.shared().reassembly;
    for _ in 0..FRAMES_PER_CALL {
        match side.find_frame(reassembly.is_open())? {
            Progress::Got(()) => {}
            Progress::Empty => return Ok(Progress::Empty),
            Progress::End => return Ok(Progress::End),
        }
        let header = match side.header()? {
            Progress::Got(header) => header,
            other => return Ok(other),
        };
        match header.kind {
            Kind::Whole | Kind::First | Kind::Ancillary if reassembly.is_open() => {
                return Err(Fault::Corrupted);
            }
            Kind::Whole | Kind::First | Kind::Ancillary => return Ok(Progress::Got(header)),
            Kind::Died | Kind::Fragment | Kind::Last if reassembly.is_open() => {
                return Ok(Progress::Got(header));
            }
            Kind::Fragment | Kind::Last if !shared_reassembly.has_residue() => {
                return Err(Fault::Corrupted);
            }
            Kind::Fragment | Kind::Last | Kind::Died | Kind::Withdrawn => {}
        }
        match side.skip_payload(header, &mut reassembly.progress)? {
            Progress::Got(()) => {}
            Progress::Empty => return Ok(Progress::Empty),
            Progress::End => return Ok(Progress::End),
        }
        side.has_met(header);
        if header.ends_message() {
            end_message(reassembly, shared_reassembly);
        }
    }
    Ok(Progress::Empty)
}

/// The message at hand, or the rest of one, is over.
fn end_message(reassembly: &mut Reassembly<Payload>, shared_reassembly: &SharedReassembly) {
    if reassembly.is_open() {
        reassembly.close(shared_reassembly);
    } else {
        shared_reassembly.end_residue();
    }
}

/// Takes frames until a message is whole or the pipe is empty. Fragments of a message that fits the pipe are taken before
/// it is whole only by one who `streams`.
fn take(
    side: Side<'_>,
    reassembly: &mut Reassembly<Payload>,
    into: &mut Destination<'_>,
    streams: bool,
) -> Result<Attempt, Fault> {
    let shared_reassembly = &side.shared().reassembly;
    let mut taken = 0;
    loop {
        let header = match next_for_us(side, reassembly)? {
            Progress::Got(header) => header,
            Progress::Empty => return Ok(Attempt::Empty),
            Progress::End => return Ok(Attempt::End),
        };
        match header.kind {
            Kind::Whole => {
                let len = side.take_whole(header, into)?;
                shared_reassembly.end_residue();
                return Ok(Attempt::Received(len));
            }
            Kind::Ancillary => {
                let taken = ancillary::take(side, header, &mut reassembly.progress, into)?;
                shared_reassembly.end_residue();
                if let Some(len) = taken {
                    return Ok(Attempt::Received(len));
                }
            }
            Kind::First => {
                if !streams && side.extent(header.len)? == Extent::Growing {
                    return Ok(Attempt::Growing);
                }
                shared_reassembly.end_residue();
                reassembly.begin(shared_reassembly, header.len, into)?;
                side.take_nothing(header)?;
                reassembly.has_begun();
            }
            Kind::Died | Kind::Withdrawn => {
                side.take_nothing(header)?;
                side.has_met(header);
                reassembly.close(shared_reassembly);
                return Err(Fault::Aborted);
            }
            Kind::Fragment | Kind::Last => {
                let (total, bytes, payload) = reassembly.arriving(into)?;
                match side.take_fragment(header, payload, total, bytes)? {
                    Progress::Got(()) if header.kind == Kind::Last => {
                        return reassembly
                            .finish(shared_reassembly, into)
                            .map(Attempt::Received);
                    }
                    // With its edges, since a liar's fragments may have nothing else.
                    Progress::Got(()) => taken += header.payload() + 2 * EDGE,
                    Progress::Empty => return Ok(Attempt::Empty),
                    Progress::End => return Ok(Attempt::End),
                }
                // One pipe's worth at a time, so that a fast sender cannot keep a call beyond its
                // deadline.
                if taken >= side.capacity() {
                    return Ok(Attempt::Empty);
                }
            }
        }
    }
}

impl backend::Rx for Rx {
    fn recv(&mut self, mut into: Destination<'_>, timeout: Timeout) -> Result<usize, Fault> {
        self.fate.check(&self.end.closing)?;
        let _ended = self.end.ended_by_close();
        let outcome = Call::new(&self.end, timeout).recv(&mut into);
        if matches!(outcome, Err(Fault::Aborted)) {
            self.end.page.shared().rx_counters.count_aborted();
        }
        self.fate.seal(&self.end.closing, outcome)
    }

    fn poll(&mut self, timeout: Timeout) -> Result<bool, Fault> {
        self.fate.check(&self.end.closing)?;
        let _ended = self.end.ended_by_close();
        match Call::new(&self.end, timeout).poll() {
            Err(Fault::NotNow | Fault::Busy) if !self.end.closing.is_closed() => Ok(false),
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
        self.end.opposite()
    }

    fn capacity(&self) -> usize {
        self.end.capacity()
    }
}
