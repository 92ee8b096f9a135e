//! Who holds a pipe: processes, and whether a side has holders at all.

/// A process as `/proc` shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Process {
    /// Its id in the caller's pid namespace.
    pub pid: u32,
    /// Its short name (`/proc/PID/comm`), which may hold any characters.
    pub name: String,
}

/// What is known of one side's holders.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holders {
    /// Those that the caller may see, by id.
    pub processes: Vec<Process>,
    /// Whether there is any holder, seen or not.
    pub presence: Presence,
}

/// Whether a side has a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Presence {
    /// At least one: a process, or a message in which the end travels (`SCM_RIGHTS`).
    Held,
    /// None any more; the other side gets end-of-file or a broken pipe.
    Gone,
    /// That cannot be told: the pipe belongs to another network namespace, or processes are not readable.
    Unknown,
}

impl Holders {
    pub(super) fn new(mut processes: Vec<Process>, if_none_is_seen: Presence) -> Self {
        processes.sort();
        processes.dedup();
        let presence = if processes.is_empty() {
            if_none_is_seen
        } else {
            Presence::Held
        };
        Self {
            processes,
            presence,
        }
    }
}
