//! A Rust program that hands the ends of two pipes to a C program, which is `examples/exec_child.c`.
//!
//!     rust_parent PROGRAM

use std::error::Error;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    let program = std::env::args_os().nth(1).ok_or("which program?")?;
    let (mut requests, theirs) = shmpipe::duplex()?;
    let (mut log, log_theirs) = shmpipe::pipe()?;

    let mut command = Command::new(program);
    theirs.inherit(command.arg("worker"), "REQUESTS")?;
    log_theirs.inherit(&mut command, "LOG")?;
    let mut worker = command.spawn()?;
    drop(command); // it has our copies of the worker's ends

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
