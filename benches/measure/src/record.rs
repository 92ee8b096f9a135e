//! The record of a run: the machine, every system's version, and every round's figures, as JSON.
//!
//! `shmpipe bench`, `benches/compare` and the benchmark of the Python package write it in this one form. Reports are made of
//! it alone.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::clock::Usage;
use crate::kills::{self, Fate, Victim};
use crate::load::Load;
use crate::machine;
use crate::outcome::{Latency, Outcome, latency};
use crate::statistics::{Spread, median};
use crate::systems::System;
use crate::workload::{Kind, Measure, Workload};

/// Changes with the form of the record. Versions 2 and 3 had best rounds in place of quartiles, and 2 had no kills; both are
/// read too.
pub const SCHEMA: u32 = 4;

/// The oldest form that is read.
const OLDEST: u32 = 2;

/// The name of the system whose ratios to the others are formed.
pub const OURS: &str = "shm";

/// A bare round trip of two atomics under so many nanoseconds is one between CPUs that are near each other.
const NEAR_NANOS: f64 = 250.0;

/// Where, when, how, and what it gave.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// [`SCHEMA`] when it was written.
    pub schema: u32,
    /// When it began, in UTC.
    pub date: String,
    /// The command line without the program's path.
    pub command: String,
    /// CPU model and architecture.
    pub cpu: String,
    /// Kernel release.
    pub kernel: String,
    /// The CPUs used: the receiver's first.
    pub cpus: Vec<usize>,
    /// Room in bytes that an ordinary channel has.
    pub capacity: Option<usize>,
    /// How long an ordinary slice was.
    pub slice_nanos: u64,
    /// The system that all are compared with; a kernel pipe where it is not named.
    pub reference: Option<String>,
    /// What was around each block of slices, in their order; the disturbed ones are here too.
    pub blocks: Vec<Block>,
    /// Workloads that the machine did not allow, and why.
    pub not_possible: Vec<(String, String)>,
    /// By what syscalls were counted.
    pub syscalls_counted_by: Option<String>,
    /// The systems, in the table's order.
    pub systems: Vec<Described>,
    /// What was wanted, and what became of it.
    pub goals: Vec<Goal>,
    /// What became of each kill.
    pub kills: Vec<Fate>,
    /// What each system's survivors got, in a few words, by system and victim.
    pub kill_ends: BTreeMap<String, BTreeMap<String, String>>,
    /// What was measured, by workload and system.
    pub cells: Vec<Cell>,
}

/// A system, as far as reports need it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Described {
    /// Its name in cells.
    pub name: String,
    /// What it is.
    pub label: String,
    /// What it is here for, by the label of its [`Role`](crate::systems::Role).
    pub role: String,
    /// Its version; empty for the kernel's own.
    pub version: String,
    /// What it lacks beside a pipe; empty when nothing.
    pub lacks: String,
}

/// What was around the slices of one round of one workload.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Block {
    /// From 0.
    pub round: usize,
    /// What was done.
    pub workload: String,
    /// The share of the time of all CPUs that other processes used.
    pub others: f64,
    /// The share that the hypervisor took.
    pub stolen: f64,
    /// A bare round trip of two atomics just before: how far apart the CPUs are at the moment.
    pub atomics_nanos: Option<f64>,
    /// Whether its slices count for nothing, since it was run again.
    pub repeated: bool,
}

/// One system on one workload.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cell {
    /// The workload's name.
    pub workload: String,
    /// The system's name.
    pub system: String,
    /// What its figures are.
    pub unit: Measure,
    /// The system that shows what the hardware allows here; empty where there is none.
    pub limit: String,
    /// Bytes of a message, where its workload's name does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_bytes: Option<f64>,
    /// Why it cannot do that.
    pub not_run: Option<String>,
    /// Its slices, in their order; the disturbed ones are here too.
    pub rounds: Vec<Round>,
    /// Syscalls for a message or a round trip: of the receiving or pinging side, then of all peers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syscalls_per_message: Option<[f64; 2]>,
    /// Why they were not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syscalls_not_counted: Option<String>,
    /// What the rounds come to, where any was good.
    #[serde(flatten)]
    pub summary: Option<Summary>,
}

/// One slice.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Round {
    /// From 0.
    pub round: usize,
    /// The number of its block.
    pub block: usize,
    /// Whether others used the CPUs, so that it was run again.
    pub disturbed: bool,
    /// Why it gave nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// What is compared, in the cell's unit.
    pub figure: Option<f64>,
    /// Messages or round trips in the measured part.
    pub messages: u64,
    /// How long that part took.
    pub nanos: u64,
    /// CPU time of the receiving or pinging side, then of all peers.
    pub cpu_nanos: [u64; 2],
    /// Times they gave up the CPU.
    pub voluntary_switches: [u64; 2],
    /// Times it was taken from them.
    pub involuntary_switches: [u64; 2],
    /// Messages over which those were used.
    pub used_over: u64,
    /// Messages that were made, and read, where they lay in the channel.
    pub in_place: [u64; 2],
    /// Times of single messages.
    pub latency_nanos: Option<Percentiles>,
    /// The same, each of them; not in the file.
    #[serde(skip)]
    latency: Option<Latency>,
}

/// What the good rounds of a cell come to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// How many they are.
    pub good_rounds: usize,
    /// The middle one of their figures.
    pub median: f64,
    /// A quarter of them lie below it.
    #[serde(default)]
    pub low: f64,
    /// A quarter of them lie above it.
    #[serde(default)]
    pub high: f64,
    /// Median ratio to the limit within the rounds; above 1 is better than it.
    #[serde(default)]
    pub median_ratio_to_limit: Option<f64>,
    /// The same to the reference, a kernel pipe.
    #[serde(default)]
    pub median_ratio_to_pipe: Option<f64>,
    /// Median CPU time for a message: receiving or pinging side, then its peers.
    #[serde(default)]
    pub median_cpu_nanos_per_message: [f64; 2],
    /// Median context switches of all sides for a message.
    #[serde(default)]
    pub median_switches_per_message: f64,
    /// The shares of messages that were made, and read, where they lay; `None` where all copy.
    #[serde(default)]
    pub in_place: Option<[f64; 2]>,
    /// Times of single messages in all rounds together.
    #[serde(default)]
    pub latency_nanos: Option<Percentiles>,
}

/// Some percentiles of times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub count: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    #[serde(rename = "p99.9")]
    pub p999: u64,
    pub max: u64,
}

/// One goal, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Goal {
    /// On which workload.
    pub workload: String,
    /// The name of the system it is compared with, or of what is counted.
    pub reference: String,
    /// Whether that system is the fastest rival, found by the run.
    pub fastest_rival: bool,
    /// The ratio or count that is wanted; `None` where it is reported only.
    pub wanted: Option<f64>,
    /// Whether that is the most, and not the least, that is wanted.
    pub at_most: bool,
    /// The median ratio, or the count.
    pub reached: f64,
    /// The median ratio of the rounds in which the CPUs were near each other.
    pub reached_near: Option<f64>,
    /// The same of those in which they were far apart.
    pub reached_far: Option<f64>,
    /// Whether it is met; `None` where nothing is wanted.
    pub met: Option<bool>,
}

impl Goal {
    /// How many times too little, or too much, was reached; above 1 when the goal is missed.
    pub fn missed_by(&self) -> Option<f64> {
        let wanted = self.wanted?;
        Some(match self.at_most {
            true => self.reached / wanted,
            false => wanted / self.reached,
        })
    }

    /// With its verdict.
    pub fn judged(self) -> Self {
        let met = self.missed_by().map(|factor| factor <= 1.0);
        Self { met, ..self }
    }
}

impl Block {
    /// A block with that load around it.
    pub(crate) fn new(round: usize, workload: String, load: Load, mood: Option<f64>) -> Self {
        Self {
            round,
            workload,
            others: load.others,
            stolen: load.stolen,
            atomics_nanos: mood,
            repeated: false,
        }
    }

    /// Whether others took enough for the figures to be theirs as much as ours.
    pub fn is_disturbed(&self) -> bool {
        self.others + self.stolen > 0.1
    }

    /// Whether the CPUs were near each other; `None` where that was not measured.
    pub fn is_near(&self) -> Option<bool> {
        self.atomics_nanos.map(|nanos| nanos < NEAR_NANOS)
    }
}

impl Percentiles {
    fn of(latency: &Latency) -> Option<Self> {
        let at = |quantile| latency.value_at_quantile(quantile);
        (!latency.is_empty()).then(|| Self {
            count: latency.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: latency.max(),
        })
    }
}

impl Round {
    /// What a slice gave, or why it did not.
    pub fn new(
        round: usize,
        block: usize,
        measure: Measure,
        outcome: Result<Outcome, String>,
    ) -> Self {
        let place = Self {
            round,
            block,
            ..Self::default()
        };
        match outcome {
            Err(reason) => Self {
                failed: Some(reason),
                ..place
            },
            Ok(outcome) => {
                let both = |of: fn(Usage) -> u64| [of(outcome.main), of(outcome.peers)];
                Self {
                    figure: outcome.figure(measure),
                    messages: outcome.messages,
                    nanos: outcome.nanos,
                    cpu_nanos: both(|usage| usage.cpu_nanos),
                    voluntary_switches: both(|usage| usage.voluntary),
                    involuntary_switches: both(|usage| usage.involuntary),
                    used_over: outcome.used_over,
                    in_place: outcome.in_place,
                    latency_nanos: Percentiles::of(&outcome.latency),
                    latency: Some(outcome.latency),
                    ..place
                }
            }
        }
    }
}

impl Cell {
    /// Its undisturbed rounds that have a figure.
    pub fn good(&self) -> impl Iterator<Item = (&Round, f64)> {
        let undisturbed = self.rounds.iter().filter(|round| !round.disturbed);
        undisturbed.filter_map(|round| Some((round, round.figure?)))
    }

    /// The median of their figures, and their middle half.
    pub fn spread(&self) -> Option<Spread> {
        Spread::of(self.good().map(|(_, figure)| figure).collect())
    }

    /// Why it has not all of its rounds; `None` when all went well.
    pub fn failure(&self) -> Option<&str> {
        self.rounds.iter().find_map(|round| round.failed.as_deref())
    }

    /// Bytes of a message, where they are known.
    pub fn bytes(&self) -> Option<f64> {
        let by_name = || Some(self.workload.parse::<Workload>().ok()?.len as f64);
        self.message_bytes.or_else(by_name)
    }

    fn summarise(&self) -> Option<Summary> {
        let spread = self.spread()?;
        let rounds: Vec<&Round> = self.good().map(|(round, _)| round).collect();
        let per = |of: &dyn Fn(&Round) -> u64| {
            let all = rounds.iter();
            median(
                all.map(|one| of(one) as f64 / one.used_over as f64)
                    .collect(),
            )
        };
        let mut all = latency();
        for one in rounds.iter().filter_map(|round| round.latency.as_ref()) {
            all.add(one).ok()?;
        }
        let kind = self.workload.parse::<Workload>().map(|one| one.kind);
        let share = |side: usize| {
            let made: u64 = rounds.iter().map(|round| round.in_place[side]).sum();
            made as f64 / rounds.iter().map(|round| round.messages).sum::<u64>() as f64
        };
        Some(Summary {
            good_rounds: rounds.len(),
            median: spread.median,
            low: spread.low,
            high: spread.high,
            median_ratio_to_limit: None,
            median_ratio_to_pipe: None,
            median_cpu_nanos_per_message: [
                per(&|one| one.cpu_nanos[0])?,
                per(&|one| one.cpu_nanos[1])?,
            ],
            median_switches_per_message: per(&|one| {
                let all = one.voluntary_switches.iter();
                all.chain(&one.involuntary_switches).sum()
            })?,
            in_place: (kind == Ok(Kind::Loan)).then(|| [0, 1].map(share)),
            latency_nanos: Percentiles::of(&all),
        })
    }
}

impl Record {
    /// Describes the machine now, with a place for each of those systems on each of those workloads.
    pub fn begin(
        program: &str,
        cpus: Vec<usize>,
        slice_nanos: u64,
        systems: &[&System],
        workloads: &[Workload],
    ) -> Self {
        let mut cells = Vec::new();
        for &workload in workloads {
            cells.extend(systems.iter().map(|system| Cell {
                workload: workload.to_string(),
                system: system.name.into(),
                unit: workload.measure(),
                limit: workload.limit().into(),
                not_run: system.refusal(workload).map(Into::into),
                ..Cell::default()
            }));
        }
        let words = std::env::args().skip(1).map(|word| quoted(&word));
        let words: Vec<_> = [program.to_owned()].into_iter().chain(words).collect();
        Self {
            schema: SCHEMA,
            date: machine::date(),
            command: words.join(" "),
            cpu: machine::cpu_model(),
            kernel: machine::kernel_release(),
            cpus,
            slice_nanos,
            systems: systems.iter().map(|system| system.describe()).collect(),
            cells,
            ..Self::default()
        }
    }

    /// Reads a file, packed by gzip(1) or not.
    ///
    /// # Errors
    ///
    /// Says which file could not be read as a record.
    pub fn read(path: &Path) -> Result<Self, String> {
        let named = |error: String| format!("{}: {error}", path.display());
        let bytes = if path.extension().is_some_and(|end| end == "gz") {
            let output = Command::new("gzip").arg("-dc").arg(path).output();
            let output = output.map_err(|error| named(format!("gzip: {error}")))?;
            if !output.status.success() {
                return Err(named(
                    String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                ));
            }
            output.stdout
        } else {
            fs::read(path).map_err(|error| named(error.to_string()))?
        };
        let record: Self =
            serde_json::from_slice(&bytes).map_err(|error| named(error.to_string()))?;
        if !(OLDEST..=SCHEMA).contains(&record.schema) {
            return Err(named(format!(
                "its schema is {}, not {OLDEST} to {SCHEMA}",
                record.schema
            )));
        }
        Ok(record)
    }

    /// Sums up what was measured.
    pub fn finish(&mut self) {
        let mut ends = BTreeMap::<_, BTreeMap<_, _>>::new();
        for system in &self.systems {
            for victim in Victim::ALL {
                if let Some(end) = kills::summary(&self.kills, &system.name, victim) {
                    let its = ends.entry(system.name.clone()).or_default();
                    its.insert(victim.name().to_owned(), end);
                }
            }
        }
        self.kill_ends = ends;
        let sums = |cell: &Cell| {
            let beside = |other: &str| self.ratio(&cell.workload, &cell.system, other);
            Some(Summary {
                median_ratio_to_limit: beside(&cell.limit).map(|ratio| ratio.median),
                median_ratio_to_pipe: beside(self.reference()).map(|ratio| ratio.median),
                ..cell.summarise()?
            })
        };
        let all: Vec<_> = self.cells.iter().map(sums).collect();
        for (cell, summary) in self.cells.iter_mut().zip(all) {
            cell.summary = summary;
        }
    }

    /// As JSON.
    ///
    /// # Errors
    ///
    /// A figure that is no number.
    pub fn to_json(&self) -> io::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The name of the system that all are compared with.
    pub fn reference(&self) -> &str {
        self.reference.as_deref().unwrap_or("pipe")
    }

    /// What is known of a system.
    pub fn system(&self, name: &str) -> Option<&Described> {
        self.systems.iter().find(|system| system.name == name)
    }

    /// One system on one workload.
    pub fn cell(&self, workload: &str, system: &str) -> Option<&Cell> {
        let is_it = |cell: &&Cell| cell.workload == workload && cell.system == system;
        self.cells.iter().find(is_it)
    }

    /// The same, to be changed.
    pub(crate) fn cell_mut(&mut self, workload: Workload, system: &str) -> Option<&mut Cell> {
        let workload = workload.to_string();
        let is_it = |cell: &&mut Cell| cell.workload == workload && cell.system == system;
        self.cells.iter_mut().find(is_it)
    }

    /// How many times better a system is than another one in each block that has both; with the block's number.
    pub fn ratios(&self, workload: &str, system: &str, other: &str) -> Vec<(usize, f64)> {
        let (Some(ours), Some(theirs)) = (self.cell(workload, system), self.cell(workload, other))
        else {
            return Vec::new();
        };
        let theirs: BTreeMap<_, _> = theirs
            .good()
            .map(|(round, figure)| (round.block, figure))
            .collect();
        let ratio = |(round, figure): (&Round, f64)| {
            let other = *theirs.get(&round.block)?;
            Some((round.block, ours.unit.ratio(figure, other)))
        };
        ours.good().filter_map(ratio).collect()
    }

    /// The median of those ratios, and their middle half; `None` where no block has both.
    pub fn ratio(&self, workload: &str, system: &str, other: &str) -> Option<Spread> {
        let ratios = self.ratios(workload, system, other).into_iter();
        Spread::of(ratios.map(|(_, ratio)| ratio).collect())
    }

    /// Rounds of the workload that has most of them.
    pub fn rounds(&self) -> usize {
        let good = self.cells.iter().map(|cell| cell.good().count());
        good.max().unwrap_or(0)
    }

    /// Blocks that were run again since others used too much of the CPUs.
    pub fn repeats(&self) -> usize {
        self.blocks.iter().filter(|block| block.repeated).count()
    }

    /// Marks the block that was run last, and its slices, as disturbed: it is run again.
    pub(crate) fn mark_last_block(&mut self) {
        let Some(last) = self.blocks.len().checked_sub(1) else {
            return;
        };
        self.blocks[last].repeated = true;
        let slices = self.cells.iter_mut().flat_map(|cell| &mut cell.rounds);
        for slice in slices.filter(|slice| slice.block == last) {
            slice.disturbed = true;
        }
    }

    /// What else ran, in words; empty where nobody looked.
    pub fn load_text(&self) -> String {
        let share = |share: fn(&Block) -> f64| {
            let shares = || self.blocks.iter().map(share);
            let median = median(shares().collect()).unwrap_or_default();
            (100.0 * median, 100.0 * shares().fold(0.0, f64::max))
        };
        let (others, most_others) = share(|block| block.others);
        let (stolen, most_stolen) = share(|block| block.stolen);
        let kept = self.blocks.iter().filter(|block| !block.repeated);
        let still = kept.filter(|block| block.is_disturbed()).count();
        match self.blocks.len() {
            0 => String::new(),
            blocks => format!(
                "CPU time used by others: median {others:.0} %, most {most_others:.0} %; stolen: {stolen:.0} %, \
                 {most_stolen:.0} %; of {blocks} blocks {} were disturbed and run again, {still} were disturbed and kept",
                self.repeats()
            ),
        }
    }

    /// How far apart the CPUs were, in words; empty where nobody looked.
    pub fn mood_text(&self) -> String {
        let moods: Vec<f64> = self
            .blocks
            .iter()
            .filter_map(|one| one.atomics_nanos)
            .collect();
        let near = moods.iter().filter(|&&nanos| nanos < NEAR_NANOS).count();
        let (least, most) = moods
            .iter()
            .fold((f64::MAX, 0.0_f64), |(low, high), &nanos| {
                (low.min(nanos), high.max(nanos))
            });
        let count = moods.len();
        median(moods).map_or_else(String::new, |median| {
            format!(
                "near each other (a bare round trip of two atomics under {NEAR_NANOS:.0} ns) before {near} of {count} blocks; \
                 median {median:.0} ns, {least:.0} to {most:.0} ns"
            )
        })
    }
}

/// Writes a file and the directories above it.
///
/// # Errors
///
/// What the system reports, with the file's name.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, text))
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// A word of a command line as a shell would need it.
fn quoted(word: &str) -> String {
    let is_plain = |char: char| char.is_alphanumeric() || "-_=./,:+".contains(char);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record in which each of those systems had those figures in the blocks of a workload.
    pub(crate) fn record(workload: &str, systems: &[(&str, &[f64])]) -> Record {
        let unit = workload.parse::<Workload>().expect("a name").measure();
        let mut record = Record {
            schema: SCHEMA,
            ..Record::default()
        };
        add(&mut record, workload, unit, systems);
        record
    }

    /// The same beside what is there.
    pub(crate) fn add(
        record: &mut Record,
        workload: &str,
        unit: Measure,
        systems: &[(&str, &[f64])],
    ) {
        for &(system, figures) in systems {
            if record.system(system).is_none() {
                record.systems.push(Described {
                    name: system.into(),
                    label: match system {
                        OURS => "shmpipe".into(),
                        other => other.into(),
                    },
                    role: "between processes".into(),
                    ..Described::default()
                });
            }
            let rounds = figures.iter().enumerate().map(|(block, &figure)| Round {
                round: block,
                block,
                figure: Some(figure),
                messages: 1,
                used_over: 1,
                ..Round::default()
            });
            record.cells.push(Cell {
                workload: workload.into(),
                system: system.into(),
                unit,
                rounds: rounds.collect(),
                ..Cell::default()
            });
        }
        record.finish();
    }

    #[test]
    fn ratios_are_formed_within_a_round() {
        // The machine is ten times slower in the second round; the ratio stays.
        let shm: &[f64] = &[200.0, 20.0, 20.0];
        let record = record("one-way-8", &[(OURS, shm), ("pipe", &[100.0, 10.0])]);
        let ratio = record.ratio("one-way-8", OURS, "pipe").unwrap();
        assert_eq!((ratio.low, ratio.median, ratio.high), (2.0, 2.0, 2.0));
        let sums = record.cell("one-way-8", OURS).unwrap().summary.clone();
        let sums = sums.unwrap();
        assert_eq!((sums.good_rounds, sums.median), (3, 20.0));
        assert_eq!(sums.median_ratio_to_pipe, Some(2.0));
        assert_eq!(sums.median_ratio_to_limit, None);
    }

    #[test]
    fn of_times_the_smaller_one_is_the_better_one() {
        let record = record("round-trip-8", &[(OURS, &[100.0]), ("pipe", &[400.0])]);
        assert_eq!(
            record.ratio("round-trip-8", OURS, "pipe").unwrap().median,
            4.0
        );
    }

    #[test]
    fn a_disturbed_slice_counts_for_nothing() {
        let mut record = record("one-way-8", &[(OURS, &[200.0]), ("pipe", &[100.0])]);
        record.blocks.push(Block::default());
        record.mark_last_block();
        assert!(record.blocks[0].repeated);
        record.finish();
        assert!(record.cell("one-way-8", OURS).unwrap().summary.is_none());
        assert!(record.ratio("one-way-8", OURS, "pipe").is_none());
    }

    #[test]
    fn a_goal_is_missed_by_the_factor_that_lacks() {
        let goal = |at_most, reached| {
            let wanted = Some(2.0);
            Goal {
                at_most,
                reached,
                wanted,
                ..Goal::default()
            }
            .judged()
        };
        assert_eq!(goal(false, 2.0).met, Some(true));
        assert_eq!(goal(false, 0.5).missed_by(), Some(4.0));
        assert_eq!(goal(false, 0.5).met, Some(false));
        assert_eq!(goal(true, 0.0).met, Some(true));
        assert_eq!(goal(true, 3.0).missed_by(), Some(1.5));
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut record = record("one-way-8", &[(OURS, &[200.0]), ("pipe", &[100.0])]);
        record.cells[0].rounds[0].failed = Some("lost".into());
        let text = record.to_json().unwrap();
        let read: Record = serde_json::from_str(&text).unwrap();
        assert_eq!(read.to_json().unwrap(), text);
        assert_eq!(read.cells[0].failure(), Some("lost"));
    }

    #[test]
    fn a_record_of_another_form_is_refused() {
        let path = std::env::temp_dir().join(format!("measure-{}.json", std::process::id()));
        fs::write(&path, r#"{"schema": 1}"#).expect("a file");
        let error = Record::read(&path).expect_err("another schema");
        fs::remove_file(path).expect("the file");
        assert!(error.ends_with("its schema is 1, not 2 to 4"), "{error}");
    }

    #[test]
    fn records_that_were_made_before_are_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../compare/records");
        if !folder.exists() {
            return println!("skipped: the records are not here");
        }
        for entry in fs::read_dir(&folder).unwrap() {
            match Record::read(&entry.unwrap().path()) {
                Ok(record) => assert!(record.rounds() > 0, "{}", record.command),
                Err(error) => assert!(error.contains("its schema is 1"), "{error}"),
            }
        }
        let record = Record::read(&folder.join("2026-11-30-1.json.gz")).unwrap();
        assert_eq!(record.rounds(), 8);
        let sums = record.cell("wake-8", OURS).unwrap().summary.clone();
        let sums = sums.expect("it was measured");
        assert_eq!((sums.good_rounds, sums.median), (8, 25_879.0));
        assert_eq!(sums.latency_nanos.unwrap().p999, 85_823);
        let ratio = record.ratio("wake-8", OURS, "pipe").unwrap();
        assert_eq!(Some(ratio.median), sums.median_ratio_to_pipe);
        assert_eq!(record.goals[0].reference, "ringfire-spin");
        assert!(record.kills.iter().any(|fate| fate.system == "iceoryx2"));
    }

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("--sizes=8,9"), "--sizes=8,9");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
