//! The form of a message with buffers out of band (PEP 574).
//!
//! A message is what `send_bytes` was given, or a pickle, with nothing added. Only one that has buffers beside its
//! pickle ends in a trailer: the buffers, each padded to [`ALIGNMENT`], the pickle, and then
//!
//! | bytes | what |
//! |---|---|
//! | 8 for each buffer | its length |
//! | 8 | the pickle's length |
//! | 8 | the number of buffers |
//! | 16 | [`MARK`] |
//!
//! Numbers are little-endian. Bytes that end in the mark by themselves are sent with a trailer too, one of no buffers,
//! so that nothing is mistaken.

use std::ops::Range;

/// Ends a message that has a trailer. Random, and no end of a pickle, which is a full stop.
pub(crate) const MARK: [u8; 16] = [
    0x9b, 0x1e, 0xd3, 0x07, 0x5a, 0xc4, 0x88, 0xf1, 0x36, 0x6d, 0xa2, 0x0f, 0xe9, 0x53, 0xb7, 0x1c,
];

/// Bytes to a multiple of which each buffer is padded: what the allocator aligns to.
const ALIGNMENT: usize = 16;

/// Shortest buffer that goes out of band, in bytes.
pub(crate) const OUT_OF_BAND: usize = 16 << 10;

/// A number in the trailer.
const NUMBER: usize = size_of::<u64>();

#[inline]
pub(crate) fn has_trailer(message: &[u8]) -> bool {
    message.ends_with(&MARK)
}

/// Zeros that follow a buffer of this length.
pub(crate) fn padding(len: usize) -> &'static [u8] {
    &[0; ALIGNMENT][..len.wrapping_neg() % ALIGNMENT]
}

pub(crate) fn trailer(buffers: impl ExactSizeIterator<Item = usize>, pickle: usize) -> Vec<u8> {
    let count = buffers.len();
    let mut trailer = Vec::with_capacity(NUMBER * (count + 2) + MARK.len());
    for number in buffers.chain([pickle, count]) {
        trailer.extend_from_slice(&(number as u64).to_le_bytes());
    }
    trailer.extend_from_slice(&MARK);
    trailer
}

/// Where the parts of a message with a trailer lie.
#[derive(Debug, PartialEq)]
pub(crate) struct Parts {
    pub(crate) pickle: Range<usize>,
    pub(crate) buffers: Vec<Range<usize>>,
}

/// `None` for a message without a trailer, or with one that does not fit the message.
pub(crate) fn parts(message: &[u8]) -> Option<Parts> {
    let mut rest = message.strip_suffix(&MARK)?;
    let mut number = || {
        let (before, number) = rest.split_last_chunk::<NUMBER>()?;
        rest = before;
        usize::try_from(u64::from_le_bytes(*number)).ok()
    };
    let count = number()?;
    let pickle = number()?;
    if count > message.len() / NUMBER {
        return None;
    }
    let mut lengths = Vec::with_capacity(count);
    for _ in 0..count {
        lengths.push(number()?);
    }
    let end = rest.len();
    let mut buffers = Vec::with_capacity(count);
    let mut start = 0_usize;
    for &len in lengths.iter().rev() {
        let stop = start.checked_add(len)?;
        if stop > end {
            return None;
        }
        buffers.push(start..stop);
        start = stop + padding(len).len();
    }
    let stop = start.checked_add(pickle)?;
    (stop == end).then_some(Parts {
        pickle: start..stop,
        buffers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_again() {
        let mut message = vec![7; 20];
        message.extend_from_slice(padding(20));
        message.push(8);
        message.extend_from_slice(padding(1));
        message.extend_from_slice(b"pickle.");
        message.extend(trailer([20, 1].into_iter(), 7));
        let found = parts(&message).unwrap();
        assert_eq!(
            found,
            Parts {
                pickle: 48..55,
                buffers: Vec::from([0..20, 32..33])
            }
        );
    }

    #[test]
    fn a_trailer_that_does_not_fit_is_none() {
        for (buffers, pickle) in [
            (vec![20], 8),
            (vec![usize::MAX], 7),
            (vec![1; 9], 7),
            (vec![20], usize::MAX),
        ] {
            let mut message = vec![7; 39];
            message.extend(trailer(buffers.into_iter(), pickle));
            assert_eq!(parts(&message), None);
        }
        assert_eq!(parts(&MARK), None);
        assert_eq!(parts(b"no mark"), None);
    }
}
