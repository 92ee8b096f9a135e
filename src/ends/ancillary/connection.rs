//! Messages that carry descriptors or ends through a two-way pipe: its two halves'.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use super::SendEndError;
use crate::{
    Connection, End, Message, RecvError, RecvTimeoutError, SendError, SendTimeoutError,
    TryRecvError, TrySendError,
};

/// # Descriptors and ends in messages
impl Connection {
    /// Sends `message` with copies of descriptors, and blocks while the pipe is full, as
    /// [`Sender::send_with_fds`](crate::Sender::send_with_fds) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send_with_fds`](crate::Sender::send_with_fds).
    pub fn send_with_fds(
        &mut self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), SendError> {
        self.halves_mut().1.send_with_fds(message, fds)
    }

    /// Sends `message` with copies of descriptors if there is room now, and never blocks, as
    /// [`Sender::try_send_with_fds`](crate::Sender::try_send_with_fds) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::try_send_with_fds`](crate::Sender::try_send_with_fds).
    pub fn try_send_with_fds(
        &mut self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), TrySendError> {
        self.halves_mut().1.try_send_with_fds(message, fds)
    }

    /// Sends `message` with copies of descriptors, and blocks no longer than `timeout`, as
    /// [`Sender::send_with_fds_timeout`](crate::Sender::send_with_fds_timeout) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send_with_fds_timeout`](crate::Sender::send_with_fds_timeout).
    pub fn send_with_fds_timeout(
        &mut self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
        timeout: Duration,
    ) -> Result<(), SendTimeoutError> {
        self.halves_mut()
            .1
            .send_with_fds_timeout(message, fds, timeout)
    }

    /// Sends `message` and a whole end with it, and blocks while the pipe is full, as
    /// [`Sender::send_with_end`](crate::Sender::send_with_end) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send_with_end`](crate::Sender::send_with_end).
    pub fn send_with_end(&mut self, message: &[u8], end: impl End) -> Result<(), SendError> {
        self.halves_mut().1.send_with_end(message, end)
    }

    /// Sends `message` and a whole end with it if there is room now, and never blocks, as
    /// [`Sender::try_send_with_end`](crate::Sender::try_send_with_end) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::try_send_with_end`](crate::Sender::try_send_with_end).
    pub fn try_send_with_end<E: End>(
        &mut self,
        message: &[u8],
        end: E,
    ) -> Result<(), SendEndError<E, TrySendError>> {
        self.halves_mut().1.try_send_with_end(message, end)
    }

    /// Sends `message` and a whole end with it, and blocks no longer than `timeout`, as
    /// [`Sender::send_with_end_timeout`](crate::Sender::send_with_end_timeout) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send_with_end_timeout`](crate::Sender::send_with_end_timeout).
    pub fn send_with_end_timeout<E: End>(
        &mut self,
        message: &[u8],
        end: E,
        timeout: Duration,
    ) -> Result<(), SendEndError<E, SendTimeoutError>> {
        self.halves_mut()
            .1
            .send_with_end_timeout(message, end, timeout)
    }

    /// Receives the next message and the descriptors that it carries, as
    /// [`Receiver::recv_with_fds`](crate::Receiver::recv_with_fds) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_with_fds`](crate::Receiver::recv_with_fds).
    pub fn recv_with_fds(&mut self) -> Result<(Message<'_>, Vec<OwnedFd>), RecvError> {
        self.halves_mut().0.recv_with_fds()
    }

    /// Receives the next message and its descriptors if one is there, and never blocks, as
    /// [`Receiver::try_recv_with_fds`](crate::Receiver::try_recv_with_fds) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::try_recv_with_fds`](crate::Receiver::try_recv_with_fds).
    pub fn try_recv_with_fds(&mut self) -> Result<(Message<'_>, Vec<OwnedFd>), TryRecvError> {
        self.halves_mut().0.try_recv_with_fds()
    }

    /// Receives the next message and its descriptors, and blocks no longer than `timeout`, as
    /// [`Receiver::recv_with_fds_timeout`](crate::Receiver::recv_with_fds_timeout) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_with_fds_timeout`](crate::Receiver::recv_with_fds_timeout).
    pub fn recv_with_fds_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<(Message<'_>, Vec<OwnedFd>), RecvTimeoutError> {
        self.halves_mut().0.recv_with_fds_timeout(timeout)
    }

    /// Receives the next message and the end that it carries, as
    /// [`Receiver::recv_with_end`](crate::Receiver::recv_with_end) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_with_end`](crate::Receiver::recv_with_end).
    pub fn recv_with_end<E: End>(&mut self) -> Result<(Message<'_>, E), RecvError> {
        self.halves_mut().0.recv_with_end()
    }

    /// Receives the next message and its end if one is there, and never blocks, as
    /// [`Receiver::try_recv_with_end`](crate::Receiver::try_recv_with_end) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::try_recv_with_end`](crate::Receiver::try_recv_with_end).
    pub fn try_recv_with_end<E: End>(&mut self) -> Result<(Message<'_>, E), TryRecvError> {
        self.halves_mut().0.try_recv_with_end()
    }

    /// Receives the next message and its end, and blocks no longer than `timeout`, as
    /// [`Receiver::recv_with_end_timeout`](crate::Receiver::recv_with_end_timeout) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_with_end_timeout`](crate::Receiver::recv_with_end_timeout).
    pub fn recv_with_end_timeout<E: End>(
        &mut self,
        timeout: Duration,
    ) -> Result<(Message<'_>, E), RecvTimeoutError> {
        self.halves_mut().0.recv_with_end_timeout(timeout)
    }

    /// Sets the largest capacity in bytes of an end that a message may carry, as
    /// [`Receiver::set_max_end_capacity`](crate::Receiver::set_max_end_capacity) does.
    pub fn set_max_end_capacity(&mut self, bytes: usize) {
        self.halves_mut().0.set_max_end_capacity(bytes);
    }
}
