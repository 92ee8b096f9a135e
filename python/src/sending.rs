//! What sends, for the methods of a connection.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, RawFd};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use shmpipe::{Backend, SendError, Sender, TrySendError};

use crate::blocking::blocking;
use crate::buffer::Bytes;
use crate::connection::{COPIED_WITH_GIL, Core};
use crate::errors::{of_io, of_send, of_try_send};
use crate::message::{has_trailer, trailer};
use crate::pickling::{Pickled, Pieces, dumps};
use crate::threads;

/// Messages that `send_many` sends at a time.
const RUN: usize = 64;

/// Whether a send would wake somebody while other threads may want the GIL: a thread of the same process, or a peer
/// that answers to one. On a busy CPU that one runs at once, and this one would keep the GIL meanwhile.
#[inline]
fn is_better_without_gil(sender: &Sender) -> bool {
    threads::others_use_pipes() && sender.receiver_sleeps()
}

impl Core {
    #[inline]
    pub(crate) fn send_object(&self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = object.py();
        self.check_writable(py)?;
        match dumps(object)? {
            Pickled::Whole(pickle) => match pickle.cast_exact::<PyBytes>() {
                Ok(pickle) => self.send_slice(py, pickle.as_bytes()),
                Err(_) => self.send_slice(py, Bytes::of(&pickle)?.as_slice()),
            },
            Pickled::Pieces(pieces) => self.send_pieces(py, &pieces),
        }
    }

    pub(crate) fn sending<R: Send>(
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
    pub(crate) fn send_slice(&self, py: Python<'_>, message: &[u8]) -> PyResult<()> {
        if has_trailer(message) {
            let trailer = trailer([].into_iter(), message.len());
            self.sending(py, |sender| {
                sender.send_vectored(&[IoSlice::new(message), IoSlice::new(&trailer)])
            })?;
            self.count_sent(py, 1, message.len() + trailer.len());
            return Ok(());
        }
        let is_sent = message.len() <= COPIED_WITH_GIL
            && self.with(py, |state| {
                let sender = state.sender()?.idle().map_err(of_io)?;
                if is_better_without_gil(sender) {
                    return Ok(false);
                }
                sender.send_fast(message).map_err(of_send)
            })?;
        if !is_sent {
            self.sending(py, |sender| sender.send(message))?;
        }
        self.count_sent(py, 1, message.len());
        Ok(())
    }

    /// As the method `_send_now`.
    pub(crate) fn send_now(&self, message: &Bound<'_, PyBytes>) -> PyResult<Result<bool, PyErr>> {
        let py = message.py();
        let message = message.as_bytes();
        let sent = self.with(py, |state| {
            let sender = state.sender()?.idle().map_err(of_io)?;
            Ok::<_, PyErr>((!is_better_without_gil(sender)).then(|| sender.send_fast(message)))
        })?;
        let sent = match sent {
            Some(sent) => sent,
            None => {
                // Not by `sending`, which lets signal handlers run: they may put into the queue whose lock the caller has.
                let mut handle = self.lend_sender(py)?;
                let sent = py.detach(|| handle.send_fast(message));
                self.give_back_sender(py, handle);
                sent
            }
        };
        if !matches!(sent, Ok(false)) {
            self.count_sent(py, 1, message.len());
        }
        Ok(sent.map_err(of_send))
    }

    pub(crate) fn send_pieces(&self, py: Python<'_>, pieces: &Pieces) -> PyResult<()> {
        let slices = pieces.slices();
        let len = slices.iter().map(|slice| slice.len()).sum::<usize>();
        if len <= COPIED_WITH_GIL {
            let is_sent = self.with(py, |state| {
                let sender = state.sender()?.idle().map_err(of_io)?;
                if is_better_without_gil(sender) {
                    return Ok(false);
                }
                match sender.try_send_vectored(&slices) {
                    Ok(()) => Ok(true),
                    // It may have been sent.
                    Err(TrySendError::Io(error)) => Err(of_io(error)),
                    // The send that may block tells.
                    Err(_) => Ok(false),
                }
            })?;
            if is_sent {
                self.count_sent(py, 1, len);
                return Ok(());
            }
        }
        self.sending(py, |sender| sender.send_vectored(&slices))?;
        self.count_sent(py, 1, len);
        Ok(())
    }

    /// Sends each object as one message, up to [`RUN`] at the cost of one.
    pub(crate) fn send_all(&self, py: Python<'_>, objects: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.check_writable(py)?;
        let mut sent = 0;
        let mut run: Vec<Bytes> = Vec::with_capacity(RUN);
        let send_run = |run: &mut Vec<Bytes>| -> PyResult<()> {
            let slices: Vec<&[u8]> = run.iter().map(Bytes::as_slice).collect();
            let len = slices.iter().map(|slice| slice.len()).sum();
            self.sending(py, |sender| {
                sender.send_batch(slices).map_err(|error| error.error)
            })?;
            self.count_sent(py, run.len() as u64, len);
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

    /// As the method `_try_send`.
    pub(crate) fn try_send(&self, obj: &Bound<'_, PyAny>) -> PyResult<Option<RawFd>> {
        let py = obj.py();
        self.check_writable(py)?;
        let pickled = dumps(obj)?;
        let whole = match &pickled {
            Pickled::Whole(pickle) => Some(Bytes::of(pickle)?),
            Pickled::Pieces(_) => None,
        };
        let slices = match (&pickled, &whole) {
            (Pickled::Pieces(pieces), _) => pieces.slices(),
            (_, Some(whole)) => vec![IoSlice::new(whole.as_slice())],
            (_, None) => unreachable!("a whole one has bytes"),
        };
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        let waits_for = self.with(py, |state| {
            let sender = state.sender()?.idle().map_err(of_io)?;
            match sender.try_send_vectored(&slices) {
                Ok(()) => Ok(None),
                Err(TrySendError::Full) => {
                    // Readiness is room for a short message.
                    if len > sender.capacity() / 16
                        || len > 4080 && sender.backend() == Backend::Kernel
                    {
                        return Ok(Some(-1));
                    }
                    Ok(Some(sender.readiness().map_err(of_io)?.as_raw_fd()))
                }
                Err(TrySendError::TooLargeAtOnce { .. }) => Ok(Some(-1)),
                Err(error) => Err(of_try_send(error)),
            }
        })?;
        if waits_for.is_none() {
            self.count_sent(py, 1, len);
        }
        Ok(waits_for)
    }
}
