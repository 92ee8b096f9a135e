//! Medians, best rounds and ratios over the rounds of a cell.
//!
//! A ratio is formed within a round, whose systems ran right after one another, and never between
//! medians: the machine changes from round to round.

use std::collections::HashMap;

use crate::outcome::{Latency, Outcome, latency};
use crate::record::{Run, Slice};
use crate::workload::{Kind, Measure, Workload};

/// The figures of one system for one workload, in the measure's unit.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// Rounds in which it was measured.
    pub(crate) rounds: usize,
    /// The middle round's figure.
    pub(crate) median: f64,
    /// The best round's figure.
    pub(crate) best: f64,
    /// Median ratio to the limit of this workload; above 1 is better than it.
    pub(crate) to_limit: Option<f64>,
    /// Median ratio to the kernel pipe with 1 MiB.
    pub(crate) to_pipe: Option<f64>,
    /// Best ratio to the limit within one round.
    pub(crate) best_to_limit: Option<f64>,
    /// Median CPU nanoseconds for a message: receiving or pinging side, then its peers.
    pub(crate) cpu_nanos: [f64; 2],
    /// Median context switches, voluntary and not, of all sides for a message.
    pub(crate) switches: f64,
    /// Syscalls of all sides for a message, where they were counted.
    pub(crate) syscalls: Option<f64>,
    /// The shares of messages that were made, and read, where they lay in the channel; `None` where all copy.
    pub(crate) in_place: Option<[f64; 2]>,
    /// All rounds' times together.
    pub(crate) latency: Latency,
}

/// The middle one, or the mean of the middle two; `None` of none.
pub(crate) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let upper = *figures.get(middle)?;
    if figures.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(figures[middle - 1], upper))
}

/// The better of two figures.
fn better(measure: Measure, a: f64, b: f64) -> f64 {
    if measure.ratio(a, b) >= 1.0 { a } else { b }
}

/// Sums up a system's rounds of a workload; `None` when there is no good one.
pub(crate) fn cell(run: &Run, workload: Workload, system: &str) -> Option<Cell> {
    let measure = workload.measure();
    let outcomes = || {
        run.slices_of(workload, system)
            .filter_map(|slice| slice.outcome.as_ref().ok())
    };
    let figures: Vec<_> = outcomes().filter_map(|one| one.figure(measure)).collect();
    let per = |f: &dyn Fn(&Outcome) -> u64| {
        let all = outcomes()
            .map(|one| f(one) as f64 / one.used_over as f64)
            .collect();
        median(all)
    };
    let mut latency = latency();
    for outcome in outcomes() {
        latency.add(&outcome.latency).ok()?;
    }
    let to_limit = ratios(run, workload, system, workload.limit());
    Some(Cell {
        rounds: figures.len(),
        best: figures
            .iter()
            .copied()
            .reduce(|a, b| better(measure, a, b))?,
        median: median(figures)?,
        best_to_limit: to_limit.iter().copied().reduce(f64::max),
        to_limit: median(to_limit),
        to_pipe: median(ratios(run, workload, system, "pipe")),
        cpu_nanos: [
            per(&|one| one.main.cpu_nanos)?,
            per(&|one| one.peers.cpu_nanos)?,
        ],
        switches: per(&|one| {
            let (a, b) = (one.main, one.peers);
            a.voluntary + a.involuntary + b.voluntary + b.involuntary
        })?,
        syscalls: run
            .syscalls_of(workload, system)
            .and_then(|counts| counts.as_ref().ok())
            .map(|counts| counts.iter().sum()),
        in_place: (workload.kind == Kind::Loan).then(|| in_place(outcomes())),
        latency,
    })
}

/// The shares of messages that were made, and read, in the channel.
fn in_place<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> [f64; 2] {
    let (mut all, mut sums) = (0, [0, 0]);
    for outcome in outcomes {
        all += outcome.messages;
        sums = [0, 1].map(|side| sums[side] + outcome.in_place[side]);
    }
    sums.map(|sum| sum as f64 / all as f64)
}

/// The ratios of `system` to `reference` in each round that has both.
pub(crate) fn ratios(run: &Run, workload: Workload, system: &str, reference: &str) -> Vec<f64> {
    ratios_by_block(run, workload, system, reference)
        .into_iter()
        .map(|(_, ratio)| ratio)
        .collect()
}

/// As [`ratios`], each with the number of its block.
pub(crate) fn ratios_by_block(
    run: &Run,
    workload: Workload,
    system: &str,
    reference: &str,
) -> Vec<(usize, f64)> {
    let measure = workload.measure();
    let figure = |slice: &Slice| {
        let figure = slice.outcome.as_ref().ok()?.figure(measure)?;
        Some((slice.block, figure))
    };
    let theirs: HashMap<_, _> = run
        .slices_of(workload, reference)
        .filter_map(figure)
        .collect();
    run.slices_of(workload, system)
        .filter_map(figure)
        .filter_map(|(block, ours)| Some((block, measure.ratio(ours, *theirs.get(&block)?))))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::clock::Usage;

    /// So many messages in a second.
    pub(crate) fn outcome(messages: u64) -> Outcome {
        Outcome {
            messages,
            nanos: 1_000_000_000,
            main: Usage {
                cpu_nanos: 2 * messages,
                ..Usage::default()
            },
            peers: Usage::default(),
            used_over: messages,
            in_place: [0, 0],
            latency: latency(),
        }
    }

    fn slice(round: usize, system: &'static str, messages: u64) -> Slice {
        Slice {
            round,
            block: round,
            workload: one_way(),
            system,
            is_disturbed: false,
            outcome: Ok(outcome(messages)),
        }
    }

    fn one_way() -> Workload {
        Workload::all()
            .into_iter()
            .find(|one| one.to_string() == "one-way-8")
            .unwrap()
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn ratios_are_formed_within_a_round() {
        // The machine is ten times slower in the second round; the ratio stays.
        let run = Run {
            slices: vec![
                slice(0, "shm", 200),
                slice(0, "pipe", 100),
                slice(1, "shm", 20),
                slice(1, "pipe", 10),
                slice(2, "shm", 20),
            ],
            ..Run::default()
        };
        let cell = cell(&run, one_way(), "shm").unwrap();
        assert_eq!(cell.to_pipe, Some(2.0));
        assert_eq!((cell.rounds, cell.median, cell.best), (3, 20.0, 200.0));
        assert_eq!(cell.cpu_nanos, [2.0, 0.0]);
        assert_eq!(cell.to_limit, None);
    }

    #[test]
    fn a_disturbed_slice_counts_for_nothing() {
        let mut disturbed = slice(0, "shm", 1);
        disturbed.is_disturbed = true;
        let run = Run {
            slices: vec![disturbed, slice(0, "shm", 200), slice(0, "pipe", 100)],
            ..Run::default()
        };
        let cell = cell(&run, one_way(), "shm").unwrap();
        assert_eq!(
            (cell.rounds, cell.median, cell.to_pipe),
            (1, 200.0, Some(2.0))
        );
    }

    #[test]
    fn a_system_without_a_good_round_has_no_cell() {
        let mut bad = slice(0, "shm", 1);
        bad.outcome = Err("lost".into());
        let run = Run {
            slices: vec![bad],
            ..Run::default()
        };
        assert!(cell(&run, one_way(), "shm").is_none());
    }
}
