//! Sleep: a ping-pong between two busy processes over shared memory puts nearly nobody to sleep.
//!
//! The kernel's own count of voluntary switches tells it, without disturbing anybody. A wait without
//! sleep is one without system calls. Nothing is said here about time.

mod support;

use nix::unistd::getpid;
use shmpipe::{Backend, PipeOptions};
use support::{Line, Others, fork_apart, gettid, long, on_no_backend, pin_to, switches, two_cpus};

on_no_backend! {
    a_ping_pong_between_two_busy_processes_puts_nearly_nobody_to_sleep within 120,
}

fn a_ping_pong_between_two_busy_processes_puts_nearly_nobody_to_sleep() {
    let Some(cpus) = two_cpus() else { return };
    let rounds: u64 = if long() { 5_000_000 } else { 500_000 };
    let others = Others::watch();
    let options = PipeOptions::new().backend(Backend::SharedMemory);
    let (left, mut right) = options.duplex().unwrap();
    let slept = Line::new();
    let (echo, mut left) = fork_apart(left, || {
        pin_to(cpus[1]);
        let before = my_sleeps();
        for round in 0..rounds {
            assert_eq!(&*right.recv().unwrap(), round.to_ne_bytes());
            right.send(&round.to_ne_bytes()).unwrap();
        }
        slept.put(my_sleeps() - before);
    });
    pin_to(cpus[0]);
    let before = my_sleeps();
    for round in 0..rounds {
        left.send(&round.to_ne_bytes()).unwrap();
        assert_eq!(&*left.recv().unwrap(), round.to_ne_bytes());
    }
    let sleeps = my_sleeps() - before + slept.take();
    echo.join();
    println!("{sleeps} sleeps for {rounds} round trips");
    // Not zero: where the processor is taken from one side for a while, the other falls asleep. One
    // sleep for each message would be 200 %. Where other programs are about, that happens again and
    // again, and the count means nothing.
    if sleeps >= rounds / 50 && others.were_quiet() {
        panic!("{sleeps} sleeps for {rounds} round trips");
    }
}

/// How often the calling thread has given up its processor to wait.
fn my_sleeps() -> u64 {
    switches(getpid(), gettid()).voluntary
}
