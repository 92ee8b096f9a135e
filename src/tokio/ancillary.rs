//! Messages that carry descriptors or ends, between tasks.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use nix::poll::PollFlags;
use tokio::io::Interest;

use super::registered::Registered;
use super::watch::{self, Step};
use super::{Connection, Receiver, Sender};
use crate::ends::ancillary::put_together;
use crate::ends::end::End;
use crate::error::Fault;
use crate::sys::clock::Timeout;
use crate::sys::descriptors;
use crate::{Message, RecvError, SendError};

impl Receiver {
    /// Receives the next message and the descriptors that it carries; waits while the pipe is empty.
    ///
    /// Cancel safe: a future that is dropped has taken neither.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_with_fds`](crate::Receiver::recv_with_fds).
    ///
    /// # Examples
    ///
    /// See [`Sender::send_with_fds`].
    pub async fn recv_with_fds(&mut self) -> Result<(Message<'_>, Vec<OwnedFd>), RecvError> {
        let (start, fds) = poll_fn(|cx| {
            let Self { watch, receiver } = self;
            let attempt = || {
                let outcome = receiver.recv_with_descriptors(Timeout::Never);
                Step::of(outcome.map(|(message, fds)| (message.start(), fds)))
            };
            let outcome = ready!(watch.poll(cx, attempt)).map_err(RecvError::Io)?;
            Poll::Ready(outcome.map_err(RecvError::from))
        })
        .await?;
        Ok((Message::new(&mut self.receiver.buffer, start), fds))
    }

    /// Receives the next message and the end that it carries; waits while the pipe is empty. The end may be one for
    /// tasks or a blocking one, whichever was sent.
    ///
    /// Cancel safe: a future that is dropped has taken neither.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_with_end`](crate::Receiver::recv_with_end).
    ///
    /// # Examples
    ///
    /// See [`Sender::send_with_end`].
    pub async fn recv_with_end<E: End>(&mut self) -> Result<(Message<'_>, E), RecvError> {
        let max_capacity = self.receiver.max_end_capacity;
        let (message, fds) = self.recv_with_fds().await?;
        let end = put_together(fds, max_capacity).map_err(RecvError::Io)?;
        Ok((message, end))
    }

    /// Sets the largest capacity in bytes of an end that a message may carry, as
    /// [`Receiver::set_max_end_capacity`](crate::Receiver::set_max_end_capacity) does. An end for tasks begins with
    /// what was set for the blocking one that it is made of.
    pub fn set_max_end_capacity(&mut self, bytes: usize) {
        self.receiver.set_max_end_capacity(bytes);
    }
}

impl Sender {
    /// Sends `message` and copies of `fds` with it, whole or not at all; waits while the pipe is full.
    ///
    /// Cancel safe: a future that is dropped before it has returned has sent nothing.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send_with_fds`](crate::Sender::send_with_fds), and those of [`send`](Self::send) in a
    /// forked child.
    ///
    /// # Panics
    ///
    /// Outside of a runtime, where the pipe is full of descriptors for the first time.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[::tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::os::fd::AsFd;
    ///
    /// let (rx, tx) = shmpipe::PipeOptions::new().descriptors(true).pipe()?;
    /// let mut rx = shmpipe::tokio::Receiver::from_blocking(rx)?;
    /// let mut tx = shmpipe::tokio::Sender::from_blocking(tx)?;
    /// let null = std::fs::File::open("/dev/null")?;
    /// tx.send_with_fds(b"nothing in it", &[null.as_fd()]).await?;
    /// let (message, fds) = rx.recv_with_fds().await?;
    /// assert_eq!((message.len(), fds.len()), (13, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_with_fds(
        &mut self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), SendError> {
        if fds.is_empty() {
            return self.send(message).await;
        }
        poll_fn(|cx| self.poll_taken(cx)).await?;
        poll_fn(|cx| self.poll_send_with_descriptors(cx, message, fds)).await
    }

    fn poll_send_with_descriptors(
        &mut self,
        cx: &mut Context<'_>,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Poll<Result<(), SendError>> {
        loop {
            let Self {
                watch,
                ancillary_room,
                sender,
                ..
            } = self;
            let mut ancillary_is_full = false;
            let attempt =
                || match Step::of(sender.send_with_descriptors(message, fds, Timeout::Never)) {
                    // There is no room for the descriptors, or for the message. `watch` waits for either.
                    Step::InVain if !has_ancillary_room(sender) => {
                        ancillary_is_full = true;
                        Step::Done(Err(Fault::NotNow))
                    }
                    step => step,
                };
            let outcome = ready!(watch.poll(cx, attempt)).map_err(SendError::Io)?;
            if !ancillary_is_full {
                return Poll::Ready(outcome.map_err(SendError::from));
            }
            if ancillary_room.is_none() {
                *ancillary_room = AncillaryRoom::of(sender).map_err(SendError::Io)?;
            }
            if let Some(room) = ancillary_room {
                ready!(room.poll(cx)).map_err(SendError::Io)?;
            }
        }
    }

    /// Sends `message` and a whole end with it, one for tasks or a blocking one; waits while the pipe is full, as
    /// [`send_with_fds`](Self::send_with_fds).
    ///
    /// Cancel safe as far as the pipe goes; the end is closed with a future that is dropped.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send_with_end`](crate::Sender::send_with_end).
    ///
    /// # Panics
    ///
    /// Panics where [`send_with_fds`](Self::send_with_fds) does.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[::tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use shmpipe::tokio::{Receiver, Sender};
    ///
    /// let (rx, tx) = shmpipe::PipeOptions::new().descriptors(true).pipe()?;
    /// let (mut rx, mut tx) = (Receiver::from_blocking(rx)?, Sender::from_blocking(tx)?);
    /// let (mut answers, answer_here) = shmpipe::pipe()?;
    /// tx.send_with_end(b"what is the time?", answer_here).await?;
    ///
    /// let (_question, mut answer) = rx.recv_with_end::<Sender>().await?;
    /// answer.send(b"noon").await?;
    /// assert_eq!(&*answers.recv()?, b"noon");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_with_end(&mut self, message: &[u8], end: impl End) -> Result<(), SendError> {
        let fds = end.copies().map_err(SendError::Io)?;
        drop(end);
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        self.send_with_fds(message, &borrowed).await
    }
}

/// Whether poll(2) shows room for descriptors in flight; where the pipe carries none, too.
fn has_ancillary_room(sender: &crate::Sender) -> bool {
    sender
        .ancillary()
        .is_none_or(|socket| watch::is_ready(socket, PollFlags::POLLOUT).unwrap_or(true))
}

/// The descriptor that shows room for descriptors in flight.
#[derive(Debug)]
pub(super) struct AncillaryRoom(Registered<OwnedFd>);

impl AncillaryRoom {
    fn of(sender: &crate::Sender) -> io::Result<Option<Self>> {
        let Some(socket) = sender.ancillary() else {
            return Ok(None);
        };
        let copy = descriptors::copy(socket.as_raw_fd())?;
        Ok(Some(Self(Registered::new(copy, Interest::WRITABLE)?)))
    }

    /// Waits until there is room, for whoever is first.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            if watch::is_ready(self.0.as_fd(), PollFlags::POLLOUT)? {
                return Poll::Ready(Ok(()));
            }
            guard.clear_ready();
        }
    }
}

impl Connection {
    /// Receives the next message and the descriptors that it carries, as [`Receiver::recv_with_fds`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_with_fds`].
    pub async fn recv_with_fds(&mut self) -> Result<(Message<'_>, Vec<OwnedFd>), RecvError> {
        self.receiver.recv_with_fds().await
    }

    /// Receives the next message and the end that it carries, as [`Receiver::recv_with_end`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::recv_with_end`].
    pub async fn recv_with_end<E: End>(&mut self) -> Result<(Message<'_>, E), RecvError> {
        self.receiver.recv_with_end().await
    }

    /// Sets the largest capacity in bytes of an end that a message may carry, as [`Receiver::set_max_end_capacity`]
    /// does.
    pub fn set_max_end_capacity(&mut self, bytes: usize) {
        self.receiver.set_max_end_capacity(bytes);
    }

    /// Sends `message` with copies of descriptors, and waits while the pipe is full, as [`Sender::send_with_fds`]
    /// does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send_with_fds`].
    ///
    /// # Panics
    ///
    /// Panics where [`Sender::send_with_fds`] does.
    pub async fn send_with_fds(
        &mut self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), SendError> {
        self.sender.send_with_fds(message, fds).await
    }

    /// Sends `message` and a whole end with it, and waits while the pipe is full, as [`Sender::send_with_end`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send_with_end`].
    ///
    /// # Panics
    ///
    /// Panics where [`Sender::send_with_end`] does.
    pub async fn send_with_end(&mut self, message: &[u8], end: impl End) -> Result<(), SendError> {
        self.sender.send_with_end(message, end).await
    }
}
