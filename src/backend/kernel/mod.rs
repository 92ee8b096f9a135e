//! The kernel-pipe backend: a real pipe(2) with the same messages and the same promises.
//!
//! The pipe carries the bytes and counts the holders. A page of shared memory beside it has the side
//! locks and the little that the next holder must know when one dies inside a record ([`page`]);
//! [`frame`] is the format of the byte stream.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::segment::geometry::{Geometry, invalid};
use crate::sys::pipe;
use crate::sys::thread::Thread;
use page::Page;

mod frame;
pub(crate) mod page;
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
pub(crate) fn pair(
    capacity: usize,
    asked: bool,
    limit: usize,
    label: Option<&str>,
) -> io::Result<(Rx, Tx)> {
    // A thread that cannot own a robust lock is found out here and not in the first send.
    Thread::current()?;
    let (reader, writer) = pipe::pair()?;
    if pipe::capacity(writer.as_fd())? != capacity {
        match pipe::set_capacity(writer.as_fd(), capacity) {
            Err(error) if asked => return Err(refused_capacity(capacity, &error)),
            _ => {}
        }
    }
    // Where that is refused, those who are handed an end cannot tell whose pipe it is.
    let inode = match pipe::identify(writer.as_fd()) {
        Ok(Some((inode, _))) => inode,
        _ => 0,
    };
    let capacity = pipe::capacity(writer.as_fd())?;
    let page = Arc::new(Page::create(inode, capacity, limit, label)?);
    Ok((
        Rx::new(End::new(Arc::clone(&page), reader)),
        Tx::new(End::new(page, writer)),
    ))
}

/// Attaches a receiving end to a page and a pipe that were handed over, `geometry` as it was checked.
///
/// # Errors
///
/// `InvalidData` when `pipe` is not that page's; otherwise what the operating system reports.
pub(crate) fn attach_rx(memfd: OwnedFd, pipe: OwnedFd, geometry: Geometry) -> io::Result<Rx> {
    check_pipe(&pipe, (geometry.sides().rx, false))?;
    Ok(Rx::new(attach(memfd, pipe)?))
}

/// As [`attach_rx`] for a sending end.
///
/// # Errors
///
/// As there.
pub(crate) fn attach_tx(memfd: OwnedFd, pipe: OwnedFd, geometry: Geometry) -> io::Result<Tx> {
    check_pipe(&pipe, (geometry.sides().tx, true))?;
    Ok(Tx::new(attach(memfd, pipe)?))
}

fn attach(memfd: OwnedFd, pipe: OwnedFd) -> io::Result<Arc<End>> {
    Thread::current()?;
    // A blocking end would block beyond time-outs; the flag is the open file's, for all its holders.
    pipe::set_nonblocking(pipe.as_fd())?;
    Ok(End::new(Arc::new(Page::attach(memfd)?), pipe))
}

fn check_pipe(pipe: &OwnedFd, expected: (u64, bool)) -> io::Result<()> {
    let (inode, is_writer) = expected;
    let is_ours = pipe::identify(pipe.as_fd())?
        .is_some_and(|found| found.1 == is_writer && (inode == 0 || found.0 == inode));
    if !is_ours {
        let side = if is_writer { "writing" } else { "reading" };
        let fd = pipe.as_raw_fd();
        return Err(invalid(format!(
            "descriptor {fd} is not the {side} end of this pipe: an end of the other side, or of another pipe?"
        )));
    }
    Ok(())
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

    /// Copies of the descriptors for another process: the page and the pipe.
    fn to_fds(&self) -> io::Result<Vec<OwnedFd>> {
        Ok(vec![
            self.page.memfd()?.try_clone()?,
            self.pipe.try_clone()?,
        ])
    }

    fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    fn capacity(&self) -> usize {
        pipe::capacity(self.pipe()).unwrap_or(0)
    }
}
