//! The sending end for tasks.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;
use tokio::io::AsyncWrite;
use tokio::task::{JoinHandle, spawn_blocking};

use super::watch::Watch;
use crate::error::Fault;
use crate::sys::clock::Patience;
use crate::{SendError, TrySendError};

/// A [sending end](crate::Sender) for tasks.
///
/// As a [`Sink`] it takes whole messages as `Vec<u8>`, of which it keeps one until there is room; as [`AsyncWrite`]
/// each write is one message (of its first part, where it is long), and neither flush nor shutdown is needed: the
/// pipe ends when the last sender is dropped.
///
/// # Examples
///
/// See [`send`](Self::send).
#[derive(Debug)]
pub struct Sender {
    // Closed before the sender, which announces the close.
    watch: Watch,
    pub(super) sender: crate::Sender,
    /// What the sink has taken and not sent.
    taken: Option<Vec<u8>>,
    /// A message on its way that is long, or carries descriptors.
    pub(super) long: Option<JoinHandle<Result<(), SendError>>>,
}

impl Sender {
    /// Makes an end for tasks of a blocking one; also by `try_into()`.
    ///
    /// # Errors
    ///
    /// `EMFILE`, and what epoll_ctl(2) reports. The end is dropped then.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, or in one without I/O enabled.
    ///
    /// # Examples
    ///
    /// See [`send`](Self::send).
    pub fn from_blocking(sender: crate::Sender) -> io::Result<Self> {
        Ok(Self {
            watch: Watch::new(sender.readiness()?)?,
            sender,
            taken: None,
            long: None,
        })
    }

    /// Gives the blocking end back. A message that a sink has taken and not flushed is lost; a long one on its way
    /// comes before what the blocking end sends, if that has begun.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[::tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (mut rx, tx) = shmpipe::pipe()?;
    /// let tx = shmpipe::tokio::Sender::from_blocking(tx)?;
    /// tx.into_blocking().send(b"blocking again")?;
    /// assert_eq!(rx.recv()?.len(), 14);
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_blocking(self) -> crate::Sender {
        self.sender
    }

    /// Sends `message` whole; waits while the pipe is full.
    ///
    /// A message that fits one record (up to 8 bytes less than an eighth of the capacity, at most 256 KiB; on a
    /// kernel pipe 4080 bytes) is cancel safe: a future that is dropped before it has returned has sent nothing.
    ///
    /// A longer one needs a thread for as long as the receiver takes, since the sender's side is held by a thread;
    /// it is copied and sent on the runtime's pool for blocking work. A future that is dropped once it has begun
    /// still sends it whole, and the next send on this end comes after it. Shutting a runtime down waits for it
    /// ([`Runtime::shutdown_background`](::tokio::runtime::Runtime::shutdown_background) does not).
    ///
    /// # Errors
    ///
    /// As [`Sender::send`](crate::Sender::send).
    ///
    /// # Panics
    ///
    /// For a long message outside of a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[::tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (mut rx, tx) = shmpipe::pipe()?;
    /// let mut tx: shmpipe::tokio::Sender = tx.try_into()?;
    /// tx.send(b"from a task").await?;
    /// assert_eq!(&*rx.recv()?, b"from a task");
    /// drop(rx);
    /// assert!(matches!(tx.send(b"x").await, Err(shmpipe::SendError::Disconnected)));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        poll_fn(|cx| self.poll_settle(cx)).await?;
        if message.len() <= self.sender.ready_len() {
            return poll_fn(|cx| self.poll_send(cx, message)).await;
        }
        self.begin_long(message.to_vec())?;
        poll_fn(|cx| self.poll_long(cx)).await
    }

    /// Sends `message` if there is room for all of it now.
    ///
    /// # Errors
    ///
    /// As [`Sender::try_send`](crate::Sender::try_send); also [`Full`](TrySendError::Full) while an earlier message
    /// of this end is still on its way.
    pub fn try_send(&mut self, message: &[u8]) -> Result<(), TrySendError> {
        let is_on_its_way = self.long.as_ref().is_some_and(|long| !long.is_finished());
        if is_on_its_way || self.taken.is_some() {
            return Err(TrySendError::Full);
        }
        self.sender.try_send(message)
    }

    /// Makes another handle to this end, as [`Sender::try_clone`](crate::Sender::try_clone).
    ///
    /// # Errors
    ///
    /// As [`from_blocking`](Self::from_blocking).
    ///
    /// # Panics
    ///
    /// As there.
    pub fn try_clone(&self) -> io::Result<Self> {
        Self::from_blocking(self.sender.try_clone()?)
    }

    /// Sends a message that fits one record.
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &[u8]) -> Poll<Result<(), SendError>> {
        let Self { watch, sender, .. } = self;
        let attempt = || match sender.send_within(message, Patience::Never) {
            Err(Fault::NotNow) => None,
            outcome => Some(outcome.map_err(SendError::from)),
        };
        Poll::Ready(ready!(watch.poll(cx, attempt)).map_err(SendError::Io)?)
    }

    /// Hands a long message to the pool.
    fn begin_long(&mut self, message: Vec<u8>) -> Result<(), SendError> {
        if message.len() > self.sender.limit {
            return Err(SendError::TooLarge {
                len: message.len(),
                max: self.sender.limit,
            });
        }
        let mut sender = self.sender.try_clone().map_err(SendError::Io)?;
        self.long = Some(spawn_blocking(move || sender.send(&message)));
        Ok(())
    }

    /// Waits for the long message on its way.
    pub(super) fn poll_long(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let Some(long) = &mut self.long else {
            return Poll::Ready(Ok(()));
        };
        let outcome = ready!(Pin::new(long).poll(cx));
        self.long = None;
        // It does not panic; it is cancelled where the runtime was shut down before it began.
        Poll::Ready(outcome.unwrap_or_else(|error| Err(SendError::Io(error.into()))))
    }

    /// Waits until all is sent that was begun before. Nobody has waited for the outcome of that, and what would
    /// fail again is told by what comes next.
    pub(super) fn poll_settle(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let _ = ready!(self.poll_long(cx));
        self.poll_taken(cx)
    }

    /// Sends what the sink has taken.
    fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        ready!(self.poll_long(cx))?;
        let Some(message) = self.taken.take() else {
            return Poll::Ready(Ok(()));
        };
        if message.len() > self.sender.ready_len() {
            self.begin_long(message)?;
            return self.poll_long(cx);
        }
        let outcome = self.poll_send(cx, &message);
        if outcome.is_pending() {
            self.taken = Some(message);
        }
        outcome
    }
}

impl TryFrom<crate::Sender> for Sender {
    type Error = io::Error;

    fn try_from(sender: crate::Sender) -> io::Result<Self> {
        Self::from_blocking(sender)
    }
}

impl Sink<Vec<u8>> for Sender {
    type Error = SendError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.poll_taken(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Vec<u8>) -> Result<(), SendError> {
        debug_assert!(self.taken.is_none(), "poll_ready comes first");
        self.taken = Some(message);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.poll_taken(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.poll_taken(cx)
    }
}

impl AsyncWrite for Sender {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_settle(cx))?;
        let limit = self.sender.limit.min(self.sender.ready_len());
        let part = &buf[..buf.len().min(limit)];
        if part.is_empty() {
            let (len, max) = (buf.len(), limit);
            return Poll::Ready(if buf.is_empty() {
                Ok(0)
            } else {
                Err(SendError::TooLarge { len, max }.into())
            });
        }
        ready!(self.poll_send(cx, part))?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_taken(cx).map_err(Into::into)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self, cx)
    }
}
