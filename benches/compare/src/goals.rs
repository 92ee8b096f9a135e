//! What shmpipe is meant to reach, beside what a run has shown.
//!
//! A goal is a ratio within a block to one other system, or to whichever rival between processes does best beside
//! it; above 1, shmpipe is the better one. The others are counts. Each workload names its fastest rival, whether
//! something is wanted there or not.

use crate::record::Run;
use crate::statistics::{cell, median, ratios, ratios_by_block};
use crate::systems::{Role, System};
use crate::workload::{Kind, Place, Workload};

/// The system whose goals these are.
const OURS: &str = "shm";

/// So few syscalls for a message are none: those of a wait now and then.
const NO_SYSCALLS: f64 = 0.01;

/// In so many blocks each rival is measured before it may be found to be outpaced.
const SIFTING: usize = 3;

/// A rival so many times slower than the fastest one is outpaced.
const OUTPACED: f64 = 2.0;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wanted {
    /// So many times as good as the system with that name; of `None` the ratio is told and nothing is wanted.
    Beside(&'static str, Option<f64>),
    /// The same beside whichever rival between processes does best.
    Fastest(Option<f64>),
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
    /// Whether that system is the fastest rival, found by the run.
    pub(crate) is_fastest: bool,
    /// The ratio or count that is wanted; `None` where it is told only.
    pub(crate) wanted: Option<f64>,
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
    /// Whether it is met; `None` where nothing is wanted.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.missed_by().map(|factor| factor <= 1.0)
    }

    /// How many times too little, or too much, was reached; above 1 when the goal is missed.
    pub(crate) fn missed_by(&self) -> Option<f64> {
        let wanted = self.wanted?;
        Some(if self.at_most {
            self.reached / wanted
        } else {
            wanted / self.reached
        })
    }

    /// What it is compared with, in the words of the table.
    pub(crate) fn beside(&self) -> String {
        match self.is_fastest {
            true => format!("fastest: {}", self.reference),
            false => self.reference.clone(),
        }
    }
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
        Kind::OneWay { .. } | Kind::Batch => {}
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

/// Whether a system's figures count for a goal of that workload, or are the limit: it is measured in every round.
/// Any rival may turn out to be the fastest one, until it is outpaced.
pub(crate) fn need(run: &Run, workload: Workload, system: &System) -> bool {
    let compared = |wanted| match wanted {
        Wanted::Beside(name, _) => name == system.name,
        Wanted::Fastest(_) => {
            is_rival(workload, system) && !run.outpaced.contains(&(workload, system.name))
        }
        Wanted::NoCopy | Wanted::NoSyscalls => false,
    };
    system.name == OURS
        || system.name == workload.limit()
        || wanted(workload).into_iter().any(compared)
}

/// The rivals that are so far behind the fastest one of a workload that they need not be measured in each round.
pub(crate) fn outpaced(run: &Run, systems: &[&System], workload: Workload) -> Vec<&'static str> {
    let beside = |system: &&System| {
        let all = ratios(run, workload, OURS, system.name);
        let is_known = all.len() >= SIFTING;
        Some((system.name, median(all).filter(|_| is_known)?))
    };
    let rivals = systems.iter().copied();
    let rivals = rivals.filter(|system| is_rival(workload, system));
    let rivals: Vec<_> = rivals.filter_map(|system| beside(&system)).collect();
    let least = rivals.iter().map(|&(_, ratio)| ratio).reduce(f64::min);
    let bound = least.map_or(f64::INFINITY, |least| OUTPACED * least);
    let slow = rivals.iter().filter(|&&(_, ratio)| ratio > bound);
    slow.map(|&(name, _)| name).collect()
}

/// Whether a system is a way between processes of others that does the same: who keeps a CPU busy does not sleep.
fn is_rival(workload: Workload, system: &System) -> bool {
    let is_beside = system.role == Role::Pipe && system.package != "shmpipe";
    is_beside && !(system.spins && workload.kind == Kind::Wake)
}

/// Every goal for which the run has figures.
pub(crate) fn goals(run: &Run, systems: &[&System], workloads: &[Workload]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for &workload in workloads {
        for wanted in wanted(workload) {
            goals.extend(match wanted {
                Wanted::Beside(name, ratio) => beside(run, workload, name, ratio),
                Wanted::Fastest(ratio) => fastest(run, systems, workload, ratio),
                Wanted::NoCopy => no_copy(run, workload),
                Wanted::NoSyscalls => no_syscalls(run, workload),
            });
        }
    }
    goals
}

fn beside(run: &Run, workload: Workload, name: &str, wanted: Option<f64>) -> Option<Goal> {
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
        is_fastest: false,
        wanted,
        at_most: false,
        reached: among(None)?,
        near: among(Some(true)),
        far: among(Some(false)),
    })
}

fn fastest(
    run: &Run,
    systems: &[&System],
    workload: Workload,
    wanted: Option<f64>,
) -> Option<Goal> {
    let to = |name| Some((median(ratios(run, workload, OURS, name))?, name));
    let rivals = systems.iter();
    let rivals = rivals.filter(|system| is_rival(workload, system));
    let (_, name) = rivals
        .filter_map(|system| to(system.name))
        .min_by(|a, b| a.0.total_cmp(&b.0))?;
    let goal = beside(run, workload, name, wanted)?;
    Some(Goal {
        is_fastest: true,
        ..goal
    })
}

fn count(workload: Workload, reference: &str, wanted: f64, at_most: bool, reached: f64) -> Goal {
    Goal {
        workload,
        reference: reference.to_owned(),
        is_fastest: false,
        wanted: Some(wanted),
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
    use crate::record::{Slice, Syscalls};
    use crate::statistics::tests::outcome;

    fn workload(name: &str) -> Workload {
        let mut all = Workload::all().into_iter();
        all.find(|one| one.to_string() == name).expect("a workload")
    }

    /// A run of one-way-8 with those rates in each of its blocks.
    fn run(blocks: &[&[(&'static str, u64)]]) -> Run {
        let mut run = Run::default();
        for (block, systems) in blocks.iter().enumerate() {
            run.slices
                .extend(systems.iter().map(|&(system, messages)| Slice {
                    round: block,
                    block,
                    workload: workload("one-way-8"),
                    system,
                    is_disturbed: false,
                    outcome: Ok(outcome(messages)),
                }));
        }
        run
    }

    fn goal_beside_the_fastest(run: &Run) -> Goal {
        let all = crate::systems::all();
        let systems: Vec<_> = all.iter().collect();
        let goals = goals(run, &systems, &[workload("one-way-8")]);
        let mut fastest = goals.into_iter().filter(|goal| goal.is_fastest);
        fastest.next().expect("a rival")
    }

    #[test]
    fn a_goal_is_missed_by_the_factor_that_lacks() {
        let goal = |at_most, reached| count(workload("one-way-8"), "", 2.0, at_most, reached);
        assert_eq!(goal(false, 2.0).is_met(), Some(true));
        assert_eq!(goal(false, 0.5).is_met(), Some(false));
        assert_eq!(goal(false, 0.5).missed_by(), Some(4.0));
        assert_eq!(goal(true, 0.0).is_met(), Some(true));
        assert_eq!(goal(true, 3.0).missed_by(), Some(1.5));
    }

    #[test]
    fn what_is_told_only_is_neither_met_nor_missed() {
        let run = run(&[&[("shm", 30), ("pipe", 10)]]);
        let goal = beside(&run, workload("one-way-8"), "pipe", None).expect("figures");
        assert_eq!((goal.reached, goal.is_met()), (3.0, None));
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
            ("shm", 60),
            ("rtrb", 900),
            ("shm-sleep", 800),
            ("ringfire", 120),
            ("pipe", 2),
        ];
        let goal = goal_beside_the_fastest(&run(&[&fast]));
        assert_eq!(
            (goal.reference.as_str(), goal.reached, goal.wanted),
            ("ringfire", 0.5, Some(0.7))
        );
        assert_eq!(goal.is_met(), Some(false));
        assert_eq!(goal.beside(), "fastest: ringfire");
    }

    #[test]
    fn the_fastest_rival_is_judged_within_blocks() {
        // The machine is ten times slower in the second and third block, in which shmring was not measured.
        let goal = goal_beside_the_fastest(&run(&[
            &[("shm", 600), ("ringfire", 500), ("shmring", 400)],
            &[("shm", 60), ("ringfire", 50)],
            &[("shm", 60), ("ringfire", 50)],
        ]));
        assert_eq!((goal.reference.as_str(), goal.reached), ("ringfire", 1.2));
    }

    #[test]
    fn a_spinning_rival_does_not_sleep() {
        let all = crate::systems::all();
        let is_needed = |name: &str, system: &str| {
            let system = all.iter().find(|one| one.name == system);
            need(&Run::default(), workload(name), system.expect("a system"))
        };
        assert!(is_needed("wake-8", "ringfire") && !is_needed("wake-8", "ringfire-spin"));
        assert!(is_needed("round-trip-8", "ringfire-spin"));
    }

    #[test]
    fn a_rival_that_is_outpaced_in_three_blocks_is_measured_seldom() {
        let block = [("shm", 60), ("ringfire", 50), ("shmring", 26), ("pipe", 24)];
        let blocks = [block.as_slice(); 3];
        let all = crate::systems::all();
        let systems: Vec<_> = all.iter().collect();
        let one = workload("one-way-8");
        assert!(outpaced(&run(&blocks[..2]), &systems, one).is_empty());
        let mut run = run(&blocks);
        assert_eq!(outpaced(&run, &systems, one), ["pipe"]);
        run.outpaced.push((one, "stream"));
        let is_needed = |name: &str| {
            let system = systems.iter().find(|system| system.name == name);
            need(&run, one, system.expect("a system"))
        };
        assert!(is_needed("ringfire") && is_needed("rtrb") && is_needed("pipe"));
        assert!(!is_needed("stream") && !is_needed("shm-sleep"));
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
        assert_eq!(is_met(0.0), Some(true));
        assert_eq!(is_met(1.0), Some(false));
    }
}
