//! The full instrument: workloads by mode, size and number of senders, with percentiles and a raw limit.
//!
//! Each system is measured once in each round, in processes of its own that end with the slice; a figure is the
//! median of its rounds. What runs in those processes is in [`work`], what they talk over in [`channels`].

mod channels;
mod html;
mod limit;
mod plan;
mod result;
mod svg;
mod table;
mod work;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use indicatif::ProgressBar;

use super::bar_style;
use super::systems::Capacity;
use crate::look::json;
use crate::machine;
use channels::System;
use plan::{Case, Mode};
use result::{Results, Row};

/// Rounds that are aimed at; a median needs three.
const ROUNDS: u32 = 3;

/// Slices are no shorter: forking and the first messages are a part of each.
const SHORTEST_SLICE: Duration = Duration::from_millis(20);

/// Which workloads to measure, and where the results go.
#[derive(clap::Args, Debug)]
#[group(id = "instrument")]
#[command(next_help_heading = "Full instrument (any of these chooses it)")]
pub(crate) struct Options {
    /// Sizes of messages in bytes [default: 8,1024,65536]
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = parse_size)]
    sizes: Vec<usize>,

    /// Workloads to run [default: all]
    #[arg(long, value_enum, value_name = "MODE", value_delimiter = ',')]
    modes: Vec<Mode>,

    /// Numbers of sending processes; more than one only for one-way and paced [default: 1]
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=64))]
    senders: Vec<u16>,

    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,

    /// Write a report with plots to this file; it loads nothing when shown
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

fn parse_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size) if (8..=64 << 20).contains(&size) => Ok(size),
        _ => Err("a number of bytes from 8 to 67108864 is needed".into()),
    }
}

impl Options {
    /// Whether anything of it was asked for.
    pub(crate) fn is_wanted(&self) -> bool {
        self.json
            || self.html.is_some()
            || !self.sizes.is_empty()
            || !self.modes.is_empty()
            || !self.senders.is_empty()
    }
}

/// Measures everything within about `total` and returns what is to be printed.
///
/// # Errors
///
/// A process of the bench failed, or the report cannot be written.
pub(crate) fn run(options: &Options, total: Duration) -> io::Result<String> {
    let cases = plan::cases(&options.modes, &options.sizes, &options.senders);
    let capacity = Capacity::probe()?;
    let usable = machine::usable_cpus()?;
    let cpus = machine::choose_cpus(&usable)
        .ok_or_else(|| io::Error::other("the affinity mask of this process names no CPU"))?;
    let measured = |case: &Case| {
        let case = *case;
        System::ALL
            .into_iter()
            .filter(move |system| system.can(&case))
    };
    let slices: usize = cases.iter().map(|case| measured(case).count()).sum();
    let slices = u32::try_from(slices).map_err(io::Error::other)?.max(1);
    let slice = (total / (slices * ROUNDS)).max(SHORTEST_SLICE);
    let bar = ProgressBar::new((slices * ROUNDS).into()).with_style(bar_style());
    let mut rows: Vec<Row> = cases
        .iter()
        .flat_map(|case| measured(case).map(|system| Row::new(*case, system)))
        .collect();
    for round in 0..ROUNDS {
        for row in &mut rows {
            bar.set_message(format!("{}, {}, round {}", row.case, row.system, round + 1));
            let sample =
                work::slice(row.case, row.system, capacity.pipe, cpus, slice).map_err(|error| {
                    io::Error::other(format!("{}, {}: {error}", row.case, row.system))
                })?;
            row.samples.push(sample);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let results = Results::new(&rows, capacity.pipe, cpus, usable.len(), slice);
    if let Some(file) = &options.html {
        fs::write(file, html::page(&results)).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", file.display()))
        })?;
    }
    if options.json {
        return json::line(&results);
    }
    Ok(table::text(&results))
}
