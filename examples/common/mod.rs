//! What the examples share: the one switch that chooses the backend.

use shmpipe::{Backend, PipeOptions};

/// Options by `--backend shm|kernel`, or the defaults.
///
/// # Errors
///
/// Any other argument, named in the message.
pub(crate) fn options() -> Result<PipeOptions, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => Ok(PipeOptions::new()),
        ["--backend", "shm"] => Ok(PipeOptions::new().backend(Backend::SharedMemory)),
        ["--backend", "kernel"] => Ok(PipeOptions::new().backend(Backend::Kernel)),
        _ => Err(format!(
            "{arguments:?}: only --backend shm or --backend kernel"
        )),
    }
}
