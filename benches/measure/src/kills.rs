//! What the other side gets when a sender, or a receiver, is killed: done to every way between processes.
//!
//! Three processes take part: the victim, the survivor, and the session that kills the one and waits for what the
//! other one's call returns. What the survivor holds of the victim's end it has dropped, as each documentation asks
//! for; so a process that hears of nothing is the system's doing.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pause};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::message::{Incoming, Outgoing};
use crate::session::{fork_child, pin, tell};
use crate::shared::{Atomics, Shared};
use crate::supervise::{self, Running};
use crate::systems::{Role, System};
use crate::wire::{Plan, Rx, Tx, Wire};
use crate::workload::{Place, Workload};

/// Messages after which an idle victim stops.
const FEW: u64 = 100;

/// Messages after which a busy victim is killed, in the first try.
const MANY: u64 = 3_000;

/// By so many more in each next one, so that the kill hits different places.
const MORE: u64 = 1_777;

/// How long nothing moves before a side is taken to wait.
const STILL: Duration = Duration::from_millis(30);

/// What a session takes around the waiting: the start of three processes, on CPUs that others spin on.
const AROUND: Duration = Duration::from_secs(30);

/// So many sessions run at the same time.
const AT_A_TIME: usize = 6;

/// Which side is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Victim {
    /// The survivor receives.
    Sender,
    /// The survivor sends.
    Receiver,
}

impl Victim {
    /// Both sides.
    pub const ALL: [Self; 2] = [Self::Sender, Self::Receiver];

    /// For the record.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
        }
    }
}

/// One kill that is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    /// Which side dies.
    pub victim: Victim,
    /// 0: when the survivor waits, on an empty or a full channel. Else in the midst of traffic, each time later.
    pub turn: u64,
    /// How long the survivor's call may take from the kill on.
    pub patience: Duration,
}

/// What became of one kill.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fate {
    /// The system's name.
    pub system: String,
    /// Which side died.
    pub victim: Victim,
    /// Whether the survivor waited (`waiting`), or messages were under way (`busy`).
    pub moment: String,
    /// What the survivor's call returned, in words.
    pub end: String,
    /// Messages whose send had returned before the kill, and which the survivor did not get.
    pub lost: u64,
    /// From the kill to the return of the survivor's call.
    pub nanos: Option<u64>,
}

/// What a system's survivors got, in a few words; `None` where no kill was done.
pub fn summary(fates: &[Fate], system: &str, victim: Victim) -> Option<String> {
    let is_its = |fate: &&Fate| fate.system == system && fate.victim == victim;
    let mut ends: Vec<(&str, usize)> = Vec::new();
    let mut lost = 0;
    for fate in fates.iter().filter(is_its) {
        lost += fate.lost;
        match ends.iter_mut().find(|(other, _)| *other == fate.end) {
            Some((_, count)) => *count += 1,
            None => ends.push((&fate.end, 1)),
        }
    }
    let mut text = match ends.as_slice() {
        [] => return None,
        [(only, _)] => (*only).to_owned(),
        several => {
            let each = several
                .iter()
                .map(|(text, count)| format!("{count} × {text}"));
            each.collect::<Vec<_>>().join(", ")
        }
    };
    if lost > 0 {
        text += &format!("; {lost} messages lost");
    }
    Some(text)
}

/// Does `tries` kills of each side to each way between processes, each with that patience.
pub fn go(systems: &[&System], cpus: &[usize], tries: u64, patience: Duration) -> Vec<Fate> {
    let mut plans = Vec::new();
    for &system in systems.iter().filter(|system| system.role == Role::Pipe) {
        for victim in Victim::ALL {
            for turn in 0..tries {
                let kill = Kill {
                    victim,
                    turn,
                    patience,
                };
                let plan = plan(cpus, kill, plans.len());
                if system.refusal(plan.workload).is_none() {
                    plans.push((system, plan, kill));
                }
            }
        }
    }
    let mut fates = Vec::new();
    for group in plans.chunks(AT_A_TIME) {
        let limit = patience + AROUND;
        let running: Vec<_> = group
            .iter()
            .map(|(system, plan, _)| supervise::start(system, plan, limit))
            .collect();
        for ((system, _, kill), running) in group.iter().zip(running) {
            fates.push(fate(system.name, *kill, running));
        }
    }
    fates
}

/// A slice of small messages one way, whose time does not matter.
fn plan(cpus: &[usize], kill: Kill, number: usize) -> Plan {
    let way = |one: &Workload| one.is_plain_one_way() && one.len == 64;
    let all = Workload::all().into_iter();
    let workload = all
        .filter(|one| one.place == Place::TwoCpus)
        .find(way)
        .expect("there is one-way-64");
    Plan {
        workload,
        capacity: workload.capacity(),
        cpus: cpus.to_vec(),
        slice_nanos: 0,
        cgroup: None,
        file: None,
        name: format!("compare-{}-kill-{number}", process::id()),
        kill: Some(kill),
    }
}

fn fate(system: &str, kill: Kill, running: Result<Running, String>) -> Fate {
    let line = running.and_then(Running::finish_line);
    let value = line.and_then(|line| {
        serde_json::from_str::<Value>(&line).map_err(|error| format!("{error} in {line:?}"))
    });
    let end = match &value {
        Err(reason) => format!("not known: {reason}"),
        Ok(value) => match value["end"].as_str() {
            Some("end") => "end-of-file".into(),
            Some("error") => format!("error: {}", value["text"].as_str().unwrap_or_default()),
            Some("hang") => format!("hang ({} s)", kill.patience.as_secs_f64()),
            // It went on sending to nobody.
            Some("on") => "sends on".into(),
            _ => format!("not known: {value}"),
        },
    };
    let value = value.unwrap_or_default();
    Fate {
        system: system.to_owned(),
        victim: kill.victim,
        moment: if kill.turn == 0 { "waiting" } else { "busy" }.into(),
        end,
        lost: value["lost"].as_u64().unwrap_or_default(),
        nanos: value["nanos"].as_u64(),
    }
}

/// What the three processes see.
#[repr(C)]
struct Stage {
    /// Stops that the two sides have come to. Both write it by AcqRel and read it by Acquire.
    ready: AtomicU64,
    /// Sends that have returned; the sender writes it by Release, the session reads it by Acquire.
    sent: AtomicU64,
    /// Messages that were received and checked; likewise.
    received: AtomicU64,
}

// SAFETY: atomics.
unsafe impl Atomics for Stage {}

impl Stage {
    fn wait_for(&self, stop: u64) {
        // SYNC: kill-gather
        self.ready.fetch_add(1, Ordering::AcqRel);
        // SYNC: kill-gather
        while self.ready.load(Ordering::Acquire) < 2 * stop {
            thread::yield_now();
        }
    }

    fn sent(&self) -> u64 {
        // SYNC: kill-count
        self.sent.load(Ordering::Acquire)
    }

    fn received(&self) -> u64 {
        // SYNC: kill-count
        self.received.load(Ordering::Acquire)
    }
}

/// Runs a session with a kill, and reports what became of it.
pub(crate) fn session<W: Wire>(plan: &Plan, kill: Kill, mut report: &File) -> io::Result<()> {
    pin(plan, plan.cpus[0])?;
    let stage = Shared::<Stage>::new()?;
    let wire = W::open(plan, "there")?;
    let (reader, mut writer) = io::pipe()?;
    let survivor = match fork_child()? {
        Some(child) => child,
        None => {
            drop(reader);
            let error = match kill.victim {
                Victim::Sender => receive(plan, wire, &stage, u64::MAX),
                Victim::Receiver => send(plan, wire, &stage, u64::MAX),
            };
            let is_end = error.kind() == io::ErrorKind::UnexpectedEof;
            let text = error.to_string().replace('\n', " ");
            let line = json!({"end": if is_end { "end" } else { "error" }, "text": text});
            // A session that has gone needs no account.
            let _ = writer.write_all(line.to_string().as_bytes());
            process::exit(0);
        }
    };
    let victim = match fork_child()? {
        Some(child) => child,
        None => {
            drop(reader);
            drop(writer);
            let stop = if kill.turn == 0 { FEW } else { u64::MAX };
            let error = match kill.victim {
                Victim::Sender => send(plan, wire, &stage, stop),
                Victim::Receiver => receive(plan, wire, &stage, stop),
            };
            process::exit(tell(report, &error));
        }
    };
    drop(writer);
    drop(wire);
    wait_for_the_moment(&stage, kill)?;
    let start = Instant::now();
    kill_and_reap(victim)?;
    let mut line = wait_for_the_end(&stage, reader, kill, start)?;
    kill_and_reap(survivor)?;
    let lost = stage.sent().saturating_sub(stage.received());
    // What nobody receives after a receiver's death is nobody's loss.
    line["lost"] = json!(if kill.victim == Victim::Sender {
        lost
    } else {
        0
    });
    report.write_all(format!("{line}\n").as_bytes())
}

/// Sends without end, or `stop` messages and then nothing; gives the error that ended it.
fn send<W: Wire>(plan: &Plan, wire: W, stage: &Stage, stop: u64) -> io::Error {
    let go = || -> io::Result<()> {
        pin(plan, plan.peer_cpu(0))?;
        let mut tx = wire.tx(plan)?;
        drop(wire);
        stage.wait_for(1);
        stage.wait_for(2);
        let mut messages = Outgoing::new(plan.len(), 0);
        for sent in 0.. {
            if sent == stop {
                pause();
            }
            tx.send(messages.next(0))?;
            // SYNC: kill-count
            stage.sent.store(sent + 1, Ordering::Release);
        }
        Ok(())
    };
    go().err().unwrap_or_else(|| io::Error::other("no end"))
}

/// Receives without end, or `stop` messages and then nothing; gives the error that ended it.
fn receive<W: Wire>(plan: &Plan, wire: W, stage: &Stage, stop: u64) -> io::Error {
    let go = || -> io::Result<()> {
        let mut rx = wire.rx(plan)?;
        drop(wire);
        stage.wait_for(1);
        rx.settle()?;
        stage.wait_for(2);
        let mut messages = Incoming::new(plan.len());
        for received in 0.. {
            if received == stop {
                pause();
            }
            rx.recv(&mut messages.bytes)?;
            messages.check()?;
            // SYNC: kill-count
            stage.received.store(received + 1, Ordering::Release);
        }
        Ok(())
    };
    go().err().unwrap_or_else(|| io::Error::other("no end"))
}

/// Waits until the victim is to die.
fn wait_for_the_moment(stage: &Stage, kill: Kill) -> io::Result<()> {
    let end = Instant::now() + AROUND / 2;
    let enough = match kill.turn {
        0 => FEW,
        turn => MANY + turn * MORE,
    };
    let mut last = (0, Instant::now());
    loop {
        let moved = stage.sent() + stage.received();
        if moved != last.0 {
            last = (moved, Instant::now());
        }
        let has_come = stage.received() >= enough;
        // Who waits does so asleep, where the system sleeps at all.
        if has_come && (kill.turn > 0 || last.1.elapsed() >= STILL) {
            return Ok(());
        }
        if Instant::now() >= end {
            let text = format!("only {} messages came before the kill", stage.received());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        if kill.turn == 0 {
            thread::sleep(Duration::from_millis(1));
        } else {
            thread::yield_now();
        }
    }
}

/// What the survivor's call returned; a hang, or senders that go on, when it has not in time.
fn wait_for_the_end(
    stage: &Stage,
    mut reader: PipeReader,
    kill: Kill,
    start: Instant,
) -> io::Result<Value> {
    let half = kill.patience / 2;
    let mut sent = 0;
    for deadline in [start + half, start + kill.patience] {
        sent = stage.sent();
        if supervise::is_readable(&reader, deadline)? {
            let nanos = start.elapsed().as_nanos() as u64;
            let mut text = String::new();
            reader.read_to_string(&mut text)?;
            let mut value: Value = serde_json::from_str(&text)
                .map_err(|_| io::Error::other("the survivor ended without a word"))?;
            value["nanos"] = json!(nanos);
            return Ok(value);
        }
    }
    // Between the two looks lies half of the time.
    let is_on = kill.victim == Victim::Receiver && stage.sent() != sent;
    Ok(json!({"end": if is_on { "on" } else { "hang" }}))
}

fn kill_and_reap(child: Pid) -> io::Result<()> {
    kill(child, Signal::SIGKILL)?;
    waitpid(child, None)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(end: &str, lost: u64) -> Fate {
        Fate {
            system: "pipe".into(),
            victim: Victim::Sender,
            moment: "busy".into(),
            end: end.into(),
            lost,
            nanos: None,
        }
    }

    #[test]
    fn what_was_the_same_each_time_is_said_once() {
        let same = [fate("end-of-file", 0), fate("end-of-file", 0)];
        let text = |fates: &[Fate], victim| summary(fates, "pipe", victim);
        assert_eq!(text(&same, Victim::Sender).as_deref(), Some("end-of-file"));
        assert_eq!(text(&same, Victim::Receiver), None);
        let different = [
            fate("hang (2 s)", 0),
            fate("end-of-file", 3),
            fate("hang (2 s)", 4),
        ];
        assert_eq!(
            text(&different, Victim::Sender).as_deref(),
            Some("2 × hang (2 s), 1 × end-of-file; 7 messages lost")
        );
    }
}
