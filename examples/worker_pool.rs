//! A pool of worker processes: they share one pipe of jobs, of which each goes to exactly one of them, and one
//! pipe of results.
//!
//! `--backend kernel` runs the same over kernel pipes.

use std::process::ExitCode;

use shmpipe::PipeOptions;

mod common;

const WORKERS: u64 = 4;
const JOBS: u64 = 1000;

fn main() -> ExitCode {
    common::run(worker_pool)
}

fn worker_pool(options: PipeOptions) -> common::Outcome {
    let (jobs, tx) = options.typed_pipe::<u64>()?;
    let (mut results, done) = options.typed_pipe::<[u64; 2]>()?;
    // In options, so that each worker can drop what only this process uses.
    let (mut jobs, mut tx, mut done) = (Some(jobs), Some(tx), Some(done));

    let mut workers = Vec::new();
    for worker in 0..WORKERS {
        workers.push(common::in_child(|| {
            drop(tx.take()); // or the jobs would not end while a worker waits for them
            let (jobs, done) = (jobs.as_mut().unwrap(), done.as_mut().unwrap());
            for job in jobs.messages() {
                done.send(&[worker, job * job])?;
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

    let mut sum = 0;
    let mut shares = [0; WORKERS as usize];
    for [worker, square] in results.messages() {
        sum += square;
        shares[worker as usize] += 1;
    }
    println!("sum {sum}, jobs of each worker {shares:?}");
    assert_eq!(sum, (0..JOBS).map(|job| job * job).sum());
    workers.into_iter().try_for_each(common::join)?;
    common::join(sender)
}
