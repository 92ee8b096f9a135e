//! The receiving end of a pipe of encoded values.

use std::marker::PhantomData;
use std::time::Duration;
use std::{fmt, io};

use serde::de::DeserializeOwned;

use super::codec::decode;
use super::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::Backend;
use crate::error::Fault;
use crate::sys::clock::{Deadline, Timeout};

/// The receiving end of a pipe of `T`: a [`Receiver`](crate::Receiver) of which each message is one encoded
/// value.
///
/// A message is received into the byte end's buffer and decoded from there, so nothing is allocated but what
/// the value itself holds.
///
/// # Examples
///
/// See [`recv`](Self::recv).
pub struct Receiver<T> {
    inner: crate::Receiver,
    /// Gives a `T` and holds none.
    carries: PhantomData<fn() -> T>,
}

/// # Receiving
impl<T: DeserializeOwned> Receiver<T> {
    fn recv_within<E: From<Fault>>(&mut self, timeout: Timeout) -> Result<T, RecvError<E>> {
        match self.inner.recv_within(timeout) {
            Ok(message) => decode(&message).map_err(RecvError::Decode),
            Err(fault) => Err(RecvError::Pipe(fault.into())),
        }
    }

    /// Receives the next value, blocking while the pipe is empty.
    ///
    /// # Errors
    ///
    /// - [`Pipe`](RecvError::Pipe) with what [`Receiver::recv`](crate::Receiver::recv) reports:
    ///   `Disconnected` when every sender is gone and every message has been received, `Aborted` when a sender
    ///   died inside a message.
    /// - [`Decode`](RecvError::Decode): a message that is no `T`. It has been taken out of the pipe, and the
    ///   next call receives the one after it.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::serde::{Receiver, RecvError};
    ///
    /// let (rx, mut tx) = shmpipe::pipe()?;
    /// tx.send(b"\x05shor")?; // a string of 5 bytes, of which 4 are there
    /// tx.send(b"\x05whole")?;
    /// drop(tx);
    /// let mut rx = Receiver::<String>::from(rx);
    /// assert!(matches!(rx.recv(), Err(RecvError::Decode(_))));
    /// assert_eq!(rx.recv()?, "whole");
    /// assert!(matches!(rx.recv(), Err(RecvError::Pipe(shmpipe::RecvError::Disconnected))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv(&mut self) -> Result<T, RecvError> {
        self.recv_within(Timeout::FOREVER)
    }

    /// Receives the next value if one is there; never blocks.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv), and `Pipe(Empty)` when no message is there.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{TryRecvError, serde};
    ///
    /// let (mut rx, _tx) = serde::pipe::<String>()?;
    /// assert!(matches!(rx.try_recv(), Err(serde::TryRecvError::Pipe(TryRecvError::Empty))));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.recv_within(Timeout::Never)
    }

    /// Receives the next value, blocking no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv), and `Pipe(Timeout)`, not before its time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (mut rx, mut tx) = shmpipe::serde::pipe::<String>()?;
    /// tx.send(&"in time".into())?;
    /// assert_eq!(rx.recv_timeout(Duration::from_millis(10))?, "in time");
    /// assert!(rx.recv_timeout(Duration::from_millis(10)).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_within(Timeout::Until(Deadline::after(timeout)))
    }
}

crate::values::receiver_of_values! { recv: [DeserializeOwned], in "serde" }
