//! The ends for tokio: whole messages through tasks, alone, by the thousand, and with other processes.

#[path = "../support/mod.rs"]
mod support;

mod cancelling;
mod closing;
mod deaths;
mod forks;
mod long;
mod messages;
mod sharing;
mod streams;
mod surroundings;

use std::time::Duration;

use shmpipe::tokio::{Receiver, Sender};
use shmpipe::{Backend, PipeOptions};

const CAPACITY: usize = 64 * 1024;
const LARGE: usize = 3 * CAPACITY;
const MOMENT: Duration = Duration::from_millis(2);

fn open(backend: Backend) -> (shmpipe::Receiver, shmpipe::Sender) {
    let options = PipeOptions::new().backend(backend).capacity(CAPACITY);
    options.pipe().unwrap()
}

/// Ends for tasks; inside a runtime.
fn open_async(backend: Backend) -> (Receiver, Sender) {
    let (rx, tx) = open(backend);
    (rx.try_into().unwrap(), tx.try_into().unwrap())
}

/// Runs `work` on a runtime of one thread.
fn run<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(work)
}
