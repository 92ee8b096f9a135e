//! What is sent, and how the far end checks it: numbered messages, and a file's bytes.
//!
//! Every check reads every byte, and costs each system the same.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Set in the number of a slice's last message.
pub(crate) const LAST: u64 = 1 << 63;

/// Length in bytes of each message of a file transfer but the last.
pub(crate) const FILE_MESSAGE: usize = 64 * 1024;

/// Bytes of a file that are sent; the rest of a longer one is left out, so that a copy fits into
/// each process and a transfer into a slice.
const LONGEST_FILE: u64 = 64 << 20;

/// Adds up the 64-bit words of `bytes`, the last one filled up with zeros.
pub(crate) fn sum_words(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().fold(u64::from_ne_bytes(last), |sum, &word| {
        sum.wrapping_add(u64::from_ne_bytes(word))
    })
}

/// A message that begins with its number; the rest is a pattern which both ends know.
pub(crate) struct Numbered {
    /// The message as it was last sent or received.
    pub(crate) bytes: Vec<u8>,
    /// Sum of all its words but the first.
    pattern_sum: u64,
}

impl Numbered {
    /// Makes a message of `len` bytes, at least 8.
    pub(crate) fn new(len: usize) -> Self {
        let mut bytes = vec![0; 8];
        // Odd multiples of a large odd number: no two words of the pattern are equal.
        let pattern = (1u64..).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_ne_bytes());
        bytes.extend(pattern.flatten().take(len.saturating_sub(8)));
        let pattern_sum = sum_words(&bytes[8..]);
        Self { bytes, pattern_sum }
    }

    /// Gives the message its number.
    #[inline]
    pub(crate) fn set_number(&mut self, number: u64) {
        self.bytes[..8].copy_from_slice(&number.to_ne_bytes());
    }

    /// Checks that the message is the one with the number `due` and undamaged, and tells whether it
    /// is marked as the last.
    #[inline]
    pub(crate) fn check(&self, due: u64) -> io::Result<bool> {
        let mut word = [0; 8];
        word.copy_from_slice(&self.bytes[..8]);
        let number = u64::from_ne_bytes(word);
        if number & !LAST != due {
            return Err(mismatch(format!(
                "message {} came where message {due} was due",
                number & !LAST
            )));
        }
        if sum_words(&self.bytes) != number.wrapping_add(self.pattern_sum) {
            return Err(mismatch(format!(
                "message {due} of {} bytes is damaged",
                self.bytes.len()
            )));
        }
        Ok(number & LAST != 0)
    }
}

/// An error for bytes that are not those that were sent.
pub(crate) fn mismatch(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// The file whose bytes are sent.
#[derive(Debug)]
pub(crate) struct Material {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its bytes, or the first ones of a very long file.
    pub(crate) bytes: Vec<u8>,
    /// Whether the file is longer than that.
    pub(crate) is_cut: bool,
    /// Sum of the words of `bytes`.
    pub(crate) sum: u64,
    /// Digest of `bytes`.
    pub(crate) digest: String,
}

impl Material {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// What open(2) and read(2) report, and an empty file; the text names the path.
    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        let named = |what: &str| format!("cannot send the file {}: {what}", path.display());
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LONGEST_FILE + 1).read_to_end(&mut bytes))
            .map_err(|error| io::Error::new(error.kind(), named(&error.to_string())))?;
        if bytes.is_empty() {
            return Err(io::Error::other(named("it is empty")));
        }
        let longest = usize::try_from(LONGEST_FILE).unwrap_or(usize::MAX);
        let is_cut = bytes.len() > longest;
        bytes.truncate(longest);
        let (sum, digest) = (sum_words(&bytes), digest(&bytes));
        Ok(Self {
            path: path.to_owned(),
            bytes,
            is_cut,
            sum,
            digest,
        })
    }
}

/// SHA-256 of `bytes` in hexadecimal, as sha256sum(1) prints it.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_takes_in_every_byte() {
        let mut bytes = vec![0; 21];
        for at in 0..bytes.len() {
            let before = sum_words(&bytes);
            bytes[at] += 1;
            assert_ne!(sum_words(&bytes), before, "byte {at}");
        }
    }

    #[test]
    fn a_message_passes_with_its_own_number_only() {
        let mut message = Numbered::new(64);
        message.set_number(7);
        assert!(!message.check(7).unwrap());
        assert!(
            message
                .check(6)
                .unwrap_err()
                .to_string()
                .contains("message 7")
        );
        message.set_number(8 | LAST);
        assert!(message.check(8).unwrap());
    }

    #[test]
    fn a_damaged_message_is_refused() {
        let mut message = Numbered::new(1024);
        message.set_number(3);
        message.bytes[1023] ^= 1;
        assert!(
            message
                .check(3)
                .unwrap_err()
                .to_string()
                .contains("1024 bytes is damaged")
        );
    }

    #[test]
    fn the_digest_is_that_of_the_standard() {
        // FIPS 180-4's example.
        let due = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(b"abc"), due);
    }
}
