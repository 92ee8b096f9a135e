//! The `shmpipe` command: measures the pipe on this machine against the kernel's own.
//!
//! It only parses arguments and turns outcomes into exit codes: 0 done, 1 failed, 2 wrong usage.

mod bench;
mod machine;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Pipes between processes through shared memory.
#[derive(Debug, Parser)]
#[command(name = "shmpipe", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures shmpipe, the kernel pipe and the Unix socketpair side by side, and prints a table.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let outcome = match command {
        Command::Bench(options) => bench::run(&options),
    };
    match outcome.and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error fails as well.
            let _ = writeln!(io::stderr(), "shmpipe: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes `text` to standard output; a reader that has gone away is no failure of ours.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_argument_definitions_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn seconds_out_of_range_are_a_usage_error_that_names_the_value() {
        for wrong in ["0", "-1", "NaN", "1e9", "soon"] {
            let error =
                Arguments::try_parse_from(["shmpipe", "bench", &format!("--seconds={wrong}")])
                    .unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }

    #[test]
    fn quick_and_seconds_may_be_given_together() {
        Arguments::try_parse_from(["shmpipe", "bench", "--quick", "--seconds", "1.5"]).unwrap();
    }
}
