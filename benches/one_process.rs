//! What one send and one receive cost, without and with a second process.
//!
//! `one_process` has both ends in one thread, so nobody waits: it shows instructions and cache misses
//! of our own code. `round_trip` echoes through a forked child and times whole round trips. For
//! comparisons between systems on a noisy machine use `shmpipe bench`, which interleaves them.

#![allow(
    missing_docs,
    reason = "criterion's macro makes a public function without them"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use shmpipe::{Backend, Connection, PipeOptions};

const BACKENDS: [Backend; 2] = [Backend::SharedMemory, Backend::Kernel];

fn one_process(c: &mut Criterion) {
    let mut group = c.benchmark_group("one_process");
    for backend in BACKENDS {
        for len in [8, 64, 1024, 16 * 1024] {
            let options = PipeOptions::new().backend(backend);
            let (mut rx, mut tx) = options.pipe().expect("a pipe");
            let message = vec![7; len];
            group.throughput(Throughput::Bytes(len as u64));
            group.bench_with_input(BenchmarkId::new(backend.to_string(), len), &len, |b, _| {
                b.iter(|| {
                    tx.send(black_box(&message)).expect("room for one message");
                    black_box(rx.recv().expect("the message").len())
                });
            });
        }
    }
    group.finish();
}

fn round_trip(c: &mut Criterion) {
    let mut group = c.benchmark_group("round_trip");
    for backend in BACKENDS {
        group.bench_function(backend.to_string(), |b| {
            b.iter_custom(|count| echo(backend, count))
        });
    }
    group.finish();
}

/// Time of `count` round trips of 8 bytes to a child process and back.
fn echo(backend: Backend, count: u64) -> Duration {
    let (mut near, mut far) = PipeOptions::new()
        .backend(backend)
        .duplex()
        .expect("a pipe");
    // SAFETY: criterion runs its benchmarks on the only thread.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Child => {
            drop(near);
            let mut bytes = [0; 8];
            while let Ok(len) = far.recv_into(&mut bytes) {
                if far.send(&bytes[..len]).is_err() {
                    break;
                }
            }
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            drop(far);
            let start = Instant::now();
            for number in 0..count {
                near.send(&number.to_ne_bytes()).expect("the child lives");
                assert_eq!(*near.recv().expect("its answer"), number.to_ne_bytes());
            }
            let elapsed = start.elapsed();
            finish(near, child);
            elapsed
        }
    }
}

/// Ends the child by end-of-file and joins it.
fn finish(near: Connection, child: nix::unistd::Pid) {
    drop(near);
    waitpid(child, None).expect("the child ends at end-of-file");
}

criterion_group!(benches, one_process, round_trip);
criterion_main!(benches);
