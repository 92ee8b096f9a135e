//! What the machine calls a page.

/// Bytes of a page: 4096 on x86_64, up to 65536 on aarch64.
pub(crate) fn page_size() -> usize {
    // SAFETY: it takes one of the numbers that sysconf(3) knows.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).expect("the kernel's page size is known")
}
