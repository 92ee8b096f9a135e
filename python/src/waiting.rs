//! Waiting for many connections beside other descriptors.

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{io, thread};

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use shmpipe::{Interest, Ready, Receiver, Waitable, wait_with};

use crate::blocking::blocking;
use crate::connection::Core;
use crate::errors::of_io;

/// Longest time-out of the standard library's, which poll(2) takes in milliseconds.
const LONGEST_MS: f64 = i32::MAX as f64;

/// How long, and how often in a row, a wait lets receivers of its own process go first.
const PAUSE: Duration = Duration::from_micros(50);
const PAUSES: u32 = 10;

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
    let mut receiving = Vec::with_capacity(ends.len());
    let mut outcome = Ok(());
    for end in &ends {
        match end.get().lend_receiver_to_watch(py) {
            Ok((handle, count)) => {
                handles.push(handle);
                receiving.push(count);
            }
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
            wait_behind(&mut ends, &receiving, &fds, timeout)
        })
    });
    for (end, handle) in ends.iter().zip(handles) {
        end.get().give_back_receiver(py, handle);
    }
    let ready = outcome?.map_err(of_io)?;
    Ok((ready.ends, ready.fds))
}

/// As [`wait_with`], but lets threads of this process that are inside a receive go first: what they are being woken for
/// is no news. `receiving` has their number for each end.
///
/// `multiprocessing.Pool` has such a wait, and looks again and again with the GIL, which the receiver then lacks.
fn wait_behind(
    ends: &mut [&mut dyn Waitable],
    receiving: &[Arc<AtomicU32>],
    fds: &[(BorrowedFd<'_>, Interest)],
    timeout: Option<Duration>,
) -> io::Result<Ready> {
    let began = Instant::now();
    let remaining = || timeout.map(|timeout| timeout.saturating_sub(began.elapsed()));
    let mut pauses = 0;
    loop {
        let span = if pauses > 0 {
            Some(Duration::ZERO)
        } else {
            remaining()
        };
        let ready = wait_with(ends, fds, span)?;
        let is_received = |&index: &usize| receiving[index].load(Ordering::Relaxed) > 0;
        let is_over = remaining().is_some_and(|left| left.is_zero());
        if ready.ends.is_empty() && ready.fds.is_empty() && !is_over {
            // They have taken it.
            pauses = 0;
            continue;
        }
        if is_over
            || pauses == PAUSES
            || !ready.fds.is_empty()
            || !ready.ends.iter().all(is_received)
        {
            return Ok(ready);
        }
        pauses += 1;
        thread::sleep(PAUSE);
    }
}
