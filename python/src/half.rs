//! One direction of a connection: handles to an end of the Rust crate, one for each thread that is inside a call.
//!
//! A handle is lent to the call that blocks, so that other threads can use and close the connection meanwhile.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::Python;
use shmpipe::{Receiver, Sender, Spin};

use crate::blocking::fork_generation;
use crate::threads;

/// That the calling thread is inside a receive.
pub(crate) struct Receiving(Arc<AtomicU32>);

impl Receiving {
    pub(crate) fn begin(half: &mut Half<Receiver>) -> Self {
        let count = half.receiving();
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An end of the Rust crate.
pub(crate) trait End: Send + Sized {
    fn set_spin(&mut self, spin: Spin);
    fn another(&self) -> io::Result<Self>;
    fn fds(&self) -> io::Result<Vec<BorrowedFd<'_>>>;
    /// Closes the end in this process, whatever handles there are.
    fn close_all(&self) -> io::Result<()>;
}

impl End for Receiver {
    fn set_spin(&mut self, spin: Spin) {
        self.set_spin(spin);
    }

    fn another(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn fds(&self) -> io::Result<Vec<BorrowedFd<'_>>> {
        self.as_fds()
    }

    fn close_all(&self) -> io::Result<()> {
        self.close()
    }
}

impl End for Sender {
    fn set_spin(&mut self, spin: Spin) {
        self.set_spin(spin);
    }

    fn another(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn fds(&self) -> io::Result<Vec<BorrowedFd<'_>>> {
        self.as_fds()
    }

    fn close_all(&self) -> io::Result<()> {
        self.close()
    }
}

/// What has gone through one direction of a connection.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Calls that went without the GIL, which those do that may have to wait.
    pub(crate) slow_calls: u64,
}

impl Counts {
    #[inline]
    pub(crate) fn add(&mut self, messages: u64, bytes: usize) {
        self.messages += messages;
        self.bytes += bytes as u64;
    }
}

pub(crate) struct Half<T> {
    /// Asked for what holds for all handles, and never used for a call.
    pub(crate) template: T,
    pub(crate) counts: Counts,
    idle: Vec<Box<T>>,
    /// Handles that threads of this process have.
    lent: usize,
    /// Threads of this process that wait for a message in a receive.
    receiving: Arc<AtomicU32>,
    /// Whether there are handles that threads had when another one forked: in this process nobody gives them back.
    has_lost: bool,
    generation: u64,
}

impl<T: End> Half<T> {
    pub(crate) fn new(template: T) -> Self {
        Self {
            template,
            counts: Counts::default(),
            idle: Vec::new(),
            lent: 0,
            receiving: Arc::default(),
            has_lost: false,
            generation: fork_generation(),
        }
    }

    fn notice_fork(&mut self) {
        let generation = fork_generation();
        if self.generation != generation {
            self.generation = generation;
            self.has_lost |= self.lent > 0;
            self.lent = 0;
            self.receiving = Arc::default();
        }
    }

    /// How many threads of this process are inside a receive. It goes on telling when the connection is closed.
    pub(crate) fn receiving(&mut self) -> Arc<AtomicU32> {
        self.notice_fork();
        Arc::clone(&self.receiving)
    }

    /// The handle for a call that gives the GIL up nowhere.
    #[inline]
    pub(crate) fn idle(&mut self) -> io::Result<&mut T> {
        threads::note_use();
        if self.idle.is_empty() {
            self.idle.push(Box::new(self.template.another()?));
        }
        Ok(self.idle.last_mut().expect("one was put there"))
    }

    /// A handle for a call that gives the GIL up.
    pub(crate) fn lend(&mut self) -> io::Result<Box<T>> {
        self.notice_fork();
        let mut handle = match self.idle.pop() {
            Some(handle) => handle,
            None => Box::new(self.template.another()?),
        };
        handle.set_spin(if threads::others_use_pipes() {
            Spin::Never
        } else {
            Spin::Adaptive
        });
        self.lent += 1;
        self.counts.slow_calls += 1;
        Ok(handle)
    }

    pub(crate) fn give_back(&mut self, handle: Box<T>) {
        self.notice_fork();
        self.lent = self.lent.saturating_sub(1);
        self.idle.push(handle);
    }

    /// The numbers of the descriptors that make up this end.
    pub(crate) fn numbers(&self) -> io::Result<Vec<RawFd>> {
        Ok(self
            .template
            .fds()?
            .iter()
            .map(AsRawFd::as_raw_fd)
            .collect())
    }

    /// Closes the end in this process, but for what threads inside calls still have. Gives the GIL up where it waits: a
    /// thread inside a long message may be asking for it.
    ///
    /// # Errors
    ///
    /// In a forked child, where the descriptors that it takes are wanting.
    pub(crate) fn close(mut self, py: Python<'_>) -> io::Result<()>
    where
        T: Sync,
    {
        self.notice_fork();
        if self.has_lost {
            // A handle that nobody gives back holds the end.
            let template = &self.template;
            py.detach(|| template.close_all())?;
        }
        Ok(())
    }
}
