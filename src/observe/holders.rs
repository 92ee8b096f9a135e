//! Who holds a pipe: processes, and whether a side has holders at all.

/// A process as `/proc` shows it.
///
/// # Examples
///
/// See [`Holders`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Process {
    /// Its id in the caller's pid namespace.
    pub pid: u32,
    /// Its short name (`/proc/PID/comm`), which may hold any characters.
    pub name: String,
}

/// What is known of one side's holders.
///
/// # Examples
///
/// ```
/// use shmpipe::observe::{Pipe, Presence, Survey};
///
/// let (_rx, tx) = shmpipe::PipeOptions::new().label("held").pipe()?;
/// drop(tx);
/// let survey = Survey::take()?;
/// let own = |pipe: &&Pipe| pipe.is_held_by(std::process::id()) && pipe.label.as_deref() == Some("held");
/// let pipe = survey.pipes.iter().find(own).expect("our own process is readable");
///
/// assert_eq!(pipe.receivers.presence, Presence::Held);
/// assert_eq!(pipe.receivers.processes[0].pid, std::process::id());
/// assert_eq!(pipe.senders.presence, Presence::Closed);
/// assert!(pipe.senders.processes.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holders {
    /// Those that the caller may see, by id.
    pub processes: Vec<Process>,
    /// Whether there is any holder, seen or not.
    pub presence: Presence,
}

/// Whether a side has a holder.
///
/// # Examples
///
/// See [`Holders`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Presence {
    /// At least one: a process, or a message in which the end travels (`SCM_RIGHTS`).
    Held,
    /// None any more; the other side gets end-of-file or a broken pipe.
    Closed,
    /// Nobody knows: the pipe belongs to another network namespace, or processes are not readable.
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
