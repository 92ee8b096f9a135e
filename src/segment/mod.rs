//! The shared segment of one direction: its layout, how it is made, and how one that was handed over is
//! checked and mapped.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use crate::sys::memory::{DoubleMapping, Pages, allocate, page_size, refuse_holes, sealed_memfd};
use crate::sys::pages::{fill_tables, huge_page_size, make_huge};
use geometry::{Flags, Geometry, Kind, Sides, Wanted};
use label::{RING, memory_name};
use layout::Control;

pub(crate) mod geometry;
pub(crate) mod label;
pub(crate) mod layout;

/// Largest capacity in bytes. Positions count bytes in a `u64`, record lengths in 32 bits, and the
/// data is mapped twice; this leaves room for all three.
pub(crate) const MAX_CAPACITY: usize = 1 << 40;

/// A mapped segment: the memfd, the control part and the data.
pub(crate) struct Segment {
    mapping: DoubleMapping,
    geometry: Geometry,
    /// Whether all of it was allocated when it was made or handed over.
    is_allocated: bool,
    /// Kept open for handing over, and so that tools find the pipe in `/proc/PID/fd`.
    memfd: OwnedFd,
}

impl Segment {
    /// Makes a segment for a ring whose capacity is a power of two of at least a page.
    ///
    /// Its pages are allocated, unless they are to be so as they are used, and its size is sealed before it is mapped.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for huge pages that are longer than the capacity, or of which the kernel has none; else what
    /// the operating system reports.
    pub(crate) fn create(wanted: Wanted<'_>, sides: Sides) -> io::Result<Self> {
        let huge = wanted.flags.has(Flags::HUGE);
        let alignment = if huge {
            huge_pages_for(wanted.capacity)?
        } else {
            page_size()
        };
        let control = size_of::<Control>().next_multiple_of(page_size());
        let length = control + wanted.capacity;
        let name = memory_name(RING, wanted.label);
        let memfd = sealed_memfd(&name, length, wanted.is_allocated)?;
        let geometry = Geometry::new(Kind::Ring, control, sides, wanted);
        // Before anybody else can have the descriptor, and never again.
        geometry.write_to(&memfd)?;
        let are_filled = wanted.is_allocated && !wanted.flags.has(Flags::UNFILLED);
        let pages = Pages {
            // Page tables of small pages would be thrown away with them.
            are_filled: are_filled && !huge,
            alignment,
            are_dumped: !wanted.flags.has(Flags::UNDUMPED),
        };
        let mut segment = Self::map(memfd, geometry, pages)?;
        segment.is_allocated = wanted.is_allocated;
        if huge {
            make_huge(segment.mapping.as_ptr(), control + wanted.capacity)?;
            if are_filled {
                segment.fill_tables()?;
            }
        }
        Ok(segment)
    }

    /// Maps a segment that was handed over and has passed the checks of [`Geometry::of`].
    ///
    /// Takes no memory but page tables: whoever claims a size has paid for it, and pages are mapped as they are
    /// touched, whatever the flags say.
    ///
    /// # Errors
    ///
    /// `InvalidData` for one with holes; what mapping its pages reports.
    pub(crate) fn attach(memfd: OwnedFd, geometry: Geometry) -> io::Result<Self> {
        refuse_holes(&memfd, geometry.control() + geometry.capacity())?;
        // Its maker has made it of huge pages; they show as such only at addresses that are aligned like them.
        let huge = geometry.flags().has(Flags::HUGE).then(huge_page_size);
        let pages = Pages {
            // A peer could punch holes after the check, and filling the tables would fill those.
            are_filled: false,
            alignment: huge.flatten().unwrap_or_else(page_size),
            are_dumped: !geometry.flags().has(Flags::UNDUMPED),
        };
        Self::map(memfd, geometry, pages)
    }

    fn map(memfd: OwnedFd, geometry: Geometry, pages: Pages) -> io::Result<Self> {
        let mapping = DoubleMapping::new(&memfd, geometry.control(), geometry.capacity(), pages)?;
        Ok(Self {
            mapping,
            geometry,
            is_allocated: true,
            memfd,
        })
    }

    /// Fills this process's page tables for all of the segment.
    ///
    /// # Errors
    ///
    /// What madvise(2) reports.
    pub(crate) fn fill_tables(&self) -> io::Result<()> {
        fill_tables(self.mapping.as_ptr(), self.mapping.len())
    }

    /// What the segment says of itself.
    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Allocates what was not yet, before the descriptor is handed over: [`attach`](Self::attach) refuses holes.
    ///
    /// # Errors
    ///
    /// What fallocate(2) reports.
    pub(crate) fn fill_holes(&self) -> io::Result<()> {
        if self.is_allocated {
            return Ok(());
        }
        allocate(
            &self.memfd,
            self.geometry.control() + self.geometry.capacity(),
        )
    }

    /// The descriptor, for handing over.
    pub(crate) fn memfd(&self) -> BorrowedFd<'_> {
        self.memfd.as_fd()
    }

    /// The shared words.
    #[inline]
    pub(crate) fn control(&self) -> &Control {
        // SAFETY: page-aligned, at least `size_of::<Control>()` long, mapped while `self` lives;
        // every field behind it is an atomic, for which any bit pattern is valid, or `Untouched`.
        unsafe { self.mapping.as_ptr().cast::<Control>().as_ref() }
    }

    /// Start of the data, which is mapped twice in a row while `self` lives.
    pub(crate) fn data(&self) -> NonNull<u8> {
        // SAFETY: the control part is so many bytes of the mapping.
        unsafe { self.mapping.as_ptr().add(self.geometry.control()) }
    }

    /// Length of the data in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.geometry.capacity()
    }
}

/// The length of a huge page, where a ring of that capacity can be made of them.
fn huge_pages_for(capacity: usize) -> io::Result<usize> {
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    match huge_page_size() {
        Some(size) if size <= capacity => Ok(size),
        Some(size) => refuse(format!(
            "huge pages of {size} bytes need a capacity of as much at least, and not of {capacity} bytes"
        )),
        None => refuse(format!(
            "huge pages for a capacity of {capacity} bytes: this kernel has no transparent ones"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use geometry::{Flags, Side};
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};

    const SIDES: Sides = Sides {
        rx: Side {
            identity: 1,
            inode: 2,
            ancillary: 3,
        },
        tx: Side {
            identity: 4,
            inode: 5,
            ancillary: 6,
        },
    };

    #[test]
    fn a_new_segment_is_sealed_and_describes_itself() {
        let wanted = Wanted {
            limit: 1000,
            flags: Flags::DESCRIPTORS,
            ..Wanted::plain(1 << 16)
        };
        let segment = Segment::create(wanted, SIDES).unwrap();
        let seals = fcntl(segment.memfd(), FcntlArg::F_GET_SEALS).unwrap();
        let wanted = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        assert!(SealFlag::from_bits_truncate(seals).contains(wanted));
        let read = Geometry::of(segment.memfd()).unwrap();
        assert_eq!(read, segment.geometry);
        assert_eq!((read.kind(), read.capacity()), (Some(Kind::Ring), 1 << 16));
        assert_eq!((read.sides(), read.limit()), (SIDES, 1000));
        assert_eq!(read.flags(), Flags::DESCRIPTORS);
    }

    #[test]
    fn a_capacity_beyond_memory_is_an_error_and_not_a_crash() {
        let Err(error) = Segment::create(Wanted::plain(MAX_CAPACITY), SIDES) else {
            panic!("1 TiB was given")
        };
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        assert!(
            error.to_string().contains(&MAX_CAPACITY.to_string()[..6]),
            "{error}"
        );
    }
}
