//! Five child processes share one end of a two-way pipe; each says hello after a second.
//!
//! `--backend kernel` runs the same over kernel pipes.

use std::process::exit;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid};
use shmpipe::Connection;

mod common;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut near, mut far) = common::options()?.duplex()?;
    println!("parent {}", getpid());

    let mut children: Vec<Pid> = Vec::new();
    for number in 0..5 {
        // SAFETY: the program has one thread, so the child may do all that the parent may.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => children.push(child),
            ForkResult::Child => exit(greet(&mut far, number)),
        }
    }

    for _ in 0..5 {
        println!("received {}", String::from_utf8_lossy(&near.recv()?));
    }
    for child in children {
        let status = waitpid(child, None)?;
        assert_eq!(status, WaitStatus::Exited(child, 0));
        println!("joined {child}");
    }
    Ok(())
}

/// What each child does with the shared end; returns its exit code.
fn greet(end: &mut Connection, number: u32) -> i32 {
    println!("child {} of parent {}", getpid(), Pid::parent());
    sleep(Duration::from_secs(1));
    match end.send(format!("hello{number}").as_bytes()) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("child {number}: {error}");
            1
        }
    }
}
