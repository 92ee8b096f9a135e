//! A line between a test's processes and threads that does not use the pipes under test.
//!
//! Every holder may put and take; it has no end-of-file, since each holder has both ends.

use std::fs::File;
use std::io::{Read, Write};

use super::kernel_pipe::pipe;

/// Numbers over a kernel pipe, in order; each is taken once.
#[derive(Debug)]
pub(crate) struct Line {
    reader: File,
    writer: File,
}

impl Line {
    pub(crate) fn new() -> Self {
        let (reader, writer) = pipe().expect("a pipe for the test itself");
        Self { reader, writer }
    }

    /// Puts one number; never blocks before thousands are waiting.
    pub(crate) fn put(&self, number: u64) {
        (&self.writer)
            .write_all(&number.to_ne_bytes())
            .expect("this process holds a reader");
    }

    /// Takes the next number, waiting for it.
    pub(crate) fn take(&self) -> u64 {
        let mut number = [0; 8];
        // Eight bytes at a time are atomic on both sides (pipe(7)).
        (&self.reader)
            .read_exact(&mut number)
            .expect("this process holds a writer");
        u64::from_ne_bytes(number)
    }

    /// Says that something has happened.
    pub(crate) fn signal(&self) {
        self.put(0);
    }

    /// Waits until it has.
    pub(crate) fn wait(&self) {
        self.take();
    }
}
