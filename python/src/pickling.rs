//! Objects to bytes and back, by the standard library's picklers.
//!
//! Objects of builtin types go through plain `pickle.dumps`: the reducers of `ForkingPickler` concern others only.
//! Those have a `ForkingPickler` that is used again and again, which writes into a [`Sink`]: so a long `bytes` is not
//! copied, and buffers of protocol 5 go out of band.

use std::io::IoSlice;
use std::ptr;

use pyo3::exceptions::PyKeyError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::buffer::Bytes;
use crate::connection::COPIED_WITH_GIL;
use crate::gil::Gil;
use crate::message::{self, OUT_OF_BAND, Parts};

/// The pickle protocol that messages have, the first with buffers out of band.
const PROTOCOL: u8 = 5;

/// Objects up to so many are looked at to find out that they are of builtin types.
const LOOKED_AT: usize = 24;
const DEPTH: usize = 4;

/// Length from which on plain pickling copies no `bytes` and no `str`.
const COPIED: ffi::Py_ssize_t = OUT_OF_BAND as ffi::Py_ssize_t;

struct Picklers {
    dumps: Py<PyAny>,
    loads: Py<PyAny>,
    protocol: Py<PyAny>,
    /// Of `multiprocessing.connection`, whose `_ForkingPickler` programs replace.
    connection: Py<PyAny>,
    /// The one that it has by itself.
    forking: Py<PyAny>,
    idle: Gil<Vec<Reused>>,
}

struct Reused {
    dump: Py<PyAny>,
    clear_memo: Py<PyAny>,
    sink: Py<Sink>,
}

static PICKLERS: PyOnceLock<Picklers> = PyOnceLock::new();

fn picklers(py: Python<'_>) -> PyResult<&'static Picklers> {
    PICKLERS.get_or_try_init(py, || {
        let pickle = py.import("pickle")?;
        Ok(Picklers {
            dumps: pickle.getattr("dumps")?.unbind(),
            loads: pickle.getattr("loads")?.unbind(),
            protocol: PROTOCOL.into_pyobject(py)?.into_any().unbind(),
            connection: py.import("multiprocessing.connection")?.into_any().unbind(),
            forking: py
                .import("multiprocessing.reduction")?
                .getattr("ForkingPickler")?
                .unbind(),
            idle: Gil::new(Vec::new()),
        })
    })
}

/// What a pickler writes to.
#[pyclass(frozen, module = "shmpipe._shmpipe")]
pub(crate) struct Sink(Gil<Collected>);

#[derive(Default)]
struct Collected {
    pieces: Vec<Bytes>,
    buffers: Vec<Bytes>,
}

#[pymethods]
impl Sink {
    fn write(&self, piece: &Bound<'_, PyAny>) -> PyResult<()> {
        let bytes = Bytes::of(piece)?;
        self.0
            .with(piece.py(), |collected| collected.pieces.push(bytes));
        Ok(())
    }

    /// Takes a buffer out of band, or says that it is to be in the pickle.
    fn keep(&self, buffer: &Bound<'_, PyAny>) -> PyResult<bool> {
        let raw = buffer.call_method0(intern!(buffer.py(), "raw"))?;
        let bytes = Bytes::of(&raw)?;
        if bytes.as_slice().len() < OUT_OF_BAND {
            return Ok(true);
        }
        self.0
            .with(buffer.py(), |collected| collected.buffers.push(bytes));
        Ok(false)
    }
}

/// The reducers that a `ForkingPickler` looks classes up in, as they are at each look: those registered with it, then those
/// of `copyreg`. A pickler by itself has a copy of both from its beginning, and is used here again after more were registered.
#[pyclass(frozen, module = "shmpipe._shmpipe")]
struct Reducers {
    registered: Py<PyDict>,
    copyreg: Py<PyDict>,
}

#[pymethods]
impl Reducers {
    fn __getitem__<'py>(&self, class: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = class.py();
        for reducers in [&self.registered, &self.copyreg] {
            if let Some(reducer) = reducers.bind(py).get_item(class)? {
                return Ok(reducer);
            }
        }
        Err(PyKeyError::new_err(class.clone().unbind()))
    }
}

impl Reducers {
    /// `None` where the class keeps them in another form.
    fn of(class: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let py = class.py();
        let registered = class.getattr(intern!(py, "_extra_reducers"))?;
        let copyreg = py.import("copyreg")?.getattr("dispatch_table")?;
        let (Ok(registered), Ok(copyreg)) = (
            registered.cast_into_exact::<PyDict>(),
            copyreg.cast_into_exact::<PyDict>(),
        ) else {
            return Ok(None);
        };
        Ok(Some(Self {
            registered: registered.unbind(),
            copyreg: copyreg.unbind(),
        }))
    }
}

/// A pickled object.
pub(crate) enum Pickled<'py> {
    /// In one piece.
    Whole(Bound<'py, PyAny>),
    /// In several, with the trailer where there are buffers out of band.
    Pieces(Pieces),
}

pub(crate) struct Pieces {
    collected: Collected,
    trailer: Vec<u8>,
}

impl Pieces {
    pub(crate) fn slices(&self) -> Vec<IoSlice<'_>> {
        let Collected { pieces, buffers } = &self.collected;
        let mut slices = Vec::with_capacity(pieces.len() + 2 * buffers.len() + 1);
        for buffer in buffers {
            slices.push(IoSlice::new(buffer.as_slice()));
            slices.push(IoSlice::new(message::padding(buffer.as_slice().len())));
        }
        slices.extend(pieces.iter().map(|piece| IoSlice::new(piece.as_slice())));
        slices.push(IoSlice::new(&self.trailer));
        slices
    }
}

/// The pickle of an object whose pickling runs no code of others and copies little; `None` for any other object.
///
/// # Errors
///
/// `MemoryError`.
pub(crate) fn dumps_plain<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    if !is_plain(object.as_ptr(), &mut LOOKED_AT.clone(), DEPTH) {
        return Ok(None);
    }
    let picklers = picklers(object.py())?;
    call_2(&picklers.dumps, object, &picklers.protocol).map(Some)
}

/// The message of a short object of builtin types, whose pickling runs no code of others; `None` for any other object.
///
/// # Errors
///
/// `MemoryError`.
#[pyfunction]
#[pyo3(name = "_plain_message")]
pub(crate) fn plain_message<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let Some(pickle) = dumps_plain(obj)? else {
        return Ok(None);
    };
    let pickle = pickle.cast_into_exact::<PyBytes>()?;
    let message = pickle.as_bytes();
    let is_short = message.len() <= COPIED_WITH_GIL && !message::has_trailer(message);
    Ok(is_short.then_some(pickle))
}

/// # Errors
///
/// What pickling raises.
pub(crate) fn dumps<'py>(object: &Bound<'py, PyAny>) -> PyResult<Pickled<'py>> {
    let py = object.py();
    let picklers = picklers(py)?;
    if let Some(pickle) = dumps_plain(object)? {
        return Ok(Pickled::Whole(pickle));
    }
    let class = picklers
        .connection
        .bind(py)
        .getattr(intern!(py, "_ForkingPickler"))?;
    if !class.is(&picklers.forking) {
        return Ok(Pickled::Whole(
            class.call_method1(intern!(py, "dumps"), (object,))?,
        ));
    }
    let reused = match picklers.idle.with(py, Vec::pop) {
        Some(reused) => reused,
        None => Reused::new(&class)?,
    };
    // One that failed has a memo and pieces of what failed, and is dropped.
    reused.dump.call1(py, (object,))?;
    reused.clear_memo.call0(py)?;
    let collected = reused.sink.get().0.with(py, std::mem::take);
    picklers.idle.with(py, |idle| idle.push(reused));
    let trailer = if collected.buffers.is_empty() {
        Vec::new()
    } else {
        let lengths = collected
            .buffers
            .iter()
            .map(|buffer| buffer.as_slice().len());
        let pickle = collected
            .pieces
            .iter()
            .map(|piece| piece.as_slice().len())
            .sum();
        message::trailer(lengths, pickle)
    };
    Ok(Pickled::Pieces(Pieces { collected, trailer }))
}

impl Reused {
    fn new(class: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = class.py();
        let sink = Bound::new(py, Sink(Gil::new(Collected::default())))?;
        let keep = sink.getattr("keep")?;
        let pickler = class.call1((&sink, PROTOCOL, true, keep))?;
        if let Some(reducers) = Reducers::of(class)? {
            pickler.setattr("dispatch_table", Bound::new(py, reducers)?)?;
        }
        Ok(Self {
            dump: pickler.getattr("dump")?.unbind(),
            clear_memo: pickler.getattr("clear_memo")?.unbind(),
            sink: sink.unbind(),
        })
    }
}

/// Makes the object of a message again, which is a `bytes` or a `bytearray`.
///
/// # Errors
///
/// What unpickling raises.
pub(crate) fn loads<'py>(message: &Bound<'py, PyAny>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let picklers = picklers(message.py())?;
    match message::parts(bytes) {
        None => call_1(&picklers.loads, message),
        Some(parts) => loads_parts(picklers, message, parts),
    }
}

#[cold]
fn loads_parts<'py>(
    picklers: &Picklers,
    message: &Bound<'py, PyAny>,
    Parts { pickle, buffers }: Parts,
) -> PyResult<Bound<'py, PyAny>> {
    let py = message.py();
    // SAFETY: a live object.
    let view = unsafe { ffi::PyMemoryView_FromObject(message.as_ptr()) };
    // SAFETY: a new reference or null with an exception set.
    let view = unsafe { Bound::from_owned_ptr_or_err(py, view) }?;
    let part = |range: std::ops::Range<usize>| {
        view.get_item(pyo3::types::PySlice::new(
            py,
            range.start as isize,
            range.end as isize,
            1,
        ))
    };
    let buffers = buffers
        .into_iter()
        .map(part)
        .collect::<PyResult<Vec<_>>>()?;
    let named = PyDict::new(py);
    named.set_item(intern!(py, "buffers"), PyList::new(py, buffers)?)?;
    picklers.loads.bind(py).call((part(pickle)?,), Some(&named))
}

/// Whether an object consists of builtin types only, no long `bytes` or `str` among them, as far as a short look shows.
fn is_plain(object: *mut ffi::PyObject, left: &mut usize, depth: usize) -> bool {
    if *left == 0 || depth == 0 {
        return false;
    }
    *left -= 1;
    // SAFETY: a live object, with the GIL.
    let kind = unsafe { ffi::Py_TYPE(object) };
    let is = |other: *mut ffi::PyTypeObject| kind == other;
    if is(&raw mut ffi::PyLong_Type)
        || is(&raw mut ffi::PyFloat_Type)
        || is(&raw mut ffi::PyBool_Type)
        // SAFETY: with the GIL; the object lives for ever.
        || object == unsafe { ffi::Py_None() }
    {
        return true;
    }
    if is(&raw mut ffi::PyUnicode_Type) {
        // SAFETY: a `str`.
        return unsafe { ffi::PyUnicode_GetLength(object) } < COPIED;
    }
    if is(&raw mut ffi::PyBytes_Type) {
        // SAFETY: a `bytes`.
        return unsafe { ffi::PyBytes_Size(object) } < COPIED;
    }
    if is(&raw mut ffi::PyTuple_Type) {
        // SAFETY: a tuple.
        let len = unsafe { ffi::PyTuple_Size(object) };
        return (0..len).all(|index| {
            // SAFETY: a tuple and an index within it; the reference is borrowed from it.
            let item = unsafe { ffi::PyTuple_GetItem(object, index) };
            is_plain(item, left, depth - 1)
        });
    }
    if is(&raw mut ffi::PyList_Type) {
        // SAFETY: a list.
        let len = unsafe { ffi::PyList_Size(object) };
        return (0..len).all(|index| {
            // SAFETY: a list and an index within it, since no code runs that could shorten it.
            let item = unsafe { ffi::PyList_GetItem(object, index) };
            is_plain(item, left, depth - 1)
        });
    }
    if is(&raw mut ffi::PyDict_Type) {
        let mut place = 0;
        let (mut key, mut value) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: a dictionary that no code changes meanwhile.
        while unsafe { ffi::PyDict_Next(object, &mut place, &mut key, &mut value) } != 0 {
            if !is_plain(key, left, depth - 1) || !is_plain(value, left, depth - 1) {
                return false;
            }
        }
        return true;
    }
    false
}

/// Calls without a tuple for the arguments.
fn call_1<'py>(function: &Py<PyAny>, argument: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let end = ptr::null_mut::<ffi::PyObject>();
    // SAFETY: live objects and the null that ends the list.
    let result =
        unsafe { ffi::PyObject_CallFunctionObjArgs(function.as_ptr(), argument.as_ptr(), end) };
    // SAFETY: a new reference or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(argument.py(), result) }
}

/// As [`call_1`].
fn call_2<'py>(
    function: &Py<PyAny>,
    first: &Bound<'py, PyAny>,
    second: &Py<PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let end = ptr::null_mut::<ffi::PyObject>();
    // SAFETY: live objects and the null that ends the list.
    let result = unsafe {
        ffi::PyObject_CallFunctionObjArgs(function.as_ptr(), first.as_ptr(), second.as_ptr(), end)
    };
    // SAFETY: a new reference or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(first.py(), result) }
}
