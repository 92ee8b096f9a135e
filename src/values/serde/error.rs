//! Why sending or receiving an encoded value failed.

use std::{error, fmt, io};

use super::guard::{MAX_DEPTH, Refusal};

/// Why a value could not be encoded. Nothing was sent. [`SendError::Encode`](super::SendError::Encode) has it.
///
/// A reason that a type's own `Serialize` gives by `Error::custom` is not in it: postcard keeps none. Its
/// [`source`](std::error::Error::source) says no more than that there was one.
///
/// # Examples
///
/// ```
/// use shmpipe::serde::{SendError, pipe};
///
/// struct Secret;
///
/// impl serde::Serialize for Secret {
///     fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
///         Err(serde::ser::Error::custom("not for anybody"))
///     }
/// }
///
/// let (_rx, mut tx) = pipe::<Secret>()?;
/// let Err(SendError::Encode(error)) = tx.send(&Secret) else { panic!() };
/// assert_eq!(error.to_string(), "the value cannot be encoded");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct EncodeError(pub(super) postcard::Error);

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value cannot be encoded")
    }
}

impl error::Error for EncodeError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Why a message could not be decoded. It has been taken out of the pipe.
/// [`RecvError::Decode`](super::RecvError::Decode) has it; [`Receiver::recv`](super::Receiver::recv) has an example.
#[derive(Debug)]
pub struct DecodeError {
    pub(super) len: usize,
    pub(super) cause: Cause,
}

/// What is wrong with the bytes of a message.
#[derive(Debug)]
pub(super) enum Cause {
    /// They are not the encoding of such a value.
    Encoding(postcard::Error),
    /// They ask for more than a message may.
    Refused(Refusal),
    /// They go on behind the value, for so many bytes.
    Rest(usize),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the message of {} bytes cannot be decoded", self.len)?;
        match self.cause {
            Cause::Encoding(_) => Ok(()),
            Cause::Refused(Refusal::Depth) => {
                write!(f, ": the value nests deeper than {MAX_DEPTH} levels")
            }
            Cause::Refused(Refusal::Elements { max }) => {
                write!(f, ": the value has more than {max} elements")
            }
            Cause::Rest(rest) => write!(f, ": {rest} bytes are left behind the value"),
        }
    }
}

impl error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.cause {
            Cause::Encoding(error) => Some(error),
            _ => None,
        }
    }
}

/// Declares one error of a call: the pipe's own, or that of the encoding.
macro_rules! value_error {
    ($(#[$meta:meta])* $name:ident, $pipe:ty, $pipe_doc:literal,
     $variant:ident($inner:ty), $variant_doc:literal, $kind:ident) => {
        $(#[$meta])*
        #[derive(Debug)]
        #[non_exhaustive]
        pub enum $name<E = $pipe> {
            #[doc = $pipe_doc]
            Pipe(E),
            #[doc = $variant_doc]
            $variant($inner),
        }

        impl<E: fmt::Display> fmt::Display for $name<E> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Pipe(error) => error.fmt(f),
                    Self::$variant(error) => error.fmt(f),
                }
            }
        }

        impl<E: error::Error> error::Error for $name<E> {
            fn source(&self) -> Option<&(dyn error::Error + 'static)> {
                // The text is already that error's own.
                match self {
                    Self::Pipe(error) => error.source(),
                    Self::$variant(error) => error.source(),
                }
            }
        }

        impl<E: Into<io::Error>> From<$name<E>> for io::Error {
            fn from(error: $name<E>) -> Self {
                match error {
                    $name::Pipe(error) => error.into(),
                    $name::$variant(error) => Self::new(io::ErrorKind::$kind, error),
                }
            }
        }
    };
}

value_error! {
    /// Why [`Sender::send`](super::Sender::send) failed. The other calls have it with their own error in
    /// [`Pipe`](Self::Pipe): [`TrySendError`], [`SendTimeoutError`].
    ///
    /// As an [`io::Error`] it is that of `Pipe`, else of kind `InvalidInput`.
    SendError, crate::SendError, "The message was not sent: what the pipe itself reports.",
    Encode(EncodeError), "The value cannot be encoded; nothing was sent.", InvalidInput
}

value_error! {
    /// Why [`Receiver::recv`](super::Receiver::recv) failed. The other calls have it with their own error in
    /// [`Pipe`](Self::Pipe): [`TryRecvError`], [`RecvTimeoutError`].
    ///
    /// As an [`io::Error`] it is that of `Pipe`, else of kind `InvalidData`.
    RecvError, crate::RecvError, "No message came: what the pipe itself reports.",
    Decode(DecodeError),
    "A message came that is no value of the type; it has been taken out of the pipe.", InvalidData
}

/// Why [`Sender::try_send`](super::Sender::try_send) failed.
pub type TrySendError = SendError<crate::TrySendError>;
/// Why [`Sender::send_timeout`](super::Sender::send_timeout) failed.
pub type SendTimeoutError = SendError<crate::SendTimeoutError>;
/// Why [`Receiver::try_recv`](super::Receiver::try_recv) failed.
pub type TryRecvError = RecvError<crate::TryRecvError>;
/// Why [`Receiver::recv_timeout`](super::Receiver::recv_timeout) failed.
pub type RecvTimeoutError = RecvError<crate::RecvTimeoutError>;
