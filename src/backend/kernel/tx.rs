//! Sending through a kernel pipe.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::poll::PollFlags;

use super::frame::{
    ATOMIC_PAYLOAD, EDGE, FRAGMENT_PAYLOAD, Header, Kind, fragment_payload, longest_for, slots_for,
};
use super::{End, page};
use crate::backend::{self, Fate};
use crate::error::Fault;
use crate::ring::contention::lock_in_a_moment;
use crate::ring::lock::Guard;
use crate::ring::owner;
use crate::ring::payload::{Payload, Pieces};
use crate::ring::reservation;
use crate::segment::layout::message;
use crate::sync::Ordering;
use crate::sys::clock::{Deadline, Timeout};
use crate::sys::holders::Opposite;
use crate::sys::memory::page_size;
use crate::sys::pipe;
use crate::sys::process::Process;
use crate::sys::socket::{self, Readiness};
use crate::wait::log::WaitLog;
use crate::wait::poll_group::Lead;

/// One handle to the sending side.
pub(crate) struct Tx {
    pub(super) end: Arc<End>,
    pub(super) fate: Fate,
    /// Identifies this end among those of its process.
    pub(super) id: u64,
    /// Whether a message in steps of this end may still hold the side.
    #[cfg(feature = "tokio")]
    pub(super) may_have_reserved: bool,
}

/// The senders' side under its lock.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) end: &'a End,
    pub(super) timeout: Timeout,
}

impl Tx {
    pub(super) fn new(end: Arc<End>) -> Self {
        Self {
            end,
            fate: Fate::Open,
            id: reservation::new_end(),
            #[cfg(feature = "tokio")]
            may_have_reserved: false,
        }
    }

    fn send_once(&self, bytes: &[u8], timeout: Timeout) -> Result<(), Fault> {
        let side = Side {
            end: &self.end,
            timeout,
        };
        let shared = self.end.page.shared();
        let tx = &shared.tx;
        let mut wait_log = WaitLog::default();
        let mut look_after = owner::FIRST_LOOK;
        let mut lead = None;
        loop {
            let guard = side.lock()?;
            wait_log.settle(&shared.tx_counters);
            if let Some(owner) = side.owner_but(self.id)? {
                lead = None;
                tx.reservation()
                    .wait_for(owner, guard, timeout, &mut look_after)?;
                continue;
            }
            side.make_good()?;
            shared.tx_counters.note_length(bytes.len());
            if bytes.len() > ATOMIC_PAYLOAD {
                side.send_in_fragments(bytes)?;
                page::count(&tx.totals, &shared.tx_counters, bytes.len());
                return Ok(());
            }
            if side.write_atomic(
                Header {
                    kind: Kind::Whole,
                    len: bytes.len() as u64,
                },
                bytes,
            )? {
                page::count(&tx.totals, &shared.tx_counters, bytes.len());
                return Ok(());
            }
            if !timeout.is_over() {
                wait_log.fall_asleep(&shared.tx_counters);
            }
            // Others may send while we wait for room.
            drop(guard);
            side.wait_for_room(&mut lead)
                .inspect_err(|_| wait_log.break_off(&shared.tx_counters))?;
        }
    }
}

impl<'a> Side<'a> {
    /// Takes the side lock. What the last owner died inside is noted at once: the kernel's mark goes with the lock, and
    /// this call may end for want of room before it has made that good.
    ///
    /// # Errors
    ///
    /// [`Fault::NotNow`] when the time-out has passed; for a call that may not wait, where another sender is inside a message in
    /// fragments, which is until receivers make room.
    pub(super) fn lock(self) -> Result<Guard<'a>, Fault> {
        let tx = &self.end.page.shared().tx;
        let is_kept = || tx.state.load(Ordering::Relaxed) == message::WAITING;
        let guard = match tx.lock.lock(self.timeout) {
            Err(Fault::NotNow) if self.timeout == Timeout::Never => {
                match lock_in_a_moment(&tx.lock, &self.end.stuck, is_kept) {
                    // Whatever room there is, it is not for this call.
                    Err(Fault::Busy) => Err(Fault::NotNow),
                    outcome => outcome,
                }
            }
            outcome => outcome.inspect(|_| self.end.stuck.clear()),
        }?;
        note_what_was_left(self.end);
        // Again, since it may have been closed before this was in the lock.
        self.end.closing.check()?;
        Ok(guard)
    }

    fn set_state(self, state: u32) {
        self.end
            .page
            .shared()
            .tx
            .state
            .store(state, Ordering::Relaxed);
    }

    /// Finds out whether the end `id` may send: the process of another one that is inside a message in steps.
    pub(super) fn owner_but(self, id: u64) -> Result<Option<u32>, Fault> {
        let owner = self.end.page.shared().tx.reservation().owner_but(id)?;
        if owner.is_some() && socket::is_hung_up(self.end.pipe())? {
            return Err(Fault::Disconnected);
        }
        Ok(owner)
    }

    /// Writes a whole frame or nothing; false when there is no room.
    pub(super) fn write_atomic(self, header: Header, payload: &[u8]) -> Result<bool, Fault> {
        let header = header.encode();
        let trailer = self.end.page.cookie().to_ne_bytes();
        let slices = [
            IoSlice::new(&header),
            IoSlice::new(payload),
            IoSlice::new(&trailer),
        ];
        Ok(self.write(&slices)?.is_some())
    }

    pub(super) fn write(self, slices: &[IoSlice<'_>]) -> Result<Option<usize>, Fault> {
        pipe::write(self.end.pipe(), slices).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Fault::Disconnected,
            _ => Fault::Io(error),
        })
    }

    /// Waits until a slot is free, or until it is for this thread to look. Without the lock.
    pub(super) fn wait_for_room(self, lead: &mut Option<Lead<'a>>) -> Result<(), Fault> {
        let (pipe, deadline) = (self.end.pipe(), self.deadline()?);
        let poll_group = &self.end.poll_group;
        unless_broken(poll_group.wait(lead, pipe, PollFlags::POLLOUT, None, deadline)?)
    }

    fn deadline(self) -> Result<Deadline, Fault> {
        match self.timeout {
            Timeout::Until(deadline) if !deadline.passed() => Ok(deadline),
            _ => Err(Fault::NotNow),
        }
    }

    /// Waits until a slot is free, keeping the lock.
    fn wait_under_lock(self) -> Result<(), Fault> {
        let counters = &self.end.page.shared().tx_counters;
        let mut wait_log = WaitLog::default();
        if !self.timeout.is_over() {
            wait_log.fall_asleep(counters);
        }
        let state = &self.end.page.shared().tx.state;
        let before = state.load(Ordering::Relaxed);
        if before == message::OPEN {
            self.set_state(message::WAITING);
        }
        let pipe = self.end.pipe();
        let found = self
            .deadline()
            .and_then(|until| Ok(socket::wait(pipe, PollFlags::POLLOUT, None, until)?));
        if before == message::OPEN {
            self.set_state(before);
        }
        wait_log.settle(counters);
        unless_broken(found?)
    }

    /// Writes a frame or filler by as many writes as it takes.
    fn write_all(self, mut slices: &mut [IoSlice<'_>]) -> Result<(), Fault> {
        loop {
            match self.write(slices)? {
                Some(written) => IoSlice::advance_slices(&mut slices, written),
                None => self.wait_under_lock()?,
            }
            if slices.is_empty() {
                return Ok(());
            }
        }
    }

    /// Writes a frame that may take more than one write, noting that it is under way.
    fn write_whole_fragment(self, payload: &[u8]) -> Result<(), Fault> {
        let in_flight = &self.end.page.shared().tx.in_flight;
        let header = Header {
            kind: Kind::Fragment,
            len: payload.len() as u64,
        }
        .encode();
        let trailer = self.end.page.cookie().to_ne_bytes();
        in_flight.store((payload.len() + 2 * EDGE) as u64, Ordering::Relaxed);
        let mut slices = [
            IoSlice::new(&header),
            IoSlice::new(payload),
            IoSlice::new(&trailer),
        ];
        self.write_all(&mut slices)?;
        in_flight.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Writes an atomic frame, waiting for room.
    fn write_frame(self, header: Header, payload: &[u8]) -> Result<(), Fault> {
        while !self.write_atomic(header, payload)? {
            self.wait_under_lock()?;
        }
        Ok(())
    }

    fn send_in_fragments(self, bytes: &[u8]) -> Result<(), Fault> {
        if self.timeout == Timeout::Never {
            self.check_room_for(bytes.len())?;
        }
        self.end.page.shared().tx.sender.note(Process::current()?);
        self.set_state(message::OPEN);
        let outcome = self.write_fragments(bytes);
        // What the next sender has to make good is noted; a disconnected pipe has no next.
        self.set_state(if outcome.is_ok() {
            message::WHOLE
        } else {
            self.end.page.shared().tx_counters.count_aborted();
            message::WITHDRAWN
        });
        outcome
    }

    fn write_fragments(self, bytes: &[u8]) -> Result<(), Fault> {
        self.write_frame(
            Header {
                kind: Kind::First,
                len: bytes.len() as u64,
            },
            &[],
        )?;
        let (body, last) = bytes.split_at(bytes.len() - ATOMIC_PAYLOAD);
        for fragment in body.chunks(fragment_payload(self.end.capacity())) {
            self.write_whole_fragment(fragment)?;
        }
        self.write_frame(
            Header {
                kind: Kind::Last,
                len: last.len() as u64,
            },
            last,
        )
    }

    /// Whether a message in fragments fits now without waiting. The kernel reports only how many bytes are
    /// in the pipe; in the worst case they take twice as many slots, so this may say no too early.
    fn check_room_for(self, len: usize) -> Result<(), Fault> {
        let capacity = self.end.capacity();
        let slots = capacity / page_size();
        let needed = slots_for(len, capacity, page_size());
        let max = longest_for(capacity, page_size());
        if len > max {
            return Err(Fault::TooLargeAtOnce { len, max });
        }
        let used = pipe::queued(self.end.pipe())?;
        let taken = if used == 0 {
            0
        } else {
            2 * used.div_ceil(page_size()) + 1
        };
        if needed + taken > slots {
            // A pipe without readers is never going to have the room.
            let now = Deadline::after(std::time::Duration::ZERO);
            let found = socket::wait(self.end.pipe(), PollFlags::empty(), None, now)?;
            return Err(if found.hung_up {
                Fault::Disconnected
            } else {
                Fault::NotNow
            });
        }
        Ok(())
    }

    /// Makes good what the owner before left unfinished: fills up its frame and reports to receivers what
    /// has become of the message. Killed in the middle, the next one does it all again; filler is
    /// passed over however much there is.
    pub(super) fn make_good(self) -> Result<(), Fault> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let tx = &self.end.page.shared().tx;
        let state = tx.state.load(Ordering::Relaxed);
        if state == message::WHOLE {
            return Ok(());
        }
        let mut missing = tx.in_flight.load(Ordering::Relaxed);
        if missing > (FRAGMENT_PAYLOAD + 2 * EDGE) as u64 {
            return Err(Fault::Corrupted);
        }
        while missing > 0 {
            let here = missing.min(ZEROS.len() as u64);
            // `here` fits a page, so it is written whole or not at all.
            let zeros = &ZEROS[..here as usize];
            while self.write(&[IoSlice::new(zeros)])?.is_none() {
                self.wait_under_lock()?;
            }
            missing -= here;
            tx.in_flight.store(missing, Ordering::Relaxed);
        }
        let number = Header::next_cut(tx.cuts.load(Ordering::Relaxed));
        tx.cuts.store(number, Ordering::Relaxed);
        self.write_frame(Header::cut(state == message::WITHDRAWN, number), &[])?;
        // SYNC: sender-state. Whoever finds no cut in it finds the number.
        tx.state.store(message::WHOLE, Ordering::Release);
        if state != message::WITHDRAWN {
            self.end.page.shared().tx_counters.count_aborted();
        }
        Ok(())
    }
}

/// For one who has just taken the lock: notes what its last owner died inside.
pub(super) fn note_what_was_left(end: &End) {
    let state = &end.page.shared().tx.state;
    if matches!(
        state.load(Ordering::Relaxed),
        message::OPEN | message::WAITING
    ) {
        state.store(message::ORPHANED, Ordering::Relaxed);
    }
}

fn unless_broken(found: Readiness) -> Result<(), Fault> {
    if found.hung_up {
        Err(Fault::Disconnected)
    } else {
        Ok(())
    }
}

impl backend::Tx for Tx {
    fn send(&mut self, bytes: &[u8], timeout: Timeout) -> Result<(), Fault> {
        self.fate.check(&self.end.closing)?;
        let _ended = self.end.ended_by_close();
        let outcome = self.send_once(bytes, timeout);
        self.fate.seal(&self.end.closing, outcome)
    }

    /// Gathers the pieces first: what a frame takes is bounded by what the kernel writes at once, and one copy
    /// more is little beside its two.
    fn send_pieces(&mut self, pieces: Pieces<'_>, timeout: Timeout) -> Result<(), Fault> {
        let mut message = Vec::new();
        message
            .try_reserve_exact(pieces.len())
            .map_err(|error| Fault::Io(error.into()))?;
        pieces
            .slices()
            .for_each(|piece| message.extend_from_slice(piece));
        self.send(&message, timeout)
    }

    fn try_clone(&self) -> io::Result<Self> {
        self.end.closing.check()?;
        Ok(Self::new(Arc::clone(&self.end)))
    }

    fn to_fds(&self) -> io::Result<Vec<OwnedFd>> {
        self.end.page.note_handing_over();
        self.end.to_fds()
    }

    fn opposite(&self) -> io::Result<Opposite> {
        self.end.opposite()
    }

    fn capacity(&self) -> usize {
        self.end.capacity()
    }
}

#[cfg(feature = "tokio")]
impl Drop for Tx {
    fn drop(&mut self) {
        self.take_back();
    }
}
