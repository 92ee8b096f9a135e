//! Waiting for many connections beside other descriptors.

use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use shmpipe::{Interest, Receiver, Waitable};

use crate::blocking::blocking;
use crate::connection::Core;
use crate::errors::of_io;

/// Longest time-out of the standard library's, which poll(2) takes in milliseconds.
const LONGEST_MS: f64 = i32::MAX as f64;

/// A time-out as the standard library's connections take it: negative is zero.
///
/// # Errors
///
/// `ValueError` for one that is no number, `OverflowError` for one that poll(2) cannot take.
pub(crate) fn timeout(seconds: Option<f64>) -> PyResult<Option<Duration>> {
    let Some(seconds) = seconds else {
        return Ok(None);
    };
    if seconds.is_nan() {
        return Err(PyValueError::new_err("cannot convert float NaN to integer"));
    }
    if seconds * 1e3 > LONGEST_MS {
        return Err(PyOverflowError::new_err("timeout is too large"));
    }
    Ok(Some(Duration::from_secs_f64(seconds.max(0.0))))
}

/// Which of the connections can be received from, and which of the descriptors can be read: two lists of indices.
#[pyfunction]
pub(crate) fn wait(
    py: Python<'_>,
    ends: Vec<Bound<'_, Core>>,
    fds: Vec<RawFd>,
    seconds: Option<f64>,
) -> PyResult<(Vec<usize>, Vec<usize>)> {
    let timeout = timeout(seconds)?;
    if let Some(number) = fds.iter().find(|&&number| number < 0) {
        return Err(PyValueError::new_err(format!(
            "Invalid file descriptor: {number}"
        )));
    }
    let mut handles: Vec<Box<Receiver>> = Vec::with_capacity(ends.len());
    let mut outcome = Ok(());
    for end in &ends {
        match end.get().lend_receiver(py) {
            Ok(handle) => handles.push(handle),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    let outcome = outcome.and_then(|()| {
        blocking(py, || {
            let mut ends: Vec<&mut dyn Waitable> = Vec::with_capacity(handles.len());
            ends.extend(
                handles
                    .iter_mut()
                    .map(|handle| &mut **handle as &mut dyn Waitable),
            );
            let borrowed = |&number: &RawFd| {
                // SAFETY: not negative, and the caller keeps the objects that own them.
                (
                    unsafe { BorrowedFd::borrow_raw(number) },
                    Interest::Readable,
                )
            };
            let fds: Vec<_> = fds.iter().map(borrowed).collect();
            shmpipe::wait_with(&mut ends, &fds, timeout)
        })
    });
    for (end, handle) in ends.iter().zip(handles) {
        end.get().give_back_receiver(py, handle);
    }
    let ready = outcome?.map_err(of_io)?;
    Ok((ready.ends, ready.fds))
}
