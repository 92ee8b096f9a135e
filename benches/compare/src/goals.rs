//! What shmpipe is meant to reach, beside what a run has shown.
//!
//! A goal is a ratio within a round to one other system, or to the best of the pipes of other projects and
//! of the kernel. Above 1, shmpipe is the better one.

use crate::record::Run;
use crate::statistics::{median, ratios};
use crate::systems::{Role, System};
use crate::workload::{Kind, Workload};

/// With whom shmpipe is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// The system with that name.
    One(&'static str),
    /// Whichever pipe between processes is best beside it.
    BestRival,
}

/// One goal, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Goal {
    /// On which workload.
    pub(crate) workload: Workload,
    /// The name of the system it is compared with.
    pub(crate) reference: String,
    /// The least ratio that is wanted.
    pub(crate) wanted: f64,
    /// The median ratio.
    pub(crate) reached: f64,
}

impl Goal {
    /// Whether it is met.
    pub(crate) fn is_met(&self) -> bool {
        self.reached >= self.wanted
    }

    /// How many times too little was reached; above 1 when the goal is missed.
    pub(crate) fn missed_by(&self) -> f64 {
        self.wanted / self.reached
    }
}

/// What is wanted on a workload: ratios to other systems.
fn wanted(workload: Workload) -> Vec<(Reference, f64)> {
    use Reference::{BestRival, One};
    const KIB: usize = 1 << 10;
    match workload.kind {
        _ if workload.is_one_cpu() && workload.kind != Kind::Wake => vec![(One("pipe"), 1.0 / 1.1)],
        Kind::RoundTrip => vec![(One("atomics"), 1.0 / 1.15)],
        Kind::Wake => vec![(One("pipe"), 1.0)],
        Kind::Paced {
            per_second: 0..=1_000,
        } => vec![(One("pipe"), 1.0 / 1.25)],
        Kind::Paced { .. } => vec![(One("pipe"), 1.0)],
        Kind::OneWay { senders: 2.. } => vec![(One("pipe"), 5.0)],
        Kind::OneWay { .. } => match workload.len {
            0..64 => vec![(One("rtrb"), 0.5), (One("pipe"), 50.0)],
            64..=4096 => vec![(BestRival, 1.0)],
            len if len >= 64 * KIB => {
                vec![(One("memcpy"), 0.85), (One("pipe"), 2.0), (BestRival, 1.0)]
            }
            _ => Vec::new(),
        },
    }
}

/// Every goal for which the run has figures.
pub(crate) fn goals(run: &Run, systems: &[&System], workloads: &[Workload]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for &workload in workloads {
        for (reference, wanted) in wanted(workload) {
            let to =
                |name: &str| Some((median(ratios(run, workload, "shm", name))?, name.to_owned()));
            let found = match reference {
                Reference::One(name) => to(name),
                Reference::BestRival => systems
                    .iter()
                    .filter(|system| {
                        system.role == Role::Pipe && !matches!(system.name, "shm" | "shm-kernel")
                    })
                    .filter_map(|system| to(system.name))
                    .min_by(|a, b| a.0.total_cmp(&b.0)),
            };
            goals.extend(found.map(|(reached, reference)| Goal {
                workload,
                reference,
                wanted,
                reached,
            }));
        }
    }
    goals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_missed_by_the_factor_that_lacks() {
        let workload = Workload::all()[0];
        let goal = |reached| Goal {
            workload,
            reference: "pipe".into(),
            wanted: 2.0,
            reached,
        };
        assert!(goal(2.0).is_met());
        assert!(!goal(0.5).is_met());
        assert_eq!(goal(0.5).missed_by(), 4.0);
    }

    #[test]
    fn every_workload_has_a_goal() {
        for workload in Workload::all() {
            assert!(!wanted(workload).is_empty(), "{workload}");
        }
    }
}
