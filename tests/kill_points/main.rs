//! Kills a process at every point of a call at which shared memory or the kernel has just changed.
//!
//! A kill point lies behind each shared store and each system call of the crate when it is built with
//! `--cfg shmpipe_kill_points` (`src/sync/killable.rs`); without that this file is empty. A scenario is
//! run again and again; in the n-th run the victim dies at its n-th point, until it survives. Others
//! then go on, and what they see must keep the invariants: whole messages only, none of those lost
//! whose send returned, none twice, each in order, whoever sleeps is woken, and end-of-file or a broken
//! pipe at the end.
//!
//! `RUSTFLAGS="--cfg shmpipe_kill_points" cargo test --features tokio --test kill_points --target-dir target/kill-points`

#![cfg(shmpipe_kill_points)]

#[path = "../support/mod.rs"]
mod support;

mod ancillary;
mod receivers;
mod senders;
#[cfg(feature = "tokio")]
mod tasks;
mod walk;
mod watched;
