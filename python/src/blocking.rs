//! Calls that may block: without the GIL, and ended by signal handlers that raise.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pyo3::prelude::*;
use shmpipe::Interrupt;

use crate::threads;

/// How long a call does not ask again for signals, which takes the GIL from threads that work. A signal between the first
/// question and the sleep is heard after so long.
const UNASKED: Duration = Duration::from_millis(10);

/// Forks between the first process and this one.
static FORKS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this is the thread on which Python runs signal handlers; `None` for not yet known.
    static RUNS_HANDLERS: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Tells processes apart that have one memory image.
#[inline]
pub(crate) fn fork_generation() -> u64 {
    FORKS.load(Ordering::Relaxed)
}

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    threads::forget_all();
    // The thread that forked is the child's only one, and so its main one.
    RUNS_HANDLERS.set(Some(true));
}

/// Has forks counted from now on, those too of which Python knows nothing.
pub(crate) fn watch_forks() -> PyResult<()> {
    // SAFETY: the handler does only what is safe in a forked child.
    let outcome = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    match outcome {
        0 => Ok(()),
        number => Err(std::io::Error::from_raw_os_error(number).into()),
    }
}

fn runs_handlers() -> bool {
    RUNS_HANDLERS.get().unwrap_or_else(|| {
        // SAFETY: no arguments.
        let process = unsafe { libc::getpid() };
        // SAFETY: no arguments.
        let thread = unsafe { libc::gettid() };
        RUNS_HANDLERS.set(Some(process == thread));
        process == thread
    })
}

/// Makes a call without the GIL.
///
/// On the main thread, Python's signal handlers run before each sleep and after each signal; what one raises ends the
/// call, which then reports `Interrupted`, and comes out here instead.
///
/// # Errors
///
/// What a signal handler raised.
pub(crate) fn blocking<R: Send>(py: Python<'_>, call: impl FnOnce() -> R + Send) -> PyResult<R> {
    if !runs_handlers() {
        return Ok(py.detach(call));
    }
    py.check_signals()?;
    let (outcome, raised) = py.detach(|| {
        let raised = Cell::new(None);
        let ask = || match Python::attach(|py| py.check_signals()) {
            Ok(()) => false,
            Err(error) => {
                raised.set(Some(error));
                true
            }
        };
        let outcome = Interrupt::new(&ask).after(UNASKED).during(call);
        (outcome, raised.take())
    });
    match raised {
        Some(error) => Err(error),
        None => Ok(outcome),
    }
}
