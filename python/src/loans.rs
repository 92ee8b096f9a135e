//! Messages that are written and read where they lie in the pipe, as context managers with a memoryview.

use std::mem;

use pyo3::exceptions::{PyBufferError, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;
use shmpipe::{Receiver, Sender, Slot, View};

use crate::blocking::blocking;
use crate::connection::Core;
use crate::errors::{of_recv, of_send};
use crate::exporter::Exporter;

/// Moves a loan out of a call without the GIL, which is made on the thread that goes on with it.
struct OnThisThread<T>(T);

// SAFETY: `blocking` makes its call on the calling thread.
unsafe impl<T> Send for OnThisThread<T> {}

/// A loan, and the handle that it borrows.
struct Held<L, E> {
    loan: L,
    /// Made of the box of the handle.
    handle: *mut E,
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
    if exporter.is_lent(py) {
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
#[pyclass(unsendable, module = "shmpipe._shmpipe")]
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
        let handle = Box::into_raw(core.lend_sender(py)?);
        let (at, len) = (OnThisThread(handle), self.len);
        let outcome = blocking(py, move || {
            let at = at;
            // SAFETY: the box's, which nobody else has and which outlives the slot.
            let sender: &'static mut Sender = unsafe { &mut *at.0 };
            OnThisThread(sender.reserve(len))
        });
        let outcome = outcome.and_then(|OnThisThread(outcome)| outcome.map_err(of_send));
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
                // SAFETY: the box's, and the slot is gone.
                core.give_back_sender(py, unsafe { Box::from_raw(handle) });
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
        release(py, &held.view, &held.exporter)?;
        let Held {
            loan,
            handle,
            view: _,
            exporter: _,
        } = self.held.take().expect("looked at above");
        let outcome = if kind.is_none() {
            let loan = OnThisThread(loan);
            blocking(py, move || {
                let loan = loan;
                loan.0.commit()
            })
        } else {
            drop(loan);
            Ok(Ok(()))
        };
        // SAFETY: the box's, and the slot is gone.
        self.core
            .get()
            .give_back_sender(py, unsafe { Box::from_raw(handle) });
        outcome?.map_err(of_send)?;
        if kind.is_none() {
            self.core.get().count_sent(py, 1, self.len);
        }
        Ok(false)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // Left open: an object made of the view may still be there, so that the memory has to stay.
        mem::forget(self.held.take());
    }
}

/// What `Connection.recv_in_place` returns.
#[pyclass(unsendable, module = "shmpipe._shmpipe")]
pub(crate) struct InPlace {
    core: Py<Core>,
    held: Option<Held<View<'static>, Receiver>>,
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
        let handle = Box::into_raw(core.lend_receiver(py)?);
        let at = OnThisThread(handle);
        let outcome = blocking(py, move || {
            let at = at;
            // SAFETY: the box's, which nobody else has and which outlives the view.
            let receiver: &'static mut Receiver = unsafe { &mut *at.0 };
            OnThisThread(receiver.recv_in_place())
        });
        let outcome = outcome.and_then(|OnThisThread(outcome)| outcome.map_err(of_recv));
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
                // SAFETY: the box's, and the view is gone.
                core.give_back_receiver(py, unsafe { Box::from_raw(handle) });
                Err(error)
            }
        }
    }

    #[pyo3(signature = (_kind, _value, _traceback))]
    fn __exit__(
        &mut self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let held = self.held.as_ref().ok_or_else(not_entered)?;
        release(py, &held.view, &held.exporter)?;
        let Held {
            loan,
            handle,
            view: _,
            exporter: _,
        } = self.held.take().expect("looked at above");
        let len = loan.len();
        drop(loan);
        self.core.get().count_received(py, len);
        // SAFETY: the box's, and the view is gone.
        self.core
            .get()
            .give_back_receiver(py, unsafe { Box::from_raw(handle) });
        Ok(false)
    }
}

impl Drop for InPlace {
    fn drop(&mut self) {
        // As for a reservation.
        mem::forget(self.held.take());
    }
}
