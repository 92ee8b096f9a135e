//! Whether several threads of this process use connections.
//!
//! A thread that gives its CPU away by a yield, or keeps it by spinning, does so in favour of the peer. With other
//! threads that use pipes, it keeps them from the CPU, or lets them have it while they wait for the GIL; so then it
//! sleeps at once. A thread that has been idle for long is not in the way: that of a `Queue`, for one, sleeps for as long
//! as its queue does without it.

use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Uses in a row after which a thread takes itself for the only one: some 30 messages.
const ALONE_AFTER: u32 = 100;

/// The thread that used a connection last, as the address of its variable; 0 for none. The GIL guards both.
static LAST: AtomicUsize = AtomicUsize::new(0);
/// Uses until [`LAST`] is alone.
static LEFT: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static ADDRESS: u8 = const { 0 };
}

/// In a forked child, which has one thread.
pub(crate) fn forget_all() {
    LAST.store(0, Ordering::Relaxed);
    LEFT.store(0, Ordering::Relaxed);
}

/// Notes that the calling thread uses connections.
#[inline]
pub(crate) fn note_use() {
    let this = ADDRESS.with(|variable| ptr::from_ref(variable).addr());
    let last = LAST.load(Ordering::Relaxed);
    let left = LEFT.load(Ordering::Relaxed);
    if last != this {
        LAST.store(this, Ordering::Relaxed);
        if last != 0 {
            LEFT.store(ALONE_AFTER, Ordering::Relaxed);
        }
    } else if left > 0 {
        LEFT.store(left - 1, Ordering::Relaxed);
    }
}

/// Whether other threads than the calling one have used connections lately.
pub(crate) fn others_use_pipes() -> bool {
    note_use();
    LEFT.load(Ordering::Relaxed) > 0
}
