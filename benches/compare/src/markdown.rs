//! The tables of docs/performance.md, made of records in the form in which they are pasted.
//!
//! A record is read as the program has written it, packed by gzip(1) or not.

use std::fmt::Write as _;
use std::path::PathBuf;

use shmpipe_measure::kills::Victim;
use shmpipe_measure::record::{Goal, Record};
use shmpipe_measure::units::{few, three};

/// Systems of the table of CPU times.
const PACED: [&str; 4] = ["shm", "shm-sleep", "pipe", "seqpacket"];

/// All tables of those records.
///
/// # Errors
///
/// Says which file could not be read as a record.
pub(crate) fn tables(paths: &[PathBuf]) -> Result<String, String> {
    let records = paths.iter().map(|path| Record::read(path));
    let records: Vec<Record> = records.collect::<Result<_, _>>()?;
    let times = records.last().map_or_else(String::new, cpu_times);
    Ok([goals(&records), systems(&records), times].join("\n"))
}

/// The time of day of a record, or its date and time if the records are of several days.
fn heading<'a>(record: &'a Record, records: &[Record]) -> &'a str {
    let date = record.date.trim_end_matches(" UTC");
    let (day, time) = date.split_once(' ').unwrap_or(("", date));
    let is_one_day = |other: &Record| other.date.starts_with(day);
    if records.iter().all(is_one_day) {
        time
    } else {
        date
    }
}

fn header(text: &mut String, columns: &[&str]) {
    let _ = writeln!(text, "| {} |", columns.join(" | "));
    let _ = writeln!(text, "|{}", "---|".repeat(columns.len()));
}

/// What is compared in a row: the workload, and beside what.
type Row<'a> = (&'a str, &'a str);

fn row_of(goal: &Goal) -> Row<'_> {
    let beside = match goal.fastest_rival {
        true => "fastest rival",
        false => &goal.reference,
    };
    (&goal.workload, beside)
}

fn goals(records: &[Record]) -> String {
    let mut table = String::new();
    let headings: Vec<_> = records.iter().map(|one| heading(one, records)).collect();
    let mut columns = vec!["workload", "beside", "wanted"];
    columns.extend(headings);
    columns.push("near, far");
    header(&mut table, &columns);
    let mut rows: Vec<Row> = Vec::new();
    for goal in records.iter().flat_map(|one| &one.goals) {
        if !rows.contains(&row_of(goal)) {
            rows.push(row_of(goal));
        }
    }
    for row in rows {
        let of = |record: &'_ Record| record.goals.iter().position(|goal| row_of(goal) == row);
        let found = records.iter().map(|one| Some(&one.goals[of(one)?]));
        let found: Vec<Option<&Goal>> = found.collect();
        let Some(first) = found.iter().flatten().next() else {
            continue;
        };
        let bound = if first.at_most { "≤ " } else { "" };
        let wanted = first
            .wanted
            .map_or("-".into(), |wanted| format!("{bound}{}", three(wanted)));
        let mut cells = vec![row.0.to_owned(), row.1.to_owned(), wanted];
        cells.extend(found.iter().map(|goal| goal.map_or("-".into(), cell)));
        let range = |of: fn(&Goal) -> Option<f64>| {
            range(found.iter().flatten().filter_map(|goal| of(goal)).collect())
        };
        let (near, far) = (
            range(|goal| goal.reached_near),
            range(|goal| goal.reached_far),
        );
        cells.push(format!("{near}; {far}"));
        let _ = writeln!(table, "| {} |", cells.join(" | "));
    }
    table
}

fn cell(goal: &Goal) -> String {
    let number = match goal.at_most {
        true => few(goal.reached),
        false => three(goal.reached),
    };
    let number = match goal.met {
        Some(true) => format!("**{number}**"),
        _ => number,
    };
    match goal.fastest_rival {
        true => format!("{number} ({})", goal.reference),
        false => number,
    }
}

/// The least and the most of them.
fn range(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    match (figures.first(), figures.last()) {
        (Some(least), Some(most)) if three(*least) != three(*most) => {
            format!("{} to {}", three(*least), three(*most))
        }
        (Some(only), _) => three(*only),
        _ => "-".into(),
    }
}

/// What each way between processes lacks, and what the other side gets when one is killed.
fn systems(records: &[Record]) -> String {
    let mut table = String::new();
    header(
        &mut table,
        &[
            "system",
            "version",
            "no",
            "sender killed",
            "receiver killed",
        ],
    );
    let Some(last) = records.last() else {
        return table;
    };
    for system in &last.systems {
        let killed = Victim::ALL.map(|victim| {
            let all = records
                .iter()
                .filter_map(|one| one.kill_ends.get(&system.name));
            let mut ends: Vec<&str> = all
                .filter_map(|ends| Some(ends.get(victim.name())?.as_str()))
                .collect();
            ends.dedup();
            ends.join("; then ")
        });
        if killed.iter().all(String::is_empty) {
            continue;
        }
        let [sender, receiver] = killed;
        let _ = writeln!(
            table,
            "| {} | {} | {} | {sender} | {receiver} |",
            system.name, system.version, system.lacks,
        );
    }
    table
}

/// CPU time of a message in µs, sender and receiver.
fn cpu_times(record: &Record) -> String {
    let mut table = String::new();
    let mut columns = vec!["messages a second"];
    columns.extend(PACED);
    header(&mut table, &columns);
    let mut workloads: Vec<&str> = Vec::new();
    for cell in &record.cells {
        let name = cell.workload.as_str();
        let is_shown = name.starts_with("paced-") || ["one-way-8", "one-way-64"].contains(&name);
        if is_shown && !workloads.contains(&name) {
            workloads.push(name);
        }
    }
    for workload in workloads {
        let cells = PACED.map(|system| {
            let cell = record.cell(workload, system);
            let times =
                cell.and_then(|cell| Some(cell.summary.as_ref()?.median_cpu_nanos_per_message));
            let time = |side: usize| Some(three(times?[side] / 1e3));
            match (time(1), time(0)) {
                (Some(sender), Some(receiver)) => format!("{sender} + {receiver}"),
                _ => "-".into(),
            }
        });
        let _ = writeln!(table, "| {workload} | {} |", cells.join(" | "));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(time: &str, rival: &str, reached: f64) -> Record {
        let record = serde_json::json!({
            "date": format!("2026-12-01 {time} UTC"),
            "goals": [
                {"workload": "one-way-8", "reference": rival, "fastest_rival": true, "wanted": 0.7,
                 "reached": reached, "at_most": false, "reached_near": reached, "met": reached >= 0.7},
                {"workload": "one-way-8", "reference": "syscalls", "fastest_rival": false, "wanted": 0.01,
                 "reached": 0.0, "at_most": true, "met": true},
            ],
            "systems": [{"name": "pipe", "version": "", "lacks": "messages"}, {"name": "rtrb"}],
            "kill_ends": {"pipe": {"sender": "end-of-file", "receiver": "error: Broken pipe"}},
            "cells": [{"workload": "paced-1k-64", "system": "pipe", "good_rounds": 1, "median": 4000.0,
                       "median_cpu_nanos_per_message": [1500.0, 2500.0]}],
        });
        serde_json::from_value(record).expect("a record")
    }

    #[test]
    fn each_record_names_its_own_fastest_rival() {
        let records = [
            record("17:03", "ringfire", 0.5),
            record("17:21", "pipe", 0.75),
        ];
        assert_eq!(
            goals(&records),
            "| workload | beside | wanted | 17:03 | 17:21 | near, far |\n\
             |---|---|---|---|---|---|\n\
             | one-way-8 | fastest rival | 0.70 | 0.50 (ringfire) | **0.75** (pipe) | 0.50 to 0.75; - |\n\
             | one-way-8 | syscalls | ≤ 0.01 | **0** | **0** | -; - |\n"
        );
    }

    #[test]
    fn systems_without_a_kill_have_no_line() {
        let table = systems(&[record("17:03", "pipe", 1.0)]);
        assert_eq!(table.lines().count(), 3, "{table}");
        assert!(table.ends_with("| pipe |  | messages | end-of-file | error: Broken pipe |\n"));
    }

    #[test]
    fn the_sender_comes_first_in_cpu_times() {
        let table = cpu_times(&record("17:03", "pipe", 1.0));
        assert!(
            table.ends_with("| paced-1k-64 | - | - | 2.50 + 1.50 | - |\n"),
            "{table}"
        );
    }
}
