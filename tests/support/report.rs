//! What a test that hangs was doing: a look at each thread of its process group.
//!
//! It reads /proc only; deciding that a test hangs, and ending it, is [`isolate`](super::isolate)'s.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;

use nix::sys::prctl;
use nix::unistd::Pid;

/// Starts the line with which a thread says what it is about to wait for.
const NOTE: &str = "doing ";

/// Says what the calling thread is about to wait for: in its name, as far as 15 bytes go, and whole
/// in the test's output. The report of a test that hangs shows both.
pub(crate) fn doing(what: &str) {
    let name: Vec<u8> = what.bytes().filter(|&byte| byte != 0).take(15).collect();
    let name = std::ffi::CString::new(name).expect("zero bytes were taken out");
    prctl::set_name(&name).expect("any name of 15 bytes is allowed");
    // One write, or the lines of several processes run into each other.
    let line = format!("{NOTE}{}: {what}\n", super::gettid());
    std::io::stderr()
        .write_all(line.as_bytes())
        .expect("a place for notes");
}

/// The last note of each thread in a test's output.
pub(super) fn last_notes(output: &str) -> String {
    let notes = output
        .lines()
        .filter_map(|line| line.strip_prefix(NOTE)?.split_once(": "));
    let last: BTreeMap<&str, &str> = notes.collect();
    last.iter()
        .map(|(tid, what)| format!("{tid} last said: {what}\n"))
        .collect()
}

/// One paragraph for each thread of each process in the caller's group.
pub(crate) fn own_group() -> String {
    group(nix::unistd::getpgrp())
}

/// One paragraph for each thread of each process in the group.
pub(super) fn group(group: Pid) -> String {
    let mut text = String::new();
    for pid in numbered_entries("/proc") {
        if group_of(pid) != Some(group.as_raw()) {
            continue;
        }
        for tid in numbered_entries(&format!("/proc/{pid}/task")) {
            describe(&mut text, pid, tid);
        }
    }
    text
}

/// What /proc says of one thread.
fn describe(text: &mut String, pid: i32, tid: i32) {
    let read = |name: &str| {
        let content = fs::read_to_string(format!("/proc/{pid}/task/{tid}/{name}"));
        content
            .unwrap_or_else(|error| format!("({error})"))
            .trim()
            .to_owned()
    };
    let status = read("status");
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    let state = state.unwrap_or("unknown").trim();
    let (comm, wchan, syscall) = (read("comm"), read("wchan"), read("syscall"));
    let outcome = writeln!(
        text,
        "process {pid} thread {tid} comm [{comm}] state {state} wchan {wchan}\n  syscall {syscall}"
    );
    outcome.expect("writing to a string does not fail");
    for frame in read("stack").lines() {
        writeln!(text, "  stack {frame}").expect("writing to a string does not fail");
    }
}

/// The process group of `pid`, from /proc/PID/stat (proc_pid_stat(5)); none when it is gone.
fn group_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, also spaces: the last `)` ends it.
    let after_name = &stat[stat.rfind(')')? + 1..];
    after_name.split_whitespace().nth(2)?.parse().ok()
}

/// The entries of a directory whose names are numbers, in order; none when it is gone.
fn numbered_entries(directory: &str) -> Vec<i32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut numbers: Vec<i32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}
