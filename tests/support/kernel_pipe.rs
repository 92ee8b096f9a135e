//! A kernel pipe for the test itself.

use std::fs::File;
use std::io;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

/// Makes a pipe, reader first, close-on-exec.
pub(crate) fn pipe() -> io::Result<(File, File)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((reader.into(), writer.into()))
}
