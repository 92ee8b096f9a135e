//! Finding out through /proc which processes have a socket or a pipe open (proc_pid_fd(5)).
//!
//! It sees what the caller may see: the processes of its pid namespace, and of these the ones that it could
//! trace. A descriptor that is under way in a socket is in no process.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::refused::refused;

/// How the holders of one side of a pipe are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opposite {
    /// They have the socket of this inode open.
    Socket(u64),
    /// They have the pipe of this inode open, for writing or for reading.
    Pipe { inode: u64, is_writer: bool },
}

impl Opposite {
    fn link(self) -> String {
        match self {
            Self::Socket(inode) => format!("socket:[{inode}]"),
            Self::Pipe { inode, .. } => format!("pipe:[{inode}]"),
        }
    }

    /// Whether a descriptor that leads to the right file is open in the right way, as the permissions of its
    /// entry show.
    fn is_open_rightly(self, entry: &Path) -> bool {
        const READ: u32 = libc::S_IRUSR;
        const WRITE: u32 = libc::S_IWUSR;
        let Self::Pipe { is_writer, .. } = self else {
            return true;
        };
        let wanted = if is_writer { WRITE } else { READ };
        entry
            .symlink_metadata()
            .is_ok_and(|found| found.mode() & wanted != 0)
    }

    /// Whether the process of this entry of /proc holds that side; `None` when it cannot be told.
    pub(crate) fn is_held_by(self, process: &Path) -> Option<bool> {
        let link = self.link();
        let entries = match fs::read_dir(process.join("fd")) {
            Ok(entries) => entries,
            // It has ended meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(false),
            Err(_) => return None,
        };
        Some(entries.flatten().any(|entry| {
            let path = entry.path();
            fs::read_link(&path).is_ok_and(|to| to.as_os_str() == link.as_str())
                && self.is_open_rightly(&path)
        }))
    }
}

/// The ids of all processes that can be seen, lowest first.
///
/// # Errors
///
/// What reading /proc reports.
pub(crate) fn processes() -> io::Result<Vec<u32>> {
    let entries = fs::read_dir("/proc").map_err(|error| refused("reading /proc", error))?;
    let id = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let mut ids: Vec<u32> = entries.flatten().filter_map(id).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// The calling process's own id in /proc; none where that is mounted for another pid namespace.
pub(crate) fn own() -> Option<u32> {
    let id = std::process::id();
    let link = fs::read_link("/proc/self").ok()?;
    (link.to_str()?.parse() == Ok(id)).then_some(id)
}

/// What proc_pid_stat(5) says of a process, to everybody who sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    /// Of its main thread, as a letter.
    state: u8,
    /// `PF_` flags of linux/sched.h.
    flags: u64,
    /// Its threads, with a main thread that has ended.
    threads: u64,
    /// When it was started, in clock ticks since the machine was.
    pub(crate) start: u64,
}

impl Stat {
    /// Of the process of this id; none where it has ended or cannot be seen.
    pub(crate) fn of(id: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The second field is a name in brackets, which may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        // Fields are counted from 1 there, and the third is the first here.
        let number = |field: usize| fields.get(field - 3)?.parse().ok();
        Some(Self {
            state: *fields.first()?.as_bytes().first()?,
            flags: number(9)?,
            threads: number(20)?,
            start: number(22)?,
        })
    }
}

/// Whether a process that cannot be looked into is nevertheless one of this user, and so may have been handed
/// a descriptor by ordinary means.
pub(crate) fn is_of_this_user(id: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{id}/status")) else {
        return false;
    };
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let real = line.and_then(|ids| ids.split_ascii_whitespace().next()?.parse().ok());
    // SAFETY: no preconditions, and it cannot fail.
    real == Some(unsafe { libc::getuid() })
}

/// How a process calls itself (proc_pid_comm(5)); empty where that cannot be read.
pub(crate) fn name(id: u32) -> String {
    fs::read_to_string(format!("/proc/{id}/comm")).map_or_else(
        |_| String::new(),
        |text| text.trim_end_matches('\n').to_owned(),
    )
}
