//! Messages that carry descriptors, and whole ends that travel in messages.
//!
//! For pipes made with [`PipeOptions::descriptors`](crate::PipeOptions::descriptors); how a message keeps
//! together with its descriptors is the backends' business.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::ends::{receiver, sender};
use crate::error::Fault;
use crate::ring::payload::Destination;
use crate::sys::clock::{Deadline, Timeout};
use crate::sys::scm_rights::MAX_FDS;
use crate::{
    Message, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender,
    TryRecvError, TrySendError,
};

mod connection;
mod ends;

pub(crate) use ends::MAX_END_CAPACITY;
pub use ends::SendEndError;
#[cfg(feature = "tokio")]
pub(crate) use ends::put_together;

/// # Descriptors in messages
impl Sender {
    /// Sends `message` and copies of `fds` with it, whole or not at all, and blocks while the pipe is full.
    ///
    /// The receiver gets descriptors of its own for the same open files, as by dup(2), close-on-exec and in the
    /// same order. Until then the files stay open although no process has the copies, so the caller may close its own
    /// at once. The copies are closed when the last receiver goes without having received them, or when the process
    /// that received them ends. With no descriptors this is [`send`](Self::send).
    ///
    /// A message with descriptors goes in one piece: it takes up to an eighth of the capacity less 16 bytes, 4080
    /// bytes over kernel pipes. Some 270 such messages wait at most; then the call blocks until receivers have
    /// taken most of them.
    ///
    /// # Errors
    ///
    /// The errors of [`send`](Self::send), and
    ///
    /// - [`TooLarge`](SendError::TooLarge): longer than one piece;
    /// - [`Io`](SendError::Io): `Unsupported` for a pipe without
    ///   [`descriptors`](crate::PipeOptions::descriptors), `InvalidInput` for more than 253 (`SCM_MAX_FD`, unix(7)),
    ///   and what sendmsg(2) reports, `ETOOMANYREFS` where this user has too many in flight. Nothing was sent then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::os::{fd::AsFd, unix::net::UnixStream};
    ///
    /// let (mut rx, mut tx) = shmpipe::PipeOptions::new().descriptors(true).pipe()?;
    /// let (mut reader, writer) = UnixStream::pair()?;
    /// tx.send_with_fds(b"write your log here", &[writer.as_fd()])?;
    /// drop(writer); // the one under way stays open
    ///
    /// let (message, mut fds) = rx.recv_with_fds()?;
    /// assert_eq!(&*message, b"write your log here");
    /// let mut log = std::fs::File::from(fds.remove(0));
    /// log.write_all(b"done")?;
    /// drop(log);
    /// let mut text = String::new();
    /// reader.read_to_string(&mut text)?;
    /// assert_eq!(text, "done");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_with_fds(
        &mut self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), SendError> {
        Ok(self.send_with_descriptors(message, fds, Timeout::FOREVER)?)
    }

    /// Sends `message` with copies of descriptors if there is room now, and never blocks. Otherwise it is like
    /// [`send_with_fds`](Self::send_with_fds).
    ///
    /// # Errors
    ///
    /// The errors of [`send_with_fds`](Self::send_with_fds), and [`Full`](TrySendError::Full): no room for the
    /// message or for what it carries, or another holder is in the middle of a send.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::AsFd;
    ///
    /// let (mut rx, mut tx) = shmpipe::PipeOptions::new().descriptors(true).pipe()?;
    /// let null = std::fs::File::open("/dev/null")?;
    /// tx.try_send_with_fds(b"one", &[null.as_fd()])?;
    /// while tx.try_send_with_fds(b"another", &[null.as_fd()]).is_ok() {}
    /// let outcome = tx.try_send_with_fds(b"one too many", &[null.as_fd()]);
    /// assert!(matches!(outcome, Err(shmpipe::TrySendError::Full)));
    /// assert_eq!(&*rx.recv_with_fds()?.0, b"one");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_send_with_fds(
        &mut self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), TrySendError> {
        Ok(self.send_with_descriptors(message, fds, Timeout::Never)?)
    }

    /// Sends `message` with copies of descriptors, and blocks no longer than `timeout`. Otherwise it is like
    /// [`send_with_fds`](Self::send_with_fds).
    ///
    /// # Errors
    ///
    /// The errors of [`send_with_fds`](Self::send_with_fds), and [`Timeout`](SendTimeoutError::Timeout), not before
    /// its time; nothing was sent then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use std::time::Duration;
    ///
    /// let (_rx, mut tx) = shmpipe::PipeOptions::new().descriptors(true).pipe()?;
    /// let null = std::fs::File::open("/dev/null")?;
    /// tx.send_with_fds_timeout(b"there is room", &[null.as_fd()], Duration::from_millis(10))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_with_fds_timeout(
        &mut self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
        timeout: Duration,
    ) -> Result<(), SendTimeoutError> {
        let timeout = Timeout::Until(Deadline::after(timeout));
        Ok(self.send_with_descriptors(message, fds, timeout)?)
    }

    /// The socket in which the descriptors of messages travel, where the pipe carries any.
    #[cfg(feature = "tokio")]
    pub(crate) fn ancillary(&self) -> Option<BorrowedFd<'_>> {
        match &self.flavor {
            sender::Flavor::SharedMemory(tx) => tx.ancillary(),
            sender::Flavor::Kernel(tx) => tx.ancillary(),
        }
    }

    pub(crate) fn send_with_descriptors(
        &mut self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
        timeout: Timeout,
    ) -> Result<(), Fault> {
        if fds.is_empty() {
            return self.send_within(message, timeout);
        }
        if fds.len() > MAX_FDS {
            let text = format!(
                "{} descriptors are over the limit of {MAX_FDS} for one message",
                fds.len()
            );
            let kind = io::ErrorKind::InvalidInput;
            return Err(Fault::Io(io::Error::new(kind, text)));
        }
        let (len, max) = (message.len(), self.limit);
        if len > max {
            return Err(Fault::TooLarge { len, max });
        }
        match &mut self.flavor {
            sender::Flavor::SharedMemory(tx) => tx.send_with_descriptors(message, fds, timeout),
            sender::Flavor::Kernel(tx) => tx.send_with_descriptors(message, fds, timeout),
        }
    }
}

/// # Descriptors in messages
impl Receiver {
    /// Receives the next message and the descriptors that it carries, if any. Blocks while the pipe is empty.
    ///
    /// The other receiving calls leave a message with descriptors where it is and report
    /// [`CarriesDescriptors`](RecvError::CarriesDescriptors).
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv), and [`Io`](RecvError::Io) with `EMFILE` where this process cannot open so
    /// many descriptors: the message and all that it carries stay.
    ///
    /// # Examples
    ///
    /// See [`Sender::send_with_fds`].
    pub fn recv_with_fds(&mut self) -> Result<(Message<'_>, Vec<OwnedFd>), RecvError> {
        Ok(self.recv_with_descriptors(Timeout::FOREVER)?)
    }

    /// Receives the next message and its descriptors if one is there, and never blocks. Otherwise it is like
    /// [`recv_with_fds`](Self::recv_with_fds).
    ///
    /// # Errors
    ///
    /// The errors of [`recv_with_fds`](Self::recv_with_fds), and [`Empty`](TryRecvError::Empty) where
    /// [`try_recv`](Self::try_recv) returns it.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::PipeOptions::new().descriptors(true).pipe()?;
    /// assert!(matches!(rx.try_recv_with_fds(), Err(shmpipe::TryRecvError::Empty)));
    /// tx.send(b"with nothing")?;
    /// let (message, fds) = rx.try_recv_with_fds()?;
    /// assert_eq!((message.len(), fds.len()), (12, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv_with_fds(&mut self) -> Result<(Message<'_>, Vec<OwnedFd>), TryRecvError> {
        Ok(self.recv_with_descriptors(Timeout::Never)?)
    }

    /// Receives the next message and its descriptors, and blocks no longer than `timeout`. Otherwise it is like
    /// [`recv_with_fds`](Self::recv_with_fds).
    ///
    /// # Errors
    ///
    /// The errors of [`recv_with_fds`](Self::recv_with_fds), and [`Timeout`](RecvTimeoutError::Timeout), not before
    /// its time; nothing is lost by it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (mut rx, _tx) = shmpipe::PipeOptions::new().descriptors(true).pipe()?;
    /// let outcome = rx.recv_with_fds_timeout(Duration::from_millis(1));
    /// assert!(matches!(outcome, Err(shmpipe::RecvTimeoutError::Timeout)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_with_fds_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<(Message<'_>, Vec<OwnedFd>), RecvTimeoutError> {
        Ok(self.recv_with_descriptors(Timeout::Until(Deadline::after(timeout)))?)
    }

    pub(crate) fn recv_with_descriptors(
        &mut self,
        timeout: Timeout,
    ) -> Result<(Message<'_>, Vec<OwnedFd>), Fault> {
        let mut fds = Vec::new();
        let message = self.recv_by(|flavor, bytes| {
            let fds = &mut fds;
            let into = Destination::WithDescriptors { bytes, fds };
            match flavor {
                receiver::Flavor::SharedMemory(rx) => crate::backend::Rx::recv(rx, into, timeout),
                receiver::Flavor::Kernel(rx) => crate::backend::Rx::recv(rx, into, timeout),
            }
        })?;
        Ok((message, fds))
    }
}
