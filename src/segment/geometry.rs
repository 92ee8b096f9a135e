//! What a segment says of itself, and the checks before anybody maps one that it was given.
//!
//! Nothing is mapped here. A descriptor that another program hands over may be anything; what passes
//! [`Geometry::of`] is sealed shared memory of the size that it claims.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::MAX_CAPACITY;
use crate::sys::clock;
use crate::sys::memory::page_size;
use crate::sys::refused::refused;

/// First eight bytes of every segment.
const MAGIC: [u8; 8] = *b"shmpipe\0";

/// Version of everything that two processes must agree on.
const VERSION: u32 = 2;

/// What a segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    /// A ring with its control part.
    Ring = 1,
    /// The page beside a kernel pipe.
    KernelPage = 2,
}

/// What tells the descriptors of one side from all others, so that none is taken for another; each 0 where
/// it is unknown or there is no such descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Side {
    /// Cookie of the life-line's socket, or the inode of a kernel pipe.
    pub(crate) identity: u64,
    /// Inode of the life-line's socket, by which it is found in /proc.
    pub(crate) inode: u64,
    /// Cookie of the ancillary socket.
    pub(crate) ancillary: u64,
}

/// Whose descriptors are whose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sides {
    pub(crate) rx: Side,
    pub(crate) tx: Side,
}

/// What was asked for that all holders must know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(u32);

impl Flags {
    /// Messages may carry descriptors, by a socket of their own.
    pub(crate) const DESCRIPTORS: Self = Self(1);
    /// A receive that nobody else can end is an error.
    pub(crate) const DEADLOCK: Self = Self(2);
    /// Nobody fills the page tables ahead of the first access.
    pub(crate) const UNFILLED: Self = Self(4);
    /// The memory is of huge pages.
    pub(crate) const HUGE: Self = Self(8);
    /// Core dumps leave the memory out.
    pub(crate) const UNDUMPED: Self = Self(16);
    pub(crate) const NONE: Self = Self(0);
    const KNOWN: Self = Self(31);

    pub(crate) fn has(self, flag: Self) -> bool {
        self.0 & flag.0 == flag.0
    }

    /// These flags, with `flag` on or off.
    pub(crate) const fn with(self, flag: Self, is_on: bool) -> Self {
        if is_on {
            Self(self.0 | flag.0)
        } else {
            Self(self.0 & !flag.0)
        }
    }
}

/// What a pipe is to be, checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Bytes of data.
    pub(crate) capacity: usize,
    /// Length in bytes over which a message is refused.
    pub(crate) limit: usize,
    /// How blocked calls look before they sleep, as `wait::backoff` writes it down.
    pub(crate) spin: u64,
    /// What the memory is called besides.
    pub(crate) label: Option<&'a str>,
    /// Whether the memory is allocated now, and not as it is used.
    pub(crate) is_allocated: bool,
    pub(crate) flags: Flags,
}

#[cfg(test)]
impl Wanted<'_> {
    /// With nothing but a capacity.
    pub(crate) fn plain(capacity: usize) -> Self {
        Self {
            capacity,
            limit: usize::MAX,
            spin: 0,
            label: None,
            is_allocated: true,
            flags: Flags::NONE,
        }
    }
}

/// The first bytes of a segment, written once by its maker before anybody else can see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
pub(crate) struct Geometry {
    magic: [u8; 8],
    version: u32,
    /// One of [`Kind`].
    kind: u32,
    /// Length of the control part in bytes; the data follows it.
    control: u32,
    /// [`Flags`].
    flags: u32,
    /// Length of the data in bytes, a power of two; 0 beside a kernel pipe.
    capacity: u64,
    /// As in [`Side`]: `identity`.
    rx: u64,
    tx: u64,
    /// Length in bytes over which a message is refused.
    limit: u64,
    /// When it was made: `CLOCK_MONOTONIC` in nanoseconds. For observers, and for who looks for a deadlock.
    created: u64,
    /// As in [`Side`]: `inode`.
    rx_inode: u64,
    tx_inode: u64,
    /// As in [`Side`]: `ancillary`.
    rx_ancillary: u64,
    tx_ancillary: u64,
    /// How blocked calls look before they sleep. Any value is harmless.
    spin: u64,
}

impl Geometry {
    /// For a segment that is about to be made, with a control part of `control` bytes.
    pub(crate) fn new(kind: Kind, control: usize, sides: Sides, wanted: Wanted<'_>) -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            kind: kind as u32,
            control: u32::try_from(control).expect("the control part is one page"),
            flags: wanted.flags.0,
            capacity: wanted.capacity as u64,
            rx: sides.rx.identity,
            tx: sides.tx.identity,
            limit: wanted.limit as u64,
            created: u64::try_from(clock::now().as_nanos()).unwrap_or(0),
            rx_inode: sides.rx.inode,
            tx_inode: sides.tx.inode,
            rx_ancillary: sides.rx.ancillary,
            tx_ancillary: sides.tx.ancillary,
            spin: wanted.spin,
        }
    }

    /// Writes this into a segment that nobody else has yet.
    pub(crate) fn write_to(&self, memfd: impl AsFd) -> io::Result<()> {
        nix::sys::uio::pwrite(memfd, self.as_bytes(), 0)
            .map_err(|errno| refused("pwrite(2) of the segment's description", errno))?;
        Ok(())
    }

    /// Reads and checks what a descriptor claims to be: seals, size, magic, version, and a geometry that
    /// its size bears out.
    ///
    /// # Errors
    ///
    /// `InvalidData` for anything but a segment of this version; the text names the value.
    pub(crate) fn of(memfd: impl AsFd) -> io::Result<Self> {
        let fd = memfd.as_fd().as_raw_fd();
        check_seals(&memfd)?;
        // Sealed, so it stays as long as it is now.
        let length = nix::sys::stat::fstat(&memfd)?.st_size.unsigned_abs();
        let mut bytes = [0; size_of::<Self>()];
        let read = nix::sys::uio::pread(&memfd, &mut bytes, 0)?;
        if read < bytes.len() {
            return Err(invalid(format!(
                "descriptor {fd} is {length} bytes long, too short for a segment"
            )));
        }
        // Read once, checked, and from here on a private copy.
        let geometry = Self::read_from_bytes(&bytes).expect("as many bytes as it has");
        geometry
            .check(length)
            .map_err(|what| invalid(format!("descriptor {fd} is no segment of a pipe: {what}")))?;
        Ok(geometry)
    }

    fn check(&self, length: u64) -> Result<(), String> {
        if self.magic != MAGIC {
            let bytes = self.magic.map(|byte| format!("{byte:02x}")).join(" ");
            return Err(format!("it begins with {bytes}"));
        }
        if self.version != VERSION {
            let version = self.version;
            return Err(format!(
                "it is of protocol version {version}, and this library speaks {VERSION}"
            ));
        }
        let page = page_size() as u64;
        if u64::from(self.control) != page {
            return Err(format!("its control part has {} bytes", self.control));
        }
        let is_possible = match self.kind() {
            Some(Kind::Ring) => {
                self.capacity.is_power_of_two()
                    && (page..=MAX_CAPACITY as u64).contains(&self.capacity)
            }
            Some(Kind::KernelPage) => self.capacity == 0,
            None => return Err(format!("it is of the unknown kind {}", self.kind)),
        };
        if self.flags & !Flags::KNOWN.0 != 0 {
            return Err(format!("it has the unknown flags {:#x}", self.flags));
        }
        if !is_possible {
            return Err(format!("its capacity is {} bytes", self.capacity));
        }
        let needed = page + self.capacity;
        if length != needed {
            return Err(format!("it is {length} bytes long and claims {needed}"));
        }
        Ok(())
    }

    /// What the segment is for.
    pub(crate) fn kind(&self) -> Option<Kind> {
        [Kind::Ring, Kind::KernelPage]
            .into_iter()
            .find(|&kind| kind as u32 == self.kind)
    }

    /// Length of the control part in bytes.
    pub(crate) fn control(&self) -> usize {
        self.control as usize
    }

    /// Length of the data in bytes.
    pub(crate) fn capacity(&self) -> usize {
        // `check` has bounded it.
        self.capacity as usize
    }

    /// Whose descriptors are whose.
    pub(crate) fn sides(&self) -> Sides {
        Sides {
            rx: Side {
                identity: self.rx,
                inode: self.rx_inode,
                ancillary: self.rx_ancillary,
            },
            tx: Side {
                identity: self.tx,
                inode: self.tx_inode,
                ancillary: self.tx_ancillary,
            },
        }
    }

    /// What was asked for.
    pub(crate) fn flags(&self) -> Flags {
        Flags(self.flags)
    }

    /// The version that it has been found to be of.
    #[cfg(feature = "observe")]
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// When it was made: `CLOCK_MONOTONIC` in nanoseconds, or whatever a liar says.
    pub(crate) fn created(&self) -> u64 {
        self.created
    }

    /// How blocked calls look before they sleep.
    pub(crate) fn spin(&self) -> u64 {
        self.spin
    }

    /// Length in bytes over which a message is refused.
    pub(crate) fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }
}

/// Only sealed memory can be mapped without fear of a SIGBUS, and only memory that can be written is a
/// pipe (memfd_create(2), "File sealing").
fn check_seals(memfd: impl AsFd) -> io::Result<()> {
    let fd = memfd.as_fd().as_raw_fd();
    let seals = match fcntl(&memfd, FcntlArg::F_GET_SEALS) {
        Ok(seals) => SealFlag::from_bits_retain(seals),
        Err(Errno::EINVAL) => {
            return Err(invalid(format!(
                "descriptor {fd} is no memfd, which is the first that an end is made of"
            )));
        }
        Err(errno) => return Err(errno.into()),
    };
    let wanted = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    let missing = wanted.difference(seals);
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter_names().map(|(name, _)| name).collect();
        return Err(invalid(format!(
            "the memfd {fd} is not sealed by {}",
            names.join(", ")
        )));
    }
    if seals.contains(SealFlag::F_SEAL_WRITE) {
        return Err(invalid(format!("the memfd {fd} is sealed against writing")));
    }
    Ok(())
}

pub(crate) fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

const _: () = assert!(size_of::<Geometry>() == 104);
