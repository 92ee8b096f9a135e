//! What a receive lends out, and the iterator over it.

use std::ops::Deref;
use std::{fmt, mem};

use crate::{Receiver, RecvError};

/// One whole message, lent from the receiving end's own buffer until the next call on that end.
///
/// # Examples
///
/// See [`Receiver::recv`] and [`into_vec`](Self::into_vec).
pub struct Message<'a> {
    buffer: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Message<'a> {
    #[inline]
    pub(crate) fn new(buffer: &'a mut Vec<u8>, start: usize) -> Self {
        Self { buffer, start }
    }

    /// The bytes, for as long as the buffer is lent.
    pub(crate) fn into_slice(self) -> &'a [u8] {
        &self.buffer[self.start..]
    }

    /// Where in the buffer the message begins.
    #[cfg_attr(
        not(feature = "tokio"),
        allow(dead_code, reason = "for the async ends")
    )]
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Takes the bytes out, without a copy for a message that came in one piece.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// tx.send(b"keep me")?;
    /// let kept: Vec<u8> = rx.recv()?.into_vec();
    /// assert_eq!(kept, b"keep me");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_vec(self) -> Vec<u8> {
        let mut bytes = mem::take(self.buffer);
        bytes.drain(..self.start);
        bytes
    }
}

impl Deref for Message<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

impl AsRef<[u8]> for Message<'_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Message").field(&self.as_ref()).finish()
    }
}

/// The messages of a pipe in order, until end-of-file; made by [`Receiver::messages`].
///
/// Blocks while the pipe is empty. Another error ends it too and is then in [`error`](Self::error).
///
/// # Examples
///
/// See [`Receiver::messages`] and [`error`](Self::error).
#[derive(Debug)]
pub struct Messages<'a> {
    receiver: &'a mut Receiver,
    error: Option<RecvError>,
}

impl<'a> Messages<'a> {
    pub(crate) fn new(receiver: &'a mut Receiver) -> Self {
        Self {
            receiver,
            error: None,
        }
    }

    /// Why the iteration ended, where that was not end-of-file.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, tx) = shmpipe::pipe()?;
    /// drop(tx);
    /// let mut messages = rx.messages();
    /// for message in &mut messages {
    ///     println!("{} bytes", message.len());
    /// }
    /// assert!(messages.error().is_none(), "it ended with the pipe");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn error(&self) -> Option<&RecvError> {
        self.error.as_ref()
    }
}

impl Iterator for Messages<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.error.is_some() {
            return None;
        }
        match self.receiver.recv() {
            Ok(message) => Some(message.into_vec()),
            Err(RecvError::Disconnected) => None,
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }
}
