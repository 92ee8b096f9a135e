//! The hook that ends the blocking calls of a thread.

use std::ffi::{c_int, c_void};
use std::os::fd::BorrowedFd;

use shmpipe::Interrupt;

use crate::status::{Told, call, shmpipe_status};

/// Calls `calls(calls_argument)`, and has every call of this library in it that is about to sleep, on this thread, ask
/// `hook(hook_argument)` first, and again after each signal. Where the hook returns true, that call ends with
/// SHMPIPE_INTERRUPTED, and nothing is lost. Without a hook a signal ends no call.
///
/// A signal that comes after the hook was asked and before the sleep would be too early. `wake_fd` is for that: a
/// descriptor, an eventfd(2) for instance, that the signal handler makes readable. While it is readable no call sleeps,
/// and the hook is asked; the hook reads it empty before it returns false. A negative number is none.
///
/// The hook may use any handle but those of the call that asks it, which is still inside. Neither function may be left by
/// longjmp(3) or a C++ exception.
///
/// SHMPIPE_INVALID: a function is NULL, or `wake_fd` is no open descriptor. Otherwise SHMPIPE_OK: what the calls returned
/// is for `calls` to keep.
///
/// Threads: any; it concerns the calling thread alone. Ownership: `wake_fd` stays the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_interrupt_during(
    hook: Option<unsafe extern "C" fn(hook_argument: *mut c_void) -> bool>,
    hook_argument: *mut c_void,
    wake_fd: c_int,
    calls: Option<unsafe extern "C" fn(calls_argument: *mut c_void)>,
    calls_argument: *mut c_void,
) -> shmpipe_status {
    call(|| {
        let hook = hook.ok_or_else(|| Told::invalid("hook is NULL"))?;
        let calls = calls.ok_or_else(|| Told::invalid("calls is NULL"))?;
        // SAFETY: by the caller.
        let ask = || unsafe { hook(hook_argument) };
        let mut interrupt = Interrupt::new(&ask);
        if wake_fd >= 0 {
            // SAFETY: a number is only asked for.
            if unsafe { libc::fcntl(wake_fd, libc::F_GETFD) } < 0 {
                return Err(Told::invalid(format_args!(
                    "{wake_fd} is not an open descriptor"
                )));
            }
            // SAFETY: open until the call returns, by the caller.
            interrupt = interrupt.woken_by(unsafe { BorrowedFd::borrow_raw(wake_fd) });
        }
        // SAFETY: by the caller.
        interrupt.during(|| unsafe { calls(calls_argument) });
        Ok(())
    })
}
