//! The byte-stream view of the sending end: `io::Write`.
//!
//! There is no `io::Write` for `&Sender`: a send counts its sender's looks at the other side in the end
//! itself, without a lock. A second user takes a clone, which costs no descriptor.

use std::io::{self, IoSlice};

use super::Sender;
use crate::SendError;

/// Each write is one message; an empty write sends nothing. A signal interrupts no write: `Interrupted` is reported
/// only where the hook of an [`Interrupt`](crate::Interrupt) ends one.
impl io::Write for Sender {
    /// Sends `buf` as one message, blocking while the pipe is full. Where a limit is set, the message is as much
    /// of `buf` as the limit allows.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let piece = &buf[..buf.len().min(self.limit)];
        if piece.is_empty() && !buf.is_empty() {
            return Err(SendError::TooLarge {
                len: buf.len(),
                max: self.limit,
            }
            .into());
        }
        if !piece.is_empty() {
            self.send(piece)?;
        }
        Ok(piece.len())
    }

    /// Writes all the pieces as one message, which [`send_vectored`](Sender::send_vectored) puts together.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_pieces(pieces)
    }

    /// Does nothing: what `write` took is already where the receiver finds it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
