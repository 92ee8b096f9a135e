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

/// Runs two rounds of the program, and reads what it has written.
fn compare(name: &str, arguments: &[&str]) -> Report {
    compare_rounds(name, 2, arguments)
}

fn compare_rounds(name: &str, rounds: u32, arguments: &[&str]) -> Report {
    // Systems that spin take turns with those of other tests on the same two CPUs.
    compare_within(name, rounds, 60_000, arguments)
}

fn compare_within(name: &str, rounds: u32, limit_ms: u32, arguments: &[&str]) -> Report {
    let place =
        |end: &str| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{end}"));
    let (json, html) = (place("json"), place("html"));
    let output = run(Command::new(env!("CARGO_BIN_EXE_compare"))
        .args(["--rounds", &rounds.to_string()])
        .args(["--limit-ms", &limit_ms.to_string()])
        .args(["--slice-ms", "5", "--repeats", "0", "--json"])
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
            .contains(&format!("FAILED: one-way-8, lossy: {reason}")),
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
    let report = compare_within(
        "hanging",
        2,
        1000,
        &["--only", "hanging", "--workload", "one-way-8"],
    );
    assert!(
        report
            .text
            .contains("FAILED: one-way-8, hanging: no end in 1.005s"),
        "{}",
        report.text
    );
}

#[test]
fn a_session_that_is_killed_is_reported() {
    let report = compare("dying", &["--only", "dying", "--workload", "round-trip-8"]);
    assert!(
        report
            .text
            .contains("FAILED: round-trip-8, dying: its process died by SIGKILL"),
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
    assert_eq!(record["schema"], 4);
    for field in ["date", "command", "cpu", "kernel"] {
        assert!(
            record[field].as_str().is_some_and(|text| !text.is_empty()),
            "{field}"
        );
    }
    let blocks = 2 * 3;
    let around = record["blocks"].as_array().expect("blocks");
    assert_eq!(around.len(), blocks);
    for block in around {
        assert!(block["others"].is_f64(), "{block}");
        // Two CPUs that are one have no distance.
        let is_one = record["cpus"][0] == record["cpus"][1];
        assert_eq!(block["atomics_nanos"].is_f64(), !is_one, "{block}");
    }
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
        let block = round["block"].as_u64().expect("a block") as usize;
        assert_eq!(around[block]["round"], round["round"]);
        assert_eq!(around[block]["workload"], "round-trip-8");
    }
    assert!(cell["median_ratio_to_limit"].is_f64());
    assert!(cell["median_ratio_to_pipe"].is_f64());
    let goals = record["goals"].as_array().expect("goals");
    let beside = |workload: &str| {
        let its = goals.iter().filter(|goal| goal["workload"] == workload);
        its.map(|goal| goal["reference"].as_str().expect("a name"))
            .collect::<Vec<_>>()
    };
    // The round trip has one of syscalls beside those of time, where they can be counted.
    assert_eq!(
        beside("round-trip-8")[..3],
        ["pipe", "atomics", "atomics-fence"]
    );
    assert_eq!(beside("senders-2-8"), ["pipe", "pipe"]);
    assert_eq!(goals[0]["fastest_rival"], true);
    assert!(goals[2]["wanted"].is_null() && goals[2]["met"].is_null());
    assert!(report.html.contains("</svg>"));
}

#[test]
fn syscalls_of_a_pipe_are_one_for_each_side_and_message() {
    let report = compare("syscalls", &["--only", "pipe", "--workload", "one-way-8"]);
    let pipe = cell(&report.record, "pipe");
    let Some(counts) = pipe["syscalls_per_message"].as_array() else {
        println!("skipped: {}", pipe["syscalls_not_counted"]);
        return;
    };
    for count in counts {
        // One more now and then, where a side of the pipe was slept for.
        let count = count.as_f64().expect("a count");
        assert!((1.0..1.5).contains(&count), "{pipe}");
    }
}

#[test]
fn batches_and_loans_arrive_whole_and_in_order_on_every_system_that_has_them() {
    let report = compare_rounds("modes", 1, &["--workload", "batch,loan"]);
    let cells = report.record["cells"].as_array().expect("cells");
    let mut measured = 0;
    for cell in cells {
        assert!(cell["rounds"][0]["failed"].is_null(), "{cell}");
        measured += usize::from(cell["good_rounds"] == 1);
        let is_out = cell["not_run"].is_string();
        assert_eq!(cell["good_rounds"] == 1, !is_out, "{cell}");
    }
    assert!(measured >= 20, "{measured}");
}

#[test]
fn messages_of_64_kib_are_made_in_place_and_nothing_that_is_copied_is_taken_for_a_loan() {
    let arguments = ["--only", "shm,shm-copy", "--workload", "loan-64k"];
    let report = compare("loans", &arguments);
    let shares = |system| cell(&report.record, system)["in_place"].clone();
    assert_eq!(shares("shm")[0], 1.0, "made in place");
    assert!(shares("shm")[1].as_f64().is_some_and(|read| read > 0.0));
    for copying in ["shm-copy", "pipe"] {
        assert_eq!(shares(copying), serde_json::json!([0.0, 0.0]), "{copying}");
    }
    let goals = report.record["goals"].as_array().expect("goals");
    assert!(goals.iter().any(|goal| goal["reference"] == "in place"));
}

#[test]
fn systems_that_run_beside_each_other_all_get_their_messages() {
    let only = [
        "--only",
        "shm,shm-sleep,shm-spin",
        "--workload",
        "paced-1-64",
    ];
    let report = compare("idle", &only);
    for system in ["shm", "shm-sleep", "pipe"] {
        // At least two messages, a second apart.
        let round = &cell(&report.record, system)["rounds"][0];
        assert!(round["messages"].as_u64() >= Some(2), "{round}");
        assert!(round["nanos"].as_u64() >= Some(2_000_000_000), "{round}");
    }
    assert!(cell(&report.record, "shm-spin")["not_run"].is_string());
}

#[test]
fn a_quota_is_kept_or_said_to_be_impossible() {
    let arguments = ["--only", "shm", "--workload", "round-trip-8-quota"];
    let report = compare("quota", &arguments);
    let shm = cell(&report.record, "shm");
    match report.record["not_possible"].as_array().map(Vec::as_slice) {
        Some([]) => assert_eq!(shm["good_rounds"], 2, "{shm}"),
        Some([one]) => {
            assert_eq!(one[0], "round-trip-8-quota");
            let reason = one[1].as_str().expect("a reason");
            assert!(
                report
                    .text
                    .contains(&format!("not possible here: {reason}"))
            );
            assert!(shm["good_rounds"].is_null(), "{shm}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_no_goal_needs_is_measured_less_often() {
    let report = compare_rounds("seldom", 3, &["--workload", "one-way-8"]);
    for (system, rounds) in [
        ("shm", 3),
        ("rtrb", 3),
        ("pipe", 3),
        ("stream", 3),
        ("shm-sleep", 1),
        ("crossbeam", 1),
    ] {
        let cell = cell(&report.record, system);
        assert_eq!(cell["good_rounds"], rounds, "{system}");
    }
}

#[test]
fn the_fastest_rival_of_each_workload_is_named_by_the_run() {
    let only = ["--only", "shm,seqpacket,ringfire"];
    let workloads = ["--workload", "one-way-8,one-way-64k"];
    let report = compare("fastest", &[only, workloads].concat());
    let goals = report.record["goals"].as_array().expect("goals");
    let fastest = |workload: &str| {
        let mut its = goals.iter().filter(|goal| goal["workload"] == workload);
        let goal = its.find(|goal| goal["fastest_rival"] == true);
        goal.expect("a rival")["reference"].clone()
    };
    // Shared memory beside a syscall for each message; of 64 KiB ringfire has no slots.
    assert_eq!(fastest("one-way-8"), "ringfire");
    assert_ne!(fastest("one-way-64k"), "ringfire");
    assert!(report.text.contains("fastest: ringfire"), "{}", report.text);
    assert!(report.html.contains("fastest: ringfire"));
}

#[test]
fn a_pipe_whose_other_side_is_killed_says_so() {
    let output = run(Command::new(env!("CARGO_BIN_EXE_compare")).args([
        "--kills",
        "--quick",
        "--only",
        "shm,shm-kernel,seqpacket,shmem-ipc",
    ]));
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let line = |name: &str| {
        let mut lines = text.lines().map(str::trim_start);
        let line = lines.find(|line| line.split(' ').next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
            .to_owned()
    };
    for name in ["shm", "shm-kernel", "pipe"] {
        assert!(line(name).contains(" end-of-file "), "{text}");
        assert!(line(name).contains("Broken pipe"), "{text}");
    }
    assert!(line("seqpacket").contains(" end-of-file "), "{text}");
    // Nobody tells its ends.
    assert_eq!(line("shmem-ipc").matches("hang (1 s)").count(), 2, "{text}");
    assert!(!text.contains("not known"), "{text}");
}

#[test]
fn the_tables_for_the_documentation_are_made_of_records() {
    compare("pasted", &["--only", "shm", "--workload", "one-way-8"]);
    let record = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pasted.json");
    let output = run(Command::new(env!("CARGO_BIN_EXE_compare"))
        .arg("--markdown")
        .args([&record, &record]));
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let row = "| one-way-8 | fastest rival | 0.70 | ";
    let row = text.lines().find(|line| line.starts_with(row));
    let row = row.unwrap_or_else(|| panic!("{text}"));
    assert_eq!(row.matches("(pipe)").count(), 2, "{row}");
}

#[test]
fn making_a_pipe_is_measured_where_both_ends_are_made_at_once() {
    let arguments = ["--only", "shm,ringfire", "--workload", "make-64k"];
    let report = compare("make", &arguments);
    for system in ["shm", "pipe-plain"] {
        assert_eq!(cell(&report.record, system)["good_rounds"], 2, "{system}");
    }
    assert!(cell(&report.record, "ringfire")["not_run"].is_string());
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
