//! Messages in place in a two-way pipe; what they do is said in `sender` and `receiver`.

use std::time::Duration;

use super::Connection;
use crate::{RecvError, RecvTimeoutError, SendError, Slot, TryRecvError, View};

impl Connection {
    /// As [`Sender::reserve`](crate::Sender::reserve).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn reserve(&mut self, len: usize) -> Result<Slot<'_>, SendError> {
        self.sender.reserve(len)
    }

    /// As [`Receiver::recv_in_place`](crate::Receiver::recv_in_place).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_in_place(&mut self) -> Result<View<'_>, RecvError> {
        self.receiver.recv_in_place()
    }

    /// As [`Receiver::try_recv_in_place`](crate::Receiver::try_recv_in_place).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_recv_in_place(&mut self) -> Result<View<'_>, TryRecvError> {
        self.receiver.try_recv_in_place()
    }

    /// As [`Receiver::recv_in_place_timeout`](crate::Receiver::recv_in_place_timeout).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_in_place_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<View<'_>, RecvTimeoutError> {
        self.receiver.recv_in_place_timeout(timeout)
    }
}
