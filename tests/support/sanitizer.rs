//! Whether the tests were built with a sanitizer, by `tests/sanitize`.

/// Whether no sanitizer is at work; says that the test is skipped, and why, if one is.
pub(crate) fn not_under_a_sanitizer(reason: &str) -> bool {
    let alone = !cfg!(shmpipe_sanitizer);
    if !alone {
        super::skipped(&format!("under a sanitizer: {reason}"));
    }
    alone
}
