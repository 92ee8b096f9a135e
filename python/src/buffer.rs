//! Memory of Python objects by the buffer protocol (PEP 3118).
//!
//! The protocol is in the stable ABI since Python 3.11, with the layout and the functions that 3.10 has; so they are
//! declared here for an extension that is built for 3.10 on.

use std::ffi::{c_char, c_int, c_void};
use std::{mem, ptr, slice};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;

#[repr(C)]
pub(crate) struct PyBuffer {
    buf: *mut c_void,
    pub(crate) obj: *mut PyObject,
    len: Py_ssize_t,
    itemsize: Py_ssize_t,
    readonly: c_int,
    ndim: c_int,
    format: *mut c_char,
    shape: *mut Py_ssize_t,
    strides: *mut Py_ssize_t,
    suboffsets: *mut Py_ssize_t,
    internal: *mut c_void,
}

unsafe extern "C" {
    fn PyObject_GetBuffer(obj: *mut PyObject, view: *mut PyBuffer, flags: c_int) -> c_int;
    fn PyBuffer_Release(view: *mut PyBuffer);
}

const SIMPLE: c_int = 0;
const WRITABLE: c_int = 1;

/// The contiguous bytes of an object, which stay where they are until this is dropped; with the GIL.
pub(crate) struct Bytes(Box<PyBuffer>);

// SAFETY: the bytes may be looked at from anywhere; it is dropped by who has the GIL, as its doc says.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

impl Bytes {
    /// # Errors
    ///
    /// `TypeError` for an object without contiguous bytes.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::get(object, SIMPLE).map_err(|error| as_type_error(object.py(), error))
    }

    /// # Errors
    ///
    /// `TypeError` for an object without contiguous bytes that can be written.
    pub(crate) fn writable(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::get(object, WRITABLE).map_err(|error| as_type_error(object.py(), error))
    }

    fn get(object: &Bound<'_, PyAny>, flags: c_int) -> PyResult<Self> {
        // SAFETY: the struct is plain numbers and pointers, for which zeros are values.
        let mut view: Box<PyBuffer> = Box::new(unsafe { mem::zeroed() });
        // SAFETY: a live object and a struct of the layout that the function fills.
        match unsafe { PyObject_GetBuffer(object.as_ptr(), &raw mut *view, flags) } {
            0 => Ok(Self(view)),
            _ => Err(PyErr::fetch(object.py())),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        if self.0.len == 0 {
            return &[];
        }
        // SAFETY: the exporter keeps so many bytes there until the release. What Python code writes into them meanwhile
        // is only copied, and no decision here rests on it.
        unsafe { slice::from_raw_parts(self.0.buf.cast(), self.0.len as usize) }
    }

    /// The bytes of an object that was asked for [`writable`](Self::writable) ones.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        if self.0.len == 0 {
            return &mut [];
        }
        assert_eq!(self.0.readonly, 0, "only for writable bytes");
        // SAFETY: as for `as_slice`, and the exporter agreed to writes.
        unsafe { slice::from_raw_parts_mut(self.0.buf.cast(), self.0.len as usize) }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        // SAFETY: filled by the get function, and released once.
        unsafe { PyBuffer_Release(&raw mut *self.0) };
    }
}

/// A refusal for the kind of object, which exporters report as `BufferError` or `ValueError`.
fn as_type_error(py: Python<'_>, error: PyErr) -> PyErr {
    if error.is_instance_of::<PyTypeError>(py) {
        return error;
    }
    PyTypeError::new_err(error.value(py).to_string())
}

/// A new `bytes` of this length and its memory, which is not initialised.
///
/// # Errors
///
/// `MemoryError`.
pub(crate) fn new_bytes(py: Python<'_>, len: usize) -> PyResult<(Py<PyAny>, Room)> {
    // SAFETY: the GIL is held; a null pointer asks for memory alone.
    let object = unsafe { ffi::PyBytes_FromStringAndSize(ptr::null(), len as Py_ssize_t) };
    // SAFETY: a new reference or null with an exception set.
    let object = unsafe { Bound::from_owned_ptr_or_err(py, object) }?;
    // SAFETY: a `bytes`.
    let memory = unsafe { ffi::PyBytes_AsString(object.as_ptr()) };
    Ok((
        object.unbind(),
        Room {
            memory: memory.cast(),
            len,
        },
    ))
}

/// As [`new_bytes`], a `bytearray`.
///
/// # Errors
///
/// As there.
pub(crate) fn new_bytearray(py: Python<'_>, len: usize) -> PyResult<(Py<PyAny>, Room)> {
    // SAFETY: the GIL is held; a null pointer asks for memory alone.
    let object = unsafe { ffi::PyByteArray_FromStringAndSize(ptr::null(), len as Py_ssize_t) };
    // SAFETY: a new reference or null with an exception set.
    let object = unsafe { Bound::from_owned_ptr_or_err(py, object) }?;
    // SAFETY: a `bytearray`.
    let memory = unsafe { ffi::PyByteArray_AsString(object.as_ptr()) };
    Ok((
        object.unbind(),
        Room {
            memory: memory.cast(),
            len,
        },
    ))
}

/// The memory of a new object that nobody else has yet.
pub(crate) struct Room {
    memory: *mut u8,
    len: usize,
}

// SAFETY: a pointer to memory that one thread fills.
unsafe impl Send for Room {}

impl Room {
    /// # Safety
    ///
    /// - The object lives as long as the slice.
    /// - Nobody else looks at its bytes meanwhile, and this is called once.
    /// - The slice is only written.
    pub(crate) unsafe fn as_mut_slice<'a>(&self) -> &'a mut [u8] {
        if self.len == 0 {
            return &mut [];
        }
        // SAFETY: by the caller; the object was made with so many bytes.
        unsafe { slice::from_raw_parts_mut(self.memory, self.len) }
    }
}

impl Room {
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}
