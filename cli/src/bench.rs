//! `shmpipe bench`: shmpipe beside the kernel's own ways, in short interleaved slices, as a table, a record or a picture.
//!
//! It chooses what is measured and how it is shown; `shmpipe-measure` does both.

use std::cell::RefCell;
use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use shmpipe_measure::file::{Material, PART};
use shmpipe_measure::record::{Record, write};
use shmpipe_measure::schedule::{Counting, Schedule, fit};
use shmpipe_measure::systems::{self, System, kernel, limits, raw_limit};
use shmpipe_measure::units::size;
use shmpipe_measure::workload::{Kind, Place, Workload};
use shmpipe_measure::{html, machine, picture, supervise, table};

/// Time in seconds that a bench takes unless an option says otherwise.
const DEFAULT_SECONDS: f64 = 15.0;

/// The same with `--quick`.
const QUICK_SECONDS: f64 = 4.0;

/// Sizes of messages in bytes unless an option says otherwise.
const SIZES: [usize; 3] = [8, 1 << 10, 64 << 10];

/// Messages a second of a paced sender.
const PACE: u64 = 5_000;

/// Longest time for a slice beyond its length.
const LIMIT: Duration = Duration::from_secs(20);

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
    choice: Choice,

    /// Print the record as JSON instead of a table
    #[arg(long, help_heading = "Output")]
    json: bool,

    /// Write a report with plots to this file; it loads nothing when shown
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    html: Option<PathBuf>,

    /// Measure nothing: print a picture (SVG) of this record of bench, of benches/compare or of Python (.json, .json.gz)
    #[arg(
        long,
        value_name = "RECORD",
        help_heading = "Output",
        conflicts_with_all = ["file", "quick", "seconds", "choice", "json", "html"]
    )]
    picture: Option<PathBuf>,
}

/// Workloads in place of the usual ones.
#[derive(Args, Debug, Default)]
#[group(id = "choice", multiple = true)]
#[command(
    next_help_heading = "Workloads (any of these replaces the usual ones, and adds percentiles and limits)"
)]
struct Choice {
    /// Sizes of messages in bytes [default: 8,1024,65536]
    #[arg(long, value_name = "BYTES", value_delimiter = ',', value_parser = parse_size)]
    sizes: Vec<usize>,

    /// What is done with the messages [default: all]
    #[arg(long, value_enum, value_name = "MODE", value_delimiter = ',')]
    modes: Vec<Mode>,

    /// Numbers of sending processes; more than one only for one-way [default: 1]
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=64))]
    senders: Vec<u16>,
}

/// What is done with the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// There and back before the next one: the time of a round trip
    PingPong,
    /// One after the other as fast as they go: messages a second
    OneWay,
    /// 5,000 a second: CPU time, and how late a receiver that sleeps meanwhile gets each
    Paced,
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

fn parse_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size) if (8..=64 << 20).contains(&size) => Ok(size),
        _ => Err("a number of bytes from 8 to 67108864 is needed".into()),
    }
}

impl Choice {
    fn is_made(&self) -> bool {
        !(self.sizes.is_empty() && self.modes.is_empty() && self.senders.is_empty())
    }

    /// All combinations that make sense; what is empty stands for the default.
    fn workloads(&self) -> Vec<Workload> {
        fn or<'a, T>(chosen: &'a [T], default: &'a [T]) -> &'a [T] {
            if chosen.is_empty() { default } else { chosen }
        }
        let mut all = Vec::new();
        for mode in or(&self.modes, Mode::value_variants()) {
            for &len in or(&self.sizes, &SIZES) {
                for &senders in or(&self.senders, &[1]) {
                    let kind = match mode {
                        Mode::PingPong => Kind::RoundTrip,
                        Mode::OneWay => Kind::OneWay {
                            senders: senders.into(),
                        },
                        Mode::Paced => Kind::Paced { per_second: PACE },
                    };
                    let workload = on_two_cpus(kind, len);
                    if !all.contains(&workload) {
                        all.push(workload);
                    }
                }
            }
        }
        all
    }
}

fn on_two_cpus(kind: Kind, len: usize) -> Workload {
    let place = Place::TwoCpus;
    Workload { kind, len, place }
}

/// What is measured unless an option says otherwise: each size both ways, what a wake-up costs where both processes share a CPU, and
/// a file.
fn usual_workloads() -> Vec<Workload> {
    let mut all: Vec<_> = SIZES.map(|len| on_two_cpus(Kind::RoundTrip, len)).into();
    all.push(Workload {
        place: Place::OneCpu,
        ..all[0]
    });
    all.extend(SIZES.map(|len| on_two_cpus(Kind::OneWay { senders: 1 }, len)));
    all.push(on_two_cpus(Kind::File, PART));
    all
}

/// Runs the bench and returns what is to be printed.
///
/// # Errors
///
/// A file that cannot be read, a limit of the machine, a process that died, and any byte that
/// arrived other than it was sent.
pub(crate) fn run(options: &Options) -> io::Result<String> {
    if let Some(path) = &options.picture {
        return draw(path);
    }
    let path = match &options.file {
        Some(path) => path.clone(),
        None => env::current_exe()?,
    };
    let is_chosen = options.choice.is_made();
    let (workloads, file) = match is_chosen {
        true => (options.choice.workloads(), None),
        false => (usual_workloads(), Some(Arc::new(Material::load(&path)?))),
    };
    let (common, limit) = (systems::common(), is_chosen.then(raw_limit));
    let wanted = ["shm", "shm-kernel", "pipe", "stream"];
    let common = common.iter().filter(|system| wanted.contains(&system.name));
    let systems: Vec<&System> = common.chain(&limit).collect();

    let record = measure(options, &systems, &workloads, file.clone())?;
    if let Some(path) = &options.html {
        write(path, &html::page(&record, &[]))?;
    }
    if options.json {
        return record.to_json();
    }
    let columns = if is_chosen {
        table::WITH_TIMES
    } else {
        table::MAIN
    };
    let mut text = table::text(&record, columns);
    if let Some(file) = file {
        let slices = record
            .cells
            .iter()
            .filter(|cell| cell.message_bytes.is_some());
        let slices: usize = slices.map(|cell| cell.rounds.len()).sum();
        text += &about(&file, slices);
    }
    Ok(text)
}

fn measure(
    options: &Options,
    systems: &[&System],
    workloads: &[Workload],
    file: Option<Arc<Material>>,
) -> io::Result<Record> {
    let cpus = machine::cpus_to_use()?;
    let mut workloads = workloads.to_vec();
    if cpus[0] == cpus[1] {
        // There is no other CPU to compare with.
        workloads.retain(|workload| workload.place != Place::OneCpu);
    }
    // Bare round trips take a slice's time each.
    let slices = |one: &Workload| {
        1 + systems
            .iter()
            .filter(|it| it.refusal(*one).is_none())
            .count()
    };
    let slices =
        u32::try_from(workloads.iter().map(slices).sum::<usize>()).map_err(io::Error::other)?;
    let total = options.duration();
    let (slice, rounds) = fit(total, slices);
    let slice_nanos = u64::try_from(slice.as_nanos()).map_err(io::Error::other)?;

    let mut record = Record::begin("shmpipe", cpus, slice_nanos, systems, &workloads);
    let capacity = kernel::granted_capacity()?;
    record.capacity = Some(capacity);
    if let Some(file) = &file {
        let files = record
            .cells
            .iter_mut()
            .filter(|cell| cell.workload.starts_with("file"));
        files.for_each(|cell| cell.message_bytes = Some(file.mean_message()));
    }
    // Drawn on standard error, and nowhere when that is no terminal.
    let bar = ProgressBar::new(PROGRESS_STEPS.into()).with_style(bar_style());
    supervise::prepare()?;
    let atomics = limits();
    let start = Instant::now();
    let schedule = Schedule {
        systems,
        workloads: &workloads,
        is_compared: &|_, _| true,
        progress: &|step| {
            bar.set_message(step.what.to_owned());
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the share is from 0 to 1"
            )]
            bar.set_position((step.share * f64::from(PROGRESS_STEPS)) as u64);
        },
        mood: atomics.first(),
        file,
        capacity: Some(capacity),
        slice_nanos,
        rounds,
        every_round: true,
        least_rounds: 1,
        counting: Counting::None,
        repeats: 0,
        limit: LIMIT,
        start,
        end: start + total,
        quota: Err("not asked for".into()),
        outpaced: RefCell::default(),
    };
    schedule.go(&mut record);
    bar.finish_and_clear();
    let failure = record
        .cells
        .iter()
        .find_map(|cell| Some((cell, cell.failure()?)));
    match failure {
        Some((cell, reason)) => Err(io::Error::other(format!(
            "{}, {}: {reason}",
            cell.workload, cell.system
        ))),
        None => Ok(record),
    }
}

fn draw(path: &Path) -> io::Result<String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let record = Record::read(path).map_err(io::Error::other)?;
    picture::picture(&record, &name).map_err(io::Error::other)
}

/// The file that was sent, and that it arrived.
fn about(file: &Material, slices: usize) -> String {
    let part = if file.is_cut { "the first " } else { "" };
    format!(
        "\nThe far end checked the number of each message and read every byte.\n\
         file      {} ({part}{})\nSHA-256   {} ok: the same at the far end after each of {slices} slices\n",
        file.path.display(),
        size(file.bytes.len()),
        file.digest
    )
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:40} {elapsed} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_has_one_sender_however_many_were_asked_for() {
        let choice = Choice {
            sizes: vec![8],
            modes: vec![Mode::PingPong, Mode::OneWay],
            senders: vec![1, 2],
        };
        let names = choice
            .workloads()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        assert_eq!(names, ["round-trip-8", "one-way-8", "senders-2-8"]);
    }
}
