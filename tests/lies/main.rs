//! A peer that lies: an end must come through whatever other holders write into the shared memory, the
//! doorbell or the kernel's pipe.
//!
//! What it may do is listed in [`victim`]: give any bytes, report corruption for good, an end or a
//! time-out. It never panics, crashes, hangs beyond the caller's time-out or allocates by a claim.
//! A round is one lie followed by one honest call, or a few on the same end. `SHMPIPE_SEED` chooses
//! the lies.

#[path = "../support/mod.rs"]
mod support;

mod allocator;
mod crafted;
mod doorbell;
mod kernel;
mod kernel_frames;
mod lie;
mod locks;
mod memory;
mod races;
mod rounds;
mod stage;
mod victim;

#[global_allocator]
static ALLOCATOR: allocator::Watchful = allocator::Watchful;
