//! Atomics at whose every store, and system calls after each of which, the process can kill itself.
//!
//! Built with `--cfg shmpipe_kill_points` only, for `tests/kill_points.rs`; an ordinary build has none
//! of this. A *kill point* lies behind each store to an atomic, each copy into shared memory, each
//! announcement to the kernel and each system call. They are counted as the process passes them, so the
//! n-th of a deterministic call is the same one every time.

use core::panic::Location;
use core::sync::atomic;
use std::io::Write;

use super::Ordering;

/// Kill points passed since [`arm`].
static PASSED: atomic::AtomicU64 = atomic::AtomicU64::new(0);
/// The one to die at; 0 is none.
static FATAL: atomic::AtomicU64 = atomic::AtomicU64::new(0);

/// Counts from now on, and kills the process at the `fatal`-th point; 0 only counts.
pub fn arm(fatal: u64) {
    PASSED.store(0, Ordering::Relaxed);
    FATAL.store(fatal, Ordering::Relaxed);
}

/// How many points were passed since [`arm`].
pub fn passed() -> u64 {
    PASSED.load(Ordering::Relaxed)
}

/// A point at which the process may end, by SIGKILL as if from outside; prints where.
#[track_caller]
pub(crate) fn kill_point() {
    let this = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
    if this == FATAL.load(Ordering::Relaxed) {
        let mut line = [0; 128];
        let mut rest = &mut line[..];
        let place = Location::caller();
        let _ = writeln!(rest, "killed at {}:{}", place.file(), place.line());
        let unused = rest.len();
        let text = &line[..line.len() - unused];
        // Not by `println`, whose lock and buffer a forked child may find in any state.
        // SAFETY: the text is live and so long.
        unsafe { libc::write(libc::STDOUT_FILENO, text.as_ptr().cast(), text.len()) };
        // SAFETY: no preconditions.
        let us = unsafe { libc::getpid() };
        // SAFETY: no preconditions; it does not return.
        unsafe { libc::kill(us, libc::SIGKILL) };
    }
}

macro_rules! killable {
    ($name:ident over $word:ty) => {
        /// As the atomic of the same name, with a kill point behind each store.
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub(crate) struct $name(atomic::$name);

        #[allow(dead_code, reason = "the two widths are used in different ways")]
        impl $name {
            pub(crate) const fn new(value: $word) -> Self {
                Self(atomic::$name::new(value))
            }

            /// # Safety
            ///
            /// As for the atomic of the same name.
            pub(crate) unsafe fn from_ptr<'a>(at: *mut $word) -> &'a Self {
                // SAFETY: by the caller; the layout is that of the word.
                unsafe { &*at.cast::<Self>() }
            }

            pub(crate) fn as_ptr(&self) -> *mut $word {
                self.0.as_ptr()
            }

            pub(crate) fn into_inner(self) -> $word {
                self.0.into_inner()
            }

            pub(crate) fn load(&self, order: Ordering) -> $word {
                self.0.load(order)
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $word, order: Ordering) {
                self.0.store(value, order);
                kill_point();
            }

            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                current: $word,
                new: $word,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$word, $word> {
                let outcome = self.0.compare_exchange(current, new, success, failure);
                kill_point();
                outcome
            }

            #[track_caller]
            pub(crate) fn fetch_add(&self, value: $word, order: Ordering) -> $word {
                let before = self.0.fetch_add(value, order);
                kill_point();
                before
            }

            #[track_caller]
            pub(crate) fn fetch_or(&self, value: $word, order: Ordering) -> $word {
                let before = self.0.fetch_or(value, order);
                kill_point();
                before
            }

            #[track_caller]
            pub(crate) fn fetch_and(&self, value: $word, order: Ordering) -> $word {
                let before = self.0.fetch_and(value, order);
                kill_point();
                before
            }
        }
    };
}

killable!(AtomicU32 over u32);
killable!(AtomicU64 over u64);
