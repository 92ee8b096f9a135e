//! The conformance suite: what a pipe must do, each statement on both backends.
//!
//! A test's name is the statement. Each test runs in a process of its own under a watchdog (see
//! `support`); order, counts and least times are asserted, never speed. `SHMPIPE_LONG=1` asks for
//! the long form. What one process alone can hardly provoke (a kill at each store, garbage in the
//! shared memory) is not here.

#[path = "../support/mod.rs"]
mod support;

mod ends;

mod allocated;
mod ancillary;
mod ancillary_in_time;
mod batches;
mod bindings;
mod blocking;
mod broken_pipe;
mod capacity;
mod causes;
mod closing;
mod closing_blocked;
mod closing_forks;
mod closing_numbers;
mod combined;
mod crowds;
mod death;
mod descriptors;
mod dumps;
mod duplex;
mod end_of_file;
mod environment;
mod errors;
mod event_loops;
mod exec;
mod filtered;
mod foreign;
mod forged;
mod fork;
mod fragments;
mod handover;
mod harness;
mod holders;
mod identity;
mod idle;
mod in_place;
mod inherit;
mod inherit_refused;
mod interrupted;
mod interrupted_later;
mod labels;
mod large;
mod limits;
mod namespaces;
mod order;
mod own_limit;
mod pages;
mod placed;
mod poll;
mod readiness;
mod readiness_shared;
mod receivers;
mod reentrance;
mod refused;
mod sandboxed;
mod seccomp;
mod seed;
#[cfg(feature = "serde")]
mod serde;
#[cfg(feature = "serde")]
mod serde_ends;
#[cfg(feature = "serde")]
mod serde_handed;
#[cfg(feature = "serde")]
mod serde_hostile;
mod shared_ends;
mod shared_tries;
mod signals;
mod sizes;
mod spins;
mod stopped;
mod stream;
mod stream_buffered;
mod stream_digest;
mod stream_reads;
mod surroundings;
mod threads;
mod timeouts;
mod travelling;
mod typed;
mod typed_ends;
mod typed_handed;
mod types;
mod vectored;
mod waiting;
