//! madvise(2) on shared memory: page tables that are filled ahead of its use, and huge pages.
//!
//! What the memory holds never changes by it.

use std::ffi::c_int;
use std::io;
use std::ptr::NonNull;

use super::refused::refused;

/// How long the huge pages are that shared memory can be made of, where the kernel has any.
const HUGE_PAGE_SIZE: &str = "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size";

/// madvise(2), Linux 6.1; not in libc yet.
const MADV_COLLAPSE: c_int = 25;

/// How often what was only busy is tried again.
const TRIES: usize = 16;

/// The length of a huge page in bytes, a power of two; `None` where the kernel has no transparent ones
/// (Documentation/admin-guide/mm/transhuge.rst).
pub(crate) fn huge_page_size() -> Option<usize> {
    let text = std::fs::read_to_string(HUGE_PAGE_SIZE).ok()?;
    let size: usize = text.trim().parse().ok()?;
    size.is_power_of_two().then_some(size)
}

/// Fills the page tables of this process for mapped shared memory (`MADV_POPULATE_WRITE`, Linux 5.14), so that
/// no access to it is a page fault.
///
/// # Errors
///
/// What madvise(2) reports.
pub(crate) fn fill_tables(start: NonNull<u8>, length: usize) -> io::Result<()> {
    advise(start, length, libc::MADV_POPULATE_WRITE).map_err(|error| {
        refused(
            format_args!("madvise(2), MADV_POPULATE_WRITE, of {length} bytes"),
            error,
        )
    })
}

/// Makes mapped shared memory one of huge pages, as far as whole ones lie in it; `start` and its place in the file
/// are aligned to their size.
///
/// # Errors
///
/// What madvise(2) reports: `ENOMEM` where no huge page can be had, `EINVAL` where there are none for shared memory.
pub(crate) fn make_huge(start: NonNull<u8>, length: usize) -> io::Result<()> {
    let mut tries = 0;
    loop {
        tries += 1;
        match advise(start, length, MADV_COLLAPSE) {
            // A page was in use for a moment. What has been done stays done.
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && tries < TRIES => {
                std::thread::yield_now();
            }
            outcome => {
                return outcome.map_err(|error| {
                    refused(
                        format_args!("huge pages for {length} bytes by madvise(2), MADV_COLLAPSE"),
                        error,
                    )
                });
            }
        }
    }
}

fn advise(start: NonNull<u8>, length: usize, advice: c_int) -> io::Result<()> {
    // SAFETY: neither advice changes, moves or gives back what any memory holds, wherever it lies.
    let outcome = unsafe { libc::madvise(start.as_ptr().cast(), length, advice) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
