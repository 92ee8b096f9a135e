//! What every call returns, and how the crate's errors become that.
//!
//! The text and number of an error are recorded where it is made into a status (`last_error`).

use std::any::Any;
use std::ffi::{c_char, c_int};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{fmt, io, mem};

use shmpipe::{
    RecvError, RecvTimeoutError, SendBatchError, SendError, SendTimeoutError, TryRecvError,
    TrySendError,
};

use crate::last_error::note;

/// What a call came to. New values may be added: treat one that you do not know as an error.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum shmpipe_status {
    /// The call has done what it says. The only value that is no error.
    SHMPIPE_OK = 0,
    /// Every end of the opposite side, in every process, is gone. For a receiver that is end-of-file: all messages have
    /// been received. For a sender it is a broken pipe; there is no SIGPIPE. It stays.
    SHMPIPE_DISCONNECTED = 1,
    /// There is no room now. Nothing was sent.
    SHMPIPE_FULL = 2,
    /// There is no message now.
    SHMPIPE_EMPTY = 3,
    /// The time is over. Nothing was sent, or received.
    SHMPIPE_TIMEOUT = 4,
    /// The message is over the limit of shmpipe_options_max_message(), or with descriptors longer than one piece. No
    /// call can send it. Nothing was sent.
    SHMPIPE_TOO_LARGE = 5,
    /// The message is longer than an empty pipe takes at once. Only a call that may block can send it. Nothing was
    /// sent.
    SHMPIPE_TOO_LARGE_AT_ONCE = 6,
    /// The caller's memory has no room for what there is. It stays where it was, and the call has said how much room
    /// is needed.
    SHMPIPE_BUFFER_TOO_SMALL = 7,
    /// The message is lost with a process that had sent or received fragments of it. Reported once; the next call
    /// receives the message after it.
    SHMPIPE_ABORTED = 8,
    /// The next message carries descriptors, which only shmpipe_recv_with_fds() hands out. It stays.
    SHMPIPE_CARRIES_DESCRIPTORS = 9,
    /// Only this process holds a sender, so that no message can ever come (shmpipe_options_detect_deadlock()).
    SHMPIPE_DEADLOCK = 10,
    /// A signal handler, or the hook of shmpipe_interrupt_during(), called while its thread is inside another call.
    /// Nothing was sent or received. It can succeed when that other call has returned.
    SHMPIPE_REENTRANT = 11,
    /// The hook of shmpipe_interrupt_during() ended the call. Nothing is lost.
    SHMPIPE_INTERRUPTED = 12,
    /// The pipe holds a value that no correct process writes, or a message over the receiver's limit. It stays.
    SHMPIPE_CORRUPTED = 13,
    /// The operating system refused something. shmpipe_last_errno() has its number, shmpipe_last_error() the step.
    SHMPIPE_IO = 14,
    /// An argument or an option is not allowed, a NULL above all. Nothing was done.
    SHMPIPE_INVALID = 15,
    /// The handle has a loan open (a shmpipe_slot or a shmpipe_view). Nothing was done.
    SHMPIPE_LENT = 16,
    /// A bug in the library, or a forked child that reads a view which its parent has released. The call was given up.
    SHMPIPE_PANICKED = 17,
}

use shmpipe_status::*;

/// A status whose text and number have been recorded.
#[derive(Debug)]
pub(crate) struct Told(pub(crate) shmpipe_status);

impl Told {
    /// Records what the caller did wrong.
    #[cold]
    pub(crate) fn invalid(text: impl fmt::Display) -> Self {
        Self::new(SHMPIPE_INVALID, libc::EINVAL, text)
    }

    #[cold]
    pub(crate) fn new(status: shmpipe_status, errno: c_int, text: impl fmt::Display) -> Self {
        note(errno, text);
        Self(status)
    }
}

/// The body of an exported function: no panic leaves it.
#[inline]
pub(crate) fn call(body: impl FnOnce() -> Result<(), Told>) -> shmpipe_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => SHMPIPE_OK,
        Ok(Err(Told(status))) => status,
        Err(payload) => panicked(payload),
    }
}

#[cold]
fn panicked(payload: Box<dyn Any + Send>) -> shmpipe_status {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied());
    note(0, format_args!("a panic: {}", text.unwrap_or("unknown")));
    // A payload that nobody knows may panic in its drop; what that throws is leaked.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(again);
    }
    SHMPIPE_PANICKED
}

/// The number of errno(3) that says about the same, for what no system call reported.
fn usual_number(status: shmpipe_status) -> c_int {
    match status {
        SHMPIPE_FULL | SHMPIPE_EMPTY => libc::EAGAIN,
        SHMPIPE_TIMEOUT => libc::ETIMEDOUT,
        SHMPIPE_TOO_LARGE | SHMPIPE_TOO_LARGE_AT_ONCE | SHMPIPE_BUFFER_TOO_SMALL => libc::EMSGSIZE,
        SHMPIPE_ABORTED | SHMPIPE_CORRUPTED => libc::EBADMSG,
        SHMPIPE_CARRIES_DESCRIPTORS | SHMPIPE_INVALID => libc::EINVAL,
        SHMPIPE_DEADLOCK | SHMPIPE_REENTRANT => libc::EDEADLK,
        SHMPIPE_INTERRUPTED => libc::EINTR,
        SHMPIPE_LENT => libc::EBUSY,
        SHMPIPE_IO => libc::EIO,
        SHMPIPE_OK | SHMPIPE_DISCONNECTED | SHMPIPE_PANICKED => 0,
    }
}

/// The status of each of the crate's errors.
macro_rules! statuses {
    ($($name:ident { $($variant:ident => $status:ident,)* })+) => {
        $(
            impl From<$name> for Told {
                #[cold]
                fn from(error: $name) -> Self {
                    Self::from(&error)
                }
            }

            impl From<&$name> for Told {
                #[cold]
                fn from(error: &$name) -> Self {
                    let status = match error {
                        $($name::$variant { .. } => $status,)*
                        $name::Disconnected => SHMPIPE_DISCONNECTED,
                        $name::Reentrant => SHMPIPE_REENTRANT,
                        $name::Corrupted => SHMPIPE_CORRUPTED,
                        $name::Io(error) => return Self::from(error),
                        _ => SHMPIPE_IO,
                    };
                    let number = error.raw_os_error().unwrap_or(usual_number(status));
                    Self::new(status, number, error)
                }
            }
        )+
    };
}

statuses! {
    SendError {
        TooLarge => SHMPIPE_TOO_LARGE,
        Interrupted => SHMPIPE_INTERRUPTED,
    }
    TrySendError {
        TooLarge => SHMPIPE_TOO_LARGE,
        TooLargeAtOnce => SHMPIPE_TOO_LARGE_AT_ONCE,
        Full => SHMPIPE_FULL,
    }
    SendTimeoutError {
        TooLarge => SHMPIPE_TOO_LARGE,
        Timeout => SHMPIPE_TIMEOUT,
        Interrupted => SHMPIPE_INTERRUPTED,
    }
    RecvError {
        BufferTooSmall => SHMPIPE_BUFFER_TOO_SMALL,
        Aborted => SHMPIPE_ABORTED,
        CarriesDescriptors => SHMPIPE_CARRIES_DESCRIPTORS,
        Deadlock => SHMPIPE_DEADLOCK,
        Interrupted => SHMPIPE_INTERRUPTED,
    }
    TryRecvError {
        BufferTooSmall => SHMPIPE_BUFFER_TOO_SMALL,
        Aborted => SHMPIPE_ABORTED,
        CarriesDescriptors => SHMPIPE_CARRIES_DESCRIPTORS,
        Deadlock => SHMPIPE_DEADLOCK,
        Empty => SHMPIPE_EMPTY,
    }
    RecvTimeoutError {
        BufferTooSmall => SHMPIPE_BUFFER_TOO_SMALL,
        Aborted => SHMPIPE_ABORTED,
        CarriesDescriptors => SHMPIPE_CARRIES_DESCRIPTORS,
        Deadlock => SHMPIPE_DEADLOCK,
        Timeout => SHMPIPE_TIMEOUT,
        Interrupted => SHMPIPE_INTERRUPTED,
    }
}

impl From<SendBatchError> for Told {
    #[cold]
    fn from(error: SendBatchError) -> Self {
        Self::from(&error.error)
    }
}

impl From<io::Error> for Told {
    #[cold]
    fn from(error: io::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&io::Error> for Told {
    #[cold]
    fn from(error: &io::Error) -> Self {
        // The byte-stream view and poll wrap the crate's own errors.
        let inner = error.get_ref();
        if let Some(inner) = inner.and_then(|inner| inner.downcast_ref::<RecvError>()) {
            return Self::from(inner);
        }
        if let Some(inner) = inner.and_then(|inner| inner.downcast_ref::<SendError>()) {
            return Self::from(inner);
        }
        let status = match error.kind() {
            ErrorKind::BrokenPipe => SHMPIPE_DISCONNECTED,
            ErrorKind::Interrupted => SHMPIPE_INTERRUPTED,
            ErrorKind::InvalidInput => SHMPIPE_INVALID,
            _ => SHMPIPE_IO,
        };
        let number = shmpipe::raw_os_error(error).unwrap_or(match error.kind() {
            ErrorKind::NotFound => libc::ENOENT,
            ErrorKind::AlreadyExists => libc::EEXIST,
            ErrorKind::InvalidData => libc::EBADMSG,
            ErrorKind::Unsupported => libc::EOPNOTSUPP,
            ErrorKind::OutOfMemory => libc::ENOMEM,
            ErrorKind::PermissionDenied => libc::EPERM,
            ErrorKind::FileTooLarge => libc::EFBIG,
            ErrorKind::ResourceBusy => libc::EBUSY,
            ErrorKind::BrokenPipe => libc::EPIPE,
            _ => usual_number(status),
        });
        Self::new(status, number, error)
    }
}

/// What a status means, in English, lower case and without a full stop. Any number may be asked for.
///
/// shmpipe_last_error() says more of the last error: which step failed, and the offending number.
///
/// Threads: any. Ownership: the text is static.
#[unsafe(no_mangle)]
pub extern "C" fn shmpipe_strerror(status: c_int) -> *const c_char {
    const KNOWN: [(shmpipe_status, &std::ffi::CStr); 18] = [
        (SHMPIPE_OK, c"no error"),
        (SHMPIPE_DISCONNECTED, c"every end of the other side is gone"),
        (SHMPIPE_FULL, c"the pipe is full"),
        (SHMPIPE_EMPTY, c"the pipe is empty"),
        (SHMPIPE_TIMEOUT, c"timed out"),
        (SHMPIPE_TOO_LARGE, c"the message is over the limit"),
        (
            SHMPIPE_TOO_LARGE_AT_ONCE,
            c"the message is longer than an empty pipe takes at once",
        ),
        (
            SHMPIPE_BUFFER_TOO_SMALL,
            c"the caller's memory is too small",
        ),
        (
            SHMPIPE_ABORTED,
            c"the message was lost with a process that had sent or received fragments of it",
        ),
        (
            SHMPIPE_CARRIES_DESCRIPTORS,
            c"the next message carries descriptors, which this call cannot hand out",
        ),
        (
            SHMPIPE_DEADLOCK,
            c"only this process holds a sender, so no message can ever come",
        ),
        (
            SHMPIPE_REENTRANT,
            c"this thread is inside another call, which its signal handler or hook interrupted",
        ),
        (SHMPIPE_INTERRUPTED, c"the interrupt hook ended the call"),
        (
            SHMPIPE_CORRUPTED,
            c"the pipe holds an impossible value, or a message over its limit",
        ),
        (SHMPIPE_IO, c"the operating system refused a call"),
        (SHMPIPE_INVALID, c"an argument or an option is not allowed"),
        (SHMPIPE_LENT, c"the handle has a loan open"),
        (
            SHMPIPE_PANICKED,
            c"the call was given up inside the library",
        ),
    ];
    let found = KNOWN.iter().find(|(known, _)| *known as c_int == status);
    found
        .map_or(c"not a status of this library", |(_, text)| text)
        .as_ptr()
}
