//! A record as text for a terminal: one group for each workload, one line for each system, what shmpipe loses first.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use crate::kills::Victim;
use crate::record::{Cell, Goal, Percentiles, Record, Summary};
use crate::rivals::losing_first;
use crate::statistics::Spread;
use crate::units::{few, range, scaled, size, three, time, times};
use crate::workload::Measure;

/// What a column shows of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// The median figure.
    Median,
    /// The bounds of the middle half of the figures.
    Half,
    /// Bytes in a second, where messages are counted.
    Bytes,
    /// The median ratio to the reference.
    Ratio,
    /// The bounds of the middle half of those ratios.
    RatioHalf,
    /// The median ratio to the limit.
    ToLimit,
    /// A percentile of single messages: 0 to 4 for that of 50, 90, 99, 99.9 % and the longest.
    Latency(usize),
    /// CPU time for a message: of the receiving or pinging side, and of all peers.
    Cpu,
    /// Context switches of all sides for a message.
    Switches,
    /// System calls of all sides for a message.
    Syscalls,
    /// Good rounds.
    Rounds,
}

/// A percentile's name and how to get it.
type Percentile = (&'static str, fn(&Percentiles) -> u64);

/// What is known of the times of single messages.
const PERCENTILES: [Percentile; 5] = [
    ("p50", |all| all.p50),
    ("p90", |all| all.p90),
    ("p99", |all| all.p99),
    ("p99.9", |all| all.p999),
    ("max", |all| all.max),
];

/// What most people want to know.
pub const MAIN: &[Column] = &[
    Column::Median,
    Column::Half,
    Column::Bytes,
    Column::Ratio,
    Column::RatioHalf,
];

/// The same, and the times of single messages.
pub const WITH_TIMES: &[Column] = &[
    Column::Median,
    Column::Half,
    Column::Bytes,
    Column::Latency(0),
    Column::Latency(1),
    Column::Latency(2),
    Column::Latency(3),
    Column::Latency(4),
    Column::Ratio,
    Column::RatioHalf,
];

/// Everything.
pub const ALL: &[Column] = &[
    Column::Median,
    Column::Half,
    Column::Ratio,
    Column::RatioHalf,
    Column::ToLimit,
    Column::Latency(0),
    Column::Latency(2),
    Column::Latency(3),
    Column::Latency(4),
    Column::Cpu,
    Column::Switches,
    Column::Syscalls,
    Column::Rounds,
];

impl Column {
    /// Its heading, in two lines where it is long.
    pub(crate) fn heading(self, reference: &str) -> String {
        match self {
            Self::Median => "median".into(),
            Self::Half => "middle half".into(),
            Self::Bytes => "bytes/s".into(),
            Self::Ratio => format!("against\n{reference}"),
            Self::RatioHalf => "middle half".into(),
            Self::ToLimit => "against\nthe limit".into(),
            Self::Latency(number) => PERCENTILES[number].0.into(),
            Self::Cpu => "CPU time\nreceiver + senders".into(),
            Self::Switches => "context\nswitches".into(),
            Self::Syscalls => "system\ncalls".into(),
            Self::Rounds => "rounds".into(),
        }
    }

    /// Its text for a cell, which has figures.
    pub(crate) fn text(
        self,
        record: &Record,
        cell: &Cell,
        (spread, sums): (Spread, &Summary),
    ) -> String {
        let none = || "-".to_owned();
        let beside = |other: &str| match cell.system == other {
            true => None,
            false => record.ratio(&cell.workload, &cell.system, other),
        };
        let in_times = |ratio: f64| format!("{}×", three(ratio));
        match self {
            Self::Median => cell.unit.text(spread.median),
            Self::Half => range(spread.low, spread.high, |figure| cell.unit.text(figure)),
            Self::Bytes => match (cell.unit, cell.bytes()) {
                (Measure::Rate, Some(bytes)) => format!("{}B/s", scaled(spread.median * bytes)),
                _ => none(),
            },
            Self::Ratio => beside(record.reference()).map_or_else(none, |all| times(all.median)),
            Self::RatioHalf => beside(record.reference())
                .map_or_else(none, |all| range(all.low, all.high, in_times)),
            Self::ToLimit => beside(&cell.limit).map_or_else(none, |all| in_times(all.median)),
            Self::Latency(number) => sums
                .latency_nanos
                .map_or_else(none, |all| time(PERCENTILES[number].1(&all) as f64)),
            Self::Cpu => {
                let [main, peers] = sums.median_cpu_nanos_per_message.map(time);
                format!("{main} + {peers}")
            }
            Self::Switches => three(sums.median_switches_per_message),
            Self::Syscalls => cell
                .syscalls_per_message
                .map_or_else(none, |counts| few(counts.iter().sum())),
            Self::Rounds => sums.good_rounds.to_string(),
        }
    }
}

/// The whole text with those columns.
pub fn text(record: &Record, columns: &[Column]) -> String {
    let mut text = String::new();
    for (name, value) in facts(record) {
        let _ = writeln!(text, "{name:<10}{value}");
    }
    let _ = writeln!(text, "{}", figures(record, columns));
    for cell in &record.cells {
        if let Some(reason) = cell.failure() {
            let _ = writeln!(text, "FAILED: {}, {}: {reason}", cell.workload, cell.system);
        }
    }
    text += "\nMedians of the rounds, with the bounds of the middle half of them. Ratios are formed within a round; what is lost \
             or gained least comes first.\nRound trips are not halved. MB = 10^6 bytes.";
    text += match columns.iter().any(|one| matches!(one, Column::Latency(_))) {
        true => {
            " p50 to max are times of single round trips, or of a paced message from when it was due until it \
                  was received.\n"
        }
        false => "\n",
    };
    goals(&mut text, record);
    text += &kills(record);
    for (workload, reason) in &record.not_possible {
        let _ = writeln!(text, "\n{workload}: not possible here: {reason}");
    }
    text
}

/// Where and how it was measured.
pub(crate) fn facts(record: &Record) -> Vec<(&'static str, String)> {
    let cpus: Vec<String> = record.cpus.iter().map(ToString::to_string).collect();
    let cpus = cpus.join(", ");
    let method = format!(
        "{} rounds, in each a slice of {} on every system by turns",
        record.rounds(),
        time(record.slice_nanos as f64)
    );
    let mut facts = vec![
        ("command", record.command.clone()),
        ("machine", record.cpu.clone()),
        ("kernel", format!("Linux {}", record.kernel)),
        ("date", record.date.clone()),
        (
            "CPUs",
            match record.mood_text() {
                mood if mood.is_empty() => cpus,
                mood => format!("{cpus}; {mood}"),
            },
        ),
        ("method", method),
        ("load", record.load_text()),
    ];
    if let Some(capacity) = record.capacity {
        let capacity = format!("{} each way, and as much for a kernel pipe", size(capacity));
        facts.insert(5, ("capacity", capacity));
    }
    facts.retain(|(_, value)| !value.is_empty());
    facts
}

/// The cells of a workload that were measured, with what they come to.
pub(crate) fn measured<'a>(
    record: &'a Record,
    workload: &'a str,
) -> impl Iterator<Item = (&'a Cell, Spread, &'a Summary)> {
    let its = record
        .cells
        .iter()
        .filter(move |cell| cell.workload == workload);
    its.filter_map(|cell| Some((cell, cell.spread()?, cell.summary.as_ref()?)))
}

/// The workload in words, where its name is one of ours.
pub(crate) fn title(workload: &str) -> String {
    let known = workload.parse::<crate::workload::Workload>();
    known.map_or_else(|()| workload.to_owned(), |known| known.title())
}

/// What a system is called in the record.
pub(crate) fn label<'a>(record: &'a Record, name: &'a str) -> &'a str {
    record.system(name).map_or(name, |system| &system.label)
}

fn figures(record: &Record, columns: &[Column]) -> Table {
    let reference = label(record, record.reference()).trim_end_matches(", raw");
    let mut table = Table::new();
    let headings = columns.iter().map(|column| column.heading(reference));
    let first = ["workload", "system"].map(str::to_owned);
    table
        .load_style(presets::UTF8_FULL)
        .set_header(first.into_iter().chain(headings));
    for workload in losing_first(record) {
        let mut group = vec![Vec::new(); columns.len() + 1];
        for (cell, spread, sums) in measured(record, workload) {
            group[0].push(label(record, &cell.system).to_owned());
            for (texts, column) in group[1..].iter_mut().zip(columns) {
                texts.push(column.text(record, cell, (spread, sums)));
            }
        }
        if !group[0].is_empty() {
            let place = title(workload).replace(", one CPU", "\nboth on one CPU");
            let group = group.into_iter().map(|texts| texts.join("\n"));
            table.add_row([place].into_iter().chain(group));
        }
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn goals(text: &mut String, record: &Record) {
    if !record.goals.is_empty() {
        let _ = writeln!(
            text,
            "\nshm beside the fastest rival between processes, and its goals: median ratios within the rounds (with near \
             CPUs, with far ones), and counts:"
        );
    }
    for goal in &record.goals {
        let [near, far] = [goal.reached_near, goal.reached_far];
        let [near, far] = [near, far].map(|ratio| ratio.map_or("-".into(), three));
        let _ = writeln!(
            text,
            "  {:<20} {:<22} {:>7} ({near:>4} {far:>4}){}",
            goal.workload,
            beside(goal),
            amount(goal, goal.reached),
            verdict(goal)
        );
    }
}

/// What a goal is compared with.
pub(crate) fn beside(goal: &Goal) -> String {
    match goal.fastest_rival {
        true => format!("fastest: {}", goal.reference),
        false => goal.reference.clone(),
    }
}

/// A ratio or a count of a goal.
pub(crate) fn amount(goal: &Goal, figure: f64) -> String {
    if goal.reached_near.is_some() || goal.reached_far.is_some() {
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
    let missed = match goal.met {
        Some(true) => "met".to_owned(),
        _ => format!("missed by {}×", three(factor)),
    };
    format!(", wanted {bound} {}: {missed}", amount(goal, wanted))
}

/// What the other side gets when a sender, or a receiver, is killed; empty where nobody was.
pub fn kills(record: &Record) -> String {
    if record.kill_ends.is_empty() {
        return String::new();
    }
    let mut text =
        "\nwhat the other side gets when the sender, and when the receiver, is killed:\n"
            .to_owned();
    for system in &record.systems {
        let Some(ends) = record.kill_ends.get(&system.name) else {
            continue;
        };
        let end = |victim: Victim| ends.get(victim.name()).map_or("-", String::as_str);
        let [sender, receiver] = Victim::ALL.map(end);
        let _ = writeln!(text, "  {:<14} {sender:<40} {receiver}", system.name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;

    #[test]
    fn a_median_stands_beside_its_middle_half_and_its_ratio() {
        let record = record(
            "round-trip-8",
            &[
                ("shm", &[100.0, 200.0, 300.0]),
                ("pipe", &[1000.0, 2000.0, 3000.0]),
            ],
        );
        let text = text(&record, MAIN);
        let line = text.lines().find(|line| line.contains("shmpipe")).unwrap();
        for part in [
            "round trip, 8 B",
            "200 ns",
            "150–250 ns",
            "10.0× faster",
            "10.0–10.0×",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }

    #[test]
    fn a_failure_is_named_with_its_reason() {
        let mut record = record("one-way-8", &[("shm", &[1e6])]);
        record.cells[0].rounds[0].failed = Some("messages lost".into());
        let text = text(&record, ALL);
        assert!(
            text.contains("FAILED: one-way-8, shm: messages lost"),
            "{text}"
        );
    }
}
