//! Raw calls to the operating system, one small file each.
//!
//! Nothing here knows what a ring or a pipe end is; everything above goes through these wrappers. For the model
//! checker, files in `loom/` stand in for what sleeps, wakes, or tells threads apart.

mod alarm;
pub(crate) mod cgroup;
pub(crate) mod clock;
pub(crate) mod closing;
#[cfg_attr(loom, path = "loom/cpus.rs")]
pub(crate) mod cpus;
pub(crate) mod descriptors;
pub(crate) mod epoll;
pub(crate) mod fork;
#[cfg_attr(loom, path = "loom/futex.rs")]
pub(crate) mod futex;
pub(crate) mod holders;
pub(crate) mod inherited;
pub(crate) mod interrupt;
#[cfg(loom)]
#[path = "loom/kernel.rs"]
pub(crate) mod kernel;
pub(crate) mod memory;
pub(crate) mod pages;
pub(crate) mod pipe;
pub(crate) mod process;
pub(crate) mod refused;
pub(crate) mod scm_rights;
#[cfg(not(loom))]
pub(crate) mod select;
#[cfg_attr(loom, path = "loom/socket.rs")]
pub(crate) mod socket;
#[cfg_attr(loom, path = "loom/thread.rs")]
pub(crate) mod thread;

/// Finds out once what a process and its calling thread ask of the system at their first calls.
///
/// # Errors
///
/// As [`thread::Thread::current`] and [`process::Process::current`].
pub(crate) fn warm_up() -> std::io::Result<()> {
    thread::Thread::current()?;
    process::Process::current()?;
    cpus::warm_up();
    Ok(())
}
