//! The receiving end for tasks.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::io::{AsyncRead, ReadBuf};

use super::watch::{Step, Watch};
use crate::error::Fault;
use crate::sys::clock::Timeout;
use crate::{Message, RecvError, TryRecvError};

/// A [receiving end](crate::Receiver) for tasks.
///
/// As a [`Stream`] it yields whole messages as `Result<Vec<u8>, RecvError>` and ends at end-of-file; as
/// [`AsyncRead`] it is the byte-stream view, in which message edges vanish.
///
/// # Examples
///
/// See [`recv`](Self::recv).
#[derive(Debug)]
pub struct Receiver {
    // Closed before the receiver, which announces the close.
    pub(super) watch: Watch,
    pub(super) receiver: crate::Receiver,
}

impl Receiver {
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
    /// See [`recv`](Self::recv).
    pub fn from_blocking(receiver: crate::Receiver) -> io::Result<Self> {
        Ok(Self {
            watch: Watch::new(receiver.watch_fd()?)?,
            receiver,
        })
    }

    /// Returns the blocking end, with all that it has taken and not handed out.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[::tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (rx, mut tx) = shmpipe::pipe()?;
    /// let rx = shmpipe::tokio::Receiver::from_blocking(rx)?;
    /// tx.send(b"blocking again")?;
    /// assert_eq!(rx.into_blocking().recv()?.len(), 14);
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_blocking(self) -> crate::Receiver {
        self.receiver
    }

    /// Receives the next message; waits while the pipe is empty.
    ///
    /// Cancel safe: a future that is dropped has taken no message.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv`](crate::Receiver::recv). When a sender dies inside a message in fragments
    /// (longer than an eighth of the capacity) while others live, `Aborted` shows only when one of those sends again.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[::tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (rx, mut tx) = shmpipe::pipe()?;
    /// let mut rx: shmpipe::tokio::Receiver = rx.try_into()?;
    /// tx.send(b"last words")?;
    /// drop(tx);
    /// assert_eq!(&*rx.recv().await?, b"last words");
    /// assert!(matches!(rx.recv().await, Err(shmpipe::RecvError::Disconnected)));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn recv(&mut self) -> Result<Message<'_>, RecvError> {
        let start = poll_fn(|cx| self.poll_recv(cx)).await?;
        Ok(Message::new(&mut self.receiver.buffer, start))
    }

    /// Receives the next message if one is there.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::try_recv`](crate::Receiver::try_recv).
    pub fn try_recv(&mut self) -> Result<Message<'_>, TryRecvError> {
        self.receiver.try_recv()
    }

    /// Makes another handle to this end, as [`Receiver::try_clone`](crate::Receiver::try_clone).
    ///
    /// # Errors
    ///
    /// The errors of [`from_blocking`](Self::from_blocking).
    ///
    /// # Panics
    ///
    /// Panics where [`Receiver::try_clone`](crate::Receiver::try_clone) does.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.watch.check_process()?;
        Self::from_blocking(self.receiver.try_clone()?)
    }

    /// Puts the next message into the buffer of the end when it is ready; returns where in it.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, RecvError>> {
        let Self { watch, receiver } = self;
        let attempt = || {
            let outcome = receiver.recv_within(Timeout::Never);
            Step::of(outcome.map(|message| message.start()))
        };
        let outcome = ready!(watch.poll(cx, attempt)).map_err(RecvError::Io)?;
        Poll::Ready(outcome.map_err(RecvError::from))
    }
}

impl TryFrom<crate::Receiver> for Receiver {
    type Error = io::Error;

    fn try_from(receiver: crate::Receiver) -> io::Result<Self> {
        Self::from_blocking(receiver)
    }
}

impl Stream for Receiver {
    type Item = Result<Vec<u8>, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.poll_recv(cx)) {
            Ok(start) => {
                let message = Message::new(&mut self.receiver.buffer, start);
                Some(Ok(message.into_vec()))
            }
            Err(RecvError::Disconnected) => None,
            Err(error) => Some(Err(error)),
        })
    }
}

/// The byte-stream view: a read takes what is there of one message, and skips empty ones. A message that is lost
/// ([`Aborted`](RecvError::Aborted)) is dropped whole and reported once as `InvalidData`.
impl AsyncRead for Receiver {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { watch, receiver } = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let slice = buf.initialize_unfilled();
        let attempt = || Step::of(read_now(receiver, slice));
        match ready!(watch.poll(cx, attempt))? {
            Ok(len) => buf.advance(len),
            Err(Fault::Disconnected) => {}
            Err(fault) => return Poll::Ready(Err(RecvError::from(fault).into())),
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads from one message, passing over empty ones.
fn read_now(receiver: &mut crate::Receiver, buf: &mut [u8]) -> Result<usize, Fault> {
    let len = receiver.take_unread(buf);
    if len > 0 {
        return Ok(len);
    }
    loop {
        match receiver.read_message(buf, Timeout::Never)? {
            0 => {}
            len => return Ok(len),
        }
    }
}
