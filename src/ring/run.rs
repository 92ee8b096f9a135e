//! Runs: records of whole messages one behind the other, in private memory.
//!
//! A sender publishes a run by the header of its first record, a receiver copies one out all at once. Nothing of
//! shared memory is looked at here, so what was checked stays as it is.

use super::record::{FIRST, HEADER, Header, LAST, Rules, span_of};

/// Longest run that a receiver copies out at once; a record over it goes the ordinary way.
pub(crate) const LONGEST: u64 = 256 * 1024;

/// The header of a message that is one record.
pub(crate) fn header_of(message: &[u8]) -> Header {
    Header {
        len: message.len(),
        flags: FIRST | LAST,
    }
}

/// How many of `messages`, from the first one on, make a run of at most `room` bytes.
pub(crate) fn beginning(messages: &[&[u8]], rules: Rules, room: u64) -> usize {
    // By which `tail` may lag behind what is published, when their sender dies: no more than by one record.
    let room = room.min(span_of(rules.part_max()));
    let mut span = 0;
    messages
        .iter()
        .take_while(|message| {
            // Whoever is over it by itself has no span that could overflow.
            if message.len() > rules.part_max() {
                return false;
            }
            span += span_of(message.len());
            span <= room
        })
        .count()
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
/// off.
pub(crate) fn whole_messages(bytes: &[u8], rules: Rules) -> Found {
    let mut found = Found::default();
    while let Some(word) = bytes[found.span..].first_chunk() {
        let Ok(Some(header)) = rules.decode(u64::from_le_bytes(*word)) else {
            break;
        };
        let end = found.span + header.span() as usize;
        if header.flags != FIRST | LAST || end > bytes.len() {
            break;
        }
        found.count += 1;
        found.span = end;
    }
    found
}

/// Adds a message to a run.
pub(crate) fn push(run: &mut Vec<u8>, message: &[u8]) {
    run.extend_from_slice(&header_of(message).encode().to_le_bytes());
    run.extend_from_slice(message);
    run.resize(run.len().next_multiple_of(8), 0);
}

/// The messages of a run of nothing but whole ones.
#[derive(Clone)]
pub(crate) struct Records<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Records<'a> {
    /// A run of so many messages, as [`whole_messages`] or [`push`] has made it.
    pub(crate) fn new(bytes: &'a [u8], count: usize) -> Self {
        Self { bytes, left: count }
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
        let (word, rest) = self.bytes.split_first_chunk()?;
        // The low half of the header, which is the length + 1.
        let len = (u64::from_le_bytes(*word) as u32).wrapping_sub(1) as usize;
        let (message, _) = rest.split_at_checked(len)?;
        self.bytes = &self.bytes[span_of(len) as usize..];
        Some(message)
    }
}

const _: () = assert!(HEADER == 8);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::ring::record::PARCEL;

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
        let found = whole_messages(&run, rules);
        assert_eq!((found.count, found.span), (5, run.len()));
        assert_eq!(Records::new(&run, 5).collect::<Vec<_>>(), messages);
    }

    #[test]
    fn a_run_ends_before_what_is_no_whole_message() {
        let rules = Rules::new(4096);
        let good = run_of(&[b"one", b"two"]);
        for (word, what) in [
            (0, "no record"),
            (u64::MAX, "no header"),
            (u64::from(FIRST) << 32 | 17, "a first part"),
            (u64::from(LAST) << 32 | 1, "a last part"),
            (u64::from(FIRST | LAST | 4) << 32 | 1, "after a death"),
            (
                u64::from(FIRST | LAST | PARCEL) << 32 | 9,
                "one that carries descriptors",
            ),
            (u64::from(FIRST | LAST) << 32 | 17, "cut off"),
        ] {
            let mut run = good.clone();
            run.extend_from_slice(&u64::to_le_bytes(word));
            run.extend_from_slice(&[7; 8]);
            let found = whole_messages(&run, rules);
            assert_eq!((found.count, found.span), (2, good.len()), "{what}");
        }
        assert_eq!(whole_messages(&good[..good.len() - 8], rules).count, 1);
        assert_eq!(whole_messages(&good[..good.len() - 1], rules).count, 1);
    }

    #[test]
    fn a_run_is_no_longer_than_its_room_and_than_the_longest_record() {
        let rules = Rules::new(4096);
        let message = [7; 56];
        let messages = [&message[..]; 20];
        assert_eq!(beginning(&messages, rules, u64::MAX), 8);
        assert_eq!(beginning(&messages, rules, 512), 8);
        assert_eq!(beginning(&messages, rules, 511), 7);
        assert_eq!(beginning(&messages, rules, 63), 0);
        let long = vec![0; rules.part_max() + 1];
        assert_eq!(beginning(&[&message, &long, &message], rules, u64::MAX), 1);
    }
}
