//! The byte-stream view of a two-way end: its two halves'.

use std::io::{self, BufRead, IoSlice, IoSliceMut, Read, Write};

use super::Connection;

/// As for [`Receiver`](crate::Receiver).
impl Read for Connection {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.receiver.read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.receiver.read_vectored(bufs)
    }
}

/// As for [`Receiver`](crate::Receiver).
impl BufRead for Connection {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.receiver.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.receiver.consume(amount);
    }
}

/// As for [`Sender`](crate::Sender).
impl Write for Connection {
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
