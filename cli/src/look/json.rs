//! The machine-readable form of what `ls` and `stat` show, as `cli/schema/shmpipe.schema.json` has it.
//!
//! Times are seconds, sizes bytes; what is not known is null. A field may be added, none changes its meaning as
//! long as `format` is 1.

use std::fmt::Write;

use serde::Serialize;
use shmpipe::Backend;
use shmpipe::observe::{Holders, KernelPipe, Look, Pipe, Presence, Process, Side, Survey};

use super::rates::Rates;
use super::steering::steers;
use super::units::fullness;

/// Version of the format.
const FORMAT: u32 = 1;

#[derive(Serialize)]
pub(crate) struct List {
    format: u32,
    pipes: Vec<PipeEntry>,
    kernel_pipes: Vec<KernelPipeEntry>,
    unreadable_processes: usize,
}

#[derive(Serialize)]
pub(crate) struct Statistics {
    format: u32,
    pipes: Vec<StatisticsEntry>,
    unreadable_processes: usize,
}

#[derive(Serialize)]
struct StatisticsEntry {
    #[serde(flatten)]
    pipe: PipeEntry,
    rates: Option<RatesEntry>,
}

#[derive(Serialize)]
struct RatesEntry {
    seconds: f64,
    messages_per_second: f64,
    bytes_per_second: f64,
    sender_blocked_share: f64,
    receiver_waiting_share: f64,
    bottleneck: String,
    verdict: String,
}

#[derive(Serialize)]
struct PipeEntry {
    inode: u64,
    label: Option<String>,
    state: String,
    unreadable: Option<String>,
    backend: Option<&'static str>,
    version: Option<u32>,
    capacity: Option<u64>,
    fill: Option<u64>,
    fill_share: Option<f64>,
    limit: Option<u64>,
    age: Option<f64>,
    sender: SideEntry,
    receiver: SideEntry,
    others: Vec<ProcessEntry>,
}

#[derive(Serialize)]
struct SideEntry {
    presence: &'static str,
    processes: Vec<ProcessEntry>,
    counters: Option<Counters>,
}

#[derive(Serialize)]
struct ProcessEntry {
    pid: u32,
    name: String,
}

#[derive(Serialize)]
struct Counters {
    messages: u64,
    bytes: u64,
    is_estimate: bool,
    largest: u64,
    high_water: u64,
    spins: u64,
    sleeps: u64,
    wake_ups_rung: Option<u32>,
    wake_ups_spared: Option<u64>,
    blocked: f64,
    asleep: Option<f64>,
    aborted: u64,
    last_active: Option<f64>,
}

#[derive(Serialize)]
struct KernelPipeEntry {
    inode: u64,
    capacity: u64,
    fill: u64,
    writers: Vec<ProcessEntry>,
    readers: Vec<ProcessEntry>,
}

impl List {
    pub(crate) fn of(survey: &Survey, pipes: &[&Pipe]) -> Self {
        Self {
            format: FORMAT,
            pipes: pipes.iter().map(|pipe| PipeEntry::of(pipe)).collect(),
            kernel_pipes: survey
                .kernel_pipes
                .iter()
                .map(KernelPipeEntry::of)
                .collect(),
            unreadable_processes: survey.unreadable_processes,
        }
    }
}

impl Statistics {
    /// Of pipes with what went on in each since another look, where there was one.
    pub(crate) fn of(survey: &Survey, pipes: &[(&Pipe, Option<Rates>)]) -> Self {
        let entry = |(pipe, rates): &(&Pipe, Option<Rates>)| StatisticsEntry {
            pipe: PipeEntry::of(pipe),
            rates: rates.as_ref().map(RatesEntry::of),
        };
        Self {
            format: FORMAT,
            pipes: pipes.iter().map(entry).collect(),
            unreadable_processes: survey.unreadable_processes,
        }
    }
}

impl RatesEntry {
    fn of(rates: &Rates) -> Self {
        Self {
            seconds: rates.seconds,
            messages_per_second: rates.messages,
            bytes_per_second: rates.bytes,
            sender_blocked_share: rates.blocked,
            receiver_waiting_share: rates.waiting,
            bottleneck: rates.bottleneck().to_string(),
            verdict: rates.verdict(),
        }
    }
}

impl PipeEntry {
    fn of(pipe: &Pipe) -> Self {
        let look = pipe.look.as_ref().ok();
        let capacity = look.and_then(|look| look.capacity);
        Self {
            inode: pipe.inode,
            label: pipe.label.clone(),
            state: pipe.state().to_string(),
            unreadable: pipe.look.as_ref().err().map(|why| why.reason().to_owned()),
            backend: look.map(|look| match look.backend {
                Backend::Kernel => "kernel",
                _ => "shm",
            }),
            version: look.map(|look| look.version),
            capacity,
            fill: look.map(|look| look.fill),
            fill_share: look.and_then(|look| fullness(look.fill, capacity)),
            limit: look.and_then(|look| look.limit),
            age: look.and_then(|look| look.age).map(|age| age.as_secs_f64()),
            sender: SideEntry::of(&pipe.senders, look, |look| &look.sender),
            receiver: SideEntry::of(&pipe.receivers, look, |look| &look.receiver),
            others: processes(&pipe.others),
        }
    }
}

impl SideEntry {
    fn of(holders: &Holders, look: Option<&Look>, side: fn(&Look) -> &Side) -> Self {
        Self {
            presence: match holders.presence {
                Presence::Held => "held",
                Presence::Closed => "closed",
                _ => "unknown",
            },
            processes: processes(&holders.processes),
            counters: look.map(|look| Counters::of(side(look))),
        }
    }
}

impl Counters {
    fn of(side: &Side) -> Self {
        Self {
            messages: side.messages,
            bytes: side.bytes,
            is_estimate: side.is_estimate,
            largest: side.largest,
            high_water: side.high_water,
            spins: side.spins,
            sleeps: side.sleeps,
            wake_ups_rung: side.rings,
            wake_ups_spared: spared(side),
            blocked: side.blocked.as_secs_f64(),
            asleep: side.asleep.map(|time| time.as_secs_f64()),
            aborted: side.aborted,
            last_active: side.last_active.map(|time| time.as_secs_f64()),
        }
    }
}

/// Messages for which nobody had to be woken.
pub(crate) fn spared(side: &Side) -> Option<u64> {
    side.rings
        .map(|rings| side.messages.saturating_sub(u64::from(rings)))
}

impl KernelPipeEntry {
    fn of(pipe: &KernelPipe) -> Self {
        Self {
            inode: pipe.inode,
            capacity: pipe.capacity,
            fill: pipe.fill,
            writers: processes(&pipe.writers.processes),
            readers: processes(&pipe.readers.processes),
        }
    }
}

fn processes(processes: &[Process]) -> Vec<ProcessEntry> {
    let entry = |process: &Process| ProcessEntry {
        pid: process.pid,
        name: process.name.clone(),
    };
    processes.iter().map(entry).collect()
}

/// As one line of text, which is safe to look at on a terminal too: what would steer one is escaped.
pub(crate) fn line(value: &impl Serialize) -> std::io::Result<String> {
    let text = serde_json::to_string(value)?;
    let mut line = String::with_capacity(text.len() + 1);
    for char in text.chars() {
        if steers(char) {
            // Only inside of strings, where six characters stand for a unit of UTF-16 (RFC 8259, section 7).
            for unit in char.encode_utf16(&mut [0; 2]) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(char);
        }
    }
    line.push('\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_so_that_a_terminal_shows_it_and_a_parser_gets_it_back() {
        let text = "ä\u{7f}\u{9b}31m\u{61c}\u{2028}\u{200b}\u{e0041}\n\u{1b}\"";
        let line = line(&text).unwrap();
        let expected = r#""ä\u007f\u009b31m\u061c\u2028\u200b\udb40\udc41\n\u001b\"""#;
        assert_eq!(line, format!("{expected}\n"));
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }
}
