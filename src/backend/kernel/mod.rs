//! The kernel-pipe backend: a real pipe(2) with the same messages and the same promises.
//!
//! The pipe carries the bytes and counts the holders. A page of shared memory beside it has the side
//! locks and the little that the next holder must know when one dies inside a record ([`page`]);
//! [`frame`] is the format of the byte stream.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::sys::pipe;
use crate::sys::thread::Thread;
use page::Page;

mod frame;
mod page;
mod reading;
mod rx;
mod tx;

pub(crate) use rx::Rx;
pub(crate) use tx::Tx;

/// Makes both ends of one direction; the capacity is only a wish unless it was `asked` for.
///
/// # Errors
///
/// What the operating system reports; nothing stays open then.
pub(crate) fn pair(capacity: usize, asked: bool) -> io::Result<(Rx, Tx)> {
    // A thread that cannot own a robust lock is found out here and not in the first send.
    Thread::current()?;
    let (reader, writer) = pipe::pair()?;
    if pipe::capacity(writer.as_fd())? != capacity {
        match pipe::set_capacity(writer.as_fd(), capacity) {
            Err(error) if asked => return Err(refused_capacity(capacity, &error)),
            _ => {}
        }
    }
    let page = Arc::new(Page::create()?);
    Ok((
        Rx::new(End::new(Arc::clone(&page), reader)),
        Tx::new(End::new(page, writer)),
    ))
}

fn refused_capacity(capacity: usize, error: &io::Error) -> io::Error {
    let limit = std::fs::read_to_string("/proc/sys/fs/pipe-max-size").unwrap_or_default();
    let text = format!(
        "a kernel pipe of {capacity} bytes: {error} (/proc/sys/fs/pipe-max-size is {})",
        limit.trim()
    );
    io::Error::new(error.kind(), text)
}

/// What all handles of this process to one side share.
struct End {
    page: Arc<Page>,
    pipe: OwnedFd,
}

impl End {
    fn new(page: Arc<Page>, pipe: OwnedFd) -> Arc<Self> {
        Arc::new(Self { page, pipe })
    }

    fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    fn capacity(&self) -> usize {
        pipe::capacity(self.pipe()).unwrap_or(0)
    }
}
