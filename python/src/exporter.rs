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
}

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
    /// - So many bytes are there until [`is_lent`](Self::is_lent) was false and no further view was made.
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

    /// Whether some view is left: one that was not released, or what was made of one.
    pub(crate) fn is_lent(&self, _py: Python<'_>) -> bool {
        // SAFETY: an object of the type, with the GIL.
        let exporter = unsafe { &*self.0.as_ptr().cast::<Object>() };
        exporter.lent > 0
    }
}
