//! How the time is spent: the length of a slice, and whether another round fits.

use std::time::{Duration, Instant};

/// Rounds to aim at; more are run when slices are at their longest.
const WANTED_ROUNDS: u32 = 10;

/// Rounds for which slices are made shorter than [`SHORTEST_SLICE`].
const FEWEST_ROUNDS: u32 = 3;

/// Below this, waking the far end and confirming are seen in the figures.
const SHORTEST_SLICE: Duration = Duration::from_millis(30);

/// Above this, neighbouring slices are too far apart to be compared.
const LONGEST_SLICE: Duration = Duration::from_millis(100);

/// The plan for one bench.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// How long each system is measured in each round of each workload.
    pub(crate) slice: Duration,
    total: Duration,
    start: Instant,
}

impl Schedule {
    /// Plans `slices` slices a round within `total`, from now on.
    pub(crate) fn new(total: Duration, slices: u32) -> Self {
        Self {
            slice: slice(total, slices),
            total,
            start: Instant::now(),
        }
    }

    /// A slice of the round before the first, which only warms up pages, caches and clocks.
    pub(crate) fn warm_up_slice(&self) -> Duration {
        self.slice / 8
    }

    /// The part of the time that is over, from 0 to 1.
    pub(crate) fn progress(&self) -> f64 {
        (self.start.elapsed().as_secs_f64() / self.total.as_secs_f64()).min(1.0)
    }

    /// Whether one more round, as long as the `done` ones since `began`, ends in time. The first
    /// always does: there is no table without it.
    pub(crate) fn has_room(&self, done: u32, began: Instant) -> bool {
        done == 0 || self.start.elapsed() + began.elapsed() / done <= self.total
    }
}

fn slice(total: Duration, slices: u32) -> Duration {
    let fitting = |rounds: u32| total / (slices * rounds).max(1);
    fitting(WANTED_ROUNDS)
        .clamp(SHORTEST_SLICE, LONGEST_SLICE)
        .min(fitting(FEWEST_ROUNDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_fill_the_time_with_the_wanted_rounds() {
        assert_eq!(
            slice(Duration::from_secs(16), 32),
            Duration::from_millis(50)
        );
    }

    #[test]
    fn slices_keep_within_their_limits() {
        assert_eq!(slice(Duration::from_secs(4), 32), SHORTEST_SLICE);
        assert_eq!(slice(Duration::from_secs(600), 32), LONGEST_SLICE);
    }

    #[test]
    fn slices_shrink_for_the_fewest_rounds_when_time_is_short() {
        assert_eq!(
            slice(Duration::from_millis(960), 32),
            Duration::from_millis(10)
        );
    }

    #[test]
    fn the_first_round_always_has_room() {
        let schedule = Schedule::new(Duration::ZERO, 32);
        assert!(schedule.has_room(0, Instant::now()));
        assert!(!schedule.has_room(1, Instant::now() - Duration::from_secs(1)));
    }
}
