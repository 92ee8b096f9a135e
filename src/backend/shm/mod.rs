//! The shared-memory backend: one segment and one life-line for each direction.
//!
//! [`tx`] and [`rx`] put the layers below together: the side lock, the ring, the events.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::ring::record::Rules;
use crate::ring::storage::Storage;
use crate::segment::Segment;
use crate::segment::layout::Event;
use crate::sys::{futex, socket, thread::Thread};

#[cfg(all(test, loom))]
mod loom_pipe;
mod parts;
mod rx;
mod tx;
mod view;

pub(crate) use rx::Rx;
pub(crate) use tx::Tx;

/// Makes both ends of one direction. Within this process they share one mapping and one memfd.
///
/// # Errors
///
/// What the operating system reports; nothing stays open then.
pub(crate) fn pair(capacity: usize) -> io::Result<(Rx, Tx)> {
    futex::is_available()?;
    // A thread that cannot own a robust lock is found out here and not in the first send.
    Thread::current()?;
    let (receiving, sending) = socket::pair()?;
    let segment = Arc::new(Segment::create(capacity)?);
    let rx = Rx::new(End::new(Arc::clone(&segment), receiving, |segment| {
        &segment.control().room
    }));
    let tx = Tx::new(End::new(segment, sending, |segment| {
        &segment.control().data
    }));
    Ok((rx, tx))
}

/// Whether `error` says that this system refuses what the backend is built on, so that the default
/// falls back to kernel pipes: seccomp(2) or a kernel without the call, not a want of resources.
pub(crate) fn is_refused(error: &io::Error) -> bool {
    let refusals = [libc::EPERM, libc::EACCES, libc::ENOSYS, libc::EOPNOTSUPP];
    error
        .raw_os_error()
        .is_some_and(|errno| refusals.contains(&errno))
        || error.kind() == io::ErrorKind::Unsupported
}

/// What all handles of this process to one side share.
struct End {
    segment: Arc<Segment>,
    storage: Storage,
    rules: Rules,
    /// This side's end of the life-line; `None` only while dropping.
    socket: Option<OwnedFd>,
    /// The event on which the other side sleeps.
    others: fn(&Segment) -> &Event,
}

impl End {
    fn new(segment: Arc<Segment>, socket: OwnedFd, others: fn(&Segment) -> &Event) -> Arc<Self> {
        let rules = Rules::new(segment.capacity());
        // SAFETY: the data is aligned to a page and mapped twice for as long as the segment lives,
        // which this end shares; its capacity is a power of two.
        let storage = unsafe { Storage::new(segment.data(), segment.capacity()) };
        Arc::new(Self {
            segment,
            storage,
            rules,
            socket: Some(socket),
            others,
        })
    }

    #[inline]
    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("taken by drop only").as_fd()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // Closed before it is announced: who hears of it must find the hang-up.
        drop(self.socket.take());
        (self.others)(&self.segment).announce_close();
    }
}
