//! A pool of worker processes: they share one pipe of jobs, of which each goes to exactly one of them, and one
//! pipe of results. Together they look for the number below a million with the longest Collatz sequence.
//!
//! `--backend kernel` runs the same over kernel pipes.

use std::process::ExitCode;

use shmpipe::PipeOptions;

mod common;

const WORKERS: u64 = 4;
const JOBS: u64 = 1000;
/// Numbers of a job, which take a fraction of a millisecond.
const NUMBERS: u64 = 1000;

fn main() -> ExitCode {
    common::run(worker_pool)
}

fn worker_pool(options: PipeOptions) -> common::Outcome {
    let (jobs, tx) = options.typed_pipe::<u64>()?;
    let (mut results, done) = options.typed_pipe::<[u64; 3]>()?;
    // In options, so that each worker can drop what only this process uses.
    let (mut jobs, mut tx, mut done) = (Some(jobs), Some(tx), Some(done));

    let mut workers = Vec::new();
    for worker in 0..WORKERS {
        workers.push(common::in_child(|| {
            drop(tx.take()); // or the jobs would not end while a worker waits for them
            let (jobs, done) = (jobs.as_mut().unwrap(), done.as_mut().unwrap());
            for job in jobs.messages() {
                let [steps, number] = longest(job?);
                done.send(&[worker, steps, number])?;
            }
            Ok(())
        })?);
    }
    // Only the workers' copies are left: jobs sent after the last worker's death are a broken pipe, and the
    // results end with the last worker.
    drop((jobs.take(), done.take()));

    let mut tx = tx.take().expect("only the workers take it");
    let sender = common::in_child(move || {
        for job in 0..JOBS {
            tx.send(&job)?;
        }
        Ok(())
    })?;

    let mut best = [0, 0];
    let mut shares = [0; WORKERS as usize];
    for result in results.messages() {
        let [worker, steps, number] = result?;
        best = best.max([steps, number]);
        shares[worker as usize] += 1;
    }
    let [steps, number] = best;
    println!("{number} takes {steps} steps, jobs of each worker {shares:?}");
    assert_eq!((number, steps), (837_799, 524));
    workers.into_iter().try_for_each(common::join)?;
    common::join(sender)
}

/// The work of one job: of its numbers the one that takes the most steps down to 1, with the steps first.
fn longest(job: u64) -> [u64; 2] {
    let numbers = (job * NUMBERS).max(1)..(job + 1) * NUMBERS;
    let all = numbers.map(|number| [steps(number), number]);
    all.max().expect("a job has numbers")
}

/// How often a number is halved, or tripled and one added where it is odd, until it is 1.
fn steps(mut number: u64) -> u64 {
    let mut steps = 0;
    while number != 1 {
        number = if number % 2 == 0 {
            number / 2
        } else {
            3 * number + 1
        };
        steps += 1;
    }
    steps
}
