//! Finding out through /proc which processes have a socket or a pipe open (proc_pid_fd(5)).
//!
//! It sees what the caller may see: the processes of its pid namespace, and of these the ones that it could
//! trace. A descriptor that is under way in a socket is in no process.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::clock;
use super::refused::refused;

/// How the holders of one side of a pipe are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opposite {
    file: File,
    /// `CLOCK_MONOTONIC` when the side was made, where it can only have gone from process to process by fork(2) since.
    forked_since: Option<Duration>,
}

/// What they have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    /// The socket of this inode.
    Socket(u64),
    /// The pipe of this inode, for writing or for reading.
    Pipe { inode: u64, is_writer: bool },
}

impl Opposite {
    /// Who has the socket of this inode open.
    pub(crate) fn socket(inode: u64) -> Self {
        Self {
            file: File::Socket(inode),
            forked_since: None,
        }
    }

    /// Who has the pipe of this inode open, for writing or for reading.
    pub(crate) fn pipe(inode: u64, is_writer: bool) -> Self {
        Self {
            file: File::Pipe { inode, is_writer },
            forked_since: None,
        }
    }

    /// The same, of a side that has gone to others by fork(2) alone since this time.
    pub(crate) fn forked_since(self, made: Duration) -> Self {
        Self {
            forked_since: Some(made),
            ..self
        }
    }

    fn link(self) -> String {
        match self.file {
            File::Socket(inode) => format!("socket:[{inode}]"),
            File::Pipe { inode, .. } => format!("pipe:[{inode}]"),
        }
    }

    /// Whether a descriptor that leads to the right file is open in the right way, as the permissions of its
    /// entry show.
    fn is_open_rightly(self, entry: &Path) -> bool {
        const READ: u32 = libc::S_IRUSR;
        const WRITE: u32 = libc::S_IWUSR;
        let File::Pipe { is_writer, .. } = self.file else {
            return true;
        };
        let wanted = if is_writer { WRITE } else { READ };
        entry
            .symlink_metadata()
            .is_ok_and(|found| found.mode() & wanted != 0)
    }

    /// Whether the process of this id holds that side; `None` when it cannot be found out.
    pub(crate) fn is_held_by(self, id: u32) -> Option<bool> {
        match self.is_in(Path::new(&format!("/proc/{id}/fd"))) {
            Look::Found => Some(true),
            Look::NotFound => Some(false),
            Look::Nothing(is_certain) => {
                // Of a main thread that has ended nothing is shown, whatever the process's others have open.
                match Stat::of(id) {
                    Some(stat) if stat.main_has_ended() => self.is_held_by_a_thread_of(id),
                    _ => is_certain.then_some(false),
                }
            }
        }
    }

    fn is_held_by_a_thread_of(self, id: u32) -> Option<bool> {
        let threads = fs::read_dir(format!("/proc/{id}/task")).ok()?;
        let mut is_certain = true;
        for thread in threads.flatten() {
            match self.is_in(&thread.path().join("fd")) {
                Look::Found => return Some(true),
                Look::NotFound => {}
                Look::Nothing(_) => {
                    // One that has ended as well, or a stranger's.
                    let stat = Stat::in_folder(&thread.path());
                    is_certain = is_certain && stat.is_none_or(Stat::main_has_ended);
                }
            }
        }
        is_certain.then_some(false)
    }

    fn is_in(self, folder: &Path) -> Look {
        let link = self.link();
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            // It has ended meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Look::NotFound,
            Err(_) => return Look::Nothing(false),
        };
        let mut look = Look::Nothing(true);
        for entry in entries.flatten() {
            look = Look::NotFound;
            let path = entry.path();
            if fs::read_link(&path).is_ok_and(|to| to.as_os_str() == link.as_str())
                && self.is_open_rightly(&path)
            {
                return Look::Found;
            }
        }
        look
    }

    /// Whether a process that cannot be looked into can be a holder all the same; not so for one that has ended, for
    /// the kernel's own, and for one from before the side was made, if the side has gone by fork(2) alone.
    pub(crate) fn may_be_held_by(self, id: u32) -> bool {
        let Some(stat) = Stat::of(id) else {
            return true;
        };
        let is_older = self
            .forked_since
            .is_some_and(|made| stat.is_from_before(made));
        !(stat.has_ended() || stat.is_of_the_kernel() || is_older)
    }
}

/// What a look at a folder of descriptors comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Found,
    NotFound,
    /// No descriptor was seen; whether there was anything to see.
    Nothing(bool),
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
        Self::in_folder(Path::new(&format!("/proc/{id}")))
    }

    /// Of the process or thread of this folder of /proc.
    fn in_folder(folder: &Path) -> Option<Self> {
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
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

    /// Whether its main thread, or this one thread, has ended.
    fn main_has_ended(self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    /// Whether all its threads have ended: then nothing is open in it.
    fn has_ended(self) -> bool {
        self.main_has_ended() && self.threads <= 1
    }

    /// Whether it is a thread of the kernel, which holds nothing.
    fn is_of_the_kernel(self) -> bool {
        const PF_KTHREAD: u64 = 0x0020_0000;
        self.flags & PF_KTHREAD != 0
    }

    /// Whether it surely was there at this time of `CLOCK_MONOTONIC`.
    fn is_from_before(self, time: Duration) -> bool {
        // SAFETY: sysconf has no preconditions.
        let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        let Ok(ticks) = u64::try_from(ticks) else {
            return false;
        };
        // The start counts the time asleep too, so it may only seem later than it was; and it is rounded down.
        let started = self.start.saturating_add(1).saturating_mul(1000) / ticks.max(1);
        time <= clock::now() && Duration::from_millis(started) <= time
    }
}

/// Whether /proc shows the processes of other users as well (`hidepid`, proc(5)).
pub(crate) fn shows_all() -> bool {
    let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") else {
        return false;
    };
    // The last one at a place is the one that is seen.
    let Some(mount) = mounts
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some("/proc"))
    else {
        return false;
    };
    let hides = |option: &str| {
        let how = option.strip_prefix("hidepid=");
        how.is_some_and(|how| !["0", "off", "1", "noaccess"].contains(&how))
    };
    let options = mount.rsplit(' ').next().unwrap_or_default();
    !options.split(',').any(hides)
}

/// How a process calls itself (proc_pid_comm(5)); empty where that cannot be read.
pub(crate) fn name(id: u32) -> String {
    fs::read_to_string(format!("/proc/{id}/comm")).map_or_else(
        |_| String::new(),
        |text| text.trim_end_matches('\n').to_owned(),
    )
}
