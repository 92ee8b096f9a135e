//! Sending through shared memory.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::End;
use super::fast_send::SHORT;
use crate::backend::{self, Fate};
use crate::error::Fault;
use crate::ring::contention::lock_in_a_moment;
use crate::ring::lock::Guard;
use crate::ring::owner;
use crate::ring::payload::{Payload, Pieces};
use crate::ring::record::{LAST, PREFIX, Rules, span_of};
use crate::ring::reservation::{self, Reservation};
use crate::ring::state_word;
use crate::ring::writer::Writer;
use crate::segment::layout::message;
use crate::sync::Ordering;
use crate::sys::clock::{self, Timeout};
use crate::sys::holders::Opposite;
use crate::sys::process::Process;
use crate::wait::backoff::{self, Backoff, Spin};
use crate::wait::life_line::LifeLine;
use crate::wait::sleep::{Place, Wait, Woken};

/// One handle to the sending side.
pub(crate) struct Tx {
    pub(super) end: Arc<End>,
    pub(super) life_line: LifeLine,
    pub(super) backoff: Backoff,
    pub(super) fate: Fate,
    /// Identifies this end among those of its process.
    pub(super) id: u64,
    /// Whether this end may still have the side reserved, for a slot or a message in steps.
    pub(super) may_have_reserved: bool,
    /// What this handle has noted for observers.
    pub(super) noted: Noted,
    /// Whether it is time to claim lines of the ring ahead.
    pub(super) is_scarce: bool,
}

/// The largest length that one handle has noted for observers.
#[derive(Clone, Copy, Default)]
pub(super) struct Noted {
    /// Not over `fragment_max`, nor over the end's limit. So a message that is no longer may take the fast path.
    pub(super) len: usize,
    /// The same, less than [`SHORT`].
    pub(super) short: usize,
}

/// What a sender sees of its side, apart from the handle's own state.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) end: &'a End,
    pub(super) writer: Writer<'a>,
    pub(super) place: Place<'a>,
}

impl<'a> View<'a> {
    #[inline]
    pub(super) fn new(end: &'a End) -> Self {
        let control = end.control();
        let writer = end.writer();
        let place = Place {
            event: &control.room,
            number: &control.tx.epoch,
            socket: end.socket(),
            counters: &control.tx_counters,
            poll_group: &end.poll_group,
        };
        Self { end, writer, place }
    }

    /// Takes the side lock; a call that may not wait waits for another sender's section all the same.
    ///
    /// # Errors
    ///
    /// [`Fault::NotNow`] when the time-out has passed, and where the other one is inside a message in fragments, which is until
    /// receivers make room.
    fn lock(self, timeout: Timeout) -> Result<Guard<'a>, Fault> {
        let tx = &self.writer.control.tx;
        match tx.lock.lock(timeout) {
            Err(Fault::NotNow) if timeout == Timeout::Never => {
                let is_kept =
                    || state_word::state(&tx.state, Ordering::Relaxed) == message::WAITING;
                lock_in_a_moment(&tx.lock, &self.end.stuck, is_kept).map_err(|fault| match fault {
                    // Whatever room there is, it is not for this call.
                    Fault::Busy => Fault::NotNow,
                    fault => fault,
                })
            }
            outcome => outcome.inspect(|_| self.end.stuck.clear()),
        }
    }

    /// Whether no receiver is left, as far as a busy sender asks: when a close was announced, or when no receiver has received
    /// for some time.
    pub(super) fn is_disconnected_in_passing(self, life_line: &mut LifeLine) -> io::Result<bool> {
        if life_line.is_due() && !self.goes_on(life_line) {
            return life_line.look(&self.writer.control.room, self.end.socket());
        }
        life_line.is_disconnected_by_close(&self.writer.control.room, self.end.socket())
    }

    /// For a sender that has not looked for a while: whether a receiver surely lives, by its progress or by a look.
    #[cold]
    pub(super) fn goes_on(self, life_line: &mut LifeLine) -> bool {
        self.note_where_and_when();
        let control = self.writer.control;
        life_line.has_progressed(control.rx.read.load(Ordering::Relaxed))
            || matches!(life_line.look(&control.room, self.end.socket()), Ok(false))
    }

    /// Whether there is room for a record of `span` bytes, by a look at what the receivers have published. For a sender that
    /// has found none before. Does not wait for the lock.
    pub(super) fn look_for_room(self, span: u64) -> bool {
        let writer = self.writer;
        // Without the lock first, since a full ring is for the slow path.
        writer.seems_to_have_room(span, false)
            && writer
                .control
                .tx
                .lock
                .lock_uncontended()
                .is_some_and(|guard| {
                    let has_room = matches!(writer.has_room(span), Ok(true));
                    drop(guard);
                    has_room
                })
    }

    pub(super) fn note_where_and_when(self) {
        let control = self.writer.control;
        control.data.note_cpu();
        control.tx_counters.note_activity(clock::now());
    }

    /// Notes for observers a length that this handle has not noted before. Returns whether such a message fits one record.
    #[cold]
    #[cfg_attr(
        loom,
        expect(
            clippy::unnecessary_min_or_max,
            reason = "only empty messages are short there"
        )
    )]
    pub(super) fn note_length(self, noted: &mut Noted, len: usize) -> bool {
        let fragment_max = self.writer.rules.fragment_max();
        self.writer.control.tx_counters.note_length(len);
        let len_max = len.min(fragment_max);
        *noted = Noted {
            len: len_max,
            short: len_max.min(SHORT - 1),
        };
        len <= fragment_max
    }

    /// Rings for receivers, since there is a new record. One that cannot be woken finds it at its next call.
    #[inline]
    pub(super) fn ring(self) -> io::Result<()> {
        match self.writer.control.data.ring(self.end.socket()) {
            // The close rings for it.
            Err(_) if self.end.closing.is_closed() => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// Before a wait: says at how much room to be woken, and rings for all that is in the ring, since those
    /// who sent it may have died before they rang.
    pub(super) fn prepare_to_wait(self, wait: &Wait<'_>) -> io::Result<()> {
        if wait.will_sleep() {
            self.place.event.set_wake_at(self.writer.enough_room_at());
        }
        self.ring()
    }
}

impl Tx {
    pub(super) fn new(end: Arc<End>) -> Self {
        let backoff = Backoff::new(end.spin);
        Self {
            end,
            life_line: LifeLine::default(),
            backoff,
            fate: Fate::Open,
            id: reservation::new_end(),
            may_have_reserved: false,
            noted: Noted::default(),
            is_scarce: false,
        }
    }

    /// Whether a send would have to ring.
    pub(crate) fn receiver_sleeps(&self) -> bool {
        self.end.control().data.is_armed()
    }

    /// How this handle waits from now on.
    pub(crate) fn choose_spin(&mut self, spin: Spin) {
        self.backoff.choose(spin);
    }

    /// Remembers a fault that stays. The fast path asks the life-line alone, which then says so too.
    pub(super) fn seal<T>(&mut self, outcome: Result<T, Fault>) -> Result<T, Fault> {
        let outcome = self.fate.seal(&self.end.closing, outcome);
        if self.fate != Fate::Open {
            self.life_line.note_disconnected();
        }
        outcome
    }

    fn send_open(&mut self, bytes: impl Payload, timeout: Timeout) -> Result<(), Fault> {
        let rules = self.end.rules;
        let need = match room_needed(rules, bytes.len(), timeout) {
            Ok(need) => need,
            Err(fault) => {
                // A pipe without receivers comes before a message that is too long.
                let gone = View::new(&self.end).is_disconnected_in_passing(&mut self.life_line)?;
                return Err(if gone { Fault::Disconnected } else { fault });
            }
        };
        self.when_there_is_room(need, timeout, |view, wait, backoff| {
            if bytes.len() > rules.fragment_max() {
                let outcome = send_in_fragments(view, bytes, wait, backoff);
                view.show_readiness_if_watched();
                return outcome;
            }
            let writer = view.writer;
            writer.publish(None, bytes, writer.opening_flags() | LAST);
            writer.set_state(message::WHOLE);
            view.ring().map_err(Fault::NotWoken)?;
            view.show_readiness_if_watched();
            Ok(())
        })
    }

    /// Waits until there is room for `need` bytes of records and nobody else has the side, and then, under the
    /// lock, does what the caller wants.
    pub(super) fn when_there_is_room<'a, T>(
        &'a mut self,
        need: u64,
        timeout: Timeout,
        act: impl FnOnce(View<'a>, &mut Wait<'a>, &mut Backoff) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        backoff::note_sent();
        let Self {
            end,
            life_line,
            backoff,
            id,
            ..
        } = self;
        let _ended = end.ended_by_close();
        let view = View::new(end);
        let writer = view.writer;
        let reservation = Reservation::of_tx(writer.control);
        if view.is_disconnected_in_passing(life_line)? {
            return Err(Fault::Disconnected);
        }
        let mut look_after = owner::FIRST_LOOK;
        let mut wait = Wait::new(timeout.deadline());
        let mut woken = Woken::Look;
        loop {
            let guard = view.lock(timeout)?;
            wait.settle(view.place);
            if guard.owner_died() {
                writer.recover()?;
                // The dead one may not have come as far as to ring for what it published.
                view.ring()?;
            }
            end.closing.check()?;
            if reservation.is_reserved() {
                if let Some(owner) = reservation.owner_but(*id)? {
                    if life_line.look(&writer.control.room, end.socket())? {
                        return Err(Fault::Disconnected);
                    }
                    wait.step_aside();
                    reservation.wait_for(owner, guard, timeout, &mut look_after)?;
                    continue;
                }
            }
            let exactly = timeout == Timeout::Never || wait.will_sleep();
            if writer.has_room(need)? || exactly && writer.has_room_exactly(need)? {
                return act(view, &mut wait, backoff);
            }
            if woken == Woken::HungUp
                || life_line.is_disconnected_by_close(&writer.control.room, end.socket())?
            {
                return Err(Fault::Disconnected);
            }
            if timeout.is_over() {
                if view.is_disconnected(life_line)? {
                    return Err(Fault::Disconnected);
                }
                // Those who filled the ring may have died before they rang.
                view.ring()?;
                view.show_readiness_if_watched();
                return Err(Fault::NotNow);
            }
            view.prepare_to_wait(&wait)?;
            woken = wait.step(view.place, Some(guard), backoff, || {
                writer.seems_to_have_room(need, exactly)
            })?;
        }
    }
}

/// Sends a message of several fragments, the first of which has room, all in one section of the lock.
/// Its state shows whoever comes next that it was left unfinished.
fn send_in_fragments<'a>(
    view: View<'a>,
    bytes: impl Payload,
    wait: &mut Wait<'a>,
    backoff: &mut Backoff,
) -> Result<(), Fault> {
    let writer = view.writer;
    let fragment_max = writer.rules.fragment_max();
    let (first, mut rest) = bytes.split_at(fragment_max - PREFIX);
    let flags = writer.opening_flags();
    writer.set_state(message::OPEN);
    writer.control.tx.sender.note(Process::current()?);
    writer.publish(Some(bytes.len() as u64), first, flags);
    let mut rung = view.ring().map_err(Fault::Io);
    while rest.len() > 0 {
        let (fragment, after) = rest.split_at(fragment_max.min(rest.len()));
        rung = rung.and_then(|()| wait_for_room(view, span_of(fragment.len()), wait, backoff));
        if rung.is_err() {
            writer.set_state(message::WITHDRAWN);
            return rung;
        }
        let is_last = after.len() == 0;
        writer.publish(None, fragment, if is_last { LAST } else { 0 });
        rung = view
            .ring()
            .map_err(if is_last { Fault::NotWoken } else { Fault::Io });
        rest = after;
    }
    writer.set_state(message::WHOLE);
    rung
}

/// Waits in the middle of a message, keeping the lock.
fn wait_for_room<'a>(
    view: View<'a>,
    need: u64,
    wait: &mut Wait<'a>,
    backoff: &mut Backoff,
) -> Result<(), Fault> {
    let writer = view.writer;
    let mut woken = Woken::Look;
    loop {
        wait.settle(view.place);
        view.end.closing.check()?;
        if writer.has_room(need)? || wait.will_sleep() && writer.has_room_exactly(need)? {
            wait.restart();
            return Ok(());
        }
        if woken == Woken::HungUp {
            return Err(Fault::Disconnected);
        }
        if wait.is_over() {
            return Err(Fault::NotNow);
        }
        view.prepare_to_wait(wait)?;
        let exactly = wait.will_sleep();
        writer.set_state(message::WAITING);
        let outcome = wait.step(view.place, None, backoff, || {
            writer.seems_to_have_room(need, exactly)
        });
        writer.set_state(message::OPEN);
        woken = outcome?;
    }
}

/// Room that must be there before a send begins: all of it where it may not wait later.
fn room_needed(rules: Rules, len: usize, timeout: Timeout) -> Result<u64, Fault> {
    if len <= rules.fragment_max() {
        return Ok(span_of(len));
    }
    if timeout != Timeout::Never {
        return Ok(span_of(rules.fragment_max()));
    }
    let max = rules.single_record_max();
    if len > max {
        Err(Fault::TooLargeAtOnce { len, max })
    } else {
        Ok(rules.span_of_message(len))
    }
}

impl backend::Tx for Tx {
    fn send(&mut self, bytes: &[u8], timeout: Timeout) -> Result<(), Fault> {
        self.fate.check(&self.end.closing)?;
        let outcome = self.send_open(bytes, timeout);
        self.seal(outcome)
    }

    fn send_pieces(&mut self, pieces: Pieces<'_>, timeout: Timeout) -> Result<(), Fault> {
        self.fate.check(&self.end.closing)?;
        let outcome = self.send_open(pieces, timeout);
        self.seal(outcome)
    }

    fn try_clone(&self) -> io::Result<Self> {
        self.end.closing.check()?;
        Ok(Self::new(Arc::clone(&self.end)))
    }

    fn to_fds(&self) -> io::Result<Vec<OwnedFd>> {
        self.end.note_handing_over();
        self.end.to_fds()
    }

    fn opposite(&self) -> io::Result<Opposite> {
        Ok(self.end.opposite(|sides| sides.rx))
    }

    fn capacity(&self) -> usize {
        self.end.rules.capacity() as usize
    }
}

impl Drop for Tx {
    #[inline]
    fn drop(&mut self) {
        if self.may_have_reserved {
            self.give_back();
        }
    }
}
