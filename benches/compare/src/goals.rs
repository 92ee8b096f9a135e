//! What shmpipe is meant to reach, beside what a run has shown.
//!
//! A goal is a ratio within a block to one other system, or to whichever rival between processes does best beside
//! it; above 1, shmpipe is the better one. The others are counts. Each workload names its fastest rival, whether
//! something is wanted there or not.

use shmpipe_measure::record::{Goal, OURS, Record};
use shmpipe_measure::rivals;
use shmpipe_measure::statistics::median;
use shmpipe_measure::systems::System;
use shmpipe_measure::workload::{Kind, Place, Workload};

/// So few syscalls for a message are none: those of a wait now and then.
const NO_SYSCALLS: f64 = 0.01;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wanted {
    /// So many times as good as the system with that name; of `None` the ratio is reported and nothing is wanted.
    Beside(&'static str, Option<f64>),
    /// The same beside whichever rival between processes does best.
    Fastest(Option<f64>),
    /// Every message made and read where it lies, without a copy.
    NoCopy,
    /// No syscall for a message.
    NoSyscalls,
}

/// The least ratio to the fastest rival that is wanted.
fn wanted_of_fastest(workload: Workload) -> Option<f64> {
    match (workload.place, workload.kind, workload.len) {
        (Place::TwoCpus, Kind::OneWay { senders: 1 }, 0..64) => Some(0.7),
        (Place::TwoCpus, Kind::OneWay { senders: 1 }, _) => Some(1.1),
        (Place::TwoCpus, Kind::Batch, _) => Some(1.2),
        (Place::TwoCpus, Kind::RoundTrip, ..=56) => Some(1.05),
        _ => None,
    }
}

/// What is wanted on a workload.
fn wanted(workload: Workload) -> Vec<Wanted> {
    use Wanted::{Beside, Fastest, NoCopy, NoSyscalls};
    const LARGE: usize = 64 << 10;
    let mut all = vec![Fastest(wanted_of_fastest(workload))];
    let beside = |name, ratio| Beside(name, Some(ratio));
    match workload.kind {
        Kind::Wake if workload.is_one_cpu() => all.push(beside("pipe", 0.85)),
        Kind::Wake => all.push(beside("pipe", 1.2)),
        _ if workload.is_one_cpu() => all.push(beside("pipe", 1.0 / 1.1)),
        Kind::RoundTrip if workload.len <= 56 => {
            let ratio = if workload.len <= 8 { 0.72 } else { 0.58 };
            all.extend([beside("atomics", ratio), Beside("atomics-fence", None)]);
        }
        Kind::RoundTrip => all.push(beside("pipe", 1.0)),
        Kind::Paced { .. } => all.push(beside("pipe", 1.0 / 1.1)),
        Kind::OneWay { senders: 2.. } => all.push(beside("pipe", 20.0)),
        Kind::OneWay { .. } if workload.len < 64 => all.push(beside("pipe", 45.0)),
        Kind::OneWay { .. } if workload.len >= LARGE => {
            all.extend([beside("memcpy", 0.95), beside("pipe", 2.0)]);
        }
        Kind::OneWay { .. } if workload.len >= 1024 => all.push(beside("memcpy", 0.95)),
        Kind::OneWay { .. } | Kind::Batch | Kind::File => {}
        Kind::Loan => all.push(NoCopy),
        Kind::Make => all.push(beside("pipe-plain", 0.1)),
    }
    // A slice has too few larger messages to tell one wait from a syscall for each.
    let is_busy =
        !matches!(workload.kind, Kind::Wake | Kind::Paced { .. }) && workload.len <= LARGE;
    if is_busy && workload.peers() == 1 && workload.place == Place::TwoCpus {
        all.push(NoSyscalls);
    }
    all
}

/// Whether a system is compared with by a goal of that workload.
pub(crate) fn is_compared(workload: Workload, system: &System) -> bool {
    let all = wanted(workload).into_iter();
    all.filter_map(|wanted| match wanted {
        Wanted::Beside(name, _) => Some(name),
        _ => None,
    })
    .any(|name| name == system.name)
}

/// Every goal for which the record has figures.
pub(crate) fn goals(record: &Record, workloads: &[Workload]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for &workload in workloads {
        let name = workload.to_string();
        for wanted in wanted(workload) {
            let goal = match wanted {
                Wanted::Beside(other, ratio) => beside(record, &name, other, ratio),
                Wanted::Fastest(ratio) => fastest(record, &name, ratio),
                Wanted::NoCopy => no_copy(record, &name),
                Wanted::NoSyscalls => no_syscalls(record, &name),
            };
            goals.extend(goal.map(Goal::judged));
        }
    }
    goals
}

fn beside(record: &Record, workload: &str, other: &str, wanted: Option<f64>) -> Option<Goal> {
    let all = record.ratios(workload, OURS, other);
    let among = |is_near: Option<bool>| {
        let chosen = all.iter().filter(|(block, _)| {
            is_near.is_none() || record.blocks.get(*block).and_then(|one| one.is_near()) == is_near
        });
        median(chosen.map(|(_, ratio)| *ratio).collect())
    };
    Some(Goal {
        workload: workload.to_owned(),
        reference: other.to_owned(),
        wanted,
        reached: among(None)?,
        reached_near: among(Some(true)),
        reached_far: among(Some(false)),
        ..Goal::default()
    })
}

fn fastest(record: &Record, workload: &str, wanted: Option<f64>) -> Option<Goal> {
    let (rival, _) = rivals::fastest(record, workload)?;
    let goal = beside(record, workload, &rival.name, wanted)?;
    Some(Goal {
        fastest_rival: true,
        ..goal
    })
}

fn count(workload: &str, reference: &str, wanted: f64, at_most: bool, reached: f64) -> Goal {
    Goal {
        workload: workload.to_owned(),
        reference: reference.to_owned(),
        wanted: Some(wanted),
        at_most,
        reached,
        ..Goal::default()
    }
}

fn no_copy(record: &Record, workload: &str) -> Option<Goal> {
    let cell = record.cell(workload, OURS)?;
    let [made, read] = cell.summary.as_ref()?.in_place?;
    Some(count(workload, "in place", 1.0, false, made.min(read)))
}

fn no_syscalls(record: &Record, workload: &str) -> Option<Goal> {
    let counts = record.cell(workload, OURS)?.syscalls_per_message?;
    let sum = counts.iter().sum();
    Some(count(workload, "syscalls", NO_SYSCALLS, true, sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use shmpipe_measure::record::{Cell, Round};
    use shmpipe_measure::workload::Measure;

    fn workload(name: &str) -> Workload {
        name.parse().expect("a workload")
    }

    /// A record of one-way-8 with those rates in each of its blocks.
    fn record(blocks: &[&[(&str, f64)]]) -> Record {
        let mut record = Record::default();
        for system in crate::systems::all() {
            let of = |block: &&[(&str, f64)]| {
                let mut all = block.iter();
                Some(all.find(|(name, _)| *name == system.name)?.1)
            };
            let rounds = blocks.iter().enumerate().filter_map(|(block, figures)| {
                Some(Round {
                    block,
                    figure: Some(of(figures)?),
                    ..Round::default()
                })
            });
            record.cells.push(Cell {
                workload: "one-way-8".into(),
                system: system.name.into(),
                unit: Measure::Rate,
                rounds: rounds.collect(),
                ..Cell::default()
            });
            record.systems.push(system.describe());
        }
        record
    }

    fn goal_beside_the_fastest(record: &Record) -> Goal {
        let goals = goals(record, &[workload("one-way-8")]);
        let mut fastest = goals.into_iter().filter(|goal| goal.fastest_rival);
        fastest.next().expect("a rival")
    }

    #[test]
    fn what_is_reported_only_is_neither_met_nor_missed() {
        let record = record(&[&[("shm", 30.0), ("pipe", 10.0)]]);
        let goal = beside(&record, "one-way-8", "pipe", None).expect("figures");
        let goal = goal.judged();
        assert_eq!((goal.reached, goal.met), (3.0, None));
    }

    #[test]
    fn every_workload_names_its_fastest_rival() {
        for workload in Workload::all() {
            assert!(
                matches!(wanted(workload)[0], Wanted::Fastest(_)),
                "{workload}"
            );
        }
    }

    #[test]
    fn the_fastest_rival_is_the_one_with_the_lowest_ratio_between_processes() {
        // rtrb stays within one process, shm-sleep is ours.
        let fast = [
            ("shm", 60.0),
            ("rtrb", 900.0),
            ("shm-sleep", 800.0),
            ("ringfire", 120.0),
            ("pipe", 2.0),
        ];
        let goal = goal_beside_the_fastest(&record(&[&fast]));
        assert_eq!(
            (goal.reference.as_str(), goal.reached, goal.wanted),
            ("ringfire", 0.5, Some(0.7))
        );
        assert_eq!(goal.met, Some(false));
    }

    #[test]
    fn the_fastest_rival_is_judged_within_blocks() {
        // The machine is ten times slower in the second and third block, in which shmring was not measured.
        let goal = goal_beside_the_fastest(&record(&[
            &[("shm", 600.0), ("ringfire", 500.0), ("shmring", 400.0)],
            &[("shm", 60.0), ("ringfire", 50.0)],
            &[("shm", 60.0), ("ringfire", 50.0)],
        ]));
        assert_eq!((goal.reference.as_str(), goal.reached), ("ringfire", 1.2));
    }

    #[test]
    fn a_spinning_rival_does_not_sleep() {
        let all = crate::systems::all();
        let is_rival = |name: &str, workload: &str| {
            let system = all.iter().find(|one| one.name == name);
            rivals::is_rival(&system.expect("a system").describe(), workload)
        };
        assert!(is_rival("ringfire", "wake-8") && !is_rival("ringfire-spin", "wake-8"));
        assert!(is_rival("ringfire-spin", "round-trip-8"));
        assert!(!is_rival("rtrb", "one-way-8") && !is_rival("shm-sleep", "one-way-8"));
    }

    #[test]
    fn every_goal_has_its_bound() {
        let of = |name| wanted(workload(name));
        let beside = |name, ratio| Wanted::Beside(name, Some(ratio));
        assert_eq!(
            of("one-way-8"),
            [
                Wanted::Fastest(Some(0.7)),
                beside("pipe", 45.0),
                Wanted::NoSyscalls
            ]
        );
        assert_eq!(
            of("one-way-1m"),
            [
                Wanted::Fastest(Some(1.1)),
                beside("memcpy", 0.95),
                beside("pipe", 2.0)
            ]
        );
        assert!(of("round-trip-8").contains(&beside("atomics", 0.72)));
        assert!(of("round-trip-56").contains(&beside("atomics", 0.58)));
        assert!(of("batch-64").contains(&Wanted::Fastest(Some(1.2))));
        assert!(of("wake-8").contains(&beside("pipe", 1.2)));
        assert!(of("wake-8-one-cpu").contains(&beside("pipe", 0.85)));
        assert!(of("senders-8-64").contains(&beside("pipe", 20.0)));
        assert!(of("make-64k").contains(&beside("pipe-plain", 0.1)));
        for name in ["paced-1-64", "paced-1k-64", "paced-100k-64"] {
            assert!(of(name).contains(&beside("pipe", 1.0 / 1.1)), "{name}");
        }
        for name in ["round-trip-8-one-cpu", "one-way-4k-quota"] {
            assert!(of(name).contains(&beside("pipe", 1.0 / 1.1)), "{name}");
        }
    }

    #[test]
    fn a_syscall_now_and_then_is_none_and_one_for_each_message_is_one() {
        let met = |each: f64| {
            let mut record = Record::default();
            record.cells.push(Cell {
                workload: "batch-8".into(),
                system: OURS.into(),
                syscalls_per_message: Some([each, 0.001]),
                ..Cell::default()
            });
            goals(&record, &[workload("batch-8")])[0].met
        };
        assert_eq!(met(0.0), Some(true));
        assert_eq!(met(1.0), Some(false));
    }
}
