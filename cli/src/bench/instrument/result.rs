//! What was measured: samples of rounds, their medians, and all of it with where and how.

use std::env;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use super::channels::System;
use super::plan::Case;
use crate::bench::statistics::median;
use crate::machine;

/// One slice.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    messages: u64,
    elapsed: Duration,
    /// Nanoseconds at [`QUANTILES`](Self::QUANTILES); 0 where single messages were not timed.
    latencies: [u64; 5],
}

impl Sample {
    /// The quantiles that are told; the last is the slowest message.
    pub(crate) const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];
}

impl FromStr for Sample {
    type Err = io::Error;

    fn from_str(line: &str) -> io::Result<Self> {
        let numbers: Option<Vec<u64>> = line.split(' ').map(|word| word.parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[messages, nanos, p50, p90, p99, p999, max]) => Ok(Self {
                messages,
                elapsed: Duration::from_nanos(nanos),
                latencies: [p50, p90, p99, p999, max],
            }),
            _ => Err(io::Error::other(format!(
                "7 numbers were due, not {line:?}"
            ))),
        }
    }
}

/// A workload on a system, as it is being measured.
pub(crate) struct Row {
    pub(crate) case: Case,
    pub(crate) system: System,
    pub(crate) samples: Vec<Sample>,
}

impl Row {
    pub(crate) fn new(case: Case, system: System) -> Self {
        Self {
            case,
            system,
            samples: Vec::new(),
        }
    }
}

/// Medians over the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) system: System,
    #[serde(flatten)]
    pub(crate) case: Case,
    /// Messages, or round trips, a second.
    pub(crate) messages_per_second: f64,
    pub(crate) bytes_per_second: f64,
    /// Nanoseconds of a round trip, or of a paced message's way; null for one-way.
    pub(crate) latency_ns: Option<Latency>,
    /// How many times faster than the raw kernel pipe in this workload.
    pub(crate) times_kernel_pipe: Option<f64>,
}

/// Percentiles in nanoseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// The whole outcome.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    format: u32,
    pub(crate) command: String,
    pub(crate) machine: String,
    pub(crate) kernel: String,
    pub(crate) date: String,
    pub(crate) cpus: String,
    pub(crate) capacity: usize,
    pub(crate) slice_ms: f64,
    pub(crate) rounds: usize,
    pub(crate) results: Vec<Figures>,
}

impl Results {
    pub(crate) fn new(
        rows: &[Row],
        capacity: usize,
        cpus: (usize, usize),
        usable: usize,
        slice: Duration,
    ) -> Self {
        let mut results: Vec<Figures> = rows.iter().map(Figures::of).collect();
        for at in 0..results.len() {
            let case = results[at].case;
            let is_reference =
                |other: &&Figures| other.case == case && other.system == System::KernelPipe;
            let reference = results.iter().find(is_reference);
            let times = reference.map(|reference| results[at].speed() / reference.speed());
            results[at].times_kernel_pipe = times.filter(|times| times.is_finite());
        }
        let arguments = env::args_os().map(|word| quoted(&word.to_string_lossy()));
        Self {
            format: 1,
            command: arguments.collect::<Vec<_>>().join(" "),
            machine: machine::cpu_model(),
            kernel: format!("Linux {}", machine::kernel_release()),
            date: machine::date(),
            cpus: format!(
                "{} and {} of {usable} usable; many senders on all",
                cpus.0, cpus.1
            ),
            capacity,
            slice_ms: slice.as_secs_f64() * 1e3,
            rounds: rows.first().map_or(0, |row| row.samples.len()),
            results,
        }
    }
}

impl Figures {
    fn of(row: &Row) -> Self {
        let rate = |sample: &Sample| sample.messages as f64 / sample.elapsed.as_secs_f64();
        let rates: Vec<f64> = row.samples.iter().map(rate).collect();
        let messages_per_second = median(&rates)
            .filter(|rate| rate.is_finite())
            .unwrap_or(0.0);
        let quantile = |at: usize| {
            let values: Vec<f64> = row
                .samples
                .iter()
                .map(|sample| sample.latencies[at] as f64)
                .collect();
            median(&values).unwrap_or(0.0)
        };
        let latency = Latency {
            p50: quantile(0),
            p90: quantile(1),
            p99: quantile(2),
            p999: quantile(3),
            max: quantile(4),
        };
        Self {
            system: row.system,
            case: row.case,
            messages_per_second,
            bytes_per_second: messages_per_second * row.case.size as f64,
            latency_ns: Some(latency).filter(|latency| latency.max > 0.0),
            times_kernel_pipe: None,
        }
    }

    /// More is better: what ratios compare and plots show.
    fn speed(&self) -> f64 {
        match self.latency_ns {
            Some(latency) => 1e9 / latency.p50,
            None => self.messages_per_second,
        }
    }
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
mod tests {
    use super::*;
    use crate::bench::instrument::plan::Mode;

    #[test]
    fn figures_are_medians_and_compare_to_the_kernel_pipe_of_the_same_workload() {
        let case = Case {
            mode: Mode::PingPong,
            size: 8,
            senders: 1,
        };
        let row = |system, p50: [u64; 3]| Row {
            case,
            system,
            samples: p50
                .iter()
                .map(|p50| format!("1000 1000000 {p50} 2 3 4 5").parse().unwrap())
                .collect(),
        };
        let rows = [
            row(System::SharedMemory, [100, 300, 200]),
            row(System::KernelPipe, [1000, 9000, 1000]),
        ];
        let results = Results::new(&rows, 4096, (0, 1), 2, Duration::from_millis(1)).results;
        assert_eq!(results[0].latency_ns.unwrap().p50, 200.0);
        assert_eq!(results[0].messages_per_second, 1e6);
        assert_eq!(results[0].times_kernel_pipe, Some(5.0));
        assert_eq!(results[1].times_kernel_pipe, Some(1.0));
    }

    #[test]
    fn a_line_that_is_no_sample_is_refused_by_name() {
        for line in ["", "1 2 3", "1 2 3 4 5 6 x"] {
            let error = line.parse::<Sample>().unwrap_err();
            assert!(error.to_string().contains(&format!("{line:?}")), "{error}");
        }
    }

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("--sizes=8,9"), "--sizes=8,9");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
