//! What receives, for the methods of a connection.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PySlice};
use shmpipe::{RecvError, TryRecvError};

use crate::blocking::blocking;
use crate::buffer::{Bytes, Room, new_bytearray, new_bytes};
use crate::connection::{COPIED_WITH_GIL, Core};
use crate::errors::{of_io, of_recv, of_try_recv};
use crate::message::OUT_OF_BAND;
use crate::pickling::loads;

/// What a message is received as.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Wanted {
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
    object.get_item(PySlice::new(py, 0, len as isize, 1))
}

/// The object that a received message is the pickle of.
#[inline]
pub(crate) fn object_of<'py>(message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    match message.cast_exact::<PyBytes>() {
        Ok(bytes) => loads(message, bytes.as_bytes()),
        Err(_) => loads(message, Bytes::of(message)?.as_slice()),
    }
}

pyo3::create_exception!(shmpipe, BadLength, PyOSError);

fn bad_length() -> PyErr {
    BadLength::new_err(())
}

/// Whether the memory was for a message that another thread or process has taken, and the next one is longer.
fn is_for_another(
    outcome: &Result<usize, RecvError>,
    max: usize,
    made: &Option<PyResult<(Py<PyAny>, Room)>>,
) -> bool {
    let is_longer = matches!(outcome, Err(RecvError::BufferTooSmall { needed }) if *needed <= max);
    is_longer && !matches!(made, Some(Err(_)))
}

impl Core {
    /// A message if there is one for the taking.
    #[inline]
    pub(crate) fn receive_fast<'py>(
        &self,
        py: Python<'py>,
        wanted: Wanted,
        max: usize,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut made = None;
        let mut is_too_long = false;
        let received = self.with(py, |state| {
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
            (Some(len), Some(made)) => {
                self.count_received(py, len);
                Ok(Some(filled(py, made, len)?))
            }
            _ if is_too_long => Err(bad_length()),
            _ => Ok(None),
        }
    }

    pub(crate) fn receive<'py>(
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
        let (mut handle, receiving) = self.lend_receiver_to_receive(py)?;
        let outcome = blocking(py, || {
            let _receiving = receiving;
            let mut small = Vec::new();
            loop {
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
                if !is_for_another(&outcome, max, &large) {
                    break Ok((outcome, small, large));
                }
                // A peer that lies could keep this going.
                if let Err(raised) = Python::attach(|py| py.check_signals()) {
                    break Err(raised);
                }
            }
        });
        self.give_back_receiver(py, handle);
        let (outcome, small, large) = outcome??;
        let large = large.transpose()?;
        let len = match outcome {
            Ok(len) => len,
            Err(RecvError::BufferTooSmall { needed }) if needed > max => return Err(bad_length()),
            Err(error) => return Err(of_recv(error)),
        };
        self.count_received(py, len);
        match large {
            Some(made) => filled(py, made, len),
            None => Ok(PyBytes::new(py, &small[..len]).into_any()),
        }
    }

    /// After a message that is longer than the caller allows.
    pub(crate) fn refuse_length(&self, py: Python<'_>, error: PyErr) -> PyErr {
        if error.get_type(py).is(py.get_type::<BadLength>()) {
            let is_writable = self.with(py, |state| {
                state.is_readable = false;
                state.is_writable
            });
            if !is_writable {
                if let Err(refused) = self.close(py) {
                    return refused;
                }
            }
            return PyOSError::new_err("bad message length");
        }
        error
    }

    /// As the method `_try_recv`.
    pub(crate) fn try_receive<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Option<(Bound<'py, PyAny>,)>> {
        if let Some(message) = self.receive_fast(py, Wanted::Pickle, usize::MAX)? {
            return Ok(Some((object_of(&message)?,)));
        }
        let message = self.with(py, |state| {
            match state.receiver()?.idle().map_err(of_io)?.try_recv() {
                Ok(message) => {
                    let (object, room) = Wanted::Pickle.object(py, message.len())?;
                    // SAFETY: the object is new and outlives the copy.
                    unsafe { room.as_mut_slice() }.copy_from_slice(&message);
                    Ok(Some((object.into_bound(py), message.len())))
                }
                Err(TryRecvError::Empty) => Ok(None),
                Err(error) => Err(of_try_recv(error)),
            }
        })?;
        let message = message.map(|(message, len)| {
            self.count_received(py, len);
            message
        });
        message
            .map(|message| Ok((object_of(&message)?,)))
            .transpose()
    }

    /// The length of a message that was received into `target`, or a longer one as an object.
    pub(crate) fn receive_into<'py>(
        &self,
        py: Python<'py>,
        target: &mut [u8],
    ) -> PyResult<Result<usize, Bound<'py, PyAny>>> {
        let fast = self.with(py, |state| {
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
            let len = match &received {
                Ok(len) => *len,
                Err(longer) => longer.len()?,
            };
            self.count_received(py, len);
            return Ok(received);
        }
        let (mut handle, receiving) = self.lend_receiver_to_receive(py)?;
        let outcome = blocking(py, || {
            let _receiving = receiving;
            loop {
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
                if !is_for_another(&outcome, usize::MAX, &longer) {
                    break Ok((outcome, longer));
                }
                // As above.
                if let Err(raised) = Python::attach(|py| py.check_signals()) {
                    break Err(raised);
                }
            }
        });
        self.give_back_receiver(py, handle);
        let (outcome, longer) = outcome??;
        let longer = longer.transpose()?;
        let len = outcome.map_err(of_recv)?;
        self.count_received(py, len);
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
