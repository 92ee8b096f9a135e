//! The `shmpipe` command: shows what the pipes of a machine are doing, and measures them.
//!
//! It only parses arguments; what the commands print and how they end is in their own modules.

mod bench;
mod doctor;
mod look;
mod ls;
mod outcome;
mod stat;
mod top;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use outcome::{EXIT_CODES, Failure, conclude, print, written};

/// Shows what the shared-memory pipes of this machine are doing, and measures them.
///
/// Looking never disturbs: it keeps no side of a pipe alive, delays no end-of-file and takes no lock. Only `ls --kernel`
/// opens kernel pipes for a moment. You see the pipes of the processes that you may look into, as with lsof(8): your own
/// processes, or all of them as root.
#[derive(Debug, Parser)]
#[command(name = "shmpipe", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists every pipe that you may see
    ///
    /// Each direction has one line: label, who sends and who receives (name/pid, and how many more), backend, capacity,
    /// fill in bytes and per cent, messages and bytes received so far, age, and state. The state is idle, flowing, sender
    /// blocked, receiver waiting, end-of-file, broken pipe, or unreadable with the reason.
    #[command(after_help = EXIT_CODES)]
    Ls(ls::Options),

    /// Shows the pipes live, and which side of each is the bottleneck
    ///
    /// Each row has messages and bytes a second, how full the pipe was, the share of the time for which senders were
    /// blocked and receivers waited, and the bottleneck. The last line has the verdict in words. If the output is not a
    /// terminal, the command prints one plain snapshot.
    ///
    /// Keys: q quits, s takes the next order, r reverses it, / filters (Enter keeps the filter, Esc clears it), arrows
    /// or j and k choose a row, p or space holds the picture, ? shows help.
    #[command(after_help = EXIT_CODES)]
    Top(top::Options),

    /// Shows all counters of a pipe, with rates and the bottleneck
    ///
    /// For each side it prints messages, bytes, largest message, fullest moment seen, spins, sleeps, wake-ups rung and
    /// spared, time blocked, aborted messages and last activity. docs/tools.md explains them.
    #[command(after_help = EXIT_CODES)]
    Stat(stat::Options),

    /// Checks what matters to pipes on this machine, and tests both backends
    ///
    /// Each line is ok, a note, or a problem. Notes and problems come with the remedy. The self-test takes one second.
    #[command(after_help = EXIT_CODES)]
    Doctor(doctor::Options),

    /// Measures shmpipe, the kernel pipe and the Unix socketpair side by side, and prints a table
    #[command(after_help = EXIT_CODES)]
    Bench(bench::Options),

    /// Prints completions for a shell, to be sourced or put where the shell looks for them
    Completions {
        /// Shell to print completions for
        shell: Shell,
    },

    /// Prints the manual page, for man(1): shmpipe man | man -l -
    ///
    /// shmpipe man ls | man -l - shows shmpipe-ls(1), and so on.
    Man {
        /// Print the page of this command
        #[arg(value_name = "COMMAND", value_parser = PAGES)]
        of: Option<String>,
    },
}

fn main() -> ExitCode {
    conclude(match Arguments::try_parse() {
        Ok(Arguments { command }) => run(command),
        // Help and version are output like any other.
        Err(answer) if !answer.use_stderr() => written(answer.print()),
        Err(wrong) => wrong.exit(),
    })
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Ls(options) => print(&ls::run(&options)?),
        Command::Top(options) => top::run(&options),
        Command::Stat(options) => stat::run(&options, print),
        Command::Doctor(options) => doctor::run(&options),
        Command::Bench(options) => print(&bench::run(&options)?),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "shmpipe", &mut text);
            print(&String::from_utf8_lossy(&text))
        }
        Command::Man { of } => print(&manual(of.as_deref())?),
    }
}

/// The commands that have a manual page.
const PAGES: [&str; 7] = ["ls", "top", "stat", "doctor", "bench", "completions", "man"];

fn manual(of: Option<&str>) -> io::Result<String> {
    let mut whole = Arguments::command().disable_help_subcommand(true);
    whole.build();
    let command = match of.and_then(|name| whole.find_subcommand(name).cloned()) {
        Some(command) => command,
        None => whole.after_help(format!(
            "{EXIT_CODES}\n\nThe pages of the commands: \"shmpipe man ls | man -l -\" shows shmpipe-ls(1), and so on."
        )),
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Parses a time between two looks.
fn parse_interval(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.05..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a number of seconds from 0.05 to 3600 is needed".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_definitions_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn each_command_has_a_manual_page() {
        let whole = Arguments::command();
        assert!(whole.get_subcommands().map(|one| one.get_name()).eq(PAGES));
    }

    #[test]
    fn seconds_out_of_range_are_a_usage_error_that_names_the_value() {
        for wrong in ["0", "-1", "NaN", "1e9", "soon"] {
            for option in ["bench --seconds", "stat 1 --watch", "top --interval"] {
                let words = format!("shmpipe {option}={wrong}");
                let error = Arguments::try_parse_from(words.split(' ')).unwrap_err();
                assert_eq!(error.exit_code(), 2);
                assert!(error.to_string().contains(wrong), "{error}");
            }
        }
    }

    #[test]
    fn quick_and_seconds_may_be_given_together() {
        Arguments::try_parse_from(["shmpipe", "bench", "--quick", "--seconds", "1.5"]).unwrap();
    }
}
