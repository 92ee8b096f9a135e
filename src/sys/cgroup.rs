//! How much memory this process's control groups leave it (cgroups(7)).
//!
//! A group that runs out of memory does not make a call fail: the kernel kills a process of it. So who is about to
//! allocate much asks before. It asks at one moment; what others of the group take after that it cannot know.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One hierarchy of groups, by the names of its files.
struct Version {
    /// Most bytes that a group may have; in version 2 a word where there is no limit.
    limit: &'static str,
    /// Bytes that it has.
    usage: &'static str,
    /// What of them the kernel can take back: files that are cached.
    reclaimable: [&'static str; 2],
}

const V1: Version = Version {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    reclaimable: ["total_inactive_file", "total_active_file"],
};

/// `memory.high` is left out: who is over it is slowed down, not killed.
const V2: Version = Version {
    limit: "memory.max",
    usage: "memory.current",
    reclaimable: ["inactive_file", "active_file"],
};

/// Bytes that this process can have before one of its memory groups, up to the root of what it sees, is full. Swap
/// counts for nothing. `None` where there is no limit, or where the files do not say.
pub(crate) fn headroom() -> Option<u64> {
    headroom_below(Path::new("/"))
}

/// As [`headroom`], of the system whose root is at `root`.
fn headroom_below(root: &Path) -> Option<u64> {
    let groups = fs::read(root.join("proc/self/cgroup")).ok()?;
    let mounts = fs::read(root.join("proc/self/mountinfo")).ok()?;
    let found = lines(&groups).filter_map(|line| {
        let (version, group) = memory_group(line)?;
        let mount = lines(&mounts).find_map(|line| Mount::parse(line, version))?;
        mount.headroom(root, version, group)
    });
    found.min()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n')
}

/// The group of the hierarchy that this line of /proc/PID/cgroup names, where that is one with memory.
fn memory_group(line: &[u8]) -> Option<(&'static Version, &Path)> {
    let mut fields = line.splitn(3, |&byte| byte == b':');
    let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let version = if number == b"0" && controllers.is_empty() {
        &V2
    } else if controllers
        .split(|&byte| byte == b',')
        .any(|name| name == b"memory")
    {
        &V1
    } else {
        return None;
    };
    Some((version, Path::new(OsStr::from_bytes(path))))
}

/// Where a hierarchy is mounted, and which of its groups is shown there.
struct Mount {
    root: PathBuf,
    at: PathBuf,
}

impl Mount {
    /// Reads a line of /proc/PID/mountinfo (proc_pid_mountinfo(5)); `None` for other mounts.
    fn parse(line: &[u8], version: &Version) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, at) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        let is_wanted = if version.limit == V2.limit {
            kind == "cgroup2"
        } else {
            kind == "cgroup" && options.split(',').any(|option| option == "memory")
        };
        is_wanted.then(|| Self {
            root: unescaped(root),
            at: unescaped(at),
        })
    }

    /// The least that a group on the way from `group` to what is mounted leaves.
    fn headroom(&self, root: &Path, version: &Version, group: &Path) -> Option<u64> {
        // From inside a container the path may be one that cannot be seen: then what is mounted is what is known.
        let below = group.strip_prefix(&self.root).unwrap_or(Path::new(""));
        let mounted = root.join(self.at.strip_prefix("/").ok()?);
        let folders = below.ancestors().map(|folder| mounted.join(folder));
        folders.filter_map(|folder| version.left(&folder)).min()
    }
}

impl Version {
    /// What the group of this folder leaves; `None` where it has no limit.
    fn left(&self, folder: &Path) -> Option<u64> {
        let number = |file| -> Option<u64> {
            let text = fs::read_to_string(folder.join(file)).ok()?;
            text.trim().parse().ok()
        };
        let limit = number(self.limit)?;
        let used = number(self.usage)?;
        let cached = fs::read_to_string(folder.join("memory.stat")).map_or(0, |text| {
            let pairs = text.lines().filter_map(|line| line.split_once(' '));
            let of_files = pairs.filter(|(name, _)| self.reclaimable.contains(name));
            let bytes = of_files.filter_map(|(_, bytes)| bytes.parse::<u64>().ok());
            bytes.fold(0, u64::saturating_add)
        });
        Some(limit.saturating_sub(used.saturating_sub(cached)))
    }
}

/// A path of mountinfo, in which blanks are written as octal numbers.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match code {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    OsStr::from_bytes(&bytes).into()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A made-up system, gone with the value.
    struct System(PathBuf);

    impl System {
        fn new(name: &str, groups: &str, mounts: &str) -> Self {
            let name = format!("shmpipe-cgroup-{name}-{}", std::process::id());
            let system = Self(std::env::temp_dir().join(name));
            system.write("proc/self/cgroup", groups);
            system.write("proc/self/mountinfo", mounts);
            system
        }

        fn write(&self, file: &str, text: &str) {
            let path = self.0.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// A group's limit and usage.
        fn group(&self, version: &Version, folder: &str, limit: &str, usage: u64) {
            self.write(
                &format!("{folder}/{}", version.limit),
                &format!("{limit}\n"),
            );
            self.write(
                &format!("{folder}/{}", version.usage),
                &format!("{usage}\n"),
            );
        }

        fn headroom(&self) -> Option<u64> {
            headroom_below(&self.0)
        }
    }

    impl Drop for System {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const V2_MOUNT: &str = "22 20 0:20 / /proc rw - proc proc rw\n\
        30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1_MOUNTS: &str = "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
        35 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        36 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_tightest_group_on_the_way_up_counts() {
        let system = System::new("v2", "0::/a/b/c\n", V2_MOUNT);
        assert_eq!(system.headroom(), None);
        system.group(&V2, "sys/fs/cgroup/a/b/c", "max", 10);
        assert_eq!(system.headroom(), None);
        system.group(&V2, "sys/fs/cgroup/a/b", "1000", 10);
        assert_eq!(system.headroom(), Some(990));
        system.group(&V2, "sys/fs/cgroup/a", "500", 100);
        assert_eq!(system.headroom(), Some(400));
        system.group(&V2, "sys/fs/cgroup/a/b/c", "600", 599);
        assert_eq!(system.headroom(), Some(1));
        system.group(&V2, "sys/fs/cgroup/a/b/c", "600", 700);
        assert_eq!(system.headroom(), Some(0));
    }

    #[test]
    fn cached_files_can_be_taken_back() {
        let system = System::new("cache", "0::/a\n", V2_MOUNT);
        system.group(&V2, "sys/fs/cgroup/a", "1000", 900);
        let stat = "anon 100\nfile 800\nshmem 50\ninactive_file 300\nactive_file 400\n";
        system.write("sys/fs/cgroup/a/memory.stat", stat);
        assert_eq!(system.headroom(), Some(800));
    }

    #[test]
    fn the_older_hierarchy_is_found_beside_the_newer() {
        let groups = "4:cpu:/x\n3:memory:/job\n0::/\n";
        let system = System::new("v1", groups, V1_MOUNTS);
        let unlimited = "9223372036854771712";
        system.group(&V1, "sys/fs/cgroup/memory", unlimited, 5000);
        system.group(&V1, "sys/fs/cgroup/memory/job", "3000", 1000);
        assert_eq!(system.headroom(), Some(2000));
        let stat = "cache 900\ninactive_file 1\ntotal_inactive_file 500\ntotal_active_file 0\n";
        system.write("sys/fs/cgroup/memory/job/memory.stat", stat);
        assert_eq!(system.headroom(), Some(2500));
    }

    #[test]
    fn a_container_that_sees_its_own_group_as_the_root_finds_its_limit() {
        let mounts = "30 23 0:26 /docker/id /sys/fs/cg\\040roup rw - cgroup2 cgroup2 rw\n";
        let system = System::new("container", "0::/docker/id/inner\n", mounts);
        system.group(&V2, "sys/fs/cg roup", "700", 0);
        assert_eq!(system.headroom(), Some(700));
        system.group(&V2, "sys/fs/cg roup/inner", "600", 0);
        assert_eq!(system.headroom(), Some(600));
        // A path that leads out of what is mounted.
        system.write("proc/self/cgroup", "0::/../other\n");
        assert_eq!(system.headroom(), Some(700));
    }

    #[test]
    fn nonsense_is_no_limit() {
        let system = System::new("nonsense", "0::\n\n:\n0:\n", "- - -\n\nx - cgroup2\n");
        assert_eq!(system.headroom(), None);
        let system = System::new("words", "0::/\n", V2_MOUNT);
        system.group(&V2, "sys/fs/cgroup", "many", 0);
        assert_eq!(system.headroom(), None);
    }
}
