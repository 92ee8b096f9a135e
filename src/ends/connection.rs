//! The end of a two-way pipe: a receiver of one direction and a sender of the other.

use std::io;
use std::time::{Duration, Instant};

use crate::{
    Backend, Memory, Message, Messages, Receiver, RecvError, RecvTimeoutError, SendError,
    SendTimeoutError, Sender, TryMessages, TryRecvError, TrySendError,
};

mod batches;
mod fast;
mod loans;
mod stream;

/// One end of a two-way pipe, made by [`duplex`](crate::duplex).
///
/// The two directions are separate pipes: a full one does not stop the other, and
/// [`split`](Self::split) hands them to two threads.
///
/// A received [`Message`] borrows the connection. To answer while it is still needed, take it by
/// [`into_vec`](Message::into_vec), or [`split`](Self::split) first:
///
/// ```
/// let (mut left, mut right) = shmpipe::duplex()?;
/// left.send(b"say it again")?;
/// let request = right.recv()?.into_vec();
/// right.send(&request)?;
/// assert_eq!(&*left.recv()?, b"say it again");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Connection {
    pub(crate) receiver: Receiver,
    pub(crate) sender: Sender,
}

impl Connection {
    pub(crate) fn new(receiver: Receiver, sender: Sender) -> Self {
        Self { receiver, sender }
    }

    pub(crate) fn halves(&self) -> (&Receiver, &Sender) {
        (&self.receiver, &self.sender)
    }

    pub(crate) fn halves_mut(&mut self) -> (&mut Receiver, &mut Sender) {
        (&mut self.receiver, &mut self.sender)
    }

    /// Takes the two directions apart. Each half then counts by itself: the peer gets end-of-file
    /// when the last sender half is gone, and a broken pipe when the last receiver half is.
    ///
    /// # Examples
    ///
    /// ```
    /// let (left, mut right) = shmpipe::duplex()?;
    /// let (mut rx, tx) = left.split();
    /// drop(tx);
    /// assert!(matches!(right.recv(), Err(shmpipe::RecvError::Disconnected)));
    /// right.send(b"this way is still open")?;
    /// assert_eq!(rx.recv()?.len(), 22);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn split(self) -> (Receiver, Sender) {
        (self.receiver, self.sender)
    }

    /// As [`Sender::send`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        self.sender.send(message)
    }

    /// As [`Sender::try_send`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_send(&mut self, message: &[u8]) -> Result<(), TrySendError> {
        self.sender.try_send(message)
    }

    /// As [`Sender::send_timeout`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_timeout(
        &mut self,
        message: &[u8],
        timeout: Duration,
    ) -> Result<(), SendTimeoutError> {
        self.sender.send_timeout(message, timeout)
    }

    /// As [`Sender::send_deadline`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_deadline(
        &mut self,
        message: &[u8],
        deadline: Instant,
    ) -> Result<(), SendTimeoutError> {
        self.sender.send_deadline(message, deadline)
    }

    /// As [`Receiver::recv_deadline`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<Message<'_>, RecvTimeoutError> {
        self.receiver.recv_deadline(deadline)
    }

    /// As [`Receiver::recv_with`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_with<M: Memory>(
        &mut self,
        place: impl FnOnce(usize) -> Option<M>,
    ) -> Result<usize, RecvError> {
        self.receiver.recv_with(place)
    }

    /// As [`Receiver::try_recv_with`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_recv_with<M: Memory>(
        &mut self,
        place: impl FnOnce(usize) -> Option<M>,
    ) -> Result<usize, TryRecvError> {
        self.receiver.try_recv_with(place)
    }

    /// As [`Receiver::recv_with_timeout`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_with_timeout<M: Memory>(
        &mut self,
        timeout: Duration,
        place: impl FnOnce(usize) -> Option<M>,
    ) -> Result<usize, RecvTimeoutError> {
        self.receiver.recv_with_timeout(timeout, place)
    }

    /// Whether `other` is a handle to the same end of the same two-way pipe, as [`Receiver::same_pipe`].
    pub fn same_pipe(&self, other: &Self) -> bool {
        self.receiver.same_pipe(&other.receiver) && self.sender.same_pipe(&other.sender)
    }

    /// As [`Receiver::recv`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv(&mut self) -> Result<Message<'_>, RecvError> {
        self.receiver.recv()
    }

    /// As [`Receiver::try_recv`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_recv(&mut self) -> Result<Message<'_>, TryRecvError> {
        self.receiver.try_recv()
    }

    /// As [`Receiver::recv_timeout`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Message<'_>, RecvTimeoutError> {
        self.receiver.recv_timeout(timeout)
    }

    /// As [`Receiver::recv_into`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_into(&mut self, buf: &mut [u8]) -> Result<usize, RecvError> {
        self.receiver.recv_into(buf)
    }

    /// As [`Receiver::poll`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn poll(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        self.receiver.poll(timeout)
    }

    /// As [`Receiver::limit_messages`], for what is received.
    pub fn limit_messages(&mut self, max: usize) {
        self.receiver.limit_messages(max);
    }

    /// As [`Receiver::messages`].
    pub fn messages(&mut self) -> Messages<'_> {
        self.receiver.messages()
    }

    /// As [`Receiver::try_messages`].
    pub fn try_messages(&mut self) -> TryMessages<'_> {
        self.receiver.try_messages()
    }

    /// Makes another handle to this end. Dropping either changes nothing for the other.
    ///
    /// # Errors
    ///
    /// What the operating system reports.
    ///
    /// # Examples
    ///
    /// See [`Sender::try_clone`].
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            receiver: self.receiver.try_clone()?,
            sender: self.sender.try_clone()?,
        })
    }

    /// Bytes that each direction holds, framing included.
    ///
    /// # Examples
    ///
    /// See [`Sender::capacity`].
    pub fn capacity(&self) -> usize {
        self.sender.capacity()
    }

    /// What carries the bytes.
    ///
    /// # Examples
    ///
    /// See [`Sender::backend`].
    pub fn backend(&self) -> Backend {
        self.sender.backend()
    }
}
