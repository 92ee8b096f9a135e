//! The name of a pipe's memory, as `/proc/PID/fd` shows it: a fixed word and the label behind it.
//!
//! Nothing finds a pipe by its label but people and tools; two pipes may have the same one.

use std::ffi::CString;

/// Begins the name of a ring's memory.
pub(crate) const RING: &str = "shmpipe";

/// Begins the name of the page beside a kernel pipe.
pub(crate) const KERNEL_PAGE: &str = "shmpipe-kernel";

/// Stands between the fixed word and the label.
const SEPARATOR: char = ':';

/// Longest name that memfd_create(2) takes, in bytes.
const NAME_MAX: usize = 249;

/// Longest label in bytes: what fits behind the longer word, so that the backend makes no difference.
pub(crate) const LABEL_MAX: usize = NAME_MAX - KERNEL_PAGE.len() - SEPARATOR.len_utf8();

/// Whether `label` can be part of a name, and be printed without harm.
///
/// # Errors
///
/// What is wrong with it, with the value.
pub(crate) fn check(label: &str) -> Result<(), String> {
    if label.is_empty() {
        return Err("a label of 0 bytes names nothing".into());
    }
    if label.len() > LABEL_MAX {
        return Err(format!(
            "a label of {} bytes is over the limit of {LABEL_MAX} bytes: {label:?}",
            label.len()
        ));
    }
    match label.char_indices().find(|(_, char)| char.is_control()) {
        Some((at, char)) => Err(format!(
            "a label cannot have the control character {char:?}, which is at byte {at} of {label:?}"
        )),
        None => Ok(()),
    }
}

/// The name of memory of the kind that `word` stands for, with a label that has passed [`check`].
pub(crate) fn memory_name(word: &str, label: Option<&str>) -> CString {
    let name = match label {
        Some(label) => format!("{word}{SEPARATOR}{label}"),
        None => word.to_owned(),
    };
    CString::new(name).expect("`check` lets no control character pass")
}

/// What the name of some memory says if it is a pipe's: the word, and the label behind it.
#[cfg(feature = "observe")]
pub(crate) fn parse(name: &str) -> Option<(&'static str, Option<&str>)> {
    [KERNEL_PAGE, RING].into_iter().find_map(|word| {
        let rest = name.strip_prefix(word)?;
        let label = rest.strip_prefix(SEPARATOR);
        (rest.is_empty() || label.is_some()).then_some((word, label))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_as_long_as_may_be_fits_behind_either_word() {
        let label = "x".repeat(LABEL_MAX);
        check(&label).unwrap();
        for word in [RING, KERNEL_PAGE] {
            assert!(memory_name(word, Some(&label)).as_bytes().len() <= NAME_MAX);
        }
        let error = check(&"x".repeat(LABEL_MAX + 1)).unwrap_err();
        assert!(
            error.contains(&format!("of {} bytes", LABEL_MAX + 1)),
            "{error}"
        );
    }

    #[cfg(feature = "observe")]
    #[test]
    fn names_of_others_are_not_parsed() {
        assert_eq!(parse("shmpipe"), Some((RING, None)));
        assert_eq!(parse("shmpipe:a:b"), Some((RING, Some("a:b"))));
        assert_eq!(parse("shmpipe-kernel:x"), Some((KERNEL_PAGE, Some("x"))));
        for other in ["shmpipes", "shmpipe-", "shm", "", "shmpipe-kernels"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn the_name_without_a_label_is_the_word_alone() {
        assert_eq!(memory_name(RING, None).to_str(), Ok("shmpipe"));
        assert_eq!(
            memory_name(KERNEL_PAGE, Some("jobs")).to_str(),
            Ok("shmpipe-kernel:jobs")
        );
    }
}
