//! Errors of the operating system that say which step of the work was refused.
//!
//! It decides nothing: what can do without the step looks at the error's kind.

use std::{error, fmt, io};

/// An error together with the step that it ended.
#[derive(Debug)]
struct Refused {
    step: String,
    error: io::Error,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.error)
    }
}

impl error::Error for Refused {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Names the call, with its values, that ended in `error`. The kind stays; the number is that of the
/// source.
///
/// Want of descriptors stays as it is: no kind stands for it, so a program can tell it by the number
/// only, and its text says what is wanting.
#[cold]
pub(crate) fn refused(step: impl fmt::Display, error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => error,
        _ => named(step, error),
    }
}

/// As [`refused`], also for a want of descriptors: for a step that takes none.
#[cold]
pub(crate) fn named(step: impl fmt::Display, error: io::Error) -> io::Error {
    let step = step.to_string();
    io::Error::new(error.kind(), Refused { step, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn the_text_names_the_step_and_kind_and_number_can_be_had() {
        for errno in [libc::EPERM, libc::ENOSYS, libc::ENOMEM, libc::EINVAL] {
            let plain = io::Error::from_raw_os_error(errno);
            let error = refused(format_args!("ftruncate(2) to {} bytes", 7), plain);
            let plain = io::Error::from_raw_os_error(errno);
            assert_eq!(error.kind(), plain.kind());
            assert_eq!(
                error.to_string(),
                format!("ftruncate(2) to 7 bytes: {plain}")
            );
            let source = error
                .source()
                .and_then(|source| source.downcast_ref::<io::Error>());
            assert_eq!(source.and_then(io::Error::raw_os_error), Some(errno));
        }
    }

    #[test]
    fn a_want_of_descriptors_keeps_its_number() {
        for errno in [libc::EMFILE, libc::ENFILE] {
            let error = refused("a step", io::Error::from_raw_os_error(errno));
            assert_eq!(error.raw_os_error(), Some(errno));
        }
    }
}
