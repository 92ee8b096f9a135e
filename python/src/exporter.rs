//! An object that lends memory by the buffer protocol and counts who has it.
//!
//! PyO3 leaves the protocol out where it builds for Python 3.10, whose type slots for it have the numbers that are stable
//! since 3.11; so the type is made here by hand.

use std::ffi::{c_int, c_void};
use std::ptr;

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::buffer::PyBuffer;

/// Numbers of type slots.
const GET_BUFFER: c_int = 1;
const RELEASE_BUFFER: c_int = 2;

#[repr(C)]
struct Object {
    head: PyObject,
    memory: *mut u8,
    len: Py_ssize_t,
    is_readonly: c_int,
    lent: usize,
    /// Whether no more views are made.
    is_over: bool,
    /// What to do when nothing is lent any more; null for nothing. Thin, since the zeros of a new object are a value.
    after: *mut After,
}

/// What the end of the last view is waited for with.
struct After(Box<dyn FnOnce() + Send>);

unsafe extern "C" {
    fn PyBuffer_FillInfo(
        view: *mut PyBuffer,
        exporter: *mut PyObject,
        memory: *mut c_void,
        len: Py_ssize_t,
        readonly: c_int,
        flags: c_int,
    ) -> c_int;
}

unsafe extern "C" fn get_buffer(object: *mut PyObject, view: *mut PyBuffer, flags: c_int) -> c_int {
    // SAFETY: called for objects of the type alone, with the GIL.
    let exporter = unsafe { &mut *object.cast::<Object>() };
    if exporter.is_over {
        // SAFETY: what the caller gave; null says that there is nothing to release.
        unsafe { (*view).obj = ptr::null_mut() };
        let text = c"the block of this message is over";
        // SAFETY: set for as long as the interpreter runs.
        let kind = unsafe { ffi::PyExc_BufferError };
        // SAFETY: a live object and a zero-terminated text.
        unsafe { ffi::PyErr_SetString(kind, text.as_ptr()) };
        return -1;
    }
    let (memory, len) = (exporter.memory.cast(), exporter.len);
    // SAFETY: what the caller gave, and the memory that the loan keeps.
    let outcome =
        unsafe { PyBuffer_FillInfo(view, object, memory, len, exporter.is_readonly, flags) };
    exporter.lent += usize::from(outcome == 0);
    outcome
}

unsafe extern "C" fn release_buffer(object: *mut PyObject, _view: *mut PyBuffer) {
    // SAFETY: called for objects of the type alone, with the GIL.
    let exporter = unsafe { &mut *object.cast::<Object>() };
    exporter.lent -= 1;
    if exporter.lent == 0 && !exporter.after.is_null() {
        exporter.is_over = true;
        let after = std::mem::replace(&mut exporter.after, ptr::null_mut());
        // SAFETY: made by `end_when_unused`, and taken out.
        let After(after) = *unsafe { Box::from_raw(after) };
        after();
    }
}

unsafe extern "C" fn dealloc(object: *mut PyObject) {
    // SAFETY: a live object; its type is one that is on the heap, to which it holds a reference.
    let kind = unsafe { ffi::Py_TYPE(object) };
    // SAFETY: the object is of no more use.
    unsafe { ffi::PyObject_Free(object.cast()) };
    // SAFETY: the reference of the object.
    unsafe { ffi::Py_DecRef(kind.cast()) };
}

static TYPE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn exporter_type(py: Python<'_>) -> PyResult<&'static Py<PyAny>> {
    TYPE.get_or_try_init(py, || {
        let slot = |slot, function: *mut c_void| ffi::PyType_Slot {
            slot,
            pfunc: function,
        };
        let mut slots = [
            slot(GET_BUFFER, get_buffer as *mut c_void),
            slot(RELEASE_BUFFER, release_buffer as *mut c_void),
            slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
            slot(0, ptr::null_mut()),
        ];
        let mut spec = ffi::PyType_Spec {
            name: c"shmpipe._shmpipe.Memory".as_ptr(),
            basicsize: size_of::<Object>() as c_int,
            itemsize: 0,
            flags: ffi::Py_TPFLAGS_DEFAULT as _,
            slots: slots.as_mut_ptr(),
        };
        // SAFETY: a description whose name lives for ever and whose slots end in a zero.
        let made = unsafe { ffi::PyType_FromSpec(&raw mut spec) };
        // SAFETY: a new reference or null with an exception set.
        Ok(unsafe { Bound::from_owned_ptr_or_err(py, made) }?.unbind())
    })
}

/// Memory on loan to Python objects.
pub(crate) struct Exporter(Py<PyAny>);

impl Exporter {
    /// # Errors
    ///
    /// `MemoryError`.
    ///
    /// # Safety
    ///
    /// - So many bytes are there until [`end`](Self::end) was true, or what `end_when_unused` was given is called.
    /// - They may be written, unless they are read-only.
    pub(crate) unsafe fn new(
        py: Python<'_>,
        memory: *mut u8,
        len: usize,
        is_readonly: bool,
    ) -> PyResult<Self> {
        let kind = exporter_type(py)?.as_ptr().cast();
        // SAFETY: a type whose objects have the size that it says.
        let made = unsafe { ffi::PyType_GenericAlloc(kind, 0) };
        // SAFETY: a new reference or null with an exception set.
        let object = unsafe { Bound::from_owned_ptr_or_err(py, made) }?;
        // SAFETY: an object of the type, which nobody else has yet.
        let exporter = unsafe { &mut *object.as_ptr().cast::<Object>() };
        exporter.memory = memory;
        exporter.len = len as Py_ssize_t;
        exporter.is_readonly = c_int::from(is_readonly);
        Ok(Self(object.unbind()))
    }

    /// A memoryview of the memory.
    ///
    /// # Errors
    ///
    /// `MemoryError`.
    pub(crate) fn view(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        // SAFETY: a live object.
        let view = unsafe { ffi::PyMemoryView_FromObject(self.0.as_ptr()) };
        // SAFETY: a new reference or null with an exception set.
        Ok(unsafe { Bound::from_owned_ptr_or_err(py, view) }?.unbind())
    }

    /// Ends the loan, unless some view is left: one that was not released, or what was made of one. From then on nobody
    /// gets another view of the memory, though the object may still be had by `memoryview.obj`.
    pub(crate) fn end(&self, _py: Python<'_>) -> bool {
        // SAFETY: an object of the type, with the GIL.
        let exporter = unsafe { &mut *self.0.as_ptr().cast::<Object>() };
        exporter.is_over |= exporter.lent == 0;
        exporter.is_over
    }

    /// Ends the loan when the last view is gone, and then does `after`, with the GIL.
    pub(crate) fn end_when_unused(self, py: Python<'_>, after: impl FnOnce() + Send + 'static) {
        if self.end(py) {
            return after();
        }
        // SAFETY: an object of the type, with the GIL.
        let exporter = unsafe { &mut *self.0.as_ptr().cast::<Object>() };
        exporter.after = Box::into_raw(Box::new(After(Box::new(after))));
    }
}
