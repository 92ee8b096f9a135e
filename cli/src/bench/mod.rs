//! `shmpipe bench`: two pinned processes, short interleaved slices on every system, one table.
//!
//! It decides what runs when; the modules below know how.

mod drive;
mod instrument;
mod pair;
mod payload;
mod processes;
mod report;
mod schedule;
mod serve;
mod statistics;
mod systems;
mod units;
mod workloads;

use std::env;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::machine;
use pair::{Pair, Placement};
use payload::Material;
use report::Report;
use schedule::Schedule;
use statistics::Round;
use systems::{Capacity, System};
use workloads::Workload;

/// Time in seconds that a bench takes unless told otherwise.
const DEFAULT_SECONDS: f64 = 15.0;

/// The same with `--quick`.
const QUICK_SECONDS: f64 = 4.0;

/// The workload that is also run with both processes on one CPU, by its index.
const ONE_CPU_WORKLOAD: usize = 0;

/// Steps of the progress bar.
const PROGRESS_STEPS: u32 = 1000;

/// Options of `shmpipe bench`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// File to send; its digest is checked on arrival [default: this program]
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,

    /// Take about 4 seconds and fewer rounds
    #[arg(long)]
    quick: bool,

    /// Total time in seconds; at least one round runs [default: 15]
    #[arg(long, value_parser = parse_seconds)]
    seconds: Option<f64>,

    #[command(flatten)]
    instrument: instrument::Options,
}

impl Options {
    fn duration(&self) -> Duration {
        let preset = if self.quick {
            QUICK_SECONDS
        } else {
            DEFAULT_SECONDS
        };
        Duration::from_secs_f64(self.seconds.unwrap_or(preset))
    }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number from 0.1 to 3600 is needed".into()),
    }
}

/// One group of the table: a workload on a pair, and what its rounds gave.
pub(crate) struct Cell {
    /// Index in the list of pairs.
    pair: usize,
    /// Where that pair runs.
    placement: Placement,
    /// Index in [`Workload::ALL`].
    workload: usize,
    /// The rounds that were measured.
    rounds: Vec<Round>,
}

/// Runs the bench and returns its report.
///
/// # Errors
///
/// A file that cannot be read, a limit of the machine, a process that died, and any byte that
/// arrived other than it was sent.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    if options.instrument.is_wanted() {
        return instrument::run(&options.instrument, options.duration());
    }
    let path = match &options.file {
        Some(path) => path.clone(),
        None => env::current_exe()?,
    };
    let material = Material::load(&path)?;
    let capacity = Capacity::probe()?;
    let usable = machine::usable_cpus()?;
    let (first, second) = machine::choose_cpus(&usable)
        .ok_or_else(|| io::Error::other("the affinity mask of this process names no CPU"))?;
    // Children first: the process must not have a second thread when it forks.
    let mut placements = vec![Placement {
        driver: first,
        peer: second,
    }];
    if first != second {
        placements.push(Placement {
            driver: first,
            peer: first,
        });
    }
    let mut pairs = placements
        .into_iter()
        .map(|placement| Pair::start(placement, capacity, &material))
        .collect::<io::Result<Vec<_>>>()?;

    let mut cells = plan(&pairs);
    let slices = u32::try_from(cells.len() * System::ALL.len()).map_err(io::Error::other)?;
    let schedule = Schedule::new(options.duration(), slices);
    measure(&schedule, &mut pairs, &mut cells)?;
    for pair in pairs {
        pair.finish()?;
    }
    Ok(Report {
        cells: &cells,
        capacity,
        material: &material,
        usable: &usable,
        slice: schedule.slice,
    }
    .to_string())
}

/// All workloads on the first pair; on the second, which shares one CPU, only the one that shows
/// what a wake-up costs.
fn plan(pairs: &[Pair]) -> Vec<Cell> {
    let cell = |pair: usize, workload| Cell {
        pair,
        placement: pairs[pair].placement,
        workload,
        rounds: Vec::new(),
    };
    let mut cells: Vec<_> = (0..Workload::ALL.len())
        .map(|workload| cell(0, workload))
        .collect();
    if pairs.len() > 1 {
        cells.insert(ONE_CPU_WORKLOAD + 1, cell(1, ONE_CPU_WORKLOAD));
    }
    cells
}

/// Runs rounds over all cells until the time is up.
fn measure(schedule: &Schedule, pairs: &mut [Pair], cells: &mut [Cell]) -> io::Result<()> {
    // Drawn on standard error, and nowhere when that is no terminal.
    let bar = ProgressBar::new(PROGRESS_STEPS.into()).with_style(bar_style());
    for cell in &*cells {
        one_round(pairs, cell, 0, schedule.warm_up_slice(), || {
            show(&bar, schedule, "warming up")
        })?;
    }
    let began = Instant::now();
    let mut done = 0;
    while schedule.has_room(done, began) {
        for cell in &mut *cells {
            let what = format!("{}, {}", Workload::ALL[cell.workload], cell.placement);
            let show = || show(&bar, schedule, &what);
            let round = one_round(pairs, cell, done as usize, schedule.slice, show)?;
            cell.rounds.push(round);
        }
        done += 1;
    }
    bar.finish_and_clear();
    Ok(())
}

/// Measures each system once, beginning with another one each time, so that none always follows
/// the same neighbour's heat and caches.
fn one_round(
    pairs: &mut [Pair],
    cell: &Cell,
    shift: usize,
    slice: Duration,
    show: impl Fn(),
) -> io::Result<Round> {
    let mut round = Round::default();
    for turn in 0..System::ALL.len() {
        let system = (turn + shift) % System::ALL.len();
        show();
        round[system] = pairs[cell.pair].measure(cell.workload, system, slice)?;
    }
    Ok(round)
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40} {elapsed} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn show(bar: &ProgressBar, schedule: &Schedule, what: &str) {
    if bar.is_hidden() {
        return;
    }
    bar.set_message(what.to_owned());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "progress is from 0 to 1"
    )]
    bar.set_position((schedule.progress() * f64::from(PROGRESS_STEPS)) as u64);
}
