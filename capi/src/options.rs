//! How a pipe is made.

use std::ffi::{c_char, c_int};
use std::ptr;
use std::time::Duration;

use shmpipe::{Backend, PipeOptions, Spin};

use crate::border::{out, text};
use crate::connection::shmpipe_connection;
use crate::receiver::shmpipe_receiver;
use crate::sender::shmpipe_sender;
use crate::status::{Told, call, shmpipe_status};

/// What carries the bytes of a pipe.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum shmpipe_backend {
    /// None: what a call returns that was given NULL.
    SHMPIPE_NO_BACKEND = 0,
    /// A ring in shared memory (memfd_create(2)) with futex(2) wake-up.
    SHMPIPE_SHARED_MEMORY = 1,
    /// A kernel pipe (pipe(2)).
    SHMPIPE_KERNEL = 2,
}

use shmpipe_backend::*;

impl From<Backend> for shmpipe_backend {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::SharedMemory => SHMPIPE_SHARED_MEMORY,
            Backend::Kernel => SHMPIPE_KERNEL,
            _ => SHMPIPE_NO_BACKEND,
        }
    }
}

/// As `cbindgen.toml` has it.
const SHMPIPE_SPIN_ADAPTIVE: i64 = -1;

/// What a pipe is to be like: capacity, backend, limits.
pub struct shmpipe_options {
    options: PipeOptions,
}

/// Changes `options` by `change`.
///
/// # Safety
///
/// `options` is null or a live handle that nobody else uses.
unsafe fn set(
    options: *mut shmpipe_options,
    change: impl FnOnce(PipeOptions) -> Result<PipeOptions, Told>,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let options =
            unsafe { options.as_mut() }.ok_or_else(|| Told::invalid("options is NULL"))?;
        options.options = change(options.options.clone())?;
        Ok(())
    })
}

/// Makes options with the defaults: 64 KiB for each direction, no limit on a message, the backend from the environment
/// variable SHMPIPE_BACKEND (`shm` or `kernel`) or else shared memory, with kernel pipes as the fall-back where the
/// operating system refuses it.
///
/// Threads: any. Ownership: `*options` is the caller's, to be given to shmpipe_options_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_options_new(options: *mut *mut shmpipe_options) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let options = unsafe { out(options, "options", ptr::null_mut()) }?;
        *options = Box::into_raw(Box::new(shmpipe_options {
            options: PipeOptions::new(),
        }));
        Ok(())
    })
}

/// Frees options and sets `*options` to NULL. NULL in either place does nothing. Pipes that were made with them stay.
///
/// Threads: `*options` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_options_free(options: *mut *mut shmpipe_options) {
    // SAFETY: by the caller.
    unsafe { free(options) };
}

/// Frees what `Box::into_raw` made, and sets the caller's pointer to NULL.
///
/// # Safety
///
/// `handle` is null, or points to null or to such a pointer, which nobody else uses.
pub(crate) unsafe fn free<T>(handle: *mut *mut T) {
    // SAFETY: by the caller.
    let Some(handle) = (unsafe { handle.as_mut() }) else {
        return;
    };
    let old = std::mem::replace(handle, ptr::null_mut());
    if !old.is_null() {
        call(|| {
            // SAFETY: by the caller.
            drop(unsafe { Box::from_raw(old) });
            Ok(())
        });
    }
}

/// Sets how many bytes each direction holds, framing included. The number is rounded up to a power of two of at least
/// one page. Messages may be longer than this, and are then received while they are still being sent.
///
/// Threads: `options` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_options_capacity(
    options: *mut shmpipe_options,
    bytes: usize,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { set(options, |options| Ok(options.capacity(bytes))) }
}

/// Sets the backend, a shmpipe_backend. The choice is strict: SHMPIPE_BACKEND is not read, and where the backend is
/// refused, making the pipe is an error that says why.
///
/// SHMPIPE_INVALID: `backend` is neither SHMPIPE_SHARED_MEMORY nor SHMPIPE_KERNEL.
///
/// Threads: `options` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_options_backend(
    options: *mut shmpipe_options,
    backend: c_int,
) -> shmpipe_status {
    let change = |options: PipeOptions| {
        if backend == SHMPIPE_SHARED_MEMORY as c_int {
            Ok(options.backend(Backend::SharedMemory))
        } else if backend == SHMPIPE_KERNEL as c_int {
            Ok(options.backend(Backend::Kernel))
        } else {
            Err(Told::invalid(format_args!("{backend} is no backend")))
        }
    };
    // SAFETY: by the caller.
    unsafe { set(options, change) }
}

/// Sets the length in bytes over which a send fails with SHMPIPE_TOO_LARGE and sends nothing. Without this call there is
/// no limit. 0 is a limit too, and allows only empty messages. Receivers refuse what is over it: SHMPIPE_CORRUPTED.
///
/// Threads: `options` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_options_max_message(
    options: *mut shmpipe_options,
    bytes: usize,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { set(options, |options| Ok(options.max_message(bytes))) }
}

/// Sets a name that tools like `shmpipe ls` show, in UTF-8. What is not allowed is an error when the pipe is made, with
/// the reason in shmpipe_last_error().
///
/// SHMPIPE_INVALID: NULL, or no UTF-8.
///
/// Threads: `options` by one at a time. Ownership: the text is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_options_label(
    options: *mut shmpipe_options,
    label: *const c_char,
) -> shmpipe_status {
    let change = |options: PipeOptions| {
        // SAFETY: by the caller.
        let label = unsafe { text(label, "label") }?;
        match label.to_str() {
            Ok(label) => Ok(options.label(label)),
            Err(error) => Err(Told::invalid(format_args!("the label: {error}"))),
        }
    };
    // SAFETY: by the caller.
    unsafe { set(options, change) }
}

/// Makes room for messages of up to `len` bytes in place, so that shmpipe_reserve() and shmpipe_recv_in_place() copy none
/// of them to private memory. That takes a capacity of eight times as much; a larger one that was set stays. Only
/// shared memory has messages in place, so there is no fall-back to kernel pipes.
///
/// Threads: `options` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_options_in_place(
    options: *mut shmpipe_options,
    len: usize,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { set(options, |options| Ok(options.in_place(len))) }
}

/// Lets messages carry descriptors: shmpipe_send_with_fds(). Each end is then made of one descriptor more, a connection
/// of two more.
///
/// Threads: `options` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_options_descriptors(
    options: *mut shmpipe_options,
    carry: bool,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { set(options, |options| Ok(options.descriptors(carry))) }
}

/// Makes a receive that could never end an error, SHMPIPE_DEADLOCK: the pipe is empty, and only the calling process
/// holds a sender. It finds a sender that a parent forgot to free after fork(2). It does nothing in a process with
/// any other thread, and concerns the calls that wait without limit.
///
/// Threads: `options` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_options_detect_deadlock(
    options: *mut shmpipe_options,
    detect: bool,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { set(options, |options| Ok(options.detect_deadlock(detect))) }
}

/// Sets how long a blocked call looks before it sleeps: 0 not at all, SHMPIPE_SPIN_ADAPTIVE as long as it has paid
/// lately (the default), another number so many nanoseconds, a millisecond at most.
///
/// SHMPIPE_INVALID: another negative number.
///
/// Threads: `options` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_options_spin(
    options: *mut shmpipe_options,
    nanoseconds: i64,
) -> shmpipe_status {
    let spin = match u64::try_from(nanoseconds) {
        Ok(0) => Ok(Spin::Never),
        Ok(ns) => Ok(Spin::For(Duration::from_nanos(ns))),
        Err(_) if nanoseconds == SHMPIPE_SPIN_ADAPTIVE => Ok(Spin::Adaptive),
        Err(_) => Err(nanoseconds),
    };
    let change = |options: PipeOptions| match spin {
        Ok(spin) => Ok(options.spin(spin)),
        Err(ns) => Err(Told::invalid(format_args!("a spin of {ns} nanoseconds"))),
    };
    // SAFETY: by the caller.
    unsafe { set(options, change) }
}

/// Whether the page tables of a pipe in shared memory are filled when it is made (the default), or as it is used.
///
/// Threads: `options` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_options_prefault(
    options: *mut shmpipe_options,
    fill: bool,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { set(options, |options| Ok(options.prefault(fill))) }
}

/// Makes a pipe in shared memory of huge pages (memfd_create(2), MFD_HUGETLB), or not (the default).
///
/// Threads: `options` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_options_huge_pages(
    options: *mut shmpipe_options,
    huge: bool,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe { set(options, |options| Ok(options.huge_pages(huge))) }
}

/// Leaves the pipe's memory out of the core dumps of all who hold an end (madvise(2), MADV_DONTDUMP), or not (the
/// default).
///
/// Threads: `options` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_options_exclude_from_core_dumps(
    options: *mut shmpipe_options,
    exclude: bool,
) -> shmpipe_status {
    // SAFETY: by the caller.
    unsafe {
        set(options, |options| {
            Ok(options.exclude_from_core_dumps(exclude))
        })
    }
}

/// The options that were given, or the defaults for NULL.
///
/// # Safety
///
/// `options` is null or a live handle that nobody changes meanwhile.
unsafe fn given(options: *const shmpipe_options) -> PipeOptions {
    // SAFETY: by the caller.
    match unsafe { options.as_ref() } {
        Some(options) => options.options.clone(),
        None => PipeOptions::new(),
    }
}

/// Makes a one-way pipe, reader first as pipe(2). NULL for `options` means the defaults. All descriptors are
/// close-on-exec.
///
/// SHMPIPE_INVALID: a capacity of 0 or over 2^40 bytes, a label that is not allowed, or a SHMPIPE_BACKEND in the
/// environment that names no backend. SHMPIPE_IO: shmpipe_last_errno() has ENOMEM where the capacity is beyond the free
/// memory, EMFILE where there are no descriptors left, or what else the system reports. Nothing stays open then.
///
/// Threads: any; nobody changes `options` meanwhile. Ownership: `*rx` and `*tx` are the caller's, to be given to
/// shmpipe_receiver_free() and shmpipe_sender_free(), or to a call that takes them. `options` stays the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_pipe(
    options: *const shmpipe_options,
    rx: *mut *mut shmpipe_receiver,
    tx: *mut *mut shmpipe_sender,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let rx = unsafe { out(rx, "rx", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let tx = unsafe { out(tx, "tx", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let (receiver, sender) = unsafe { given(options) }.pipe()?;
        *rx = shmpipe_receiver::handle(receiver);
        *tx = shmpipe_sender::handle(sender);
        Ok(())
    })
}

/// Makes a two-way pipe: what one connection sends the other receives, and the two directions do not wait for each other.
/// NULL for `options` means the defaults.
///
/// Errors as for shmpipe_pipe().
///
/// Threads: any; nobody changes `options` meanwhile. Ownership: `*left` and `*right` are the caller's, to be given to
/// shmpipe_connection_free() or to a call that takes them. `options` stays the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_duplex(
    options: *const shmpipe_options,
    left: *mut *mut shmpipe_connection,
    right: *mut *mut shmpipe_connection,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let left = unsafe { out(left, "left", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let right = unsafe { out(right, "right", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let (one, other) = unsafe { given(options) }.duplex()?;
        *left = shmpipe_connection::handle(one);
        *right = shmpipe_connection::handle(other);
        Ok(())
    })
}
