//! What one side of a ring sleeps on and the other rings: the armed word, the bell and the tokens.
//!
//! # The protocol
//!
//! A sleeper, under its side's lock: reads `bell`; stores a *new* number in `armed`; full fence;
//! looks at the ring once more; lets go of the lock and parks, in futex(2) on `bell` for a bounded
//! time or in poll(2) on the socket without bound.
//!
//! A ringer: makes its change to the ring; full fence; loads `armed`; if it is `e ≠ 0`: sends token
//! `e` when somebody polls, adds 1 to `bell` and wakes the futex when somebody may sleep there, and
//! only then `CAS(armed, e → 0)`.
//!
//! # Why no wake-up is lost
//!
//! - *Change against arming*: each side fences between its store and its load, so the sleeper sees
//!   the change or the ringer sees the arming, or both.
//! - *A ringer killed anywhere*: the armed word is cleared last, so the next change rings again. A
//!   change whose maker died before it rang counts as not made until then: its call never returned.
//! - *A slow ringer*: between its ring and its CAS the sleeper may wake, take everything and arm
//!   again. The number is new, so the stale CAS fails and the sleeper stays marked (I4).
//! - *Falling asleep too late for the wake*: the bell has moved, so futex(2) does not sleep; a token
//!   stays in the socket, so poll(2) does not either.
//! - *Several sleepers*: everyone is woken. All sleepers of a side are owed a ring for the same thing:
//!   a record, or room for the longest one. A token is taken out only as stale: under the lock, by a
//!   sleeper that armed a newer number, marked it for poll(2), and *then* found that thing not there.
//!   Any change that another one might miss thereby comes after, and rings that newer number. A
//!   sleeper that finds something to do takes no token, so the others still see it.
//!
//! # What the socket shows
//!
//! A token is in the sleepers' socket or `armed` has `POLLING`, always, from the making of the pipe on:
//! `backend::shm::readiness` builds on it. Keep [`Event::arm`] from dropping the flags of others, and a
//! ringer from clearing the word before its token is sent.

use std::io;
use std::os::fd::BorrowedFd;

use crate::segment::layout::Event;
use crate::sync::{AtomicU32, Ordering, full_fence, store_over_swaps};
use crate::sys::{cpus, futex, socket};

/// Somebody may sleep in poll(2).
pub(crate) const POLLING: u32 = 1;
/// Somebody may sleep in futex(2).
pub(crate) const ON_FUTEX: u32 = 2;

const FLAGS: u32 = POLLING | ON_FUTEX;
const NUMBER: u32 = FLAGS + 1;

/// How many stale tokens one sleeper takes out at most before it parks: a flood must not keep it.
const TOKENS_AT_ONCE: usize = 64;

impl Event {
    /// Marks the caller as about to sleep and returns the armed word. Under the sleepers' lock, of
    /// which `last_number` is a part. The caller fences and looks before it parks.
    pub(crate) fn arm(&self, last_number: &AtomicU32, flag: u32) -> u32 {
        let number = last_number.load(Ordering::Relaxed).wrapping_add(1);
        last_number.store(number, Ordering::Relaxed);
        // Flags of others that sleep already stay; that they may have been rung meanwhile costs one
        // ring too many. A number that wraps to 0 still has its flag, so the word is never 0.
        let others = self.armed.load(Ordering::Relaxed) & FLAGS;
        let armed = number.wrapping_mul(NUMBER) | others | flag;
        store_over_swaps(&self.armed, armed);
        armed
    }

    /// Where senders want to be rung; under their lock and before [`arm`](Self::arm).
    pub(crate) fn set_wake_at(&self, position: u64) {
        self.wake_at.store(position, Ordering::Relaxed);
    }

    /// Takes out tokens of older numbers than the caller's own. Under the sleepers' lock, after
    /// `armed` (with [`POLLING`]) was stored and the ring was found unchanged.
    ///
    /// # Errors
    ///
    /// As [`socket::peek_token`]: with tokens that it cannot take out, poll(2) would not sleep.
    pub(crate) fn drop_stale_tokens(&self, socket: BorrowedFd<'_>, armed: u32) -> io::Result<()> {
        for _ in 0..TOKENS_AT_ONCE {
            match socket::peek_token(socket)? {
                Some(token) if token != armed / NUMBER => socket::drop_token(socket)?,
                _ => break,
            }
        }
        Ok(())
    }

    /// The bell as it is now; before arming.
    pub(crate) fn bell(&self) -> &AtomicU32 {
        &self.bell
    }

    /// Wakes the sleepers, if any, after a change to the ring.
    ///
    /// # Errors
    ///
    /// As [`socket::send_token`]; the event then stays armed, and the next ring tries again.
    #[inline]
    pub(crate) fn ring(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        full_fence();
        let armed = self.armed.load(Ordering::Relaxed);
        if armed == 0 {
            return Ok(());
        }
        self.ring_armed(socket, armed)
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
        let beyond = position
            .wrapping_sub(self.wake_at.load(Ordering::Relaxed))
            .cast_signed();
        if beyond >= 0 || is_empty {
            return self.ring_armed(socket, armed);
        }
        Ok(())
    }

    #[cold]
    fn ring_armed(&self, socket: BorrowedFd<'_>, armed: u32) -> io::Result<()> {
        let told = if armed & POLLING == 0 {
            Ok(())
        } else {
            socket::send_token(socket, armed / NUMBER)
        };
        if armed & ON_FUTEX == 0 {
            // Nobody is there to be woken; the count is for those who look at what has been rung.
            self.bell.fetch_add(1, Ordering::Relaxed);
        } else {
            self.strike_bell();
        }
        if told.is_ok() {
            self.disarm(armed);
        }
        told
    }

    /// Wakes whoever sleeps in futex(2), without any claim that the ring has changed.
    pub(crate) fn strike_bell(&self) {
        // SYNC: bell
        self.bell.fetch_add(1, Ordering::Release);
        futex::wake(&self.bell, i32::MAX);
    }

    fn disarm(&self, armed: u32) {
        let _ = self
            .armed
            .compare_exchange(armed, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Tells the sleepers that a holder of the ringing side has closed its descriptors.
    pub(crate) fn announce_close(&self) {
        // SYNC: close. Whoever sees the count sees the hang-up, if that holder was the last.
        self.closes.fetch_add(1, Ordering::Release);
        self.strike_bell();
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
