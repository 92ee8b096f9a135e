//! The ring: records in shared memory, published one by one.
//!
//! Nothing here waits for the other side or wakes it; see `wait` for that.
//!
//! - [`record`] is the format and the arithmetic, [`run`] many records at a time.
//! - [`writer`] and [`reader`] publish and take records; [`claim`] prepares lines for a writer.
//! - [`storage`] is the only code that touches payload memory, with [`copy`] and [`place`]; [`payload`]
//!   is where the bytes come from and go to.
//! - [`lock`] serialises each side, and [`contention`] is for calls that may not wait for it.
//! - [`reassembly`] is a message in fragments, [`reservation`] a side that one end has to itself. Both have their state in a
//!   [`state_word`] and their process in an [`owner`] record; [`per_process`] is what a process keeps for all its handles.
//! - [`counters`] is what is counted for observers.

pub(crate) mod claim;
pub(crate) mod contention;
#[cfg(not(loom))]
pub(crate) mod copy;
pub(crate) mod counters;
pub(crate) mod lock;
pub(crate) mod owner;
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
