//! The built command, run as a user runs it: structure and exit codes, never speed.

mod support;

use std::process::{Command, Output};

fn shmpipe(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shmpipe"))
        .args(arguments)
        .output()
        .expect("the command runs")
}

#[test]
fn helper() {
    support::play_part();
}

/// A file of the repository, small enough for an unoptimised digest.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/main.rs");

#[test]
fn the_table_names_every_system_and_size_and_the_file_arrives_unchanged() {
    let output = shmpipe(&["bench", "--quick", "--seconds", "1", "--file", FILE]);
    let text = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{complaints}");
    assert_eq!(complaints, "", "a progress bar is for terminals only");
    let systems = [
        "shmpipe, shared memory",
        "shmpipe on kernel pipes",
        "kernel pipe, raw",
        "Unix socketpair, raw",
    ];
    // Three sizes of ping-pong, three one way, the file.
    let groups_at_least = 7;
    for system in systems {
        assert!(
            text.matches(system).count() >= groups_at_least,
            "{system} in\n{text}"
        );
    }
    let groups = [
        "round trip, 8 B",
        "round trip, 1 KiB",
        "round trip, 64 KiB",
        "one way, 8 B",
    ];
    for group in groups
        .iter()
        .chain(&["one way, 1 KiB", "one way, 64 KiB", "a file, ", "one CPU"])
    {
        assert!(text.contains(group), "{group} in\n{text}");
    }
    for unit in ["µs", "M/s", "B/s", "× faster", "middle half"] {
        assert!(text.contains(unit), "{unit} in\n{text}");
    }
    for fact in ["machine ", "kernel ", "date ", "CPUs ", "capacity "] {
        assert!(
            text.lines().any(|line| line.starts_with(fact)),
            "{fact} in\n{text}"
        );
    }
    let digest = text
        .lines()
        .find(|line| line.starts_with("SHA-256"))
        .expect("a digest");
    assert!(digest.contains(" ok"), "{digest}");
    assert!(text.contains(FILE), "{text}");
}

#[test]
fn a_missing_file_is_a_failure_that_names_it() {
    let output = shmpipe(&["bench", "--file", "/no/such/file"]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("/no/such/file"), "{complaint}");
    assert!(output.stdout.is_empty());
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    assert_eq!(
        shmpipe(&["bench", "--no-such-option"]).status.code(),
        Some(2)
    );
    assert_eq!(shmpipe(&[]).status.code(), Some(2));
}

#[test]
fn chosen_workloads_are_reported_as_json_and_as_a_page_that_loads_nothing() {
    let page = std::env::temp_dir().join(format!("shmpipe-bench-{}.html", std::process::id()));
    let path = page.to_str().unwrap();
    let arguments = [
        "bench",
        "--seconds",
        "0.1",
        "--sizes",
        "8,5000",
        "--senders",
        "1,2",
        "--json",
        "--html",
        path,
    ];
    let output = shmpipe(&arguments);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let value = support::checked(&String::from_utf8(output.stdout).unwrap());
    let html = std::fs::read_to_string(&page).unwrap();
    std::fs::remove_file(&page).unwrap();
    for fact in ["command", "cpu", "kernel", "date"] {
        let fact = value[fact].as_str().unwrap();
        assert!(!fact.is_empty() && html.contains(fact), "{fact}");
    }
    assert!(
        value["command"]
            .as_str()
            .unwrap()
            .contains("--sizes 8,5000")
    );
    let cells = value["cells"].as_array().unwrap();
    let find = |workload: &str, system: &str| {
        let is_it =
            |cell: &&serde_json::Value| cell["workload"] == workload && cell["system"] == system;
        cells.iter().find(is_it).expect(workload)
    };
    for system in ["shm", "pipe", "stream", "slots"] {
        let cell = find("round-trip-8", system);
        assert!(cell["latency_nanos"]["p50"].as_u64().unwrap() > 0);
        let cell = find("one-way-8", system);
        let [low, median, high] =
            ["low", "median", "high"].map(|name| cell[name].as_f64().unwrap());
        assert!(0.0 < low && low <= median && median <= high, "{cell}");
    }
    // What cannot keep messages of several senders whole has no figure, and says why.
    assert!(find("senders-2-5000", "shm")["median"].is_number());
    let pipe = find("senders-2-5000", "pipe");
    assert!(pipe["median"].is_null() && pipe["not_run"].is_string());
    assert!(html.matches("<svg").count() >= 3);
    for load in ["src=", "href=", "@import", "url("] {
        assert!(!html.contains(load), "{load}");
    }
}

#[test]
fn chosen_workloads_have_percentiles_and_the_raw_limit() {
    let arguments = [
        "bench",
        "--seconds",
        "0.1",
        "--modes",
        "ping-pong,paced",
        "--sizes",
        "64",
    ];
    let output = shmpipe(&arguments);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "p50",
        "p99.9",
        "× faster",
        "raw limit",
        "round trip, 64 B",
        "CPU time at 5,000/s, 64 B",
        "command ",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("one way"), "{text}");
}

#[test]
fn sizes_and_senders_out_of_range_are_usage_errors() {
    for wrong in [["--sizes", "7"], ["--senders", "0"], ["--modes", "both"]] {
        assert_eq!(
            shmpipe(&["bench", wrong[0], wrong[1]]).status.code(),
            Some(2)
        );
    }
}

/// Draws the picture of a record of the repository.
fn picture(record: &str) -> Output {
    let record = format!("{}/../{record}", env!("CARGO_MANIFEST_DIR"));
    shmpipe(&["bench", "--picture", &record])
}

#[test]
fn each_picture_of_the_documents_is_drawn_by_its_command_from_the_record_that_it_names() {
    for (path, records) in [
        ("docs/figures.svg", "benches/compare/records"),
        ("python/benches/ratios.svg", "python/benches/records"),
    ] {
        let place = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
        let Ok(there) = std::fs::read_to_string(place) else {
            println!("skipped: {path} is not here");
            continue;
        };
        let name = there
            .split(|c: char| c.is_whitespace() || c == '<')
            .find(|word| word.ends_with(".json.gz") || word.ends_with(".json"))
            .expect("the picture names its record");
        let drawn = picture(&format!("{records}/{name}"));
        let said = String::from_utf8_lossy(&drawn.stderr);
        assert!(drawn.status.success(), "{said}");
        assert!(
            String::from_utf8_lossy(&drawn.stdout) == there,
            "{path} is not what shmpipe bench --picture {records}/{name} prints"
        );
    }
}

#[test]
fn a_picture_of_no_record_is_a_failure_that_names_the_file() {
    let output = picture("Cargo.toml");
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("Cargo.toml"), "{complaint}");
}
