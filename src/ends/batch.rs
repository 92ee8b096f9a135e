//! What a receive of many messages lends out, and why a send of many failed.

use std::iter::FusedIterator;
use std::{fmt, io};

use crate::SendError;
use crate::ring::run::Records;

/// Messages that were there at once, lent from the receiving end's own buffer until the next call on that end;
/// made by [`Receiver::recv_batch`](crate::Receiver::recv_batch).
///
/// Iterates over them in order. There is at least one. All of them have been received: those that are not looked
/// at are gone with the batch.
///
/// # Examples
///
/// See [`Receiver::recv_batch`](crate::Receiver::recv_batch).
#[derive(Clone)]
pub struct Batch<'a> {
    messages: Messages<'a>,
}

#[derive(Clone)]
enum Messages<'a> {
    /// One that came by itself, without a header in front of it.
    One(Option<&'a [u8]>),
    Run(Records<'a>),
}

impl<'a> Batch<'a> {
    pub(crate) fn of_one(message: &'a [u8]) -> Self {
        Self {
            messages: Messages::One(Some(message)),
        }
    }

    pub(crate) fn of_run(run: Records<'a>) -> Self {
        Self {
            messages: Messages::Run(run),
        }
    }
}

impl<'a> Iterator for Batch<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match &mut self.messages {
            Messages::One(message) => message.take(),
            Messages::Run(records) => records.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.messages {
            Messages::One(message) => usize::from(message.is_some()),
            Messages::Run(records) => records.len(),
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for Batch<'_> {}

impl FusedIterator for Batch<'_> {}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// Why [`Sender::send_batch`](crate::Sender::send_batch) did not send all, and how many it did send.
///
/// As an [`io::Error`] it is its [`error`](Self::error).
///
/// # Examples
///
/// See [`Sender::send_batch`](crate::Sender::send_batch).
#[derive(Debug)]
#[non_exhaustive]
pub struct SendBatchError {
    /// How many messages were sent: the first ones, in their order.
    pub sent: usize,
    /// What the message after them met; or what was refused after they were sent, when it says that the other side
    /// could not be woken.
    pub error: SendError,
}

impl fmt::Display for SendBatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, error } = self;
        write!(f, "{error} (after {sent} messages of a batch)")
    }
}

impl std::error::Error for SendBatchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<SendBatchError> for io::Error {
    fn from(error: SendBatchError) -> Self {
        error.error.into()
    }
}
