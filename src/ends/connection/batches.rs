//! Messages in pieces and batches through a two-way pipe; what they do is said in `sender` and `receiver`.

use std::io::IoSlice;
use std::time::Duration;

use super::Connection;
use crate::{
    Batch, RecvError, RecvTimeoutError, SendBatchError, SendError, TryRecvError, TrySendError,
};

impl Connection {
    /// As [`Sender::send_vectored`](crate::Sender::send_vectored).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_vectored(&mut self, pieces: &[IoSlice<'_>]) -> Result<(), SendError> {
        self.sender.send_vectored(pieces)
    }

    /// As [`Sender::try_send_vectored`](crate::Sender::try_send_vectored).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_send_vectored(&mut self, pieces: &[IoSlice<'_>]) -> Result<(), TrySendError> {
        self.sender.try_send_vectored(pieces)
    }

    /// As [`Sender::send_batch`](crate::Sender::send_batch).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As there.
    pub fn send_batch<I>(&mut self, messages: I) -> Result<usize, SendBatchError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        self.sender.send_batch(messages)
    }

    /// As [`Receiver::recv_batch`](crate::Receiver::recv_batch).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_batch(&mut self) -> Result<Batch<'_>, RecvError> {
        self.receiver.recv_batch()
    }

    /// As [`Receiver::try_recv_batch`](crate::Receiver::try_recv_batch).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_recv_batch(&mut self) -> Result<Batch<'_>, TryRecvError> {
        self.receiver.try_recv_batch()
    }

    /// As [`Receiver::recv_batch_timeout`](crate::Receiver::recv_batch_timeout).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_batch_timeout(&mut self, timeout: Duration) -> Result<Batch<'_>, RecvTimeoutError> {
        self.receiver.recv_batch_timeout(timeout)
    }
}
