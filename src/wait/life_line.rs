//! The life-line: how an end finds out that the other side has no holder any more.
//!
//! The kernel hangs the life-line's socket up when the last holder of the other side closes it or dies. A sleeper in
//! poll(2) is woken by that. A call that does not sleep looks by a system call: when a close was announced, or when its
//! last look is a while ago.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::segment::layout::Event;
use crate::sync::cold_path;
use crate::sys::{clock, socket};

/// A look holds for this long.
const FRESH: Duration = Duration::from_micros(50);

/// Calls for each look at the clock while so many take no longer than [`BUSY_TICKS`].
const UNASKED: u32 = 4;

/// Some 2 µs.
const BUSY_TICKS: u64 = clock::FRESH_TICKS / 16;

/// A move of the other side is a sign of life for this long; one seen later may be that of one who has died
/// since.
const RECENT_TICKS: u64 = clock::FRESH_TICKS * 4;

/// What an end remembers of its looks.
#[derive(Debug)]
pub(crate) struct LifeLine {
    /// How many closes had been announced at the last look, and [`DISCONNECTED`].
    closes: u64,
    looked_at: Duration,
    /// As `looked_at`, by the processor's own clock.
    ticks: u64,
    /// When the clock was last asked, in the same unit.
    asked_at: u64,
    /// Calls from this one on to the next that asks the clock.
    unasked: u32,
    /// Where the other side was when it was last asked for.
    position: u64,
}

/// Beside the count of closes: the other side was seen disconnected, which is for good. No count is equal to it.
const DISCONNECTED: u64 = 1 << 32;

impl Default for LifeLine {
    fn default() -> Self {
        Self {
            closes: 0,
            looked_at: Duration::ZERO,
            ticks: 0,
            asked_at: 0,
            unasked: 1,
            position: 0,
        }
    }
}

impl LifeLine {
    /// Looks if a close was announced since the last look.
    ///
    /// # Errors
    ///
    /// What poll(2) reports; likewise below.
    #[inline]
    pub(crate) fn is_disconnected_by_close(
        &mut self,
        event: &Event,
        socket: BorrowedFd<'_>,
    ) -> io::Result<bool> {
        if event.closes() == self.closes as u32 {
            Ok(self.is_seen_disconnected())
        } else {
            self.look(event, socket)
        }
    }

    /// Looks if a close was announced or the last look is over 50 µs old.
    pub(crate) fn is_disconnected(
        &mut self,
        event: &Event,
        socket: BorrowedFd<'_>,
    ) -> io::Result<bool> {
        if event.closes() == self.closes as u32 && clock::now() - self.looked_at < FRESH {
            return Ok(self.is_seen_disconnected());
        }
        self.look(event, socket)
    }

    /// Whether, as far as shared memory shows, the other side is what it was at the last look: connected,
    /// and nobody has announced a close since.
    #[inline(always)]
    pub(crate) fn is_as_it_was(&self, event: &Event) -> bool {
        u64::from(event.closes()) == self.closes
    }

    /// Whether the other side was seen disconnected.
    pub(crate) fn is_seen_disconnected(&self) -> bool {
        self.closes & DISCONNECTED != 0
    }

    /// For the hot path: whether it is time for [`is_due_in_passing`](Self::is_due_in_passing). Counts as a call.
    ///
    /// The clock costs two thirds of what all the rest of a small send does, so calls that come thick and fast ask it
    /// only each [`UNASKED`]th time.
    #[inline(always)]
    pub(crate) fn is_to_ask(&mut self) -> bool {
        self.unasked = self.unasked.wrapping_sub(1);
        self.unasked == 0
    }

    /// Asks the clock whether it is time for [`has_progressed`](Self::has_progressed), and if not that, to
    /// [`look`](Self::look).
    pub(crate) fn is_due_in_passing(&mut self) -> bool {
        let now = clock::ticks();
        if now.wrapping_sub(self.asked_at) < BUSY_TICKS {
            self.unasked = UNASKED;
        } else {
            cold_path();
            self.unasked = 1;
        }
        self.asked_at = now;
        now.wrapping_sub(self.ticks) > clock::FRESH_TICKS
    }

    /// Makes the next call ask the clock.
    pub(crate) fn ask_next_time(&mut self) {
        self.unasked = 1;
    }

    /// As [`is_due_in_passing`](Self::is_due_in_passing), by the clock in any case and without counting as a
    /// call.
    pub(crate) fn is_due(&self) -> bool {
        clock::ticks().wrapping_sub(self.ticks) > clock::FRESH_TICKS
    }

    /// Whether the other side has moved to another `position` since the last call, so that somebody
    /// of it was alive a moment ago and a look can wait.
    pub(crate) fn has_progressed(&mut self, position: u64) -> bool {
        let now = clock::ticks();
        let is_recent = now.wrapping_sub(self.ticks) < RECENT_TICKS;
        let has_progressed = position != self.position && is_recent;
        self.position = position;
        if has_progressed {
            self.ticks = now;
        }
        has_progressed
    }

    /// The caller has seen the hang-up by itself.
    pub(crate) fn note_disconnected(&mut self) {
        self.closes |= DISCONNECTED;
    }

    /// A token was sent over the socket, or had nobody to go to, which is as good as a look.
    pub(crate) fn note_rung(&mut self, is_there: bool) {
        if !is_there {
            self.note_disconnected();
        }
        self.ticks = clock::ticks();
    }

    /// Looks in any case.
    #[cold]
    pub(crate) fn look(&mut self, event: &Event, socket: BorrowedFd<'_>) -> io::Result<bool> {
        // Before the look, so that a close after it is looked for again.
        self.closes = self.closes & DISCONNECTED | u64::from(event.closes());
        self.looked_at = clock::now();
        self.ticks = clock::ticks();
        if !self.is_seen_disconnected() && socket::is_hung_up(socket)? {
            self.note_disconnected();
        }
        Ok(self.is_seen_disconnected())
    }
}
