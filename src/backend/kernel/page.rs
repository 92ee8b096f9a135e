//! What the holders of a kernel pipe's ends share beside the pipe: one page.

use core::mem::offset_of;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::ring::reservation::Reservation;
use crate::segment::geometry::{Geometry, Kind, Sides, Wanted};
use crate::segment::label::{KERNEL_PAGE, memory_name};
use crate::segment::layout::{
    CachePadded, Counters, OwnerRecord, SharedReassembly, SideLock, Totals, Untouched,
};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::sys::clock;
use crate::sys::memory::{Allocation, SharedPage, page_size, refuse_holes, sealed_memfd};
use crate::sys::refused::{copied, named_as};

/// The shared words.
#[repr(C)]
pub(crate) struct Shared {
    _geometry: CachePadded<Untouched<Geometry>>,
    pub(super) tx: CachePadded<TxSide>,
    pub(super) rx: CachePadded<RxSide>,
    /// The pipe's trailer; written before anybody else can see the page, and never 0 in any byte.
    cookie: AtomicU64,
    /// What the pipe holds in bytes, as its maker set it; for observers.
    pub(super) capacity: AtomicU64,
    /// What the senders count for observers, as for a ring.
    pub(super) tx_counters: CachePadded<Counters>,
    /// The same of the receivers.
    pub(super) rx_counters: CachePadded<Counters>,
}

/// Where observers find what is counted.
#[cfg(feature = "observe")]
impl Shared {
    pub(crate) const CAPACITY: usize = offset_of!(Self, capacity);
    pub(crate) const TX_TOTALS: usize = offset_of!(Self, tx) + offset_of!(TxSide, totals);
    pub(crate) const RX_TOTALS: usize = offset_of!(Self, rx) + offset_of!(RxSide, totals);
    pub(crate) const TX_COUNTERS: usize = offset_of!(Self, tx_counters);
    pub(crate) const RX_COUNTERS: usize = offset_of!(Self, rx_counters);
}

/// The senders' words, written under their lock.
#[repr(C)]
pub(super) struct TxSide {
    pub(super) lock: SideLock,
    /// One of [`crate::segment::layout::message`]: what has become of the message being sent.
    pub(super) state: AtomicU32,
    /// Bytes of the frame that is being written by more than one write; 0 when there is none. At
    /// most so many are missing if the writer dies.
    pub(super) in_flight: AtomicU64,
    /// Who is sending, or last sent, a message in fragments.
    pub(super) sender: OwnerRecord,
    /// What has been sent, messages in fragments when they are whole.
    pub(super) totals: Totals,
    /// As `ticket` of [`crate::segment::layout::TxSide`].
    pub(super) ticket: AtomicU64,
    /// Number of the last frame that closes a message which was cut short. Set before that frame is written, so that it
    /// is never behind what receivers find, and may be ahead of it while the state has the cut.
    pub(super) cuts: AtomicU64,
    /// As `handed` of [`crate::segment::layout::TxSide`].
    handed: AtomicU32,
    /// As `end` of [`crate::segment::layout::TxSide`].
    pub(super) end: AtomicU64,
}

impl TxSide {
    /// The note of an end that sends a message in steps.
    pub(super) fn reservation(&self) -> Reservation<'_> {
        Reservation::of_kernel_tx(&self.state, &self.sender, &self.end)
    }
}

/// The receivers' words, written under their lock, and by the kernel on behalf of its owner.
#[repr(C)]
pub(super) struct RxSide {
    pub(super) lock: SideLock,
    /// Who is inside a message that is received in fragments.
    pub(super) reassembly: SharedReassembly,
    /// The header of the frame at hand, as far as it has arrived; 0 between frames. read(2) writes
    /// here, so that no death can come between taking a header and noting it.
    pub(super) header: AtomicU64,
    /// The same for the trailer: bytes here mean that the whole payload has been taken.
    pub(super) trailer: AtomicU64,
    /// How many bytes of a trailer one who lost the place has matched last.
    pub(super) matched: AtomicU32,
    /// What has been received.
    pub(super) totals: Totals,
    /// The last of the senders' `cuts` that receivers have met; while it differs from that, a message at hand may be
    /// one that was cut short.
    pub(super) cuts_met: AtomicU64,
    /// The eight bytes before what is `matched`: the header of a frame that was passed over with a torn one.
    pub(super) passed: AtomicU64,
}

/// The page, mapped.
pub(super) struct Page {
    page: SharedPage,
    /// Kept open for handing over; why there is none where it was refused, when only `fork` shares the page.
    memfd: io::Result<OwnedFd>,
    /// When it was made, on `CLOCK_MONOTONIC`.
    made: Duration,
}

impl Page {
    /// Makes a page and its cookie, for the pipe whose inode `sides` has and that has got this capacity.
    pub(super) fn create(sides: Sides, capacity: usize, wanted: Wanted<'_>) -> io::Result<Self> {
        let name = memory_name(KERNEL_PAGE, wanted.label);
        let memfd = match sealed_memfd(&name, page_size(), Allocation::Ahead) {
            Err(error) if !crate::backend::shm::is_refused(&error) => return Err(error),
            outcome => outcome,
        };
        let geometry = Geometry::new(
            Kind::KernelPage,
            page_size(),
            sides,
            Wanted {
                capacity: 0,
                ..wanted
            },
        );
        let page = Self {
            page: SharedPage::new(memfd.as_ref().ok())?,
            memfd,
            made: Duration::from_nanos(geometry.created()),
        };
        // SAFETY: the page begins with room for it, and nobody else has the page yet.
        unsafe { page.page.as_ptr().cast::<Geometry>().write(geometry) };
        let shared = page.shared();
        shared.cookie.store(new_cookie(), Ordering::Relaxed);
        shared.capacity.store(capacity as u64, Ordering::Relaxed);
        Ok(page)
    }

    /// Maps a page that was handed over and has passed the checks of [`Geometry::of`].
    pub(super) fn attach(memfd: OwnedFd, geometry: Geometry) -> io::Result<Self> {
        refuse_holes(&memfd, page_size())?;
        Ok(Self {
            page: SharedPage::new(Some(&memfd))?,
            memfd: Ok(memfd),
            made: Duration::from_nanos(geometry.created()),
        })
    }

    /// The descriptor, for handing over.
    ///
    /// # Errors
    ///
    /// `Unsupported` where it was refused, with the cause.
    pub(super) fn memfd(&self) -> io::Result<&OwnedFd> {
        self.memfd.as_ref().map_err(|cause| {
            named_as(
                io::ErrorKind::Unsupported,
                "this kernel pipe can only be inherited by fork, since it has no memfd to hand over",
                copied(cause),
            )
        })
    }

    pub(super) fn shared(&self) -> &Shared {
        const {
            assert!(size_of::<Shared>() <= 4096);
            assert!(offset_of!(Shared, capacity) == 0x188);
            assert!(offset_of!(Shared, tx_counters) == 0x200);
            assert!(offset_of!(Shared, rx_counters) == 0x280);
        };
        // SAFETY: page-aligned, a page long, mapped while `self` lives; every field is an atomic,
        // for which any bit pattern is valid, or `Untouched`.
        unsafe { self.page.as_ptr().cast::<Shared>().as_ref() }
    }

    /// From now on senders may be anywhere, and not only in forks of those who have one.
    pub(super) fn note_handing_over(&self) {
        self.shared().tx.handed.store(1, Ordering::Relaxed);
    }

    /// When the pipe was made, if senders have gone to others by fork(2) alone since.
    pub(super) fn forked_since(&self) -> Option<Duration> {
        let is_handed = self.shared().tx.handed.load(Ordering::Relaxed) != 0;
        (!is_handed).then_some(self.made)
    }

    pub(super) fn cookie(&self) -> u64 {
        self.shared().cookie.load(Ordering::Relaxed)
    }
}

/// Counts a message that has just gone through, under the side's lock; asks the clock for observers at the first
/// of each sixteen, since a transfer through a pipe takes some fifty times as long.
pub(super) fn count(totals: &Totals, counters: &Counters, len: usize) {
    totals.count(1, len);
    if totals.messages.load(Ordering::Relaxed) % 16 == 1 {
        counters.note_activity(clock::now());
    }
}

/// A random word without a zero byte. From the standard library's per-process random keys: it has to
/// differ from payload by chance, not to withstand a liar, who could read the page anyway.
fn new_cookie() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    let word = RandomState::new().hash_one(std::process::id());
    word | 0x0101_0101_0101_0101
}
