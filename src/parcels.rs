//! Messages that carry descriptors, and whole ends that travel in messages.
//!
//! For pipes made with [`PipeOptions::descriptors`](crate::PipeOptions::descriptors); how a message keeps
//! together with its descriptors is the backends' business.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::Fault;
use crate::ring::destination::Destination;
use crate::sys::clock::Patience;
use crate::sys::parcels::MOST;
use crate::{Connection, End, Message, Receiver, RecvError, SendError, Sender, receiver, sender};

impl Sender {
    /// Sends `message` and copies of `fds` with it, whole or not at all, blocking while the pipe is full.
    ///
    /// The receiver gets descriptors of its own for the same open files, as by dup(2), close-on-exec, in the
    /// same order. Until then they are open although no process has them, and the caller may close its own at
    /// once. They are closed when the last receiver goes without having received them, or dies having. With no
    /// descriptors this is [`send`](Self::send).
    ///
    /// A message with descriptors goes in one piece: it takes up to an eighth of the capacity less 16 bytes, 4080
    /// bytes over kernel pipes. Some 270 such messages wait at most; then the call blocks until receivers have
    /// taken most of them.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and
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
    /// use std::os::fd::AsFd;
    ///
    /// let (mut rx, mut tx) = shmpipe::PipeOptions::new().descriptors(true).pipe()?;
    /// let (mut reader, mut writer) = std::io::pipe()?;
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
        if fds.is_empty() {
            return self.send(message);
        }
        if fds.len() > MOST {
            let text = format!(
                "{} descriptors are over the limit of {MOST} for one message",
                fds.len()
            );
            return Err(SendError::Io(io::Error::new(
                io::ErrorKind::InvalidInput,
                text,
            )));
        }
        self.check_limit(message)?;
        let patience = Patience::FOREVER;
        match &mut self.flavor {
            sender::Flavor::SharedMemory(tx) => tx.send_parcel(message, fds, patience),
            sender::Flavor::Kernel(tx) => tx.send_parcel(message, fds, patience),
        }
        .map_err(Into::into)
    }

    fn check_limit(&self, message: &[u8]) -> Result<(), SendError> {
        let (len, max) = (message.len(), self.limit);
        if len > max {
            return Err(SendError::TooLarge { len, max });
        }
        Ok(())
    }

    /// Sends `message` and a whole end with it: the receiver gets the end by
    /// [`recv_with_end`](Receiver::recv_with_end), and this process has it no more. An end of any pipe, of either
    /// backend; of this very pipe, too.
    ///
    /// On its way it counts as a holder of its side, so that nobody takes its pipe for ended. To keep it as
    /// well, send a [clone](Self::try_clone).
    ///
    /// # Errors
    ///
    /// As [`send_with_fds`](Self::send_with_fds) and as [`into_fds`](Self::into_fds) of that end, which is gone then
    /// too.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::PipeOptions::new().descriptors(true).pipe()?;
    /// let (mut answers, answer_here) = shmpipe::pipe()?;
    /// tx.send_with_end(b"what is the time?", answer_here)?;
    ///
    /// let (question, mut answer) = rx.recv_with_end::<shmpipe::Sender>()?;
    /// assert_eq!(&*question, b"what is the time?");
    /// answer.send(b"noon")?;
    /// assert_eq!(&*answers.recv()?, b"noon");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_with_end(&mut self, message: &[u8], end: impl End) -> Result<(), SendError> {
        let fds = end.take_apart().map_err(SendError::Io)?;
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        self.send_with_fds(message, &borrowed)
    }
}

impl Receiver {
    /// Receives the next message and the descriptors that it carries, none for most, blocking while the pipe is
    /// empty.
    ///
    /// The other receiving calls leave a message with descriptors where it is and report
    /// [`CarriesDescriptors`](RecvError::CarriesDescriptors).
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Io`](RecvError::Io) with `EMFILE` where this process cannot open so many
    /// descriptors: the message and all that it carries stay.
    ///
    /// # Examples
    ///
    /// See [`Sender::send_with_fds`].
    pub fn recv_with_fds(&mut self) -> Result<(Message<'_>, Vec<OwnedFd>), RecvError> {
        let mut fds = Vec::new();
        let message = self.receive_parcel(&mut fds)?;
        Ok((message, fds))
    }

    /// Receives the next message and the end that it carries, blocking while the pipe is empty.
    ///
    /// # Errors
    ///
    /// As [`recv_with_fds`](Self::recv_with_fds), and [`Io`](RecvError::Io): `InvalidData` or `InvalidInput` for a
    /// message that carries no end or one of another kind, else what making an end of descriptors reports
    /// ([`from_fds`](Self::from_fds)). That message is gone, and what it carried is closed.
    ///
    /// # Examples
    ///
    /// See [`Sender::send_with_end`].
    pub fn recv_with_end<E: End>(&mut self) -> Result<(Message<'_>, E), RecvError> {
        let (message, fds) = self.recv_with_fds()?;
        // SAFETY: just received, so nobody else's; checked like all descriptors from strangers.
        let end = unsafe { E::put_together(fds) }.map_err(RecvError::Io)?;
        Ok((message, end))
    }

    fn receive_parcel(&mut self, fds: &mut Vec<OwnedFd>) -> Result<Message<'_>, Fault> {
        self.recv_by(|flavor, bytes| {
            let into = Destination::Parcel { bytes, fds };
            match flavor {
                receiver::Flavor::SharedMemory(rx) => {
                    crate::backend::Rx::recv(rx, into, Patience::FOREVER)
                }
                receiver::Flavor::Kernel(rx) => {
                    crate::backend::Rx::recv(rx, into, Patience::FOREVER)
                }
            }
        })
    }
}

impl Connection {
    /// As [`Sender::send_with_fds`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_with_fds(
        &mut self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), SendError> {
        self.halves_mut().1.send_with_fds(message, fds)
    }

    /// As [`Sender::send_with_end`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_with_end(&mut self, message: &[u8], end: impl End) -> Result<(), SendError> {
        self.halves_mut().1.send_with_end(message, end)
    }

    /// As [`Receiver::recv_with_fds`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_with_fds(&mut self) -> Result<(Message<'_>, Vec<OwnedFd>), RecvError> {
        self.halves_mut().0.recv_with_fds()
    }

    /// As [`Receiver::recv_with_end`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_with_end<E: End>(&mut self) -> Result<(Message<'_>, E), RecvError> {
        self.halves_mut().0.recv_with_end()
    }
}
