//! Messages that are written and read where they lie in the pipe, as context managers with a memoryview.

use pyo3::exceptions::{PyBufferError, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;
use shmpipe::{Receiver, Sender, Slot, View};

use crate::blocking::blocking;
use crate::connection::Core;
use crate::errors::{of_recv, of_send};
use crate::exporter::Exporter;

/// The box of a handle that a loan borrows.
struct Lender<E>(*mut E);

// SAFETY: it owns the handle, as a box does.
unsafe impl<E: Send> Send for Lender<E> {}
// SAFETY: nothing is done with one that is shared.
unsafe impl<E: Send> Sync for Lender<E> {}

impl<E> Lender<E> {
    fn new(handle: Box<E>) -> Self {
        Self(Box::into_raw(handle))
    }

    /// # Safety
    ///
    /// Called once, and what borrows of it is gone before the handle.
    unsafe fn borrow<'a>(&self) -> &'a mut E {
        // SAFETY: the box's, which nobody else has.
        unsafe { &mut *self.0 }
    }

    /// # Safety
    ///
    /// What was borrowed is gone.
    unsafe fn into_handle(self) -> Box<E> {
        // SAFETY: made of a box, and nothing borrows it.
        unsafe { Box::from_raw(self.0) }
    }
}

/// A loan, and the handle that it borrows.
struct Held<L, E> {
    loan: L,
    handle: Lender<E>,
    view: Py<PyAny>,
    exporter: Exporter,
}

/// Releases the view of a block that ends.
///
/// # Errors
///
/// `BufferError` where something made of it is still there, a numpy array for one, which goes on using the memory.
fn release(py: Python<'_>, view: &Py<PyAny>, exporter: &Exporter) -> PyResult<()> {
    view.call_method0(py, intern!(py, "release"))?;
    if !exporter.end(py) {
        return Err(PyBufferError::new_err(
            "an array or another view of the message is still there: delete it inside the block",
        ));
    }
    Ok(())
}

fn not_entered() -> PyErr {
    PyRuntimeError::new_err("for one `with` statement")
}

/// What `Connection.reserve` returns.
#[pyclass(module = "shmpipe._shmpipe")]
pub(crate) struct Reservation {
    core: Py<Core>,
    len: usize,
    held: Option<Held<Slot<'static>, Sender>>,
}

impl Reservation {
    pub(crate) fn new(core: Py<Core>, len: usize) -> Self {
        Self {
            core,
            len,
            held: None,
        }
    }
}

#[pymethods]
impl Reservation {
    fn __enter__(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if self.held.is_some() {
            return Err(not_entered());
        }
        let core = self.core.get();
        let handle = Lender::new(core.lend_sender(py)?);
        // SAFETY: the handle is kept until the slot is gone.
        let sender: &'static mut Sender = unsafe { handle.borrow() };
        let len = self.len;
        let outcome = blocking(py, move || sender.reserve(len));
        let outcome = outcome.and_then(|outcome| outcome.map_err(of_send));
        let made = outcome.and_then(|mut slot| {
            // SAFETY: who shares the pipe is trusted to keep the protocol; README.md says so.
            let memory = unsafe { slot.as_mut_slice() };
            let (memory, len) = (memory.as_mut_ptr(), memory.len());
            // SAFETY: the slot keeps the memory, and is kept until nothing is lent.
            let exporter = unsafe { Exporter::new(py, memory, len, false) }?;
            let view = exporter.view(py)?;
            Ok((slot, view, exporter))
        });
        match made {
            Ok((loan, view, exporter)) => {
                let given = view.clone_ref(py);
                self.held = Some(Held {
                    loan,
                    handle,
                    view,
                    exporter,
                });
                Ok(given)
            }
            Err(error) => {
                // SAFETY: the slot is gone.
                core.give_back_sender(py, unsafe { handle.into_handle() });
                Err(error)
            }
        }
    }

    #[pyo3(signature = (kind, _value, _traceback))]
    fn __exit__(
        &mut self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let held = self.held.as_ref().ok_or_else(not_entered)?;
        match release(py, &held.view, &held.exporter) {
            // What the block raised is more to the point, and nothing is sent whenever the view goes.
            Err(_) if !kind.is_none() => return Ok(false),
            outcome => outcome?,
        }
        let Held {
            loan,
            handle,
            view: _,
            exporter: _,
        } = self.held.take().expect("looked at above");
        let outcome = if kind.is_none() {
            blocking(py, move || loan.commit())
        } else {
            drop(loan);
            Ok(Ok(()))
        };
        // SAFETY: the slot is gone.
        let handle = unsafe { handle.into_handle() };
        self.core.get().give_back_sender(py, handle);
        outcome?.map_err(of_send)?;
        if kind.is_none() {
            self.core.get().count_sent(py, 1, self.len);
        }
        Ok(false)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else {
            return;
        };
        // SAFETY: an object is dropped with the GIL.
        let py = unsafe { Python::assume_attached() };
        let core = self.core.clone_ref(py);
        let (loan, handle) = (held.loan, held.handle);
        // An object made of the view may still be there, so that the memory has to stay.
        held.exporter.end_when_unused(py, move || {
            drop(loan);
            // SAFETY: the views of a message are dropped with the GIL.
            let py = unsafe { Python::assume_attached() };
            // SAFETY: the slot is gone.
            core.get()
                .give_back_sender(py, unsafe { handle.into_handle() });
        });
    }
}

/// What `Connection.recv_in_place` returns.
#[pyclass(module = "shmpipe._shmpipe")]
pub(crate) struct InPlace {
    core: Py<Core>,
    held: Option<Held<View<'static>, Receiver>>,
}

/// Ends the loan of a message, which receives it.
fn receive(py: Python<'_>, core: &Core, loan: View<'static>, handle: Lender<Receiver>) {
    let len = loan.len();
    drop(loan);
    core.count_received(py, len);
    // SAFETY: the view is gone.
    core.give_back_receiver(py, unsafe { handle.into_handle() });
}

impl InPlace {
    pub(crate) fn new(core: Py<Core>) -> Self {
        Self { core, held: None }
    }
}

#[pymethods]
impl InPlace {
    fn __enter__(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if self.held.is_some() {
            return Err(not_entered());
        }
        let core = self.core.get();
        let handle = Lender::new(core.lend_receiver(py)?);
        // SAFETY: the handle is kept until the view is gone.
        let receiver: &'static mut Receiver = unsafe { handle.borrow() };
        let outcome = blocking(py, move || receiver.recv_in_place());
        let outcome = outcome.and_then(|outcome| outcome.map_err(of_recv));
        let made = outcome.and_then(|loan| {
            // SAFETY: who shares the pipe is trusted to keep the protocol; README.md says so.
            let memory = unsafe { loan.as_slice() };
            let (memory, len) = (memory.as_ptr().cast_mut(), memory.len());
            // SAFETY: the loan keeps the memory, which nobody writes through it, and is kept until nothing is lent.
            let exporter = unsafe { Exporter::new(py, memory, len, true) }?;
            let view = exporter.view(py)?;
            Ok((loan, view, exporter))
        });
        match made {
            Ok((loan, view, exporter)) => {
                let given = view.clone_ref(py);
                self.held = Some(Held {
                    loan,
                    handle,
                    view,
                    exporter,
                });
                Ok(given)
            }
            Err(error) => {
                // SAFETY: the view is gone.
                core.give_back_receiver(py, unsafe { handle.into_handle() });
                Err(error)
            }
        }
    }

    #[pyo3(signature = (kind, _value, _traceback))]
    fn __exit__(
        &mut self,
        py: Python<'_>,
        kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let held = self.held.as_ref().ok_or_else(not_entered)?;
        match release(py, &held.view, &held.exporter) {
            // As for a reservation; it is received when the view goes.
            Err(_) if !kind.is_none() => return Ok(false),
            outcome => outcome?,
        }
        let Held {
            loan,
            handle,
            view: _,
            exporter: _,
        } = self.held.take().expect("looked at above");
        receive(py, self.core.get(), loan, handle);
        Ok(false)
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else {
            return;
        };
        // SAFETY: an object is dropped with the GIL.
        let py = unsafe { Python::assume_attached() };
        let core = self.core.clone_ref(py);
        let (loan, handle) = (held.loan, held.handle);
        // As for a reservation.
        held.exporter.end_when_unused(py, move || {
            // SAFETY: the views of a message are dropped with the GIL.
            let py = unsafe { Python::assume_attached() };
            receive(py, core.get(), loan, handle);
        });
    }
}
