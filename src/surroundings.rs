//! What a process can learn and settle of its surroundings before the traffic begins: why the default chose kernel
//! pipes, and what is done once.

use std::io;
use std::sync::Arc;

use crate::{Connection, Receiver, Sender, receiver, sender, sys};

impl Sender {
    /// Why this end is a kernel pipe although shared memory is the default: what that was refused by.
    ///
    /// `None` where the backend was chosen, by [`PipeOptions::backend`](crate::PipeOptions::backend) or by
    /// `SHMPIPE_BACKEND`, and where the pipe is of shared memory. Clones and forked copies know it. An end that was
    /// handed over does not: the reason is one of the process that made the pipe.
    ///
    /// The error has kind, text and [number](crate::raw_os_error), as it would have been an error of
    /// [`pipe`](crate::PipeOptions::pipe) if shared memory had been chosen. That is the strict mode: a chosen backend
    /// never falls back.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Backend, PipeOptions};
    ///
    /// let (rx, _tx) = shmpipe::pipe()?;
    /// if let Some(reason) = rx.fallback_reason() {
    ///     eprintln!("slow pipes, since {reason}");
    /// }
    /// let (_, tx) = PipeOptions::new().backend(Backend::Kernel).pipe()?;
    /// assert!(tx.fallback_reason().is_none()); // it was chosen
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fallback_reason(&self) -> Option<&io::Error> {
        match &self.flavor {
            sender::Flavor::SharedMemory(_) => None,
            sender::Flavor::Kernel(tx) => tx.fallback().map(Arc::as_ref),
        }
    }

    /// Does now what would be done once, at the first call that needs it, so that this thread can close its sandbox
    /// after it.
    ///
    /// Making and attaching an end does most of that. What is left: who this process and this thread are, which a
    /// message in fragments needs; how many processors they may use, which a blocked call needs; and the page tables,
    /// as [`prefault`](Self::prefault). Call it in each thread that is to use the end under a filter: what a thread is
    /// cannot be found out by another. A forked child is another process.
    ///
    /// What the calls ask of the kernel from then on, by phase and backend, is in `docs/syscalls.md`: a list for a
    /// seccomp(2) filter.
    ///
    /// # Errors
    ///
    /// What the system calls report, with the name of the one that was refused.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// rx.warm_up()?;
    /// tx.warm_up()?;
    /// // From here on a filter may refuse all that docs/syscalls.md does not list.
    /// tx.send(b"from the sandbox")?;
    /// assert_eq!(&*rx.recv()?, b"from the sandbox");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn warm_up(&self) -> io::Result<()> {
        sys::warm_up()?;
        self.prefault()
    }
}

impl Receiver {
    /// As [`Sender::fallback_reason`].
    ///
    /// # Examples
    ///
    /// See there.
    pub fn fallback_reason(&self) -> Option<&io::Error> {
        self.fallback().map(Arc::as_ref)
    }

    /// The same, to be passed on to the other direction of a two-way pipe.
    pub(crate) fn fallback(&self) -> Option<&Arc<io::Error>> {
        match &self.flavor {
            receiver::Flavor::SharedMemory(_) => None,
            receiver::Flavor::Kernel(rx) => rx.fallback(),
        }
    }

    /// As [`Sender::warm_up`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// See there.
    pub fn warm_up(&self) -> io::Result<()> {
        sys::warm_up()?;
        self.prefault()
    }
}

impl Connection {
    /// As [`Sender::fallback_reason`]; both directions have the same.
    ///
    /// # Examples
    ///
    /// See there.
    pub fn fallback_reason(&self) -> Option<&io::Error> {
        self.halves().1.fallback_reason()
    }

    /// As [`Sender::warm_up`], for both directions.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// See there.
    pub fn warm_up(&self) -> io::Result<()> {
        let (receiver, sender) = self.halves();
        receiver.warm_up()?;
        sender.warm_up()
    }
}
