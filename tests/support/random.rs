//! Seeded pseudo-random numbers (splitmix64): the same seed, the same run.
//!
//! Good for choosing what a test does; not for secrets.

/// A generator; each value follows from the seed and the number of values before it.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator with this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator with the seed in `SHMPIPE_SEED`, or 1; says which, so that a failure can be had
    /// again.
    pub(crate) fn from_environment() -> Self {
        let seed = std::env::var("SHMPIPE_SEED").map_or(1, |text| {
            text.parse().expect("SHMPIPE_SEED is a number of 64 bits")
        });
        println!("SHMPIPE_SEED={seed}");
        Self(seed)
    }

    /// Any 64 bits.
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// A 64-bit number below `bound`.
    pub(crate) fn below_u64(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.word() >> 33).expect("31 bits") % bound
    }

    /// One of several.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A number all of whose bits depend on all bits of `number`.
pub(crate) fn mixed(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
