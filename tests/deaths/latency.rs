//! A death is noticed in every phase of a wait, about as soon as at a kernel pipe.
//!
//! The figures are printed, and only a bound is asserted that no mistake of the scheduler reaches:
//! whether a survivor looks at all. The bench `detection` takes enough deaths to tell a millisecond.

use shmpipe::Backend;

use crate::detection::{Deaths, cases};
use crate::figures::{differences, head, row};
use crate::support::{long, on_both_backends};

on_both_backends! {
    every_survivor_learns_of_a_death_about_as_soon_as_at_a_kernel_pipe within 120,
}

/// Far above the goal of a millisecond and far below any bound of a sleep that sees no death.
const LOOSE_MICROSECONDS: f64 = 50_000.0;

fn every_survivor_learns_of_a_death_about_as_soon_as_at_a_kernel_pipe(backend: Backend) {
    let rounds = if long() { 300 } else { 12 };
    println!("{backend}\n{}", head());
    for case in cases() {
        let mut deaths = Deaths::new(backend, case);
        let delays: Vec<_> = (0..rounds).map(|_| deaths.one()).collect();
        println!("{}", row(case, &delays));
        let median = differences(&delays).median;
        assert!(median < LOOSE_MICROSECONDS, "{case}: {median} µs later");
    }
}
