//! Programs for tests to execute: the test binary itself, told by a variable what to do.
//!
//! A binary that has such programs has one test, of whatever name, that calls [`run_task`] first thing.

use std::process::{Child, Command, ExitStatus, Stdio};

/// Says which task the executed binary is to do.
const TASK: &str = "SHMPIPE_TEST_TASK";

/// What an executed binary can do, by name.
pub(crate) type Tasks = &'static [(&'static str, fn())];

/// A command that executes this binary for `task`, by way of the test named `entry`.
pub(crate) fn program(entry: &str, task: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", entry, "--test-threads=1", "--nocapture"])
        .env(TASK, task)
        // The harness's lines, which a kill would cut short in the midst of ours; panics go to the other.
        .stdout(Stdio::null());
    command
}

/// Does the task for which this binary was executed, if it was.
pub(crate) fn run_task(tasks: Tasks) {
    let Some(asked) = std::env::var_os(TASK) else {
        return;
    };
    let task = tasks.iter().find(|(name, _)| asked == *name);
    let (_, run) = task.unwrap_or_else(|| panic!("no task {}", asked.to_string_lossy()));
    run();
}

/// Waits until a program has ended, which must be well.
#[track_caller]
pub(crate) fn ends_well(mut program: Child) {
    let status = program.wait().unwrap();
    assert!(ExitStatus::success(&status), "the program: {status}");
}
