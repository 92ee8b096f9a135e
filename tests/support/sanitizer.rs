//! Whether the tests were built with a sanitizer, by `tests/sanitize`, and what it is to pass over.

/// Whether no sanitizer is at work; says that the test is skipped, and why, if one is.
pub(crate) fn not_under_a_sanitizer(reason: &str) -> bool {
    let alone = !cfg!(shmpipe_sanitizer);
    if !alone {
        super::skipped(&format!("under a sanitizer: {reason}"));
    }
    alone
}

/// Does `act`, and lets the look for leaks pass over what this thread allocates meanwhile.
pub(crate) fn leaking<R>(act: impl FnOnce() -> R) -> R {
    #[cfg(shmpipe_sanitizer)]
    // SAFETY: it counts for this thread alone, and is taken back below.
    unsafe {
        __lsan_disable();
    }
    let outcome = act();
    #[cfg(shmpipe_sanitizer)]
    // SAFETY: as above.
    unsafe {
        __lsan_enable();
    }
    outcome
}

// sanitizer/lsan_interface.h
#[cfg(shmpipe_sanitizer)]
unsafe extern "C" {
    fn __lsan_disable();
    fn __lsan_enable();
}
