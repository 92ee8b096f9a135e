//! A file as what is sent: its bytes again and again, and their digest at the far end.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::message::{Incoming, Outgoing, sum_words};
use crate::one_way::{Drain, Feed};
use crate::wire::{Rx, Tx};

/// Length in bytes of each message of a file transfer but the last.
pub const PART: usize = 64 * 1024;

/// Length in bytes of the numbered message before each transfer.
pub(crate) const HEADER: usize = 8;

/// Bytes of a file that are sent; the rest of a longer one is left out, so that a transfer fits into a slice.
const LONGEST: u64 = 64 << 20;

/// The file whose bytes are sent.
#[derive(Debug)]
pub struct Material {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes, or the first ones of a very long file.
    pub bytes: Vec<u8>,
    /// Whether the file is longer than that.
    pub is_cut: bool,
    /// Digest of `bytes`.
    pub digest: String,
    /// Sum of the words of `bytes`.
    sum: u64,
}

impl Material {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// What open(2) and read(2) report, and an empty file; the text names the path.
    pub fn load(path: &Path) -> io::Result<Self> {
        let named = |what: &str| format!("cannot send the file {}: {what}", path.display());
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
            .map_err(|error| io::Error::new(error.kind(), named(&error.to_string())))?;
        if bytes.is_empty() {
            return Err(io::Error::other(named("it is empty")));
        }
        let longest = usize::try_from(LONGEST).unwrap_or(usize::MAX);
        let is_cut = bytes.len() > longest;
        bytes.truncate(longest);
        Ok(Self {
            path: path.to_owned(),
            is_cut,
            sum: bytes.chunks(PART).map(sum_words).fold(0, u64::wrapping_add),
            digest: digest([bytes.as_slice()]),
            bytes,
        })
    }

    /// The mean length of its messages.
    pub fn mean_message(&self) -> f64 {
        self.bytes.len() as f64 / self.bytes.chunks(PART).count() as f64
    }
}

/// SHA-256 of the parts together, in hexadecimal, as sha256sum(1) prints it.
fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    let bytes = digest.finalize();
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Sends a file each time, behind a message that numbers the transfer.
pub(crate) struct Sending<'a, T> {
    tx: &'a mut T,
    file: &'a Material,
    headers: Outgoing,
}

impl<'a, T: Tx> Sending<'a, T> {
    pub(crate) fn new(tx: &'a mut T, file: &'a Material) -> Self {
        let headers = Outgoing::new(HEADER, 0);
        Self { tx, file, headers }
    }
}

impl<T: Tx> Feed for Sending<'_, T> {
    fn put(&mut self, flags: u64) -> io::Result<u64> {
        self.tx.send(self.headers.next(flags))?;
        let mut count = 0;
        for part in self.file.bytes.chunks(PART) {
            self.tx.send(part)?;
            count += 1;
        }
        Ok(count)
    }
}

/// Takes a file each time, and reads every byte of it.
pub(crate) struct Taking<'a, R> {
    rx: &'a mut R,
    file: &'a Material,
    /// What came last; kept, so that its pages are there.
    parts: Vec<Vec<u8>>,
}

impl<'a, R: Rx> Taking<'a, R> {
    pub(crate) fn new(rx: &'a mut R, file: &'a Material) -> Self {
        let parts = file.bytes.chunks(PART);
        let parts = parts.map(|part| vec![0; part.len()]).collect();
        Self { rx, file, parts }
    }

    /// Compares the digest of what came last with that of what was sent.
    pub(crate) fn digest(&self) -> io::Result<()> {
        let (theirs, ours) = (
            digest(self.parts.iter().map(Vec::as_slice)),
            &self.file.digest,
        );
        if theirs == *ours {
            return Ok(());
        }
        Err(damaged(&format!(
            "the file's digest is {theirs} at the far end, not {ours}"
        )))
    }
}

impl<R: Rx> Drain for Taking<'_, R> {
    fn take(&mut self, messages: &mut Incoming) -> io::Result<()> {
        self.rx.recv(&mut messages.bytes)?;
        let mut sum = 0_u64;
        for part in &mut self.parts {
            self.rx.recv(part)?;
            sum = sum.wrapping_add(sum_words(part));
        }
        if sum != self.file.sum {
            return Err(damaged("a file arrived damaged"));
        }
        // Its flags count when the whole transfer has come.
        messages.check().map(drop)
    }
}

fn damaged(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::LAST;

    /// Messages that lie in memory; the receiver finds one byte changed.
    struct Memory(Vec<Vec<u8>>, Option<usize>);

    impl Tx for Memory {
        fn send(&mut self, message: &[u8]) -> io::Result<()> {
            self.0.push(message.to_vec());
            Ok(())
        }
    }

    impl Rx for Memory {
        fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
            *buf = self.0.remove(0);
            if let Some(at) = self.1.filter(|at| *at < buf.len() && buf.len() > HEADER) {
                buf[at] ^= 1;
            }
            Ok(())
        }
    }

    fn transfer(bad: Option<usize>) -> io::Result<(u64, usize)> {
        let bytes: Vec<u8> = (0..PART + 1001).map(|n| (n / 7) as u8).collect();
        let path =
            std::env::temp_dir().join(format!("measure-file-{}-{bad:?}", std::process::id()));
        std::fs::write(&path, &bytes)?;
        let file = Material::load(&path);
        std::fs::remove_file(&path)?;
        let file = file?;
        assert_eq!((file.bytes.len(), file.is_cut), (PART + 1001, false));
        let mut memory = Memory(Vec::new(), bad);
        let count = Sending::new(&mut memory, &file).put(LAST)?;
        let mut messages = Incoming::new(HEADER);
        let mut taking = Taking::new(&mut memory, &file);
        taking.take(&mut messages)?;
        taking.digest()?;
        Ok((count, messages.seen(LAST)))
    }

    #[test]
    fn a_file_arrives_in_its_parts_and_is_read_whole() {
        assert_eq!(transfer(None).unwrap(), (2, 1));
    }

    #[test]
    fn a_damaged_file_is_refused() {
        assert_eq!(
            transfer(Some(10)).unwrap_err().to_string(),
            "a file arrived damaged"
        );
    }

    #[test]
    fn the_digest_is_that_of_the_standard() {
        // FIPS 180-4's example.
        let due = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest([b"a".as_slice(), b"bc"]), due);
    }
}
