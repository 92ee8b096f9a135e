//! Every error that the public calls return.
//!
//! The set follows crossbeam-channel: one small enum for each family of calls, in which a variant
//! appears only where it can happen. Inside the crate all of them come from one [`Fault`].

use std::{fmt, io};

/// What can go wrong inside a backend; the public enums below are its projections.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Every end of the opposite side is gone.
    Disconnected,
    /// The call's time-out passed first: full, empty, or past the deadline.
    NotNow,
    /// Another holder of the side was stopped in the middle of a call, so a call that may not wait could not look.
    Busy,
    /// The message can never be sent this way.
    TooLarge { len: usize, max: usize },
    /// The message is longer than an empty pipe takes at once; in fragments it can be sent.
    TooLargeAtOnce { len: usize, max: usize },
    /// The caller's buffer cannot take the next message, which stays.
    BufferTooSmall { needed: usize },
    /// A message was lost with a process that had sent or received fragments of it.
    Aborted,
    /// The next message carries descriptors, which this call cannot hand out; it stays.
    CarriesDescriptors,
    /// Nobody but the caller could end the wait.
    Deadlock,
    /// A signal handler's call, or one of an interrupt hook, inside another call of its thread.
    Reentrant,
    /// The interrupt hook ended the wait.
    Interrupted,
    /// The shared memory holds a value that no correct peer writes.
    Corrupted,
    /// The operating system refused.
    Io(io::Error),
    /// The message has been sent, but the operating system refused to wake who waits for it.
    NotWoken(io::Error),
}

impl From<io::Error> for Fault {
    /// Calls that a signal ends are made again, so the kind says that the hook of `sys::interrupt` wanted it.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::Interrupted => Self::Interrupted,
            _ => Self::Io(error),
        }
    }
}

impl From<nix::Error> for Fault {
    fn from(errno: nix::Error) -> Self {
        Self::Io(errno.into())
    }
}

const DISCONNECTED_SEND: &str = "every receiver is gone";
const DISCONNECTED_RECV: &str = "every sender is gone";
const BUSY: &str = "another holder of this end has been in the middle of a call for over 100 ms";
const CORRUPTED: &str = "the pipe holds an impossible value, or a message over its limit";
const REENTRANT: &str =
    "this thread is inside another call, which its signal handler or hook interrupted";

/// Declares one public error enum with its `Display`, `Error` and conversions.
macro_rules! error_enum {
    (
        $(#[$meta:meta])* $name:ident, timeless: [$($quiet:ident: $quiet_doc:literal, $quiet_text:literal, $quiet_kind:ident)?],
        interrupted: [$($interrupted:ident)?],
        disconnected: $disconnected:ident, $disconnected_kind:ident, $disconnected_number:expr,
        { $($body:tt)* }, display($f:ident): { $($display:tt)* }, kind: { $($kind:tt)* }, name: { $($named:tt)* }, fault: { $($fault:tt)* }
    ) => {
        $(#[$meta])*
        #[non_exhaustive]
        pub enum $name {
            $(#[doc = $quiet_doc] $quiet,)?
            /// Every end of the opposite side, in every process, is gone.
            Disconnected,
            $($body)*
            $(
            /// The hook of an [`Interrupt`](crate::Interrupt) ended the call. Nothing is lost: nothing of the
            /// message was sent, or what has arrived of it is kept for the next receive.
            $interrupted,)?
            /// A signal handler, or the hook of an [`Interrupt`](crate::Interrupt), made the call while its thread
            /// was inside another one, and the call needs a lock that it cannot take there. Nothing was sent or
            /// received. Every kind of call reports this at once. It can succeed when the other call has returned.
            Reentrant,
            /// The pipe holds a value that no correct peer writes, or a message over the receiver's [limit](crate::Receiver::limit_messages). The end stays unusable: every later call returns
            /// the same.
            Corrupted,
            /// The operating system refused a call that the pipe needs.
            Io(io::Error),
        }

        impl fmt::Display for $name {
            fn fmt(&self, $f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$quiet => $f.write_str($quiet_text),)?
                    Self::Disconnected => $f.write_str($disconnected),
                    Self::Corrupted => $f.write_str(CORRUPTED),
                    Self::Reentrant => $f.write_str(REENTRANT),
                    $(Self::$interrupted => $f.write_str("the interrupt hook ended the call"),)?
                    Self::Io(error) => error.fmt($f),
                    $($display)*
                }
            }
        }

        /// The variant's name and what `Display` says: what `main` returns is shown by `Debug`.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}: {self}", self.name())
            }
        }

        impl $name {
            /// The number that the operating system gave (errno(3)), as [`raw_os_error`](crate::raw_os_error) finds
            /// it; `EPIPE` for a broken pipe, and none where no system call was refused.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("use shmpipe::", stringify!($name), ";")]
            ///
            /// let error = std::io::Error::from_raw_os_error(24); // EMFILE
            #[doc = concat!("assert_eq!(", stringify!($name), "::Io(error).raw_os_error(), Some(24));")]
            #[doc = concat!("assert_eq!(", stringify!($name), "::Corrupted.raw_os_error(), None);")]
            /// ```
            pub fn raw_os_error(&self) -> Option<i32> {
                match self {
                    Self::Disconnected => $disconnected_number,
                    other => crate::sys::refused::raw_os_error(other),
                }
            }

            fn name(&self) -> &'static str {
                match self {
                    $(Self::$quiet => stringify!($quiet),)?
                    Self::Disconnected => "Disconnected",
                    Self::Corrupted => "Corrupted",
                    Self::Reentrant => "Reentrant",
                    $(Self::$interrupted => stringify!($interrupted),)?
                    Self::Io(_) => "Io",
                    $($named)*
                }
            }
        }

        impl std::error::Error for $name {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                match self {
                    Self::Io(error) => Some(error),
                    _ => None,
                }
            }
        }

        impl From<$name> for io::Error {
            fn from(error: $name) -> Self {
                let kind = match &error {
                    $($name::$quiet => io::ErrorKind::$quiet_kind,)?
                    $name::Disconnected => io::ErrorKind::$disconnected_kind,
                    $name::Corrupted => io::ErrorKind::InvalidData,
                    $name::Reentrant => io::ErrorKind::Deadlock,
                    $($name::$interrupted => io::ErrorKind::Interrupted,)?
                    $($kind)*
                    $name::Io(_) => {
                        let $name::Io(inner) = error else { unreachable!() };
                        return inner;
                    }
                };
                match (error, $disconnected_number) {
                    // As std's own, which is a number and no more.
                    ($name::Disconnected, Some(number)) => io::Error::from_raw_os_error(number),
                    (error, _) => io::Error::new(kind, error),
                }
            }
        }

        impl From<Fault> for $name {
            fn from(fault: Fault) -> Self {
                match fault {
                    Fault::Disconnected => Self::Disconnected,
                    Fault::Corrupted => Self::Corrupted,
                    Fault::Reentrant => Self::Reentrant,
                    $(Fault::Interrupted => Self::$interrupted,)?
                    #[allow(unreachable_patterns, reason = "for calls that never sleep")]
                    Fault::Interrupted => Self::Io(io::ErrorKind::Interrupted.into()),
                    Fault::Io(error) | Fault::NotWoken(error) => Self::Io(error),
                    Fault::Busy => Self::Io(io::Error::new(io::ErrorKind::ResourceBusy, BUSY)),
                    $(Fault::NotNow => Self::$quiet,)?
                    $($fault)*
                    #[allow(unreachable_patterns, reason = "each enum names the faults it can meet")]
                    other => unreachable!("{} cannot be {other:?}", stringify!($name)),
                }
            }
        }
    };
}

macro_rules! send_error {
    ($(#[$meta:meta])* $name:ident [$($quiet:tt)*] at once: [$($at_once:ident)?] $($interrupted:ident)?) => {
        error_enum! {
            $(#[$meta])* $name, timeless: [$($quiet)*], interrupted: [$($interrupted)?],
            disconnected: DISCONNECTED_SEND, BrokenPipe, Some(libc::EPIPE),
            {
                /// The message is over the limit that was set by
                /// [`max_message`](crate::PipeOptions::max_message), or, carrying descriptors, longer than one
                /// piece: no call can send it. Nothing was sent.
                TooLarge {
                    /// Length of the refused message in bytes.
                    len: usize,
                    /// Longest message that may be sent, in bytes.
                    max: usize,
                },
                $(
                /// The message is within the limit, but longer than an empty pipe takes at once. Only a call that
                /// may block can send it. Nothing was sent.
                $at_once {
                    /// Length of the refused message in bytes.
                    len: usize,
                    /// Longest message that an empty pipe takes at once, in bytes.
                    max: usize,
                },)?
            },
            display(f): {
                Self::TooLarge { len, max } => {
                    write!(f, "a message of {len} bytes is over the limit of {max} bytes")
                }
                $(Self::$at_once { len, max } => {
                    write!(
                        f,
                        "a message of {len} bytes is over the {max} bytes that an empty pipe takes at once; \
                         a send that blocks can send it"
                    )
                })?
            },
            kind: {
                $name::TooLarge { .. } => io::ErrorKind::InvalidInput,
                $($name::$at_once { .. } => io::ErrorKind::InvalidInput,)?
            },
            name: {
                Self::TooLarge { .. } => "TooLarge",
                $(Self::$at_once { .. } => stringify!($at_once),)?
            },
            fault: {
                Fault::TooLarge { len, max } => Self::TooLarge { len, max },
                $(Fault::TooLargeAtOnce { len, max } => Self::$at_once { len, max },)?
            }
        }
    };
}

macro_rules! recv_error {
    ($(#[$meta:meta])* $name:ident [$($quiet:tt)*] $($interrupted:ident)?) => {
        error_enum! {
            $(#[$meta])* $name, timeless: [$($quiet)*], interrupted: [$($interrupted)?],
            disconnected: DISCONNECTED_RECV, UnexpectedEof, None,
            {
                /// The caller's buffer is smaller than the next message, which stays in the pipe.
                BufferTooSmall {
                    /// Length of the waiting message in bytes.
                    needed: usize,
                },
                /// The message that was to be received is lost. Its sender died inside it, or a process that had
                /// taken fragments of it ended or closed its end. Reported once for each such message, to one
                /// receiver; the next call receives the message after it.
                Aborted,
                /// The next message carries descriptors, which only
                /// [`recv_with_fds`](crate::Receiver::recv_with_fds) and
                /// [`recv_with_end`](crate::Receiver::recv_with_end) hand out; it stays in the pipe.
                CarriesDescriptors,
                /// The call would wait for ever: only the caller's own process holds a sender, and it has no
                /// other thread. Reported only where
                /// [`detect_deadlock`](crate::PipeOptions::detect_deadlock) was asked for, and only by calls
                /// that wait without limit.
                Deadlock,
            },
            display(f): {
                Self::BufferTooSmall { needed } => {
                    write!(f, "the next message needs a buffer of {needed} bytes")
                }
                Self::Aborted => f.write_str("the message was lost with a process that had sent or received fragments of it"),
                Self::CarriesDescriptors => {
                    f.write_str("the next message carries descriptors, which this call cannot hand out")
                }
                Self::Deadlock => {
                    f.write_str("only this process holds a sender, so no message can ever come")
                }
            },
            kind: {
                $name::BufferTooSmall { .. } => io::ErrorKind::InvalidInput,
                $name::Aborted => io::ErrorKind::InvalidData,
                $name::CarriesDescriptors => io::ErrorKind::InvalidInput,
                $name::Deadlock => io::ErrorKind::Deadlock,
            },
            name: {
                Self::BufferTooSmall { .. } => "BufferTooSmall",
                Self::Aborted => "Aborted",
                Self::CarriesDescriptors => "CarriesDescriptors",
                Self::Deadlock => "Deadlock",
            },
            fault: {
                Fault::BufferTooSmall { needed } => Self::BufferTooSmall { needed },
                Fault::Aborted => Self::Aborted,
                Fault::CarriesDescriptors => Self::CarriesDescriptors,
                Fault::Deadlock => Self::Deadlock,
            }
        }
    };
}

send_error! {
    /// Why [`Sender::send`](crate::Sender::send) failed.
    ///
    /// As an [`io::Error`] its kinds are `BrokenPipe`, `InvalidInput`, `InvalidData`, `Interrupted` and `Deadlock`.
    SendError [] at once: [] Interrupted
}
send_error! {
    /// Why [`Sender::try_send`](crate::Sender::try_send) failed.
    TrySendError [Full: "There is no room now; nothing was sent.", "the pipe is full", WouldBlock]
    at once: [TooLargeAtOnce]
}
send_error! {
    /// Why [`Sender::send_timeout`](crate::Sender::send_timeout) failed.
    SendTimeoutError [Timeout: "No room came in time; nothing was sent.", "timed out waiting for room in the pipe", TimedOut]
    at once: [] Interrupted
}
recv_error! {
    /// Why [`Receiver::recv`](crate::Receiver::recv) failed.
    ///
    /// As an [`io::Error`] its kinds are `UnexpectedEof`, `InvalidInput`, `InvalidData`, `Interrupted` and `Deadlock`.
    RecvError [] Interrupted
}
recv_error! {
    /// Why [`Receiver::try_recv`](crate::Receiver::try_recv) failed.
    TryRecvError [Empty: "No message is there now.", "the pipe is empty", WouldBlock]
}
recv_error! {
    /// Why [`Receiver::recv_timeout`](crate::Receiver::recv_timeout) failed.
    RecvTimeoutError [Timeout: "No message came in time.", "timed out waiting for a message", TimedOut] Interrupted
}
