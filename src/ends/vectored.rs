//! Sending one message from several places.

use std::io::{self, IoSlice};

use super::sender::{Flavor, Sender};
use crate::backend::Tx;
use crate::error::Fault;
use crate::ring::payload::{Payload, Pieces};
use crate::sys::clock::Timeout;
use crate::{SendError, TrySendError};

/// # One message from several pieces
impl Sender {
    /// Sends one message that is made of `pieces`, in their order. Otherwise it is like [`send`](Self::send).
    ///
    /// Through shared memory the pieces are copied straight into the pipe, a header before its body for instance,
    /// without being gathered first. A kernel pipe's message is gathered. No pieces, or empty ones only, are an
    /// empty message.
    ///
    /// # Errors
    ///
    /// The errors of [`send`](Self::send).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::IoSlice;
    ///
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// tx.send_vectored(&[IoSlice::new(b"head: "), IoSlice::new(b"body")])?;
    /// assert_eq!(&*rx.recv()?, b"head: body");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_vectored(&mut self, pieces: &[IoSlice<'_>]) -> Result<(), SendError> {
        Ok(self.send_all(pieces, Timeout::FOREVER)?)
    }

    /// Sends one message from several pieces if there is room for all of it now, and never blocks. Otherwise it is
    /// like [`send_vectored`](Self::send_vectored).
    ///
    /// # Errors
    ///
    /// The errors of [`try_send`](Self::try_send).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::IoSlice;
    ///
    /// let (_rx, mut tx) = shmpipe::pipe()?;
    /// let pieces = [IoSlice::new(&[0; 8]), IoSlice::new(&[7; 1000])];
    /// while tx.try_send_vectored(&pieces).is_ok() {}
    /// let outcome = tx.try_send_vectored(&pieces);
    /// assert!(matches!(outcome, Err(shmpipe::TrySendError::Full)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_send_vectored(&mut self, pieces: &[IoSlice<'_>]) -> Result<(), TrySendError> {
        Ok(self.send_all(pieces, Timeout::Never)?)
    }

    fn send_all(&mut self, pieces: &[IoSlice<'_>], timeout: Timeout) -> Result<(), Fault> {
        match Pieces::all(pieces) {
            Some(message) if message.len() <= self.limit => self.send_pieces(message, timeout),
            message => Err(Fault::TooLarge {
                len: message.map_or(usize::MAX, Payload::len),
                max: self.limit,
            }),
        }
    }

    /// Sends a message that is not over the limit.
    fn send_pieces(&mut self, message: Pieces<'_>, timeout: Timeout) -> Result<(), Fault> {
        match &mut self.flavor {
            Flavor::SharedMemory(tx) => match tx.send_soon(message) {
                Some(rung) => rung.map_err(Fault::NotWoken),
                None => tx.send_pieces(message, timeout),
            },
            Flavor::Kernel(tx) => tx.send_pieces(message, timeout),
        }
    }

    /// As [`write`](io::Write::write) of all `pieces`.
    pub(super) fn write_pieces(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.write_up_to(pieces, usize::MAX, Timeout::FOREVER);
        written.map_err(|fault| SendError::from(fault).into())
    }

    /// As [`write_pieces`](Self::write_pieces), of as much as has room when the descriptor says so; never blocks.
    #[cfg(feature = "tokio")]
    pub(crate) fn write_ready_pieces(&mut self, pieces: &[IoSlice<'_>]) -> Result<usize, Fault> {
        let most = self.ready_len();
        self.write_up_to(pieces, most, Timeout::Never)
    }

    fn write_up_to(
        &mut self,
        pieces: &[IoSlice<'_>],
        most: usize,
        timeout: Timeout,
    ) -> Result<usize, Fault> {
        let message = Pieces::up_to(pieces, self.limit.min(most));
        let is_empty = pieces.iter().all(|piece| piece.is_empty());
        if is_empty {
            return Ok(0);
        }
        if message.len() == 0 {
            return Err(Fault::TooLarge {
                len: Pieces::up_to(pieces, usize::MAX).len(),
                max: self.limit,
            });
        }
        self.send_pieces(message, timeout)?;
        Ok(message.len())
    }
}
