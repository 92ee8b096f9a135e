//! A memory cgroup of its own for a test (cgroups(7)), of either version.

use std::fs;
use std::path::{Path, PathBuf};

/// A group with a limit; removed when it is dropped, by which time nobody may be in it.
#[derive(Debug)]
pub(crate) struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// Makes a group of so many bytes. `None` where that is not allowed, or where there are no memory groups.
    pub(crate) fn of(bytes: u64) -> Option<Self> {
        let name = format!("shmpipe-test-{}", std::process::id());
        let made = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        made.into_iter().find_map(|(parent, limit)| {
            // Version 2 gives a controller to the groups below only where it was told to.
            let _ = fs::write(Path::new(parent).join("cgroup.subtree_control"), "+memory");
            let group = Self(Path::new(parent).join(&name));
            fs::create_dir(&group.0).ok()?;
            fs::write(group.0.join(limit), bytes.to_string()).ok()?;
            Some(group)
        })
    }

    /// Puts the calling process into the group.
    pub(crate) fn enter(&self) {
        let process = std::process::id().to_string();
        fs::write(self.0.join("cgroup.procs"), process).expect("a group that was just made");
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
