//! The byte-stream view of the sending end: `io::Write`.
//!
//! There is no `io::Write` for `&Sender`: a send counts its sender's looks at the other side in the end
//! itself, without a lock. A second user takes a clone, which costs no descriptor.

use std::io::{self, IoSlice};

use super::Sender;
use crate::SendError;

/// Pieces of a message of up to this many bytes are put together on the stack.
const ON_STACK: usize = 4096;

/// Each write is one message; an empty write sends nothing. A signal interrupts no write, so `Interrupted`
/// is never reported.
impl io::Write for Sender {
    /// Sends `buf` as one message, or its first part where a limit is set, blocking while the pipe
    /// is full.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let part = &buf[..buf.len().min(self.limit)];
        if part.is_empty() && !buf.is_empty() {
            return Err(SendError::TooLarge {
                len: buf.len(),
                max: self.limit,
            }
            .into());
        }
        if !part.is_empty() {
            self.send(part)?;
        }
        Ok(part.len())
    }

    /// As [`write`](io::Write::write), with the pieces put together to one message.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut filled = pieces.iter().filter(|piece| !piece.is_empty());
        let (Some(first), Some(_)) = (filled.next(), filled.next()) else {
            let only = pieces.iter().find(|piece| !piece.is_empty());
            return self.write(only.map_or(&[], |piece| &**piece));
        };
        // The pieces may be one and the same many times over.
        let sum = |sum: usize, piece: &IoSlice<'_>| sum.saturating_add(piece.len());
        let len = pieces.iter().fold(0, sum).min(self.limit);
        if len <= first.len() {
            return self.write(first);
        }
        if len <= ON_STACK {
            let mut message = [0; ON_STACK];
            gather(pieces, &mut message[..len]);
            self.write(&message[..len])
        } else {
            let mut message = vec![0; len];
            gather(pieces, &mut message);
            self.write(&message)
        }
    }

    /// Does nothing: what `write` took is already where the receiver finds it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fills `message` with the first bytes of `pieces`, of which there are enough.
fn gather(pieces: &[IoSlice<'_>], message: &mut [u8]) {
    let mut rest = message;
    for piece in pieces {
        let part = piece.len().min(rest.len());
        let (place, behind) = rest.split_at_mut(part);
        place.copy_from_slice(&piece[..part]);
        rest = behind;
    }
}
