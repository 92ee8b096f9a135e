//! How the command ends: exit codes, and writing to an output that may be closed.

use std::io::{self, Write};
use std::process::ExitCode;

/// The exit codes, for `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done; also when the reader of the output has gone away
  1  failed: what failed is on standard error
  2  wrong usage
  3  ls, stat: no such pipe
  4  doctor: something needs attention";

/// Why the command did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something refused.
    Io(io::Error),
    /// There is no such pipe.
    NotFound(String),
    /// The machine has a problem, which has been printed.
    Problem,
    /// The reader of standard output has gone away, which is no failure of ours.
    Unread,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Turns the outcome into an exit code, telling standard error what there is to tell.
pub(crate) fn conclude(outcome: Result<(), Failure>) -> ExitCode {
    let (text, code) = match outcome {
        Ok(()) | Err(Failure::Unread) => return ExitCode::SUCCESS,
        Err(Failure::Io(error)) => (error.to_string(), 1),
        Err(Failure::NotFound(text)) => (text, 3),
        Err(Failure::Problem) => return ExitCode::from(4),
    };
    tell(&text);
    ExitCode::from(code)
}

/// Writes a line to standard error.
pub(crate) fn tell(text: &str) {
    // Nobody is left to tell when standard error fails as well.
    let _ = writeln!(io::stderr(), "shmpipe: {text}");
}

/// Writes `text` to standard output.
///
/// # Errors
///
/// [`Failure::Unread`] when its reader has gone away.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    written(
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush()),
    )
}

/// What came of writing to standard output.
///
/// # Errors
///
/// As those of [`print()`].
pub(crate) fn written(outcome: io::Result<()>) -> Result<(), Failure> {
    outcome.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Unread,
        _ => Failure::Io(error),
    })
}
