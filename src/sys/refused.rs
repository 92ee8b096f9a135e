//! Errors of the operating system that say which step of the work was refused.
//!
//! It decides nothing: what can do without the step looks at the error's kind, or at its number
//! ([`raw_os_error`]).

use std::{error, fmt, io};

/// An error together with the step that it ended.
struct Refused {
    step: String,
    error: io::Error,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.error)
    }
}

/// As its `Display`: what `main` returns is shown by `Debug`.
impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for Refused {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Names the call, with its values, that ended in `error`. The kind stays; the number is what
/// [`raw_os_error`] finds.
///
/// A want of descriptors names the limit as well.
#[cold]
pub(crate) fn refused(step: impl fmt::Display, error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    match raw_os_error(&error) {
        Some(libc::EMFILE) => named(format_args!("{step}, where {}", descriptor_limit()), error),
        _ => named(step, error),
    }
}

/// As [`refused`], without the limit: for a step that takes no descriptor, or where the limit is named already.
#[cold]
pub(crate) fn named(step: impl fmt::Display, error: io::Error) -> io::Error {
    let step = step.to_string();
    io::Error::new(error.kind(), Refused { step, error })
}

/// As [`named`], of another kind than the cause's.
#[cold]
pub(crate) fn named_as(
    kind: io::ErrorKind,
    step: impl fmt::Display,
    error: io::Error,
) -> io::Error {
    let step = step.to_string();
    io::Error::new(kind, Refused { step, error })
}

/// Says how many descriptors this process may have (getrlimit(2)).
fn descriptor_limit() -> String {
    use nix::sys::resource::{Resource, getrlimit};
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((limit, _)) => format!("RLIMIT_NOFILE is {limit}"),
        Err(_) => "RLIMIT_NOFILE is reached".into(),
    }
}

/// An error with the same kind, text and number, of which there can be as many as are needed.
#[cold]
pub(crate) fn copied(error: &io::Error) -> io::Error {
    match (error.raw_os_error(), raw_os_error(error)) {
        (Some(number), _) => io::Error::from_raw_os_error(number),
        (None, Some(number)) => {
            let plain = io::Error::from_raw_os_error(number);
            let text = error.to_string();
            let end = format!(": {plain}");
            // What is no step in front of the number stays as text.
            match text.strip_suffix(&end) {
                Some(step) => named(step, plain),
                None => named(text, plain),
            }
        }
        (None, None) => io::Error::new(error.kind(), error.to_string()),
    }
}

/// The number that the operating system gave (errno(3)), if `error` or one behind it came of a system call.
///
/// [`io::Error::raw_os_error`] knows a number only where there is no other text. The errors of this crate say which
/// call was refused, so this function looks behind the text: along [`source`](error::Error::source), until an
/// [`io::Error`] has one. It takes any error, also one that another crate has wrapped.
///
/// # Examples
///
/// ```
/// use std::io;
///
/// // A pipe of kernel pages beyond what the kernel has.
/// let options = shmpipe::PipeOptions::new().backend(shmpipe::Backend::Kernel).capacity(1 << 40);
/// let error = options.pipe().unwrap_err();
/// assert!(error.to_string().contains("1099511627776 bytes"));
/// assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
/// assert_eq!(shmpipe::raw_os_error(&error), Some(22)); // EINVAL
///
/// assert_eq!(shmpipe::raw_os_error(&io::Error::other("no call")), None);
/// ```
pub fn raw_os_error(error: &(dyn error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        let number = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error);
        if number.is_some() {
            return number;
        }
        next = error.source();
    }
    None
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
            assert_eq!(raw_os_error(&error), Some(errno));
        }
    }

    #[test]
    fn a_want_of_descriptors_names_step_and_limit_and_keeps_its_number() {
        let (limit, _) =
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
        let error = refused("a step", io::Error::from_raw_os_error(libc::EMFILE));
        assert_eq!(raw_os_error(&error), Some(libc::EMFILE));
        let text = error.to_string();
        assert!(
            text.starts_with("a step, where RLIMIT_NOFILE is "),
            "{text}"
        );
        assert!(text.contains(&limit.to_string()), "{text}");
        let error = refused("a step", io::Error::from_raw_os_error(libc::ENFILE));
        assert_eq!(raw_os_error(&error), Some(libc::ENFILE));
        assert!(error.to_string().starts_with("a step: "), "{error}");
    }

    #[test]
    fn the_debug_text_is_as_clear_as_the_other() {
        let inner = refused("dup(2)", io::Error::from_raw_os_error(libc::EPERM));
        let error = refused("handing over", inner);
        let debug = format!("{error:?}");
        assert!(debug.contains(&error.to_string()), "{debug}");
        assert!(!debug.contains("Refused"), "{debug}");
        assert_eq!(debug.matches("Custom").count(), 1, "{debug}");
    }

    #[test]
    fn a_copy_says_the_same() {
        let errors = [
            io::Error::from_raw_os_error(libc::EPERM),
            refused("a step", io::Error::from_raw_os_error(libc::EPERM)),
            refused(
                "x",
                refused("a step", io::Error::from_raw_os_error(libc::EMFILE)),
            ),
            io::Error::new(io::ErrorKind::FileTooLarge, "too long"),
            refused("a step", io::Error::new(io::ErrorKind::InvalidData, "bad")),
        ];
        for error in errors {
            let copy = copied(&error);
            assert_eq!(copy.to_string(), error.to_string());
            assert_eq!(copy.kind(), error.kind());
            assert_eq!(raw_os_error(&copy), raw_os_error(&error));
        }
    }
}
