//! Who holds the other side of a pipe.

use std::io;

use crate::backend::{Rx as _, Tx as _};
use crate::ends::{receiver, sender};
use crate::sys::holders::{self, Opposite};
use crate::{Connection, Receiver, Sender};

/// A process that holds the other side of a pipe, as [`Receiver::holders`] found it.
///
/// # Examples
///
/// ```
/// let (rx, _tx) = shmpipe::pipe()?;
/// for holder in rx.holders()? {
///     println!("held by {} ({})", holder.name(), holder.id());
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    id: u32,
    name: String,
}

impl Holder {
    /// The process id, in the pid namespace of /proc.
    ///
    /// # Examples
    ///
    /// See [`Holder`].
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What the process calls itself (proc_pid_comm(5)), at most 15 bytes; empty where that cannot be read.
    ///
    /// # Examples
    ///
    /// See [`Holder`].
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// # Who holds the other side
impl Receiver {
    /// Lists the processes that hold a sender of this pipe, lowest id first. End-of-file comes when all of them have
    /// closed it or ended. The calling process is one of them if it holds a sender itself, by an end, by descriptors, or
    /// by a `Command` that is to [`inherit`](Sender::inherit) one.
    ///
    /// They are found without their help, by a look at every process's descriptors in /proc (proc_pid_fd(5)). That takes
    /// some 10 µs for each process of the system. The list is a snapshot, for people and logs, and may be out of date
    /// already. It does not have processes that the caller may not trace (other users', unless it is root), those outside
    /// of its pid namespace, and ends that are under way in a socket and in no process.
    ///
    /// # Errors
    ///
    /// What reading /proc reports.
    ///
    /// # Examples
    ///
    /// ```
    /// let (rx, tx) = shmpipe::pipe()?;
    /// let holders = rx.holders()?;
    /// assert_eq!(holders.len(), 1);
    /// assert_eq!(holders[0].id(), std::process::id());
    /// drop(tx);
    /// assert!(rx.holders()?.is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn holders(&self) -> io::Result<Vec<Holder>> {
        all(&[self.opposite()?])
    }

    fn opposite(&self) -> io::Result<Opposite> {
        match &self.flavor {
            receiver::Flavor::SharedMemory(rx) => rx.opposite(),
            receiver::Flavor::Kernel(rx) => rx.opposite(),
        }
    }
}

/// # Who holds the other side
impl Sender {
    /// Lists the processes that hold a receiver of this pipe, as [`Receiver::holders`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::holders`].
    pub fn holders(&self) -> io::Result<Vec<Holder>> {
        all(&[self.opposite()?])
    }

    fn opposite(&self) -> io::Result<Opposite> {
        match &self.flavor {
            sender::Flavor::SharedMemory(tx) => tx.opposite(),
            sender::Flavor::Kernel(tx) => tx.opposite(),
        }
    }
}

/// # Who holds the other side
impl Connection {
    /// Lists the processes that hold the other end, or one half of it, as [`Receiver::holders`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::holders`].
    pub fn holders(&self) -> io::Result<Vec<Holder>> {
        let (receiver, sender) = self.halves();
        of_both(receiver, sender)
    }
}

/// The processes that hold the other side of either half of a connection.
pub(crate) fn of_both(receiver: &Receiver, sender: &Sender) -> io::Result<Vec<Holder>> {
    all(&[receiver.opposite()?, sender.opposite()?])
}

/// The processes that hold any of these.
fn all(opposites: &[Opposite]) -> io::Result<Vec<Holder>> {
    let holds = |&id: &u32| {
        let is_reserved = |side: &Opposite| side.is_held_by(id) == Some(true);
        opposites.iter().any(is_reserved)
    };
    let ids = holders::processes()?.into_iter().filter(holds);
    Ok(ids
        .map(|id| Holder {
            id,
            name: holders::name(id),
        })
        .collect())
}
