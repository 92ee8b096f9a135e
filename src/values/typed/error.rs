//! Why receiving a value failed.

use std::{any, error, fmt, io};

/// Why [`Receiver::recv`](super::Receiver::recv) failed. The other calls have it with their own error in
/// [`Pipe`](Self::Pipe): [`TryRecvError`], [`RecvTimeoutError`].
///
/// As an [`io::Error`] it is that of `Pipe`, else of kind `InvalidData`. [`Receiver::recv`](super::Receiver::recv) has an
/// example.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvError<E = crate::RecvError> {
    /// No message came: what the pipe itself reports.
    Pipe(E),
    /// A message came that does not have the size of the type; it has been taken out of the pipe.
    WrongSize {
        /// Size of the type in bytes.
        expected: usize,
        /// Length of the message in bytes.
        found: usize,
    },
    /// A message of the right size came whose bytes are no value of the type; it has been taken out of the
    /// pipe.
    InvalidValue {
        /// The type's name, as [`std::any::type_name`] has it.
        type_name: &'static str,
    },
}

/// Why [`Receiver::try_recv`](super::Receiver::try_recv) failed.
pub type TryRecvError = RecvError<crate::TryRecvError>;

/// Why [`Receiver::recv_timeout`](super::Receiver::recv_timeout) failed.
pub type RecvTimeoutError = RecvError<crate::RecvTimeoutError>;

impl<E> RecvError<E> {
    pub(super) const fn wrong_size<T>(found: usize) -> Self {
        let expected = size_of::<T>();
        Self::WrongSize { expected, found }
    }

    pub(super) fn invalid_value<T>() -> Self {
        let type_name = any::type_name::<T>();
        Self::InvalidValue { type_name }
    }
}

impl<E: fmt::Display> fmt::Display for RecvError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pipe(error) => error.fmt(f),
            Self::WrongSize { expected, found } => {
                write!(f, "a message of {found} bytes where a value has {expected}")
            }
            Self::InvalidValue { type_name } => {
                write!(f, "the bytes of the message are no value of {type_name}")
            }
        }
    }
}

impl<E: error::Error> error::Error for RecvError<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            // The text is already that error's own.
            Self::Pipe(error) => error.source(),
            _ => None,
        }
    }
}

impl<E: Into<io::Error>> From<RecvError<E>> for io::Error
where
    RecvError<E>: error::Error + Send + Sync + 'static,
{
    fn from(error: RecvError<E>) -> Self {
        match error {
            RecvError::Pipe(error) => error.into(),
            error => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}
