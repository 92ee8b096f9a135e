//! A process of its own for each test, with a watchdog over it.
//!
//! The test function runs the test binary again, with the test's own name and a variable that says
//! "run the body". So no descriptor of a test that runs beside it is inherited by its children, and
//! a crash takes nothing else along. It neither retries nor kills anything but the process group
//! that it made.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, killpg, signal};
use nix::unistd::Pid;

/// Names the test whose body this process is to run.
pub(crate) const RUNNING_BODY: &str = "SHMPIPE_TEST_BODY";

/// The last line of a body that returned; its absence means that no test had the name.
const DONE: &str = "body ran to its end";

/// First word of a line that says why a test did not run.
const SKIPPED: &str = "skipped:";

/// First word of a line with what a test found, which is of use although it passed.
const FOUND: &str = "found:";

/// Time that a body has when its test names no other, in seconds.
const LIMIT_SECONDS: u64 = 60;

/// The limit given, or the default; ten times as much for the long form of the tests.
pub(crate) fn limit(seconds: &[u64]) -> Duration {
    let factor = if super::long() { 10 } else { 1 };
    Duration::from_secs(seconds.last().unwrap_or(&LIMIT_SECONDS) * factor)
}

/// Runs `body` in a process of its own and panics with its output when it fails or takes longer
/// than `limit`. `path` is the test's path, crate name included.
pub(crate) fn isolated(path: &str, limit: Duration, body: fn()) {
    if std::env::var_os(RUNNING_BODY).is_some_and(|running| running == *path) {
        println!(); // the harness has begun a line
        let default = SigHandler::SigDfl;
        // Rust ignores SIGPIPE from the start; as in a C program, one would end the test here.
        // SAFETY: the default action is no handler, so none can do harm.
        unsafe { signal(Signal::SIGPIPE, default) }.expect("SIGPIPE can have its default");
        body();
        println!("{DONE}");
        return;
    }
    match run_body(path, limit) {
        Ok(output) => {
            print!("{output}"); // for `--show-output`
            let is_of_use = |line: &&str| line.starts_with(SKIPPED) || line.starts_with(FOUND);
            // Straight to the descriptor: libtest hides what a passing test prints.
            for line in output.lines().filter(is_of_use) {
                let _ = writeln!(io::stderr(), "{path}: {line}");
            }
        }
        Err(report) => panic!("{report}"),
    }
}

/// Says why the body that runs cannot show what it is there for.
pub(crate) fn skipped(reason: &str) {
    println!("{SKIPPED} {reason}");
}

/// Says what the body that runs has counted or measured.
pub(crate) fn found(what: &str) {
    println!("{FOUND} {what}");
}

/// Runs the body of the test `path` and returns its output, or a report of what went wrong.
pub(crate) fn run_body(path: &str, limit: Duration) -> Result<String, String> {
    let (_crate_name, name) = path
        .split_once("::")
        .expect("a test's path starts with its crate");
    let mut log = File::from(memfd_create(c"test-output", MFdFlags::MFD_CLOEXEC).unwrap());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--test-threads=1", "--nocapture"])
        .env(RUNNING_BODY, path)
        .env_remove("SHMPIPE_BACKEND")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log.try_clone().unwrap())
        .process_group(0);
    // SAFETY: the closure makes two system calls and allocates nothing, so it may run between fork
    // and exec.
    unsafe { command.pre_exec(prepare_body) };
    let mut body = command.spawn().unwrap();
    let group = Pid::from_raw(body.id().try_into().unwrap());

    let expired = !exits_within(&pidfd_open(group), limit);
    let processes = if expired {
        super::report::group(group)
    } else {
        String::new()
    };
    // The leader has not been waited for, so its number still names this group and no other.
    let _ = killpg(group, Signal::SIGKILL);
    let status = body.wait().unwrap();

    let mut output = String::new();
    log.rewind().unwrap();
    log.read_to_string(&mut output).unwrap();
    if expired {
        let notes = super::report::last_notes(&output);
        return Err(format!(
            "{path} did not end within {limit:?}\n{processes}{notes}output so far:\n{output}"
        ));
    }
    if !status.success() || !output.lines().any(|line| line == DONE) {
        return Err(format!("{path} failed: {status}\n{output}"));
    }
    Ok(output)
}

/// What the body's process does between fork and exec: it is to die with this one, and to inherit
/// no descriptor, not even one that this process got from its own parent.
fn prepare_body() -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let (first, last) = (3 as libc::c_uint, libc::c_uint::MAX);
    // By its number, since not every C library has the function.
    // SAFETY: close_range(2) takes integers; with this flag it closes nothing before the exec.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            last,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    Errno::result(outcome)?;
    Ok(())
}

/// A descriptor that becomes readable when the child `pid` exits.
fn pidfd_open(pid: Pid) -> OwnedFd {
    // SAFETY: pidfd_open(2) takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = Errno::result(fd).expect("a child that was not waited for has a pidfd");
    // SAFETY: the call above returned this descriptor, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(fd.try_into().unwrap()) }
}

/// Whether the process behind `pidfd` exits before `limit` is over.
fn exits_within(pidfd: &OwnedFd, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut watched = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut watched, timeout) {
            Ok(0) if left.is_zero() => return false,
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return true,
            Err(errno) => panic!("poll of a pidfd: {errno}"),
        }
    }
}
