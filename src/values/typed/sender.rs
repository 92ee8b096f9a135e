//! The sending end of a pipe of values.

use std::marker::PhantomData;
use std::time::{Duration, Instant};
use std::{fmt, io};

use zerocopy::{Immutable, IntoBytes};

use crate::{Backend, SendError, SendTimeoutError, TrySendError};

/// The sending end of a pipe of `T`: a [`Sender`](crate::Sender) of which each message is one value.
///
/// A type with padding cannot be sent, since what lies in the padding would leave the process with it:
///
/// ```compile_fail
/// #[repr(C)]
/// struct Padded(u8, u32);
/// let (_rx, mut tx) = shmpipe::typed::pipe::<Padded>().unwrap();
/// tx.send(&Padded(1, 2));
/// ```
pub struct Sender<T> {
    inner: crate::Sender,
    /// Takes a `T` and holds none.
    carries: PhantomData<fn(&T)>,
}

/// # Sending
impl<T: IntoBytes + Immutable> Sender<T> {
    /// Sends one value, blocking while the pipe is full.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send`](crate::Sender::send): [`Disconnected`](SendError::Disconnected) when no
    /// receiver is left, [`TooLarge`](SendError::TooLarge) if a `T` is over the limit that was set.
    ///
    /// # Examples
    ///
    /// ```
    /// let (rx, mut tx) = shmpipe::typed::pipe::<u64>()?;
    /// tx.send(&42)?;
    /// drop(rx);
    /// assert!(matches!(tx.send(&43), Err(shmpipe::SendError::Disconnected)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send(&mut self, value: &T) -> Result<(), SendError> {
        self.inner.send(value.as_bytes())
    }

    /// Sends one value if there is room for it now; never blocks.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::try_send`](crate::Sender::try_send): [`Full`](TrySendError::Full) above all.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::typed::pipe::<u64>()?;
    /// let sent = (0..).take_while(|number| tx.try_send(number).is_ok()).count();
    /// drop(tx);
    /// assert_eq!(rx.messages().count(), sent);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_send(&mut self, value: &T) -> Result<(), TrySendError> {
        self.inner.try_send(value.as_bytes())
    }

    /// Sends one value, blocking while the pipe is full but no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send_timeout`](crate::Sender::send_timeout): [`Timeout`](SendTimeoutError::Timeout),
    /// not before its time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let (_rx, mut tx) = shmpipe::typed::pipe::<u64>()?;
    /// tx.send_timeout(&42, Duration::from_millis(10))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_timeout(&mut self, value: &T, timeout: Duration) -> Result<(), SendTimeoutError> {
        self.inner.send_timeout(value.as_bytes(), timeout)
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
            carries: PhantomData,
        }
    }
}

crate::values::sender_of_values!();
