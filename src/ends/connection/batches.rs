//! Messages in pieces and batches through a two-way pipe; what they do is said in `sender` and `receiver`.

use std::io::IoSlice;
use std::time::Duration;

use super::Connection;
use crate::{
    Batch, RecvError, RecvTimeoutError, SendBatchError, SendError, TryRecvError, TrySendError,
};

/// # Several pieces, many messages
impl Connection {
    /// Sends one message from several pieces, and blocks while the pipe is full, as
    /// [`Sender::send_vectored`](crate::Sender::send_vectored) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send_vectored`](crate::Sender::send_vectored).
    pub fn send_vectored(&mut self, pieces: &[IoSlice<'_>]) -> Result<(), SendError> {
        self.sender.send_vectored(pieces)
    }

    /// Sends one message from several pieces if there is room for all of it now, and never blocks, as
    /// [`Sender::try_send_vectored`](crate::Sender::try_send_vectored) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::try_send_vectored`](crate::Sender::try_send_vectored).
    pub fn try_send_vectored(&mut self, pieces: &[IoSlice<'_>]) -> Result<(), TrySendError> {
        self.sender.try_send_vectored(pieces)
    }

    /// Sends many messages at the cost of few, as [`Sender::send_batch`](crate::Sender::send_batch) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send_batch`](crate::Sender::send_batch).
    ///
    /// # Panics
    ///
    /// Panics where [`Sender::send_batch`](crate::Sender::send_batch) does.
    pub fn send_batch<I>(&mut self, messages: I) -> Result<usize, SendBatchError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        self.sender.send_batch(messages)
    }

    /// Receives all messages that are there, and blocks while there is none, as
    /// [`Receiver::recv_batch`](crate::Receiver::recv_batch) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_batch`](crate::Receiver::recv_batch).
    pub fn recv_batch(&mut self) -> Result<Batch<'_>, RecvError> {
        self.receiver.recv_batch()
    }

    /// Receives all messages that are there, and never blocks, as
    /// [`Receiver::try_recv_batch`](crate::Receiver::try_recv_batch) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::try_recv_batch`](crate::Receiver::try_recv_batch).
    pub fn try_recv_batch(&mut self) -> Result<Batch<'_>, TryRecvError> {
        self.receiver.try_recv_batch()
    }

    /// Receives all messages that are there, and blocks no longer than `timeout` while there is none, as
    /// [`Receiver::recv_batch_timeout`](crate::Receiver::recv_batch_timeout) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_batch_timeout`](crate::Receiver::recv_batch_timeout).
    pub fn recv_batch_timeout(&mut self, timeout: Duration) -> Result<Batch<'_>, RecvTimeoutError> {
        self.receiver.recv_batch_timeout(timeout)
    }
}
