//! Messages that carry descriptors or ends, between tasks.

use std::future::poll_fn;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Poll, ready};

use tokio::task::coop::consume_budget;
use tokio::task::spawn_blocking;

use super::{Connection, Receiver, Sender};
use crate::end::End;
use crate::error::Fault;
use crate::parcels::put_together;
use crate::sys::clock::Patience;
use crate::{Message, RecvError, SendError};

impl Receiver {
    /// Receives the next message and the descriptors that it carries; waits while the pipe is empty.
    ///
    /// Cancel safe: a future that is dropped has taken neither.
    ///
    /// # Errors
    ///
    /// As [`Receiver::recv_with_fds`](crate::Receiver::recv_with_fds).
    ///
    /// # Examples
    ///
    /// See [`Sender::send_with_fds`].
    pub async fn recv_with_fds(&mut self) -> Result<(Message<'_>, Vec<OwnedFd>), RecvError> {
        let (start, fds) = poll_fn(|cx| {
            let Self { watch, receiver } = self;
            let attempt = || match receiver.recv_parcel(Patience::Never) {
                Ok((message, fds)) => Some(Ok((message.start(), fds))),
                Err(Fault::NotNow | Fault::Busy) => None,
                Err(fault) => Some(Err(RecvError::from(fault))),
            };
            Poll::Ready(ready!(watch.poll(cx, attempt)).map_err(RecvError::Io)?)
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
    /// As [`Receiver::recv_with_end`](crate::Receiver::recv_with_end).
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

    /// As [`Receiver::set_max_end_capacity`](crate::Receiver::set_max_end_capacity). An end for tasks begins with what
    /// was set for the blocking one that it is made of.
    pub fn set_max_end_capacity(&mut self, bytes: usize) {
        self.receiver.set_max_end_capacity(bytes);
    }
}

impl Sender {
    /// Sends `message` and copies of `fds` with it, whole or not at all; waits while the pipe is full.
    ///
    /// Where there is room it is sent at once. Else copies of all of it wait on the runtime's pool for blocking work,
    /// as a [long message](Self::send) does: a future that is dropped then still sends it, and the next send on this
    /// end comes after it.
    ///
    /// # Errors
    ///
    /// As [`Sender::send_with_fds`](crate::Sender::send_with_fds).
    ///
    /// # Panics
    ///
    /// Outside of a runtime, where the pipe is full.
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
        consume_budget().await;
        poll_fn(|cx| self.poll_settle(cx)).await?;
        match self.sender.send_parcel(message, fds, Patience::Never) {
            Err(Fault::NotNow) => {}
            outcome => return Ok(outcome?),
        }
        let message = message.to_vec();
        let fds = fds.iter().map(BorrowedFd::try_clone_to_owned);
        let fds: Vec<OwnedFd> = fds.collect::<Result<_, _>>().map_err(SendError::Io)?;
        let mut sender = self.sender.try_clone().map_err(SendError::Io)?;
        self.long = Some(spawn_blocking(move || {
            let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            sender.send_with_fds(&message, &fds)
        }));
        poll_fn(|cx| self.poll_long(cx)).await
    }

    /// Sends `message` and a whole end with it, one for tasks or a blocking one; waits while the pipe is full, as
    /// [`send_with_fds`](Self::send_with_fds).
    ///
    /// # Errors
    ///
    /// As [`Sender::send_with_end`](crate::Sender::send_with_end).
    ///
    /// # Panics
    ///
    /// Outside of a runtime, where the pipe is full.
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

impl Connection {
    /// As [`Receiver::recv_with_fds`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn recv_with_fds(&mut self) -> Result<(Message<'_>, Vec<OwnedFd>), RecvError> {
        self.receiver.recv_with_fds().await
    }

    /// As [`Receiver::recv_with_end`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn recv_with_end<E: End>(&mut self) -> Result<(Message<'_>, E), RecvError> {
        self.receiver.recv_with_end().await
    }

    /// As [`Receiver::set_max_end_capacity`].
    pub fn set_max_end_capacity(&mut self, bytes: usize) {
        self.receiver.set_max_end_capacity(bytes);
    }

    /// As [`Sender::send_with_fds`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As there.
    pub async fn send_with_fds(
        &mut self,
        message: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), SendError> {
        self.sender.send_with_fds(message, fds).await
    }

    /// As [`Sender::send_with_end`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As there.
    pub async fn send_with_end(&mut self, message: &[u8], end: impl End) -> Result<(), SendError> {
        self.sender.send_with_end(message, end).await
    }
}
