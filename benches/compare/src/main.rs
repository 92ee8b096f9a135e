//! `compare`: shmpipe beside the other ways between two processes, measured in interleaved slices.
//!
//! It decides what runs when; the modules know how.

mod clock;
mod goals;
mod html;
mod load;
#[path = "../../../cli/src/machine.rs"]
mod machine;
mod message;
mod outcome;
mod record;
mod roles;
mod session;
mod shared;
mod statistics;
mod supervise;
mod svg;
mod systems;
mod table;
mod wire;
mod workload;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;

use load::Reading;
use record::{Run, Slice};
use systems::{Role, System};
use wire::Plan;
use workload::{CAPACITY, Workload};

/// Measures shmpipe beside the other ways between two processes
#[derive(Parser, Debug)]
#[command(version)]
struct Options {
    /// Take under a minute: 3 rounds of 20 ms
    #[arg(long)]
    quick: bool,

    /// Run these systems only (the limits are run with them)
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,

    /// Run the workloads whose names begin so
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    workload: Vec<String>,

    /// Rounds over everything [default: 20]
    #[arg(long)]
    rounds: Option<usize>,

    /// Begin nothing after this time, and report what there is [default: 540; with --quick 55]
    #[arg(long)]
    seconds: Option<u64>,

    /// Length of a slice in milliseconds [default: 30]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    slice_ms: Option<u64>,

    /// How often to run a workload's round again since other programs used over 10 % of the CPUs
    /// [default: half as many as there are; with --quick an eighth]
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

    /// List systems and workloads, and run nothing
    #[arg(long)]
    list: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let all = systems::all();
    if options.list {
        print!("systems:\n{}workloads:\n", table::systems_text(&all));
        for workload in Workload::all() {
            println!("  {workload}");
        }
        return Ok(());
    }
    let workloads = choose_workloads(&options.workload)?;
    let systems = choose_systems(&all, &options.only, &workloads)?;
    let usable = machine::usable_cpus()?;
    let (first, second) = machine::choose_cpus(&usable).ok_or("no usable CPU")?;
    let mut cpus = vec![first, second];
    cpus.extend(usable.iter().filter(|&&cpu| cpu != first && cpu != second));

    let slice_ms = options
        .slice_ms
        .unwrap_or(if options.quick { 20 } else { 30 });
    let rounds = options.rounds.unwrap_or(if options.quick { 3 } else { 20 });
    let spare = rounds * workloads.len() / if options.quick { 8 } else { 2 };
    let repeats = options.repeats.unwrap_or(spare);
    let mut run = Run::describe(cpus, slice_ms * 1_000_000);
    supervise::prepare()?;
    let limit = Duration::from_millis(slice_ms + options.limit_ms);
    let seconds = options
        .seconds
        .unwrap_or(if options.quick { 55 } else { 540 });
    let end = Instant::now() + Duration::from_secs(seconds);
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for &workload in &workloads {
            if Instant::now() >= end {
                break;
            }
            // One that is disturbed is kept, marked, and run again, but not for ever.
            while block(&mut run, round, workload, &systems, limit) && run.repeats < repeats {
                run.repeats += 1;
                run.mark_last_block(round, workload);
            }
        }
    }
    print!("{}", table::table(&run, &systems, &workloads));
    let json = format!("{:#}\n", run.to_json(&systems, &workloads));
    record::write(&options.json, &json)?;
    record::write(&options.html, &html::page(&run, &systems, &workloads))?;
    println!(
        "\nrecord: {}, report: {}",
        options.json.display(),
        options.html.display()
    );
    Ok(())
}

/// Runs a slice on every system, and tells whether others disturbed them.
fn block(
    run: &mut Run,
    round: usize,
    workload: Workload,
    systems: &[&System],
    limit: Duration,
) -> bool {
    let start = Reading::now();
    for system in systems {
        measure(run, round, workload, system, limit);
    }
    let (Some(start), Some(end)) = (start, Reading::now()) else {
        return false;
    };
    let load = end.since(start);
    run.loads.push(load);
    load.is_disturbing()
}

/// Runs one slice, unless the system cannot do it or has failed at it before.
fn measure(run: &mut Run, round: usize, workload: Workload, system: &System, limit: Duration) {
    if (system.refuses)(workload).is_some() || run.failure(workload, system.name).is_some() {
        return;
    }
    let cpus = if workload.is_one_cpu() {
        vec![run.cpus[0]; 2]
    } else {
        run.cpus.clone()
    };
    let plan = Plan {
        workload,
        capacity: CAPACITY,
        cpus,
        slice_nanos: run.slice_nanos,
        name: format!("compare-{}-{}", std::process::id(), run.slices.len()),
    };
    let outcome = supervise::run(system, &plan, limit);
    if let Err(reason) = &outcome {
        eprintln!("{workload}, {}: {reason}", system.name);
    }
    run.slices.push(Slice {
        round,
        workload,
        system: system.name,
        is_disturbed: false,
        outcome,
    });
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
            .any(|workload| workload.limit() == system.name || system.name.starts_with("memcpy"));
        names.iter().any(|name| name == system.name) || is_limit || system.name == "pipe"
    };
    Ok(all.iter().filter(chosen).collect())
}
