//! A cgroup whose processes get the time of one CPU together, where one can be made.
//!
//! cgroup v2 (`cpu.max`) and v1 (`cpu.cfs_quota_us`) both; it is removed again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The period of the quota in microseconds; the quota is as much. Shorter than the usual 100 ms, so that a slice
/// has several.
const PERIOD_MICROS: u64 = 20_000;

/// Such a cgroup; dropped, it is removed.
#[derive(Debug)]
pub struct Quota(PathBuf);

impl Quota {
    /// Makes one below the cgroup of this process or one above it.
    ///
    /// # Errors
    ///
    /// What the last attempt met, in words.
    pub fn make() -> Result<Self, String> {
        let read =
            |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
        let candidates = candidates(&read("/proc/self/mounts")?, &read("/proc/self/cgroup")?);
        let mut last = String::from("no cgroup file system with the controller cpu is mounted");
        for (version, parent) in candidates {
            let path = parent.join(format!("shmpipe-compare-{}", std::process::id()));
            match fs::create_dir(&path) {
                Err(error) => last = format!("{}: {error}", path.display()),
                Ok(()) => {
                    let quota = Self(path);
                    match quota.set(version) {
                        Ok(()) => return Ok(quota),
                        Err(error) => last = error,
                    }
                }
            }
        }
        Err(last)
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn set(&self, version: Version) -> Result<(), String> {
        let write = |name: &str, text: String| {
            let path = self.0.join(name);
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        match version {
            Version::Two => write("cpu.max", format!("{PERIOD_MICROS} {PERIOD_MICROS}")),
            Version::One => {
                write("cpu.cfs_period_us", PERIOD_MICROS.to_string())?;
                write("cpu.cfs_quota_us", PERIOD_MICROS.to_string())
            }
        }
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // One that is left behind has no process and costs nothing.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Moves this process into the cgroup at `path`; its children are born there.
pub fn enter(path: &Path) -> io::Result<()> {
    let file = path.join("cgroup.procs");
    fs::write(&file, "0")
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Directories in which one may be made, nearest to this process first, by the lists of mounts (proc_pid_mounts(5))
/// and cgroups (cgroups(7)).
fn candidates(mounts: &str, cgroups: &str) -> Vec<(Version, PathBuf)> {
    let mut all = Vec::new();
    for mount in mounts.lines() {
        let fields: Vec<_> = mount.split(' ').collect();
        let [_, place, kind, options, ..] = fields[..] else {
            continue;
        };
        let version = match kind {
            "cgroup2" => Version::Two,
            "cgroup" if options.split(',').any(|option| option == "cpu") => Version::One,
            _ => continue,
        };
        let own = cgroups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let is_it = match version {
                Version::One => controllers.split(',').any(|one| one == "cpu"),
                Version::Two => controllers.is_empty(),
            };
            is_it.then_some(path)
        });
        let own = Path::new(own.unwrap_or("/"));
        for path in own.ancestors() {
            let below = path.strip_prefix("/").unwrap_or(path);
            all.push((version, Path::new(place).join(below)));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_comes_before_those_above_it() {
        let mounts = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\nproc /proc proc rw 0 0\n";
        let expected = ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup/"];
        let expected: Vec<_> = expected.map(|path| (Version::Two, path.into())).into();
        assert_eq!(candidates(mounts, "0::/a/b\n"), expected);
    }

    #[test]
    fn of_version_one_only_the_hierarchy_with_cpu_counts() {
        let mounts =
            "cgroup /cg/mem cgroup rw,memory 0 0\ncgroup /cg/cpu cgroup rw,cpu,cpuacct 0 0\n";
        let cgroups = "2:memory:/m\n1:cpu,cpuacct:/\n0::/\n";
        let expected = [(Version::One, "/cg/cpu/".into())];
        assert_eq!(candidates(mounts, cgroups), expected);
    }

    #[test]
    fn nothing_is_possible_without_a_controller() {
        assert!(candidates("proc /proc proc rw 0 0\n", "0::/\n").is_empty());
    }
}
