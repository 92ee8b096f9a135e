//! How a pipe's memory is mapped: page tables that are filled ahead, and huge pages.

use std::io;

use crate::segment::geometry::Flags;
use crate::{Connection, PipeOptions, Receiver, Sender, receiver, sender};

impl PipeOptions {
    /// Whether the page tables for the pipe's memory are filled when it is made, and in a process to which an end is
    /// handed over when it takes it; so they are by default. Then no first send or receive is a page fault.
    ///
    /// Without, that cost is put off: each process has a page fault (some microseconds) at its first access to each
    /// page of 4 KiB. It is for pipes of very large capacity of which little may ever be used, where to fill the
    /// tables takes a millisecond for some 7 MiB. The memory itself is allocated when the pipe is made in either
    /// case.
    ///
    /// A forked process begins with empty tables for memory that it shares, whatever was chosen here:
    /// [`Sender::prefault`] fills them there.
    ///
    /// Without effect on the kernel backend, whose pipes are not mapped.
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

    /// Makes the pipe's memory of huge pages (2 MiB on x86_64), of which the capacity must be one at least: fewer
    /// misses of the CPU's address cache for messages of a MiB, and one page fault in place of 512.
    ///
    /// They are the kernel's transparent ones (`MADV_COLLAPSE` of madvise(2), Linux 6.1), which need no reservation
    /// and are made whatever `/sys/kernel/mm/transparent_hugepage/shmem_enabled` says, unless it is `deny`. To make
    /// them costs about a millisecond for each when the pipe is made. Processes to which an end is handed over get
    /// them too.
    ///
    /// [`pipe`](Self::pipe) and [`duplex`](Self::duplex) report `InvalidInput` for a capacity of less than a huge
    /// page and where the kernel has none for shared memory, `OutOfMemory` where none can be had.
    ///
    /// Without effect on the kernel backend.
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
}

impl Sender {
    /// Fills the page tables of this process for the pipe's memory, so that no later access is a page fault.
    ///
    /// It is for a forked process, which begins with empty ones; whoever makes a pipe or is handed an end has filled
    /// them already, but for [`PipeOptions::prefault`]. Of all ends of a pipe that a process holds, one is enough.
    /// Neither blocks nor looks at messages, and does nothing on the kernel backend.
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

impl Receiver {
    /// As [`Sender::prefault`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn prefault(&self) -> io::Result<()> {
        match &self.flavor {
            receiver::Flavor::SharedMemory(rx) => rx.fill_tables(),
            receiver::Flavor::Kernel(_) => Ok(()),
        }
    }
}

impl Connection {
    /// As [`Sender::prefault`], for both directions.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn prefault(&self) -> io::Result<()> {
        let (receiver, sender) = self.halves();
        receiver.prefault()?;
        sender.prefault()
    }
}
