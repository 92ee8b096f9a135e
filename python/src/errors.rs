//! The Rust crate's errors as the exceptions that the standard library's connections raise.

use std::io;

use pyo3::exceptions::{PyEOFError, PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use shmpipe::{RecvError, SendError, TryRecvError, TrySendError};

const INSIDE: &str =
    "this thread is inside another call on the connection, which its signal handler interrupted";
const CUT_OFF: &str = "got end of file during message";

pub(crate) fn closed() -> PyErr {
    PyOSError::new_err("handle is closed")
}

pub(crate) fn of_io(error: io::Error) -> PyErr {
    if error.kind() == io::ErrorKind::Deadlock {
        return PyRuntimeError::new_err(INSIDE);
    }
    match shmpipe::raw_os_error(&error) {
        Some(number) if error.raw_os_error() == Some(number) => {
            // Python makes the text of the number, and the subclass, by itself.
            PyOSError::new_err((number, text_of(number)))
        }
        Some(number) => PyOSError::new_err((number, error.to_string())),
        None => error.into(),
    }
}

/// What strerror(3) says.
fn text_of(number: i32) -> String {
    let text = io::Error::from_raw_os_error(number).to_string();
    match text.rsplit_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

pub(crate) fn of_recv(error: RecvError) -> PyErr {
    match error {
        RecvError::Disconnected => PyEOFError::new_err(()),
        RecvError::Aborted => PyOSError::new_err(CUT_OFF),
        RecvError::Reentrant => PyRuntimeError::new_err(INSIDE),
        RecvError::Io(error) => of_io(error),
        other => PyOSError::new_err(other.to_string()),
    }
}

pub(crate) fn of_send(error: SendError) -> PyErr {
    match error {
        SendError::Disconnected => PyOSError::new_err((libc::EPIPE, text_of(libc::EPIPE))),
        SendError::Reentrant => PyRuntimeError::new_err(INSIDE),
        SendError::Io(error) => of_io(error),
        other => PyOSError::new_err(other.to_string()),
    }
}

/// As [`of_recv`]; not for `Empty`.
pub(crate) fn of_try_recv(error: TryRecvError) -> PyErr {
    match error {
        TryRecvError::Disconnected => of_recv(RecvError::Disconnected),
        TryRecvError::Aborted => of_recv(RecvError::Aborted),
        TryRecvError::Reentrant => of_recv(RecvError::Reentrant),
        TryRecvError::Io(error) => of_io(error),
        other => PyOSError::new_err(other.to_string()),
    }
}

/// As [`of_send`]; not for `Full`.
pub(crate) fn of_try_send(error: TrySendError) -> PyErr {
    match error {
        TrySendError::Disconnected => of_send(SendError::Disconnected),
        TrySendError::Reentrant => of_send(SendError::Reentrant),
        TrySendError::Io(error) => of_io(error),
        other => PyOSError::new_err(other.to_string()),
    }
}
