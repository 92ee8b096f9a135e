//! Copies between private memory and memory that another process may write at the same time.
//!
//! An ordinary copy would be a data race, and so undefined, the moment a hostile peer writes. Here
//! the shared side is only ever touched by relaxed atomics or by inline assembly, for which a torn
//! value is merely a torn value. Both give the caller whatever bytes happen to be there.

use crate::sync::{AtomicU64, Ordering, kill_point};

const WORD: usize = size_of::<u64>();

/// From this length on a copy is left to the block copy of the architecture.
#[cfg(target_arch = "x86_64")]
const BLOCK_COPY_FROM: usize = 128;

/// Copies `len` bytes from private memory into the ring and zeroes the rest of the last word.
///
/// # Safety
///
/// - `to` is aligned to 8 and valid for writes of `len` rounded up to 8.
/// - `from` is valid for reads of `len` bytes and does not overlap the ring.
#[inline]
pub(crate) unsafe fn to_shared(to: *mut u8, from: *const u8, len: usize) {
    let whole = len - len % WORD;
    // SAFETY: whole words inside both ranges.
    let done = unsafe { copy_blocks(to, from, whole) };
    let mut offset = done;
    while offset < len {
        let mut bytes = [0; WORD];
        let here = WORD.min(len - offset);
        // SAFETY: `offset + here <= len`.
        let source = unsafe { from.add(offset) };
        // SAFETY: `here` bytes of private memory, and a local of 8.
        unsafe { core::ptr::copy_nonoverlapping(source, bytes.as_mut_ptr(), here) };
        // SAFETY: the word at `offset` lies inside the padded run and is aligned, as `to` is.
        let word = unsafe { word_at(to, offset) };
        word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        offset += WORD;
    }
}

/// Copies `len` bytes out of the ring into private memory.
///
/// # Safety
///
/// - `from` is aligned to 8 and valid for reads of `len` rounded up to 8.
/// - `to` is valid for writes of `len` bytes and does not overlap the ring.
#[inline]
pub(crate) unsafe fn from_shared(to: *mut u8, from: *const u8, len: usize) {
    let whole = len - len % WORD;
    // SAFETY: whole words inside both ranges.
    let done = unsafe { copy_blocks(to, from, whole) };
    let mut offset = done;
    while offset < len {
        // SAFETY: the word at `offset` lies inside the padded run and is aligned, as `from` is.
        let word = unsafe { word_at(from.cast_mut(), offset) };
        let bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        let here = WORD.min(len - offset);
        // SAFETY: `offset + here <= len`.
        let target = unsafe { to.add(offset) };
        // SAFETY: a local of 8, and `here` bytes of private memory.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), target, here) };
        offset += WORD;
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
/// Both ranges are valid for `len` bytes and do not overlap.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn copy_blocks(to: *mut u8, from: *const u8, len: usize) -> usize {
    if len < BLOCK_COPY_FROM {
        return 0;
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

/// The portable form: everything goes word by word.
///
/// # Safety
///
/// None; it has the contract of its twin.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
unsafe fn copy_blocks(_to: *mut u8, _from: *const u8, _len: usize) -> usize {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_misalignment_of_the_private_side_round_trips() {
        for len in (0..300_usize).chain([1000, 1023, 4096, 4097, 65_535]) {
            for shift in [0_usize, 1, 3, 7] {
                let private: Vec<u8> = (0..len + shift).map(|i| (i * 7 + 3) as u8).collect();
                let mut shared = vec![u64::MAX; usize::div_ceil(len, 8) + 1];
                let ring = shared.as_mut_ptr().cast::<u8>();
                let source = &private[shift..];
                // SAFETY: aligned, long enough, and no overlap.
                unsafe { to_shared(ring, source.as_ptr(), len) };
                let mut back = vec![0; len + shift];
                // SAFETY: as above.
                unsafe { from_shared(back[shift..].as_mut_ptr(), ring, len) };
                assert_eq!(&back[shift..], source, "{len} bytes shifted by {shift}");
                assert_eq!(*shared.last().unwrap(), u64::MAX, "{len} bytes ran over");
            }
        }
    }
}
