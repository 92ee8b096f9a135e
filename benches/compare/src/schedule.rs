//! What runs when: counting first, then rounds of blocks of interleaved slices, within a time.
//!
//! A block is one round of one workload: a slice on each system, in an order that changes from round to round. A
//! block that others disturbed is run again, as long as that leaves time for all rounds.

use std::time::{Duration, Instant};

use crate::goals;
use crate::load::Reading;
use crate::outcome::Outcome;
use crate::quota::Quota;
use crate::record::{Block, Run, Slice, Syscalls};
use crate::supervise;
use crate::systems::System;
use crate::wire::Plan;
use crate::workload::{Measure, Place, Workload};

/// A system that no goal asks for is measured in one round of so many, and in the last one.
const SELDOM: usize = 4;

/// Workloads in which all run beside each other take long, and are measured in one round of so many.
const RARE: usize = 10;

/// How long the bare round trip before a block is measured, in nanoseconds.
const MOOD_NANOS: u64 = 2_000_000;

/// How long syscalls of small messages are counted for, in nanoseconds, where a slice takes no longer by itself.
const COUNTING_NANOS: u64 = 10_000_000;

/// Those on which they are counted when there is little time.
const FEW: [&str; 2] = ["shm", "pipe"];

/// The part of the time of a run in which they are counted at most.
const COUNTING_PART: u32 = 12;

/// By so much more than estimated the rest of a run is allowed to take before blocks are run again.
const MARGIN: f64 = 1.25;

/// How often a system's syscalls are counted at most.
const COUNTINGS: usize = 3;

/// What a slice takes beyond its length, to begin with: processes, warm-up, end.
const AROUND: Duration = Duration::from_millis(12);

type Counted = Result<([f64; 2], &'static str), String>;

/// What is to be done.
pub(crate) struct Schedule<'a> {
    /// The chosen ones, in the table's order.
    pub(crate) systems: &'a [&'a System],
    /// The chosen ones.
    pub(crate) workloads: &'a [Workload],
    /// The bare round trip of two atomics.
    pub(crate) mood: Option<&'a System>,
    /// How long an ordinary slice takes.
    pub(crate) slice_nanos: u64,
    /// Rounds over everything.
    pub(crate) rounds: usize,
    /// Whether each system takes part in each round.
    pub(crate) every_round: bool,
    /// Whether syscalls are counted on [`FEW`] systems only.
    pub(crate) counts_few: bool,
    /// Most blocks that are run again.
    pub(crate) repeats: usize,
    /// Longest time for a slice beyond its length.
    pub(crate) limit: Duration,
    /// Nothing begins after this.
    pub(crate) end: Instant,
    /// Where workloads with a quota run; or why they cannot.
    pub(crate) quota: Result<Quota, String>,
}

impl Schedule<'_> {
    /// Does it.
    pub(crate) fn go(&self, run: &mut Run) {
        if let Err(reason) = &self.quota {
            let all = self.workloads.iter();
            let impossible = all.filter(|one| one.place == Place::Quota);
            run.impossible = impossible.map(|&one| (one, reason.clone())).collect();
        }
        let start = Instant::now();
        self.count_syscalls(run);
        let (mut planned, mut taken) = (Duration::ZERO, Duration::ZERO);
        let mut repeated = Duration::ZERO;
        for round in 0..self.rounds {
            let (all, seconds) = (self.rounds, start.elapsed().as_secs());
            let most = self.end.saturating_duration_since(start).as_secs();
            let (number, repeats) = (round + 1, run.repeats());
            eprintln!(
                "round {number} of {all}: {seconds} s of {most} s; {repeats} blocks run again"
            );
            for (place, &workload) in self.workloads.iter().enumerate() {
                if Instant::now() >= self.end || !self.has(round, workload) {
                    continue;
                }
                let begun = Instant::now();
                let mut is_disturbed = self.block(run, round, workload);
                let mut last = begun.elapsed();
                planned += self.estimate(run, round, workload);
                taken += last;
                let slower = taken.as_secs_f64() / planned.as_secs_f64();
                let rest = self.rest(run, round, place).mul_f64(MARGIN * slower);
                // Each round may use its part of the time that is left over.
                let over = (self.end.saturating_duration_since(Instant::now()) + repeated)
                    .saturating_sub(rest);
                let part = over.mul_f64((round + 1) as f64 / self.rounds as f64);
                while is_disturbed && run.repeats() < self.repeats && repeated + last <= part {
                    run.mark_last_block(round, workload);
                    let begun = Instant::now();
                    is_disturbed = self.block(run, round, workload);
                    last = begun.elapsed();
                    repeated += last;
                }
                run.outpaced.retain(|(other, _)| *other != workload);
                let outpaced = goals::outpaced(run, self.systems, workload);
                run.outpaced
                    .extend(outpaced.into_iter().map(|name| (workload, name)));
            }
        }
    }

    /// Whether a workload is measured in a round.
    fn has(&self, round: usize, workload: Workload) -> bool {
        let is_possible = workload.place != Place::Quota || self.quota.is_ok();
        is_possible && (!workload.runs_beside_others() || round.is_multiple_of(RARE))
    }

    /// The systems of a block in its order: whoever came first in the last round comes last.
    fn order(&self, run: &Run, round: usize, workload: Workload) -> Vec<&System> {
        let takes_part = |system: &&System| {
            system.refusal(workload).is_none()
                && (self.every_round
                    || (round + 1).is_multiple_of(SELDOM)
                    || round + 1 == self.rounds
                    || goals::need(run, workload, system))
        };
        let mut order: Vec<_> = self.systems.iter().copied().filter(takes_part).collect();
        let turn = round % order.len().max(1);
        order.rotate_left(turn);
        order
    }

    /// What a block takes on a machine on which nothing else runs, about.
    fn estimate(&self, run: &Run, round: usize, workload: Workload) -> Duration {
        if !self.has(round, workload) {
            return Duration::ZERO;
        }
        let slice = self.slice_nanos(workload);
        let systems = match workload.runs_beside_others() {
            true => 1,
            false => self.order(run, round, workload).len() as u32,
        };
        (Duration::from_nanos(slice) + AROUND) * (systems + 1)
    }

    /// The same of all blocks behind that one.
    fn rest(&self, run: &Run, round: usize, place: usize) -> Duration {
        let here = self.workloads[place + 1..].iter().map(|&one| (round, one));
        let later = (round + 1..self.rounds)
            .flat_map(|round| self.workloads.iter().map(move |&one| (round, one)));
        here.chain(later)
            .map(|(round, workload)| self.estimate(run, round, workload))
            .sum()
    }

    fn slice_nanos(&self, workload: Workload) -> u64 {
        workload.slice_nanos(self.slice_nanos)
    }

    /// Runs a slice on every system, and tells whether others disturbed them.
    fn block(&self, run: &mut Run, round: usize, workload: Workload) -> bool {
        let mood_nanos = self.mood(run);
        let start = Reading::now();
        let fails = |run: &Run, system: &System| run.failure(workload, system.name).is_some();
        let mut order = self.order(run, round, workload);
        order.retain(|system| !fails(run, system));
        if workload.runs_beside_others() {
            self.measure_together(run, round, workload, &order);
        } else {
            for system in order {
                let plan = self.plan(run, workload, self.slice_nanos(workload));
                let outcome = supervise::run(system, &plan, self.time_for(&plan));
                note(run, round, workload, system, outcome);
            }
        }
        let load = match (start, Reading::now()) {
            (Some(start), Some(end)) => end.since(start),
            _ => Default::default(),
        };
        run.blocks.push(Block {
            round,
            workload,
            load,
            mood_nanos,
            is_repeated: false,
        });
        load.is_disturbing()
    }

    /// Runs a slice on every system at the same time, their messages spread over the time between two of one.
    fn measure_together(&self, run: &mut Run, round: usize, workload: Workload, all: &[&System]) {
        let mut running = Vec::new();
        for system in all {
            let mut plan = self.plan(run, workload, self.slice_nanos(workload));
            plan.name += &format!("-{}", system.name);
            running.push(supervise::start(system, &plan, self.time_for(&plan)));
            std::thread::sleep(Duration::from_secs(1) / (all.len() as u32 + 1));
        }
        for (system, running) in all.iter().zip(running) {
            let outcome = running.and_then(supervise::Running::finish);
            note(run, round, workload, system, outcome);
        }
    }

    /// The bare round trip now; `None` where there is one CPU only or it was not to be had.
    fn mood(&self, run: &Run) -> Option<f64> {
        let system = self.mood.filter(|_| run.cpus[0] != run.cpus[1])?;
        let workload = Workload::all()[0];
        let plan = self.plan(run, workload, MOOD_NANOS);
        let outcome = supervise::run(system, &plan, self.time_for(&plan));
        outcome.ok()?.figure(Measure::MeanTime)
    }

    /// Counts syscalls once for each system on each workload in which it is awake.
    fn count_syscalls(&self, run: &mut Run) {
        eprintln!("counting syscalls");
        let left = self.end.saturating_duration_since(Instant::now());
        let end = Instant::now() + left / COUNTING_PART;
        for &workload in self.workloads {
            for system in self.order(run, self.rounds - 1, workload) {
                if workload.runs_beside_others()
                    || !self.has(0, workload)
                    || Instant::now() >= end
                    || (self.counts_few && !FEW.contains(&system.name))
                {
                    continue;
                }
                let counted = self.count(run, workload, system);
                let by = counted.as_ref().map_or("nothing", |(_, by)| by);
                run.syscalls.push(Syscalls {
                    workload,
                    system: system.name,
                    per_message: counted.map(|(counts, _)| counts),
                    by,
                });
            }
        }
    }

    /// Counts the syscalls of one system, and again where there are some but not one for each message: they may be
    /// those of waits that another program has caused.
    fn count(&self, run: &Run, workload: Workload, system: &System) -> Counted {
        let slice = self.slice_nanos(workload);
        let nanos = match workload.len {
            0..=4096 => COUNTING_NANOS.max(slice / 3),
            _ => COUNTING_NANOS.max(slice),
        };
        let plan = self.plan(run, workload, nanos);
        let mut least = supervise::count(system, &plan, self.time_for(&plan))?;
        let sum = |counts: [f64; 2]| counts[0] + counts[1];
        for try_number in 1..COUNTINGS {
            if sum(least.0) == 0.0 || sum(least.0) >= 1.0 {
                break;
            }
            let mut plan = plan.clone();
            plan.name += &format!("-{try_number}");
            let next = supervise::count(system, &plan, self.time_for(&plan))?;
            if sum(next.0) < sum(least.0) {
                least = next;
            }
        }
        Ok(least)
    }

    fn time_for(&self, plan: &Plan) -> Duration {
        Duration::from_nanos(plan.slice_nanos) + self.limit
    }

    fn plan(&self, run: &Run, workload: Workload, slice_nanos: u64) -> Plan {
        let cpus = match workload.place {
            Place::OneCpu => vec![run.cpus[0]; 2],
            Place::TwoCpus | Place::Quota => run.cpus.clone(),
        };
        let cgroup = match &self.quota {
            Ok(quota) if workload.place == Place::Quota => Some(quota.path().to_owned()),
            _ => None,
        };
        let number = run.slices.len() + run.syscalls.len();
        Plan {
            workload,
            capacity: workload.capacity(),
            cpus,
            slice_nanos,
            cgroup,
            name: format!("compare-{}-{number}", std::process::id()),
            kill: None,
        }
    }
}

fn note(
    run: &mut Run,
    round: usize,
    workload: Workload,
    system: &System,
    outcome: Result<Outcome, String>,
) {
    if let Err(reason) = &outcome {
        eprintln!("{workload}, {}: {reason}", system.name);
    }
    run.slices.push(Slice {
        round,
        block: run.blocks.len(),
        workload,
        system: system.name,
        is_disturbed: false,
        outcome,
    });
}
