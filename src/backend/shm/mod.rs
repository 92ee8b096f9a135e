//! The shared-memory backend: one segment and one life-line for each direction.
//!
//! [`tx`] and [`rx`] put the layers below together: the side lock, the ring, the events.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::ring::record::Rules;
use crate::ring::storage::Storage;
use crate::segment::Segment;
use crate::segment::geometry::{Flags, Geometry, Side, Sides, Wanted, invalid};
use crate::segment::layout::{Control, Event};
use crate::sync::kill_point;
use crate::sys::{futex, holders::Opposite, inherited, parcels, socket, thread::Thread};
use crate::wait::crowd::Crowd;
use crate::wait::spin::Spin;

mod at_once;
mod loans;
#[cfg(all(test, loom))]
mod loom_pipe;
#[cfg(all(test, loom))]
mod loom_readiness;
#[cfg(all(test, loom))]
mod loom_receivers;
mod parcel;
mod parts;
mod readiness;
mod runs;
mod rx;
mod take;
mod tx;
mod view;

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
    socket::carries_tokens(receiving.as_fd(), sending.as_fd())?;
    let (rx_parcels, tx_parcels) = parcel_pair(wanted.flags)?;
    let sides = Sides {
        rx: side(&receiving, rx_parcels.as_ref())?,
        tx: side(&sending, tx_parcels.as_ref())?,
    };
    let segment = Arc::new(Segment::create(wanted, sides)?);
    let rx = End::new(Arc::clone(&segment), receiving, rx_parcels, RECEIVING, spin);
    let tx = End::new(segment, sending, tx_parcels, SENDING, spin);
    Ok((Rx::new(rx), Tx::new(tx)))
}

/// The sockets for parcels, where they were asked for.
pub(super) fn parcel_pair(flags: Flags) -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    if !flags.has(Flags::PARCELS) {
        return Ok((None, None));
    }
    let (rx, tx) = parcels::pair()?;
    Ok((Some(rx), Some(tx)))
}

fn side(socket: &OwnedFd, parcels: Option<&OwnedFd>) -> io::Result<Side> {
    Ok(Side {
        identity: socket::cookie(socket.as_fd()),
        inode: inherited::inode(socket)?,
        parcels: parcels.map_or(0, |socket| socket::cookie(socket.as_fd())),
    })
}

/// Finds out here, and not in the first call, what cannot work: futex(2), or a thread that cannot own a
/// robust lock.
fn check_system() -> io::Result<()> {
    futex::is_available()?;
    Thread::current()?;
    Ok(())
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
    parcels: Option<OwnedFd>,
    geometry: Geometry,
) -> io::Result<Rx> {
    let side = geometry.sides().rx;
    check_socket(&socket, side.identity, "receiving")?;
    check_parcels(parcels.as_ref(), side, "receiving")?;
    Ok(Rx::new(attach(
        memfd, socket, parcels, geometry, RECEIVING,
    )?))
}

/// As [`attach_rx`] for a sending end.
///
/// # Errors
///
/// As there.
pub(crate) fn attach_tx(
    memfd: OwnedFd,
    socket: OwnedFd,
    parcels: Option<OwnedFd>,
    geometry: Geometry,
) -> io::Result<Tx> {
    let side = geometry.sides().tx;
    check_socket(&socket, side.identity, "sending")?;
    check_parcels(parcels.as_ref(), side, "sending")?;
    Ok(Tx::new(attach(memfd, socket, parcels, geometry, SENDING)?))
}

/// Whether the socket for parcels, where there is one, is that of this side.
pub(super) fn check_parcels(
    parcels: Option<&OwnedFd>,
    expected: Side,
    side: &str,
) -> io::Result<()> {
    parcels.map_or(Ok(()), |socket| {
        check_socket(socket, expected.parcels, side)
    })
}

fn attach(
    memfd: OwnedFd,
    socket: OwnedFd,
    parcels: Option<OwnedFd>,
    geometry: Geometry,
    others: fn(&Segment) -> &Event,
) -> io::Result<Arc<End>> {
    check_system()?;
    let segment = Arc::new(Segment::attach(memfd, geometry)?);
    Ok(End::new(segment, socket, parcels, others, Spin::default()))
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
    /// This side's end of the socket for parcels, where that was asked for.
    parcels: Option<OwnedFd>,
    /// The event on which the other side sleeps.
    others: fn(&Segment) -> &Event,
    /// How the handles of this end look before they sleep.
    spin: Spin,
    /// The threads of this process that wait at this side.
    crowd: Crowd,
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
        parcels: Option<OwnedFd>,
        others: fn(&Segment) -> &Event,
        spin: Spin,
    ) -> Arc<Self> {
        let rules = Rules::new(segment.capacity());
        // SAFETY: the data is aligned to a page and mapped twice for as long as the segment lives,
        // which this end shares; its capacity is a power of two.
        let storage = unsafe { Storage::new(segment.data(), segment.capacity()) };
        Arc::new(Self {
            control: NonNull::from(segment.control()),
            storage,
            rules,
            socket: ManuallyDrop::new(socket),
            parcels,
            others,
            spin,
            crowd: Crowd::new(),
            segment,
        })
    }

    /// Copies of the descriptors for another process: the memfd, the life-line, and the socket for parcels.
    fn to_fds(&self) -> io::Result<Vec<OwnedFd>> {
        let memfd = self.segment.memfd().try_clone_to_owned()?;
        let socket = self.socket().try_clone_to_owned()?;
        let parcels = self.parcels.as_ref().map(OwnedFd::try_clone).transpose()?;
        Ok([memfd, socket].into_iter().chain(parcels).collect())
    }

    /// How the holders of the other side are known.
    fn opposite(&self, of: fn(Sides) -> Side) -> Opposite {
        Opposite::Socket(of(self.segment.geometry().sides()).inode)
    }

    #[inline(always)]
    fn control(&self) -> &Control {
        // SAFETY: it lies in the segment, which lives as long as this end and does not move.
        unsafe { self.control.as_ref() }
    }

    #[inline]
    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Rx {
    /// Fills this process's page tables for the segment.
    ///
    /// # Errors
    ///
    /// What madvise(2) reports.
    pub(crate) fn fill_tables(&self) -> io::Result<()> {
        self.end.segment.fill_tables()
    }
}

impl Tx {
    /// As [`Rx::fill_tables`].
    ///
    /// # Errors
    ///
    /// As there.
    pub(crate) fn fill_tables(&self) -> io::Result<()> {
        self.end.segment.fill_tables()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // Closed before it is announced: who hears of it must find the hang-up.
        // SAFETY: nobody uses it after this.
        unsafe { ManuallyDrop::drop(&mut self.socket) };
        kill_point();
        (self.others)(&self.segment).announce_close();
    }
}
