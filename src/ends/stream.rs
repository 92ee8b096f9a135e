//! The byte-stream view of the ends: `io::Read`, `io::BufRead` and `io::Write`.
//!
//! The first two eat up the same buffer that `recv` lends from, so they and the calls that receive whole messages may
//! be mixed in any order.
//!
//! None of them is there for `&Receiver` or `&Sender`. The buffer of a receiver needs a single user, and so do the looks
//! at the other side that a sender counts. Sharing them would take a lock at each call. A second user takes a clone, which
//! costs no descriptor.

use std::io::{self, IoSlice, IoSliceMut};

use super::receiver::{Flavor, Receiver};
use crate::error::Fault;
use crate::ring::payload::Destination;
use crate::sys::clock::Timeout;
use crate::{Connection, RecvError, SendError, Sender};

impl Receiver {
    /// Moves as much of the message begun by `read` as fits.
    pub(crate) fn take_unread(&mut self, buf: &mut [u8]) -> usize {
        let start = self.buffer.len() - self.unread;
        let len = self.unread.min(buf.len());
        buf[..len].copy_from_slice(&self.buffer[start..start + len]);
        self.unread -= len;
        len
    }

    /// Fills `buf` with what is there, and waits for a byte only where `so_far` counts none. With a byte to return it
    /// takes no more than whole short messages, so there is no error that it could not return.
    fn read_on(&mut self, buf: &mut [u8], so_far: usize) -> io::Result<usize> {
        let mut filled = self.take_unread(buf);
        while filled < buf.len() {
            if so_far + filled == 0 {
                match self.read_message(buf, Timeout::FOREVER) {
                    Ok(len) => filled = len,
                    Err(Fault::Disconnected) => break,
                    Err(fault) => return Err(RecvError::from(fault).into()),
                }
            } else if let Some(len) = self.recv_more_into(&mut buf[filled..]) {
                filled += len;
            } else if self.recv_more() {
                self.unread = self.buffer.len();
                filled += self.take_unread(&mut buf[filled..]);
            } else {
                break;
            }
        }
        Ok(filled)
    }

    /// As [`recv_more`](Self::recv_more), straight into `buf` where it fits.
    fn recv_more_into(&mut self, buf: &mut [u8]) -> Option<usize> {
        match &mut self.flavor {
            Flavor::SharedMemory(_) => self.recv_into_soon(buf, false),
            Flavor::Kernel(rx) => rx.recv_more(Destination::Slice(buf)),
        }
    }

    /// Receives one message: straight into `buf` where it fits, else by way of our own buffer.
    pub(crate) fn read_message(
        &mut self,
        buf: &mut [u8],
        timeout: Timeout,
    ) -> Result<usize, Fault> {
        if let Some(len) = self.recv_into_soon(buf, timeout != Timeout::Never) {
            return Ok(len);
        }
        match Self::receive(&mut self.flavor, Destination::Slice(buf), timeout) {
            Err(Fault::BufferTooSmall { .. }) => {
                self.unread = self.recv_within(timeout)?.len();
                Ok(self.take_unread(buf))
            }
            outcome => outcome,
        }
    }
}

/// The byte-stream view: boundaries of messages vanish and empty messages are skipped.
///
/// A message that is lost ([`Aborted`](crate::RecvError::Aborted)) is dropped whole and reported once as `InvalidData`;
/// the next read goes on. A signal interrupts no read. `Interrupted` is reported only where the hook of an
/// [`Interrupt`](crate::Interrupt) ends one. A read has no time-out; call [`poll`](Receiver::poll) first where one is
/// wanted.
///
/// Reads and receives may be mixed: a receive after a read that took the beginning of a message returns the rest.
impl io::Read for Receiver {
    /// Blocks until there is at least one byte, then takes what is there: the first message, and short ones behind it, as far
    /// as `buf` goes. `Ok(0)` is end-of-file.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_on(buf, 0)
    }

    /// Reads as [`read`](io::Read::read) does, into one buffer after the other.
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut filled = 0;
        for buf in bufs {
            let len = self.read_on(buf, filled)?;
            filled += len;
            if len < buf.len() {
                break;
            }
        }
        Ok(filled)
    }
}

/// The buffer is the end's own, which holds one message. So no [`BufReader`](io::BufReader) is needed, and the rest of a
/// line, say, is still there for [`recv`](Receiver::recv).
///
/// # Examples
///
/// ```
/// use std::io::{BufRead, Write};
///
/// let (mut rx, mut tx) = shmpipe::pipe()?;
/// write!(tx, "first line\nsecond ")?;
/// writeln!(tx, "line")?;
/// tx.write_all(b"end")?;
/// let mut line = String::new();
/// rx.read_line(&mut line)?;
/// assert_eq!(line, "first line\n");
/// assert_eq!(&*rx.recv()?, b"second ");
/// drop(tx);
/// assert_eq!(rx.lines().collect::<Result<Vec<_>, _>>()?, ["line", "end"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl io::BufRead for Receiver {
    /// The bytes that are at hand, or those of the next message that is not empty, for which it blocks;
    /// none is end-of-file.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.unread == 0 {
            match self.recv_within(Timeout::FOREVER) {
                Ok(message) => self.unread = message.len(),
                Err(Fault::Disconnected) => break,
                Err(fault) => return Err(RecvError::from(fault).into()),
            }
        }
        Ok(&self.buffer[self.buffer.len() - self.unread..])
    }

    /// Marks `amount` of those bytes as read; more than there are counts as all.
    fn consume(&mut self, amount: usize) {
        self.unread = self.unread.saturating_sub(amount);
    }
}

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

/// As for [`Receiver`].
impl io::Read for Connection {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.receiver.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.receiver.read_vectored(bufs)
    }
}

/// As for [`Receiver`].
impl io::BufRead for Connection {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.receiver.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.receiver.consume(amount);
    }
}

/// As for [`Sender`].
impl io::Write for Connection {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.sender.write(buf)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.sender.write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sender.flush()
    }
}
