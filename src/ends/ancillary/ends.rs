//! Whole ends that travel in messages.
//!
//! An end travels as the descriptors that make it up; nothing here knows of rings or of pipes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use std::{error, fmt};

use crate::error::Fault;
use crate::segment::geometry::{Geometry, invalid};
use crate::sys::clock::{Deadline, Timeout};
use crate::{
    End, Message, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender,
    TryRecvError, TrySendError,
};

/// Why an end was not sent, and the end itself, from [`Sender::try_send_with_end`] and
/// [`Sender::send_with_end_timeout`].
///
/// As an [`io::Error`] it is its [`error`](Self::error).
///
/// # Examples
///
/// ```
/// let (_rx, mut tx) = shmpipe::PipeOptions::new().descriptors(true).pipe()?;
/// let (mut answers, mut answer_here) = shmpipe::pipe()?;
/// let refused = loop {
///     match tx.try_send_with_end(b"", answer_here) {
///         Ok(()) => answer_here = shmpipe::pipe()?.1,
///         Err(refused) => break refused,
///     }
/// };
/// assert!(matches!(refused.error, shmpipe::TrySendError::Full));
/// let _again = refused.end;
/// # drop(answers.try_recv());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct SendEndError<E, R> {
    /// The end, as it was.
    pub end: E,
    /// What the message met.
    pub error: R,
}

impl<E, R: fmt::Display> fmt::Display for SendEndError<E, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<E: fmt::Debug, R: error::Error + 'static> error::Error for SendEndError<E, R> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.error.source()
    }
}

impl<E, R: Into<io::Error>> From<SendEndError<E, R>> for io::Error {
    fn from(refused: SendEndError<E, R>) -> Self {
        refused.error.into()
    }
}

/// # Ends in messages
impl Sender {
    /// Sends `message` and a whole end with it: the receiver gets the end by
    /// [`recv_with_end`](Receiver::recv_with_end), and this process has it no more. An end of any pipe, of either
    /// backend; of this very pipe, too.
    ///
    /// On its way it counts as a holder of its side, so that nobody takes its pipe for ended. To keep it as
    /// well, send a [clone](Self::try_clone).
    ///
    /// # Errors
    ///
    /// The errors of [`send_with_fds`](Self::send_with_fds) and those of [`into_fds`](Self::into_fds) of that end,
    /// which is gone then too.
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
        Ok(self.send_descriptors(message, &end, Timeout::FOREVER)?)
    }

    /// Sends `message` and a whole end with it if there is room now, and never blocks. The end comes back where it
    /// was not sent. Otherwise it is like [`send_with_end`](Self::send_with_end).
    ///
    /// # Errors
    ///
    /// The errors of [`try_send_with_fds`](Self::try_send_with_fds), [`Full`](TrySendError::Full) above all, and
    /// [`Io`](TrySendError::Io) where the end's descriptors cannot be duplicated; with the end in
    /// [`end`](SendEndError::end).
    ///
    /// # Examples
    ///
    /// See [`SendEndError`].
    pub fn try_send_with_end<E: End>(
        &mut self,
        message: &[u8],
        end: E,
    ) -> Result<(), SendEndError<E, TrySendError>> {
        let outcome = self.send_descriptors(message, &end, Timeout::Never);
        outcome.map_err(|fault| SendEndError {
            end,
            error: fault.into(),
        })
    }

    /// Sends `message` and a whole end with it, and blocks no longer than `timeout`. The end comes back where it was
    /// not sent. Otherwise it is like [`send_with_end`](Self::send_with_end).
    ///
    /// # Errors
    ///
    /// The errors of [`try_send_with_end`](Self::try_send_with_end), with [`Timeout`](SendTimeoutError::Timeout), not
    /// before its time, in place of `Full`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (rx, mut tx) = shmpipe::PipeOptions::new().descriptors(true).pipe()?;
    /// let (_, answer_here) = shmpipe::pipe()?;
    /// drop(rx);
    /// let refused = tx.send_with_end_timeout(b"", answer_here, Duration::from_millis(1)).unwrap_err();
    /// assert!(matches!(refused.error, shmpipe::SendTimeoutError::Disconnected));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_with_end_timeout<E: End>(
        &mut self,
        message: &[u8],
        end: E,
        timeout: Duration,
    ) -> Result<(), SendEndError<E, SendTimeoutError>> {
        let timeout = Timeout::Until(Deadline::after(timeout));
        let outcome = self.send_descriptors(message, &end, timeout);
        outcome.map_err(|fault| SendEndError {
            end,
            error: fault.into(),
        })
    }

    fn send_descriptors(
        &mut self,
        message: &[u8],
        end: &impl End,
        timeout: Timeout,
    ) -> Result<(), Fault> {
        let fds = end.copies()?;
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        self.send_with_descriptors(message, &borrowed, timeout)
    }
}

/// # Ends in messages
impl Receiver {
    /// Receives the next message and the end that it carries, and blocks while the pipe is empty.
    ///
    /// # Errors
    ///
    /// The errors of [`recv_with_fds`](Self::recv_with_fds), and [`Io`](RecvError::Io): `InvalidData` or
    /// `InvalidInput` for a message that carries no end, one of another kind, or one that is larger than this
    /// receiver [takes](Self::set_max_end_capacity); else what making an end of descriptors reports
    /// ([`from_fds`](Self::from_fds)). That message is gone, and what it carried is closed.
    ///
    /// # Examples
    ///
    /// See [`Sender::send_with_end`].
    pub fn recv_with_end<E: End>(&mut self) -> Result<(Message<'_>, E), RecvError> {
        self.with_end(Timeout::FOREVER).map_err(RecvError::from)
    }

    /// Receives the next message and its end if one is there, and never blocks. Otherwise it is like
    /// [`recv_with_end`](Self::recv_with_end).
    ///
    /// # Errors
    ///
    /// The errors of [`recv_with_end`](Self::recv_with_end), and [`Empty`](TryRecvError::Empty) where
    /// [`try_recv`](Self::try_recv) returns it.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Sender, TryRecvError};
    ///
    /// let (mut rx, mut tx) = shmpipe::PipeOptions::new().descriptors(true).pipe()?;
    /// assert!(matches!(rx.try_recv_with_end::<Sender>(), Err(TryRecvError::Empty)));
    /// let (_, answer_here) = shmpipe::pipe()?;
    /// tx.send_with_end(b"what is the time?", answer_here)?;
    /// let (question, _answer) = rx.try_recv_with_end::<Sender>()?;
    /// assert_eq!(&*question, b"what is the time?");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv_with_end<E: End>(&mut self) -> Result<(Message<'_>, E), TryRecvError> {
        self.with_end(Timeout::Never).map_err(TryRecvError::from)
    }

    /// Receives the next message and its end, and blocks no longer than `timeout`. Otherwise it is like
    /// [`recv_with_end`](Self::recv_with_end).
    ///
    /// # Errors
    ///
    /// The errors of [`recv_with_end`](Self::recv_with_end), and [`Timeout`](RecvTimeoutError::Timeout), not before
    /// its time; nothing is lost by it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (mut rx, _tx) = shmpipe::PipeOptions::new().descriptors(true).pipe()?;
    /// let outcome = rx.recv_with_end_timeout::<shmpipe::Sender>(Duration::from_millis(1));
    /// assert!(matches!(outcome, Err(shmpipe::RecvTimeoutError::Timeout)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_with_end_timeout<E: End>(
        &mut self,
        timeout: Duration,
    ) -> Result<(Message<'_>, E), RecvTimeoutError> {
        let timeout = Timeout::Until(Deadline::after(timeout));
        self.with_end(timeout).map_err(RecvTimeoutError::from)
    }

    fn with_end<E: End>(&mut self, timeout: Timeout) -> Result<(Message<'_>, E), Fault> {
        let max_capacity = self.max_end_capacity;
        let (message, fds) = self.recv_with_descriptors(timeout)?;
        Ok((message, put_together(fds, max_capacity)?))
    }

    /// Sets the largest capacity in bytes that an end may have to be received with a message through this handle, and
    /// its later clones; 64 MiB at first. A larger one is an error of [`recv_with_end`](Self::recv_with_end).
    ///
    /// Whoever sent an end can give its memory back to the system behind the receiver's back. Then the receiver pays
    /// for it again as it uses the end, up to the capacity. A receiver with little memory, a cgroup's for instance,
    /// sets a lower limit, and one that is sent large pipes by a sender that it trusts a higher one. Kernel pipes
    /// have a limit of their own, and none here.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Backend, PipeOptions, Receiver};
    ///
    /// let (mut rx, mut tx) = PipeOptions::new().descriptors(true).pipe()?;
    /// rx.set_max_end_capacity(1 << 20);
    /// let large = PipeOptions::new().backend(Backend::SharedMemory).capacity(2 << 20);
    /// tx.send_with_end(b"", large.pipe()?.0)?;
    /// let error = rx.recv_with_end::<Receiver>().unwrap_err();
    /// assert!(error.to_string().contains("2097152 bytes"), "{error}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_max_end_capacity(&mut self, bytes: usize) {
        self.max_end_capacity = bytes;
    }
}

/// The largest capacity in bytes of an end in a message, where the receiver says nothing else.
pub(crate) const MAX_END_CAPACITY: usize = 64 << 20;

/// Makes an end of descriptors that came with a message.
///
/// # Errors
///
/// `InvalidData` for a ring of more than `max_capacity` bytes; else as [`Sender::from_fds`].
pub(crate) fn put_together<E: End>(fds: Vec<OwnedFd>, max_capacity: usize) -> io::Result<E> {
    // The capacity is that of a sealed size, so it is the same when the end is made.
    let too_large = |fd: &OwnedFd| {
        let capacity = Geometry::of(fd).ok()?.capacity();
        (capacity > max_capacity).then_some(capacity)
    };
    if let Some(capacity) = fds.iter().find_map(too_large) {
        return Err(invalid(format!(
            "an end with a capacity of {capacity} bytes came, and this receiver takes up to {max_capacity} bytes \
             (set_max_end_capacity)"
        )));
    }
    // SAFETY: just received, so nobody else's; checked like all descriptors from strangers.
    unsafe { E::put_together(fds) }
}
