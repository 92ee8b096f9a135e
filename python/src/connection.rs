//! The class that the Python half's `Connection` is made of.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict};
use shmpipe::{Backend, Receiver, Sender};

use crate::blocking::blocking;
use crate::buffer::Bytes;
use crate::errors::{closed, of_io};
use crate::gil::Gil;
use crate::half::{Half, Receiving};
use crate::loans::{InPlace, Reservation};
use crate::message::parts;
use crate::pipe::Seed;
use crate::receiving::{Wanted, object_of};
use crate::waiting;

/// Bytes up to which a copy is worth no release of the GIL.
pub(crate) const COPIED_WITH_GIL: usize = 32 << 10;

#[pyclass(frozen, subclass, weakref, module = "shmpipe._shmpipe")]
pub(crate) struct Core(Gil<State>);

pub(crate) struct State {
    receiver: Option<Half<Receiver>>,
    sender: Option<Half<Sender>>,
    is_open: bool,
    pub(crate) is_readable: bool,
    pub(crate) is_writable: bool,
}

impl State {
    pub(crate) fn receiver(&mut self) -> PyResult<&mut Half<Receiver>> {
        if !self.is_open {
            return Err(closed());
        }
        match &mut self.receiver {
            Some(half) if self.is_readable => Ok(half),
            _ => Err(PyOSError::new_err("connection is write-only")),
        }
    }

    pub(crate) fn sender(&mut self) -> PyResult<&mut Half<Sender>> {
        if !self.is_open {
            return Err(closed());
        }
        self.sender
            .as_mut()
            .ok_or_else(|| PyOSError::new_err("connection is read-only"))
    }
}

impl Core {
    /// As [`Gil::with`].
    #[inline]
    pub(crate) fn with<R>(&self, py: Python<'_>, look: impl FnOnce(&mut State) -> R) -> R {
        self.0.with(py, look)
    }

    /// Counts a message that was received; of a connection that was closed meanwhile nobody asks.
    #[inline]
    pub(crate) fn count_received(&self, py: Python<'_>, bytes: usize) {
        self.0.with(py, |state| {
            if let Some(half) = &mut state.receiver {
                half.counts.add(1, bytes);
            }
        });
    }

    /// As [`count_received`](Self::count_received), for messages that were sent.
    #[inline]
    pub(crate) fn count_sent(&self, py: Python<'_>, messages: u64, bytes: usize) {
        self.0.with(py, |state| {
            if let Some(half) = &mut state.sender {
                half.counts.add(messages, bytes);
            }
        });
    }

    #[inline]
    pub(crate) fn check_readable(&self, py: Python<'_>) -> PyResult<()> {
        self.0.with(py, |state| state.receiver().map(drop))
    }

    #[inline]
    pub(crate) fn check_writable(&self, py: Python<'_>) -> PyResult<()> {
        self.0.with(py, |state| state.sender().map(drop))
    }

    pub(crate) fn lend_receiver(&self, py: Python<'_>) -> PyResult<Box<Receiver>> {
        self.0
            .with(py, |state| state.receiver()?.lend().map_err(of_io))
    }

    /// As [`lend_receiver`](Self::lend_receiver), for a call that takes what comes.
    pub(crate) fn lend_receiver_to_receive(
        &self,
        py: Python<'_>,
    ) -> PyResult<(Box<Receiver>, Receiving)> {
        self.0.with(py, |state| {
            let half = state.receiver()?;
            let handle = half.lend().map_err(of_io)?;
            Ok((handle, Receiving::begin(half)))
        })
    }

    /// As [`lend_receiver`](Self::lend_receiver), with the number of threads that are inside a receive.
    pub(crate) fn lend_receiver_to_watch(
        &self,
        py: Python<'_>,
    ) -> PyResult<(Box<Receiver>, Arc<AtomicU32>)> {
        self.0.with(py, |state| {
            let half = state.receiver()?;
            Ok((half.lend().map_err(of_io)?, half.receiving()))
        })
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
        self.0
            .with(py, |state| state.sender()?.lend().map_err(of_io))
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
        self.send_object(obj)
    }

    /// Receives an object, blocking while the pipe is empty.
    fn recv<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let message = self.receive(py, Wanted::Pickle, usize::MAX)?;
        object_of(&message)
    }

    /// Sends bytes as one message, blocking while the pipe is full.
    #[pyo3(signature = (buf, offset=0, size=None))]
    fn send_bytes(
        &self,
        buf: &Bound<'_, PyAny>,
        offset: isize,
        size: Option<isize>,
    ) -> PyResult<()> {
        let py = buf.py();
        if offset == 0 && size.is_none() {
            if let Ok(bytes) = buf.cast_exact::<PyBytes>() {
                return self.send_slice(py, bytes.as_bytes());
            }
        }
        self.check_writable(py)?;
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
    fn recv_bytes<'py>(
        &self,
        py: Python<'py>,
        maxlength: Option<i128>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.check_readable(py)?;
        let max = match maxlength {
            None => usize::MAX,
            Some(max) if max < 0 => return Err(PyValueError::new_err("negative maxlength")),
            Some(max) => usize::try_from(max).unwrap_or(usize::MAX),
        };
        let message = self
            .receive(py, Wanted::Bytes, max)
            .map_err(|error| self.refuse_length(py, error))?;
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
        self.check_readable(py)?;
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
        let class = py
            .import(intern!(py, "multiprocessing"))?
            .getattr(intern!(py, "BufferTooShort"))?;
        Err(PyErr::from_value(class.call1((message,))?))
    }

    /// Whether a receive would not block, waiting for that at most `timeout` seconds; `None` for without limit.
    #[pyo3(signature = (timeout=Some(0.0)), text_signature = "($self, timeout=0.0)")]
    fn poll(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let is_ready = self.0.with(py, |state| {
            let receiver = state.receiver()?.idle().map_err(of_io)?;
            receiver
                .poll(Some(std::time::Duration::ZERO))
                .map_err(of_io)
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
    pub(crate) fn close(&self, py: Python<'_>) -> PyResult<()> {
        let (receiver, sender) = self.0.with(py, |state| {
            state.is_open = false;
            (state.receiver.take(), state.sender.take())
        });
        let receiver = receiver.map_or(Ok(()), |half| half.close(py));
        let sender = sender.map_or(Ok(()), |half| half.close(py));
        receiver.and(sender).map_err(of_io)
    }

    fn _close(&self, py: Python<'_>) -> PyResult<()> {
        self.close(py)
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
                // A pipe's own writing end, which can be written to while there is room.
                (None, Some(half)) if half.template.backend() == Backend::Kernel => {
                    let numbers = half.numbers().map_err(of_io)?;
                    numbers.get(1).copied().ok_or_else(closed)
                }
                (None, Some(half)) => half
                    .template
                    .readiness()
                    .map(|fd| fd.as_raw_fd())
                    .map_err(of_io),
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
            let receiving = state
                .receiver
                .as_ref()
                .map(Half::numbers)
                .transpose()
                .map_err(of_io)?;
            let sending = state
                .sender
                .as_ref()
                .map(Half::numbers)
                .transpose()
                .map_err(of_io)?;
            Ok((receiving.unwrap_or_default(), sending.unwrap_or_default()))
        })
    }

    /// What carries the bytes: "shm" or "kernel".
    #[getter]
    fn backend(&self, py: Python<'_>) -> PyResult<&'static str> {
        let backend = self
            .0
            .with(py, |state| match (&state.receiver, &state.sender) {
                (Some(half), _) => Ok(half.template.backend()),
                (None, Some(half)) => Ok(half.template.backend()),
                (None, None) => Err(closed()),
            })?;
        Ok(match backend {
            Backend::Kernel => "kernel",
            _ => "shm",
        })
    }

    /// Bytes that each direction holds.
    #[getter]
    fn capacity(&self, py: Python<'_>) -> PyResult<usize> {
        self.0
            .with(py, |state| match (&state.receiver, &state.sender) {
                (Some(half), _) => Ok(half.template.capacity()),
                (None, Some(half)) => Ok(half.template.capacity()),
                (None, None) => Err(closed()),
            })
    }

    /// Why the pipe is a kernel pipe though none was asked for; `None` where it is as asked for.
    #[getter]
    fn fallback_reason(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.0
            .with(py, |state| match (&state.receiver, &state.sender) {
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
        self.send_all(py, objects)
    }

    /// Receives an object, blocking while the pipe is empty, and those behind it that are there already, up to `max` in
    /// all: a list. An object that cannot be unpickled raises what its unpickling raised, with the objects before it as the
    /// exception's `received`.
    #[pyo3(signature = (max=None))]
    fn recv_many<'py>(
        &self,
        py: Python<'py>,
        max: Option<usize>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let max = max.unwrap_or(usize::MAX);
        if max == 0 {
            return Err(PyValueError::new_err("max is 0"));
        }
        let mut objects = vec![self.recv(py)?];
        while objects.len() < max {
            let next = self
                .receive_fast(py, Wanted::Pickle, usize::MAX)
                .and_then(|message| message.map(|message| object_of(&message)).transpose());
            match next {
                Ok(Some(object)) => objects.push(object),
                Ok(None) => break,
                Err(error) => {
                    // They have left the pipe, so the exception has them.
                    error.value(py).setattr("received", objects)?;
                    return Err(error);
                }
            }
        }
        Ok(objects)
    }

    /// A tuple of the next object if one is there, or `None`; never blocks.
    fn _try_recv<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyAny>,)>> {
        self.try_receive(py)
    }

    /// Whether an object was sent without blocking. Where none was, a descriptor that becomes readable when there is room,
    /// or -1 for an object that is too long for a send that does not block.
    fn _try_send(&self, obj: &Bound<'_, PyAny>) -> PyResult<Option<RawFd>> {
        self.try_send(obj)
    }

    /// Sends a message of [`plain_message`](crate::pickling::plain_message) where that needs no wait of any kind, and runs no
    /// Python code. Returns whether it was sent, or an error where it was sent and a receiver could not be woken for it.
    fn _send_now<'py>(&self, message: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
        let py = message.py();
        Ok(match self.send_now(message)? {
            Ok(is_sent) => PyBool::new(py, is_sent).to_owned().into_any(),
            Err(error) => error.into_value(py).into_bound(py).into_any(),
        })
    }

    /// What has gone through this object, in this process and before a fork in the parent: a dictionary with the numbers
    /// of messages and bytes that were sent and received, and of the calls of each kind that released the GIL, since
    /// they had to wait or copied much.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (received, sent) = self.0.with(py, |state| {
            if !state.is_open {
                return Err(closed());
            }
            let received = state.receiver.as_ref().map(|half| half.counts);
            let sent = state.sender.as_ref().map(|half| half.counts);
            Ok((received.unwrap_or_default(), sent.unwrap_or_default()))
        })?;
        let stats = PyDict::new(py);
        stats.set_item("sent_messages", sent.messages)?;
        stats.set_item("sent_bytes", sent.bytes)?;
        stats.set_item("slow_sends", sent.slow_calls)?;
        stats.set_item("received_messages", received.messages)?;
        stats.set_item("received_bytes", received.bytes)?;
        stats.set_item("slow_receives", received.slow_calls)?;
        Ok(stats)
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
        let mut holders: Vec<_> = holders
            .iter()
            .map(|holder| (holder.id(), holder.name().to_owned()))
            .collect();
        holders.sort();
        holders.dedup();
        Ok(holders)
    }
}
