//! What runs when: counting first, then rounds of blocks of interleaved slices, within a time.
//!
//! A block is one round of one workload: a slice on each system, in an order that changes from round to round. A
//! block that others disturbed is run again, as long as that leaves time for all rounds.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::file::Material;

use crate::load::Reading;
use crate::outcome::Outcome;
use crate::quota::Quota;
use crate::record::{Block, OURS, Record, Round};
use crate::rivals;
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

/// On which systems syscalls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// On none.
    None,
    /// On shmpipe and the kernel pipe, since there is little time.
    Few,
    /// On all.
    All,
}

/// Where a run has come to.
pub struct Step<'a> {
    /// What is done now, in words.
    pub what: &'a str,
    /// The round, from 0; `None` before the first.
    pub round: Option<usize>,
    /// The part of the time that is over, from 0 to 1.
    pub share: f64,
}

/// What is to be done.
pub struct Schedule<'a> {
    /// The chosen ones, in the table's order.
    pub systems: &'a [&'a System],
    /// The chosen ones.
    pub workloads: &'a [Workload],
    /// Whether a system is compared with by a goal, so that it is measured in each round, as rivals and limits are.
    pub is_compared: &'a dyn Fn(Workload, &System) -> bool,
    /// Is called before each slice.
    pub progress: &'a dyn Fn(&Step),
    /// The bare round trip of two atomics.
    pub mood: Option<&'a System>,
    /// What workloads with a file send.
    pub file: Option<Arc<Material>>,
    /// Room in bytes of each channel; `None` for what each workload asks for.
    pub capacity: Option<usize>,
    /// How long an ordinary slice takes.
    pub slice_nanos: u64,
    /// Rounds over everything.
    pub rounds: usize,
    /// Whether each system takes part in each round.
    pub every_round: bool,
    /// Rounds that are run however long they take.
    pub least_rounds: usize,
    /// Where syscalls are counted.
    pub counting: Counting,
    /// Most blocks that are run again.
    pub repeats: usize,
    /// Longest time for a slice beyond its length.
    pub limit: Duration,
    /// Nothing begins after this.
    pub end: Instant,
    /// Where workloads with a quota run; or why they cannot.
    pub quota: Result<Quota, String>,
    /// When it was made.
    pub start: Instant,
    /// Rivals that are so slow on a workload that they are measured in few rounds.
    pub outpaced: RefCell<Vec<(Workload, String)>>,
}

/// Rounds to aim at; more are run when slices are at their longest.
const WANTED_ROUNDS: u32 = 10;

/// Rounds for which slices are made shorter than [`SHORTEST_SLICE`].
const FEWEST_ROUNDS: u32 = 3;

/// Below this, what begins and ends a slice is seen in the figures.
const SHORTEST_SLICE: Duration = Duration::from_millis(30);

/// Above this, neighbouring slices are too far apart to be compared.
const LONGEST_SLICE: Duration = Duration::from_millis(100);

/// The length of a slice, and how many rounds of so many slices fit into a time: at least one.
pub fn fit(total: Duration, slices: u32) -> (Duration, usize) {
    let slices = slices.max(1);
    let fitting = |rounds: u32| (total / (slices * rounds)).saturating_sub(AROUND);
    let slice = fitting(WANTED_ROUNDS)
        .clamp(SHORTEST_SLICE, LONGEST_SLICE)
        .min(fitting(FEWEST_ROUNDS))
        .max(Duration::from_millis(1));
    let rounds = total.as_nanos() / ((slice + AROUND) * slices).as_nanos();
    (slice, (rounds as usize).max(1))
}

impl Schedule<'_> {
    /// Does it, and sums up the record.
    pub fn go(&self, record: &mut Record) {
        if let Err(reason) = &self.quota {
            let all = self.workloads.iter();
            let impossible = all.filter(|one| one.place == Place::Quota);
            record.not_possible = impossible
                .map(|one| (one.to_string(), reason.clone()))
                .collect();
        }
        self.count_syscalls(record);
        self.run_rounds(record);
        record.finish();
    }

    fn run_rounds(&self, record: &mut Record) {
        let (mut planned, mut taken) = (Duration::ZERO, Duration::ZERO);
        let mut repeated = Duration::ZERO;
        for round in 0..self.rounds {
            for (place, &workload) in self.workloads.iter().enumerate() {
                let is_late = round >= self.least_rounds && Instant::now() >= self.end;
                if is_late || !self.has(round, workload) {
                    continue;
                }
                let begun = Instant::now();
                let mut is_disturbed = self.block(record, round, workload);
                let mut last = begun.elapsed();
                planned += self.estimate(round, workload);
                taken += last;
                let slower = taken.as_secs_f64() / planned.as_secs_f64();
                let rest = self.rest(round, place).mul_f64(MARGIN * slower);
                // Each round may use its part of the time that is left over.
                let over = (self.end.saturating_duration_since(Instant::now()) + repeated)
                    .saturating_sub(rest);
                let part = over.mul_f64((round + 1) as f64 / self.rounds as f64);
                while is_disturbed && record.repeats() < self.repeats && repeated + last <= part {
                    record.mark_last_block();
                    let begun = Instant::now();
                    is_disturbed = self.block(record, round, workload);
                    last = begun.elapsed();
                    repeated += last;
                }
                let outpaced = rivals::outpaced(record, &workload.to_string());
                let mut all = self.outpaced.borrow_mut();
                all.retain(|(other, _)| *other != workload);
                all.extend(outpaced.into_iter().map(|name| (workload, name)));
            }
        }
    }

    fn report(&self, round: Option<usize>, what: &str) {
        let whole = self.end.saturating_duration_since(self.start);
        let share = self.start.elapsed().as_secs_f64() / whole.as_secs_f64();
        let share = share.clamp(0.0, 1.0);
        (self.progress)(&Step { what, round, share });
    }

    /// Whether a system is measured in each round: whoever is compared with, and any rival until it is outpaced.
    fn needs(&self, workload: Workload, system: &System) -> bool {
        let name = workload.to_string();
        let is_open = |system: &System| {
            let all = self.outpaced.borrow();
            !all.iter()
                .any(|(one, other)| *one == workload && other == system.name)
        };
        system.name == OURS
            || system.name == workload.limit()
            || (self.is_compared)(workload, system)
            || (rivals::is_rival(&system.describe(), &name) && is_open(system))
    }

    /// Whether a workload is measured in a round.
    fn has(&self, round: usize, workload: Workload) -> bool {
        let is_possible = workload.place != Place::Quota || self.quota.is_ok();
        is_possible && (!workload.runs_beside_others() || round.is_multiple_of(RARE))
    }

    /// The systems of a block in its order: whoever came first in the last round comes last.
    fn order(&self, round: usize, workload: Workload) -> Vec<&System> {
        let takes_part = |system: &&System| {
            system.refusal(workload).is_none()
                && (self.every_round
                    || (round + 1).is_multiple_of(SELDOM)
                    || round + 1 == self.rounds
                    || self.needs(workload, system))
        };
        let mut order: Vec<_> = self.systems.iter().copied().filter(takes_part).collect();
        let turn = round % order.len().max(1);
        order.rotate_left(turn);
        order
    }

    /// What a block takes on a machine on which nothing else runs, about.
    fn estimate(&self, round: usize, workload: Workload) -> Duration {
        if !self.has(round, workload) {
            return Duration::ZERO;
        }
        let slice = self.slice_nanos(workload);
        let systems = match workload.runs_beside_others() {
            true => 1,
            false => self.order(round, workload).len() as u32,
        };
        (Duration::from_nanos(slice) + AROUND) * (systems + 1)
    }

    /// The same of all blocks behind that one.
    fn rest(&self, round: usize, place: usize) -> Duration {
        let here = self.workloads[place + 1..].iter().map(|&one| (round, one));
        let later = (round + 1..self.rounds)
            .flat_map(|round| self.workloads.iter().map(move |&one| (round, one)));
        here.chain(later)
            .map(|(round, workload)| self.estimate(round, workload))
            .sum()
    }

    fn slice_nanos(&self, workload: Workload) -> u64 {
        workload.slice_nanos(self.slice_nanos)
    }

    /// Runs a slice on every system, and returns whether others disturbed them.
    fn block(&self, record: &mut Record, round: usize, workload: Workload) -> bool {
        let mood_nanos = self.mood(record);
        let start = Reading::now();
        let name = workload.to_string();
        let fails = |system: &System| {
            let cell = record.cell(&name, system.name);
            cell.is_some_and(|cell| cell.failure().is_some())
        };
        let mut order = self.order(round, workload);
        order.retain(|system| !fails(system));
        if workload.runs_beside_others() {
            self.measure_together(record, round, workload, &order);
        } else {
            for system in order {
                self.report(
                    Some(round),
                    &format!("{}, {}", workload.title(), system.label),
                );
                let plan = self.plan(record, workload, self.slice_nanos(workload));
                let outcome = supervise::run(system, &plan, self.time_for(&plan));
                note(record, round, workload, system, outcome);
            }
        }
        let load = match (start, Reading::now()) {
            (Some(start), Some(end)) => end.since(start),
            _ => Default::default(),
        };
        let block = Block::new(round, name, load, mood_nanos);
        let is_disturbed = block.is_disturbed();
        record.blocks.push(block);
        is_disturbed
    }

    /// Runs a slice on every system at the same time, their messages spread over the time between two of one.
    fn measure_together(
        &self,
        record: &mut Record,
        round: usize,
        workload: Workload,
        all: &[&System],
    ) {
        let mut running = Vec::new();
        for system in all {
            let mut plan = self.plan(record, workload, self.slice_nanos(workload));
            plan.name += &format!("-{}", system.name);
            running.push(supervise::start(system, &plan, self.time_for(&plan)));
            std::thread::sleep(Duration::from_secs(1) / (all.len() as u32 + 1));
        }
        for (system, running) in all.iter().zip(running) {
            let outcome = running.and_then(supervise::Running::finish);
            note(record, round, workload, system, outcome);
        }
    }

    /// The bare round trip now; `None` where there is one CPU only or it was not to be had.
    fn mood(&self, record: &Record) -> Option<f64> {
        let system = self.mood.filter(|_| record.cpus[0] != record.cpus[1])?;
        let workload = Workload::all()[0];
        let plan = self.plan(record, workload, MOOD_NANOS);
        let outcome = supervise::run(system, &plan, self.time_for(&plan));
        outcome.ok()?.figure(Measure::MeanTime)
    }

    /// Counts syscalls once for each system on each workload in which it is awake.
    fn count_syscalls(&self, record: &mut Record) {
        if self.counting == Counting::None {
            return;
        }
        self.report(None, "counting syscalls");
        let left = self.end.saturating_duration_since(Instant::now());
        let end = Instant::now() + left / COUNTING_PART;
        for &workload in self.workloads {
            for system in self.order(self.rounds - 1, workload) {
                if workload.runs_beside_others()
                    || !self.has(0, workload)
                    || Instant::now() >= end
                    || (self.counting == Counting::Few && !FEW.contains(&system.name))
                {
                    continue;
                }
                let counted = self.count(record, workload, system);
                let Some(cell) = record.cell_mut(workload, system.name) else {
                    continue;
                };
                match counted {
                    Ok((counts, by)) => {
                        cell.syscalls_per_message = Some(counts);
                        record.syscalls_counted_by.get_or_insert_with(|| by.into());
                    }
                    Err(reason) => cell.syscalls_not_counted = Some(reason),
                }
            }
        }
    }

    /// Counts the syscalls of one system, and again where there are some but not one for each message: they may be
    /// those of waits that another program has caused.
    fn count(&self, record: &Record, workload: Workload, system: &System) -> Counted {
        let slice = self.slice_nanos(workload);
        let nanos = match workload.len {
            0..=4096 => COUNTING_NANOS.max(slice / 3),
            _ => COUNTING_NANOS.max(slice),
        };
        let plan = self.plan(record, workload, nanos);
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

    fn plan(&self, record: &Record, workload: Workload, slice_nanos: u64) -> Plan {
        let cpus = match workload.place {
            Place::OneCpu => vec![record.cpus[0]; 2],
            Place::TwoCpus | Place::Quota => record.cpus.clone(),
        };
        let cgroup = match &self.quota {
            Ok(quota) if workload.place == Place::Quota => Some(quota.path().to_owned()),
            _ => None,
        };
        let cells = record.cells.iter();
        let number: usize = cells
            .map(|cell| cell.rounds.len() + usize::from(cell.syscalls_per_message.is_some()))
            .sum();
        Plan {
            workload,
            capacity: self.capacity.unwrap_or(workload.capacity()),
            cpus,
            slice_nanos,
            cgroup,
            name: format!("compare-{}-{number}", std::process::id()),
            file: self.file.clone(),
            kill: None,
        }
    }
}

fn note(
    record: &mut Record,
    round: usize,
    workload: Workload,
    system: &System,
    outcome: Result<Outcome, String>,
) {
    if let Err(reason) = &outcome {
        eprintln!("{workload}, {}: {reason}", system.name);
    }
    let round = Round::new(round, record.blocks.len(), workload.measure(), outcome);
    if let Some(cell) = record.cell_mut(workload, system.name) {
        cell.rounds.push(round);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_fill_the_time_with_the_wanted_rounds() {
        let time = 10 * 32 * (Duration::from_millis(50) + AROUND);
        assert_eq!(fit(time, 32), (Duration::from_millis(50), 10));
    }

    #[test]
    fn slices_keep_within_their_limits() {
        assert_eq!(fit(Duration::from_secs(6), 32).0, SHORTEST_SLICE);
        let (slice, rounds) = fit(Duration::from_secs(600), 32);
        assert_eq!(slice, LONGEST_SLICE);
        assert!(rounds > 100);
    }

    #[test]
    fn slices_shrink_for_the_fewest_rounds_and_one_round_is_run_in_any_time() {
        let time = 3 * 32 * (Duration::from_millis(10) + AROUND);
        assert_eq!(fit(time, 32), (Duration::from_millis(10), 3));
        assert_eq!(fit(Duration::from_millis(100), 32).1, 1);
    }

    fn order_of(round: usize, rounds: usize, outpaced: &[&str]) -> Vec<&'static str> {
        let all = crate::systems::common();
        let systems: Vec<_> = all.iter().collect();
        let workload: Workload = "one-way-8".parse().expect("a name");
        let schedule = Schedule {
            systems: &systems,
            workloads: &[workload],
            is_compared: &|_, system| system.name == "shm-sleep",
            progress: &|_| (),
            mood: None,
            file: None,
            capacity: None,
            slice_nanos: 1,
            rounds,
            every_round: false,
            least_rounds: 0,
            counting: Counting::None,
            repeats: 0,
            limit: Duration::ZERO,
            end: Instant::now(),
            quota: Err(String::new()),
            start: Instant::now(),
            outpaced: RefCell::new(
                outpaced
                    .iter()
                    .map(|name| (workload, (*name).to_owned()))
                    .collect(),
            ),
        };
        let order = schedule.order(round, workload);
        order.into_iter().map(|system| system.name).collect()
    }

    #[test]
    fn whoever_came_first_comes_last_in_the_next_round() {
        let rivals = [
            "shm",
            "shm-sleep",
            "pipe",
            "pipe-plain",
            "stream",
            "seqpacket",
        ];
        assert_eq!(order_of(0, 8, &[]), rivals);
        let mut next = rivals;
        next.rotate_left(1);
        assert_eq!(order_of(1, 8, &[]), next);
    }

    #[test]
    fn what_is_outpaced_or_compared_with_nobody_is_measured_in_each_fourth_round_and_the_last() {
        let has = |round, name: &str| order_of(round, 8, &["stream"]).contains(&name);
        for (name, rounds) in [("shm-kernel", [3, 7]), ("stream", [3, 7])] {
            for round in 0..8 {
                assert_eq!(has(round, name), rounds.contains(&round), "{name} {round}");
            }
        }
    }
}
