//! Messages that carry descriptors or ends through a two-way pipe: its two halves'.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use super::SendEndError;
use crate::{
    Connection, End, Message, RecvError, RecvTimeoutError, SendError, SendTimeoutError,
    TryRecvError, TrySendError,
};

impl Connection {
    /// As [`Sender::send_with_fds`](crate::Sender::send_with_fds).
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

    /// As [`Sender::try_send_with_fds`](crate::Sender::try_send_with_fds).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_send_with_fds(
        &mut self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), TrySendError> {
        self.halves_mut().1.try_send_with_fds(message, fds)
    }

    /// As [`Sender::send_with_fds_timeout`](crate::Sender::send_with_fds_timeout).
    ///
    /// # Errors
    ///
    /// As there.
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

    /// As [`Sender::send_with_end`](crate::Sender::send_with_end).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_with_end(&mut self, message: &[u8], end: impl End) -> Result<(), SendError> {
        self.halves_mut().1.send_with_end(message, end)
    }

    /// As [`Sender::try_send_with_end`](crate::Sender::try_send_with_end).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_send_with_end<E: End>(
        &mut self,
        message: &[u8],
        end: E,
    ) -> Result<(), SendEndError<E, TrySendError>> {
        self.halves_mut().1.try_send_with_end(message, end)
    }

    /// As [`Sender::send_with_end_timeout`](crate::Sender::send_with_end_timeout).
    ///
    /// # Errors
    ///
    /// As there.
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

    /// As [`Receiver::recv_with_fds`](crate::Receiver::recv_with_fds).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_with_fds(&mut self) -> Result<(Message<'_>, Vec<OwnedFd>), RecvError> {
        self.halves_mut().0.recv_with_fds()
    }

    /// As [`Receiver::try_recv_with_fds`](crate::Receiver::try_recv_with_fds).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_recv_with_fds(&mut self) -> Result<(Message<'_>, Vec<OwnedFd>), TryRecvError> {
        self.halves_mut().0.try_recv_with_fds()
    }

    /// As [`Receiver::recv_with_fds_timeout`](crate::Receiver::recv_with_fds_timeout).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_with_fds_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<(Message<'_>, Vec<OwnedFd>), RecvTimeoutError> {
        self.halves_mut().0.recv_with_fds_timeout(timeout)
    }

    /// As [`Receiver::recv_with_end`](crate::Receiver::recv_with_end).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_with_end<E: End>(&mut self) -> Result<(Message<'_>, E), RecvError> {
        self.halves_mut().0.recv_with_end()
    }

    /// As [`Receiver::try_recv_with_end`](crate::Receiver::try_recv_with_end).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_recv_with_end<E: End>(&mut self) -> Result<(Message<'_>, E), TryRecvError> {
        self.halves_mut().0.try_recv_with_end()
    }

    /// As [`Receiver::recv_with_end_timeout`](crate::Receiver::recv_with_end_timeout).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_with_end_timeout<E: End>(
        &mut self,
        timeout: Duration,
    ) -> Result<(Message<'_>, E), RecvTimeoutError> {
        self.halves_mut().0.recv_with_end_timeout(timeout)
    }

    /// As [`Receiver::set_max_end_capacity`](crate::Receiver::set_max_end_capacity).
    pub fn set_max_end_capacity(&mut self, bytes: usize) {
        self.halves_mut().0.set_max_end_capacity(bytes);
    }
}
