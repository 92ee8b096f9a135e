//! One process sends a running number each second; two others receive from the same end, and each
//! number reaches exactly one of them.
//!
//! `--backend kernel` runs the same over kernel pipes. Ends after five numbers.

use std::process::exit;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, getpid};
use shmpipe::Receiver;

mod common;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut rx, mut tx) = common::options()?.pipe()?;

    let mut children = Vec::new();
    for name in ["first", "second"] {
        // SAFETY: the program has one thread, so the child may do all that the parent may.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => children.push(child),
            ForkResult::Child => {
                drop(tx); // or this child would wait for its own messages at the end
                exit(print_all(name, &mut rx));
            }
        }
    }
    drop(rx);

    println!("sender {}", getpid());
    for number in 0..5 {
        tx.send(format!("{number}").as_bytes())?;
        sleep(Duration::from_secs(1));
    }
    drop(tx); // end-of-file for both receivers
    for child in children {
        waitpid(child, None)?;
    }
    Ok(())
}

/// Prints each number that reaches this process until end-of-file; returns the exit code.
fn print_all(name: &str, rx: &mut Receiver) -> i32 {
    let mut messages = rx.messages();
    for number in &mut messages {
        println!(
            "{name} receiver {}: {}",
            getpid(),
            String::from_utf8_lossy(&number)
        );
    }
    match messages.error() {
        None => 0,
        Some(error) => {
            eprintln!("{name} receiver: {error}");
            1
        }
    }
}
