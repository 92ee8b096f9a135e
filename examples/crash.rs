//! A worker is killed in the middle of its work; the parent sees it, starts another one, and loses nothing
//! but what the dead worker had in its hands.
//!
//! `--backend kernel` runs the same over kernel pipes.

use std::error::Error;
use std::process::exit;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, getpid};
use shmpipe::{Connection, PipeOptions, RecvError};

mod common;

const JOBS: u32 = 6;
/// The job that the first worker does not survive.
const FATAL: u32 = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let options = common::options()?;
    let (mut worker, mut jobs) = start(&options, true)?;
    for number in 0..JOBS {
        let answer = loop {
            jobs.send(&number.to_ne_bytes())?;
            match jobs.recv() {
                Ok(answer) => break answer.into_vec(),
                // Every sender is gone: the worker has died. Nothing hangs, and nothing of an answer was torn.
                Err(RecvError::Disconnected | RecvError::Aborted) => {
                    println!(
                        "worker {worker} died over job {number}: {:?}",
                        waitpid(worker, None)?
                    );
                }
                Err(error) => return Err(error.into()),
            }
            (worker, jobs) = start(&options, false)?;
        };
        println!("job {number}: {}", String::from_utf8_lossy(&answer));
    }
    drop(jobs); // end-of-file for the worker, which then ends
    waitpid(worker, None)?;
    Ok(())
}

/// A worker, and our end of the pipe to it.
fn start(options: &PipeOptions, is_doomed: bool) -> Result<(Pid, Connection), Box<dyn Error>> {
    let (ours, mut theirs) = options.duplex()?;
    // SAFETY: the program has one thread, so the child may do all that the parent may.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok((child, ours)),
        ForkResult::Child => {
            drop(ours);
            work(&mut theirs, is_doomed);
            exit(0);
        }
    }
}

fn work(end: &mut Connection, is_doomed: bool) {
    while let Ok(job) = end.recv() {
        let number = u32::from_ne_bytes(job[..].try_into().expect("four bytes"));
        if is_doomed && number == FATAL {
            let _ = kill(getpid(), Signal::SIGKILL); // as a bug or the OOM killer would
        }
        let answer = format!("{} by {}", number * number, getpid());
        if end.send(answer.as_bytes()).is_err() {
            return;
        }
    }
}
