//! What a receive lends out, and the iterators over messages.

use std::ops::Deref;
use std::{fmt, mem};

use crate::{Receiver, RecvError, TryRecvError};

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

/// # Iterating
impl Receiver {
    /// Iterates over the messages until end-of-file, and blocks while the pipe is empty.
    ///
    /// Each item is a `Result`, as [`BufRead::lines`](std::io::BufRead::lines) has it, so that `?` works and no error is
    /// passed over. After [`Aborted`](RecvError::Aborted), a message that was lost, the iteration goes on with the next
    /// message. Any other error is the last item; `messages` may be called again after it.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// tx.send(b"a")?;
    /// tx.send(b"b")?;
    /// drop(tx);
    /// for message in rx.messages() {
    ///     assert_eq!(message?.len(), 1);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn messages(&mut self) -> Messages<'_> {
        Messages::new(self)
    }

    /// Iterates over the messages until end-of-file, by an iterator that owns the end. Otherwise it is like
    /// [`messages`](Self::messages).
    ///
    /// # Examples
    ///
    /// ```
    /// let (rx, mut tx) = shmpipe::pipe()?;
    /// let worker = std::thread::spawn(|| rx.into_messages().map(|message| message.map(|bytes| bytes.len())).sum());
    /// tx.send(b"four")?;
    /// tx.send(b"seven b")?;
    /// drop(tx);
    /// let sum: Result<usize, shmpipe::RecvError> = worker.join().unwrap();
    /// assert_eq!(sum?, 11);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_messages(self) -> IntoMessages {
        IntoMessages::new(self)
    }

    /// Iterates over the messages that are there, and never blocks. Ends where the pipe is empty or at end-of-file;
    /// errors are items as in [`messages`](Self::messages).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// tx.send(b"a")?;
    /// tx.send(b"b")?;
    /// let there: Vec<_> = rx.try_messages().collect::<Result<_, _>>()?;
    /// assert_eq!(there, [b"a", b"b"]);
    /// assert!(rx.try_messages().next().is_none(), "empty, and a sender lives");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_messages(&mut self) -> TryMessages<'_> {
        TryMessages::new(self)
    }
}

/// The messages of a pipe in order, until end-of-file; made by [`Receiver::messages`].
///
/// Blocks while the pipe is empty. An error is an item, as in [`std::io::Lines`]. After
/// [`Aborted`](RecvError::Aborted) the iteration goes on with the next message; any other error is the last item.
///
/// # Examples
///
/// See [`Receiver::messages`].
#[derive(Debug)]
#[must_use = "nothing is received before it is iterated over"]
pub struct Messages<'a> {
    receiver: &'a mut Receiver,
    has_failed: bool,
}

/// An iterator over the messages until end-of-file, which owns the end. Made by [`Receiver::into_messages`].
///
/// # Examples
///
/// See [`Receiver::into_messages`].
#[derive(Debug)]
#[must_use = "nothing is received before it is iterated over"]
pub struct IntoMessages {
    receiver: Receiver,
    has_failed: bool,
}

/// The messages that are there now, in order; made by [`Receiver::try_messages`].
///
/// Never blocks: it ends where [`try_recv`](Receiver::try_recv) returns `Empty`, and at end-of-file. After `Empty`
/// another `next` looks again. Errors are items as in [`Messages`].
///
/// # Examples
///
/// See [`Receiver::try_messages`].
#[derive(Debug)]
#[must_use = "nothing is received before it is iterated over"]
pub struct TryMessages<'a> {
    receiver: &'a mut Receiver,
    has_failed: bool,
}

/// Whether the iteration ends with this error: what would come again at each call, for one who passes over errors,
/// must not come for ever.
pub(crate) fn is_last(error: &RecvError) -> bool {
    !matches!(error, RecvError::Aborted)
}

impl<'a> Messages<'a> {
    pub(crate) fn new(receiver: &'a mut Receiver) -> Self {
        Self {
            receiver,
            has_failed: false,
        }
    }
}

impl IntoMessages {
    pub(crate) fn new(receiver: Receiver) -> Self {
        Self {
            receiver,
            has_failed: false,
        }
    }

    /// Returns the end, with every message that was not received.
    ///
    /// # Examples
    ///
    /// See [`Receiver::into_messages`].
    pub fn into_inner(self) -> Receiver {
        self.receiver
    }
}

impl<'a> TryMessages<'a> {
    pub(crate) fn new(receiver: &'a mut Receiver) -> Self {
        Self {
            receiver,
            has_failed: false,
        }
    }
}

fn next(receiver: &mut Receiver, has_failed: &mut bool) -> Option<Result<Vec<u8>, RecvError>> {
    if *has_failed {
        return None;
    }
    match receiver.recv() {
        Ok(message) => Some(Ok(message.into_vec())),
        Err(RecvError::Disconnected) => None,
        Err(error) => {
            *has_failed = is_last(&error);
            Some(Err(error))
        }
    }
}

impl Iterator for Messages<'_> {
    type Item = Result<Vec<u8>, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        next(self.receiver, &mut self.has_failed)
    }
}

impl Iterator for IntoMessages {
    type Item = Result<Vec<u8>, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        next(&mut self.receiver, &mut self.has_failed)
    }
}

impl Iterator for TryMessages<'_> {
    type Item = Result<Vec<u8>, TryRecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        match self.receiver.try_recv() {
            Ok(message) => Some(Ok(message.into_vec())),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
            Err(error) => {
                self.has_failed = !matches!(error, TryRecvError::Aborted);
                Some(Err(error))
            }
        }
    }
}

/// Iterates as [`Receiver::messages`] does.
impl<'a> IntoIterator for &'a mut Receiver {
    type Item = Result<Vec<u8>, RecvError>;
    type IntoIter = Messages<'a>;

    fn into_iter(self) -> Messages<'a> {
        self.messages()
    }
}

/// Iterates as [`Receiver::into_messages`] does.
impl IntoIterator for Receiver {
    type Item = Result<Vec<u8>, RecvError>;
    type IntoIter = IntoMessages;

    fn into_iter(self) -> IntoMessages {
        self.into_messages()
    }
}
