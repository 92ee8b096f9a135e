//! The run as text for a terminal: one block for each workload, one line for each system.

use std::fmt::Write as _;

use crate::goals::{Goal, goals};
use crate::kills::{Victim, summary};
use crate::record::{Run, version};
use crate::statistics::{Cell, cell};
use crate::systems::{System, left_out};
use crate::workload::{BATCH, Kind, Measure, Place, Workload};

/// The whole text.
pub(crate) fn table(run: &Run, systems: &[&System], workloads: &[Workload]) -> String {
    let mut text = format!(
        "{}
Linux {}, CPUs {:?}, {}
{}
{}
{}
",
        run.cpu,
        run.kernel,
        run.cpus,
        run.date,
        run.load_text(),
        run.mood_text(),
        run.command
    );
    for &workload in workloads {
        block(&mut text, run, systems, workload);
    }
    let goals = goals(run, systems, workloads);
    if !goals.is_empty() {
        let _ = writeln!(
            text,
            "\nshm beside the fastest rival between processes, and its goals: median ratios within the rounds (with near \
             CPUs, with far ones), and counts:"
        );
    }
    for goal in goals {
        let name = goal.workload.to_string();
        let reached = amount(&goal, goal.reached);
        let [near, far] = [goal.near, goal.far].map(|ratio| ratio.map_or("-".into(), three));
        let _ = writeln!(
            text,
            "  {name:<20} {:<22} {reached:>7} ({near:>4} {far:>4}){}",
            goal.beside(),
            verdict(&goal)
        );
    }
    text += &kills_text(run, systems);
    for (workload, reason) in &run.impossible {
        let _ = writeln!(text, "\n{workload}: not possible here: {reason}");
    }
    let _ = writeln!(text, "\nnot measured:");
    for (name, reason) in left_out() {
        let _ = writeln!(text, "  {name}: {reason}");
    }
    text
}

fn block(text: &mut String, run: &Run, systems: &[&System], workload: Workload) {
    let _ = writeln!(
        text,
        "\n{workload}: {}; ratios to {}, best of them, to pipe",
        title(workload),
        workload.limit()
    );
    for system in systems {
        let name = system.name;
        let line = match (cell(run, workload, name), run.failure(workload, name)) {
            (_, Some(reason)) => format!("FAILED: {reason}"),
            (Some(cell), None) => figures(workload, &cell),
            (None, None) => continue,
        };
        let mark = if system.role.is_limit() { "*" } else { " " };
        let _ = writeln!(text, "  {mark}{name:<14} {line}");
    }
}

/// A ratio or a count of a goal.
pub(crate) fn amount(goal: &Goal, figure: f64) -> String {
    if goal.near.is_some() || goal.far.is_some() {
        return format!("{}×", three(figure));
    }
    format!("{figure:.3}")
}

/// What is wanted and whether it is met, and if not, what lacks; empty where nothing is wanted.
pub(crate) fn verdict(goal: &Goal) -> String {
    let (Some(wanted), Some(factor)) = (goal.wanted, goal.missed_by()) else {
        return String::new();
    };
    let bound = if goal.at_most { "≤" } else { "≥" };
    let missed = match goal.is_met() {
        Some(true) => "met".to_owned(),
        _ => format!("missed by {}×", three(factor)),
    };
    format!(", wanted {bound} {}: {missed}", amount(goal, wanted))
}

/// What the other side gets when a sender, or a receiver, is killed; empty where nobody was.
pub(crate) fn kills_text(run: &Run, systems: &[&System]) -> String {
    let mut text = String::new();
    for system in systems {
        let [sender, receiver] = Victim::ALL.map(|victim| summary(&run.kills, system.name, victim));
        if sender.is_none() && receiver.is_none() {
            continue;
        }
        if text.is_empty() {
            text =
                "\nwhat the other side gets when the sender, and when the receiver, is killed:\n"
                    .into();
        }
        let [sender, receiver] = [sender, receiver].map(|end| end.unwrap_or_else(|| "-".into()));
        let _ = writeln!(text, "  {:<14} {sender:<40} {receiver}", system.name);
    }
    text
}

/// What the figures of a workload are.
pub(crate) fn title(workload: Workload) -> String {
    let len = size(workload.len);
    let what = match workload.kind {
        Kind::RoundTrip => format!("round trip, {len}"),
        Kind::Wake => format!("round trip to a sleeping peer, {len}, one every 2 ms"),
        Kind::OneWay { senders: 1 } => format!("one way, {len}"),
        Kind::OneWay { senders } => format!("{senders} senders, {len}"),
        Kind::Batch => format!("one way, {len}, {BATCH} messages a call"),
        Kind::Loan => {
            format!("one way, {len}, made and read in place where the system lends its memory")
        }
        Kind::Paced { per_second } => format!("{per_second} messages a second, {len}, CPU time"),
        Kind::Make => format!("both ends made and dropped, capacity {len}"),
    };
    let place = match workload.place {
        Place::TwoCpus => "",
        Place::OneCpu => ", all on one CPU",
        Place::Quota => ", two CPUs, the time of one by a cgroup's quota",
    };
    format!("{what}{place}")
}

fn figures(workload: Workload, cell: &Cell) -> String {
    let ratio = |ratio: Option<f64>| ratio.map_or("-".into(), |ratio| format!("{}×", three(ratio)));
    let mut line = format!(
        "{:>12}  best {:>12}  {:>8} {:>8} {:>8}",
        figure(workload, cell.median),
        figure(workload, cell.best),
        ratio(cell.to_limit),
        ratio(cell.best_to_limit),
        ratio(cell.to_pipe),
    );
    let [main, peers] = cell.cpu_nanos.map(time);
    let _ = write!(
        line,
        "  n={} cpu {main}+{peers} sw {:.2}",
        cell.rounds, cell.switches
    );
    if let Some(syscalls) = cell.syscalls {
        let _ = write!(line, " sys {}", few(syscalls));
    }
    if let Some([made, read]) = cell.in_place {
        let [made, read] = [made, read].map(|share| 100.0 * share);
        let _ = write!(line, "  in place {made:.0} %, {read:.0} %");
    }
    if !cell.latency.is_empty() {
        let [p50, p99, p999] =
            [0.5, 0.99, 0.999].map(|q| time(cell.latency.value_at_quantile(q) as f64));
        let max = time(cell.latency.max() as f64);
        let _ = write!(line, "  p50 {p50} p99 {p99} p99.9 {p999} max {max}");
    }
    line
}

/// A figure with its unit.
pub(crate) fn figure(workload: Workload, figure: f64) -> String {
    match workload.measure() {
        Measure::Rate if workload.len >= 1024 => {
            format!("{} GB/s", three(figure * workload.len as f64 / 1e9))
        }
        Measure::Rate => format!("{} M/s", three(figure / 1e6)),
        _ => time(figure),
    }
}

/// Nanoseconds with a fitting unit.
pub(crate) fn time(nanos: f64) -> String {
    match nanos {
        n if n >= 999.5e6 => format!("{} s", three(n / 1e9)),
        n if n >= 999.5e3 => format!("{} ms", three(n / 1e6)),
        n if n >= 999.5 => format!("{} µs", three(n / 1e3)),
        n => format!("{} ns", three(n)),
    }
}

/// A size in bytes.
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        n if n >= 1 << 20 => format!("{} MiB", n >> 20),
        n if n >= 1 << 10 => format!("{} KiB", n >> 10),
        n => format!("{n} B"),
    }
}

/// Three significant digits.
pub(crate) fn three(number: f64) -> String {
    let decimals = match number.abs() {
        n if n >= 99.95 => 0,
        n if n >= 9.995 => 1,
        _ => 2,
    };
    format!("{number:.decimals$}")
}

/// A count for a message, so that a small one can be told from none.
pub(crate) fn few(count: f64) -> String {
    match count {
        0.0 => "0".into(),
        n if n < 0.01 => format!("{n:.0e}"),
        n => three(n),
    }
}

/// The list of systems and what each lacks.
pub(crate) fn systems_text(systems: &[System]) -> String {
    let mut text = String::new();
    for system in systems {
        let version = version(system.package);
        let lacks = if system.lacks.is_empty() {
            String::new()
        } else {
            format!("; no {}", system.lacks)
        };
        let _ = writeln!(
            text,
            "  {:<14} {} {version} ({}{lacks})",
            system.name,
            system.label,
            system.role.label()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let expected = [
            (65.26, "65.3 ns"),
            (999.7, "1.00 µs"),
            (45_200.0, "45.2 µs"),
            (2.5e9, "2.50 s"),
        ];
        for (nanos, text) in expected {
            assert_eq!(time(nanos), text);
        }
    }
}
