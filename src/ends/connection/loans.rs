//! Messages in place in a two-way pipe; what they do is said in `sender` and `receiver`.

use std::time::Duration;

use super::Connection;
use crate::{RecvError, RecvTimeoutError, SendError, Slot, TryRecvError, View};

/// # In place
impl Connection {
    /// Reserves room for a message of `len` bytes, which is then written in place, as
    /// [`Sender::reserve`](crate::Sender::reserve) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::reserve`](crate::Sender::reserve).
    pub fn reserve(&mut self, len: usize) -> Result<Slot<'_>, SendError> {
        self.sender.reserve(len)
    }

    /// Lends the next message where it lies in the pipe, and blocks while the pipe is empty, as
    /// [`Receiver::recv_in_place`](crate::Receiver::recv_in_place) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_in_place`](crate::Receiver::recv_in_place).
    pub fn recv_in_place(&mut self) -> Result<View<'_>, RecvError> {
        self.receiver.recv_in_place()
    }

    /// Lends the next message where it lies in the pipe if one is there, and never blocks, as
    /// [`Receiver::try_recv_in_place`](crate::Receiver::try_recv_in_place) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::try_recv_in_place`](crate::Receiver::try_recv_in_place).
    pub fn try_recv_in_place(&mut self) -> Result<View<'_>, TryRecvError> {
        self.receiver.try_recv_in_place()
    }

    /// Lends the next message where it lies in the pipe, and blocks no longer than `timeout`, as
    /// [`Receiver::recv_in_place_timeout`](crate::Receiver::recv_in_place_timeout) does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_in_place_timeout`](crate::Receiver::recv_in_place_timeout).
    pub fn recv_in_place_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<View<'_>, RecvTimeoutError> {
        self.receiver.recv_in_place_timeout(timeout)
    }
}
