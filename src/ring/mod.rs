//! The ring: records in shared memory, published one by one.
//!
//! Nothing here waits or wakes; see `wait` for that. [`record`] is the format and the arithmetic,
//! [`storage`] the only code that touches payload memory, [`lock`] what serialises each
//! side, [`reassembly`] which process has the first fragments of a message, and [`counters`] what is counted for observers.

pub(crate) mod claim;
pub(crate) mod contention;
#[cfg(not(loom))]
pub(crate) mod copy;
pub(crate) mod counters;
pub(crate) mod destination;
pub(crate) mod lock;
pub(crate) mod owner;
pub(crate) mod pack;
pub(crate) mod payload;
pub(crate) mod per_process;
pub(crate) mod place;
pub(crate) mod reader;
pub(crate) mod reassembly;
pub(crate) mod record;
pub(crate) mod reservation;
pub(crate) mod run;
pub(crate) mod state_word;
#[cfg_attr(loom, path = "storage_loom.rs")]
pub(crate) mod storage;
pub(crate) mod writer;

#[cfg(all(test, loom))]
mod loom_lock;
#[cfg(all(test, loom))]
mod loom_ring;
