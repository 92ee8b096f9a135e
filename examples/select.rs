//! One process that waits for many at once: four workers, a pipe from each, and no thread per pipe.
//!
//! `cargo run --example select [-- --backend shm|kernel]`

use std::time::Duration;

use shmpipe::{Receiver, RecvError, Waitable, wait};

mod common;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = common::options()?;
    let mut workers: Vec<(u32, Receiver)> = Vec::new();
    for number in 0..4 {
        let (rx, mut tx) = options.pipe()?;
        // SAFETY: the program has one thread, so the child may do all that the parent may.
        if let nix::unistd::ForkResult::Child = unsafe { nix::unistd::fork() }? {
            drop(rx);
            for step in 0..=number {
                std::thread::sleep(Duration::from_millis(10 * u64::from(4 - number)));
                tx.send(format!("step {step}").as_bytes())?;
            }
            return Ok(());
        }
        workers.push((number, rx));
    }
    // Each round serves all that are ready, so none can starve another.
    while !workers.is_empty() {
        let mut ends: Vec<&mut dyn Waitable> = Vec::new();
        for (_, rx) in &mut workers {
            ends.push(rx);
        }
        let ready = wait(&mut ends, Some(Duration::from_secs(10)))?;
        assert!(!ready.is_empty(), "nothing for ten seconds");
        // From the last on, so that removing one moves none that is still to come.
        for index in ready.into_iter().rev() {
            let (number, rx) = &mut workers[index];
            match rx.recv() {
                Ok(message) => println!("worker {number}: {}", String::from_utf8_lossy(&message)),
                Err(RecvError::Disconnected) => {
                    println!("worker {number} has ended");
                    workers.remove(index);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
