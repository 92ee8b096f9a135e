//! The first moment of a receiver's wait: it goes on looking, or it steps back.
//!
//! Looking meets a peer that answers without delay. It takes no clock and leaves no mark. In a stream of short messages it
//! would be wrong: a receiver as fast as its sender asks for each record's cache line the moment the record is there, and
//! the sender has to get the line back before it can write the next record. A receiver that steps back for some
//! microseconds finds many records, and each side has the lines to itself meanwhile. For long messages looking is right:
//! one side copies out what the other copies in.

use crate::segment::layout::Event;
use crate::sync::{look_hint, spin_hint};
use crate::sys::{clock, cpus};

/// Looks in the first moment. In the first half the processor is only kept from running ahead, so that an answer is met
/// sooner (`docs/performance.md`, "Round trips"). In the second half the CPU is given the hint that this is a loop.
const LOOKS: u32 = 64;

/// It is a stream from this score on: records found at the first look, less [`LOSS`] for each other one.
const STREAM: u32 = 32;
/// Highest score, so that the end of a stream is soon noticed.
const MAX_SCORE: u32 = 64;
/// An answer to a request, and a few in a row, never make a stream.
const LOSS: u32 = 4;

/// How long to step back, 2.5 to 6 µs. Messages of 8 bytes, in millions a second on near and far CPUs: 58 and 23 with an
/// eighth of it, 72 and 36 with half, 77 and 42 so (`docs/performance.md`).
const STEP_TICKS: u64 = clock::FRESH_TICKS / 8;

/// Longest message that counts for a stream.
const SHORT: usize = 8 * 1024;

/// How thick the records of one end have come lately.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Counts for [`MAX_SCORE`] at most.
    found: u32,
}

impl Stream {
    /// A record was there at the first look.
    #[inline(always)]
    pub(crate) fn found(&mut self) {
        self.found = self.found.wrapping_add(1);
    }

    /// A message of `len` bytes was there.
    pub(crate) fn took(&mut self, len: usize) {
        if len > SHORT {
            self.found = 0;
        }
    }

    /// For a receiver that has found no record: looks for a moment if the peer runs on another CPU. Returns whether there is
    /// one now. `event` knows where the peer ran last.
    pub(crate) fn look(&mut self, event: &Event, ready: impl Fn() -> bool) -> bool {
        self.look_after(step_back, event, ready)
    }

    fn look_after(
        &mut self,
        step_back: impl FnOnce(),
        event: &Event,
        ready: impl Fn() -> bool,
    ) -> bool {
        if cfg!(loom) || !cpus::can_run_beside_us(event.peer_cpu()) {
            return false;
        }
        self.found = self.found.min(MAX_SCORE);
        if self.found >= STREAM {
            step_back();
            if ready() {
                self.found -= LOSS;
                return true;
            }
            // It has come to its end.
            self.found = 0;
        }
        self.found = self.found.saturating_sub(LOSS);
        (0..LOOKS).any(|at| {
            let is_ready = ready();
            if !is_ready && at >= LOOKS / 2 {
                spin_hint();
            } else if !is_ready {
                look_hint();
            }
            is_ready
        })
    }
}

fn step_back() {
    let start = clock::ticks();
    while clock::ticks().wrapping_sub(start) < STEP_TICKS {
        spin_hint();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Whether there was a look, and before each of them a step back.
    fn steps_back_first(stream: &mut Stream) -> bool {
        let (has_stepped, looks) = (Cell::new(false), Cell::new(0));
        let event = Event::unused();
        stream.look_after(
            || has_stepped.set(looks.get() == 0),
            &event,
            || {
                looks.set(looks.get() + 1);
                true
            },
        );
        assert_eq!(looks.get(), 1);
        has_stepped.get()
    }

    #[test]
    fn a_step_back_takes_its_time() {
        let start = clock::ticks();
        step_back();
        assert!(clock::ticks().wrapping_sub(start) >= STEP_TICKS);
    }

    #[test]
    fn one_who_meets_a_stream_steps_back_before_it_looks() {
        let mut stream = Stream::default();
        (0..MAX_SCORE).for_each(|_| stream.found());
        assert!(steps_back_first(&mut stream));
    }

    #[test]
    fn one_record_for_each_look_is_never_a_stream() {
        let mut stream = Stream::default();
        for _ in 0..1000 {
            stream.look(&Event::unused(), || true);
            stream.found();
        }
        assert!(stream.found < STREAM);
    }

    #[test]
    fn long_messages_make_no_stream() {
        let mut stream = Stream::default();
        for _ in 0..MAX_SCORE {
            stream.found();
            stream.took(SHORT + 1);
        }
        assert!(!steps_back_first(&mut stream));
    }

    #[test]
    fn a_stream_that_ends_is_one_no_more() {
        let mut stream = Stream::default();
        (0..MAX_SCORE).for_each(|_| stream.found());
        assert!(!stream.look(&Event::unused(), || false));
        assert_eq!(stream.found, 0);
    }
}
