//! What a process can learn and settle of its surroundings before the traffic begins: why the default chose kernel
//! pipes, and what is done once.

use std::io;
use std::sync::Arc;

use crate::ends::{receiver, sender};
use crate::{Connection, Receiver, Sender, Spin, sys};

/// # Backend and surroundings
impl Sender {
    /// Why this end is a kernel pipe although shared memory is the default: the error that making it of shared memory
    /// would have been.
    ///
    /// It has the kind, text and [number](crate::raw_os_error) that [`pipe`](crate::PipeOptions::pipe) reports where
    /// shared memory was chosen and is refused. A chosen backend never falls back.
    ///
    /// `None` where the pipe is of shared memory, and where the backend was chosen by
    /// [`PipeOptions::backend`](crate::PipeOptions::backend) or `SHMPIPE_BACKEND`. Clones and forked copies have the
    /// reason too. An end that was handed over has none, since the refusal was the maker's and may not be its holder's.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Backend, PipeOptions};
    ///
    /// let (rx, _tx) = shmpipe::pipe()?;
    /// if let Some(reason) = rx.fallback_reason() {
    ///     eprintln!("kernel pipes, because {reason}");
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

    /// Does now what the first calls would do, so that this thread can close its sandbox afterwards.
    ///
    /// Making or attaching an end does most of that. This call does the rest. It finds out who this process and this
    /// thread are, which a message in fragments needs, and how many processors they may use, which a blocked call needs.
    /// It makes the descriptor by which [`close`](Self::close) wakes calls of other handles, one for the whole process.
    /// It also fills the page tables, as [`prefault`](Self::prefault) does. Call it in each thread that is to use the end
    /// under a filter, since no thread can do it for another, and again in a forked child.
    ///
    /// `docs/syscalls.md` lists the system calls of each phase and backend from then on, for a seccomp(2) filter.
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
        match &self.flavor {
            sender::Flavor::SharedMemory(tx) => tx.prepare_for_close()?,
            sender::Flavor::Kernel(tx) => tx.prepare_for_close()?,
        }
        self.prefault()
    }

    /// Sets how the blocked calls of this handle wait before they sleep, whatever
    /// [`PipeOptions::spin`](crate::PipeOptions::spin) said. Other handles, clones among them, keep that choice.
    ///
    /// It is for what only the process knows of itself. While a thread looks or yields, another thread of the process
    /// may want its CPU or an interpreter's lock. Then [`Spin::Never`] is the better choice.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::Spin;
    ///
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// rx.set_spin(Spin::Never);
    /// tx.set_spin(Spin::Never);
    /// tx.send(b"who waits for me sleeps at once")?;
    /// assert_eq!(rx.recv()?.len(), 31);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_spin(&mut self, spin: Spin) {
        if let sender::Flavor::SharedMemory(tx) = &mut self.flavor {
            tx.choose_spin(spin);
        }
    }
}

/// # Backend and surroundings
impl Receiver {
    /// Why the default fell back to kernel pipes, if it did. See [`Sender::fallback_reason`].
    ///
    /// # Examples
    ///
    /// See [`Sender::fallback_reason`].
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

    /// Does now what the first calls would do, as [`Sender::warm_up`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::warm_up`].
    ///
    /// # Examples
    ///
    /// See [`Sender::warm_up`].
    pub fn warm_up(&self) -> io::Result<()> {
        sys::warm_up()?;
        match &self.flavor {
            receiver::Flavor::SharedMemory(rx) => rx.prepare_for_close()?,
            receiver::Flavor::Kernel(rx) => rx.prepare_for_close()?,
        }
        self.prefault()
    }

    /// Sets how long a blocked call of this handle looks before it sleeps, as [`Sender::set_spin`] does.
    ///
    /// # Examples
    ///
    /// See [`Sender::set_spin`].
    pub fn set_spin(&mut self, spin: Spin) {
        if let receiver::Flavor::SharedMemory(rx) = &mut self.flavor {
            rx.choose_spin(spin);
        }
    }
}

/// # Backend and surroundings
impl Connection {
    /// Why the default fell back to kernel pipes, if it did; both directions have the same. See
    /// [`Sender::fallback_reason`].
    ///
    /// # Examples
    ///
    /// See [`Sender::fallback_reason`].
    pub fn fallback_reason(&self) -> Option<&io::Error> {
        self.halves().1.fallback_reason()
    }

    /// Does now what the first calls would do, as [`Sender::warm_up`] does, for both directions.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::warm_up`].
    ///
    /// # Examples
    ///
    /// See [`Sender::warm_up`].
    pub fn warm_up(&self) -> io::Result<()> {
        let (receiver, sender) = self.halves();
        receiver.warm_up()?;
        sender.warm_up()
    }
}
