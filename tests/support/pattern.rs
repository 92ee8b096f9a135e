//! Messages whose every byte follows from their sender, number and length.
//!
//! Good against mixing, tearing and loss; not a checksum against a malicious writer.

/// Bytes at the start that name sender and number.
const STAMP: usize = 8;

/// Bits of the stamp that hold the number.
const NUMBER_BITS: u32 = 48;

/// An odd constant with well spread bits: the golden ratio in 64 bits.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Message `number` of `sender`, `len` bytes long. From eight bytes on, the first eight identify it.
pub(crate) fn pattern(sender: u16, number: u64, len: usize) -> Vec<u8> {
    assert!(
        number < 1 << NUMBER_BITS,
        "the stamp has no room for {number}"
    );
    let stamp = (u64::from(sender) << NUMBER_BITS) | number;
    let mut bytes = Vec::with_capacity(len + STAMP);
    bytes.extend_from_slice(&stamp.to_le_bytes());
    // The length takes part, so a message cut short or joined with the next one cannot pass.
    let mut word = (stamp ^ (len as u64).rotate_left(40)).wrapping_mul(STEP);
    while bytes.len() < len {
        word = (word ^ (word >> 29)).wrapping_add(STEP);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The sender and number that a message of eight bytes or more carries.
pub(crate) fn identify(message: &[u8]) -> (u16, u64) {
    let stamp = message
        .first_chunk::<STAMP>()
        .expect("a message long enough for a stamp");
    let stamp = u64::from_le_bytes(*stamp);
    let sender = u16::try_from(stamp >> NUMBER_BITS).expect("16 bits are left");
    (sender, stamp & ((1 << NUMBER_BITS) - 1))
}

/// Panics unless `message` is exactly what `sender` sent as its `number`, `len` bytes long.
#[track_caller]
pub(crate) fn check(message: &[u8], sender: u16, number: u64, len: usize) {
    let expected = pattern(sender, number, len);
    if message == expected {
        return;
    }
    let differing = message
        .iter()
        .zip(&expected)
        .position(|(got, sent)| got != sent);
    panic!(
        "not message {number} of sender {sender}: {} bytes instead of {len}, first difference at \
         {differing:?}, starts with {:?}",
        message.len(),
        &message[..message.len().min(16)],
    );
}
