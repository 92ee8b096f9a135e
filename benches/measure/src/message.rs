//! Numbered messages with a pattern that both sides know, and the check of what arrives.
//!
//! Every byte of every message is read, by the same code for every system.

use std::io;

use crate::wire::whole;
use crate::workload::BATCH;

/// Set in the number of a sender's last message.
pub const LAST: u64 = 1 << 63;

/// Set in the number of the message after which the sender waits for the measured part to begin.
pub const PAUSE: u64 = 1 << 62;

/// Where in a number the sender's is.
const SENDER_SHIFT: u32 = 48;

/// The bits of a number that count.
const COUNT: u64 = (1 << SENDER_SHIFT) - 1;

/// Most senders to one receiver.
pub const MAX_SENDERS: usize = 64;

/// Adds up the 64-bit words of `bytes`, the last one filled up with zeros.
#[inline]
pub(crate) fn sum_words(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    if !rest.is_empty() {
        last[..rest.len()].copy_from_slice(rest);
    }
    words.iter().fold(u64::from_ne_bytes(last), |sum, &word| {
        sum.wrapping_add(u64::from_ne_bytes(word))
    })
}

/// A message to send: its number, then the pattern.
pub struct Outgoing {
    bytes: Vec<u8>,
    next: u64,
}

impl Outgoing {
    /// Makes the messages of one sender, each `len` bytes long.
    pub fn new(len: usize, sender: usize) -> Self {
        Self {
            bytes: message(len),
            next: (sender as u64) << SENDER_SHIFT,
        }
    }

    /// The next message, with those flags.
    #[inline]
    pub fn next(&mut self, flags: u64) -> &[u8] {
        self.bytes[..8].copy_from_slice(&(self.next | flags).to_ne_bytes());
        self.next += 1;
        &self.bytes
    }
}

/// Messages that are sent by one call, one behind the other.
pub struct Batch {
    bytes: Vec<u8>,
    len: usize,
    next: u64,
}

impl Batch {
    /// Makes the batches of one sender, of messages of `len` bytes.
    pub fn new(len: usize, sender: usize) -> Self {
        Self {
            bytes: message(len).repeat(BATCH),
            len,
            next: (sender as u64) << SENDER_SHIFT,
        }
    }

    /// The next messages, the last of them with those flags.
    #[inline]
    pub fn next(&mut self, flags: u64) -> &Self {
        for bytes in self.bytes.chunks_exact_mut(self.len) {
            bytes[..8].copy_from_slice(&self.next.to_ne_bytes());
            self.next += 1;
        }
        if flags != 0 {
            let last = self.bytes.len() - self.len;
            let number = (self.next - 1) | flags;
            self.bytes[last..last + 8].copy_from_slice(&number.to_ne_bytes());
        }
        self
    }

    /// One message after the other.
    #[inline]
    pub fn messages(&self) -> std::slice::ChunksExact<'_, u8> {
        self.bytes.chunks_exact(self.len)
    }

    /// All of them as one run of bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn message(len: usize) -> Vec<u8> {
    assert!(len >= 8, "a message has room for its number");
    let mut bytes = vec![0; 8];
    // Odd multiples of a large odd number: no two words of the pattern are equal.
    let pattern = (1u64..).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_ne_bytes());
    bytes.extend(pattern.flatten().take(len - 8));
    bytes
}

/// Checks messages as they arrive.
pub struct Incoming {
    /// The message that was received last.
    pub bytes: Vec<u8>,
    pattern_sum: u64,
    next: [u64; MAX_SENDERS],
    pauses: usize,
    lasts: usize,
}

impl Incoming {
    /// Expects messages of `len` bytes from up to [`MAX_SENDERS`] senders.
    pub fn new(len: usize) -> Self {
        let bytes = message(len);
        Self {
            pattern_sum: sum_words(&bytes[8..]),
            bytes,
            next: std::array::from_fn(|sender| (sender as u64) << SENDER_SHIFT),
            pauses: 0,
            lasts: 0,
        }
    }

    /// Length in bytes of each message.
    #[expect(clippy::len_without_is_empty, reason = "no message is empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many messages had that flag so far.
    #[inline]
    pub fn seen(&self, flag: u64) -> usize {
        match flag {
            PAUSE => self.pauses,
            _ => self.lasts,
        }
    }

    /// Checks the message in `bytes`: the next of its sender and undamaged. Returns its flags.
    ///
    /// # Errors
    ///
    /// Says which message came in place of which.
    #[inline]
    pub fn check(&mut self) -> io::Result<u64> {
        let (number, sum) = (first_word(&self.bytes), sum_words(&self.bytes[8..]));
        self.judge(number, sum)
    }

    /// As [`check`](Self::check), for a message that lies elsewhere.
    #[inline]
    pub fn check_there(&mut self, message: &[u8]) -> io::Result<u64> {
        whole(message.len(), self.bytes.len())?;
        self.judge(first_word(message), sum_words(&message[8..]))
    }

    /// As [`check`](Self::check), for a message of words.
    #[inline]
    pub fn check_words(&mut self, words: &[u64]) -> io::Result<u64> {
        let sum = |sum: u64, &word| sum.wrapping_add(word);
        self.judge(words[0], words[1..].iter().fold(0, sum))
    }

    #[inline]
    fn judge(&mut self, number: u64, sum: u64) -> io::Result<u64> {
        let flags = number & (LAST | PAUSE);
        let number = number ^ flags;
        let due = &mut self.next[(number >> SENDER_SHIFT) as usize % MAX_SENDERS];
        if number != *due {
            return Err(lost(number, *due));
        }
        *due += 1;
        if sum != self.pattern_sum {
            return Err(damaged(number, self.bytes.len()));
        }
        if flags != 0 {
            self.pauses += usize::from(flags & PAUSE != 0);
            self.lasts += usize::from(flags & LAST != 0);
        }
        Ok(flags)
    }
}

#[inline]
fn first_word(message: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&message[..8]);
    u64::from_ne_bytes(word)
}

#[cold]
fn lost(number: u64, due: u64) -> io::Error {
    let (sender, came, due) = (due >> SENDER_SHIFT, number & COUNT, due & COUNT);
    let what = if came > due { "lost" } else { "repeated" };
    io::Error::other(format!(
        "messages {what}: number {came} of sender {sender} came where {due} was due"
    ))
}

#[cold]
fn damaged(number: u64, len: usize) -> io::Error {
    let count = number & COUNT;
    io::Error::other(format!("message {count} of {len} bytes arrived damaged"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(outgoing: &mut Outgoing, incoming: &mut Incoming, flags: u64) -> io::Result<u64> {
        incoming.bytes.copy_from_slice(outgoing.next(flags));
        incoming.check()
    }

    #[test]
    fn messages_of_two_senders_may_alternate() {
        let (mut a, mut b) = (Outgoing::new(64, 0), Outgoing::new(64, 5));
        let mut incoming = Incoming::new(64);
        assert_eq!(pass(&mut a, &mut incoming, 0).unwrap(), 0);
        assert_eq!(pass(&mut b, &mut incoming, PAUSE).unwrap(), PAUSE);
        assert_eq!(pass(&mut a, &mut incoming, LAST).unwrap(), LAST);
    }

    #[test]
    fn a_lost_message_is_named() {
        let (mut outgoing, mut incoming) = (Outgoing::new(8, 2), Incoming::new(8));
        outgoing.next(0);
        let error = pass(&mut outgoing, &mut incoming, 0)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "messages lost: number 1 of sender 2 came where 0 was due"
        );
    }

    #[test]
    fn a_batch_is_its_messages_one_behind_the_other() {
        let mut batch = Batch::new(64, 3);
        let mut incoming = Incoming::new(64);
        for flags in [0, PAUSE, LAST] {
            let mut seen = 0;
            for message in batch.next(flags).messages() {
                seen |= incoming.check_there(message).unwrap();
            }
            assert_eq!(seen, flags);
        }
        assert_eq!((incoming.seen(PAUSE), incoming.seen(LAST)), (1, 1));
        assert_eq!(batch.bytes().len(), 64 * BATCH);
        let words: Vec<_> = batch
            .next(0)
            .messages()
            .next()
            .unwrap()
            .as_chunks::<8>()
            .0
            .iter()
            .map(|&word| u64::from_ne_bytes(word))
            .collect();
        assert_eq!(incoming.check_words(&words).unwrap(), 0);
    }

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
    fn one_changed_byte_is_damage() {
        let (mut outgoing, mut incoming) = (Outgoing::new(1024, 0), Incoming::new(1024));
        incoming.bytes.copy_from_slice(outgoing.next(0));
        incoming.bytes[1000] ^= 1;
        let error = incoming.check().unwrap_err().to_string();
        assert_eq!(error, "message 0 of 1024 bytes arrived damaged");
    }
}
