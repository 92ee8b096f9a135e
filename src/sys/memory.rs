//! memfd_create(2) and mmap(2): sealed shared memory that is there for good once it is made.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use memmap2::MmapOptions;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::uio::pwrite;

use super::descriptors::beyond_standard_streams;
use super::refused::refused;
use crate::sync::{AtomicU32, Ordering};

/// The size of a page in bytes, a power of two.
pub(crate) fn page_size() -> usize {
    // SAFETY: sysconf has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("sysconf(3) always knows the page size")
}

/// Memory in bytes that can be had without swapping, in the whole system and in this process's memory cgroup.
fn available_memory() -> Option<u64> {
    let bounds = [available_in_the_system(), super::cgroup::headroom()];
    bounds.into_iter().flatten().min()
}

/// What the kernel believes can be had without swapping (proc_meminfo(5)).
fn available_in_the_system() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// What a mapped segment of `length` bytes takes in all: a page table entry for each page of both views, and the
/// kernel's own books.
fn with_tables(length: usize) -> u64 {
    let length = length as u64;
    length.saturating_add(length / 128)
}

/// How the pages of a memfd come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocation {
    /// When they are used.
    Later,
    /// When it is made, by fallocate(2); the kernel zeroes each when it is used first.
    Ahead,
    /// When it is made, by writing zeros. For what is mapped and touched at once: the kernel then maps many pages by one
    /// fault, where each fault zeroes one page else (`docs/performance.md`, "Making a pipe").
    Zeroed,
}

/// Makes a memfd of `length` zero bytes named `name`, allocates its pages, and seals its size.
///
/// # Errors
///
/// `OutOfMemory` when `length` is beyond the memory at hand, of the system or of the memory cgroup: allocating
/// pages one by one would else call the OOM killer before it failed. A short one is not compared, since that reads
/// several files. `FileTooLarge` when it is beyond `RLIMIT_FSIZE`, for which
/// ftruncate(2) would end the process by SIGXFSZ. Otherwise what memfd_create(2), ftruncate(2),
/// fallocate(2), pwrite(2) and fcntl(2) report.
pub(crate) fn sealed_memfd(
    name: &std::ffi::CStr,
    length: usize,
    allocation: Allocation,
) -> io::Result<OwnedFd> {
    const WORTH_A_LOOK: usize = 1 << 20;
    if length > WORTH_A_LOOK {
        let available = available_memory();
        if let Some(available) = available.filter(|&available| with_tables(length) > available) {
            return Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                format!(
                    "a segment of {length} bytes is beyond the {available} bytes that are free in the system and in \
                     this process's memory cgroup"
                ),
            ));
        }
    }
    let (longest, _) = getrlimit(Resource::RLIMIT_FSIZE)
        .map_err(|errno| refused("getrlimit(2), RLIMIT_FSIZE", errno))?;
    if length as u64 > longest {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("a memfd of {length} bytes is over RLIMIT_FSIZE, which is {longest} bytes"),
        ));
    }
    let fd = memfd(name)?;
    let size = i64::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    nix::unistd::ftruncate(&fd, size)
        .map_err(|errno| refused(format_args!("ftruncate(2) to {size} bytes"), errno))?;
    match allocation {
        Allocation::Later => {}
        Allocation::Ahead => allocate(&fd, length)?,
        Allocation::Zeroed => write_zeros(&fd, size)?,
    }
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))
        .map_err(|errno| refused("sealing the size by fcntl(2), F_ADD_SEALS", errno))?;
    Ok(fd)
}

/// Makes sure that the maker of a memfd that was handed over has paid for all of it; an honest one has.
///
/// Holes that are punched after this look are filled by whoever touches them, one page for each access
/// (`docs/safety.md`).
///
/// # Errors
///
/// `InvalidData` for a file with holes.
pub(crate) fn refuse_holes(fd: &OwnedFd, length: usize) -> io::Result<()> {
    const BLOCK: u64 = 512; // the unit of st_blocks, inode(7)
    // Pages that were swapped out count. Those of a huge page count even beyond the end of the file.
    let allocated = nix::sys::stat::fstat(fd)?
        .st_blocks
        .unsigned_abs()
        .saturating_mul(BLOCK);
    if allocated < length as u64 {
        let number = fd.as_raw_fd();
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "the memfd {number} has holes: it claims {length} bytes, and {allocated} bytes are allocated"
            ),
        ));
    }
    Ok(())
}

/// Makes sure that every page of the first `length` bytes is there (fallocate(2)).
pub(crate) fn allocate(fd: &OwnedFd, length: usize) -> io::Result<()> {
    let size = i64::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    fallocate(fd, FallocateFlags::empty(), 0, size)
        .map_err(|errno| refused(format_args!("fallocate(2) of {size} bytes"), errno))
}

/// Writes zeros to the first `size` bytes.
fn write_zeros(fd: &OwnedFd, size: i64) -> io::Result<()> {
    // A ring of the default capacity by one call.
    static ZEROS: [u8; 128 * 1024] = [0; 128 * 1024];
    let mut offset = 0;
    while offset < size {
        let left = usize::try_from(size - offset).unwrap_or(usize::MAX);
        match pwrite(fd, &ZEROS[..left.min(ZEROS.len())], offset) {
            Ok(written @ 1..) => offset += written as i64,
            Err(Errno::EINTR) => {}
            outcome => {
                let errno = outcome.err().unwrap_or(Errno::ENOSPC);
                return Err(refused(
                    format_args!("pwrite(2) of {size} zero bytes"),
                    errno,
                ));
            }
        }
    }
    Ok(())
}

/// memfd_create(2) with `MFD_NOEXEC_SEAL` where the kernel has it (Linux 6.3).
fn memfd(name: &std::ffi::CStr) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    for flags in [flags | libc::MFD_NOEXEC_SEAL, flags] {
        // SAFETY: the name is a live C string.
        let fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
        if fd >= 0 {
            // SAFETY: the call has just made this descriptor, and nobody else has it.
            return beyond_standard_streams(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINVAL) {
            return Err(refused("memfd_create(2)", error));
        }
    }
    let error = io::Error::from_raw_os_error(libc::EINVAL);
    Err(refused("memfd_create(2) with sealing", error))
}

/// A shared mapping of a whole segment: a control part, then the data twice in a row.
///
/// The second copy of the data follows the first without a gap and shows the same memory, so a run
/// of up to `data` bytes that starts anywhere in the first copy never has to wrap around.
pub(crate) struct DoubleMapping {
    /// Unmaps the whole range when dropped.
    range: memmap2::MmapRaw,
    /// Where the control part begins: the first aligned place of the range.
    start: NonNull<u8>,
    /// Length of the control part and of both copies of the data.
    length: usize,
}

/// How the pages of a mapping are to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pages {
    /// The page tables are filled before anybody else has the memory, so that no access is a page fault.
    pub(crate) are_filled: bool,
    /// What the start is aligned to, a power of two of at least a page.
    pub(crate) alignment: usize,
    /// A core dump of this process holds them (core(5)); once, although they are mapped twice.
    pub(crate) are_dumped: bool,
}

// SAFETY: plain shared memory; what is done with it is the business of those who hold the mapping.
unsafe impl Send for DoubleMapping {}
// SAFETY: as above.
unsafe impl Sync for DoubleMapping {}

impl DoubleMapping {
    /// Maps the `control + data` bytes of `fd` shared and writable. Both lengths are multiples of the
    /// page size and the file is at least that long and sealed against shrinking.
    pub(crate) fn new(fd: &OwnedFd, control: usize, data: usize, pages: Pages) -> io::Result<Self> {
        // One reservation for the whole range. Where its start is aligned as it comes, it is the first view at the same
        // time, and what lies behind that is never touched, only replaced.
        let length = control + 2 * data;
        let slack = pages.alignment - page_size();
        let reserved_length = length + slack;
        let mut reservation = MmapOptions::new();
        reservation.len(reserved_length);
        let reserved = if slack == 0 {
            reservation.map_raw(fd)
        } else {
            reservation.map_anon().map(memmap2::MmapRaw::from)
        };
        let range = reserved
            .map_err(|error| refused(format_args!("mmap(2) of {reserved_length} bytes"), error))?;
        let unaligned = range.as_mut_ptr();
        let start = unaligned.wrapping_add(unaligned.align_offset(pages.alignment));
        if slack != 0 {
            map_over(start, control + data, fd, 0)?;
        }
        let second = start.wrapping_add(control + data);
        map_over(second, data, fd, control)?;
        // Without it a dump is larger and no worse.
        let _ = keep_from_dumps(second, data);
        if !pages.are_dumped {
            keep_from_dumps(start, control + data)?;
        }
        let mapping = Self {
            range,
            start: NonNull::new(start).expect("mmap gave an address"),
            length,
        };
        if pages.are_filled {
            mapping.touch();
        }
        Ok(mapping)
    }

    /// Touches each page, of memory that is allocated.
    ///
    /// By reads where the processor by itself notes the first write: the kernel then maps the pages around as well, 64 KiB
    /// of them, and they may be written to since nobody wants to hear of it. Else by writes that change nothing.
    fn touch(&self) {
        for offset in (0..self.length).step_by(page_size()) {
            // SAFETY: inside the mapping.
            let page = unsafe { self.start.add(offset) };
            // SAFETY: aligned to a page, mapped while `self` lives, and any bits are a valid atomic.
            let word = unsafe { page.cast::<AtomicU32>().as_ref() };
            if cfg!(target_arch = "x86_64") {
                word.load(Ordering::Relaxed);
            } else {
                word.fetch_or(0, Ordering::Relaxed);
            }
        }
    }

    /// Start of the control part.
    pub(crate) fn as_ptr(&self) -> NonNull<u8> {
        self.start
    }

    /// Length of all that is mapped.
    pub(crate) fn len(&self) -> usize {
        debug_assert!(self.length <= self.range.len(), "inside its reservation");
        self.length
    }
}

/// Maps `length` bytes of `fd` from `offset` over a range that the caller has reserved.
fn map_over(at: *mut u8, length: usize, fd: &OwnedFd, offset: usize) -> io::Result<()> {
    let length = NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput)?;
    let offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
    // SAFETY: the range lies inside the caller's own reservation, which nothing refers to yet.
    unsafe {
        mmap(
            NonZeroUsize::new(at.addr()),
            length,
            protection,
            flags,
            fd,
            offset,
        )
    }
    .map_err(|errno| refused(format_args!("mmap(2) of {length} shared bytes"), errno))?;
    Ok(())
}

/// Leaves a range of the caller's own mapping out of core dumps (`MADV_DONTDUMP`).
fn keep_from_dumps(start: *mut u8, length: usize) -> io::Result<()> {
    let start = NonNull::new(start).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: the advice changes nothing that a program can see of its memory.
    unsafe { madvise(start.cast(), length, MmapAdvise::MADV_DONTDUMP) }
        .map_err(|errno| refused("madvise(2), MADV_DONTDUMP", errno))
}

/// One page that this process shares with its forked children and with nobody else, zeroed and never
/// given back. What the kernel backend locks with where memfd is refused.
pub(crate) struct SharedPage {
    start: NonNull<u8>,
    length: NonZeroUsize,
}

// SAFETY: plain memory; what is done with it is the business of those who hold the page.
unsafe impl Send for SharedPage {}
// SAFETY: as above.
unsafe impl Sync for SharedPage {}

impl SharedPage {
    /// Maps a page of `fd`, or an anonymous one.
    pub(crate) fn new(fd: Option<&OwnedFd>) -> io::Result<Self> {
        let length = NonZeroUsize::new(page_size()).ok_or(io::ErrorKind::InvalidData)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_SHARED;
        let start = match fd {
            // SAFETY: a new mapping at an address of the kernel's choice.
            Some(fd) => unsafe { mmap(None, length, protection, flags, fd.as_fd(), 0) },
            // SAFETY: as above.
            None => unsafe { mmap_anonymous(None, length, protection, flags) },
        };
        let start = start
            .map_err(|errno| refused(format_args!("mmap(2) of {length} shared bytes"), errno))?;
        Ok(Self {
            start: start.cast(),
            length,
        })
    }

    /// Start of the page.
    pub(crate) fn as_ptr(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        // SAFETY: this value made the mapping and lends no reference that outlives it.
        let outcome = unsafe { nix::sys::mman::munmap(self.start.cast(), self.length.get()) };
        debug_assert!(outcome.is_ok(), "munmap of our own page: {outcome:?}");
    }
}

/// Maps a page that reads 0 in a forked child until the child writes it (`MADV_WIPEONFORK`, Linux
/// 4.14). It is never unmapped.
///
/// # Errors
///
/// What mmap(2) and madvise(2) report.
pub(crate) fn wiped_on_fork() -> io::Result<NonNull<u8>> {
    let length = NonZeroUsize::new(page_size()).ok_or(io::ErrorKind::InvalidData)?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new private mapping at an address of the kernel's choice.
    let page = unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_PRIVATE) }
        .map_err(|errno| refused(format_args!("mmap(2) of {length} private bytes"), errno))?;
    // SAFETY: the page is ours and nothing refers to it yet.
    match unsafe { madvise(page, length.get(), MmapAdvise::MADV_WIPEONFORK) } {
        Ok(()) => Ok(page.cast()),
        Err(error) => {
            // SAFETY: as above.
            let _ = unsafe { nix::sys::mman::munmap(page, length.get()) };
            Err(refused("madvise(2), MADV_WIPEONFORK", error))
        }
    }
}
