//! The program as a whole: what it reports of faulty systems, and the form of its record.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

struct Report {
    text: String,
    record: Value,
    html: String,
}

/// Runs the program, and reads what it has written.
fn compare(name: &str, arguments: &[&str]) -> Report {
    let place =
        |end: &str| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{end}"));
    let (json, html) = (place("json"), place("html"));
    let output = run(Command::new(env!("CARGO_BIN_EXE_compare"))
        .args([
            "--rounds",
            "2",
            "--slice-ms",
            "5",
            "--limit-ms",
            "1000",
            "--repeats",
            "0",
            "--json",
        ])
        .arg(&json)
        .arg("--html")
        .arg(&html)
        .args(arguments));
    assert!(output.status.success(), "{output:?}");
    let record = fs::read_to_string(&json).expect("a record");
    Report {
        text: String::from_utf8(output.stdout).expect("text"),
        record: serde_json::from_str(&record).expect("JSON"),
        html: fs::read_to_string(&html).expect("a page"),
    }
}

fn run(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

fn cell<'a>(record: &'a Value, system: &str) -> &'a Value {
    let cells = record["cells"].as_array().expect("cells");
    cells
        .iter()
        .find(|cell| cell["system"] == system)
        .expect("a cell")
}

#[test]
fn a_system_that_loses_a_message_is_reported_and_skipped() {
    let report = compare("lossy", &["--only", "lossy", "--workload", "one-way-8"]);
    let reason = "messages lost: number 100 of sender 0 came where 99 was due";
    assert!(
        report
            .text
            .contains(&format!("lossy          FAILED: {reason}")),
        "{}",
        report.text
    );
    let lossy = cell(&report.record, "lossy");
    assert_eq!(
        lossy["rounds"].as_array().map(Vec::len),
        Some(1),
        "skipped after its failure"
    );
    assert_eq!(lossy["rounds"][0]["failed"], reason);
    assert!(lossy["median"].is_null());
    assert!(report.html.contains(reason));
    assert_eq!(
        cell(&report.record, "pipe")["good_rounds"],
        2,
        "the others go on"
    );
}

#[test]
fn a_system_that_hangs_is_ended_in_time() {
    let report = compare("hanging", &["--only", "hanging", "--workload", "one-way-8"]);
    assert!(
        report.text.contains("FAILED: no end in 1.005s"),
        "{}",
        report.text
    );
}

#[test]
fn a_session_that_is_killed_is_reported() {
    let report = compare("dying", &["--only", "dying", "--workload", "round-trip-8"]);
    assert!(
        report.text.contains("FAILED: its process died by SIGKILL"),
        "{}",
        report.text
    );
}

#[test]
fn the_record_names_the_machine_and_keeps_every_round() {
    let report = compare(
        "record",
        &[
            "--only",
            "shm",
            "--workload",
            "round-trip-8,senders-2-8,paced-1k-64",
        ],
    );
    let record = &report.record;
    assert_eq!(record["schema"], 1);
    for field in ["date", "command", "cpu", "kernel"] {
        assert!(
            record[field].as_str().is_some_and(|text| !text.is_empty()),
            "{field}"
        );
    }
    let blocks = 2 * 3;
    assert_eq!(record["loads"].as_array().map(Vec::len), Some(blocks));
    let shm = &record["systems"][0];
    assert_eq!(shm["name"], "shm");
    assert_eq!(shm["version"], "0.1.0");
    let cell = cell(record, "shm");
    for round in cell["rounds"].as_array().expect("rounds") {
        assert!(
            round["figure"].as_f64().is_some_and(|figure| figure > 0.0),
            "{round}"
        );
        assert!(
            round["messages"]
                .as_u64()
                .is_some_and(|messages| messages > 0),
            "{round}"
        );
        assert!(round["latency_nanos"]["p99.9"].is_u64(), "{round}");
    }
    assert!(cell["median_ratio_to_limit"].is_f64());
    assert!(cell["median_ratio_to_pipe"].is_f64());
    let goals = record["goals"].as_array().expect("goals");
    assert_eq!(goals.len(), 3, "{goals:?}");
    assert!(report.html.contains("</svg>"));
}

#[test]
fn an_unknown_name_is_refused() {
    for arguments in [["--only", "shn"], ["--workload", "two-way"]] {
        let output = run(Command::new(env!("CARGO_BIN_EXE_compare")).args(arguments));
        assert!(!output.status.success());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("--list"), "{text}");
    }
}
