//! State that the GIL guards.
//!
//! The module asks for the GIL on free-threaded interpreters too (`gil_used`).

use std::cell::UnsafeCell;

use pyo3::Python;

/// A value that only a thread with the GIL looks at.
pub(crate) struct Gil<T>(UnsafeCell<T>);

// SAFETY: `with` is the only access and takes a proof of the GIL; whoever drops it owns it alone.
unsafe impl<T: Send> Sync for Gil<T> {}

impl<T> Gil<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Looks at the value.
    ///
    /// `look` runs no Python code, drops no Python object and does not release the GIL, so that nobody else can be
    /// inside another `with` of the same value meanwhile.
    #[inline]
    pub(crate) fn with<R>(&self, _py: Python<'_>, look: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the GIL is held, and no `look` gives it up, so this is the only reference.
        look(unsafe { &mut *self.0.get() })
    }
}
