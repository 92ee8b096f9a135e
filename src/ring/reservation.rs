//! Reservations: one end has a side to itself between two calls. It writes or reads a message in place (a *loan*), or
//! sends one in steps.
//!
//! The end notes its process as the *owner* under the side's lock and releases the lock. The other ends of the side find
//! the note and wait. An owner's death is proven as in [`reassembly`](super::reassembly): by its process's number, which
//! is never used twice, and not by time. Whoever finds a dead owner removes the note. There is nothing to repair: what
//! was written in place was not published, and what was read was not consumed. What became of a message in steps is
//! in the state, as for any message in fragments.

use std::time::Duration;

use super::lock::Guard;
use super::reader;
use super::state_word;
use crate::error::Fault;
use crate::segment::layout::{Control, Counters, OwnerRecord, message};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::sys::clock::Timeout;
use crate::sys::futex;
use crate::sys::process::{Life, Process};

/// One side's reservation, for calls under its lock.
#[derive(Clone, Copy)]
pub(crate) struct Reservation<'a> {
    /// `RESERVING`, `RESERVED`, `AWAITED`, `SENDING` or `STEPPING` of [`message`] while there is an owner; anything else
    /// belongs to others.
    state: &'a AtomicU32,
    owner: &'a OwnerRecord,
    /// Which of the owner's ends it is; [`NO_END`] when that has let go.
    end: &'a AtomicU64,
    /// The receivers' position, of which the mark belongs to the owner.
    read: Option<&'a AtomicU64>,
    /// Where a message that never became whole is counted.
    counters: Option<&'a Counters>,
}

impl<'a> Reservation<'a> {
    /// Of the senders' side.
    pub(crate) fn of_tx(control: &'a Control) -> Self {
        let tx = &control.tx;
        Self {
            state: &tx.state,
            owner: &tx.sender,
            end: &tx.end,
            read: None,
            counters: Some(&control.tx_counters),
        }
    }

    /// Of the senders' side of a kernel pipe, whose backend counts for itself.
    pub(crate) fn of_kernel_tx(
        state: &'a AtomicU32,
        owner: &'a OwnerRecord,
        end: &'a AtomicU64,
    ) -> Self {
        Self {
            state,
            owner,
            end,
            read: None,
            counters: None,
        }
    }

    /// Of the receivers' side.
    pub(crate) fn of_rx(control: &'a Control) -> Self {
        let shared_reassembly = &control.rx.reassembly;
        Self {
            state: &shared_reassembly.state,
            owner: &shared_reassembly.owner,
            end: &shared_reassembly.end,
            read: Some(&control.rx.read),
            counters: None,
        }
    }

    /// Whether the side is reserved, by a living process or a dead one.
    #[inline]
    pub(crate) fn is_reserved(self) -> bool {
        let state = state_word::state(self.state, Ordering::Relaxed);
        matches!(
            state,
            message::RESERVING
                | message::RESERVED
                | message::AWAITED
                | message::SENDING
                | message::STEPPING
        )
    }

    /// Makes `end` of this process the owner of a side that is `WHOLE`. If the caller dies before
    /// [`is_lent`](Self::is_lent), the next owner of the lock knows that.
    ///
    /// # Errors
    ///
    /// What finding out about the own process reports; the side is not reserved then.
    pub(crate) fn take(self, end: u64) -> Result<(), Fault> {
        self.take_for(end, message::RESERVING)
    }

    /// As [`take`](Self::take), for a message in steps, and whatever became of the message before it.
    ///
    /// # Errors
    ///
    /// The errors of [`take`](Self::take).
    #[cfg(feature = "tokio")]
    pub(crate) fn take_to_send(self, end: u64) -> Result<(), Fault> {
        self.take_for(end, message::STEPPING)
    }

    fn take_for(self, end: u64, state: u32) -> Result<(), Fault> {
        let process = Process::current()?;
        self.end.store(end, Ordering::Relaxed);
        self.owner.note(process);
        state_word::set_state(self.state, state, Ordering::Relaxed);
        Ok(())
    }

    /// The last thing before the lock is released. From now on the owner has the side without the lock.
    pub(crate) fn is_lent(self) {
        state_word::set_state(self.state, message::RESERVED, Ordering::Relaxed);
    }

    /// Whether `end` of this process is inside a message in steps.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_our_message(self, end: u64) -> bool {
        let state = state_word::state(self.state, Ordering::Relaxed);
        matches!(state, message::SENDING | message::STEPPING) && self.is_ours(end)
    }

    /// Begins the next step of a message of `end`, under the lock, if it has one under way. If the caller dies before
    /// [`has_stepped`](Self::has_stepped), the next owner of the lock knows that.
    #[cfg(feature = "tokio")]
    pub(crate) fn step(self, end: u64) -> bool {
        let is_ours = self.is_our_message(end);
        if is_ours {
            state_word::set_state(self.state, message::STEPPING, Ordering::Relaxed);
        }
        is_ours
    }

    /// The last thing before the lock is released, where there is more to send.
    #[cfg(feature = "tokio")]
    pub(crate) fn has_stepped(self) {
        // SYNC: sender-state
        state_word::set_state(self.state, message::SENDING, Ordering::Release);
    }

    /// What has become of the message under way as receivers see it; `owner_died` is what the lock's mark said before.
    pub(crate) fn left_to_receivers(self, owner_died: bool) -> u32 {
        // SYNC: sender-state. Whoever reads the note finds every fragment published before it.
        match state_word::state(self.state, Ordering::Acquire) {
            // The owner of the lock that died may have been another sender.
            message::SENDING if self.has_let_go() => message::WITHDRAWN,
            message::SENDING if self.owner_is_dead() => message::ORPHANED,
            message::SENDING => message::SENDING,
            _ if owner_died => message::ORPHANED,
            state => state,
        }
    }

    fn owner_is_dead(self) -> bool {
        let owner = self.owner.process();
        owner.is_some_and(|owner| matches!(owner.watch(), Ok(Life::Dead)))
    }

    /// Whether the owner is `end` of this process; not so for its copy in a forked child.
    pub(crate) fn is_ours(self, end: u64) -> bool {
        self.is_reserved()
            && self.end.load(Ordering::Relaxed) == end
            && Process::current().is_ok_and(|us| self.owner.process() == Some(us))
    }

    /// Ends the reservation. A message in steps that is not whole is taken back.
    pub(crate) fn give_back(self) {
        self.give_back_as(message::WITHDRAWN);
    }

    /// The last step of a message is done.
    #[cfg(feature = "tokio")]
    pub(crate) fn message_is_whole(self) {
        self.give_back_as(message::WHOLE);
    }

    /// As [`give_back`](Self::give_back), where a message in steps was `left` so.
    fn give_back_as(self, left: u32) {
        // First, so that it is not left behind by one who is killed here.
        if let Some(read) = self.read {
            reader::unmark(read);
        }
        let state = state_word::state(self.state, Ordering::Relaxed);
        let (is_awaited, left) = match state {
            // It is long, so a call in vain is little beside it.
            message::SENDING | message::STEPPING => (true, left),
            _ => (state == message::AWAITED, message::WHOLE),
        };
        // SYNC: sender-state
        state_word::set_state(self.state, left, Ordering::Release);
        self.owner.clear();
        if let Some(counters) = self.counters.filter(|_| left != message::WHOLE) {
            counters.count_aborted();
        }
        if is_awaited {
            futex::wake(self.owner.word(), i32::MAX);
        }
    }

    /// Ends the reservation but for its note, which the next owner of the lock removes. By the owner, without the lock:
    /// nobody else moves a position with its mark or names its end.
    pub(crate) fn let_go(self) {
        if let Some(read) = self.read {
            reader::unmark(read);
        }
        // SYNC: let-go. What the owner has read and written in place comes before what others do there.
        self.end.store(NO_END, Ordering::Release);
    }

    /// Removes the note of an owner that has let go.
    pub(crate) fn tidy_up(self) {
        if self.is_reserved() && self.has_let_go() {
            self.give_back();
        }
    }

    /// For a caller that has just taken the lock: whether the owner died while it had it.
    fn has_died_under_the_lock(self) -> bool {
        let state = state_word::state(self.state, Ordering::Relaxed);
        matches!(state, message::RESERVING | message::STEPPING)
    }

    fn has_let_go(self) -> bool {
        // SYNC: let-go
        self.end.load(Ordering::Acquire) == NO_END
    }

    /// The id of the living owner that keeps `end` from using the side, if there is one. A reservation that `end` itself has
    /// forgotten, that a dead process had, or that its owner has let go of, is ended.
    ///
    /// # Errors
    ///
    /// What the look after the owner's process reports.
    #[cold]
    pub(crate) fn owner_but(self, end: u64) -> Result<Option<u32>, Fault> {
        if !self.is_reserved() {
            return Ok(None);
        }
        if self.is_ours(end) && !self.has_died_under_the_lock() || self.has_let_go() {
            self.give_back();
            return Ok(None);
        }
        if !self.has_died_under_the_lock() {
            if let Some(owner) = self.owner.process() {
                if !matches!(owner.watch()?, Life::Dead) {
                    if state_word::state(self.state, Ordering::Relaxed) == message::RESERVED {
                        state_word::set_state(self.state, message::AWAITED, Ordering::Relaxed);
                    }
                    return Ok(Some(owner.id));
                }
            }
        }
        self.give_back_as(message::ORPHANED);
        Ok(None)
    }

    /// Releases the lock and sleeps until the owner may have ended its reservation. The caller then looks again.
    ///
    /// # Errors
    ///
    /// [`Fault::NotNow`] when the time-out has passed.
    pub(crate) fn wait_for(
        self,
        owner: u32,
        guard: Guard<'_>,
        timeout: Timeout,
        look_after: &mut Duration,
    ) -> Result<(), Fault> {
        drop(guard);
        self.owner.wait_while(owner, timeout, look_after)
    }
}

/// For a slot, or a message in steps, of which this end is not the owner: `what` is a copy in a forked child.
pub(crate) fn not_the_owner(what: &str) -> Fault {
    Fault::Io(std::io::Error::new(
        std::io::ErrorKind::Unsupported,
        format!(
            "this {what} belongs to the process that made it, and this one is its forked child"
        ),
    ))
}

/// Names no end: beside an owner, that it has let go.
pub(super) const NO_END: u64 = 0;

/// What tells one end from others of its process, also from those of another copy of this crate in it: each copy
/// counts on from a random number.
pub(crate) fn new_end() -> u64 {
    use std::hash::{BuildHasher, RandomState};

    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    if NEXT.load(Ordering::Relaxed) == 0 {
        let first = RandomState::new().hash_one(std::process::id()).max(1);
        // Another thread may have been first.
        let _ = NEXT.compare_exchange(0, first, Ordering::Relaxed, Ordering::Relaxed);
    }
    NEXT.fetch_add(1, Ordering::Relaxed).max(NO_END + 1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn owner() -> OwnerRecord {
        OwnerRecord {
            id: AtomicU32::new(0),
            token: AtomicU32::new(0),
            birth: AtomicU64::new(0),
            namespace: AtomicU64::new(0),
        }
    }

    /// The note of a side that `end` of this process holds.
    fn with_a_reserved_side(end: u64, test: impl FnOnce(Reservation<'_>)) {
        let (state, owner, end_word) = (AtomicU32::new(0), owner(), AtomicU64::new(0));
        let reservation = Reservation {
            state: &state,
            owner: &owner,
            end: &end_word,
            read: None,
            counters: None,
        };
        reservation.take(end).unwrap();
        reservation.is_lent();
        test(reservation);
    }

    #[test]
    fn one_who_is_kept_out_leaves_a_mark() {
        with_a_reserved_side(1, |reservation| {
            assert!(reservation.is_ours(1) && !reservation.is_ours(2));
            assert_eq!(reservation.owner_but(2).unwrap(), Some(std::process::id()));
            assert_eq!(reservation.state.load(Ordering::Relaxed), message::AWAITED);
            assert!(
                reservation.is_ours(1),
                "a mark changes nothing for the owner"
            );
            reservation.give_back();
            assert!(!reservation.is_reserved() && reservation.owner.process().is_none());
            assert_eq!(reservation.owner_but(2).unwrap(), None);
        });
    }

    #[test]
    fn an_end_gives_back_what_it_has_forgotten() {
        with_a_reserved_side(1, |reservation| {
            assert_eq!(reservation.owner_but(1).unwrap(), None);
            assert!(!reservation.is_reserved());
        });
    }

    #[test]
    fn one_who_died_while_it_became_the_owner_keeps_nobody_out() {
        with_a_reserved_side(1, |reservation| {
            reservation.take(1).unwrap();
            assert_eq!(reservation.owner_but(2).unwrap(), None);
            assert!(!reservation.is_reserved());
        });
    }

    #[test]
    fn an_owner_whose_id_another_process_has_now_is_dead() {
        with_a_reserved_side(1, |reservation| {
            let us = reservation.owner.process().unwrap();
            let birth = us.birth ^ 1;
            reservation.owner.note(Process { birth, ..us });
            assert_eq!(reservation.owner_but(2).unwrap(), None);
            assert!(!reservation.is_reserved());
        });
    }
}
