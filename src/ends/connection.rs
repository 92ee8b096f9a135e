//! The end of a two-way pipe: a receiver of one direction and a sender of the other.

use std::io::{self, IoSlice};
use std::time::{Duration, Instant};

use crate::{
    Backend, Batch, Memory, Message, Messages, Receiver, RecvError, RecvTimeoutError,
    SendBatchError, SendError, SendTimeoutError, Sender, Slot, TryMessages, TryRecvError,
    TrySendError, View,
};

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

/// # Sending and receiving
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

    /// Sends `message`, and blocks while the pipe is full, as [`Sender::send`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send`].
    pub fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        self.sender.send(message)
    }

    /// Receives the next message, and blocks while the pipe is empty, as [`Receiver::recv`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv`].
    pub fn recv(&mut self) -> Result<Message<'_>, RecvError> {
        self.receiver.recv()
    }

    /// Sends `message` if there is room for all of it now, and never blocks, as [`Sender::try_send`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::try_send`].
    pub fn try_send(&mut self, message: &[u8]) -> Result<(), TrySendError> {
        self.sender.try_send(message)
    }

    /// Sends `message`, and blocks no longer than `timeout`, as [`Sender::send_timeout`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send_timeout`].
    pub fn send_timeout(
        &mut self,
        message: &[u8],
        timeout: Duration,
    ) -> Result<(), SendTimeoutError> {
        self.sender.send_timeout(message, timeout)
    }

    /// Sends `message`, and blocks no longer than until `deadline`, as [`Sender::send_deadline`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send_deadline`].
    pub fn send_deadline(
        &mut self,
        message: &[u8],
        deadline: Instant,
    ) -> Result<(), SendTimeoutError> {
        self.sender.send_deadline(message, deadline)
    }

    /// Receives the next message if one is there, and never blocks, as [`Receiver::try_recv`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::try_recv`].
    pub fn try_recv(&mut self) -> Result<Message<'_>, TryRecvError> {
        self.receiver.try_recv()
    }

    /// Receives the next message, and blocks no longer than `timeout`, as [`Receiver::recv_timeout`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_timeout`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Message<'_>, RecvTimeoutError> {
        self.receiver.recv_timeout(timeout)
    }

    /// Receives the next message, and blocks no longer than until `deadline`, as [`Receiver::recv_deadline`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_deadline`].
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<Message<'_>, RecvTimeoutError> {
        self.receiver.recv_deadline(deadline)
    }

    /// Receives the next message into `buf`, and returns its length, as [`Receiver::recv_into`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_into`].
    pub fn recv_into(&mut self, buf: &mut [u8]) -> Result<usize, RecvError> {
        self.receiver.recv_into(buf)
    }

    /// Waits until there is something to receive, and returns whether there is, as [`Receiver::poll`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::poll`].
    pub fn poll(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        self.receiver.poll(timeout)
    }

    /// Iterates over the messages until end-of-file, as [`Receiver::messages`] does.
    pub fn messages(&mut self) -> Messages<'_> {
        self.receiver.messages()
    }

    /// Iterates over the messages that are there, until the pipe is empty, as [`Receiver::try_messages`] does.
    pub fn try_messages(&mut self) -> TryMessages<'_> {
        self.receiver.try_messages()
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

    /// Refuses messages longer than `max` bytes that come in, as [`Receiver::limit_messages`] does.
    pub fn limit_messages(&mut self, max: usize) {
        self.receiver.limit_messages(max);
    }
}

/// # Halves and handles
impl Connection {
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

    /// Whether `other` is a handle to the same end of the same two-way pipe, as [`Receiver::same_pipe`].
    pub fn same_pipe(&self, other: &Self) -> bool {
        self.receiver.same_pipe(&other.receiver) && self.sender.same_pipe(&other.sender)
    }
}

/// # Several pieces, many messages
impl Connection {
    /// Sends one message from several pieces, and blocks while the pipe is full, as
    /// [`Sender::send_vectored`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send_vectored`].
    pub fn send_vectored(&mut self, pieces: &[IoSlice<'_>]) -> Result<(), SendError> {
        self.sender.send_vectored(pieces)
    }

    /// Sends one message from several pieces if there is room for all of it now, and never blocks, as
    /// [`Sender::try_send_vectored`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::try_send_vectored`].
    pub fn try_send_vectored(&mut self, pieces: &[IoSlice<'_>]) -> Result<(), TrySendError> {
        self.sender.try_send_vectored(pieces)
    }

    /// Sends many messages at the cost of few, as [`Sender::send_batch`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send_batch`].
    ///
    /// # Panics
    ///
    /// Panics where [`Sender::send_batch`] does.
    pub fn send_batch<I>(&mut self, messages: I) -> Result<usize, SendBatchError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        self.sender.send_batch(messages)
    }

    /// Receives all messages that are there, and blocks while there is none, as
    /// [`Receiver::recv_batch`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_batch`].
    pub fn recv_batch(&mut self) -> Result<Batch<'_>, RecvError> {
        self.receiver.recv_batch()
    }

    /// Receives all messages that are there, and never blocks, as
    /// [`Receiver::try_recv_batch`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::try_recv_batch`].
    pub fn try_recv_batch(&mut self) -> Result<Batch<'_>, TryRecvError> {
        self.receiver.try_recv_batch()
    }

    /// Receives all messages that are there, and blocks no longer than `timeout` while there is none, as
    /// [`Receiver::recv_batch_timeout`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_batch_timeout`].
    pub fn recv_batch_timeout(&mut self, timeout: Duration) -> Result<Batch<'_>, RecvTimeoutError> {
        self.receiver.recv_batch_timeout(timeout)
    }
}

/// # In place
impl Connection {
    /// Reserves room for a message of `len` bytes, which is then written in place, as
    /// [`Sender::reserve`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::reserve`].
    pub fn reserve(&mut self, len: usize) -> Result<Slot<'_>, SendError> {
        self.sender.reserve(len)
    }

    /// Lends the next message where it lies in the pipe, and blocks while the pipe is empty, as
    /// [`Receiver::recv_in_place`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_in_place`].
    pub fn recv_in_place(&mut self) -> Result<View<'_>, RecvError> {
        self.receiver.recv_in_place()
    }

    /// Lends the next message where it lies in the pipe if one is there, and never blocks, as
    /// [`Receiver::try_recv_in_place`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::try_recv_in_place`].
    pub fn try_recv_in_place(&mut self) -> Result<View<'_>, TryRecvError> {
        self.receiver.try_recv_in_place()
    }

    /// Lends the next message where it lies in the pipe, and blocks no longer than `timeout`, as
    /// [`Receiver::recv_in_place_timeout`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_in_place_timeout`].
    pub fn recv_in_place_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<View<'_>, RecvTimeoutError> {
        self.receiver.recv_in_place_timeout(timeout)
    }
}

/// # Into memory that the caller provides
impl Connection {
    /// Receives the next message into memory that `place` provides once the length is known, as
    /// [`Receiver::recv_with`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_with`].
    pub fn recv_with<M: Memory>(
        &mut self,
        place: impl FnOnce(usize) -> Option<M>,
    ) -> Result<usize, RecvError> {
        self.receiver.recv_with(place)
    }

    /// Receives a message into memory that `place` provides if one is there, and never blocks, as
    /// [`Receiver::try_recv_with`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::try_recv_with`].
    pub fn try_recv_with<M: Memory>(
        &mut self,
        place: impl FnOnce(usize) -> Option<M>,
    ) -> Result<usize, TryRecvError> {
        self.receiver.try_recv_with(place)
    }

    /// Receives a message into memory that `place` provides, and blocks no longer than `timeout`, as
    /// [`Receiver::recv_with_timeout`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_with_timeout`].
    pub fn recv_with_timeout<M: Memory>(
        &mut self,
        timeout: Duration,
        place: impl FnOnce(usize) -> Option<M>,
    ) -> Result<usize, RecvTimeoutError> {
        self.receiver.recv_with_timeout(timeout, place)
    }
}
