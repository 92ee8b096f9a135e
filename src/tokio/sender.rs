//! The sending end for tasks.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;
use tokio::io::AsyncWrite;

use super::ancillary::AncillaryRoom;
use super::watch::{Step, Watch};
use crate::backend::Progress;
use crate::error::Fault;
use crate::sys::clock::Timeout;
use crate::{SendError, TrySendError};

/// A [sending end](crate::Sender) for tasks.
///
/// As a [`Sink`] it takes whole messages as `Vec<u8>`, and keeps one until there is room. As [`AsyncWrite`] each write
/// is one message; of a long buffer it takes the first bytes only. Neither flush nor shutdown is needed: the pipe
/// ends when the last sender is dropped.
///
/// # Examples
///
/// See [`send`](Self::send).
#[derive(Debug)]
pub struct Sender {
    // Closed before the sender, which announces the close.
    pub(super) watch: Watch,
    /// Shows room for descriptors, once there was none.
    pub(super) ancillary_room: Option<AncillaryRoom>,
    pub(super) sender: crate::Sender,
    /// What the sink has taken and not sent, and how far it has come where it is long.
    taken: Option<Vec<u8>>,
    progress: Progress,
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
            watch: Watch::new(sender.watch_fd()?)?,
            ancillary_room: None,
            sender,
            taken: None,
            progress: Progress::default(),
        })
    }

    /// Returns the blocking end. A message that a sink has taken and not flushed is not sent.
    ///
    /// In a forked child too, which can use a copy of this end in no other way.
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
    pub fn into_blocking(mut self) -> crate::Sender {
        self.sender.take_back();
        self.sender
    }

    /// Sends `message` whole; waits while the pipe is full.
    ///
    /// Cancel safe: a future that is dropped before it has returned has sent nothing, so after a time-out the message
    /// can be sent again.
    ///
    /// A message goes in fragments, as there is room, when it is longer than an eighth of the capacity less 8 bytes or
    /// than 256 KiB; on a kernel pipe when it is longer than 4080 bytes. From its first fragment to its last this end
    /// keeps all other senders of the pipe waiting, in this process and in others, also while the task does not run. A
    /// future that is dropped meanwhile takes the message back. No thread waits. So never wait for another sender of the
    /// pipe while holding such a future without polling it.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send`](crate::Sender::send). `Io` (`Unsupported`) in a forked child of the process
    /// that made the end.
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
        poll_fn(|cx| self.poll_taken(cx)).await?;
        if message.len() <= self.sender.ready_len() {
            return poll_fn(|cx| self.poll_send(cx, message)).await;
        }
        let mut sending = Sending {
            end: self,
            progress: Progress::default(),
        };
        poll_fn(|cx| sending.poll(cx, message)).await
    }

    /// Sends `message` if there is room for all of it now.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::try_send`](crate::Sender::try_send); also [`Full`](TrySendError::Full) while a message
    /// that the sink has taken is not flushed.
    pub fn try_send(&mut self, message: &[u8]) -> Result<(), TrySendError> {
        if self.taken.is_some() {
            return Err(TrySendError::Full);
        }
        self.sender.try_send(message)
    }

    /// Makes another handle to this end, as [`Sender::try_clone`](crate::Sender::try_clone).
    ///
    /// # Errors
    ///
    /// The errors of [`from_blocking`](Self::from_blocking).
    ///
    /// # Panics
    ///
    /// Panics where [`Sender::try_clone`](crate::Sender::try_clone) does.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.watch.check_process()?;
        Self::from_blocking(self.sender.try_clone()?)
    }

    /// Sends a message that fits one record.
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &[u8]) -> Poll<Result<(), SendError>> {
        let Self { watch, sender, .. } = self;
        let attempt = || Step::of(sender.send_within(message, Timeout::Never));
        let outcome = ready!(watch.poll(cx, attempt)).map_err(SendError::Io)?;
        Poll::Ready(outcome.map_err(SendError::from))
    }

    /// Sends a message that does not fit one record.
    fn poll_long(
        &mut self,
        cx: &mut Context<'_>,
        message: &[u8],
        progress: &mut Progress,
    ) -> Poll<Result<(), SendError>> {
        let Self { watch, sender, .. } = self;
        let mut sent = progress.sent;
        let attempt = || match sender.send_step(message, progress) {
            Err(Fault::NotNow) if progress.sent != mem::replace(&mut sent, progress.sent) => {
                Step::Further
            }
            outcome => Step::of(outcome),
        };
        let outcome = ready!(watch.poll(cx, attempt)).map_err(SendError::Io)?;
        Poll::Ready(outcome.map_err(SendError::from))
    }

    /// Sends what the sink has taken.
    pub(super) fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let Some(message) = self.taken.take() else {
            return Poll::Ready(Ok(()));
        };
        let outcome = if message.len() <= self.sender.ready_len() {
            self.poll_send(cx, &message)
        } else {
            let mut progress = mem::take(&mut self.progress);
            let outcome = self.poll_long(cx, &message, &mut progress);
            self.progress = progress;
            outcome
        };
        if outcome.is_pending() {
            self.taken = Some(message);
        } else if mem::take(&mut self.progress).has_begun {
            // The reactor is gone.
            self.sender.take_back();
        }
        outcome
    }
}

/// A long message on its way, which is taken back when this is dropped before it is whole.
struct Sending<'a> {
    end: &'a mut Sender,
    progress: Progress,
}

impl Sending<'_> {
    fn poll(&mut self, cx: &mut Context<'_>, message: &[u8]) -> Poll<Result<(), SendError>> {
        self.end.poll_long(cx, message, &mut self.progress)
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.progress.has_begun {
            self.end.sender.take_back();
        }
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
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    /// As one message, or the first bytes of all pieces where they are longer.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_taken(cx))?;
        let Self { watch, sender, .. } = &mut *self;
        let attempt = || Step::of(sender.write_ready_pieces(bufs));
        let outcome = ready!(watch.poll(cx, attempt))?;
        Poll::Ready(outcome.map_err(|fault| SendError::from(fault).into()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_taken(cx).map_err(Into::into)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self, cx)
    }
}
