//! What a process holds: its descriptors and its mappings of shared memory.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::RawFd;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The descriptors of this process, with what each refers to.
pub(crate) fn open_fds() -> BTreeMap<RawFd, String> {
    let entries = fs::read_dir("/proc/self/fd").expect("procfs");
    let names: Vec<_> = entries
        .map(|entry| entry.expect("an entry of procfs").path())
        .collect();
    // The listing's own descriptor is closed by now: its link does not resolve any more.
    let resolved = names.iter().filter_map(|path| {
        let number = path.file_name()?.to_str()?.parse().ok()?;
        Some((
            number,
            fs::read_link(path).ok()?.to_string_lossy().into_owned(),
        ))
    });
    resolved.collect()
}

/// How many mappings of memory made by this crate the process has.
pub(crate) fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("procfs");
    maps.lines()
        .filter(|line| line.contains("memfd:shmpipe"))
        .count()
}

/// Runs `work` while no descriptor numbered `limit` or above can be made.
pub(crate) fn with_fd_limit<T>(limit: u64, work: impl FnOnce() -> T) -> T {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a valid resource");
    setrlimit(Resource::RLIMIT_NOFILE, limit, hard).expect("lowering the soft limit");
    let outcome = work();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("restoring the soft limit");
    outcome
}
