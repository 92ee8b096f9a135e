//! What a liar writes into a segment.
//!
//! The words and their places come from the byte map; how the crate reads them is not its business.

use crate::stage::{Stage, longest};
use crate::support::Random;
use crate::support::segment::{FIELDS, FIRST, LAST, PACK, at};

/// In a lock word: its owner died inside.
pub(crate) const OWNER_DIED: u64 = 0x4000_0000;
/// In a lock word: somebody waits.
pub(crate) const WAITERS: u64 = 0x8000_0000;

/// One lie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lie {
    /// A field of the control part, by its number in the byte map.
    Field { field: usize, value: u64 },
    /// Eight bytes of the stream, so far behind `read`.
    Word { behind: u64, value: u64 },
    /// Random bytes.
    Noise { from: usize, len: usize, seed: u64 },
    /// Records of one kind, one behind the other all round the ring, so that none is the last.
    Chain { payload: u64, flags: u32 },
}

/// Values that are wrong nearly everywhere, given the right one.
fn wrong(random: &mut Random, right: u64, capacity: u64) -> u64 {
    let values = [
        0,
        1,
        2,
        7,
        8,
        right.wrapping_sub(1),
        right.wrapping_add(1),
        right.wrapping_sub(8),
        right.wrapping_add(8),
        right.wrapping_add(capacity),
        right.wrapping_sub(capacity),
        right.wrapping_add(capacity + 8),
        right.wrapping_add(1 << 62),
        right.wrapping_add(1 << 63),
        capacity - 1,
        capacity,
        capacity + 1,
        1 << 31,
        (1 << 32) - 1,
        1 << 32,
        1 << 40,
        1 << 63,
        u64::MAX,
        OWNER_DIED,
        WAITERS,
        OWNER_DIED | WAITERS,
        1,
        u64::from(std::process::id()),
        random.word(),
    ];
    random.pick(&values)
}

/// A header: a length and flags, each right or wrong.
fn header(random: &mut Random, capacity: u64) -> u64 {
    let most = capacity / 8 - 8;
    let lengths = [
        0,
        1,
        2,
        8,
        9,
        73,
        101,
        217,
        most,
        most + 1,
        most + 2,
        most + 9,
        capacity - 8,
        capacity,
        capacity + 1,
        1 << 31,
        (1 << 32) - 1,
        random.word() & 0xffff_ffff,
    ];
    let flags = match random.below(5) {
        0 => random.word() & 0xffff_ffff,
        1 => {
            let (len, taken) = (
                random.pick(&[0, 1, 8, 24, 64, 65, 255]),
                random.below_u64(12),
            );
            u64::from(PACK | FIRST | LAST) | len << 8 | taken << 16
        }
        _ => random.word() & 15,
    };
    random.pick(&lengths) | flags << 32
}

/// Chooses one.
fn any(random: &mut Random, stage: &Stage) -> Lie {
    let capacity = stage.image.capacity();
    match random.below(10) {
        0..=3 => {
            let field = random.below(FIELDS.len());
            let (_, offset, len) = FIELDS[field];
            let right = match len {
                8 => stage.image.u64(offset),
                _ => stage.image.u32(offset).into(),
            };
            let value = wrong(random, right, capacity);
            Lie::Field { field, value }
        }
        4 | 5 => {
            // The first header, the prefix behind it, what follows a first record of 100 bytes, or any.
            let any = random.below(capacity as usize / 8) as u64 * 8;
            let behind = random.pick(&[0, 0, 8, 112, any]);
            let value = header(random, capacity);
            Lie::Word { behind, value }
        }
        6 => {
            let behind = random.pick(&[0, 8]);
            let value = wrong(random, 100, capacity);
            Lie::Word { behind, value }
        }
        7 | 8 => {
            let whole = stage.memory.len();
            let (somewhere, little) = (random.below(whole), 1 + random.below(64));
            let data = stage.image.control();
            let from = random.pick(&[0, 0x80, 0x100, 0x180, data, somewhere]);
            let len = random.pick(&[whole, 0x80, 8, little]).min(whole - from);
            let seed = random.word();
            Lie::Noise { from, len, seed }
        }
        _ => chain(random),
    }
}

/// A ring without an end of one of the kinds that a loop could follow for ever.
pub(crate) fn chain(random: &mut Random) -> Lie {
    let payload = random.pick(&[0, 8, 24, 56, 120, 248, longest() as u64]);
    let pack = PACK | FIRST | LAST | 8 << 8;
    let flags = random.pick(&[
        0,
        0,
        FIRST,
        LAST,
        FIRST | LAST,
        FIRST | 4,
        FIRST | LAST | 8,
        pack,
    ]);
    Lie::Chain { payload, flags }
}

/// Chooses one to four lies that are told together.
pub(crate) fn some(random: &mut Random, stage: &Stage) -> Vec<Lie> {
    let count = random.pick(&[1, 1, 1, 2, 3, 4]);
    (0..count).map(|_| any(random, stage)).collect()
}

impl Lie {
    /// Writes it over the memory.
    pub(crate) fn tell(self, stage: &Stage) {
        let Stage { memory, image } = stage;
        let start = image.u64(at::RX_READ);
        match self {
            Self::Field { field, value } => {
                let (_, offset, len) = FIELDS[field];
                memory.store(offset, len, value);
            }
            Self::Word { behind, value } => memory.store(image.place(start + behind), 8, value),
            Self::Noise { from, len, seed } => {
                let mut random = Random::new(seed);
                let bytes: Vec<u8> = (0..len).map(|_| random.word() as u8).collect();
                memory.write(from, &bytes);
            }
            Self::Chain { payload, flags } => {
                let header = (payload + 1) | u64::from(flags) << 32;
                // Behind a first part of 8 bytes if they are parts, which the chain does not hit again.
                let is_in_fragments = flags & (FIRST | LAST) == 0;
                let skipped = if is_in_fragments { 16 } else { 0 };
                for behind in (0..image.capacity()).step_by(8 + payload as usize) {
                    memory.store(image.place(start + skipped + behind), 8, header);
                }
                if is_in_fragments && payload >= 24 {
                    // Of a message of 1 TiB.
                    memory.store(image.place(start), 8, 9 | u64::from(FIRST) << 32);
                    memory.store(image.place(start + 8), 8, 1 << 40);
                }
            }
        }
    }
}
