//! Five child processes share one end of a two-way pipe; each says hello after a second.
//!
//! `--backend kernel` runs the same over kernel pipes.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use nix::unistd::{Pid, getpid};
use shmpipe::{Connection, PipeOptions};

mod common;

fn main() -> ExitCode {
    common::run(five_children)
}

fn five_children(options: PipeOptions) -> common::Outcome {
    let (mut near, mut far) = options.duplex()?;
    println!("parent {}", getpid());

    let mut children: Vec<Pid> = Vec::new();
    for number in 0..5 {
        children.push(common::in_child(|| greet(&mut far, number))?);
    }

    for _ in 0..5 {
        println!("received {}", String::from_utf8_lossy(&near.recv()?));
    }
    for child in children {
        common::join(child)?;
        println!("joined {child}");
    }
    Ok(())
}

/// What each child does with the shared end.
fn greet(end: &mut Connection, number: u32) -> common::Outcome {
    println!("child {} of parent {}", getpid(), Pid::parent());
    sleep(Duration::from_secs(1));
    Ok(end.send(format!("hello{number}").as_bytes())?)
}
