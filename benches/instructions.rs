//! How many instructions one send and one receive take, counted by valgrind(1): a figure that repeats where time
//! does not.
//!
//! `cargo bench --bench instructions` prints the table of `docs/performance.md` and compares it with the record in
//! `benches/records/instructions.txt`; `-- --record` writes that record anew. The count is the difference between
//! a run of 2,000 and one of 1,000 calls, so it holds a loop of some ten instructions and nothing that is done once.

use std::process::Command;

use shmpipe::{Backend, PipeOptions};

const RECORD: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/records/instructions.txt"
);

/// Calls of the shorter run.
const CALLS: u64 = 1000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, len, calls] = &arguments[..] {
        return run(
            mode,
            len.parse().expect("a length"),
            calls.parse().expect("a number of calls"),
        );
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is not installed, so nothing is counted");
        return;
    }
    let mut table = String::from("bytes  send  send + recv_into  send + recv\n");
    for len in [8, 64, 1024] {
        let [send, into, recv] = ["send", "into", "recv"].map(|mode| count(mode, len));
        table += &format!("{len:>5} {send:>5} {into:>17} {recv:>12}\n");
    }
    print!("{table}");
    if arguments.iter().any(|argument| argument == "--record") {
        std::fs::write(RECORD, &table).expect("the record can be written");
    } else if std::fs::read_to_string(RECORD).is_ok_and(|record| record != table) {
        println!(
            "the record differs:\n{}",
            std::fs::read_to_string(RECORD).unwrap_or_default()
        );
    }
}

/// Instructions of one call, or one of each.
fn count(mode: &str, len: usize) -> u64 {
    let total = |calls: u64| {
        let us = std::env::current_exe().expect("this program's path");
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(us)
            .args([mode, &len.to_string(), &calls.to_string()])
            .output()
            .expect("valgrind runs");
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text
            .lines()
            .find_map(|line| line.split_once("Collected : "));
        line.and_then(|(_, figure)| figure.trim().parse::<u64>().ok())
            .unwrap_or_else(|| panic!("no count in what valgrind says: {text}"))
    };
    // To the nearest, for what is done each so many calls.
    (total(2 * CALLS) - total(CALLS) + CALLS / 2) / CALLS
}

/// What is counted.
fn run(mode: &str, len: usize, calls: u64) {
    let (mut rx, mut tx) = PipeOptions::new()
        .backend(Backend::SharedMemory)
        .capacity(8 << 20)
        .pipe()
        .expect("a pipe");
    let message = vec![7; len];
    let mut buf = vec![0; len];
    let mut send = || tx.send(&message).expect("there is room");
    // A loop for each, so that none counts the choice.
    match mode {
        "into" => (0..calls).for_each(|_| {
            send();
            assert_eq!(rx.recv_into(&mut buf).expect("the message"), len);
        }),
        "recv" => (0..calls).for_each(|_| {
            send();
            assert_eq!(rx.recv().expect("the message").len(), len);
        }),
        _ => (0..calls).for_each(|_| send()),
    }
}
