//! The end of a two-way pipe for tasks.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Receiver, Sender};
use crate::{Message, RecvError, SendError, TryRecvError, TrySendError};

/// A [two-way end](crate::Connection) for tasks: all of a [`Receiver`] and of a [`Sender`].
///
/// # Examples
///
/// See [`send`](Self::send).
#[derive(Debug)]
pub struct Connection {
    pub(super) receiver: Receiver,
    pub(super) sender: Sender,
}

impl Connection {
    /// Makes an end for tasks of a blocking one; also by `try_into()`.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::from_blocking`].
    ///
    /// # Panics
    ///
    /// Panics where [`Receiver::from_blocking`] does.
    pub fn from_blocking(connection: crate::Connection) -> io::Result<Self> {
        let (receiver, sender) = connection.split();
        Ok(Self {
            receiver: Receiver::from_blocking(receiver)?,
            sender: Sender::from_blocking(sender)?,
        })
    }

    /// Gives the blocking end back, as [`Receiver::into_blocking`] and [`Sender::into_blocking`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[::tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (here, mut there) = shmpipe::duplex()?;
    /// let here = shmpipe::tokio::Connection::from_blocking(here)?;
    /// here.into_blocking().send(b"blocking again")?;
    /// assert_eq!(there.recv()?.len(), 14);
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_blocking(self) -> crate::Connection {
        crate::Connection::new(self.receiver.into_blocking(), self.sender.into_blocking())
    }

    /// Takes the two directions apart, as [`Connection::split`](crate::Connection::split).
    pub fn split(self) -> (Receiver, Sender) {
        (self.receiver, self.sender)
    }

    /// Receives the next message, and waits while the pipe is empty, as [`Receiver::recv`] does; cancel safe.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv`].
    pub async fn recv(&mut self) -> Result<Message<'_>, RecvError> {
        self.receiver.recv().await
    }

    /// Receives the next message if one is there, and never blocks, as [`Receiver::try_recv`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::try_recv`].
    pub fn try_recv(&mut self) -> Result<Message<'_>, TryRecvError> {
        self.receiver.try_recv()
    }

    /// Sends `message`, and waits while the pipe is full, as [`Sender::send`] does; cancel safe.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[::tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (left, mut right) = shmpipe::duplex()?;
    /// let mut left = shmpipe::tokio::Connection::from_blocking(left)?;
    /// left.send(b"ping").await?;
    /// assert_eq!(&*right.recv()?, b"ping");
    /// right.send(b"pong")?;
    /// assert_eq!(&*left.recv().await?, b"pong");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        self.sender.send(message).await
    }

    /// Sends `message` if there is room for all of it now, and never blocks, as [`Sender::try_send`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::try_send`].
    pub fn try_send(&mut self, message: &[u8]) -> Result<(), TrySendError> {
        self.sender.try_send(message)
    }

    /// Makes another handle to this end.
    ///
    /// # Errors
    ///
    /// The errors of [`from_blocking`](Self::from_blocking).
    ///
    /// # Panics
    ///
    /// Panics where [`from_blocking`](Self::from_blocking) does.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            receiver: self.receiver.try_clone()?,
            sender: self.sender.try_clone()?,
        })
    }

    fn receiver(self: Pin<&mut Self>) -> Pin<&mut Receiver> {
        Pin::new(&mut self.get_mut().receiver)
    }

    fn sender(self: Pin<&mut Self>) -> Pin<&mut Sender> {
        Pin::new(&mut self.get_mut().sender)
    }
}

impl TryFrom<crate::Connection> for Connection {
    type Error = io::Error;

    fn try_from(connection: crate::Connection) -> io::Result<Self> {
        Self::from_blocking(connection)
    }
}

impl Stream for Connection {
    type Item = Result<Vec<u8>, RecvError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver().poll_next(cx)
    }
}

impl Sink<Vec<u8>> for Connection {
    type Error = SendError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.sender().poll_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Vec<u8>) -> Result<(), SendError> {
        self.sender().start_send(message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Sink::poll_flush(self.sender(), cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.sender().poll_close(cx)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.receiver().poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.sender().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.sender().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.sender.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self.sender(), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sender().poll_shutdown(cx)
    }
}
