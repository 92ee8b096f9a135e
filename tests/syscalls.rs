//! System calls and sleep: while both sides are busy, messages pass over shared memory without
//! either.
//!
//! Nothing is said here about time. strace(1) counts the calls of a stream. It cannot count those of
//! a ping-pong: it stops a process at each call for longer than the other side looks for a message
//! before it sleeps, so a single sleep would make every later turn sleep too. There the kernel's own
//! count of switches tells that nobody slept, and a wait without sleep is a wait without calls.

mod support;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, getpid};
use shmpipe::{Backend, PipeOptions};
use support::{Line, fork_apart, long, on_no_backend, skipped, switches};

on_no_backend! {
    a_stream_between_two_busy_processes_takes_nearly_no_system_calls within 120,
    a_ping_pong_between_two_busy_processes_puts_nearly_nobody_to_sleep within 120,
}

/// Holds the number of messages in the process that strace watches.
const MESSAGES: &str = "SHMPIPE_TEST_MESSAGES";

fn number_of_messages() -> u64 {
    if long() { 1_000_000 } else { 100_000 }
}

/// Two processors that this process may use; says why not where there is one only.
fn two_cpus() -> Option<[usize; 2]> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut usable = (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false));
    let two = usable.next().zip(usable.next());
    if two.is_none() {
        skipped("one usable processor: the two sides cannot both be busy");
    }
    two.map(|(first, second)| [first, second])
}

fn pin_to(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
}

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
    let summary = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("syscalls-{}-{messages}", std::process::id()));
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
    let Some(cpus) = two_cpus() else { return };
    if let Ok(messages) = std::env::var(MESSAGES) {
        return stream(messages.parse().unwrap(), cpus);
    }
    if !strace_works() {
        return skipped("no strace, or it may not trace here");
    }
    let path = "alone::a_stream_between_two_busy_processes_takes_nearly_no_system_calls";
    let messages = number_of_messages();
    let calls = counted(path, messages).saturating_sub(counted(path, 0));
    println!("{calls} system calls for {messages} messages");
    // Not zero: a sender looks now and then whether a receiver is left, by default every 50 µs,
    // which is some hundred messages of an unoptimised build; and where one side falls asleep, it
    // takes some ten calls to wake it. One call for each message would be 100 %.
    assert!(
        calls < messages / 20,
        "{calls} system calls for {messages} messages"
    );
}

fn a_ping_pong_between_two_busy_processes_puts_nearly_nobody_to_sleep() {
    let Some(cpus) = two_cpus() else { return };
    let rounds = number_of_messages();
    let options = PipeOptions::new().backend(Backend::SharedMemory);
    let (left, mut right) = options.duplex().unwrap();
    let slept = Line::new();
    let (echo, mut left) = fork_apart(left, || {
        pin_to(cpus[1]);
        let before = switches(getpid(), support::gettid()).voluntary;
        for round in 0..rounds {
            assert_eq!(&*right.recv().unwrap(), round.to_ne_bytes());
            right.send(&round.to_ne_bytes()).unwrap();
        }
        slept.put(switches(getpid(), support::gettid()).voluntary - before);
    });
    pin_to(cpus[0]);
    let before = switches(getpid(), support::gettid()).voluntary;
    for round in 0..rounds {
        left.send(&round.to_ne_bytes()).unwrap();
        assert_eq!(&*left.recv().unwrap(), round.to_ne_bytes());
    }
    let mine = switches(getpid(), support::gettid()).voluntary - before;
    let theirs = slept.take();
    echo.join();
    println!("{mine} and {theirs} sleeps for {rounds} round trips");
    // Not zero: where the processor is taken from one side for a while, the other falls asleep.
    assert!(
        mine + theirs < rounds / 50,
        "{mine} and {theirs} sleeps for {rounds} round trips"
    );
}
