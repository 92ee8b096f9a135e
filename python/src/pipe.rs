//! Making pipes, and ends of descriptors.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use shmpipe::{Backend, PipeOptions, Receiver, Sender};

use crate::errors::of_io;
use crate::gil::Gil;

/// What a connection is made of, until it is.
#[pyclass(frozen, module = "shmpipe._shmpipe")]
pub(crate) struct Seed(Gil<Option<(Option<Receiver>, Option<Sender>)>>);

impl Seed {
    fn new(receiver: Option<Receiver>, sender: Option<Sender>) -> Self {
        Self(Gil::new(Some((receiver, sender))))
    }

    pub(crate) fn take(&self, py: Python<'_>) -> PyResult<(Option<Receiver>, Option<Sender>)> {
        let ends = self.0.with(py, Option::take);
        ends.ok_or_else(|| PyTypeError::new_err("made by shmpipe.Pipe() only"))
    }
}

/// The two ends of a new pipe.
#[pyfunction]
pub(crate) fn pipe(
    py: Python<'_>,
    duplex: bool,
    capacity: usize,
    backend: Option<&str>,
    label: Option<&str>,
) -> PyResult<(Seed, Seed)> {
    // Many pipes carry little, and page tables that are filled ahead are not there after a fork.
    let mut options = PipeOptions::new().capacity(capacity).allocate(false);
    if let Some(name) = backend {
        options = options.backend(match name {
            "shm" => Backend::SharedMemory,
            "kernel" => Backend::Kernel,
            _ => {
                return Err(PyValueError::new_err(format!(
                    "backend is {name:?}, neither \"shm\" nor \"kernel\""
                )));
            }
        });
    }
    if let Some(label) = label {
        options = options.label(label);
    }
    py.detach(|| {
        if duplex {
            let (left, right) = options.duplex()?;
            let ((receiver, sender), (other_receiver, other_sender)) =
                (left.split(), right.split());
            Ok((
                Seed::new(Some(receiver), Some(sender)),
                Seed::new(Some(other_receiver), Some(other_sender)),
            ))
        } else {
            let (receiver, sender) = options.pipe()?;
            Ok((
                Seed::new(Some(receiver), None),
                Seed::new(None, Some(sender)),
            ))
        }
    })
    .map_err(of_io)
}

/// An end of descriptors that were those of another, as `_lend` has them; takes them over.
#[pyfunction]
pub(crate) fn rebuild(receiving: Vec<RawFd>, sending: Vec<RawFd>) -> PyResult<Seed> {
    let owned = |numbers: Vec<RawFd>| -> Vec<OwnedFd> {
        let own = |number| {
            // SAFETY: by the caller, this package's unpickling, they are open and nobody else's.
            unsafe { OwnedFd::from_raw_fd(number) }
        };
        numbers.into_iter().map(own).collect()
    };
    if receiving.iter().chain(&sending).any(|&number| number < 0) {
        return Err(PyValueError::new_err("a descriptor is negative"));
    }
    let (receiving, sending) = (owned(receiving), owned(sending));
    let receiver = if receiving.is_empty() {
        None
    } else {
        // SAFETY: they were a receiver's, by the caller.
        Some(unsafe { Receiver::from_fds(receiving) }.map_err(of_io)?)
    };
    let sender = if sending.is_empty() {
        None
    } else {
        // SAFETY: they were a sender's, by the caller.
        Some(unsafe { Sender::from_fds(sending) }.map_err(of_io)?)
    };
    Ok(Seed::new(receiver, sender))
}
