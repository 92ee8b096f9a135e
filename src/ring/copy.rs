//! Copies between private memory and memory that another process may write at the same time.
//!
//! An ordinary copy would be a data race, and so undefined, the moment a hostile peer writes. Here
//! the shared side is only ever touched by relaxed atomics or by inline assembly, for which a torn
//! value is merely a torn value. Both give the caller whatever bytes happen to be there.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::sync::kill_point;
use crate::sync::{AtomicU64, Ordering};

const WORD: usize = size_of::<u64>();

/// Copies from this length on are left to the string instruction. It takes some time to start; measured on Zen 4:
/// 43 GB/s against 48 of the loop at 1 KiB, 62 against 50 at 2 KiB. Where the target's lines are in another core's cache,
/// it takes a third of the loop's time (`docs/performance.md`, "Large messages").
#[cfg(target_arch = "x86_64")]
const STRING_COPY: usize = 1536;

/// What one turn of a block copy's loop moves.
const BLOCK: usize = 64;

/// Copies `len` bytes from private memory into the ring and zeroes the rest of the last word.
///
/// # Safety
///
/// - `to` is aligned to 8 and valid for writes of `len` rounded up to 8.
/// - `from` is valid for reads of `len` bytes and does not overlap the ring.
#[inline(always)]
pub(crate) unsafe fn to_shared(to: *mut u8, from: *const u8, len: usize) {
    if len == WORD {
        // The shortest way for the shortest message that is a value.
        // SAFETY: eight bytes of private memory.
        let bytes = unsafe { from.cast::<u64>().read_unaligned() };
        // SAFETY: the first word of the run.
        unsafe { word_at(to, 0) }.store(bytes, Ordering::Relaxed);
        return;
    }
    let whole = len & !(WORD - 1);
    let mut offset = 0;
    if len >= BLOCK {
        // SAFETY: whole words inside both ranges.
        offset = unsafe { copy_blocks(to, from, whole) };
    }
    while offset < whole {
        // SAFETY: `offset + 8 <= len`.
        let source = unsafe { from.add(offset) };
        // SAFETY: eight bytes of private memory.
        let bytes = unsafe { source.cast::<u64>().read_unaligned() };
        // SAFETY: the word at `offset` lies inside the run and is aligned, as `to` is.
        let word = unsafe { word_at(to, offset) };
        word.store(bytes, Ordering::Relaxed);
        offset += WORD;
    }
    if whole < len {
        // SAFETY: `whole < len`.
        let source = unsafe { from.add(whole) };
        // SAFETY: so many bytes of private memory are left, less than eight.
        let bytes = unsafe { load_partial(source, len - whole) };
        // SAFETY: the padded run has this word too.
        let word = unsafe { word_at(to, whole) };
        word.store(bytes, Ordering::Relaxed);
    }
}

/// Copies `len` bytes out of the ring into private memory.
///
/// # Safety
///
/// - `from` is aligned to 8 and valid for reads of `len` rounded up to 8.
/// - `to` is valid for writes of `len` bytes and does not overlap the ring.
#[inline(always)]
pub(crate) unsafe fn from_shared(to: *mut u8, from: *const u8, len: usize) {
    if len == WORD {
        // SAFETY: the first word of the run.
        let bytes = unsafe { word_at(from.cast_mut(), 0) }.load(Ordering::Relaxed);
        // SAFETY: eight bytes of private memory.
        unsafe { to.cast::<u64>().write_unaligned(bytes) };
        return;
    }
    let whole = len & !(WORD - 1);
    let mut offset = 0;
    if len >= BLOCK {
        // SAFETY: whole words inside both ranges.
        offset = unsafe { copy_blocks(to, from, whole) };
    }
    while offset < whole {
        // SAFETY: the word at `offset` lies inside the run and is aligned, as `from` is.
        let word = unsafe { word_at(from.cast_mut(), offset) };
        // SAFETY: `offset + 8 <= len`.
        let target = unsafe { to.add(offset) };
        // SAFETY: eight bytes of private memory.
        unsafe {
            target
                .cast::<u64>()
                .write_unaligned(word.load(Ordering::Relaxed))
        };
        offset += WORD;
    }
    if whole < len {
        // SAFETY: the padded run has this word too.
        let word = unsafe { word_at(from.cast_mut(), whole) };
        // SAFETY: `whole < len`.
        let target = unsafe { to.add(whole) };
        // SAFETY: so many bytes of private memory are left, less than eight.
        unsafe { store_partial(target, word.load(Ordering::Relaxed), len - whole) };
    }
}

/// The first `len` bytes of a word, of which there are 1 to 7; the others are 0. By at most two loads that
/// may overlap, since a call of memcpy(3) costs more than all the rest of a small copy.
///
/// # Safety
///
/// `from` is valid for reads of `len` bytes.
#[inline]
unsafe fn load_partial(from: *const u8, len: usize) -> u64 {
    if len >= 4 {
        // SAFETY: at least four bytes.
        let first = unsafe { from.cast::<u32>().read_unaligned() };
        // SAFETY: inside them.
        let end = unsafe { from.add(len - 4) };
        // SAFETY: the last four of them.
        let last = unsafe { end.cast::<u32>().read_unaligned() };
        u64::from(first) | u64::from(last) << (8 * (len - 4))
    } else if len >= 2 {
        // SAFETY: at least two bytes.
        let first = unsafe { from.cast::<u16>().read_unaligned() };
        // SAFETY: inside them.
        let end = unsafe { from.add(len - 2) };
        // SAFETY: the last two of them.
        let last = unsafe { end.cast::<u16>().read_unaligned() };
        u64::from(first) | u64::from(last) << (8 * (len - 2))
    } else {
        // SAFETY: one byte.
        u64::from(unsafe { from.read() })
    }
}

/// Stores the first `len` bytes of a word, 1 to 7 of them.
///
/// # Safety
///
/// `to` is valid for writes of `len` bytes.
#[inline]
unsafe fn store_partial(to: *mut u8, word: u64, len: usize) {
    if len >= 4 {
        let last = (word >> (8 * (len - 4))) as u32;
        // SAFETY: at least four bytes.
        unsafe { to.cast::<u32>().write_unaligned(word as u32) };
        // SAFETY: inside them.
        let end = unsafe { to.add(len - 4) };
        // SAFETY: the last four of them.
        unsafe { end.cast::<u32>().write_unaligned(last) };
    } else if len >= 2 {
        let last = (word >> (8 * (len - 2))) as u16;
        // SAFETY: at least two bytes.
        unsafe { to.cast::<u16>().write_unaligned(word as u16) };
        // SAFETY: inside them.
        let end = unsafe { to.add(len - 2) };
        // SAFETY: the last two of them.
        unsafe { end.cast::<u16>().write_unaligned(last) };
    } else {
        // SAFETY: one byte.
        unsafe { to.write(word as u8) };
    }
}

/// # Safety
///
/// `start + offset` is aligned to 8, inside the mapping, and only accessed atomically or by assembly.
#[inline]
unsafe fn word_at<'a>(start: *mut u8, offset: usize) -> &'a AtomicU64 {
    // SAFETY: inside the mapping, by the caller.
    let place = unsafe { start.add(offset) };
    // SAFETY: aligned and atomic only, by the caller.
    unsafe { AtomicU64::from_ptr(place.cast()) }
}

/// Copies as much of `len` bytes, a multiple of 8, as pays, and returns how much that was.
///
/// # Safety
///
/// - Both ranges are valid for `len` bytes and do not overlap.
/// - `len` is at least [`BLOCK`].
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn copy_blocks(to: *mut u8, from: *const u8, len: usize) -> usize {
    if len < STRING_COPY {
        let whole = len - len % BLOCK;
        // SAFETY: each turn reads and writes one block of ranges that the caller vouches for, and `whole`
        // is at least one. Stores become visible in their order (Intel SDM 3A §9.2.2), so a later
        // store is behind them all; the assembly may touch any memory, so the compiler moves none.
        unsafe {
            core::arch::asm!(
                "2:",
                "movups {a}, [{from}]",
                "movups {b}, [{from} + 16]",
                "movups {c}, [{from} + 32]",
                "movups {d}, [{from} + 48]",
                "add {from}, 64",
                "movups [{to}], {a}",
                "movups [{to} + 16], {b}",
                "movups [{to} + 32], {c}",
                "movups [{to} + 48], {d}",
                "add {to}, 64",
                "sub {left}, 64",
                "jnz 2b",
                from = inout(reg) from => _,
                to = inout(reg) to => _,
                left = inout(reg) whole => _,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                options(nostack),
            );
        }
        kill_point();
        return whole;
    }
    // SAFETY: the string instruction reads and writes exactly `len` bytes of ranges that the caller
    // vouches for; the direction flag is clear by the ABI. Stores after it are ordered behind its own
    // (Intel SDM 3A §9.2.4, AMD APM 2 §7.1.2).
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags),
        );
    }
    kill_point();
    len
}

/// Copies as many whole blocks as `len` bytes, a multiple of 8, have, and returns how much that was.
///
/// # Safety
///
/// - Both ranges are valid for `len` bytes and do not overlap.
/// - `len` is at least [`BLOCK`].
#[cfg(target_arch = "aarch64")]
#[inline]
unsafe fn copy_blocks(to: *mut u8, from: *const u8, len: usize) -> usize {
    let whole = len - len % BLOCK;
    // SAFETY: each turn reads and writes one block of ranges that the caller vouches for, and `whole`
    // is at least one; loads and stores of q registers need no alignment in normal memory. Its stores
    // are ordinary ones, which a later store-release is ordered behind, as its loads are behind an
    // earlier load-acquire (Arm ARM B2.3, "Barrier-ordered-before"): the assembly may touch any
    // memory, so the compiler moves neither across it.
    unsafe {
        core::arch::asm!(
            "2:",
            "ldp {a:q}, {b:q}, [{from}], #32",
            "ldp {c:q}, {d:q}, [{from}], #32",
            "subs {left}, {left}, #64",
            "stp {a:q}, {b:q}, [{to}], #32",
            "stp {c:q}, {d:q}, [{to}], #32",
            "b.ne 2b",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            left = inout(reg) whole => _,
            a = out(vreg) _,
            b = out(vreg) _,
            c = out(vreg) _,
            d = out(vreg) _,
            options(nostack),
        );
    }
    kill_point();
    whole
}

/// The portable form: everything goes word by word.
///
/// # Safety
///
/// None; it has the contract of its twins.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline]
unsafe fn copy_blocks(_to: *mut u8, _from: *const u8, _len: usize) -> usize {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes in front of and behind the private side that a copy must leave alone.
    const GUARD: usize = 16;
    const UNTOUCHED: u8 = 0xa5;

    /// Words likewise on the shared side.
    const UNTOUCHED_WORD: u64 = u64::from_ne_bytes([UNTOUCHED; WORD]);

    fn payload(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + i / 256 + 3) as u8).collect()
    }

    /// Copies `len` bytes to the shared side and back, both with guards around them. The private side
    /// starts `shift` bytes and the shared one `words` words later than it else would.
    fn round_trip(len: usize, shift: usize, words: usize) {
        let what = format!("{len} bytes shifted by {shift} to word {words}");
        let bytes = payload(len);
        let start = GUARD + shift;
        let mut source = vec![UNTOUCHED; start + len + GUARD];
        source[start..start + len].copy_from_slice(&bytes);
        let mut shared = vec![UNTOUCHED_WORD; words + len.div_ceil(WORD) + 2];
        let ring = shared[words + 1..].as_mut_ptr().cast::<u8>();
        // SAFETY: aligned, long enough, and no overlap.
        unsafe { to_shared(ring, source[start..].as_ptr(), len) };

        let (front, rest) = shared.split_at(words + 1);
        let (run, behind) = rest.split_at(len.div_ceil(WORD));
        assert!(front.iter().all(|&w| w == UNTOUCHED_WORD), "before: {what}");
        assert_eq!(behind, [UNTOUCHED_WORD], "behind: {what}");
        let mut padded = bytes.clone();
        padded.resize(run.len() * WORD, 0);
        let run: Vec<u8> = run.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(run, padded, "{what}");

        let mut target = vec![UNTOUCHED; start + len + GUARD];
        let ring = shared[words + 1..].as_ptr().cast::<u8>();
        // SAFETY: as above.
        unsafe { from_shared(target[start..].as_mut_ptr(), ring, len) };
        assert_eq!(target, source, "{what}");
    }

    #[test]
    fn every_length_round_trips_and_touches_nothing_beside_it() {
        for len in (0..=600).chain([1000, 1023, 4095, 4096, 4097, 16_383, 16_384, 65_535]) {
            for shift in 0..WORD {
                round_trip(len, shift, 0);
            }
        }
    }

    #[test]
    fn every_misalignment_round_trips_and_touches_nothing_beside_it() {
        for len in [
            1, 7, 8, 63, 64, 65, 71, 72, 127, 128, 129, 191, 192, 200, 256,
        ] {
            for shift in 0..64 {
                for words in 0..8 {
                    round_trip(len, shift, words);
                }
            }
        }
    }
}
