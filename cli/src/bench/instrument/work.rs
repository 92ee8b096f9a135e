//! One slice: forks a receiver and the senders, lets them work, and collects what they measured.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::time::{ClockId, clock_gettime};

use super::channels::{Channels, In, Job, Out, System};
use super::plan::{Case, Mode};
use super::result::Sample;
use crate::bench::processes::{Child, Link, Side, finish_as, pin, split_off};

/// Pause between two messages of a paced sender.
const PACE: Duration = Duration::from_micros(200);

/// Messages between two looks at the clock where that would be seen in the figures.
const STRIDE: u64 = 64;

/// Runs one slice with pipes of `capacity` bytes. With one sender the two processes have a CPU each, else they run
/// where they like.
pub(crate) fn slice(
    case: Case,
    system: System,
    capacity: usize,
    cpus: (usize, usize),
    span: Duration,
) -> io::Result<Sample> {
    let mut channels = Channels::open(system, capacity, case.size)?;
    let is_pinned = case.senders == 1;
    let mut receiver = match split_off("receiver")? {
        Side::Parent(child) => child,
        Side::Child(link) => finish_as(link, |bench: &mut Link| {
            if is_pinned {
                pin(cpus.1)?;
            }
            bench.say(&channels.receive(Receiving(case))?)
        }),
    };
    let mut senders = Vec::new();
    for _ in 0..case.senders {
        let sender;
        (sender, channels) = start_sender(case, channels, is_pinned.then_some(cpus.0), span)?;
        senders.push(sender);
    }
    // The end comes when the last sender is gone.
    drop(channels);
    let mut said = String::new();
    for mut sender in senders {
        said = sender.answer()?;
        sender.finish()?;
    }
    let of_receiver = receiver.answer()?;
    receiver.finish()?;
    match case.mode {
        Mode::PingPong => said.parse(),
        Mode::OneWay | Mode::Paced => of_receiver.parse(),
    }
}

fn start_sender(
    case: Case,
    channels: Channels,
    cpu: Option<usize>,
    span: Duration,
) -> io::Result<(Child, Channels)> {
    match split_off("sender")? {
        Side::Parent(child) => Ok((child, channels)),
        Side::Child(link) => finish_as(link, |bench: &mut Link| {
            cpu.map_or(Ok(()), pin)?;
            bench.say(&channels.send(Sending { case, span })?)
        }),
    }
}

struct Sending {
    case: Case,
    span: Duration,
}

struct Receiving(Case);

impl Job for Sending {
    fn run(self, mut out: impl Out, mut back: impl In) -> io::Result<String> {
        let mut message = vec![7; self.case.size];
        let mut sample = Timing::new()?;
        let start = Instant::now();
        let mut number = 0_u64;
        match self.case.mode {
            Mode::PingPong => {
                let mut before = start;
                while before - start < self.span {
                    message[..8].copy_from_slice(&number.to_ne_bytes());
                    out.put(&message)?;
                    if !back.take(&mut message)? || message[..8] != number.to_ne_bytes() {
                        return Err(io::Error::other(format!(
                            "message {number} did not come back"
                        )));
                    }
                    let now = Instant::now();
                    sample.add(now - before);
                    before = now;
                    number += 1;
                }
            }
            Mode::OneWay => {
                while !number.is_multiple_of(STRIDE) || start.elapsed() < self.span {
                    out.put(&message)?;
                    number += 1;
                }
            }
            Mode::Paced => {
                while start.elapsed() < self.span {
                    message[..8].copy_from_slice(&nanoseconds()?.to_ne_bytes());
                    out.put(&message)?;
                    number += 1;
                    let due = PACE.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
                    std::thread::sleep(due.saturating_sub(start.elapsed()));
                }
            }
        }
        Ok(sample.finish(number, start.elapsed()))
    }
}

impl Job for Receiving {
    fn run(self, mut out: impl Out, mut back: impl In) -> io::Result<String> {
        let mut message = vec![0; self.0.size];
        let mut sample = Timing::new()?;
        let mut number = 0_u64;
        let mut start = None;
        while back.take(&mut message)? {
            match self.0.mode {
                Mode::PingPong => out.put(&message)?,
                Mode::OneWay => {}
                Mode::Paced => {
                    let sent = message
                        .first_chunk()
                        .map_or(0, |word| u64::from_ne_bytes(*word));
                    sample.add(Duration::from_nanos(nanoseconds()?.saturating_sub(sent)));
                }
            }
            number += 1;
            start.get_or_insert_with(Instant::now);
        }
        let elapsed = start.map_or(Duration::ZERO, |start| start.elapsed());
        Ok(sample.finish(number, elapsed))
    }
}

/// `CLOCK_MONOTONIC`, which is one clock for all processes.
fn nanoseconds() -> io::Result<u64> {
    let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    u64::try_from(now.as_nanos()).map_err(io::Error::other)
}

/// How long single messages took.
struct Timing(Histogram<u64>);

impl Timing {
    fn new() -> io::Result<Self> {
        // From 1 ns to a minute, three digits.
        let histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3);
        histogram.map(Self).map_err(io::Error::other)
    }

    fn add(&mut self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanos.max(1));
    }

    /// The line from which [`Sample`] is parsed.
    fn finish(&self, messages: u64, elapsed: Duration) -> String {
        let mut line = format!("{messages} {}", elapsed.as_nanos());
        for quantile in Sample::QUANTILES {
            let value = if self.0.is_empty() {
                0
            } else {
                self.0.value_at_quantile(quantile)
            };
            line += &format!(" {value}");
        }
        line
    }
}
