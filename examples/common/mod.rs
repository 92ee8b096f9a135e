//! What the examples share: the one switch that chooses the backend, and how they fork and fail.

#![allow(dead_code, reason = "each example uses a part of this")]

use std::error::Error;
use std::process::{ExitCode, exit};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use shmpipe::{Backend, PipeOptions};

/// What an example ends with: nothing, or any error.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// Runs the example with the options of its command line, and prints an error as text.
pub(crate) fn run(example: impl FnOnce(PipeOptions) -> Outcome) -> ExitCode {
    match options().map_err(Into::into).and_then(example) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs `work` in a forked child, which ends with it. What `work` owns goes to the child alone; of everything
/// else the child has a copy too.
pub(crate) fn in_child(work: impl FnOnce() -> Outcome) -> nix::Result<Pid> {
    // SAFETY: the examples have one thread, so the child may do all that the parent may.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => exit(match work() {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("error in a child: {error}");
                1
            }
        }),
    }
}

/// Waits for a child, which must end well.
pub(crate) fn join(child: Pid) -> Outcome {
    match waitpid(child, None)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        status => Err(format!("child {child} ended with {status:?}").into()),
    }
}

/// Options by `--backend shm|kernel`, or the defaults.
///
/// # Errors
///
/// Any other argument, named in the message.
pub(crate) fn options() -> Result<PipeOptions, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => Ok(PipeOptions::new()),
        ["--backend", "shm"] => Ok(PipeOptions::new().backend(Backend::SharedMemory)),
        ["--backend", "kernel"] => Ok(PipeOptions::new().backend(Backend::Kernel)),
        _ => Err(format!(
            "{}: only --backend shm or --backend kernel",
            arguments.join(" ")
        )),
    }
}
