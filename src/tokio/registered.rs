//! A descriptor in tokio's reactor that a forked child can drop without taking it out of its parent's.
//!
//! A child shares the reactor's epoll(7) instance with its parent, and a registration is found by the open file and
//! its number, which are the same for both. So only the process that made a registration takes it back; any other one
//! closes its copy of the descriptor and leaves the rest alone.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use crate::sys::fork::fork_generation;

/// An owned descriptor and its registration with the reactor of the runtime in which it was made.
#[derive(Debug)]
pub(super) struct Registered<F> {
    // Taken back before the descriptor is closed.
    registration: ManuallyDrop<AsyncFd<Number>>,
    fd: F,
    /// The process that made the registration.
    generation: u32,
}

/// The number of a descriptor that something else owns.
#[derive(Debug)]
struct Number(RawFd);

impl AsRawFd for Number {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl<F: AsFd> Registered<F> {
    /// # Errors
    ///
    /// What epoll_ctl(2) reports.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, or in one without I/O enabled.
    pub(super) fn new(fd: F, interest: Interest) -> io::Result<Self> {
        let generation = fork_generation()?;
        let number = Number(fd.as_fd().as_raw_fd());
        // SAFETY: the descriptor stays open and the same until the registration is gone, by the order of the drop.
        let registration = unsafe { AsyncFd::register_with_interest(number, interest) }?;
        Ok(Self {
            registration: ManuallyDrop::new(registration),
            fd,
            generation,
        })
    }

    /// What owns the descriptor.
    pub(super) fn get_ref(&self) -> &F {
        &self.fd
    }
}

impl<F> Registered<F> {
    /// Whether the calling process made the registration.
    fn is_ours(&self) -> bool {
        fork_generation().is_ok_and(|generation| generation == self.generation)
    }

    /// Refuses what a forked child cannot have: its copy of the runtime has its parent's events, and no threads.
    ///
    /// # Errors
    ///
    /// `Unsupported` in such a child.
    pub(super) fn check_process(&self) -> io::Result<()> {
        if self.is_ours() {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this end for tasks belongs to a runtime of the process that forked this one: use what its \
             into_blocking returns",
        ))
    }

    /// Does what [`AsyncFd::poll_read_ready`] does, in the process that made the registration.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Guard<'_>>> {
        self.registration.poll_read_ready(cx).map_ok(Guard)
    }

    /// Does what [`AsyncFd::poll_write_ready`] does, in the process that made the registration.
    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Guard<'_>>> {
        self.registration.poll_write_ready(cx).map_ok(Guard)
    }
}

/// The reactor takes the descriptor for ready until this says otherwise.
pub(super) struct Guard<'a>(AsyncFdReadyGuard<'a, Number>);

impl Guard<'_> {
    /// The descriptor is not ready any more.
    pub(super) fn clear_ready(&mut self) {
        self.0.clear_ready();
    }
}

impl<F: AsFd> AsFd for Registered<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<F> Drop for Registered<F> {
    fn drop(&mut self) {
        if self.is_ours() {
            // SAFETY: nobody uses it after this.
            unsafe { ManuallyDrop::drop(&mut self.registration) };
        }
    }
}
