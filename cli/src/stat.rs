//! `shmpipe stat`: all counters of one pipe, and which side holds it up.

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use shmpipe::observe::{Look, Pipe, Side, Survey};

use crate::look::json::{self, Statistics, spared};
use crate::look::names;
use crate::look::rates::Rates;
use crate::look::units::{count, fullness, per_cent, rate, size, time};
use crate::ls::{select, select_some};
use crate::outcome::{Failure, tell};

/// Options of `shmpipe stat`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Process whose pipes to show, or label or #INODE of the pipes
    #[arg(value_name = "PID|LABEL")]
    which: String,

    /// Print JSON (cli/schema/shmpipe.schema.json), one object a line
    #[arg(long)]
    json: bool,

    /// Print again every so many seconds until the pipe is gone, and then report that on standard error
    #[arg(long, value_name = "SECONDS", value_parser = crate::parse_interval)]
    watch: Option<Duration>,

    /// Time between the two looks from which rates and the verdict come
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = crate::parse_interval)]
    over: Duration,
}

/// Looks twice, or until the pipe is gone, and gives each text to `print`.
///
/// # Errors
///
/// No such pipe, `/proc` cannot be read, and what `print` reports.
pub(crate) fn run(
    options: &Options,
    mut print: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut before = Survey::take()?;
    let mut interval = options.over;
    select_some(&before, &options.which)?;
    loop {
        sleep(interval);
        let after = Survey::take()?;
        let pipes = select(&after, Some(&options.which));
        if pipes.is_empty() {
            let text = format!("{}: the pipe is gone", names::printable(&options.which));
            return match options.watch {
                // Not among the output, which may be JSON.
                Some(_) => {
                    tell(&text);
                    Ok(())
                }
                None => Err(Failure::NotFound(text)),
            };
        }
        let rated: Vec<_> = pipes
            .into_iter()
            .map(|pipe| (pipe, rates(&before, pipe)))
            .collect();
        let text = if options.json {
            json::line(&Statistics::of(&after, &rated))?
        } else {
            rated.iter().fold(String::new(), |out, (pipe, rates)| {
                out + &text(pipe, rates.as_ref()) + "\n"
            })
        };
        print(&text)?;
        let Some(watch) = options.watch else {
            return Ok(());
        };
        interval = watch;
        before = after;
    }
}

/// What went on in `pipe` since an earlier survey, if it was there and readable.
pub(crate) fn rates(before: &Survey, pipe: &Pipe) -> Option<Rates> {
    let earlier = before
        .pipes
        .iter()
        .find(|earlier| earlier.inode == pipe.inode)?;
    let (earlier, later) = (earlier.look.as_ref().ok()?, pipe.look.as_ref().ok()?);
    Some(Rates::between(earlier, later))
}

fn text(pipe: &Pipe, rates: Option<&Rates>) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<16}{value}");
    };
    line(
        "pipe",
        format!("{} (inode {})", names::title(pipe), pipe.inode),
    );
    line("state", pipe.state().to_string());
    line("senders", everybody(&pipe.senders));
    line("receivers", everybody(&pipe.receivers));
    if !pipe.others.is_empty() {
        line("others", list(&pipe.others));
    }
    let look = match &pipe.look {
        Ok(look) => look,
        Err(reason) => {
            line("memory", names::printable(reason.reason()));
            return out;
        }
    };
    line(
        "backend",
        format!("{}, protocol version {}", look.backend, look.version),
    );
    line(
        "capacity",
        look.capacity.map_or("unknown".into(), |bytes| {
            format!("{bytes} bytes ({})", size(bytes))
        }),
    );
    line("fill", fill(look));
    if let Some(limit) = look.limit {
        line("limit", format!("{limit} bytes a message"));
    }
    line("age", look.age.map_or("unknown".into(), time));
    if let Some(rates) = rates {
        let (messages, bytes) = (rate(rates.messages), rate(rates.bytes));
        line(
            "rate",
            format!(
                "{messages} messages/s, {bytes}B/s over {:.1} s",
                rates.seconds
            ),
        );
        line("verdict", rates.verdict());
    }
    out.push('\n');
    counters(&mut out, look);
    out
}

fn everybody(holders: &shmpipe::observe::Holders) -> String {
    if holders.processes.is_empty() {
        names::holders(holders)
    } else {
        list(&holders.processes)
    }
}

fn list(processes: &[shmpipe::observe::Process]) -> String {
    let texts: Vec<_> = processes.iter().map(names::process).collect();
    texts.join(", ")
}

fn fill(look: &Look) -> String {
    let share = fullness(look.fill, look.capacity)
        .map_or(String::new(), |share| format!(" ({})", per_cent(share)));
    format!("{} bytes{share}", look.fill)
}

fn counters(out: &mut String, look: &Look) {
    let ago = |last: Option<Duration>| last.map_or("-".into(), |ago| time(ago) + " ago");
    let optional = |value: Option<u64>| value.map_or("-".into(), count);
    let mut line = |name: &str, sender: String, receiver: String| {
        let _ = writeln!(out, "{name:<16}{sender:>16}{receiver:>16}");
    };
    line("", "senders".into(), "receivers".into());
    let (tx, rx) = (&look.sender, &look.receiver);
    let estimate = names::estimate(rx);
    let mut flow = |name: &str, value: fn(&Side) -> u64| {
        line(
            name,
            value(tx).to_string(),
            format!("{estimate}{}", value(rx)),
        );
    };
    flow("messages", |side| side.messages);
    flow("bytes", |side| side.bytes);
    let mut both = |name: &str, value: fn(&Side) -> u64| {
        line(name, value(tx).to_string(), value(rx).to_string());
    };
    both("spins", |side| side.spins);
    both("sleeps", |side| side.sleeps);
    both("aborted", |side| side.aborted);
    let time_or_none = |side: &Side| side.asleep.map_or("-".into(), time);
    line("time blocked", time(tx.blocked), time(rx.blocked));
    line("asleep for", time_or_none(tx), time_or_none(rx));
    line(
        "wake-ups rung",
        optional(tx.rings.map(u64::from)),
        optional(rx.rings.map(u64::from)),
    );
    line(
        "wake-ups spared",
        optional(spared(tx)),
        optional(spared(rx)),
    );
    line("last active", ago(tx.last_active), ago(rx.last_active));
    line("largest message", tx.largest.to_string(), "-".into());
    let mark = tx.high_water.max(rx.high_water).max(look.fill);
    line("fullest seen", mark.to_string(), "-".into());
}
