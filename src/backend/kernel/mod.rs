//! The kernel-pipe backend: a real pipe(2) with the same messages and the same promises.
//!
//! The pipe carries the bytes and counts the holders. A page of shared memory beside it has the side
//! locks and the little that the next holder must know when one dies inside a record ([`page`]);
//! [`frame`] is the format of the byte stream.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{self, AtomicU64};

use super::shm::{ancillary_pair, check_ancillary, is_same_file};
use nix::sys::epoll::EpollFlags;

use crate::ring::contention::Stuck;
use crate::ring::per_process::PerProcess;
use crate::ring::reassembly::Reassembly;
use crate::segment::geometry::{Flags, Geometry, Side, Sides, Wanted, invalid};
use crate::sync::Ordering;
use crate::sys::closing::Closing;
use crate::sys::epoll::Watch;
use crate::sys::holders::Opposite;
use crate::sys::refused::named;
use crate::sys::thread::Thread;
use crate::sys::{descriptors, pipe, socket};
use crate::wait::poll_group::PollGroup;
use page::Page;
use reading::Payload;

mod ancillary;
mod closing;
mod frame;
pub(crate) mod page;
mod readiness;
mod reading;
mod rx;
#[cfg(feature = "tokio")]
mod steps;
mod tx;

pub(crate) use rx::Rx;
pub(crate) use tx::Tx;

/// Makes both ends of one direction; the capacity is only a wish unless it was `asked` for. `fallback` is why it is
/// not the other backend, where that was tried.
///
/// # Errors
///
/// What the operating system reports; nothing stays open then.
pub(crate) fn pair(
    wanted: Wanted<'_>,
    asked: bool,
    fallback: Option<Arc<io::Error>>,
) -> io::Result<(Rx, Tx)> {
    // A thread that cannot own a robust lock is found out here and not in the first send.
    Thread::current()?;
    let (reader, writer) = pipe::pair()?;
    if pipe::capacity(writer.as_fd())? != wanted.capacity {
        match pipe::set_capacity(writer.as_fd(), wanted.capacity) {
            Err(error) if asked => return Err(refused_capacity(wanted.capacity, error)),
            _ => {}
        }
    }
    // Where that is refused, those who are handed an end cannot find out whose pipe it is.
    let inode = match pipe::identify(writer.as_fd()) {
        Ok(Some((inode, _))) => inode,
        _ => 0,
    };
    let (rx_ancillary, tx_ancillary) = ancillary_pair(wanted.flags)?;
    let side = |ancillary: Option<&OwnedFd>| Side {
        identity: inode,
        inode: 0,
        ancillary: ancillary.map_or(0, |socket| socket::cookie(socket.as_fd())),
    };
    let sides = Sides {
        rx: side(rx_ancillary.as_ref()),
        tx: side(tx_ancillary.as_ref()),
    };
    let page = Arc::new(Page::create(
        sides,
        pipe::capacity(writer.as_fd())?,
        wanted,
    )?);
    Ok((
        Rx::new(End::new(
            Arc::clone(&page),
            reader,
            rx_ancillary,
            wanted.flags,
            fallback.clone(),
            wanted.limit,
            EpollFlags::EPOLLIN,
        )),
        Tx::new(End::new(
            page,
            writer,
            tx_ancillary,
            wanted.flags,
            fallback,
            wanted.limit,
            EpollFlags::EPOLLOUT,
        )),
    ))
}

/// Attaches a receiving end to a page and a pipe that were handed over, `geometry` as it was checked.
///
/// # Errors
///
/// `InvalidData` when `pipe` is not that page's; otherwise what the operating system reports.
pub(crate) fn attach_rx(
    memfd: OwnedFd,
    pipe: OwnedFd,
    ancillary: Option<OwnedFd>,
    geometry: Geometry,
) -> io::Result<Rx> {
    let side = geometry.sides().rx;
    check_pipe(&pipe, (side.identity, false))?;
    check_ancillary(ancillary.as_ref(), side, "reading")?;
    let end = attach(memfd, pipe, ancillary, geometry, EpollFlags::EPOLLIN)?;
    Ok(Rx::new(end))
}

/// As [`attach_rx`] for a sending end.
///
/// # Errors
///
/// The errors of [`attach_rx`].
pub(crate) fn attach_tx(
    memfd: OwnedFd,
    pipe: OwnedFd,
    ancillary: Option<OwnedFd>,
    geometry: Geometry,
) -> io::Result<Tx> {
    let side = geometry.sides().tx;
    check_pipe(&pipe, (side.identity, true))?;
    check_ancillary(ancillary.as_ref(), side, "writing")?;
    let end = attach(memfd, pipe, ancillary, geometry, EpollFlags::EPOLLOUT)?;
    end.page.note_handing_over();
    Ok(Tx::new(end))
}

fn attach(
    memfd: OwnedFd,
    pipe: OwnedFd,
    ancillary: Option<OwnedFd>,
    geometry: Geometry,
    events: EpollFlags,
) -> io::Result<Arc<End>> {
    Thread::current()?;
    // A blocking end would block beyond time-outs; the flag is the open file's, for all its holders.
    pipe::set_nonblocking(pipe.as_fd())?;
    let page = Arc::new(Page::attach(memfd, geometry)?);
    let (flags, max) = (geometry.flags(), geometry.limit());
    Ok(End::new(page, pipe, ancillary, flags, None, max, events))
}

fn check_pipe(pipe: &OwnedFd, expected: (u64, bool)) -> io::Result<()> {
    let (inode, is_writer) = expected;
    // Nothing else is asked of it before it is known to be the kernel's own.
    let is_ours = pipe::has_no_name(pipe.as_fd())?
        && pipe::identify(pipe.as_fd())?
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

fn refused_capacity(capacity: usize, error: io::Error) -> io::Error {
    let limit = std::fs::read_to_string("/proc/sys/fs/pipe-max-size").unwrap_or_default();
    let limit = limit.trim();
    let most = pipe::MAX_CAPACITY;
    named(
        format_args!(
            "a kernel pipe of {capacity} bytes, where /proc/sys/fs/pipe-max-size allows {limit} and the kernel {most}"
        ),
        error,
    )
}

impl Rx {
    /// Why the pipe is not of shared memory, where that was tried first.
    pub(crate) fn fallback(&self) -> Option<&Arc<io::Error>> {
        self.end.fallback.as_ref()
    }
}

impl Tx {
    /// As [`Rx::fallback`].
    pub(crate) fn fallback(&self) -> Option<&Arc<io::Error>> {
        self.end.fallback.as_ref()
    }
}

/// What all handles of this process to one side share.
struct End {
    page: Arc<Page>,
    pipe: OwnedFd,
    /// This side's end of the ancillary socket, where that was asked for.
    ancillary: Option<OwnedFd>,
    flags: Flags,
    /// What this process has of a message that it receives in fragments; nothing for a sending end.
    fragments: PerProcess<Reassembly<Payload>>,
    /// Whom calls that may not wait do not wait for again.
    stuck: Stuck,
    /// Why the pipe is not of shared memory, where that was tried first by this process.
    fallback: Option<Arc<io::Error>>,
    /// Length in bytes over which a message is refused when it is received: our own copy, which no peer can
    /// write. Only ever lowered.
    message_max: AtomicU64,
    /// Whether this process has closed the side.
    closing: Closing,
    /// Once somebody watches the end: what shows as readiness to read that there are bytes, or room.
    watch: Watch,
    /// The threads of this process that wait at this side.
    poll_group: PollGroup,
}

impl End {
    fn new(
        page: Arc<Page>,
        pipe: OwnedFd,
        ancillary: Option<OwnedFd>,
        flags: Flags,
        fallback: Option<Arc<io::Error>>,
        message_max: usize,
        events: EpollFlags,
    ) -> Arc<Self> {
        Arc::new(Self {
            page,
            pipe,
            ancillary,
            flags,
            fragments: PerProcess::new(),
            stuck: Stuck::default(),
            fallback,
            message_max: AtomicU64::new(message_max as u64),
            closing: Closing::new(),
            watch: Watch::for_events(events),
            poll_group: PollGroup::new(),
        })
    }

    /// The descriptors that make this end: the page, the pipe, and the ancillary socket.
    fn fds(&self) -> io::Result<Vec<BorrowedFd<'_>>> {
        self.closing.check()?;
        let ancillary = self.ancillary.as_ref().map(AsFd::as_fd);
        let fds = [self.page.memfd()?.as_fd(), self.pipe()];
        Ok(fds.into_iter().chain(ancillary).collect())
    }

    /// Copies of them for another process.
    fn to_fds(&self) -> io::Result<Vec<OwnedFd>> {
        let fds = self.fds()?.into_iter();
        fds.map(|fd| descriptors::copy(fd.as_raw_fd())).collect()
    }

    /// Length in bytes over which a received message is a breach of the protocol.
    #[inline(always)]
    fn message_max(&self) -> u64 {
        self.message_max.load(atomic::Ordering::Relaxed)
    }

    fn limit_messages(&self, max: usize) {
        self.message_max
            .fetch_min(max as u64, atomic::Ordering::Relaxed);
    }

    /// How the holders of the other side are known.
    fn opposite(&self) -> io::Result<Opposite> {
        self.closing.check()?;
        let found = pipe::identify(self.pipe())?;
        let (inode, is_writer) = found.ok_or_else(|| invalid("no end of a pipe".into()))?;
        let opposite = Opposite::pipe(inode, !is_writer);
        Ok(match self.page.forked_since() {
            Some(made) => opposite.forked_since(made),
            None => opposite,
        })
    }

    fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    fn capacity(&self) -> usize {
        let noted = || self.page.shared().capacity.load(Ordering::Relaxed) as usize;
        pipe::capacity(self.pipe()).unwrap_or_else(|_| noted())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.abandon();
        self.watch.close(self.pipe.as_fd());
    }
}

impl Tx {
    /// The descriptors that make this end.
    pub(crate) fn fds(&self) -> io::Result<Vec<BorrowedFd<'_>>> {
        self.end.fds()
    }

    /// Whether `other` is of the same pipe.
    pub(crate) fn is_of_pipe(&self, other: &Self) -> bool {
        is_same_file(self.end.pipe(), other.end.pipe())
    }
}

impl Rx {
    /// The descriptors that make this end.
    pub(crate) fn fds(&self) -> io::Result<Vec<BorrowedFd<'_>>> {
        self.end.fds()
    }

    /// Whether `other` is of the same pipe.
    pub(crate) fn is_of_pipe(&self, other: &Self) -> bool {
        is_same_file(self.end.pipe(), other.end.pipe())
    }

    /// Refuses messages of more than `max` bytes; never raises the limit.
    pub(crate) fn limit_messages(&self, max: usize) {
        self.end.limit_messages(max);
    }
}
