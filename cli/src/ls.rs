//! `shmpipe ls`: every pipe of the machine that the caller may see, one line for each.

use std::fmt::Write as _;

use clap::Args;
use shmpipe::Backend;
use shmpipe::observe::{KernelPipe, Pipe, Survey};

use crate::look::json::{self, List};
use crate::look::names;
use crate::look::units::{count, fullness, per_cent, size, time};
use crate::outcome::Failure;

/// Options of `shmpipe ls`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Show only the pipes of this process, or with this label or #INODE
    #[arg(value_name = "PID|LABEL")]
    which: Option<String>,

    /// Print one JSON object (cli/schema/shmpipe.schema.json) instead of a table
    #[arg(long)]
    json: bool,

    /// Show the kernel pipes of the same processes too, which opens each for reading for a moment
    #[arg(long)]
    kernel: bool,
}

/// Looks once and returns the list.
///
/// # Errors
///
/// `/proc` cannot be read, or no pipe is the one that was asked for.
pub(crate) fn run(options: &Options) -> Result<String, Failure> {
    let survey = if options.kernel {
        Survey::take_with_kernel_pipes()?
    } else {
        Survey::take()?
    };
    let pipes = match options.which.as_deref() {
        Some(which) => select_some(&survey, which)?,
        None => select(&survey, None),
    };
    if options.json {
        return Ok(json::line(&List::of(&survey, &pipes))?);
    }
    Ok(text(&survey, &pipes, options.kernel))
}

/// The pipes of a process, or with a label or an inode as [`names::is_called`] has it; all without either.
pub(crate) fn select<'a>(survey: &'a Survey, which: Option<&str>) -> Vec<&'a Pipe> {
    let pid = which.and_then(|which| which.parse().ok());
    let is_meant = |pipe: &&Pipe| match which {
        None => true,
        Some(which) => names::is_called(pipe, which) || pid.is_some_and(|pid| pipe.is_held_by(pid)),
    };
    survey.pipes.iter().filter(is_meant).collect()
}

/// The same for one that was asked for.
///
/// # Errors
///
/// There is none such.
pub(crate) fn select_some<'a>(survey: &'a Survey, which: &str) -> Result<Vec<&'a Pipe>, Failure> {
    let pipes = select(survey, Some(which));
    if !pipes.is_empty() {
        return Ok(pipes);
    }
    let mut text = format!("no pipe is called {}", names::printable(which));
    if which.parse::<u32>().is_ok() {
        let _ = write!(text, ", and no process {which} holds one");
    }
    if let Some(line) = not_seen(survey) {
        let _ = write!(text, " ({line})");
    }
    Err(Failure::NotFound(text))
}

fn text(survey: &Survey, pipes: &[&Pipe], with_kernel_pipes: bool) -> String {
    let mut out = String::new();
    if pipes.is_empty() {
        out.push_str("no pipes\n");
    } else {
        let heads = [
            "LABEL", "FROM", "TO", "KIND", "SIZE", "FILL", "MESSAGES", "BYTES", "AGE", "STATE",
        ];
        out.push_str(&table(&heads, 4..9, pipes.iter().map(|pipe| row(pipe))));
    }
    if with_kernel_pipes && !survey.kernel_pipes.is_empty() {
        out.push('\n');
        let heads = ["KERNEL PIPE", "FROM", "TO", "SIZE", "FILL"];
        let rows = survey.kernel_pipes.iter().map(kernel_row);
        out.push_str(&table(&heads, 3..5, rows));
    }
    if let Some(line) = not_seen(survey) {
        let _ = writeln!(out, "\n{line}");
    }
    out
}

/// What the caller may not see, in one line.
pub(crate) fn not_seen(survey: &Survey) -> Option<String> {
    match survey.unreadable_processes {
        0 => None,
        1 => Some("1 process not readable; run as root for all".into()),
        number => Some(format!(
            "{number} processes not readable; run as root for all"
        )),
    }
}

fn row(pipe: &Pipe) -> Vec<String> {
    let from = names::holders(&pipe.senders);
    let to = names::holders(&pipe.receivers);
    let title = names::short_title(pipe);
    let look = match &pipe.look {
        Ok(look) => look,
        Err(reason) => {
            let unknown = ["-"; 6].map(str::to_owned);
            let reason = names::printable(&reason.to_string());
            return [vec![title, from, to], unknown.to_vec(), vec![reason]].concat();
        }
    };
    let estimate = names::estimate(&look.receiver);
    vec![
        title,
        from,
        to,
        if look.backend == Backend::Kernel {
            "kernel".into()
        } else {
            "shm".into()
        },
        look.capacity.map_or("-".into(), size),
        fill(look.fill, look.capacity),
        format!("{estimate}{}", count(look.receiver.messages)),
        format!("{estimate}{}", count(look.receiver.bytes)),
        look.age.map_or("-".into(), time),
        pipe.state().to_string(),
    ]
}

fn kernel_row(pipe: &KernelPipe) -> Vec<String> {
    vec![
        format!("pipe:[{}]", pipe.inode),
        names::holders(&pipe.writers),
        names::holders(&pipe.readers),
        size(pipe.capacity),
        fill(pipe.fill, Some(pipe.capacity)),
    ]
}

fn fill(bytes: u64, capacity: Option<u64>) -> String {
    let share = fullness(bytes, capacity).map(per_cent).unwrap_or_default();
    format!("{} {share:>4}", count(bytes))
}

/// A table without lines, the columns of `right` aligned to the right.
pub(crate) fn table(
    heads: &[&str],
    right: std::ops::Range<usize>,
    rows: impl Iterator<Item = Vec<String>>,
) -> String {
    let head = heads.iter().map(|&head| head.to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let mut text = String::new();
        for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            let _ = if right.contains(&column) {
                write!(text, "{cell:>width$}  ")
            } else {
                write!(text, "{cell:<width$}  ")
            };
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["größe", "5"], ["x", "1234"]].map(|row| row.map(str::to_owned).to_vec());
        let text = table(&["A", "N"], 1..2, rows.into_iter());
        assert_eq!(text, "A         N\ngröße     5\nx      1234\n");
    }
}
