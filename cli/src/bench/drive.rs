//! The driver's part of a slice: sends, and takes the time until the peer has confirmed.
//!
//! It decides by its clock when the slice ends and marks the last message; the peer follows. The
//! same code runs on every system.

use std::io;
use std::time::{Duration, Instant};

use super::payload::{FILE_MESSAGE, LAST, Material, Numbered, mismatch};
use super::processes::Child;
use super::systems::{Channel, Task};
use super::workloads::{Tally, Workload};

/// The driver's part of a slice.
pub(crate) struct Drive<'a> {
    /// What to send.
    pub(crate) workload: Workload,
    /// How long at least.
    pub(crate) slice: Duration,
    /// The file.
    pub(crate) material: &'a Material,
    /// The peer, which confirms.
    pub(crate) peer: &'a mut Child,
}

impl Task for Drive<'_> {
    type Outcome = Tally;

    fn run<C: Channel>(self, channel: &mut C) -> io::Result<Tally> {
        match self.workload {
            Workload::PingPong(len) => self.ping_pong(channel, len),
            Workload::OneWay(len) => self.one_way(channel, len),
            Workload::File => self.file(channel),
        }
    }
}

impl Drive<'_> {
    fn ping_pong<C: Channel>(self, channel: &mut C, len: usize) -> io::Result<Tally> {
        let (mut ping, mut pong) = (Numbered::new(len), Numbered::new(len));
        let mut clock = SliceClock::start(self.slice, self.workload.stride());
        let mut number = 0;
        loop {
            let last = clock.is_over();
            ping.set_number(if last { number | LAST } else { number });
            channel.send(&ping.bytes)?;
            channel.recv(&mut pong.bytes)?;
            pong.check(number)?;
            number += 1;
            if last {
                break;
            }
        }
        let elapsed = clock.elapsed();
        confirm(self.peer, number, 0)?;
        Ok(Tally {
            messages: number,
            bytes: number * len as u64,
            elapsed,
        })
    }

    fn one_way<C: Channel>(self, channel: &mut C, len: usize) -> io::Result<Tally> {
        let mut message = Numbered::new(len);
        let mut clock = SliceClock::start(self.slice, self.workload.stride());
        let mut number = 0;
        loop {
            let last = clock.is_over();
            message.set_number(if last { number | LAST } else { number });
            channel.send(&message.bytes)?;
            number += 1;
            if last {
                break;
            }
        }
        confirm(self.peer, number, 0)?;
        Ok(Tally {
            messages: number,
            bytes: number * len as u64,
            elapsed: clock.elapsed(),
        })
    }

    /// Each transfer begins with a message of two words: its number and the file's length.
    fn file<C: Channel>(self, channel: &mut C) -> io::Result<Tally> {
        let file = &self.material.bytes;
        let mut clock = SliceClock::start(self.slice, self.workload.stride());
        let mut transfers = 0;
        loop {
            let last = clock.is_over();
            let number = if last { transfers | LAST } else { transfers };
            let mut header = [0; 16];
            header[..8].copy_from_slice(&number.to_ne_bytes());
            header[8..].copy_from_slice(&(file.len() as u64).to_ne_bytes());
            channel.send(&header)?;
            for part in file.chunks(FILE_MESSAGE) {
                channel.send(part)?;
            }
            transfers += 1;
            if last {
                break;
            }
        }
        confirm(
            self.peer,
            transfers,
            self.material.sum.wrapping_mul(transfers),
        )?;
        let elapsed = clock.elapsed();
        let theirs = self.peer.expect("digest")?;
        if theirs != self.material.digest {
            let ours = &self.material.digest;
            return Err(mismatch(format!(
                "the file's digest is {theirs} at the far end, not {ours}"
            )));
        }
        let parts = file.len().div_ceil(FILE_MESSAGE) as u64;
        Ok(Tally {
            messages: transfers * parts,
            bytes: transfers * file.len() as u64,
            elapsed,
        })
    }
}

/// Waits until the peer has confirmed so many messages or transfers, whose words have that sum.
fn confirm(peer: &mut Child, count: u64, sum: u64) -> io::Result<()> {
    let theirs = peer.expect("done")?;
    let ours = format!("{count} {sum}");
    if theirs == ours {
        return Ok(());
    }
    Err(mismatch(format!(
        "count and sum are {theirs} at the far end, not {ours}"
    )))
}

/// Tells when a slice is over, with a look at the clock once in a stride.
struct SliceClock {
    start: Instant,
    slice: Duration,
    stride: u64,
    left: u64,
}

impl SliceClock {
    fn start(slice: Duration, stride: u64) -> Self {
        Self {
            start: Instant::now(),
            slice,
            stride,
            left: stride,
        }
    }

    #[inline]
    fn is_over(&mut self) -> bool {
        self.left -= 1;
        if self.left > 0 {
            return false;
        }
        self.left = self.stride;
        self.start.elapsed() >= self.slice
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}
