//! The shared-memory backend: one segment and one life-line for each direction.
//!
//! [`tx`] and [`rx`] put the layers below together: the side lock, the ring, the events.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{self, AtomicU64};
use std::time::Duration;

use nix::sys::epoll::EpollFlags;

use crate::ring::contention::Stuck;
use crate::ring::per_process::PerProcess;
use crate::ring::reassembly::Reassembly;
use crate::ring::record::Rules;
use crate::ring::storage::Storage;
use crate::ring::writer::Writer;
use crate::segment::Segment;
use crate::segment::geometry::{Flags, Geometry, Side, Sides, Wanted, invalid};
use crate::segment::layout::{Control, Event};
use crate::sync::{Ordering, kill_point};
use crate::sys::closing::Closing;
use crate::sys::epoll::Watch;
use crate::sys::{
    descriptors, futex, holders::Opposite, inherited, scm_rights, socket, thread::Thread,
};
use crate::wait::backoff::Spin;
use crate::wait::poll_group::PollGroup;

mod ancillary;
mod closing;
mod deliver;
mod fast_recv;
mod fast_send;
mod fragments;
mod loans;
#[cfg(all(test, loom))]
mod loom_pipe;
#[cfg(all(test, loom))]
mod loom_readiness;
#[cfg(all(test, loom))]
mod loom_receivers;
mod readiness;
mod runs;
mod rx;
#[cfg(feature = "tokio")]
mod steps;
mod take;
mod tx;
mod view;

pub(crate) use fast_send::Sent;
pub(crate) use loans::Loan;
pub(crate) use rx::Rx;
pub(crate) use tx::Tx;

/// Makes both ends of one direction. Within this process they share one mapping and one memfd.
///
/// # Errors
///
/// What the operating system reports; nothing stays open then.
pub(crate) fn pair(wanted: Wanted<'_>, spin: Spin) -> io::Result<(Rx, Tx)> {
    check_system()?;
    let (receiving, sending) = socket::pair()?;
    // Each side begins with a token, so that either one is there or somebody is marked as asleep, always
    // (`wait::event`).
    socket::carries_tokens(sending.as_fd(), receiving.as_fd())?;
    // What one socket can, so can the other.
    socket::send_token(receiving.as_fd(), 0)?;
    let (rx_ancillary, tx_ancillary) = ancillary_pair(wanted.flags)?;
    let sides = Sides {
        rx: side(&receiving, rx_ancillary.as_ref())?,
        tx: side(&sending, tx_ancillary.as_ref())?,
    };
    let segment = Arc::new(Segment::create(wanted, sides)?);
    let (shared, max) = (Arc::clone(&segment), wanted.limit);
    let rx = End::new(shared, receiving, rx_ancillary, RECEIVING, spin, max);
    let tx = End::new(segment, sending, tx_ancillary, SENDING, spin, max);
    Ok((Rx::new(rx), Tx::new(tx)))
}

/// The ancillary sockets, where they were asked for.
pub(super) fn ancillary_pair(flags: Flags) -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    if !flags.has(Flags::DESCRIPTORS) {
        return Ok((None, None));
    }
    let (rx, tx) = scm_rights::pair()?;
    Ok((Some(rx), Some(tx)))
}

fn side(socket: &OwnedFd, ancillary: Option<&OwnedFd>) -> io::Result<Side> {
    Ok(Side {
        identity: socket::cookie(socket.as_fd()),
        inode: inherited::inode(socket)?,
        ancillary: ancillary.map_or(0, |socket| socket::cookie(socket.as_fd())),
    })
}

/// Finds out here, and not in the first call, what cannot work: futex(2), or a thread that cannot own a
/// robust lock.
fn check_system() -> io::Result<()> {
    futex::is_available()?;
    Thread::current()?;
    Ok(())
}

/// Whether two descriptors are of one file.
pub(super) fn is_same_file(one: impl AsFd, other: impl AsFd) -> bool {
    let identity = |fd| {
        let stat = nix::sys::stat::fstat(fd)?;
        Ok::<_, nix::Error>((stat.st_dev, stat.st_ino))
    };
    let (one, other) = (identity(one.as_fd()), identity(other.as_fd()));
    one.is_ok() && one == other
}

/// The event on which the other side sleeps, for a receiving end.
const RECEIVING: fn(&Segment) -> &Event = |segment| &segment.control().room;
/// The same for a sending end.
const SENDING: fn(&Segment) -> &Event = |segment| &segment.control().data;

/// Attaches a receiving end to a segment that was handed over, `geometry` as it was checked.
///
/// # Errors
///
/// `InvalidData` when `socket` is not that segment's; otherwise what the operating system reports.
pub(crate) fn attach_rx(
    memfd: OwnedFd,
    socket: OwnedFd,
    ancillary: Option<OwnedFd>,
    geometry: Geometry,
) -> io::Result<Rx> {
    let side = geometry.sides().rx;
    check_socket(&socket, side.identity, "receiving")?;
    check_ancillary(ancillary.as_ref(), side, "receiving")?;
    Ok(Rx::new(attach(
        memfd, socket, ancillary, geometry, RECEIVING,
    )?))
}

/// As [`attach_rx`] for a sending end.
///
/// # Errors
///
/// The errors of [`attach_rx`].
pub(crate) fn attach_tx(
    memfd: OwnedFd,
    socket: OwnedFd,
    ancillary: Option<OwnedFd>,
    geometry: Geometry,
) -> io::Result<Tx> {
    let side = geometry.sides().tx;
    check_socket(&socket, side.identity, "sending")?;
    check_ancillary(ancillary.as_ref(), side, "sending")?;
    let end = attach(memfd, socket, ancillary, geometry, SENDING)?;
    end.note_handing_over();
    Ok(Tx::new(end))
}

/// Whether the ancillary socket, where there is one, is that of this side.
pub(super) fn check_ancillary(
    ancillary: Option<&OwnedFd>,
    expected: Side,
    side: &str,
) -> io::Result<()> {
    ancillary.map_or(Ok(()), |socket| {
        check_socket(socket, expected.ancillary, side)
    })
}

fn attach(
    memfd: OwnedFd,
    socket: OwnedFd,
    ancillary: Option<OwnedFd>,
    geometry: Geometry,
    others: fn(&Segment) -> &Event,
) -> io::Result<Arc<End>> {
    check_system()?;
    // Its maker has done so, unless it is a liar.
    socket::refuse_descriptors(socket.as_fd());
    let segment = Arc::new(Segment::attach(memfd, geometry)?);
    let (spin, max) = (Spin::from_word(geometry.spin()), geometry.limit());
    Ok(End::new(segment, socket, ancillary, others, spin, max))
}

fn check_socket(socket: &OwnedFd, expected: u64, side: &str) -> io::Result<()> {
    let is_ours =
        socket::is_life_line(socket.as_fd()) && socket::cookie(socket.as_fd()) == expected;
    if !is_ours {
        let fd = socket.as_raw_fd();
        return Err(invalid(format!(
            "descriptor {fd} is not the socket of the {side} side of this pipe: an end of the other side, or of \
             another pipe?"
        )));
    }
    Ok(())
}

/// Whether `error` says that this system refuses what the backend is built on, so that the default
/// falls back to kernel pipes: seccomp(2), a kernel without the call, or a limit on the length of files,
/// which a kernel pipe is not; not a want of resources.
pub(crate) fn is_refused(error: &io::Error) -> bool {
    // EPERM and EACCES; ENOSYS and EOPNOTSUPP. By their kinds, since an error that names the step has no
    // number of its own.
    let refusals = [
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::Unsupported,
        io::ErrorKind::FileTooLarge,
    ];
    refusals.contains(&error.kind())
}

/// What all handles of this process to one side share.
struct End {
    /// The control part of `segment`, at hand for the hot path.
    control: NonNull<Control>,
    storage: Storage,
    rules: Rules,
    /// This side's end of the life-line; open until the drop.
    socket: ManuallyDrop<OwnedFd>,
    /// This side's end of the ancillary socket, where that was asked for.
    ancillary: Option<OwnedFd>,
    /// Whether this process has closed the side.
    closing: Closing,
    /// Once a task watches the end: what shows the same as the socket.
    watch: Watch,
    /// The event on which the other side sleeps.
    others: fn(&Segment) -> &Event,
    /// How the handles of this end look before they sleep.
    spin: Spin,
    /// What this process has of a message that it receives in fragments; nothing for a sending end.
    fragments: PerProcess<Reassembly<()>>,
    /// Whom calls that may not wait do not wait for again.
    stuck: Stuck,
    /// Length in bytes over which a message is refused when it is received: our own copy, which no peer can
    /// write. Only ever lowered.
    message_max: AtomicU64,
    /// The least of that, of a record's length, and of what is received without the lock.
    short_max: AtomicU64,
    /// The threads of this process that wait at this side.
    poll_group: PollGroup,
    segment: Arc<Segment>,
}

// SAFETY: `control` points into `segment`, which may be shared between threads.
unsafe impl Send for End {}
// SAFETY: as above.
unsafe impl Sync for End {}

impl End {
    fn new(
        segment: Arc<Segment>,
        socket: OwnedFd,
        ancillary: Option<OwnedFd>,
        others: fn(&Segment) -> &Event,
        spin: Spin,
        message_max: usize,
    ) -> Arc<Self> {
        let rules = Rules::new(segment.capacity());
        let short_max = message_max
            .min(rules.record_max())
            .min(fast_recv::CONTENDED_MAX);
        // SAFETY: the data is aligned to a page and mapped twice for as long as the segment lives,
        // which this end shares; its capacity is a power of two.
        let storage = unsafe { Storage::new(segment.data(), segment.capacity()) };
        Arc::new(Self {
            control: NonNull::from(segment.control()),
            storage,
            rules,
            socket: ManuallyDrop::new(socket),
            ancillary,
            closing: Closing::new(),
            watch: Watch::for_events(EpollFlags::EPOLLIN),
            others,
            spin,
            fragments: PerProcess::new(),
            stuck: Stuck::default(),
            message_max: AtomicU64::new(message_max as u64),
            short_max: AtomicU64::new(short_max as u64),
            poll_group: PollGroup::new(),
            segment,
        })
    }

    /// The descriptors that make this end: the memfd, the life-line, and the ancillary socket.
    ///
    /// # Errors
    ///
    /// As [`Segment::fill_holes`].
    fn fds(&self) -> io::Result<impl Iterator<Item = BorrowedFd<'_>>> {
        self.segment.fill_holes()?;
        let ancillary = self.ancillary.as_ref().map(AsFd::as_fd);
        Ok([self.segment.memfd(), self.socket()]
            .into_iter()
            .chain(ancillary))
    }

    /// Copies of them for another process.
    fn to_fds(&self) -> io::Result<Vec<OwnedFd>> {
        self.closing.check()?;
        self.fds()?
            .map(|fd| descriptors::copy(fd.as_raw_fd()))
            .collect()
    }

    /// From now on senders may be anywhere, and not only in forks of those who have one.
    fn note_handing_over(&self) {
        self.control().tx.handed.store(1, Ordering::Relaxed);
    }

    /// Length in bytes over which a received message is a breach of the protocol.
    #[inline(always)]
    fn message_max(&self) -> u64 {
        self.message_max.load(atomic::Ordering::Relaxed)
    }

    /// Length in bytes up to which a whole message is received without the lock; less than 4 GiB.
    #[inline(always)]
    fn short_max(&self) -> u64 {
        self.short_max.load(atomic::Ordering::Relaxed)
    }

    fn limit_messages(&self, max: usize) {
        for limit in [&self.message_max, &self.short_max] {
            limit.fetch_min(max as u64, atomic::Ordering::Relaxed);
        }
    }

    /// How the holders of the other side are known.
    fn opposite(&self, of: fn(Sides) -> Side) -> Opposite {
        let geometry = self.segment.geometry();
        let opposite = Opposite::socket(of(geometry.sides()).inode);
        let made = Duration::from_nanos(geometry.created());
        match self.control().tx.handed.load(Ordering::Relaxed) {
            0 => opposite.forked_since(made),
            _ => opposite,
        }
    }

    #[inline(always)]
    fn control(&self) -> &Control {
        // SAFETY: it lies in the segment, which lives as long as this end and does not move.
        unsafe { self.control.as_ref() }
    }

    /// The ring as senders use it.
    #[inline(always)]
    fn writer(&self) -> Writer<'_> {
        self.writer_of(self.control())
    }

    /// As [`writer`](Self::writer), for one who has the control part at hand.
    #[inline(always)]
    fn writer_of<'a>(&'a self, control: &'a Control) -> Writer<'a> {
        Writer {
            control,
            storage: &self.storage,
            rules: self.rules,
        }
    }

    #[inline]
    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Rx {
    /// Refuses messages of more than `max` bytes; never raises the limit.
    pub(crate) fn limit_messages(&self, max: usize) {
        self.end.limit_messages(max);
    }

    /// Fills this process's page tables for the segment.
    ///
    /// # Errors
    ///
    /// What madvise(2) reports.
    pub(crate) fn fill_tables(&self) -> io::Result<()> {
        self.end.segment.fill_tables()
    }
}

impl Rx {
    /// The descriptors that make this end.
    pub(crate) fn fds(&self) -> io::Result<Vec<BorrowedFd<'_>>> {
        self.end.closing.check()?;
        Ok(self.end.fds()?.collect())
    }

    /// Whether `other` is of the same pipe.
    pub(crate) fn is_of_pipe(&self, other: &Self) -> bool {
        is_same_file(self.end.segment.memfd(), other.end.segment.memfd())
    }
}

impl Tx {
    /// As [`Rx::fds`].
    pub(crate) fn fds(&self) -> io::Result<Vec<BorrowedFd<'_>>> {
        self.end.closing.check()?;
        Ok(self.end.fds()?.collect())
    }

    /// Whether `other` is of the same pipe.
    pub(crate) fn is_of_pipe(&self, other: &Self) -> bool {
        is_same_file(self.end.segment.memfd(), other.end.segment.memfd())
    }

    /// As [`Rx::fill_tables`].
    ///
    /// # Errors
    ///
    /// The errors of [`Rx::fill_tables`].
    pub(crate) fn fill_tables(&self) -> io::Result<()> {
        self.end.segment.fill_tables()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.abandon();
        self.watch.close(self.socket.as_fd());
        // Closed before it is announced: who hears of it must find the hang-up.
        // SAFETY: nobody uses it after this.
        unsafe { ManuallyDrop::drop(&mut self.socket) };
        kill_point();
        if !self.closing.is_done() {
            (self.others)(&self.segment).announce_close();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_is_attached_looks_as_the_maker_chose() {
        for spin in [Spin::Never, Spin::For(std::time::Duration::from_micros(7))] {
            let wanted = Wanted {
                spin: spin.to_word(),
                ..Wanted::plain(1 << 16)
            };
            let (rx, tx) = pair(wanted, spin).unwrap();
            let handed = |fds: io::Result<Vec<OwnedFd>>| {
                let mut fds = fds.unwrap().into_iter();
                let memfd = fds.next().unwrap();
                let geometry = Geometry::of(&memfd).unwrap();
                (memfd, fds.next().unwrap(), geometry)
            };
            let (memfd, socket, geometry) = handed(rx.end.to_fds());
            let attached = attach_rx(memfd, socket, None, geometry).unwrap();
            assert_eq!((rx.end.spin, attached.end.spin), (spin, spin));
            let (memfd, socket, geometry) = handed(tx.end.to_fds());
            assert_eq!(
                attach_tx(memfd, socket, None, geometry).unwrap().end.spin,
                spin
            );
        }
    }
}
