//! What one side of a ring sleeps on and the other rings: the armed word and the tokens.
//!
//! # The protocol
//!
//! A sleeper, under its side's lock: stores a *new* number in `armed`, never 0; full fence; looks at the
//! ring once more; takes stale tokens out; lets go of the lock and sleeps in poll(2) on the socket, without
//! bound.
//!
//! A ringer: makes its change to the ring; full fence; loads `armed`; if it is `e ≠ 0`: sends token `e`, and
//! only then `CAS(armed, e → 0)`.
//!
//! # Why no wake-up is lost
//!
//! - *Change against arming*: each side fences between its store and its load, so the sleeper sees
//!   the change or the ringer sees the arming, or both.
//! - *A ringer killed anywhere*: the armed word is cleared last, so the next change rings again. A
//!   change whose maker died before it rang counts as not made until then: its call never returned.
//! - *A slow ringer*: between its token and its CAS the sleeper may wake, take everything and arm
//!   again. The number is new, so the stale CAS fails and the sleeper stays marked (I4).
//! - *Falling asleep too late*: a token stays in the socket, so poll(2) does not sleep.
//! - *Several sleepers*: a token wakes everyone. All sleepers of a side are owed a ring for the same thing:
//!   a record, or room for the longest one. A token is taken out only as stale: under the lock, by a
//!   sleeper that armed a newer number and *then* found that thing not there. Any change that another one
//!   might miss thereby comes after, and rings that newer number. A sleeper that finds something to do
//!   takes no token, so the others still see it.
//! - *A close*: poll(2) sees the hang-up of the last holder by itself, and that of any other changes nothing
//!   that a sleeper waits for. So a close is counted, for those who do not sleep, and not rung for.
//!
//! # What the socket shows
//!
//! A token is in the sleepers' socket or `armed` is not 0, always; `backend::shm::readiness` builds on it.
//!
//! - *At first* there is the token with which a pipe is made. Its number is 0, which is nobody's own.
//! - *A token goes* only by a sleeper that has stored `armed` before, and no sleeper stores 0, also where
//!   its number wraps around.
//! - *`armed` becomes 0* only by the CAS of a ringer that has sent token `e` before. If that token has gone
//!   since, somebody has armed another number since, and the CAS fails.
//!
//! A number comes again after 2³² − 1 armings. Only a ringer that was stopped between its look and its CAS
//! for as long as all these take, over an hour if nothing else is done, could take the new one for its own.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::segment::layout::Event;
use crate::sync::{AtomicU32, Ordering, full_fence, store_over_swaps};
use crate::sys::{clock, cpus, socket};

/// How many stale tokens a side that has nothing to do takes out at a time: a flood must not keep it.
pub(crate) const ALL_TOKENS: usize = 64;
/// As many as a sleeper takes out before it parks. Mostly there is one, of its last sleep; any other ends this
/// sleep at once and goes before the next, and to look for one takes a tenth of all that a wake-up takes.
pub(crate) const ONE_TOKEN: usize = 1;

impl Event {
    /// Marks the caller as about to sleep, by a number that it returns. Under the sleepers' lock, of
    /// which `last_number` is a part. The caller fences and looks before it parks.
    pub(crate) fn arm(&self, last_number: &AtomicU32) -> u32 {
        // 0 would say that nobody waits.
        let number = last_number.load(Ordering::Relaxed).wrapping_add(1).max(1);
        last_number.store(number, Ordering::Relaxed);
        store_over_swaps(&self.armed, number);
        number
    }

    /// Whether packs are of use to receivers, as far as senders know.
    pub(crate) fn takes_runs(&self) -> bool {
        self.takes_runs.load(Ordering::Relaxed) != 0
    }

    /// A receiver has taken all that was there in one call.
    pub(crate) fn note_taken_together(&self) {
        if !self.takes_runs() {
            self.takes_runs.store(1, Ordering::Relaxed);
        }
    }

    /// A receiver has taken one message out of a pack, which costs it more than one that is a record.
    pub(crate) fn note_taken_singly(&self) {
        if self.takes_runs() {
            self.takes_runs.store(0, Ordering::Relaxed);
        }
    }

    /// Where senders want to be rung; under their lock and before [`arm`](Self::arm).
    pub(crate) fn set_wake_at(&self, position: u64) {
        self.wake_at.store(position, Ordering::Relaxed);
    }

    /// Takes out up to `most` tokens of older numbers than the caller's own. Under the sleepers' lock, after
    /// [`arm`](Self::arm) and a look that found the ring unchanged.
    ///
    /// # Errors
    ///
    /// As [`socket::peek_token`]: with tokens that it cannot take out, poll(2) would not sleep.
    pub(crate) fn drop_stale_tokens(
        &self,
        socket: BorrowedFd<'_>,
        number: u32,
        most: usize,
    ) -> io::Result<()> {
        for _ in 0..most {
            match socket::peek_token(socket)? {
                Some(token) if token != number => socket::drop_token(socket)?,
                _ => break,
            }
        }
        Ok(())
    }

    /// Wakes the sleepers, if any, after a change to the ring; false when all holders of their side are gone, as far
    /// as that shows in passing.
    ///
    /// # Errors
    ///
    /// As [`socket::send_token`]; the event then stays armed, and the next ring tries again.
    #[inline]
    pub(crate) fn ring(&self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        full_fence();
        let armed = self.armed.load(Ordering::Relaxed);
        if armed == 0 {
            return Ok(true);
        }
        self.ring_armed(socket, armed)
    }

    /// How long after `since` it was rung last; `None` if before.
    pub(crate) fn rung_after(&self, since: Duration) -> Option<Duration> {
        let rung_at = Duration::from_nanos(self.rung_at.load(Ordering::Relaxed));
        rung_at.checked_sub(since)
    }

    /// Whether anybody waits, by a look that may come too early to see it.
    #[inline]
    pub(crate) fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed) != 0
    }

    /// Wakes senders after `head` was published as `position`, once there is as much room as they
    /// want. The ring is the receivers' own to measure, so an empty one (`is_empty`) always rings.
    ///
    /// # Errors
    ///
    /// As [`ring`](Self::ring).
    #[inline]
    pub(crate) fn ring_for_room(
        &self,
        socket: BorrowedFd<'_>,
        position: u64,
        is_empty: bool,
    ) -> io::Result<()> {
        full_fence();
        let armed = self.armed.load(Ordering::Relaxed);
        if armed == 0 {
            return Ok(());
        }
        let beyond = position.wrapping_sub(self.wake_at.load(Ordering::Relaxed)) as i64;
        if beyond >= 0 || is_empty {
            self.ring_armed(socket, armed)?;
        }
        Ok(())
    }

    #[cold]
    fn ring_armed(&self, socket: BorrowedFd<'_>, number: u32) -> io::Result<bool> {
        let now = clock::now().as_nanos() as u64;
        self.rung_at.store(now, Ordering::Relaxed);
        let is_there = socket::send_token(socket, number)?;
        // For those who look at what has been rung.
        self.bell.fetch_add(1, Ordering::Relaxed);
        self.disarm(number);
        Ok(is_there)
    }

    fn disarm(&self, number: u32) {
        let _ = self
            .armed
            .compare_exchange(number, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Tells the sleepers' side that a holder of the ringing side has closed its descriptors. Who sleeps need not
    /// hear of it: the kernel wakes them when it was the last.
    pub(crate) fn announce_close(&self) {
        // SYNC: close. Whoever sees the count sees the hang-up, if that holder was the last.
        self.closes.fetch_add(1, Ordering::Release);
    }

    /// Notes where the ringing side runs. Now and then, and by itself before it sleeps.
    #[inline]
    pub(crate) fn note_cpu(&self) {
        let cpu = cpus::current();
        if self.peer_cpu.load(Ordering::Relaxed) != cpu {
            self.peer_cpu.store(cpu, Ordering::Relaxed);
        }
    }

    /// Where the ringing side ran not long ago.
    #[inline]
    pub(crate) fn peer_cpu(&self) -> u32 {
        self.peer_cpu.load(Ordering::Relaxed)
    }

    /// How many closes have been announced.
    #[inline]
    pub(crate) fn closes(&self) -> u32 {
        // SYNC: close
        self.closes.load(Ordering::Acquire)
    }
}

#[cfg(all(test, not(loom)))]
impl Event {
    /// One on which nobody sleeps, and whose other side was seen on no CPU yet.
    pub(crate) fn unused() -> Self {
        use crate::sync::AtomicU64;

        Self {
            armed: AtomicU32::new(0),
            bell: AtomicU32::new(0),
            closes: AtomicU32::new(0),
            peer_cpu: AtomicU32::new(0),
            wake_at: AtomicU64::new(0),
            rung_at: AtomicU64::new(0),
            takes_runs: AtomicU32::new(0),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_arming_has_a_new_number_and_none_is_0() {
        let event = Event::unused();
        let last_number = AtomicU32::new(u32::MAX - 2);
        for expected in [u32::MAX - 1, u32::MAX, 1, 2] {
            assert_eq!(event.arm(&last_number), expected);
            assert_eq!(event.armed.load(Ordering::Relaxed), expected);
        }
    }
}
