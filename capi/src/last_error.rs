//! The text and number of the last error of each thread.
//!
//! Recording allocates nothing by itself, so that a call in a signal handler may fail.

use std::cell::{Cell, UnsafeCell};
use std::ffi::{c_char, c_int};
use std::fmt::{self, Write};

/// Bytes of a text, the zero at its end included. A longer one is cut.
const ROOM: usize = 512;

struct Last {
    /// Zero-terminated: the last byte is never written.
    text: UnsafeCell<[u8; ROOM]>,
    errno: Cell<c_int>,
}

thread_local! {
    static LAST: Last = const {
        Last { text: UnsafeCell::new([0; ROOM]), errno: Cell::new(0) }
    };
}

struct Filling<'a> {
    left: &'a mut [u8],
}

impl Write for Filling<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut len = text.len().min(self.left.len());
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        let (here, left) = std::mem::take(&mut self.left).split_at_mut(len);
        here.copy_from_slice(&text.as_bytes()[..len]);
        self.left = left;
        if len == text.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

/// Records an error of the calling thread.
#[cold]
pub(crate) fn note(errno: c_int, text: impl fmt::Display) {
    let mut bytes = [0; ROOM];
    let mut filling = Filling {
        left: &mut bytes[..ROOM - 1],
    };
    // What does not fit is cut.
    let _ = write!(filling, "{text}");
    LAST.with(|last| {
        last.errno.set(errno);
        // SAFETY: of this thread alone, and nobody keeps a reference to it.
        unsafe { *last.text.get() = bytes };
    });
}

/// The text of the last error that a call of this thread returned: in English, lower case and without a full stop, with
/// the step that failed and the offending number. Empty where there was none. A call that succeeds leaves it as it is.
///
/// Threads: any; each has its own. Ownership: the text is the library's. It stays until the next call of this thread that
/// fails.
#[unsafe(no_mangle)]
pub extern "C" fn shmpipe_last_error() -> *const c_char {
    LAST.with(|last| last.text.get().cast())
}

/// The number (errno(3)) of the last error that a call of this thread returned: the operating system's where it refused
/// a call, otherwise the one that means about the same (EAGAIN for SHMPIPE_FULL and SHMPIPE_EMPTY, EPIPE for a broken
/// pipe). 0 for end-of-file, and where there was no error. A call that succeeds leaves it as it is.
///
/// The variable errno itself says nothing after a call of this library.
///
/// Threads: any; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn shmpipe_last_errno() -> c_int {
    LAST.with(|last| last.errno.get())
}
