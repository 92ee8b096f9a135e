//! A program hands the ends of two pipes to a program that it executes, and that one answers.
//!
//! The worker is this same file, executed with the argument `worker`. `--backend kernel` runs the same over
//! kernel pipes.

use std::error::Error;
use std::process::Command;

use shmpipe::{Connection, Sender};

mod common;

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("worker") {
        return worker();
    }
    let options = common::options()?;
    let (mut requests, theirs) = options.duplex()?;
    let (mut log, log_theirs) = options.pipe()?;

    let mut command = Command::new(std::env::current_exe()?);
    theirs.inherit(command.arg("worker"), "REQUESTS")?;
    log_theirs.inherit(&mut command, "LOG")?;
    let mut worker = command.spawn()?;
    drop(command); // it has our copies of the worker's ends, and would keep the log open

    for request in ["one", "two", "three"] {
        requests.send(request.as_bytes())?;
        let answer = requests.recv()?;
        println!("{request} -> {}", String::from_utf8_lossy(&answer));
    }
    drop(requests); // end-of-file for the worker, which then ends
    for line in log.messages() {
        println!("the worker said: {}", String::from_utf8_lossy(&line?));
    }
    assert!(worker.wait()?.success());
    Ok(())
}

/// What the executed program does: it knows nothing but the two names.
fn worker() -> Result<(), Box<dyn Error>> {
    let mut requests = Connection::from_env("REQUESTS")?;
    let mut log = Sender::from_env("LOG")?;
    while let Ok(request) = requests.recv() {
        let answer = request.to_ascii_uppercase();
        requests.send(&answer)?;
        log.send(format!("{} bytes", answer.len()).as_bytes())?;
    }
    log.send(b"good bye")?;
    Ok(())
}
