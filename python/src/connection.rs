//! The class that the Python half's `Connection` is made of.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use shmpipe::{Receiver, RecvError, SendError, Sender, TryRecvError, TrySendError};

use crate::blocking::blocking;
use crate::buffer::{Bytes, Room, new_bytearray, new_bytes};
use crate::errors::{closed, of_io, of_recv, of_send, of_try_recv, of_try_send};
use crate::gil::Gil;
use crate::half::Half;
use crate::loans::{InPlace, Reservation};
use crate::message::{OUT_OF_BAND, has_trailer, parts, trailer};
use crate::pickling::{Pickled, Pieces, dumps, loads};
use crate::pipe::Seed;
use crate::waiting;

/// Bytes up to which a copy is worth no release of the GIL.
const COPIED_WITH_GIL: usize = 32 << 10;

/// Messages that `send_many` sends at a time.
const RUN: usize = 64;

#[pyclass(frozen, subclass, weakref, module = "shmpipe._shmpipe")]
pub(crate) struct Core(Gil<State>);

struct State {
    receiver: Option<Half<Receiver>>,
    sender: Option<Half<Sender>>,
    is_open: bool,
    is_readable: bool,
    is_writable: bool,
}

impl State {
    fn receiver(&mut self) -> PyResult<&mut Half<Receiver>> {
        if !self.is_open {
            return Err(closed());
        }
        match &mut self.receiver {
            Some(half) if self.is_readable => Ok(half),
            _ => Err(PyOSError::new_err("connection is write-only")),
        }
    }

    fn sender(&mut self) -> PyResult<&mut Half<Sender>> {
        if !self.is_open {
            return Err(closed());
        }
        self.sender.as_mut().ok_or_else(|| PyOSError::new_err("connection is read-only"))
    }
}

/// What a message is received as.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    /// A `bytes`.
    Bytes,
    /// What can be unpickled: a `bytearray` where there can be buffers in it, which are to be written to.
    Pickle,
}

impl Wanted {
    fn object(self, py: Python<'_>, len: usize) -> PyResult<(Py<PyAny>, Room)> {
        match self {
            Self::Pickle if len >= OUT_OF_BAND => new_bytearray(py, len),
            _ => new_bytes(py, len),
        }
    }
}

/// The object of a message of this length.
#[inline]
fn filled<'py>(
    py: Python<'py>,
    (object, room): (Py<PyAny>, Room),
    len: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let object = object.into_bound(py);
    if len == room.len() {
        return Ok(object);
    }
    // Another receiver was faster, and this is the shorter message behind the one that was measured.
    object.get_item(pyo3::types::PySlice::new(py, 0, len as isize, 1))
}

impl Core {
    pub(crate) fn lend_receiver(&self, py: Python<'_>) -> PyResult<Box<Receiver>> {
        self.0.with(py, |state| state.receiver()?.lend().map_err(of_io))
    }

    pub(crate) fn give_back_receiver(&self, py: Python<'_>, handle: Box<Receiver>) {
        // Of a connection that was closed meanwhile, the last handle is dropped here.
        let dropped = self.0.with(py, |state| match &mut state.receiver {
            Some(half) => {
                half.give_back(handle);
                None
            }
            None => Some(handle),
        });
        drop(dropped);
    }

    pub(crate) fn lend_sender(&self, py: Python<'_>) -> PyResult<Box<Sender>> {
        self.0.with(py, |state| state.sender()?.lend().map_err(of_io))
    }

    pub(crate) fn give_back_sender(&self, py: Python<'_>, handle: Box<Sender>) {
        let dropped = self.0.with(py, |state| match &mut state.sender {
            Some(half) => {
                half.give_back(handle);
                None
            }
            None => Some(handle),
        });
        drop(dropped);
    }

    fn sending<R: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&mut Sender) -> Result<R, SendError> + Send,
    ) -> PyResult<R> {
        let mut handle = self.lend_sender(py)?;
        let outcome = blocking(py, || call(&mut handle));
        self.give_back_sender(py, handle);
        outcome?.map_err(of_send)
    }

    #[inline]
    fn send_slice(&self, py: Python<'_>, message: &[u8]) -> PyResult<()> {
        if has_trailer(message) {
            let trailer = trailer([].into_iter(), message.len());
            return self.sending(py, |sender| {
                sender.send_vectored(&[std::io::IoSlice::new(message), std::io::IoSlice::new(&trailer)])
            });
        }
        let is_sent = message.len() <= COPIED_WITH_GIL
            && self.0.with(py, |state| {
                let sender = state.sender()?.idle().map_err(of_io)?;
                sender.send_fast(message).map_err(of_send)
            })?;
        if is_sent {
            return Ok(());
        }
        self.sending(py, |sender| sender.send(message))
    }

    fn send_pieces(&self, py: Python<'_>, pieces: &Pieces) -> PyResult<()> {
        let slices = pieces.slices();
        if slices.iter().map(|slice| slice.len()).sum::<usize>() <= COPIED_WITH_GIL {
            let is_sent = self.0.with(py, |state| {
                let sender = state.sender()?.idle().map_err(of_io)?;
                Ok::<_, PyErr>(sender.try_send_vectored(&slices).is_ok())
            })?;
            if is_sent {
                return Ok(());
            }
        }
        self.sending(py, |sender| sender.send_vectored(&slices))
    }

    /// A message if there is one for the taking.
    #[inline]
    fn receive_fast<'py>(
        &self,
        py: Python<'py>,
        wanted: Wanted,
        max: usize,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut made = None;
        let mut is_too_long = false;
        let received = self.0.with(py, |state| {
            let receiver = state.receiver()?.idle().map_err(of_io)?;
            Ok::<_, PyErr>(receiver.recv_fast_with(|len| {
                is_too_long = len > max;
                if is_too_long || len > COPIED_WITH_GIL {
                    return None;
                }
                let (_, room) = made.insert(wanted.object(py, len).ok()?);
                // SAFETY: the object is new, and `made` keeps it until the copy is made.
                Some(unsafe { room.as_mut_slice() })
            }))
        })?;
        match (received, made) {
            (Some(len), Some(made)) => Ok(Some(filled(py, made, len)?)),
            _ if is_too_long => Err(bad_length()),
            _ => Ok(None),
        }
    }

    fn receive<'py>(
        &self,
        py: Python<'py>,
        wanted: Wanted,
        max: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.receive_fast(py, wanted, max)? {
            Some(message) => Ok(message),
            None => self.receive_slow(py, wanted, max),
        }
    }

    #[cold]
    fn receive_slow<'py>(
        &self,
        py: Python<'py>,
        wanted: Wanted,
        max: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut handle = self.lend_receiver(py)?;
        let outcome = blocking(py, || {
            let mut small = Vec::new();
            let mut large: Option<PyResult<(Py<PyAny>, Room)>> = None;
            let outcome = handle.recv_with(|len| {
                if len > max {
                    return None;
                }
                if len < OUT_OF_BAND {
                    small.resize(len, 0);
                    return Some(&mut small[..]);
                }
                let made = large.insert(Python::attach(|py| wanted.object(py, len)));
                let (_, room) = made.as_ref().ok()?;
                // SAFETY: the object is new, and `large` keeps it until the call is over.
                Some(unsafe { room.as_mut_slice() })
            });
            (outcome, small, large)
        });
        self.give_back_receiver(py, handle);
        let (outcome, small, large) = outcome?;
        let large = large.transpose()?;
        let len = match outcome {
            Ok(len) => len,
            Err(RecvError::BufferTooSmall { needed }) if needed > max => return Err(bad_length()),
            Err(error) => return Err(of_recv(error)),
        };
        match large {
            Some(made) => filled(py, made, len),
            None => Ok(PyBytes::new(py, &small[..len]).into_any()),
        }
    }

    /// After a message that is longer than the caller allows.
    fn refuse_length(&self, py: Python<'_>, error: PyErr) -> PyErr {
        if error.get_type(py).is(py.get_type::<BadLength>()) {
            let is_writable = self.0.with(py, |state| {
                state.is_readable = false;
                state.is_writable
            });
            if !is_writable {
                self.close(py);
            }
            return PyOSError::new_err("bad message length");
        }
        error
    }
}

/// The object that a received message is the pickle of.
#[inline]
fn object_of<'py>(message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    match message.cast_exact::<PyBytes>() {
        Ok(bytes) => loads(message, bytes.as_bytes()),
        Err(_) => loads(message, Bytes::of(message)?.as_slice()),
    }
}

pyo3::create_exception!(shmpipe, BadLength, PyOSError);

fn bad_length() -> PyErr {
    BadLength::new_err(())
}

#[pymethods]
impl Core {
    #[new]
    #[pyo3(signature = (seed))]
    fn new(py: Python<'_>, seed: &Seed) -> PyResult<Self> {
        let (receiver, sender) = seed.take(py)?;
        Ok(Self(Gil::new(State {
            is_open: true,
            is_readable: receiver.is_some(),
            is_writable: sender.is_some(),
            receiver: receiver.map(Half::new),
            sender: sender.map(Half::new),
        })))
    }

    /// Sends an object that can be pickled, blocking while the pipe is full.
    fn send(&self, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = obj.py();
        self.0.with(py, |state| state.sender().map(drop))?;
        match dumps(obj)? {
            Pickled::Whole(pickle) => match pickle.cast_exact::<PyBytes>() {
                Ok(pickle) => self.send_slice(py, pickle.as_bytes()),
                Err(_) => self.send_slice(py, Bytes::of(&pickle)?.as_slice()),
            },
            Pickled::Pieces(pieces) => self.send_pieces(py, &pieces),
        }
    }

    /// Receives an object, blocking while the pipe is empty.
    fn recv<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let message = self.receive(py, Wanted::Pickle, usize::MAX)?;
        object_of(&message)
    }

    /// Sends bytes as one message, blocking while the pipe is full.
    #[pyo3(signature = (buf, offset=0, size=None))]
    fn send_bytes(&self, buf: &Bound<'_, PyAny>, offset: isize, size: Option<isize>) -> PyResult<()> {
        let py = buf.py();
        if offset == 0
            && size.is_none()
            && let Ok(bytes) = buf.cast_exact::<PyBytes>()
        {
            return self.send_slice(py, bytes.as_bytes());
        }
        self.0.with(py, |state| state.sender().map(drop))?;
        let bytes = Bytes::of(buf)?;
        let all = bytes.as_slice();
        let value_error = |text: &'static str| Err(PyValueError::new_err(text));
        let Ok(offset) = usize::try_from(offset) else {
            return value_error("offset is negative");
        };
        let Some(rest) = all.get(offset..) else {
            return value_error("buffer length < offset");
        };
        let message = match size.map(usize::try_from) {
            None => rest,
            Some(Err(_)) => return value_error("size is negative"),
            Some(Ok(size)) if size > rest.len() => {
                return value_error("buffer length < offset + size");
            }
            Some(Ok(size)) => &rest[..size],
        };
        self.send_slice(py, message)
    }

    /// Receives a message as `bytes`, blocking while the pipe is empty.
    #[pyo3(signature = (maxlength=None))]
    fn recv_bytes<'py>(&self, py: Python<'py>, maxlength: Option<i128>) -> PyResult<Bound<'py, PyAny>> {
        self.0.with(py, |state| state.receiver().map(drop))?;
        let max = match maxlength {
            None => usize::MAX,
            Some(max) if max < 0 => return Err(PyValueError::new_err("negative maxlength")),
            Some(max) => usize::try_from(max).unwrap_or(usize::MAX),
        };
        let message =
            self.receive(py, Wanted::Bytes, max).map_err(|error| self.refuse_length(py, error))?;
        let bytes = message.cast::<PyBytes>()?.as_bytes();
        Ok(match parts(bytes) {
            None => message,
            Some(parts) => PyBytes::new(py, &bytes[parts.pickle]).into_any(),
        })
    }

    /// Receives a message into a writable buffer from `offset` on, and returns its length in bytes.
    #[pyo3(signature = (buf, offset=0))]
    fn recv_bytes_into(&self, buf: &Bound<'_, PyAny>, offset: isize) -> PyResult<usize> {
        let py = buf.py();
        self.0.with(py, |state| state.receiver().map(drop))?;
        let mut bytes = Bytes::writable(buf)?;
        let Ok(offset) = usize::try_from(offset) else {
            return Err(PyValueError::new_err("negative offset"));
        };
        let Some(target) = bytes.as_mut_slice().get_mut(offset..) else {
            return Err(PyValueError::new_err("offset too large"));
        };
        let too_long = match self.receive_into(py, target)? {
            Ok(len) => {
                return Ok(match parts(&target[..len]) {
                    None => len,
                    Some(parts) => {
                        let len = parts.pickle.len();
                        target.copy_within(parts.pickle, 0);
                        len
                    }
                });
            }
            Err(message) => message,
        };
        let message = too_long.cast::<PyBytes>()?;
        let message = match parts(message.as_bytes()) {
            None => message.clone(),
            Some(parts) => {
                let pickle = &message.as_bytes()[parts.pickle];
                if let Some(target) = target.get_mut(..pickle.len()) {
                    target.copy_from_slice(pickle);
                    return Ok(pickle.len());
                }
                PyBytes::new(py, pickle)
            }
        };
        let class = py.import(intern!(py, "multiprocessing"))?.getattr(intern!(py, "BufferTooShort"))?;
        Err(PyErr::from_value(class.call1((message,))?))
    }

    /// Whether a receive would not block, waiting for that at most `timeout` seconds; `None` for without limit.
    #[pyo3(signature = (timeout=Some(0.0)))]
    fn poll(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let is_ready = self.0.with(py, |state| {
            let receiver = state.receiver()?.idle().map_err(of_io)?;
            receiver.poll(Some(std::time::Duration::ZERO)).map_err(of_io)
        })?;
        let timeout = waiting::timeout(timeout)?;
        if is_ready || timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Ok(is_ready);
        }
        let mut handle = self.lend_receiver(py)?;
        let outcome = blocking(py, || handle.poll(timeout));
        self.give_back_receiver(py, handle);
        outcome?.map_err(of_io)
    }

    /// Closes this process's end. Calls of other threads that block in it meanwhile go on.
    fn close(&self, py: Python<'_>) {
        let ends = self.0.with(py, |state| {
            state.is_open = false;
            (state.receiver.take(), state.sender.take())
        });
        if let (None, None) = ends {
            return;
        }
        let (receiver, sender) = ends;
        if let Some(half) = receiver {
            half.close();
        }
        if let Some(half) = sender {
            half.close();
        }
    }

    fn _close(&self, py: Python<'_>) {
        self.close(py);
    }

    /// A descriptor for watching only: select(2), poll(2), epoll(7) and event loops see by it whether a receive would
    /// block.
    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        self.0.with(py, |state| {
            if !state.is_open {
                return Err(closed());
            }
            match (&state.receiver, &state.sender) {
                (Some(half), _) => Ok(half.template.as_fd().as_raw_fd()),
                (None, Some(half)) => {
                    half.template.readiness().map(|fd| fd.as_raw_fd()).map_err(of_io)
                }
                (None, None) => Err(closed()),
            }
        })
    }

    /// Whether the connection is closed.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.0.with(py, |state| !state.is_open)
    }

    /// Whether the connection can be received from.
    #[getter]
    fn readable(&self, py: Python<'_>) -> bool {
        self.0.with(py, |state| state.is_readable)
    }

    /// Whether the connection can be sent through.
    #[getter]
    fn writable(&self, py: Python<'_>) -> bool {
        self.0.with(py, |state| state.is_writable)
    }

    #[getter]
    fn _readable(&self, py: Python<'_>) -> bool {
        self.readable(py)
    }

    #[getter]
    fn _writable(&self, py: Python<'_>) -> bool {
        self.writable(py)
    }

    /// The standard library's: a number while the connection is open.
    #[getter]
    fn _handle(&self, py: Python<'_>) -> Option<RawFd> {
        let (receiving, sending) = self._lend(py).ok()?;
        receiving.get(1).or(sending.get(1)).copied()
    }

    /// The numbers of the descriptors that the receiving and the sending half are made of.
    fn _lend(&self, py: Python<'_>) -> PyResult<(Vec<RawFd>, Vec<RawFd>)> {
        self.0.with(py, |state| {
            if !state.is_open {
                return Err(closed());
            }
            let receiving = state.receiver.as_ref().map(Half::numbers).transpose().map_err(of_io)?;
            let sending = state.sender.as_ref().map(Half::numbers).transpose().map_err(of_io)?;
            Ok((receiving.unwrap_or_default(), sending.unwrap_or_default()))
        })
    }

    /// What carries the bytes: "shm" or "kernel".
    #[getter]
    fn backend(&self, py: Python<'_>) -> PyResult<&'static str> {
        let backend = self.0.with(py, |state| match (&state.receiver, &state.sender) {
            (Some(half), _) => Ok(half.template.backend()),
            (None, Some(half)) => Ok(half.template.backend()),
            (None, None) => Err(closed()),
        })?;
        Ok(match backend {
            shmpipe::Backend::Kernel => "kernel",
            _ => "shm",
        })
    }

    /// Bytes that each direction holds.
    #[getter]
    fn capacity(&self, py: Python<'_>) -> PyResult<usize> {
        self.0.with(py, |state| match (&state.receiver, &state.sender) {
            (Some(half), _) => Ok(half.template.capacity()),
            (None, Some(half)) => Ok(half.template.capacity()),
            (None, None) => Err(closed()),
        })
    }

    /// Why the pipe is a kernel pipe though none was asked for; `None` where it is as asked for.
    #[getter]
    fn fallback_reason(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.0.with(py, |state| match (&state.receiver, &state.sender) {
            (Some(half), _) => Ok(half.template.fallback_reason().map(ToString::to_string)),
            (None, Some(half)) => Ok(half.template.fallback_reason().map(ToString::to_string)),
            (None, None) => Err(closed()),
        })
    }

    /// Room for a message of `size` bytes where it will lie in the pipe: `with connection.reserve(size) as view:` sends
    /// what was written into the view, a writable memoryview, at the end of the block; nothing where the block raises.
    fn reserve(slf: &Bound<'_, Self>, size: usize) -> Reservation {
        Reservation::new(slf.clone().unbind(), size)
    }

    /// The next message where it lies in the pipe: `with connection.recv_in_place() as view:`, a read-only memoryview. At
    /// the end of the block it has been received. Other receivers wait until then.
    fn recv_in_place(slf: &Bound<'_, Self>) -> InPlace {
        InPlace::new(slf.clone().unbind())
    }

    /// Sends each object of an iterable as one message, many at the cost of few, and returns how many that was.
    fn send_many(&self, py: Python<'_>, objects: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.0.with(py, |state| state.sender().map(drop))?;
        let mut sent = 0;
        let mut run: Vec<Bytes> = Vec::with_capacity(RUN);
        let send_run = |run: &mut Vec<Bytes>| -> PyResult<()> {
            let slices: Vec<&[u8]> = run.iter().map(Bytes::as_slice).collect();
            self.sending(py, |sender| sender.send_batch(slices).map_err(|error| error.error))?;
            run.clear();
            Ok(())
        };
        for object in objects.try_iter()? {
            match dumps(&object?)? {
                Pickled::Whole(pickle) => {
                    let pickle = Bytes::of(&pickle)?;
                    if has_trailer(pickle.as_slice()) {
                        send_run(&mut run)?;
                        self.send_slice(py, pickle.as_slice())?;
                    } else {
                        run.push(pickle);
                    }
                }
                Pickled::Pieces(pieces) => {
                    send_run(&mut run)?;
                    self.send_pieces(py, &pieces)?;
                }
            }
            sent += 1;
            if run.len() == RUN {
                send_run(&mut run)?;
            }
        }
        send_run(&mut run)?;
        Ok(sent)
    }

    /// Receives an object, blocking while the pipe is empty, and those behind it that are there already, up to `max` in
    /// all: a list.
    #[pyo3(signature = (max=None))]
    fn recv_many<'py>(&self, py: Python<'py>, max: Option<usize>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let max = max.unwrap_or(usize::MAX);
        if max == 0 {
            return Err(PyValueError::new_err("max is 0"));
        }
        let mut objects = vec![self.recv(py)?];
        while objects.len() < max
            && let Some(message) = self.receive_fast(py, Wanted::Pickle, usize::MAX)?
        {
            objects.push(object_of(&message)?);
        }
        Ok(objects)
    }

    /// A tuple of the next object if one is there, or `None`; never blocks.
    fn _try_recv<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyAny>,)>> {
        if let Some(message) = self.receive_fast(py, Wanted::Pickle, usize::MAX)? {
            return Ok(Some((object_of(&message)?,)));
        }
        let message = self.0.with(py, |state| {
            match state.receiver()?.idle().map_err(of_io)?.try_recv() {
                Ok(message) => {
                    let (object, room) = Wanted::Pickle.object(py, message.len())?;
                    // SAFETY: the object is new and outlives the copy.
                    unsafe { room.as_mut_slice() }.copy_from_slice(&message);
                    Ok(Some(object.into_bound(py)))
                }
                Err(TryRecvError::Empty) => Ok(None),
                Err(error) => Err(of_try_recv(error)),
            }
        })?;
        message.map(|message| Ok((object_of(&message)?,))).transpose()
    }

    /// Whether an object was sent without blocking. Where none was, a descriptor that becomes readable when there is room,
    /// or -1 for an object that is too long for a send that does not block.
    fn _try_send(&self, obj: &Bound<'_, PyAny>) -> PyResult<Option<RawFd>> {
        let py = obj.py();
        self.0.with(py, |state| state.sender().map(drop))?;
        let pickled = dumps(obj)?;
        let whole = match &pickled {
            Pickled::Whole(pickle) => Some(Bytes::of(pickle)?),
            Pickled::Pieces(_) => None,
        };
        let slices = match (&pickled, &whole) {
            (Pickled::Pieces(pieces), _) => pieces.slices(),
            (_, Some(whole)) => vec![std::io::IoSlice::new(whole.as_slice())],
            (_, None) => unreachable!("a whole one has bytes"),
        };
        self.0.with(py, |state| {
            let sender = state.sender()?.idle().map_err(of_io)?;
            match sender.try_send_vectored(&slices) {
                Ok(()) => Ok(None),
                Err(TrySendError::Full) => {
                    // Readiness is room for a short message.
                    let len: usize = slices.iter().map(|slice| slice.len()).sum();
                    if len > sender.capacity() / 16 || len > 4080 && sender.backend() == shmpipe::Backend::Kernel {
                        return Ok(Some(-1));
                    }
                    Ok(Some(sender.readiness().map_err(of_io)?.as_raw_fd()))
                }
                Err(TrySendError::TooLargeAtOnce { .. }) => Ok(Some(-1)),
                Err(error) => Err(of_try_send(error)),
            }
        })
    }

    /// The processes that hold the other side, as pairs of process id and name, found in /proc.
    fn holders(&self, py: Python<'_>) -> PyResult<Vec<(u32, String)>> {
        let holders = self.0.with(py, |state| {
            if !state.is_open {
                return Err(closed());
            }
            let mut holders = Vec::new();
            if let Some(half) = &state.receiver {
                holders.extend(half.template.holders().map_err(of_io)?);
            }
            if let Some(half) = &state.sender {
                holders.extend(half.template.holders().map_err(of_io)?);
            }
            Ok(holders)
        })?;
        let mut holders: Vec<_> =
            holders.iter().map(|holder| (holder.id(), holder.name().to_owned())).collect();
        holders.sort();
        holders.dedup();
        Ok(holders)
    }
}

impl Core {
    /// The length of a message that was received into `target`, or a longer one as an object.
    fn receive_into<'py>(
        &self,
        py: Python<'py>,
        target: &mut [u8],
    ) -> PyResult<Result<usize, Bound<'py, PyAny>>> {
        let fast = self.0.with(py, |state| {
            let Some(message) = state.receiver()?.idle().map_err(of_io)?.recv_fast() else {
                return Ok::<_, PyErr>(None);
            };
            Ok(Some(match target.get_mut(..message.len()) {
                Some(target) => {
                    target.copy_from_slice(&message);
                    Ok(message.len())
                }
                None => Err(PyBytes::new(py, &message).into_any()),
            }))
        })?;
        if let Some(received) = fast {
            return Ok(received);
        }
        let mut handle = self.lend_receiver(py)?;
        let outcome = blocking(py, || {
            let mut longer: Option<PyResult<(Py<PyAny>, Room)>> = None;
            let outcome = handle.recv_with(|len| {
                if len <= target.len() {
                    return Some(&mut *target);
                }
                let made = longer.insert(Python::attach(|py| new_bytes(py, len)));
                let (_, room) = made.as_ref().ok()?;
                // SAFETY: the object is new, and `longer` keeps it until the call is over.
                Some(unsafe { room.as_mut_slice() })
            });
            (outcome, longer)
        });
        self.give_back_receiver(py, handle);
        let (outcome, longer) = outcome?;
        let longer = longer.transpose()?;
        let len = outcome.map_err(of_recv)?;
        let Some((object, room)) = longer else {
            return Ok(Ok(len));
        };
        let object = object.into_bound(py);
        if len == room.len() {
            return Ok(Err(object));
        }
        let message = &object.cast::<PyBytes>()?.as_bytes()[..len];
        Ok(match target.get_mut(..len) {
            Some(target) => {
                target.copy_from_slice(message);
                Ok(len)
            }
            None => Err(PyBytes::new(py, message).into_any()),
        })
    }
}
