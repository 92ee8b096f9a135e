//! Runs each slice in a session of its own and ends what does not end by itself.
//!
//! A session and its children form a process group. Whatever happens, all of them are ended and
//! reaped before the next slice: nothing is left that could disturb it.

use std::fs::{self, File};
use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::process;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, setpgid};

use crate::counter;
use crate::outcome::Outcome;
use crate::session::{ERROR_PREFIX, fork_child, tell};
use crate::syscalls;
use crate::systems::System;
use crate::wire::Plan;

/// Makes this process the one that reaps the children of ended sessions.
///
/// # Errors
///
/// What prctl(2) reports.
pub fn prepare() -> io::Result<()> {
    Ok(set_child_subreaper(true)?)
}

/// A slice that runs.
pub struct Running {
    session: Pid,
    reader: PipeReader,
    name: String,
    deadline: Instant,
    limit: Duration,
}

/// Runs one slice of `system` for at most `limit`. The process must have one thread.
///
/// # Errors
///
/// The text says what went wrong: a lost message, a death, no end in time.
pub fn run(system: &System, plan: &Plan, limit: Duration) -> Result<Outcome, String> {
    start(system, plan, limit)?.finish()
}

/// As [`run`], but counts syscalls: by the kernel's tracepoint where that may be used, else by ptrace(2). Returns
/// the counts for a message of the receiving or pinging side and of all peers, and which of the two it was.
pub(crate) fn count(
    system: &System,
    plan: &Plan,
    limit: Duration,
) -> Result<([f64; 2], &'static str), String> {
    let per = |outcome: &Outcome, count: u64| count as f64 / outcome.used_over as f64;
    if let Some(tracepoint) = counter::tracepoint() {
        let begin_counting = || {
            counter::begin(tracepoint);
            Ok(())
        };
        let counted = begin(system, plan, limit, begin_counting).and_then(Running::finish);
        if let Ok(outcome) = counted {
            let counts = [outcome.main.syscalls, outcome.peers.syscalls];
            return Ok((counts.map(|one| per(&outcome, one)), "tracepoint"));
        }
    }
    // Nobody else would end one that hangs: its parent waits for its next syscall.
    let seconds = limit.as_secs() as u32 + 1;
    let running = begin(system, plan, limit, || syscalls::offer(seconds))?;
    let counted = syscalls::follow(running.session).map_err(|error| format!("ptrace: {error}"));
    let outcome = running.finish()?;
    let counts = counted?;
    let counts = [counts.main, counts.peers];
    Ok((counts.map(|one| per(&outcome, one)), "ptrace"))
}

/// Begins a slice.
///
/// # Errors
///
/// It cannot be begun.
pub fn start(system: &System, plan: &Plan, limit: Duration) -> Result<Running, String> {
    begin(system, plan, limit, || Ok(()))
}

fn begin(
    system: &System,
    plan: &Plan,
    limit: Duration,
    prelude: impl FnOnce() -> io::Result<()>,
) -> Result<Running, String> {
    let deadline = Instant::now() + limit;
    let named = |error: io::Error| format!("cannot start: {error}");
    let (reader, writer) = io::pipe().map_err(named)?;
    match fork_child().map_err(named)? {
        Some(child) => {
            drop(writer);
            // In both processes, since either may be first; the second call changes nothing.
            let _ = setpgid(child, child);
            Ok(Running {
                session: child,
                reader,
                name: plan.name.clone(),
                deadline,
                limit,
            })
        }
        None => {
            drop(reader);
            let report = File::from(std::os::fd::OwnedFd::from(writer));
            if setpgid(Pid::from_raw(0), Pid::from_raw(0)).is_err() {
                process::exit(1);
            }
            let outcome = prelude().and_then(|()| (system.run)(plan, &report));
            let code = match outcome {
                Ok(outcome) => write_outcome(&outcome, &report),
                Err(error) => tell(&report, &error),
            };
            // Nothing of the parent's stack is to be run a second time here.
            process::exit(code);
        }
    }
}

impl Running {
    /// Waits for its end, and ends it when its time is over.
    ///
    /// # Errors
    ///
    /// As [`run`].
    pub fn finish(self) -> Result<Outcome, String> {
        let line = self.finish_line()?;
        serde_json::from_str(&line)
            .ok()
            .and_then(|value| Outcome::from_json(&value))
            .ok_or_else(|| format!("unreadable outcome {line:?}"))
    }

    /// As [`finish`](Self::finish), but gives the line as it was reported.
    ///
    /// # Errors
    ///
    /// As [`run`].
    pub fn finish_line(mut self) -> Result<String, String> {
        let line = read_line(&mut self.reader, self.deadline)
            .and_then(|line| line.ok_or_else(|| format!("no end in {:?}", self.limit)));
        let end = end_all(self.session);
        remove_files(&self.name);
        line.and_then(|line| understand(line, end))
    }
}

fn write_outcome(outcome: &Outcome, mut report: &File) -> i32 {
    let line = format!("{}\n", outcome.to_json());
    match io::Write::write_all(&mut report, line.as_bytes()) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

/// Reads until a line is complete or every writer has gone; `None` when time ran out first.
fn read_line(reader: &mut PipeReader, deadline: Instant) -> Result<Option<String>, String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\n") {
        if !is_readable(reader, deadline).map_err(|error| error.to_string())? {
            return Ok(None);
        }
        let mut part = [0; 4096];
        match reader.read(&mut part).map_err(|error| error.to_string())? {
            0 => break,
            len => bytes.extend_from_slice(&part[..len]),
        }
    }
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|error| error.to_string())
}

/// Waits until there is something to read, or every writer has gone; `false` when time ran out first.
pub(crate) fn is_readable(reader: &PipeReader, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).map_err(io::Error::other)?;
        let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Kills what is left of the session's group and reaps all of it; gives the session's own end.
fn end_all(session: Pid) -> Option<WaitStatus> {
    // A session that has reported its outcome has only its exit before it.
    let _ = killpg(session, Signal::SIGKILL);
    let mut end = None;
    loop {
        match waitpid(Pid::from_raw(-session.as_raw()), None) {
            Ok(status) if status.pid() == Some(session) => end = Some(status),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return end,
        }
    }
}

/// Removes what a system has left in /dev/shm, as some do when they are killed.
fn remove_files(name: &str) {
    let Ok(files) = fs::read_dir("/dev/shm") else {
        return;
    };
    for file in files.flatten() {
        if file
            .file_name()
            .to_string_lossy()
            .starts_with(&format!("{name}-"))
        {
            // Another may have removed it; what stays is in nobody's way, its name is used once.
            let _ = fs::remove_file(file.path());
        }
    }
}

/// The line, if it is no account of a failure.
fn understand(line: String, end: Option<WaitStatus>) -> Result<String, String> {
    if let Some(reason) = line.strip_prefix(ERROR_PREFIX) {
        // The other side may have added its own account; the first is nearest to the cause.
        return Err(reason.lines().next().unwrap_or_default().to_owned());
    }
    if line.is_empty() {
        return Err(match end {
            Some(WaitStatus::Exited(_, code)) => format!("its process exited with code {code}"),
            Some(WaitStatus::Signaled(_, signal, _)) => format!("its process died by {signal}"),
            end => format!("its process ended by {end:?}"),
        });
    }
    Ok(line)
}
