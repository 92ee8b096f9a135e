//! The tables of docs/performance.md, made of records in the form in which they are pasted.
//!
//! A record is read as the program has written it, packed by gzip(1) or not.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::kills::Victim;
use crate::record::SCHEMA;
use crate::table::{few, three};

/// Systems of the table of CPU times.
const PACED: [&str; 4] = ["shm", "shm-sleep", "pipe", "seqpacket"];

/// All tables of those records.
///
/// # Errors
///
/// Says which file could not be read as a record.
pub(crate) fn tables(paths: &[PathBuf]) -> Result<String, String> {
    let records = paths.iter().map(|path| read(path));
    let records: Vec<Value> = records.collect::<Result<_, _>>()?;
    let all = [
        goals(&records),
        systems(&records),
        cpu_times(records.last().unwrap_or(&Value::Null)),
    ];
    Ok(all.join("\n"))
}

fn read(path: &Path) -> Result<Value, String> {
    let named = |error: String| format!("{}: {error}", path.display());
    let is_packed = path.extension().is_some_and(|end| end == "gz");
    let bytes = if is_packed {
        let output = Command::new("gzip").arg("-dc").arg(path).output();
        let output = output.map_err(|error| named(format!("gzip: {error}")))?;
        output.stdout
    } else {
        fs::read(path).map_err(|error| named(error.to_string()))?
    };
    let record: Value = serde_json::from_slice(&bytes).map_err(|error| named(error.to_string()))?;
    if record["schema"] != SCHEMA {
        return Err(named(format!(
            "its schema is {}, not {SCHEMA}",
            record["schema"]
        )));
    }
    Ok(record)
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// The time of day of a record, or its date and time if the records are of several days.
fn heading<'a>(record: &'a Value, records: &[Value]) -> &'a str {
    let date = text(&record["date"]).trim_end_matches(" UTC");
    let (day, time) = date.split_once(' ').unwrap_or(("", date));
    let is_one_day = |other: &Value| text(&other["date"]).starts_with(day);
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

fn row_of(goal: &Value) -> Row<'_> {
    let beside = match goal["fastest_rival"] == true {
        true => "fastest rival",
        false => text(&goal["reference"]),
    };
    (text(&goal["workload"]), beside)
}

fn goals(records: &[Value]) -> String {
    let mut table = String::new();
    let headings: Vec<_> = records.iter().map(|one| heading(one, records)).collect();
    let mut columns = vec!["workload", "beside", "wanted"];
    columns.extend(headings);
    columns.push("near, far");
    header(&mut table, &columns);
    let mut rows: Vec<Row> = Vec::new();
    for goal in records.iter().flat_map(|one| items(&one["goals"])) {
        if !rows.contains(&row_of(goal)) {
            rows.push(row_of(goal));
        }
    }
    for row in rows {
        let of = |record| {
            let mut all = items(&record).iter();
            all.find(|goal| row_of(goal) == row).cloned()
        };
        let found = records.iter().map(|one| of(one["goals"].clone()));
        let found: Vec<Option<Value>> = found.collect();
        let Some(first) = found.iter().flatten().next() else {
            continue;
        };
        let bound = if first["at_most"] == true { "≤ " } else { "" };
        let wanted = first["wanted"].as_f64();
        let wanted = wanted.map_or("-".into(), |wanted| format!("{bound}{}", three(wanted)));
        let mut cells = vec![row.0.to_owned(), row.1.to_owned(), wanted];
        cells.extend(
            found
                .iter()
                .map(|goal| goal.as_ref().map_or("-".into(), cell)),
        );
        let range = |field: &str| range(found.iter().flatten().map(|goal| &goal[field]));
        let (near, far) = (range("reached_near"), range("reached_far"));
        cells.push(format!("{near}; {far}"));
        let _ = writeln!(table, "| {} |", cells.join(" | "));
    }
    table
}

fn cell(goal: &Value) -> String {
    let reached = goal["reached"].as_f64().unwrap_or(f64::NAN);
    let number = match goal["at_most"] == true {
        true => few(reached),
        false => three(reached),
    };
    let number = match goal["met"] == true {
        true => format!("**{number}**"),
        false => number,
    };
    match goal["fastest_rival"] == true {
        true => format!("{number} ({})", text(&goal["reference"])),
        false => number,
    }
}

/// The least and the most of them.
fn range<'a>(figures: impl Iterator<Item = &'a Value>) -> String {
    let mut figures: Vec<f64> = figures.filter_map(Value::as_f64).collect();
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
fn systems(records: &[Value]) -> String {
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
    for system in items(&last["systems"]) {
        let killed = Victim::ALL.map(|victim| {
            let all = records
                .iter()
                .map(|one| &one["kill_ends"][text(&system["name"])]);
            let mut ends: Vec<&str> = all
                .filter_map(|ends| ends[victim.name()].as_str())
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
            text(&system["name"]),
            text(&system["version"]),
            text(&system["lacks"]),
        );
    }
    table
}

/// CPU time of a message in µs, sender and receiver.
fn cpu_times(record: &Value) -> String {
    let mut table = String::new();
    let mut columns = vec!["messages a second"];
    columns.extend(PACED);
    header(&mut table, &columns);
    let all = items(&record["cells"]);
    let mut workloads: Vec<&str> = Vec::new();
    for cell in all {
        let name = text(&cell["workload"]);
        let is_shown = name.starts_with("paced-") || ["one-way-8", "one-way-64"].contains(&name);
        if is_shown && !workloads.contains(&name) {
            workloads.push(name);
        }
    }
    for workload in workloads {
        let cells = PACED.map(|system| {
            let is_it = |cell: &&Value| cell["workload"] == workload && cell["system"] == system;
            let found = all.iter().find(is_it);
            let times = found.map(|cell| &cell["median_cpu_nanos_per_message"]);
            let time = |side: usize| Some(three(times?[side].as_f64()? / 1e3));
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
    use serde_json::json;

    fn record(time: &str, rival: &str, reached: f64) -> Value {
        json!({
            "date": format!("2026-12-01 {time} UTC"),
            "goals": [
                {"workload": "one-way-8", "reference": rival, "fastest_rival": true, "wanted": 0.7,
                 "reached": reached, "at_most": false, "reached_near": reached, "met": reached >= 0.7},
                {"workload": "one-way-8", "reference": "syscalls", "fastest_rival": false, "wanted": 0.01,
                 "reached": 0.0, "at_most": true, "met": true},
            ],
            "systems": [{"name": "pipe", "version": "", "lacks": "messages"}, {"name": "rtrb"}],
            "kill_ends": {"pipe": {"sender": "end-of-file", "receiver": "error: Broken pipe"}},
            "cells": [{"workload": "paced-1k-64", "system": "pipe",
                       "median_cpu_nanos_per_message": [1500.0, 2500.0]}],
        })
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

    #[test]
    fn a_record_of_another_form_is_refused() {
        let path = std::env::temp_dir().join(format!("compare-{}.json", std::process::id()));
        fs::write(&path, r#"{"schema": 2}"#).expect("a file");
        let error = tables(std::slice::from_ref(&path)).expect_err("another schema");
        fs::remove_file(path).expect("the file");
        assert!(error.ends_with("its schema is 2, not 3"), "{error}");
    }
}
