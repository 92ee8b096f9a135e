//! The compiled half of the Python package `shmpipe`: connections over the ends of the Rust crate.
//!
//! The Python half makes a subclass of both [`Core`](connection::Core) and the standard library's `Connection`. What
//! runs for each message is here; what runs once for each pipe or process is there.
//!
//! State is guarded by the GIL: see [`gil`].

use pyo3::prelude::*;

mod blocking;
mod buffer;
mod connection;
mod errors;
mod exporter;
mod gil;
mod half;
mod loans;
mod message;
mod pickling;
mod pipe;
mod receiving;
mod sending;
mod threads;
mod waiting;

/// The compiled half of `shmpipe`; use that.
#[pymodule(gil_used = true)]
mod _shmpipe {
    #[pymodule_export]
    use super::connection::Core;
    #[pymodule_export]
    use super::pickling::plain_message;
    #[pymodule_export]
    use super::pipe::{Seed, pipe, rebuild};
    #[pymodule_export]
    use super::waiting::wait;
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(_module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::blocking::watch_forks()
    }
}
