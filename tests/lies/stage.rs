//! A pipe whose memory can be put back to what it was, so that one pipe serves for many rounds.
//!
//! Between rounds nobody else uses it; what is not in its memory (the sockets' queues) stays as it is.

use shmpipe::{Backend, PipeOptions, Receiver, Sender};

use crate::support::segment::{Image, Memory};
use crate::support::{page_size, pattern};

/// Bytes of the ring: the smallest of this machine, in which everything is near.
pub(crate) fn capacity() -> usize {
    page_size()
}

/// A length that is to the ring what `len` is to one of 4 KiB.
pub(crate) fn of_ring(len: usize) -> usize {
    len * capacity() / 4096
}

/// The longest message in one piece.
pub(crate) fn longest() -> usize {
    capacity() / 8 - 8
}

/// A message in fragments, of a length that takes as many words as one byte more.
pub(crate) fn in_fragments() -> Vec<u8> {
    pattern(0, 0, of_ring(1500) / 8 * 8 + 4)
}

/// The first message in the ring, where there is one: 100 bytes.
pub(crate) fn first_message() -> Vec<u8> {
    pattern(0, 0, 100)
}

/// What the ring holds at the beginning of each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Nothing,
    /// Small messages, the first of them [`first_message`].
    Small,
    /// A message in fragments, all of it.
    InFragments,
    /// The first parts of a message that was taken back.
    TakenBack,
    /// As many small messages as go in.
    Full,
    /// Short messages that were sent together, of which some have been taken.
    Packed,
}

pub(crate) const CONTENTS: [Content; 6] = [
    Content::Nothing,
    Content::Small,
    Content::InFragments,
    Content::TakenBack,
    Content::Full,
    Content::Packed,
];

/// The pipe and its memory.
pub(crate) struct Stage {
    pub(crate) memory: Memory,
    pub(crate) image: Image,
}

/// Makes a pipe over shared memory with this in it, some way round the ring.
pub(crate) fn open(content: Content) -> (Receiver, Sender, Stage) {
    let options = PipeOptions::new()
        .backend(Backend::SharedMemory)
        .capacity(capacity());
    let (mut rx, mut tx) = options.pipe().expect("a small pipe");
    // Once round, so that there is old payload everywhere.
    for number in 0..of_ring(70) as u64 {
        tx.send(&pattern(1, number, 90)).expect("there is room");
        rx.recv().expect("there is a message");
    }
    match content {
        Content::Nothing => {}
        Content::Small => {
            tx.try_send(&first_message()).expect("there is room");
            tx.try_send(b"").expect("there is room");
            tx.try_send(&[7; 300]).expect("there is room");
        }
        Content::InFragments => tx.try_send(&in_fragments()).expect("there is room"),
        Content::TakenBack => {
            let outcome = tx.send_timeout(&vec![9; 3 * capacity()], std::time::Duration::ZERO);
            outcome.expect_err("nobody receives");
        }
        Content::Packed => {
            tx.try_send(b"").expect("there is room");
            assert_eq!(rx.recv_batch().expect("a message").len(), 1);
            for len in [24, 13] {
                let sent = tx.send_batch([[7; 24]; 9].each_ref().map(|message| &message[..len]));
                assert_eq!(sent.expect("there is room"), 9);
            }
            rx.recv().expect("a message");
        }
        Content::Full => {
            tx.try_send(&first_message()).expect("there is room");
            while tx.try_send(&[5; 24]).is_ok() {}
        }
    }
    let memory = Memory::of_the_only_pipe();
    let image = memory.copy();
    image
        .messages()
        .expect("what honest ends leave is in order");
    (rx, tx, Stage { memory, image })
}

impl Stage {
    /// Puts the memory back.
    pub(crate) fn restore(&self) {
        self.memory.write(0, &self.image.0);
    }
}
