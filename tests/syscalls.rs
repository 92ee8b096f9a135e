//! System calls: a stream between two busy processes passes over shared memory nearly without any.
//!
//! strace(1) counts them. It stops a process only at its system calls, so it does not slow the rest;
//! but the stop is longer than the other side looks for a message before it sleeps, so it can tell
//! nothing of a ping-pong (see `sleeps.rs`). Nothing is said here about time.

mod support;

use std::process::{Command, Stdio};

use shmpipe::{Backend, PipeOptions};
use support::{
    Others, fork_apart, long, not_under_a_sanitizer, on_no_backend, pin_to, skipped, two_cpus,
};

on_no_backend! {
    a_stream_between_two_busy_processes_takes_nearly_no_system_calls within 120,
}

/// Holds the number of messages in the process that strace watches.
const MESSAGES: &str = "SHMPIPE_TEST_MESSAGES";

/// Sends 8 bytes so many times, one process on each of two processors.
fn stream(messages: u64, cpus: [usize; 2]) {
    let options = PipeOptions::new().backend(Backend::SharedMemory);
    let (mut rx, tx) = options.pipe().unwrap();
    let (receiver, mut tx) = fork_apart(tx, move || {
        pin_to(cpus[1]);
        for number in 0..messages {
            assert_eq!(&*rx.recv().unwrap(), number.to_ne_bytes());
        }
    });
    pin_to(cpus[0]);
    (0..messages).for_each(|number| tx.send(&number.to_ne_bytes()).unwrap());
    receiver.join();
}

/// The system calls of a stream of so many messages, of both processes from start to end.
fn counted(path: &str, messages: u64) -> u64 {
    let name = format!("shmpipe-syscalls-{}-{messages}", std::process::id());
    let summary = std::env::temp_dir().join(name);
    let status = Command::new("strace")
        .args(["-f", "-c", "-o"])
        .arg(&summary)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", path, "--test-threads=1", "--nocapture"])
        .env(MESSAGES, messages.to_string())
        .status()
        .unwrap();
    assert!(status.success(), "the stream under strace: {status}");
    let table = std::fs::read_to_string(&summary).unwrap();
    std::fs::remove_file(&summary).unwrap();
    println!("{messages} messages:\n{table}");
    // The last line: per cent, seconds, microseconds a call, calls, errors, "total".
    let total = table
        .lines()
        .rfind(|line| line.ends_with("total"))
        .expect("a line with the total");
    total
        .split_whitespace()
        .nth(3)
        .expect("a number of calls")
        .parse()
        .unwrap()
}

/// Whether strace is there and may trace.
fn strace_works() -> bool {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn a_stream_between_two_busy_processes_takes_nearly_no_system_calls() {
    if !not_under_a_sanitizer("its look for leaks cannot be traced") {
        return;
    }
    let Some(cpus) = two_cpus() else { return };
    if let Ok(messages) = std::env::var(MESSAGES) {
        return stream(messages.parse().unwrap(), cpus);
    }
    if !strace_works() {
        return skipped("no strace, or it may not trace here");
    }
    let path = "alone::a_stream_between_two_busy_processes_takes_nearly_no_system_calls";
    let messages = if long() { 10_000_000 } else { 1_000_000 };
    let others = Others::watch();
    let calls = counted(path, messages).saturating_sub(counted(path, 0));
    println!("{calls} system calls for {messages} messages");
    // Not zero: a sender looks every 50 µs whether a receiver is left, which is some hundred messages
    // of an unoptimised build; and where one side falls asleep, it takes some ten calls to wake it.
    // One call for each message would be 100 %. A side that has lost its processor to another program
    // has to be waited for asleep, again and again, so then the count means nothing.
    if calls >= messages / 20 && others.were_quiet() {
        panic!("{calls} system calls for {messages} messages");
    }
}
