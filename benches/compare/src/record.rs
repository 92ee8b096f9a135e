//! The record of a run: the machine, every system's version, and every round's figures, as JSON.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::goals::goals;
use crate::kills::{self, Fate, Victim};
use crate::load::Load;
use crate::machine;
use crate::outcome::Outcome;
use crate::statistics;
use crate::systems::System;
use crate::workload::{Measure, Workload};

/// Changes with the form of the record.
pub(crate) const SCHEMA: u32 = 3;

/// A bare round trip of two atomics under so many nanoseconds is one between CPUs that are near each other.
const NEAR_NANOS: f64 = 250.0;

/// What was around the slices of one round of one workload.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// From 0.
    pub(crate) round: usize,
    /// What was done.
    pub(crate) workload: Workload,
    /// What else ran.
    pub(crate) load: Load,
    /// A bare round trip of two atomics just before, in nanoseconds: how far apart the CPUs are at the moment.
    pub(crate) mood_nanos: Option<f64>,
    /// Whether its slices count for nothing, since it was run again.
    pub(crate) is_repeated: bool,
}

impl Block {
    /// Whether the CPUs were near each other; `None` where that was not measured.
    pub(crate) fn is_near(&self) -> Option<bool> {
        self.mood_nanos.map(|nanos| nanos < NEAR_NANOS)
    }
}

/// The syscalls of a system on a workload, in a slice that was made for counting them.
#[derive(Clone, Debug)]
pub(crate) struct Syscalls {
    /// What was done.
    pub(crate) workload: Workload,
    /// The system's name.
    pub(crate) system: &'static str,
    /// For a message or a round trip: of the receiving or pinging side, then of all peers; or why there are none.
    pub(crate) per_message: Result<[f64; 2], String>,
    /// By what they were counted.
    pub(crate) by: &'static str,
}

/// One slice of one system.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    /// From 0.
    pub(crate) round: usize,
    /// The number of its block.
    pub(crate) block: usize,
    /// What was done.
    pub(crate) workload: Workload,
    /// The system's name.
    pub(crate) system: &'static str,
    /// Whether others used the CPUs, so that it was run again.
    pub(crate) is_disturbed: bool,
    /// What it gave, or why it did not.
    pub(crate) outcome: Result<Outcome, String>,
}

/// A run: where, when, how, and what it gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// CPU model and architecture.
    pub(crate) cpu: String,
    /// Kernel release.
    pub(crate) kernel: String,
    /// The CPUs used: the receiver's first.
    pub(crate) cpus: Vec<usize>,
    /// When it began, in UTC.
    pub(crate) date: String,
    /// The command line without its path.
    pub(crate) command: String,
    /// How long an ordinary slice was, in nanoseconds.
    pub(crate) slice_nanos: u64,
    /// Workloads that this machine does not allow, and why.
    pub(crate) impossible: Vec<(Workload, String)>,
    /// What was around each block of slices, in their order; the disturbed ones are here too.
    pub(crate) blocks: Vec<Block>,
    /// What was counted beside the rounds.
    pub(crate) syscalls: Vec<Syscalls>,
    /// Rivals that are so slow on a workload that they are measured in few rounds.
    pub(crate) outpaced: Vec<(Workload, &'static str)>,
    /// What became of each kill.
    pub(crate) kills: Vec<Fate>,
    /// All slices in the order they were run.
    pub(crate) slices: Vec<Slice>,
}

impl Run {
    /// Describes the machine now.
    pub(crate) fn describe(cpus: Vec<usize>, slice_nanos: u64) -> Self {
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        Self {
            cpu: machine::cpu_model(),
            kernel: machine::kernel_release(),
            cpus,
            date: machine::date(),
            command: format!("compare {}", arguments.join(" "))
                .trim_end()
                .to_owned(),
            slice_nanos,
            ..Self::default()
        }
    }

    /// Blocks that were run again since others used too much of the CPUs.
    pub(crate) fn repeats(&self) -> usize {
        self.blocks.iter().filter(|block| block.is_repeated).count()
    }

    /// What else ran, in words.
    pub(crate) fn load_text(&self) -> String {
        let worst = |share: fn(&Load) -> f64| {
            let shares = || self.blocks.iter().map(|block| share(&block.load));
            let median = statistics::median(shares().collect()).unwrap_or_default();
            (100.0 * median, 100.0 * shares().fold(0.0, f64::max))
        };
        let (others, most_others) = worst(|load| load.others);
        let (stolen, most_stolen) = worst(|load| load.stolen);
        let kept = self.blocks.iter().filter(|block| !block.is_repeated);
        let still = kept.filter(|block| block.load.is_disturbing()).count();
        format!(
            "slices of {} ms; CPU time used by others: median {others:.0} %, most {most_others:.0} %; stolen: \
             {stolen:.0} %, {most_stolen:.0} %; of {} blocks {} were disturbed and run again, {still} were disturbed and kept",
            self.slice_nanos / 1_000_000,
            self.blocks.len(),
            self.repeats()
        )
    }

    /// How far apart the CPUs were, in words.
    pub(crate) fn mood_text(&self) -> String {
        let moods = || self.blocks.iter().filter_map(|block| block.mood_nanos);
        let Some(median) = statistics::median(moods().collect()) else {
            return "no bare round trip was measured".into();
        };
        let (least, most) = (
            moods().fold(f64::MAX, f64::min),
            moods().fold(0.0, f64::max),
        );
        let near = moods().filter(|&nanos| nanos < NEAR_NANOS).count();
        format!(
            "bare round trip of two atomics before each block: median {median:.0} ns, {least:.0} to {most:.0} ns; \
             CPUs near each other (under {NEAR_NANOS:.0} ns) at {near} of {}",
            moods().count()
        )
    }

    /// The undisturbed slices of one system for one workload.
    pub(crate) fn slices_of(
        &self,
        workload: Workload,
        system: &str,
    ) -> impl Iterator<Item = &Slice> {
        self.all_slices_of(workload, system)
            .filter(|slice| !slice.is_disturbed)
    }

    fn all_slices_of(&self, workload: Workload, system: &str) -> impl Iterator<Item = &Slice> {
        let wanted = move |slice: &&Slice| slice.workload == workload && slice.system == system;
        self.slices.iter().filter(wanted)
    }

    /// Marks the slices of a round that were run last, which are to be run again.
    pub(crate) fn mark_last_block(&mut self, round: usize, workload: Workload) {
        let same = |slice: &&mut Slice| slice.round == round && slice.workload == workload;
        for slice in self.slices.iter_mut().rev().take_while(same) {
            slice.is_disturbed = true;
        }
        if let Some(block) = self.blocks.last_mut() {
            block.is_repeated = true;
        }
    }

    /// What was counted for a system on a workload.
    pub(crate) fn syscalls_of(
        &self,
        workload: Workload,
        system: &str,
    ) -> Option<&Result<[f64; 2], String>> {
        let is_it = |one: &&Syscalls| one.workload == workload && one.system == system;
        self.syscalls.iter().find(is_it).map(|one| &one.per_message)
    }

    /// Why a system has not all of its rounds; `None` when all went well.
    pub(crate) fn failure(&self, workload: Workload, system: &str) -> Option<&str> {
        self.all_slices_of(workload, system)
            .find_map(|slice| slice.outcome.as_ref().err().map(String::as_str))
    }

    /// The record.
    pub(crate) fn to_json(&self, systems: &[&System], workloads: &[Workload]) -> Value {
        let described = systems.iter().map(|system| {
            json!({
                "name": system.name,
                "label": system.label,
                "role": system.role.label(),
                "version": version(system.package),
                "lacks": system.lacks,
            })
        });
        let described: Vec<_> = described.collect();
        let goals = goals(self, systems, workloads).into_iter().map(|goal| {
            json!({
                "workload": goal.workload.to_string(),
                "reference": goal.reference,
                "fastest_rival": goal.is_fastest,
                "wanted": goal.wanted,
                "reached": goal.reached,
                "at_most": goal.at_most,
                "reached_near": goal.near,
                "reached_far": goal.far,
                "met": goal.is_met(),
            })
        });
        let goals: Vec<_> = goals.collect();
        let impossible = self.impossible.iter();
        let impossible: Vec<_> = impossible
            .map(|(workload, reason)| json!([workload.to_string(), reason]))
            .collect();
        let blocks = self.blocks.iter().map(|block| {
            json!({
                "round": block.round,
                "workload": block.workload.to_string(),
                "others": block.load.others,
                "stolen": block.load.stolen,
                "atomics_nanos": block.mood_nanos,
                "repeated": block.is_repeated,
            })
        });
        let blocks: Vec<_> = blocks.collect();
        let kills: Vec<_> = self.kills.iter().map(Fate::to_json).collect();
        let ends = systems.iter().filter_map(|system| {
            let of = |victim| kills::summary(&self.kills, system.name, victim);
            let ends = Victim::ALL.map(|victim| Some((victim.name(), of(victim)?)));
            let ends: serde_json::Map<_, _> = ends
                .into_iter()
                .flatten()
                .map(|(victim, end)| (victim.to_owned(), json!(end)))
                .collect();
            (!ends.is_empty()).then(|| (system.name.to_owned(), Value::Object(ends)))
        });
        let ends: serde_json::Map<_, _> = ends.collect();
        let mut cells = Vec::new();
        for &workload in workloads {
            for system in systems {
                cells.push(self.cell_to_json(workload, system));
            }
        }
        json!({
            "schema": SCHEMA,
            "date": self.date,
            "command": self.command,
            "cpu": self.cpu,
            "kernel": self.kernel,
            "cpus": self.cpus,
            "slice_nanos": self.slice_nanos,
            "blocks": blocks,
            "repeated_blocks": self.repeats(),
            "not_possible": impossible,
            "syscalls_counted_by": self.syscalls.first().map(|one| one.by),
            "systems": described,
            "goals": goals,
            "kills": kills,
            "kill_ends": ends,
            "cells": cells,
        })
    }

    fn cell_to_json(&self, workload: Workload, system: &System) -> Value {
        let measure = workload.measure();
        let rounds: Vec<_> = self
            .all_slices_of(workload, system.name)
            .map(|slice| match &slice.outcome {
                Ok(outcome) => json!({
                    "round": slice.round,
                    "block": slice.block,
                    "disturbed": slice.is_disturbed,
                    "figure": outcome.figure(measure),
                    "messages": outcome.messages,
                    "nanos": outcome.nanos,
                    "cpu_nanos": [outcome.main.cpu_nanos, outcome.peers.cpu_nanos],
                    "voluntary_switches": [outcome.main.voluntary, outcome.peers.voluntary],
                    "involuntary_switches": [outcome.main.involuntary, outcome.peers.involuntary],
                    "used_over": outcome.used_over,
                    "in_place": outcome.in_place,
                    "latency_nanos": percentiles(&outcome.latency),
                }),
                Err(reason) => {
                    json!({"round": slice.round, "block": slice.block, "failed": reason})
                }
            })
            .collect();
        let mut cell = json!({
            "workload": workload.to_string(),
            "system": system.name,
            "unit": unit(measure),
            "limit": workload.limit(),
            "not_run": system.refusal(workload),
            "rounds": rounds,
        });
        match self.syscalls_of(workload, system.name) {
            Some(Ok(counts)) => cell["syscalls_per_message"] = json!(counts),
            Some(Err(reason)) => cell["syscalls_not_counted"] = json!(reason),
            None => {}
        }
        if let Some(sum) = statistics::cell(self, workload, system.name) {
            cell["good_rounds"] = json!(sum.rounds);
            cell["median"] = json!(sum.median);
            cell["best"] = json!(sum.best);
            cell["median_ratio_to_limit"] = json!(sum.to_limit);
            cell["best_ratio_to_limit"] = json!(sum.best_to_limit);
            cell["median_ratio_to_pipe"] = json!(sum.to_pipe);
            cell["median_cpu_nanos_per_message"] = json!(sum.cpu_nanos);
            cell["median_switches_per_message"] = json!(sum.switches);
            cell["in_place"] = json!(sum.in_place);
            cell["latency_nanos"] = percentiles(&sum.latency);
        }
        cell
    }
}

/// The name of a measure's unit.
pub(crate) fn unit(measure: Measure) -> &'static str {
    match measure {
        Measure::MeanTime => "ns for a round trip or a channel, mean of a slice",
        Measure::MedianTime => "ns for a round trip, median of a slice",
        Measure::Rate => "messages in a second",
        Measure::CpuTime => "CPU ns for a message, all sides",
    }
}

fn percentiles(latency: &crate::outcome::Latency) -> Value {
    if latency.is_empty() {
        return Value::Null;
    }
    json!({
        "count": latency.len(),
        "p50": latency.value_at_quantile(0.5),
        "p99": latency.value_at_quantile(0.99),
        "p99.9": latency.value_at_quantile(0.999),
        "max": latency.max(),
    })
}

/// The version of a package in this workspace's Cargo.lock, from which the program was built.
pub(crate) fn version(package: &str) -> String {
    let lock = include_str!("../Cargo.lock");
    let header = format!("name = \"{package}\"\nversion = \"");
    lock.split_once(&header)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or_else(String::new, |(version, _)| version.to_owned())
}

/// Writes a file and the directories above it.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        assert!(version("rtrb").starts_with("0."), "{:?}", version("rtrb"));
        assert_eq!(version(""), "");
    }
}
