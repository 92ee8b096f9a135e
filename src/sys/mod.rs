//! Raw calls to the operating system, one small file each.
//!
//! Nothing here knows what a ring or a pipe end is; everything above goes through these wrappers.

pub(crate) mod clock;
pub(crate) mod cpus;
pub(crate) mod futex;
pub(crate) mod memory;
pub(crate) mod pipe;
pub(crate) mod process;
pub(crate) mod refused;
pub(crate) mod socket;
pub(crate) mod thread;
