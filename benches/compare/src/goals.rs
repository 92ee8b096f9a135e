//! What shmpipe is meant to reach, beside what a run has shown.
//!
//! Most goals are a ratio within a round to one other system, or to the best of the pipes of other projects and
//! of the kernel; above 1, shmpipe is the better one. The others are counts.

use crate::record::Run;
use crate::statistics::{cell, median, ratios, ratios_by_block};
use crate::systems::{Role, System};
use crate::workload::{Kind, Place, Workload};

/// The system whose goals these are.
const OURS: &str = "shm";

/// So few syscalls for a message are none: those of a wait now and then.
const NO_SYSCALLS: f64 = 0.01;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wanted {
    /// So many times as good as the system with that name.
    Beside(&'static str, f64),
    /// As good as whichever pipe between processes is best beside it.
    BestRival,
    /// Every message made and read where it lies, without a copy.
    NoCopy,
    /// No syscall for a message.
    NoSyscalls,
}

/// One goal, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Goal {
    /// On which workload.
    pub(crate) workload: Workload,
    /// The name of the system it is compared with, or of what is counted.
    pub(crate) reference: String,
    /// The ratio or count that is wanted.
    pub(crate) wanted: f64,
    /// Whether that is the most, and not the least, that is wanted.
    pub(crate) at_most: bool,
    /// The median ratio, or the count.
    pub(crate) reached: f64,
    /// The median ratio of the rounds in which the CPUs were near each other.
    pub(crate) near: Option<f64>,
    /// The same of those in which they were far apart.
    pub(crate) far: Option<f64>,
}

impl Goal {
    /// Whether it is met.
    pub(crate) fn is_met(&self) -> bool {
        self.missed_by() <= 1.0
    }

    /// How many times too little, or too much, was reached; above 1 when the goal is missed.
    pub(crate) fn missed_by(&self) -> f64 {
        if self.at_most {
            self.reached / self.wanted
        } else {
            self.wanted / self.reached
        }
    }
}

/// What is wanted on a workload.
fn wanted(workload: Workload) -> Vec<Wanted> {
    use Wanted::{Beside, BestRival, NoCopy, NoSyscalls};
    const KIB: usize = 1 << 10;
    let mut all = match workload.kind {
        _ if workload.is_one_cpu() && workload.kind != Kind::Wake => {
            vec![Beside("pipe", 1.0 / 1.1)]
        }
        Kind::RoundTrip if workload.len <= 56 => vec![Beside("atomics", 1.0 / 1.15)],
        Kind::RoundTrip => vec![Beside("pipe", 1.0)],
        Kind::Wake => vec![Beside("pipe", 1.0)],
        Kind::Paced {
            per_second: 0..=1_000,
        } => vec![Beside("pipe", 1.0 / 1.25)],
        Kind::Paced { .. } => vec![Beside("pipe", 1.0)],
        Kind::OneWay { senders: 2.. } => vec![Beside("pipe", 5.0)],
        Kind::Batch if workload.len == 8 => vec![Beside("rtrb", 0.8)],
        Kind::Batch => vec![BestRival],
        Kind::Loan => vec![NoCopy],
        Kind::OneWay { .. } => match workload.len {
            0..64 => vec![Beside("rtrb", 0.5), Beside("pipe", 50.0)],
            64..=4096 => vec![BestRival],
            len if len >= 64 * KIB => vec![Beside("memcpy", 0.85), Beside("pipe", 2.0), BestRival],
            _ => Vec::new(),
        },
    };
    // A slice has too few larger messages to tell one wait from a syscall for each.
    let is_busy =
        !matches!(workload.kind, Kind::Wake | Kind::Paced { .. }) && workload.len <= 64 * KIB;
    if is_busy && workload.peers() == 1 && workload.place == Place::TwoCpus {
        all.push(NoSyscalls);
    }
    all
}

/// Whether a system's figures count for a goal of that workload, or are the limit: it is measured in every round.
pub(crate) fn need(workload: Workload, system: &System) -> bool {
    let compared = |wanted| match wanted {
        Wanted::Beside(name, _) => name == system.name,
        Wanted::BestRival => is_rival(system),
        Wanted::NoCopy | Wanted::NoSyscalls => false,
    };
    system.name == OURS
        || system.name == workload.limit()
        || wanted(workload).into_iter().any(compared)
}

fn is_rival(system: &System) -> bool {
    system.role == Role::Pipe && system.package != "shmpipe"
}

/// Every goal for which the run has figures.
pub(crate) fn goals(run: &Run, systems: &[&System], workloads: &[Workload]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for &workload in workloads {
        for wanted in wanted(workload) {
            goals.extend(match wanted {
                Wanted::Beside(name, ratio) => beside(run, workload, name, ratio),
                Wanted::BestRival => best_rival(run, systems, workload),
                Wanted::NoCopy => no_copy(run, workload),
                Wanted::NoSyscalls => no_syscalls(run, workload),
            });
        }
    }
    goals
}

fn beside(run: &Run, workload: Workload, name: &str, wanted: f64) -> Option<Goal> {
    let all = ratios_by_block(run, workload, OURS, name);
    let among = |is_near: Option<bool>| {
        let chosen = all.iter().filter(|(block, _)| {
            is_near.is_none() || run.blocks.get(*block).and_then(|one| one.is_near()) == is_near
        });
        median(chosen.map(|(_, ratio)| *ratio).collect())
    };
    Some(Goal {
        workload,
        reference: name.to_owned(),
        wanted,
        at_most: false,
        reached: among(None)?,
        near: among(Some(true)),
        far: among(Some(false)),
    })
}

fn best_rival(run: &Run, systems: &[&System], workload: Workload) -> Option<Goal> {
    let to = |name| Some((median(ratios(run, workload, OURS, name))?, name));
    let rivals = systems.iter().filter(|system| is_rival(system));
    let (_, name) = rivals
        .filter_map(|system| to(system.name))
        .min_by(|a, b| a.0.total_cmp(&b.0))?;
    beside(run, workload, name, 1.0)
}

fn count(workload: Workload, reference: &str, wanted: f64, at_most: bool, reached: f64) -> Goal {
    Goal {
        workload,
        reference: reference.to_owned(),
        wanted,
        at_most,
        reached,
        near: None,
        far: None,
    }
}

fn no_copy(run: &Run, workload: Workload) -> Option<Goal> {
    let [made, read] = cell(run, workload, OURS)?.in_place?;
    Some(count(workload, "in place", 1.0, false, made.min(read)))
}

fn no_syscalls(run: &Run, workload: Workload) -> Option<Goal> {
    let counts = run.syscalls_of(workload, OURS)?.as_ref().ok()?;
    let sum = counts.iter().sum();
    Some(count(workload, "syscalls", NO_SYSCALLS, true, sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Syscalls;

    fn workload(name: &str) -> Workload {
        let mut all = Workload::all().into_iter();
        all.find(|one| one.to_string() == name).expect("a workload")
    }

    #[test]
    fn a_goal_is_missed_by_the_factor_that_lacks() {
        let goal = |at_most, reached| count(workload("one-way-8"), "", 2.0, at_most, reached);
        assert!(goal(false, 2.0).is_met());
        assert!(!goal(false, 0.5).is_met());
        assert_eq!(goal(false, 0.5).missed_by(), 4.0);
        assert!(goal(true, 0.0).is_met());
        assert_eq!(goal(true, 3.0).missed_by(), 1.5);
    }

    #[test]
    fn every_workload_has_a_goal() {
        for workload in Workload::all() {
            assert!(!wanted(workload).is_empty(), "{workload}");
        }
    }

    #[test]
    fn what_a_goal_compares_is_needed_in_every_round() {
        let all = crate::systems::all();
        let needed = |name: &str| {
            let needed = all.iter().filter(|system| need(workload(name), system));
            needed.map(|system| system.name).collect::<Vec<_>>()
        };
        assert_eq!(needed("batch-8"), ["shm", "rtrb", "rtrb-chunks"]);
        assert_eq!(needed("paced-1k-64"), ["shm", "pipe"]);
        let rivals = needed("one-way-4k");
        assert!(rivals.contains(&"ringfire") && rivals.contains(&"stream"));
        assert!(!rivals.contains(&"shm-sleep"));
    }

    #[test]
    fn every_pace_has_its_bound() {
        let bound = |name| wanted(workload(name));
        for name in ["paced-1-64", "paced-100-64", "paced-1k-64"] {
            assert_eq!(bound(name), [Wanted::Beside("pipe", 0.8)], "{name}");
        }
        for name in ["paced-10k-64", "paced-100k-64"] {
            assert_eq!(bound(name), [Wanted::Beside("pipe", 1.0)], "{name}");
        }
    }

    #[test]
    fn a_syscall_now_and_then_is_none_and_one_for_each_message_is_one() {
        let run = |each: f64| Run {
            syscalls: vec![Syscalls {
                workload: workload("batch-8"),
                system: OURS,
                per_message: Ok([each, 0.001]),
                by: "",
            }],
            ..Run::default()
        };
        let is_met = |each| goals(&run(each), &[], &[workload("batch-8")])[0].is_met();
        assert!(is_met(0.0));
        assert!(!is_met(1.0));
    }
}
