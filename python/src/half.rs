//! One direction of a connection: handles to an end of the Rust crate, one for each thread that is inside a call.
//!
//! A handle is lent to the call that blocks, so that other threads can use and close the connection meanwhile.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use shmpipe::{Receiver, Sender};

use crate::blocking::fork_generation;

/// An end of the Rust crate.
pub(crate) trait End: Send + Sized {
    fn another(&self) -> io::Result<Self>;
    fn fds(&self) -> io::Result<Vec<BorrowedFd<'_>>>;
}

impl End for Receiver {
    fn another(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn fds(&self) -> io::Result<Vec<BorrowedFd<'_>>> {
        self.as_fds()
    }
}

impl End for Sender {
    fn another(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn fds(&self) -> io::Result<Vec<BorrowedFd<'_>>> {
        self.as_fds()
    }
}

pub(crate) struct Half<T> {
    /// Asked for what holds for all handles, and never used for a call.
    pub(crate) template: T,
    idle: Vec<Box<T>>,
    /// Handles that threads of this process have.
    lent: usize,
    /// Whether there are handles that threads had when another one forked: in this process nobody gives them back.
    has_lost: bool,
    generation: u64,
}

impl<T: End> Half<T> {
    pub(crate) fn new(template: T) -> Self {
        Self {
            template,
            idle: Vec::new(),
            lent: 0,
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
        }
    }

    /// The handle for a call that gives the GIL up nowhere.
    #[inline]
    pub(crate) fn idle(&mut self) -> io::Result<&mut T> {
        if self.idle.is_empty() {
            self.idle.push(Box::new(self.template.another()?));
        }
        Ok(self.idle.last_mut().expect("one was put there"))
    }

    /// A handle for a call that gives the GIL up.
    pub(crate) fn lend(&mut self) -> io::Result<Box<T>> {
        self.notice_fork();
        let handle = match self.idle.pop() {
            Some(handle) => handle,
            None => Box::new(self.template.another()?),
        };
        self.lent += 1;
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

    /// Closes the end in this process, but for what threads inside calls still have.
    pub(crate) fn close(mut self) {
        self.notice_fork();
        if self.has_lost {
            // A handle that nobody gives back keeps the descriptor open that peers see as this process's hold. The
            // number stays taken, so that the lost handle can do no harm by it.
            let numbers = self.numbers().unwrap_or_default();
            let null = std::fs::File::open("/dev/null");
            if let (Some(&life_line), Ok(null)) = (numbers.get(1), null) {
                // SAFETY: plain descriptors; no handle of this half makes another call in this process.
                unsafe { libc::dup3(null.as_raw_fd(), life_line, libc::O_CLOEXEC) };
            }
        }
    }
}
