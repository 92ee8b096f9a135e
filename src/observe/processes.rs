//! What the processes of this machine have open, as far as the caller may see it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;
use nix::unistd::pipe2;

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

/// What `/proc/PID/fdinfo` says of a descriptor, without touching what it refers to.
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

    /// Whether it is open for both, as an end has its memory. Who only looks at that has it open for reading, or `O_PATH`.
    fn is_read_and_written(self) -> bool {
        self.flags & libc::O_ACCMODE == libc::O_RDWR
    }

    pub(super) fn is_writer(self) -> bool {
        self.flags & libc::O_ACCMODE == libc::O_WRONLY
    }
}

/// Where a file is and of which kind, as far as all that memfd_create(2) or pipe(2) makes has it in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `mnt_id`, of a mount that nobody can reach by a path.
    mount: u64,
    device: u64,
    /// `S_IFMT` of the mode.
    kind: libc::mode_t,
}

impl Place {
    /// That of all memory that memfd_create(2) makes; `None` where this process is refused any.
    pub(super) fn of_memory() -> Option<Self> {
        let memory = memfd_create(c"observer", MFdFlags::MFD_CLOEXEC).ok()?;
        Self::of_own(&memory)
    }

    /// That of all pipes.
    pub(super) fn of_pipes() -> Option<Self> {
        let (reader, _writer) = pipe2(OFlag::O_CLOEXEC).ok()?;
        Self::of_own(&reader)
    }

    fn of_own(file: &impl AsFd) -> Option<Self> {
        let number = file.as_fd().as_raw_fd().unsigned_abs();
        Self::of(file, Info::read("self", number)?.mount)
    }

    /// That of a file, if it is on this mount. Of others nothing is asked: a file system of somebody's own might not
    /// answer.
    fn of(file: &impl AsFd, mount: u64) -> Option<Self> {
        let number = file.as_fd().as_raw_fd().unsigned_abs();
        if Info::read("self", number)?.mount != mount {
            return None;
        }
        let found = fstat(file).ok()?;
        Some(Self {
            mount,
            device: found.st_dev,
            kind: found.st_mode & libc::S_IFMT,
        })
    }

    /// Whether a descriptor was seen on the same mount.
    pub(super) fn has(&self, memory: &Memory) -> bool {
        self.mount == memory.mount
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
            } else if let Some(name) = target.strip_prefix("/memfd:") {
                let name = name.strip_suffix(" (deleted)").unwrap_or(name);
                if label::parse(name).is_none() {
                    continue;
                }
                let info = Info::read(&pid.to_string(), fd);
                if let Some(info) = info.filter(|info| info.is_read_and_written()) {
                    self.memories.push(Memory {
                        held,
                        name: name.to_owned(),
                        inode: info.inode,
                        mount: info.mount,
                    });
                }
            }
        }
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        self.all.push(Process {
            pid,
            name: name.trim_end_matches('\n').to_owned(),
        });
    }

    /// Opens for reading what a descriptor refers to, if that is still the file with this inode, of the kind and in
    /// the place of `model`.
    ///
    /// The holder can put any file in its place at any moment (dup2(2)). Opening a file can have effects, ask a server
    /// that never answers, or read what the holder may not; so nothing is opened that is not of the kernel's own.
    ///
    /// # Errors
    ///
    /// What open(2) reports, except that the descriptor or its process is gone.
    pub(super) fn open(
        &self,
        held: &Descriptor,
        inode: u64,
        model: Place,
    ) -> io::Result<Option<File>> {
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
        if Info::read("self", fd).is_none_or(|info| info.inode != inode)
            || Place::of(&named, model.mount) != Some(model)
        {
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

    /// A descriptor can be another file by the time that it is opened, and files of all mounts share their numbers.
    #[test]
    fn a_file_that_has_taken_the_place_of_a_pipes_is_not_opened() {
        let found = Processes::list().unwrap();
        let us = std::process::id();
        let process = found.all.iter().position(|process| process.pid == us);
        let file = File::open("/proc/self/exe").unwrap();
        let held = Descriptor {
            process: process.unwrap(),
            fd: file.as_raw_fd().unsigned_abs(),
        };
        let inode = fstat(&file).unwrap().st_ino;
        for model in [Place::of_memory(), Place::of_pipes()] {
            let model = model.expect("this process may make both");
            assert!(found.open(&held, inode, model).unwrap().is_none());
        }
    }

    #[test]
    fn memory_and_pipes_are_opened_each_as_what_it_is() {
        let memory = memfd_create(c"observed", MFdFlags::MFD_CLOEXEC).unwrap();
        let (reader, _writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let found = Processes::list().unwrap();
        let us = std::process::id();
        let process = found.all.iter().position(|process| process.pid == us);
        let models = [Place::of_memory().unwrap(), Place::of_pipes().unwrap()];
        for (own, file) in [memory.as_fd(), reader.as_fd()].into_iter().enumerate() {
            let held = Descriptor {
                process: process.unwrap(),
                fd: file.as_raw_fd().unsigned_abs(),
            };
            let inode = fstat(file).unwrap().st_ino;
            for (other, &model) in models.iter().enumerate() {
                let opened = found.open(&held, inode, model).unwrap();
                assert_eq!(opened.is_some(), own == other, "{file:?} as {model:?}");
            }
            assert!(found.open(&held, inode + 1, models[own]).unwrap().is_none());
        }
    }

    #[test]
    fn this_process_is_listed_and_is_not_the_kernels() {
        let us = std::process::id();
        let found = Processes::list().unwrap();
        assert!(found.all.iter().any(|process| process.pid == us));
        assert!(!is_of_the_kernel(us));
    }
}
