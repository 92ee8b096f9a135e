//! The shared segment of one direction: its layout, and how it is made.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use crate::sys::memory::{DoubleMapping, page_size, sealed_memfd};
use crate::sys::refused::refused;
use layout::{Control, Geometry};

pub(crate) mod layout;

/// Largest capacity in bytes. Positions count bytes in a `u64`, record lengths in 32 bits, and the
/// data is mapped twice; this leaves room for all three.
pub(crate) const MAX_CAPACITY: usize = 1 << 40;

/// A mapped segment: the memfd, the control part and the data.
pub(crate) struct Segment {
    mapping: DoubleMapping,
    control_length: usize,
    capacity: usize,
    /// Kept open for handing over, and so that tools find the pipe in `/proc/PID/fd`.
    _memfd: OwnedFd,
}

// SAFETY: the mapping is plain shared memory that is only ever reached through atomics and through
// copies under a side lock, from any thread.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

impl Segment {
    /// Makes a segment for a ring of `capacity` bytes, a power of two of at least a page.
    ///
    /// Its pages are allocated and its size is sealed before it is mapped.
    pub(crate) fn create(capacity: usize) -> io::Result<Self> {
        let control = size_of::<Control>().next_multiple_of(page_size());
        let name = CString::new("shmpipe")?;
        let memfd = sealed_memfd(&name, control + capacity)?;
        let geometry = Geometry::new(control, capacity);
        // Written before anybody else can have the descriptor, and never again.
        nix::sys::uio::pwrite(&memfd, zerocopy::IntoBytes::as_bytes(&geometry), 0)
            .map_err(|errno| refused("pwrite(2) of the segment's description", errno))?;
        let mapping = DoubleMapping::new(&memfd, control, capacity)?;
        Ok(Self {
            mapping,
            control_length: control,
            capacity,
            _memfd: memfd,
        })
    }

    /// The shared words.
    #[inline]
    pub(crate) fn control(&self) -> &Control {
        // SAFETY: page-aligned, at least `size_of::<Control>()` long, mapped while `self` lives;
        // every field behind it is an atomic, for which any bit pattern is valid.
        unsafe { self.mapping.as_ptr().cast::<Control>().as_ref() }
    }

    /// Start of the data, which is mapped twice in a row while `self` lives.
    pub(crate) fn data(&self) -> NonNull<u8> {
        // SAFETY: the control part is so many bytes of the mapping.
        unsafe { self.mapping.as_ptr().add(self.control_length) }
    }

    /// Length of the data in bytes.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};

    #[test]
    fn a_new_segment_is_sealed_zeroed_and_described() {
        let segment = Segment::create(1 << 16).unwrap();
        let seals = fcntl(&segment._memfd, FcntlArg::F_GET_SEALS).unwrap();
        let wanted = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        assert!(SealFlag::from_bits_truncate(seals).contains(wanted));
        let mut bytes = [0; size_of::<Geometry>()];
        nix::sys::uio::pread(&segment._memfd, &mut bytes, 0).unwrap();
        let geometry: Geometry = zerocopy::FromBytes::read_from_bytes(&bytes).unwrap();
        assert_eq!(geometry, Geometry::new(page_size(), 1 << 16));
    }

    #[test]
    fn a_capacity_beyond_memory_is_an_error_and_not_a_crash() {
        let Err(error) = Segment::create(MAX_CAPACITY) else {
            panic!("1 TiB was given")
        };
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        assert!(
            error.to_string().contains(&MAX_CAPACITY.to_string()[..6]),
            "{error}"
        );
    }
}
