//! What is to be measured: each mode with each size and each number of senders that it allows.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use crate::bench::units::size;

const SIZES: [usize; 3] = [8, 1 << 10, 64 << 10];

/// What is done with the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// There and back before the next one: the time of a round trip
    PingPong,
    /// One after the other as fast as they go: messages a second
    OneWay,
    /// One every 200 µs from each sender: how late a receiver that sleeps meanwhile gets it
    Paced,
}

/// One workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Case {
    pub(crate) mode: Mode,
    /// Length of a message in bytes.
    pub(crate) size: usize,
    /// Sending processes.
    pub(crate) senders: u16,
}

/// All combinations that make sense; what is empty stands for the default.
pub(crate) fn cases(modes: &[Mode], sizes: &[usize], senders: &[u16]) -> Vec<Case> {
    let modes = if modes.is_empty() {
        Mode::value_variants()
    } else {
        modes
    };
    let sizes = if sizes.is_empty() { &SIZES } else { sizes };
    let senders = if senders.is_empty() { &[1] } else { senders };
    let mut cases = Vec::new();
    for &mode in modes {
        for &size in sizes {
            for &senders in senders {
                let senders = if mode == Mode::PingPong { 1 } else { senders };
                let case = Case {
                    mode,
                    size,
                    senders,
                };
                if !cases.contains(&case) {
                    cases.push(case);
                }
            }
        }
    }
    cases
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PingPong => "ping-pong",
            Self::OneWay => "one way",
            Self::Paced => "paced",
        })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.mode, size(self.size))?;
        if self.senders > 1 {
            write!(f, ", {} senders", self.senders)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_has_one_sender_however_many_were_asked_for() {
        let cases = cases(&[Mode::PingPong, Mode::OneWay], &[8], &[1, 2]);
        let senders: Vec<_> = cases.iter().map(|case| (case.mode, case.senders)).collect();
        assert_eq!(
            senders,
            [(Mode::PingPong, 1), (Mode::OneWay, 1), (Mode::OneWay, 2)]
        );
    }
}
