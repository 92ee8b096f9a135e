//! How much later than at a raw kernel pipe a death is noticed at a pipe of this crate.
//!
//! In each round one victim holds the last end of both, survivors wait at the other ends, the victim
//! is killed, and both delays are taken from the same kill. `cargo bench --bench detection` takes 300
//! deaths of each kind over shared memory; `-- 1000` takes as many, and `-- kernel` those of the kernel
//! backend. The goal is that a survivor of ours is no more than a millisecond later.

#[path = "../tests/deaths/detection.rs"]
mod detection;
#[path = "../tests/deaths/figures.rs"]
#[allow(dead_code, reason = "the test needs more of it")]
mod figures;
#[path = "../tests/support/mod.rs"]
mod support;

use detection::{Deaths, Delays, cases};
use figures::{head, row};
use shmpipe::Backend;

/// Deaths of each kind.
const ROUNDS: usize = 300;

/// The same where the bench is only tried out, as by `cargo test --benches`.
const TRIAL_ROUNDS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let asked = arguments.iter().find_map(|argument| argument.parse().ok());
    let ordinary = if has("--bench") { ROUNDS } else { TRIAL_ROUNDS };
    let rounds = asked.unwrap_or(ordinary);
    let backend = if has("kernel") {
        Backend::Kernel
    } else {
        Backend::SharedMemory
    };
    // One death of each kind in turn, so that what else the machine does falls on all alike.
    let mut kinds: Vec<_> = cases()
        .map(|case| (case, Deaths::new(backend, case), Vec::<Delays>::new()))
        .collect();
    for _ in 0..rounds {
        for (_, deaths, delays) in &mut kinds {
            delays.push(deaths.one());
        }
    }
    println!(
        "{rounds} deaths of each kind, backend {backend}\n{}",
        head()
    );
    for (case, _, delays) in &kinds {
        println!("{}", row(*case, delays));
    }
}
