//! What the processes of this machine have open, as far as the caller may see it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use super::Process;
use crate::segment::label;

/// A descriptor of some process.
#[derive(Clone, Debug)]
pub(super) struct Descriptor {
    /// Index in [`Processes::all`].
    pub(super) process: usize,
    pub(super) fd: u32,
}

/// A descriptor whose link says that it is memory of a pipe; any file could be called that.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) held: Descriptor,
    /// What stands behind `/memfd:`.
    pub(super) name: String,
    pub(super) inode: u64,
    /// The mount that it is on, `mnt_id` of `/proc/PID/fdinfo`.
    pub(super) mount: u64,
}

/// What `/proc/PID/fdinfo` tells of a descriptor, without touching what it refers to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Info {
    pub(super) flags: libc::c_int,
    pub(super) mount: u64,
    pub(super) inode: u64,
}

impl Info {
    /// Reads it for descriptor `fd` of `process`, a number or `self`.
    pub(super) fn read(process: &str, fd: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{process}/fdinfo/{fd}")).ok()?;
        let field = |name| {
            let value = text.lines().find_map(|line| line.strip_prefix(name))?;
            Some(value.trim())
        };
        Some(Self {
            flags: libc::c_int::from_str_radix(field("flags:")?, 8).ok()?,
            mount: field("mnt_id:")?.parse().ok()?,
            inode: field("ino:")?.parse().ok()?,
        })
    }

    pub(super) fn is_writer(self) -> bool {
        self.flags & libc::O_ACCMODE == libc::O_WRONLY
    }
}

/// The open files of all processes, by kind.
#[derive(Debug, Default)]
pub(super) struct Processes {
    pub(super) all: Vec<Process>,
    pub(super) memories: Vec<Memory>,
    /// By inode.
    pub(super) sockets: HashMap<u64, Vec<Descriptor>>,
    /// By inode.
    pub(super) pipes: HashMap<u64, Vec<Descriptor>>,
    /// How many processes could not be looked into.
    pub(super) unreadable: usize,
}

impl Processes {
    /// Reads all of `/proc/PID/fd`. A process that ends meanwhile is passed over.
    ///
    /// # Errors
    ///
    /// What reading `/proc` itself reports.
    pub(super) fn list() -> io::Result<Self> {
        let mut found = Self::default();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            found.add(pid);
        }
        Ok(found)
    }

    fn add(&mut self, pid: u32) {
        let entries = match fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(entries) => entries,
            Err(error) => {
                if error.kind() == io::ErrorKind::PermissionDenied && !is_of_the_kernel(pid) {
                    self.unreadable += 1;
                }
                return;
            }
        };
        let process = self.all.len();
        for entry in entries.flatten() {
            let path = entry.path();
            let (Ok(target), Some(fd)) = (fs::read_link(&path), number(&path)) else {
                continue;
            };
            // The kernel's own texts are ASCII; a name that is not UTF-8 is some file's or a hostile one.
            let target = target.to_string_lossy();
            let held = Descriptor { process, fd };
            if let Some(inode) = inode(&target, "socket:[") {
                self.sockets.entry(inode).or_default().push(held);
            } else if let Some(inode) = inode(&target, "pipe:[") {
                self.pipes.entry(inode).or_default().push(held);
            } else if let Some(name) = target.strip_prefix("/memfd:")
                && let name = name.strip_suffix(" (deleted)").unwrap_or(name)
                && label::parse(name).is_some()
                && let Some(info) = Info::read(&pid.to_string(), fd)
            {
                self.memories.push(Memory {
                    held,
                    name: name.to_owned(),
                    inode: info.inode,
                    mount: info.mount,
                });
            }
        }
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        self.all.push(Process {
            pid,
            name: name.trim_end_matches('\n').to_owned(),
        });
    }

    /// Opens for reading what a descriptor refers to, if that is still the file with this inode.
    ///
    /// # Errors
    ///
    /// What open(2) reports, except that the descriptor or its process is gone.
    pub(super) fn open(&self, held: &Descriptor, inode: u64) -> io::Result<Option<File>> {
        let link = format!("/proc/{}/fd/{}", self.all[held.process].pid, held.fd);
        // Such a descriptor names a file and opens nothing (open(2), O_PATH), so what it names can be made sure of.
        let named = match File::options()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open(link)
        {
            Ok(named) => named,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let fd = named.as_raw_fd().unsigned_abs();
        if Info::read("self", fd).is_none_or(|info| info.inode != inode) {
            return Ok(None);
        }
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let mut options = File::options();
        options.read(true).custom_flags(flags);
        options.open(format!("/proc/self/fd/{fd}")).map(Some)
    }

    /// Whether a descriptor was opened for writing; `None` when it is gone.
    pub(super) fn is_writer(&self, held: &Descriptor) -> Option<bool> {
        let pid = self.all[held.process].pid.to_string();
        Info::read(&pid, held.fd).map(Info::is_writer)
    }

    /// The processes that have these descriptors.
    pub(super) fn of<'a>(&self, held: impl IntoIterator<Item = &'a Descriptor>) -> Vec<Process> {
        held.into_iter()
            .map(|held| self.all[held.process].clone())
            .collect()
    }
}

fn number(path: &std::path::Path) -> Option<u32> {
    path.file_name()?.to_str()?.parse().ok()
}

fn inode(target: &str, prefix: &str) -> Option<u64> {
    target.strip_prefix(prefix)?.strip_suffix(']')?.parse().ok()
}

/// Whether a process is a thread of the kernel, which has nothing open (`PF_KTHREAD`, proc_pid_stat(5)).
fn is_of_the_kernel(pid: u32) -> bool {
    const PF_KTHREAD: u32 = 0x0020_0000;
    let flags = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields = stat.rsplit_once(')')?.1;
        fields.split_ascii_whitespace().nth(6)?.parse::<u32>().ok()
    };
    flags().is_some_and(|flags| flags & PF_KTHREAD != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_own_texts_name_an_inode() {
        assert_eq!(inode("socket:[42]", "socket:["), Some(42));
        assert_eq!(inode("/tmp/socket:[42]", "socket:["), None);
        assert_eq!(inode("socket:[x]", "socket:["), None);
    }

    #[test]
    fn this_process_is_listed_and_is_not_the_kernels() {
        let us = std::process::id();
        let found = Processes::list().unwrap();
        assert!(found.all.iter().any(|process| process.pid == us));
        assert!(!is_of_the_kernel(us));
    }
}
