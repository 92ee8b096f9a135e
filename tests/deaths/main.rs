//! Death: who dies at whatever moment, the others neither hang nor receive garbage, and nothing is
//! left behind.
//!
//! The rows of the fault table that are about death, signals, fork and flat descriptors, as far as
//! they need many deaths or a clock; single deaths in known states are in `conformance`. Each test
//! runs in a process of its own under a watchdog (see `support`).
//!
//! `SHMPIPE_LONG=1` asks for the long form. The storm also takes its number of kills from
//! `SHMPIPE_STORM_KILLS` and the seed of its random choices from `SHMPIPE_STORM_SEED`. What the tests
//! measure, and the storm's ledger, show with `-- --show-output`.

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "the small steps of both test binaries")]
#[path = "../conformance/ends.rs"]
mod ends;

mod detection;
mod figures;
mod flat;
mod handed;
mod last_receiver;
mod last_sender;
mod latency;
mod storm;
mod survivors;
mod wakers;
