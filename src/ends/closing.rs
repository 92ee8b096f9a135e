//! Closing a side of a pipe in this process, whatever handles there are.
//!
//! How that is done while other threads are inside calls is in `backend::closing`.

use std::io;

use crate::ends::receiver::Flavor as RxFlavor;
use crate::ends::sender::Flavor as TxFlavor;
use crate::{Connection, Receiver, Sender};

/// # Closing beside other handles
impl Sender {
    /// Closes the sending side in this process, for all its handles. From now on this process is no holder of it.
    ///
    /// A drop closes one handle, and the last drop closes the side. That is not enough for a handle that nobody can drop.
    /// In a child that was forked while another thread had a handle, the copy belongs to a thread that the child does not
    /// have. It keeps the side open as long as the child lives, and receivers elsewhere wait in vain for their
    /// end-of-file. So such a child calls `close` on any handle to that side that it can reach.
    ///
    /// Other processes are not affected, not even the one that forked this one, and neither is the other side in this
    /// process. They find what they find when a process exits. What was sent stays to be received. In this process:
    ///
    /// - Every later call of any handle to this side is refused with `Io` of the kind
    ///   [`NotConnected`](io::ErrorKind::NotConnected), also [`try_clone`](Self::try_clone) and handing it over.
    /// - A call that another thread is inside ends with the same error, whatever it waits for, or as if it had come
    ///   before. A message is sent whole or not at all. For one that was received in part the other receivers get
    ///   [`Aborted`](crate::RecvError::Aborted). The close waits for calls that are in the middle of a change. A call that
    ///   waits for another process's slot, view or message ends after 50 ms at the latest. Any other is woken at once.
    /// - A [`Slot`](crate::Slot) cannot be committed any more, and a [`View`](crate::View) stays as it was. Either keeps
    ///   others of its side waiting until it is dropped. So does a task's long message until the task runs. A sender that
    ///   sleeps for the room of such a view hears of it by the next receive of another process.
    /// - The numbers of the descriptors, and one more, stay taken until the last handle is dropped. They stand for a socket
    ///   that is hung up, so no other descriptor is ever used in their place, whatever the threads are doing.
    ///   [`as_fd`](std::os::fd::AsFd) shows the end as ready. A poll(2) of your own that has begun before is not ended,
    ///   and keeps the side open until it returns. Copies of descriptors, as by [`into_fds`](Self::into_fds), stay open.
    ///
    /// It may be called again, or at the same time on several handles.
    ///
    /// The process has one descriptor more, an eventfd(2), once a call of an end with clones has slept, or after
    /// [`warm_up`](Self::warm_up). It serves all such ends and lives as long as they do. Where it could not be had, the
    /// calls that sleep look every 50 ms instead.
    ///
    /// # Errors
    ///
    /// - `EMFILE`: two descriptors could not be had, and nothing is closed; or `RLIMIT_NOFILE` has been lowered below the
    ///   numbers of the descriptors. Then all calls may be refused already, and the side stays open until a close that
    ///   succeeds.
    /// - `Deadlock`: a signal handler, or an [`Interrupt`](crate::Interrupt) hook, called in the middle of a change by
    ///   another call of this crate.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// let kept = tx.try_clone()?; // by another thread, say
    /// tx.send(b"the last")?;
    /// tx.close()?;
    /// assert_eq!(&*rx.recv()?, b"the last");
    /// assert!(matches!(rx.recv(), Err(shmpipe::RecvError::Disconnected)));
    /// let refused = std::io::Error::from(tx.send(b"x").unwrap_err());
    /// assert_eq!(refused.kind(), std::io::ErrorKind::NotConnected);
    /// # drop(kept);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) -> io::Result<()> {
        match &self.flavor {
            TxFlavor::SharedMemory(tx) => tx.close(),
            TxFlavor::Kernel(tx) => tx.close(),
        }
    }
}

/// # Closing beside other handles
impl Receiver {
    /// Closes the receiving side in this process, for all its handles, as [`Sender::close`] does a sending one.
    ///
    /// What a handle has taken out of the pipe by [`BufRead`](io::BufRead) and not handed out is still handed out by that
    /// handle.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::close`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (rx, mut tx) = shmpipe::pipe()?;
    /// let mut kept = rx.try_clone()?;
    /// let blocked = std::thread::spawn(move || kept.recv().map(drop));
    /// rx.close()?;
    /// assert!(matches!(blocked.join().unwrap(), Err(shmpipe::RecvError::Io(_))));
    /// assert!(matches!(tx.send(b"x"), Err(shmpipe::SendError::Disconnected)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close(&self) -> io::Result<()> {
        match &self.flavor {
            RxFlavor::SharedMemory(rx) => rx.close(),
            RxFlavor::Kernel(rx) => rx.close(),
        }
    }
}

/// # Closing beside other handles
impl Connection {
    /// Closes this end, both directions of it, in this process and for all its handles, as [`Sender::close`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::close`]. The other direction is closed all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, mut right) = shmpipe::duplex()?;
    /// let kept = left.try_clone()?;
    /// left.close()?;
    /// assert!(matches!(right.recv(), Err(shmpipe::RecvError::Disconnected)));
    /// # drop(kept);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close(&self) -> io::Result<()> {
        self.receiver.close().and(self.sender.close())
    }
}
