//! One process sends a running number each second; two others receive from the same end, and each
//! number reaches exactly one of them.
//!
//! `--backend kernel` runs the same over kernel pipes. Ends after five numbers.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use nix::unistd::getpid;
use shmpipe::{PipeOptions, Receiver};

mod common;

fn main() -> ExitCode {
    common::run(ticker)
}

fn ticker(options: PipeOptions) -> common::Outcome {
    let (mut rx, tx) = options.pipe()?;
    // Taken out in the children, or each would wait for its own messages at the end.
    let mut tx = Some(tx);

    let mut children = Vec::new();
    for name in ["first", "second"] {
        children.push(common::in_child(|| {
            drop(tx.take());
            print_all(name, &mut rx)
        })?);
    }
    drop(rx);

    println!("sender {}", getpid());
    for number in 0..5 {
        let tx = tx.as_mut().expect("only the children take it");
        tx.send(format!("{number}").as_bytes())?;
        sleep(Duration::from_secs(1));
    }
    drop(tx); // end-of-file for both receivers
    for child in children {
        common::join(child)?;
    }
    Ok(())
}

/// Prints each number that reaches this process until end-of-file.
fn print_all(name: &str, rx: &mut Receiver) -> common::Outcome {
    loop {
        match rx.recv() {
            Ok(number) => {
                let number = String::from_utf8_lossy(&number);
                println!("{name} receiver {}: {number}", getpid());
            }
            Err(shmpipe::RecvError::Disconnected) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
