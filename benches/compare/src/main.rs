//! `compare`: shmpipe beside the other ways between two processes, measured in interleaved slices.
//!
//! It has the rivals and the goals; `shmpipe-measure` measures.

mod goals;
mod markdown;
mod systems;

use std::cell::RefCell;
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use shmpipe_measure::quota::Quota;
use shmpipe_measure::record::{Record, write};
use shmpipe_measure::schedule::{Counting, Schedule};
use shmpipe_measure::systems::{Role, System};
use shmpipe_measure::workload::{Place, Workload};
use shmpipe_measure::{html, kills, machine, supervise, table};

/// Measures shmpipe beside the other ways between two processes
///
/// A record for docs/performance.md: leave the machine alone, run it without arguments (10 minutes) three times at
/// different hours with --json records/DAY-N.json, pack each by gzip, and paste what --markdown prints of them.
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    /// Take about a minute: 2 rounds of 10 ms, and one kill of each side
    #[arg(long)]
    quick: bool,

    /// Run these systems only (the limits are run with them)
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,

    /// Run the workloads whose names begin so
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    workload: Vec<String>,

    /// Rounds over everything; what no goal needs takes part in every fourth and the last [default: 14; with --quick 2]
    #[arg(long)]
    rounds: Option<usize>,

    /// Begin nothing after this time, and report what there is [default: 540; with --quick 60]
    #[arg(long)]
    seconds: Option<u64>,

    /// Length of a slice in milliseconds [default: 30]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    slice_ms: Option<u64>,

    /// How often at most to run a workload's round again since other programs used over 10 % of the CPUs
    /// [default: half as many as there are, as far as time allows]
    #[arg(long)]
    repeats: Option<usize>,

    /// Longest time for a slice beyond its length, in milliseconds
    #[arg(long, default_value_t = 3000)]
    limit_ms: u64,

    /// Where the record goes
    #[arg(long, value_name = "PATH", default_value = "compare.json")]
    json: PathBuf,

    /// Where the report with charts goes
    #[arg(long, value_name = "PATH", default_value = "compare.html")]
    html: PathBuf,

    /// Only kill senders and receivers, and report what the other side gets; else done first, unless there is --workload
    #[arg(long)]
    kills: bool,

    /// Print the tables of docs/performance.md from these records (.json, .json.gz), and run nothing
    #[arg(long, value_name = "RECORDS", num_args = 1..)]
    markdown: Vec<PathBuf>,

    /// List systems and workloads, and run nothing
    #[arg(long)]
    list: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let all = systems::all();
    if options.list {
        print!("systems:\n{}workloads:\n", systems_text(&all));
        for workload in Workload::all() {
            println!("  {workload}");
        }
        return Ok(());
    }
    if !options.markdown.is_empty() {
        print!("{}", markdown::tables(&options.markdown)?);
        return Ok(());
    }
    let workloads = choose_workloads(&options.workload)?;
    let systems = choose_systems(&all, &options.only, &workloads)?;
    let cpus = machine::cpus_to_use()?;

    let quick = options.quick;
    let slice_ms = options.slice_ms.unwrap_or(if quick { 10 } else { 30 });
    let rounds = options.rounds.unwrap_or(if quick { 2 } else { 14 }).max(1);
    let seconds = options.seconds.unwrap_or(if quick { 60 } else { 540 });
    let slice_nanos = slice_ms * 1_000_000;
    let mut record = Record::begin("compare", cpus, slice_nanos, &systems, &workloads);
    supervise::prepare()?;
    let start = Instant::now();
    let end = start + Duration::from_secs(seconds);
    if options.kills || options.workload.is_empty() {
        let (tries, patience) = if quick { (1, 1) } else { (4, 2) };
        eprintln!("killing senders and receivers");
        record.kills = kills::go(&systems, &record.cpus, tries, Duration::from_secs(patience));
    }
    if options.kills {
        record.finish();
        print!("{}", table::kills(&record));
        return Ok(());
    }
    let has_quota = |workload: &Workload| workload.place == Place::Quota;
    let said = RefCell::new(None);
    let schedule = Schedule {
        systems: &systems,
        workloads: &workloads,
        is_compared: &goals::is_compared,
        progress: &|step| {
            let text = match step.round {
                Some(round) => format!("round {} of {rounds}", round + 1),
                None => step.what.to_owned(),
            };
            let last = said.replace(Some(text.clone()));
            if last.as_ref() != Some(&text) {
                eprintln!(
                    "{:.0} s of {seconds} s: {text}",
                    start.elapsed().as_secs_f64()
                );
            }
        },
        mood: all.iter().find(|system| system.name == "atomics"),
        file: None,
        capacity: None,
        slice_nanos,
        rounds,
        every_round: !options.only.is_empty(),
        least_rounds: 0,
        counting: if quick { Counting::Few } else { Counting::All },
        repeats: options.repeats.unwrap_or(rounds * workloads.len() / 2),
        limit: Duration::from_millis(options.limit_ms),
        start,
        end,
        quota: match workloads.iter().any(has_quota) {
            true => Quota::make(),
            false => Err("no workload asks for one".into()),
        },
        outpaced: RefCell::default(),
    };
    schedule.go(&mut record);
    record.goals = goals::goals(&record, &workloads);
    print!("{}", table::text(&record, table::ALL));
    let left_out = systems::left_out();
    println!("\nnot measured:");
    for (name, reason) in &left_out {
        println!("  {name}: {reason}");
    }
    write(&options.json, &record.to_json()?)?;
    write(&options.html, &html::page(&record, &left_out))?;
    println!(
        "\nrecord: {}, report: {}",
        options.json.display(),
        options.html.display()
    );
    Ok(())
}

/// The list of systems and what each lacks.
fn systems_text(systems: &[System]) -> String {
    let mut text = String::new();
    for system in systems.iter().map(System::describe) {
        let lacks = match system.lacks.as_str() {
            "" => String::new(),
            lacks => format!("; no {lacks}"),
        };
        text += &format!(
            "  {:<14} {} {} ({}{lacks})\n",
            system.name, system.label, system.version, system.role
        );
    }
    text
}

fn choose_workloads(names: &[String]) -> Result<Vec<Workload>, String> {
    let mut all = Workload::all();
    for name in names {
        if !all
            .iter()
            .any(|workload| workload.to_string().starts_with(name))
        {
            return Err(format!("no workload begins with {name:?}; see --list"));
        }
    }
    // A whole name means that one only: one-way-8 is not one-way-8-one-cpu.
    let exact: Vec<_> = all.iter().map(ToString::to_string).collect();
    all.retain(|workload| {
        let own = workload.to_string();
        names.is_empty()
            || names.iter().any(|name| {
                if exact.contains(name) {
                    own == *name
                } else {
                    own.starts_with(name)
                }
            })
    });
    Ok(all)
}

/// The chosen systems, with the limits of the chosen workloads and the kernel pipe.
fn choose_systems<'a>(
    all: &'a [System],
    names: &[String],
    workloads: &[Workload],
) -> Result<Vec<&'a System>, String> {
    for name in names {
        if !all.iter().any(|system| system.name == name) {
            return Err(format!("no system is called {name:?}; see --list"));
        }
    }
    let chosen = |system: &&System| {
        if names.is_empty() {
            return system.role != Role::Test;
        }
        let is_limit = workloads
            .iter()
            .any(|workload| workload.limit() == system.name)
            || ["memcpy", "atomics"]
                .iter()
                .any(|name| system.name.starts_with(name));
        names.iter().any(|name| name == system.name) || is_limit || system.name == "pipe"
    };
    Ok(all.iter().filter(chosen).collect())
}
