//! What a process holds: its descriptors, its mappings of shared memory, and its memory.

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

/// What a process holds, to compare before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    fds: BTreeMap<RawFd, String>,
    mappings: usize,
    /// All that is mapped but the heap, in bytes. A sanitizer maps as it likes, and musl's heap is like other memory.
    #[cfg(not(any(shmpipe_sanitizer, target_env = "musl")))]
    bytes: u64,
}

impl Held {
    /// What the calling process holds now.
    pub(crate) fn now() -> Self {
        Self {
            fds: open_fds(),
            mappings: mappings(),
            #[cfg(not(any(shmpipe_sanitizer, target_env = "musl")))]
            bytes: mapped_bytes(),
        }
    }
}

#[cfg(not(any(shmpipe_sanitizer, target_env = "musl")))]
fn mapped_bytes() -> u64 {
    let maps = fs::read_to_string("/proc/self/maps").expect("procfs");
    let length = |line: &str| {
        let (start, rest) = line.split_once('-')?;
        let (end, _) = rest.split_once(' ')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some(number(end)? - number(start)?)
    };
    maps.lines()
        .filter(|line| !line.ends_with("[heap]") && !line.ends_with("[stack]"))
        .map(|line| length(line).expect("proc_pid_maps(5)"))
        .sum()
}

/// Raises the limit so that this process can have `most` descriptors; false, with a word on why the test is skipped, where
/// that is not allowed.
pub(crate) fn allowed_fds(most: u64) -> bool {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a valid resource");
    if hard < most {
        super::skipped(&format!("it needs {most} descriptors, and may have {hard}"));
        return false;
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(most), hard).expect("up to the hard limit");
    true
}

/// Runs `work` while no descriptor numbered `limit` or above can be made.
pub(crate) fn with_fd_limit<T>(limit: u64, work: impl FnOnce() -> T) -> T {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a valid resource");
    setrlimit(Resource::RLIMIT_NOFILE, limit, hard).expect("lowering the soft limit");
    let outcome = work();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("restoring the soft limit");
    outcome
}

/// What this process holds, as numbers to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// Open descriptors.
    pub(crate) fds: usize,
    /// Mappings of every kind.
    pub(crate) mappings: usize,
    /// Memory in use.
    pub(crate) resident_bytes: usize,
}

/// What this process holds now.
pub(crate) fn holdings() -> Holdings {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|field| field.trim().strip_suffix(" kB"));
    let kilobytes: usize = kilobytes
        .and_then(|number| number.parse().ok())
        .expect("a number of kilobytes, as proc_pid_status(5) has it");
    let maps = fs::read_to_string("/proc/self/maps").expect("procfs");
    // A sanitizer keeps what was freed, and maps as it likes.
    let is_ours = usize::from(!cfg!(shmpipe_sanitizer));
    Holdings {
        fds: open_fds().len(),
        mappings: maps.lines().count() * is_ours,
        resident_bytes: kilobytes * 1024 * is_ours,
    }
}

impl Holdings {
    /// Whether nothing has grown since then, apart from so many bytes of memory.
    pub(crate) fn is_flat_since(&self, then: &Self, slack_bytes: usize) -> bool {
        self.fds <= then.fds
            && self.mappings <= then.mappings
            && self.resident_bytes <= then.resident_bytes + slack_bytes
    }
}
