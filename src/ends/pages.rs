//! A pipe's memory: its name, page tables that are filled ahead, huge pages, and core dumps.

use std::io;

use crate::ends::options::invalid_input;
use crate::ends::{receiver, sender};
use crate::segment::geometry::Flags;
use crate::segment::label;
use crate::{Connection, PipeOptions, Receiver, Sender};

/// # Name and memory
impl PipeOptions {
    /// Names the pipe for those who look at it from outside: its memory shows in `/proc/PID/fd` as
    /// `memfd:shmpipe:LABEL`, on the kernel backend the page beside the pipe as `memfd:shmpipe-kernel:LABEL`,
    /// and `shmpipe ls` prints the label.
    ///
    /// Nothing else depends on it, and several pipes may have the same one. A kernel pipe has none where
    /// memfd_create(2) is refused.
    ///
    /// [`pipe`](Self::pipe) and [`duplex`](Self::duplex) report `InvalidInput`, naming the value, for a label
    /// that is empty, longer than 234 bytes (what memfd_create(2) leaves of its 249), or has a control
    /// character in it, NUL among them.
    ///
    /// # Examples
    ///
    /// ```
    /// let (_rx, tx) = shmpipe::PipeOptions::new().label("frames").pipe()?;
    /// let names: Vec<_> = std::fs::read_dir("/proc/self/fd")?
    ///     .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
    ///     .collect();
    /// assert!(names.iter().any(|name| name.to_string_lossy().contains(":frames")));
    /// # drop(tx);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn label(mut self, label: &str) -> Self {
        self.label = Some(label.to_owned());
        self
    }

    /// The label, once it is known that it can be one.
    pub(crate) fn checked_label(&self) -> io::Result<Option<&str>> {
        if let Some(wanted) = &self.label {
            label::check(wanted).map_err(invalid_input)?;
        }
        Ok(self.label.as_deref())
    }

    /// Sets whether the page tables for the pipe's memory are filled when it is made, as they are by default. Then no send
    /// or receive of the process that made it meets a page fault.
    ///
    /// With `false` each process has a page fault (some microseconds) at its first access to each page of 4 KiB. That
    /// suits pipes of very large capacity of which little may ever be used, since filling the tables takes a millisecond
    /// for some 7 MiB. The memory itself is allocated when the pipe is made in either case;
    /// [`allocate`](Self::allocate) puts that off too.
    ///
    /// A forked process begins with empty tables for memory that it shares, and so does one to which an end is handed
    /// over, whatever was chosen here. [`Sender::prefault`] fills them there. That does not happen by itself, because an
    /// end from a hostile process could then allocate all that it claims at its taker's cost.
    ///
    /// It has no effect on the kernel backend, whose pipes are not mapped.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::PipeOptions::new().capacity(32 << 20).prefault(false).pipe()?;
    /// tx.send(b"in the first of many pages")?;
    /// assert_eq!(rx.recv()?.len(), 26);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn prefault(mut self, fill: bool) -> Self {
        self.flags = self.flags.with(Flags::UNFILLED, !fill);
        self
    }

    /// Sets whether the pipe's memory is allocated when it is made, as it is by default.
    ///
    /// With `false` each page is allocated at its first use, and the page tables are not filled ahead. That suits programs
    /// that make many pipes and fill few: making and closing a pipe of 256 KiB then takes a third of the time. The price
    /// is paid on a system, or in a memory cgroup, without memory. There the kernel ends a process at such a first use,
    /// and making the pipe was no error.
    ///
    /// Forked processes share the memory as it is. What is not allocated yet is allocated when an end is handed over
    /// otherwise: by [`into_fds`](Sender::into_fds), [`as_fds`](Sender::as_fds), [`inherit`](Sender::inherit) or in a
    /// message.
    ///
    /// It has no effect on the kernel backend.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::PipeOptions::new().capacity(1 << 20).allocate(false).pipe()?;
    /// tx.send(b"in the first of 256 pages")?;
    /// assert_eq!(rx.recv()?.len(), 25);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn allocate(mut self, allocate: bool) -> Self {
        self.allocate = allocate;
        self
    }

    /// Makes the pipe's memory of huge pages (2 MiB on x86_64). The capacity must be one of them at least. The gains are
    /// fewer misses of the CPU's address cache for messages of a MiB, and one page fault in place of 512.
    ///
    /// They are the kernel's transparent ones (`MADV_COLLAPSE` of madvise(2), Linux 6.1). These need no reservation, and
    /// are made whatever `/sys/kernel/mm/transparent_hugepage/shmem_enabled` says, unless it is `deny`. Each costs about a
    /// millisecond when the pipe is made. Processes to which an end is handed over get them too.
    ///
    /// [`pipe`](Self::pipe) and [`duplex`](Self::duplex) report `InvalidInput` for a capacity of less than a huge page and
    /// where the kernel has none for shared memory, and `OutOfMemory` where none can be had.
    ///
    /// It has no effect on the kernel backend.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = shmpipe::PipeOptions::new().huge_pages(true);
    /// match options.clone().capacity(8 << 20).pipe() {
    ///     Ok((mut rx, mut tx)) => {
    ///         tx.send(&[7; 100_000])?;
    ///         assert_eq!(rx.recv()?.len(), 100_000);
    ///     }
    ///     Err(error) => println!("none to be had here: {error}"),
    /// }
    ///
    /// let error = options.backend(shmpipe::Backend::SharedMemory).capacity(65_536).pipe().unwrap_err();
    /// assert!(error.to_string().contains("65536"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn huge_pages(mut self, huge: bool) -> Self {
        self.flags = self.flags.with(Flags::HUGE, huge);
        self
    }

    /// Sets whether core dumps of the processes that hold the pipe leave its memory out (`MADV_DONTDUMP`, madvise(2)). By
    /// default they do not, and have the ring once.
    ///
    /// It is a property of the pipe, so it holds for forked processes and for those to which an end is handed over.
    /// Messages that a program has received, or not sent yet, lie in its own memory and are dumped. Nothing is promised
    /// where another holder is hostile: it can read the messages anyway.
    ///
    /// It has no effect on the kernel backend, where only the message that is being sent or received is in the memory of a
    /// process.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = shmpipe::PipeOptions::new().exclude_from_core_dumps(true);
    /// let (mut rx, mut tx) = options.pipe()?;
    /// tx.send(b"a secret")?;
    /// assert_eq!(&*rx.recv()?, b"a secret");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn exclude_from_core_dumps(mut self, exclude: bool) -> Self {
        self.flags = self.flags.with(Flags::UNDUMPED, exclude);
        self
    }
}

/// # Page tables
impl Sender {
    /// Fills the page tables of this process for the pipe's memory, so that no later access is a page fault.
    ///
    /// It is for a forked process and for one to which an end was handed over, since these begin with empty tables. The
    /// process that makes a pipe has filled them already, unless [`PipeOptions::prefault`] forbade it. One call is enough
    /// for all ends of a pipe that a forked process holds. The call neither blocks nor looks at messages, and does nothing
    /// on the kernel backend.
    ///
    /// Pages that a hostile holder of the pipe has given back to the system are allocated again, up to the capacity.
    ///
    /// # Errors
    ///
    /// What madvise(2) reports.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// // In a child, after fork(2):
    /// tx.prefault()?;
    /// tx.send(b"without a page fault")?;
    /// assert_eq!(rx.recv()?.len(), 20);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prefault(&self) -> io::Result<()> {
        match &self.flavor {
            sender::Flavor::SharedMemory(tx) => tx.fill_tables(),
            sender::Flavor::Kernel(_) => Ok(()),
        }
    }
}

/// # Page tables
impl Receiver {
    /// Fills this process's page tables for the whole pipe, as [`Sender::prefault`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::prefault`].
    pub fn prefault(&self) -> io::Result<()> {
        match &self.flavor {
            receiver::Flavor::SharedMemory(rx) => rx.fill_tables(),
            receiver::Flavor::Kernel(_) => Ok(()),
        }
    }
}

/// # Page tables
impl Connection {
    /// Fills this process's page tables for the whole pipe, as [`Sender::prefault`] does, for both directions.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::prefault`].
    pub fn prefault(&self) -> io::Result<()> {
        let (receiver, sender) = self.halves();
        receiver.prefault()?;
        sender.prefault()
    }
}
