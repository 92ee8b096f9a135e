//! The sending end of a pipe of encoded values.

use std::marker::PhantomData;
use std::time::{Duration, Instant};
use std::{fmt, io};

use serde::Serialize;

use super::codec::Encoder;
use super::error::{SendError, SendTimeoutError, TrySendError};
use crate::Backend;

/// The sending end of a pipe of `T`: a [`Sender`](crate::Sender) of which each message is one encoded value.
///
/// A value is encoded in a buffer that this end keeps, and then sent whole.
///
/// # Examples
///
/// See [`send`](Self::send).
pub struct Sender<T> {
    inner: crate::Sender,
    encoder: Encoder,
    /// Takes a `T` and holds none.
    carries: PhantomData<fn(&T)>,
}

/// # Sending
impl<T: Serialize> Sender<T> {
    /// Sends one value, blocking while the pipe is full.
    ///
    /// # Errors
    ///
    /// - [`Encode`](SendError::Encode): the value cannot be encoded; nothing was sent.
    /// - [`Pipe`](SendError::Pipe) with what [`Sender::send`](crate::Sender::send) reports: `Disconnected`
    ///   when no receiver is left, `TooLarge` if what it is encoded to is over the limit that was set.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::serde::pipe::<(u32, String)>()?;
    /// tx.send(&(7, "seven".into()))?;
    /// assert_eq!(rx.recv()?, (7, "seven".into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send(&mut self, value: &T) -> Result<(), SendError> {
        let message = self.encoder.encode(value).map_err(SendError::Encode)?;
        self.inner.send(message).map_err(SendError::Pipe)
    }

    /// Sends one value if there is room for it now; never blocks.
    ///
    /// # Errors
    ///
    /// The errors of [`send`](Self::send), and `Pipe(Full)`.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::serde::pipe::<Option<u64>>()?;
    /// let sent = (0..).take_while(|&number| tx.try_send(&Some(number)).is_ok()).count();
    /// drop(tx);
    /// assert_eq!(rx.messages().count(), sent);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_send(&mut self, value: &T) -> Result<(), TrySendError> {
        let message = self.encoder.encode(value).map_err(SendError::Encode)?;
        self.inner.try_send(message).map_err(SendError::Pipe)
    }

    /// Sends one value, blocking while the pipe is full but no longer than `timeout`, which does not count
    /// the time that encoding takes.
    ///
    /// # Errors
    ///
    /// The errors of [`send`](Self::send), and `Pipe(Timeout)`, not before its time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let (_rx, mut tx) = shmpipe::serde::pipe::<String>()?;
    /// tx.send_timeout(&"there is room".into(), Duration::from_millis(10))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_timeout(&mut self, value: &T, timeout: Duration) -> Result<(), SendTimeoutError> {
        let message = self.encoder.encode(value).map_err(SendError::Encode)?;
        self.inner
            .send_timeout(message, timeout)
            .map_err(SendError::Pipe)
    }

    /// Sends `value`, and blocks no longer than until `deadline`. Otherwise it is like
    /// [`send_timeout`](Self::send_timeout).
    ///
    /// # Errors
    ///
    /// The errors of [`send_timeout`](Self::send_timeout).
    pub fn send_deadline(&mut self, value: &T, deadline: Instant) -> Result<(), SendTimeoutError> {
        self.send_timeout(value, deadline.saturating_duration_since(Instant::now()))
    }
}

impl<T> From<crate::Sender> for Sender<T> {
    fn from(inner: crate::Sender) -> Self {
        Self {
            inner,
            encoder: Encoder::default(),
            carries: PhantomData,
        }
    }
}

crate::values::sender_of_values!();
