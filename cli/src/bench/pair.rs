//! A driver and its peer: two pinned processes that run one slice for each command.
//!
//! The bench commands the driver, the driver its peer. When to run what is decided elsewhere.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use shmpipe::{Receiver, Sender};

use super::drive::Drive;
use super::payload::Material;
use super::processes::{Child, Link, Side, finish_as, pin, split_off};
use super::serve::Serve;
use super::systems::{Capacity, Ends, System, open};
use super::workloads::{Tally, Workload};

/// The CPUs of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The driver's.
    pub(crate) driver: usize,
    /// The peer's, maybe the same.
    pub(crate) peer: usize,
}

impl Placement {
    /// Whether both processes share one CPU.
    pub(crate) fn is_one_cpu(self) -> bool {
        self.driver == self.peer
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_one_cpu() {
            write!(f, "both on CPU {}", self.driver)
        } else {
            write!(f, "CPUs {} and {}", self.driver, self.peer)
        }
    }
}

/// One slice: what the bench says to the driver, and the driver to its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Command {
    workload: usize,
    system: usize,
    slice_micros: u64,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.workload, self.system, self.slice_micros)
    }
}

impl FromStr for Command {
    type Err = io::Error;

    fn from_str(line: &str) -> io::Result<Self> {
        let [workload, system, slice_micros] = numbers(line)?;
        let index = |number| usize::try_from(number).map_err(io::Error::other);
        Ok(Self {
            workload: index(workload)?,
            system: index(system)?,
            slice_micros,
        })
    }
}

impl Command {
    fn parts(self) -> io::Result<(Workload, System)> {
        let workload = Workload::ALL.get(self.workload).copied();
        let system = System::ALL.get(self.system).copied();
        workload
            .zip(system)
            .ok_or_else(|| io::Error::other(format!("no such slice: {self}")))
    }
}

/// Parses a line of exactly `N` numbers.
fn numbers<const N: usize>(line: &str) -> io::Result<[u64; N]> {
    line.split_whitespace()
        .map(|word| word.parse::<u64>().ok())
        .collect::<Option<Vec<_>>>()
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| io::Error::other(format!("{N} numbers were due, not {line:?}")))
}

/// The bench's handle to a pair.
#[derive(Debug)]
pub(crate) struct Pair {
    driver: Child,
    /// Where the two run.
    pub(crate) placement: Placement,
}

impl Pair {
    /// Forks a driver, which forks its peer.
    pub(crate) fn start(
        placement: Placement,
        capacity: Capacity,
        material: &Material,
    ) -> io::Result<Self> {
        match split_off("driver")? {
            Side::Parent(driver) => Ok(Self { driver, placement }),
            Side::Child(link) => {
                finish_as(link, |bench| drive(bench, placement, capacity, material))
            }
        }
    }

    /// Runs one slice; indexes are those of [`Workload::ALL`] and [`System::ALL`].
    pub(crate) fn measure(
        &mut self,
        workload: usize,
        system: usize,
        slice: Duration,
    ) -> io::Result<Tally> {
        let slice_micros = u64::try_from(slice.as_micros()).map_err(io::Error::other)?;
        self.driver.say(
            &Command {
                workload,
                system,
                slice_micros,
            }
            .to_string(),
        )?;
        let [messages, bytes, nanos] = numbers(&self.driver.expect("tally")?)?;
        Ok(Tally {
            messages,
            bytes,
            elapsed: Duration::from_nanos(nanos),
        })
    }

    /// Ends both processes; a bad end of either is an error.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.driver.finish()
    }
}

/// The driver's life.
fn drive(
    bench: &mut Link,
    placement: Placement,
    capacity: Capacity,
    material: &Material,
) -> io::Result<()> {
    // A library may ask on how many CPUs it can run at any time, from making a pipe onwards; a pair
    // on one CPU is confined to it before that, as a command under taskset(1) is.
    if placement.is_one_cpu() {
        pin(placement.driver)?;
    }
    let (mut ours, theirs) = open(capacity)?;
    let mut peer = match split_off("peer")? {
        Side::Parent(peer) => peer,
        Side::Child(link) => {
            // A copy of the driver's ends in the peer would hide the driver's death from it.
            drop(ours);
            finish_as(link, |driver| serve(driver, placement, theirs))
        }
    };
    drop(theirs);
    pin(placement.driver)?;
    while let Some(line) = bench.hear()? {
        let command: Command = line.parse()?;
        let tally = run(command, &mut ours, &mut peer, material)?;
        let nanos = tally.elapsed.as_nanos();
        bench.say(&format!("tally {} {} {nanos}", tally.messages, tally.bytes))?;
    }
    peer.finish()
}

/// The driver's part of one slice.
fn run(
    command: Command,
    ends: &mut Ends<Sender>,
    peer: &mut Child,
    material: &Material,
) -> io::Result<Tally> {
    let (workload, system) = command.parts()?;
    let slice = Duration::from_micros(command.slice_micros);
    peer.say(&command.to_string())?;
    // The peer is awake before the clock starts.
    peer.expect("ready")?;
    let task = Drive {
        workload,
        slice,
        material,
        peer,
    };
    match ends.with(system, workload.is_two_way(), task) {
        Ok(tally) => Ok(tally),
        // The end of a peer shows as a broken channel first.
        Err(error) => Err(in_slice(command, &peer.explain(error))),
    }
}

/// Adds to an error in which slice it came.
fn in_slice(command: Command, error: &io::Error) -> io::Error {
    match command.parts() {
        Ok((workload, system)) => io::Error::other(format!("{workload}, {system}: {error}")),
        Err(unknown) => unknown,
    }
}

/// The peer's life.
fn serve(driver: &mut Link, placement: Placement, mut ends: Ends<Receiver>) -> io::Result<()> {
    pin(placement.peer)?;
    let mut received = Vec::new();
    while let Some(line) = driver.hear()? {
        let command: Command = line.parse()?;
        let (workload, system) = command.parts()?;
        driver.say("ready")?;
        let task = Serve {
            workload,
            driver,
            received: &mut received,
        };
        ends.with(system, workload.is_two_way(), task)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_survives_its_line() {
        let command = Command {
            workload: 6,
            system: 3,
            slice_micros: 47_000,
        };
        assert_eq!(command.to_string().parse::<Command>().unwrap(), command);
    }

    #[test]
    fn a_line_that_is_no_command_is_refused_by_name() {
        for line in ["", "1 2", "1 2 x", "1 2 3 4", "1 2 -3"] {
            let error = line.parse::<Command>().unwrap_err();
            assert!(error.to_string().contains(&format!("{line:?}")), "{error}");
        }
    }

    #[test]
    fn an_unknown_slice_is_refused() {
        assert!(
            Command {
                workload: 99,
                system: 0,
                slice_micros: 1
            }
            .parts()
            .is_err()
        );
    }
}
