//! The built command, run as a user runs it: structure and exit codes, never speed.

use std::process::{Command, Output};

fn shmpipe(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_shmpipe"))
        .args(arguments)
        .output()
        .expect("the command runs")
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
        "ping-pong 8 B",
        "ping-pong 1 KiB",
        "ping-pong 64 KiB",
        "one way 8 B",
    ];
    for group in groups
        .iter()
        .chain(&["one way 1 KiB", "one way 64 KiB", "file, ", "one CPU"])
    {
        assert!(text.contains(group), "{group} in\n{text}");
    }
    for unit in ["µs", "messages/s", "MB/s", "x kernel"] {
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
