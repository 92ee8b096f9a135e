//! What receiving and sending values costs in memory: allocations are counted, and the largest remembered.

#[path = "../support/mod.rs"]
mod support;

mod closing;
mod counting;
#[cfg(feature = "serde")]
mod serde;
mod typed;

#[global_allocator]
static COUNTING: counting::Counting = counting::Counting;
