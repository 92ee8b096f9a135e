//! What becomes of the slices of all rounds: medians, and ratios within each round.
//!
//! A machine's mood changes within a second, so that figures of different rounds do not compare;
//! those of one round do, their slices being neighbours.

use super::systems::System;
use super::workloads::Tally;

/// One round of a workload: a tally for each system, in the order of [`System::ALL`].
pub(crate) type Round = [Tally; System::ALL.len()];

/// Where the kernel pipe, to which all ratios refer, is in a round.
const REFERENCE: usize = 2;
const _: () = assert!(matches!(System::ALL[REFERENCE], System::KernelPipe));

/// What the rounds say about one system.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    /// Median over the rounds of the seconds that one message or round trip took.
    pub(crate) seconds_per_message: f64,
    /// Length of a message in bytes; an average for a file, whose last one is shorter.
    pub(crate) bytes_per_message: f64,
    /// Median over the rounds of the kernel pipe's time divided by this system's.
    pub(crate) ratio: f64,
    /// The largest of those ratios.
    pub(crate) best_ratio: f64,
}

impl Summary {
    /// Summarises the system at index `system`; `None` when there is no round.
    pub(crate) fn of(rounds: &[Round], system: usize) -> Option<Self> {
        let times: Vec<f64> = rounds.iter().map(|round| seconds(&round[system])).collect();
        let ratios: Vec<f64> = rounds
            .iter()
            .map(|round| seconds(&round[REFERENCE]) / seconds(&round[system]))
            .collect();
        let first = rounds.first()?[system];
        Some(Self {
            seconds_per_message: median(&times)?,
            bytes_per_message: first.bytes as f64 / first.messages as f64,
            ratio: median(&ratios)?,
            best_ratio: ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

fn seconds(tally: &Tally) -> f64 {
    tally.elapsed.as_secs_f64() / tally.messages as f64
}

/// The middle value, or the mean of the two in the middle; `None` of nothing.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.len() / 2;
    let high = *sorted.get(upper)?;
    if sorted.len() % 2 == 1 {
        return Some(high);
    }
    Some(f64::midpoint(sorted[upper - 1], high))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A round in which the systems took so many microseconds for ten messages of 8 bytes.
    fn round(micros: [u64; 4]) -> Round {
        micros.map(|micros| Tally {
            messages: 10,
            bytes: 80,
            elapsed: Duration::from_micros(micros),
        })
    }

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn ratios_are_taken_within_each_round() {
        // The machine is ten times slower in the second round, for all systems alike.
        let rounds = [round([10, 50, 100, 200]), round([100, 500, 1000, 2000])];
        let summary = Summary::of(&rounds, 0).unwrap();
        assert_eq!((summary.ratio, summary.best_ratio), (10.0, 10.0));
        assert_eq!(summary.bytes_per_message, 8.0);
        let slower = Summary::of(&rounds, 3).unwrap();
        assert_eq!(slower.ratio, 0.5);
    }

    #[test]
    fn the_best_round_is_the_one_with_the_largest_ratio() {
        let rounds = [
            round([50, 1, 100, 1]),
            round([20, 1, 100, 1]),
            round([25, 1, 100, 1]),
        ];
        let summary = Summary::of(&rounds, 0).unwrap();
        assert_eq!((summary.ratio, summary.best_ratio), (4.0, 5.0));
        assert_eq!(summary.seconds_per_message, 25e-7);
    }

    #[test]
    fn the_kernel_pipe_compares_to_itself_as_one() {
        let summary = Summary::of(&[round([1, 2, 3, 4]), round([5, 6, 7, 8])], REFERENCE).unwrap();
        assert_eq!((summary.ratio, summary.best_ratio), (1.0, 1.0));
    }

    #[test]
    fn no_rounds_have_no_summary() {
        assert_eq!(Summary::of(&[], 0), None);
    }
}
