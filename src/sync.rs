//! The only door to atomics and fences, so that loom can stand in for them.

#[cfg(shmpipe_kill_points)]
pub(crate) mod killable;

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::Ordering;
#[cfg(not(any(loom, shmpipe_kill_points)))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64};
#[cfg(shmpipe_kill_points)]
pub(crate) use killable::{AtomicU32, AtomicU64, kill_point};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A full fence: every access before it is ordered before every access after it, for everybody.
///
/// On x86_64 a locked read-modify-write of the stack does that in 2 ns; `fence(SeqCst)` compiles to
/// MFENCE, which costs 17 ns on Zen 4 (Intel SDM 3A §9.2.5 and AMD APM 2 §7.4.2 name both as full
/// barriers). The assembly may touch any memory, so the compiler moves no access across it.
#[inline(always)]
pub(crate) fn full_fence() {
    #[cfg(all(not(loom), target_arch = "x86_64"))]
    // SAFETY: or-ing 0 into the top of the stack changes no value, and a push below the red zone
    // is not made; the flags are declared clobbered (no `preserves_flags`).
    unsafe {
        core::arch::asm!("lock or dword ptr [rsp], 0", options(nostack));
    }
    #[cfg(all(not(loom), not(target_arch = "x86_64")))]
    core::sync::atomic::fence(Ordering::SeqCst);
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// A full fence, right after a side lock was released or a position moved by a compare-and-swap.
///
/// That is a locked read-modify-write, which is a full barrier on x86_64 by itself (Intel SDM 3A
/// §9.2.3.9, AMD APM 2 §7.4.2), so only the compiler must be kept from moving accesses across.
#[inline(always)]
pub(crate) fn fence_after_swap() {
    #[cfg(all(not(loom), target_arch = "x86_64"))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(not(all(not(loom), target_arch = "x86_64")))]
    full_fence();
}

/// A relaxed store to a word that others change by compare-and-swap.
///
/// A swap came right after the value it replaced, so whoever stores having seen that value stores after
/// the swap. loom does not know this rule and would let the swap's value come back; an exchange shows it.
#[inline(always)]
pub(crate) fn store_over_swaps(word: &AtomicU32, value: u32) {
    #[cfg(not(loom))]
    word.store(value, Ordering::Relaxed);
    #[cfg(loom)]
    word.swap(value, Ordering::Relaxed);
}

/// Marks the branch that it stands in as rarely taken, as `std::hint::cold_path` of newer compilers does.
#[cold]
#[inline]
pub(crate) fn cold_path() {}

/// Tells the processor that this is a spin-wait loop.
#[inline(always)]
pub(crate) fn spin_hint() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}

/// Between two looks at a word that is awaited any moment: the next look does not begin before the last one has come to
/// its end. Without that the processor has many looks under way, all of which it takes back when the word changes.
#[inline(always)]
pub(crate) fn look_hint() {
    #[cfg(all(not(loom), target_arch = "x86_64"))]
    // SAFETY: the instruction has no operands, and every x86_64 processor has it.
    unsafe {
        core::arch::asm!("lfence", options(nostack, preserves_flags));
    }
}

/// A point at which a test may kill the process (`sync::killable`); nothing in an ordinary build.
#[cfg(not(shmpipe_kill_points))]
#[inline(always)]
pub(crate) fn kill_point() {}
