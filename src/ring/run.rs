//! Runs: records of whole messages one behind the other, in private memory.
//!
//! A sender publishes a run by the header of its first record, a receiver copies one out all at once. Nothing of
//! shared memory is looked at here, so what was checked stays as it is.

use super::record::{FIRST, HEADER, Header, LAST, Rules, span_of};

/// Longest run that a receiver copies out in one piece; a record over it goes by itself.
pub(crate) const MAX_RUN: u64 = 256 * 1024;

/// The header of a message that is one record.
pub(crate) fn header_of(message: &[u8]) -> Header {
    Header {
        len: message.len(),
        flags: FIRST | LAST,
    }
}

/// How much more a sender may put into a run.
#[derive(Clone, Copy)]
pub(crate) struct Allowance {
    longest: usize,
    left: u64,
}

impl Allowance {
    /// For messages of up to `limit` bytes, where there are `room` bytes of the ring.
    pub(crate) fn new(rules: Rules, limit: usize, room: u64) -> Self {
        Self {
            longest: limit.min(rules.fragment_max()),
            left: room.min(Self::most(rules)),
        }
    }

    /// Bytes that no run is longer than: by so much `tail` may lag behind what is published when a sender dies, as
    /// by one record.
    pub(crate) fn most(rules: Rules) -> u64 {
        span_of(rules.fragment_max())
    }

    /// Whether a message of `len` bytes may be in the run too, and then counts it.
    #[inline(always)]
    pub(crate) fn admits(&mut self, len: usize) -> bool {
        // Whoever is over it by itself has no span that could overflow.
        if len > self.longest || span_of(len) > self.left {
            return false;
        }
        self.left -= span_of(len);
        true
    }
}

/// What a run has in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Whole messages.
    pub(crate) count: usize,
    /// Bytes of their records.
    pub(crate) span: usize,
}

/// The whole messages that `bytes` begin with: up to the first record that is anything else, impossible or cut
/// off, or
/// longer than `message_max` bytes.
pub(crate) fn whole_messages(bytes: &[u8], rules: Rules, message_max: u64) -> Found {
    let mut found = Found::default();
    let mut like = Like::empty();
    while let Some(word) = bytes[found.span..].first_chunk() {
        let word = u64::from_le_bytes(*word);
        if word != like.word {
            match rules.decode(word) {
                Ok(Some(header))
                    if header.flags == FIRST | LAST && header.len as u64 <= message_max =>
                {
                    like = Like::of(word, header.len)
                }
                _ => break,
            }
        }
        let end = found.span + like.span;
        if end > bytes.len() {
            break;
        }
        found.count += 1;
        found.span = end;
    }
    found
}

/// A header that was met, and what follows from it. Most messages of a run are as long as the one before: where the
/// next one begins is then a guess of the processor's, which need not wait for the header.
#[derive(Clone, Copy)]
struct Like {
    word: u64,
    len: usize,
    span: usize,
}

impl Like {
    /// As an empty message has it, of which nobody needs to have met one.
    fn empty() -> Self {
        Self::of(word_of(0), 0)
    }

    #[cold]
    fn of(word: u64, len: usize) -> Self {
        Self {
            word,
            len,
            span: span_of(len) as usize,
        }
    }
}

/// The header word of a message of `len` bytes in a run. Also of one that is longer than any record could be, as those
/// from a kernel pipe may be.
fn word_of(len: usize) -> u64 {
    header_of(&[]).encode() + len as u64
}

/// What [`word_of`] was made of.
fn len_of(word: u64) -> usize {
    word.wrapping_sub(word_of(0)) as usize
}

/// Adds a message to a run.
pub(crate) fn push(run: &mut Vec<u8>, message: &[u8]) {
    run.extend_from_slice(&word_of(message.len()).to_le_bytes());
    run.extend_from_slice(message);
    run.resize(run.len().next_multiple_of(8), 0);
}

/// The messages of a run of nothing but whole ones.
#[derive(Clone)]
pub(crate) struct Records<'a> {
    bytes: &'a [u8],
    left: usize,
    like: Like,
}

impl<'a> Records<'a> {
    /// A run of so many messages, as [`whole_messages`] or [`push`] has made it.
    pub(crate) fn new(bytes: &'a [u8], count: usize) -> Self {
        Self {
            bytes,
            left: count,
            like: Like::empty(),
        }
    }

    /// How many are left.
    pub(crate) fn len(&self) -> usize {
        self.left
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let word = u64::from_le_bytes(*self.bytes.first_chunk()?);
        if word != self.like.word {
            self.like = Like::of(word, len_of(word));
        }
        let (record, rest) = self.bytes.split_at_checked(self.like.span)?;
        self.bytes = rest;
        record.get(HEADER as usize..HEADER as usize + self.like.len)
    }
}

const _: () = assert!(HEADER == 8);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::ring::record::ANCILLARY;

    fn run_of(messages: &[&[u8]]) -> Vec<u8> {
        let mut run = Vec::new();
        messages.iter().for_each(|message| push(&mut run, message));
        run
    }

    #[test]
    fn what_was_pushed_comes_out_again() {
        let messages: [&[u8]; 5] = [b"", b"a", b"12345678", b"", b"the last one"];
        let run = run_of(&messages);
        let rules = Rules::new(4096);
        let found = whole_messages(&run, rules, u64::MAX);
        assert_eq!((found.count, found.span), (5, run.len()));
        assert_eq!(Records::new(&run, 5).collect::<Vec<_>>(), messages);
    }

    #[test]
    fn a_header_tells_any_length() {
        let longest_record = u32::MAX as usize - 1;
        for len in [0, 1, 255, longest_record, longest_record + 1, 1 << 40] {
            assert_eq!(len_of(word_of(len)), len);
        }
        let message = [7; 100];
        assert_eq!(word_of(100), header_of(&message).encode());
    }

    #[test]
    fn a_run_ends_before_what_is_no_whole_message() {
        let rules = Rules::new(4096);
        let good = run_of(&[b"one", b"two"]);
        for (word, what) in [
            (0, "no record"),
            (u64::MAX, "no header"),
            (u64::from(FIRST) << 32 | 17, "a first fragment"),
            (u64::from(LAST) << 32 | 1, "a last fragment"),
            (u64::from(FIRST | LAST | 4) << 32 | 1, "after a death"),
            (
                u64::from(FIRST | LAST | ANCILLARY) << 32 | 9,
                "one that carries descriptors",
            ),
            (u64::from(FIRST | LAST) << 32 | 17, "cut off"),
        ] {
            for (count, before) in [(2, &good[..]), (0, &[])] {
                let mut run = before.to_vec();
                run.extend_from_slice(&u64::to_le_bytes(word));
                run.extend_from_slice(&[7; 8]);
                let found = whole_messages(&run, rules, u64::MAX);
                assert_eq!((found.count, found.span), (count, before.len()), "{what}");
            }
        }
        assert_eq!(
            whole_messages(&good[..good.len() - 8], rules, u64::MAX).count,
            1
        );
        assert_eq!(
            whole_messages(&good[..good.len() - 1], rules, u64::MAX).count,
            1
        );
    }

    #[test]
    fn a_run_ends_before_a_message_over_the_limit() {
        let run = run_of(&[b"four", b"four", b"fives", b"four"]);
        let count = |max| whole_messages(&run, Rules::new(4096), max).count;
        assert_eq!([count(5), count(4), count(3), count(0)], [4, 2, 0, 0]);
    }

    #[test]
    fn a_run_is_no_longer_than_its_room_and_than_the_longest_record() {
        let rules = Rules::new(4096);
        let message = [7; 56];
        let messages = [&message[..]; 20];
        let count = |messages: &[&[u8]], limit, room| {
            let mut allowance = Allowance::new(rules, limit, room);
            let admitted = messages
                .iter()
                .take_while(|message| allowance.admits(message.len()));
            admitted.count()
        };
        assert_eq!(count(&messages, usize::MAX, u64::MAX), 8);
        assert_eq!(count(&messages, 56, 512), 8);
        assert_eq!(count(&messages, 56, 511), 7);
        assert_eq!(count(&messages, 56, 63), 0);
        assert_eq!(count(&messages, 55, 512), 0);
        let long = vec![0; rules.fragment_max() + 1];
        let with_long = [&message[..], &long, &message];
        assert_eq!(count(&with_long, usize::MAX, u64::MAX), 1);
    }
}
