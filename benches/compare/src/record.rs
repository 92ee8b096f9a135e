//! The record of a run: the machine, every system's version, and every round's figures, as JSON.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::goals::goals;
use crate::load::Load;
use crate::machine;
use crate::outcome::Outcome;
use crate::statistics;
use crate::systems::System;
use crate::workload::{Measure, Workload};

/// Changes with the form of the record.
const SCHEMA: u32 = 1;

/// One slice of one system.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    /// From 0.
    pub(crate) round: usize,
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
    /// How long each slice was, in nanoseconds.
    pub(crate) slice_nanos: u64,
    /// What else ran in each block of slices: one round of one workload. The disturbed ones are here too.
    pub(crate) loads: Vec<Load>,
    /// Blocks that were run again since others used too much of the CPUs.
    pub(crate) repeats: usize,
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
            loads: Vec::new(),
            repeats: 0,
            slices: Vec::new(),
        }
    }

    /// What else ran, in words.
    pub(crate) fn load_text(&self) -> String {
        let worst = |share: fn(&Load) -> f64| {
            let shares = || self.loads.iter().map(share);
            let median = statistics::median(shares().collect()).unwrap_or_default();
            (100.0 * median, 100.0 * shares().fold(0.0, f64::max))
        };
        let (others, most_others) = worst(|load| load.others);
        let (stolen, most_stolen) = worst(|load| load.stolen);
        format!(
            "slices of {} ms; CPU time used by others: median {others:.0} %, most {most_others:.0} %; stolen: \
             {stolen:.0} %, {most_stolen:.0} %; of {} blocks {} were disturbed and run again",
            self.slice_nanos / 1_000_000,
            self.loads.len(),
            self.repeats
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
                "wanted": goal.wanted,
                "reached": goal.reached,
                "met": goal.is_met(),
            })
        });
        let goals: Vec<_> = goals.collect();
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
            "loads": self.loads.iter().map(|load| json!([load.others, load.stolen])).collect::<Vec<_>>(),
            "repeated_blocks": self.repeats,
            "systems": described,
            "goals": goals,
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
                    "disturbed": slice.is_disturbed,
                    "figure": outcome.figure(measure),
                    "messages": outcome.messages,
                    "nanos": outcome.nanos,
                    "cpu_nanos": [outcome.main.cpu_nanos, outcome.peers.cpu_nanos],
                    "voluntary_switches": [outcome.main.voluntary, outcome.peers.voluntary],
                    "involuntary_switches": [outcome.main.involuntary, outcome.peers.involuntary],
                    "used_over": outcome.used_over,
                    "latency_nanos": percentiles(&outcome.latency),
                }),
                Err(reason) => json!({"round": slice.round, "failed": reason}),
            })
            .collect();
        let mut cell = json!({
            "workload": workload.to_string(),
            "system": system.name,
            "unit": unit(measure),
            "limit": workload.limit(),
            "not_run": (system.refuses)(workload),
            "rounds": rounds,
        });
        if let Some(sum) = statistics::cell(self, workload, system.name) {
            cell["good_rounds"] = json!(sum.rounds);
            cell["median"] = json!(sum.median);
            cell["best"] = json!(sum.best);
            cell["median_ratio_to_limit"] = json!(sum.to_limit);
            cell["best_ratio_to_limit"] = json!(sum.best_to_limit);
            cell["median_ratio_to_pipe"] = json!(sum.to_pipe);
            cell["median_cpu_nanos_per_message"] = json!(sum.cpu_nanos);
            cell["median_switches_per_message"] = json!(sum.switches);
            cell["latency_nanos"] = percentiles(&sum.latency);
        }
        cell
    }
}

/// The name of a measure's unit.
pub(crate) fn unit(measure: Measure) -> &'static str {
    match measure {
        Measure::MeanTime => "ns for a round trip, mean of a slice",
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
