//! Round trips: what the two sides of a slice do.
//!
//! The measured part begins and ends with an empty channel. The same code runs on every system.

use std::io;

use crate::clock::{Until, Usage, WARM_UP_NANOS, now, sleep_exactly, sleep_until};
use crate::message::{Incoming, LAST, Outgoing, PAUSE};
use crate::outcome::{Outcome, latency};
use crate::session::Account;
use crate::wire::{Plan, Rx, Tx};
use crate::workload::{Kind, WAKE_PAUSE_NANOS};

/// The share of a slice in which round trips are timed one by one, after the part in which the
/// clock is hardly looked at.
const TIMED_SHARE: u64 = 4;

/// The side that sends each message back.
pub(crate) fn echo<R: Rx, T: Tx>(
    plan: &Plan,
    rx: &mut R,
    tx: &mut T,
    account: &Account,
) -> io::Result<()> {
    let mut pings = Incoming::new(plan.len());
    let mut before = Usage::now()?;
    loop {
        rx.recv(&mut pings.bytes)?;
        let flags = pings.check()?;
        tx.send(&pings.bytes)?;
        if flags & PAUSE != 0 {
            before = Usage::now()?;
        }
        if flags & LAST != 0 {
            account.note(Usage::now()?.since(before), 0);
            return Ok(());
        }
    }
}

/// One round trip after the other.
struct Pinger<'a, T, R> {
    tx: &'a mut T,
    rx: &'a mut R,
    pings: Outgoing,
    pongs: Incoming,
}

impl<T: Tx, R: Rx> Pinger<'_, T, R> {
    #[inline]
    fn go(&mut self, flags: u64) -> io::Result<()> {
        self.tx.send(self.pings.next(flags))?;
        self.rx.recv(&mut self.pongs.bytes)?;
        self.pongs.check()?;
        Ok(())
    }
}

/// The side that sends and waits for the message to come back.
pub(crate) fn ping<T: Tx, R: Rx>(plan: &Plan, tx: &mut T, rx: &mut R) -> io::Result<Outcome> {
    let mut pinger = Pinger {
        tx,
        rx,
        pings: Outgoing::new(plan.len(), 0),
        pongs: Incoming::new(plan.len()),
    };
    let stride = plan.workload.stride();
    let mut warm = Until::from_now(WARM_UP_NANOS, stride);
    while !warm.is_over() {
        pinger.go(0)?;
    }
    pinger.go(PAUSE)?;
    let before = Usage::now()?;
    let mut latency = latency();
    let (mut messages, mut nanos) = (0, 0);
    if plan.workload.kind == Kind::Wake {
        sleep_exactly()?;
        let end = now() + plan.slice_nanos;
        while now() < end {
            sleep_until(now() + WAKE_PAUSE_NANOS);
            let start = now();
            pinger.go(0)?;
            let taken = now() - start;
            latency.saturating_record(taken);
            nanos += taken;
            messages += 1;
        }
    } else {
        let timed = plan.slice_nanos / TIMED_SHARE;
        let start = now();
        let mut slice = Until::from_now(plan.slice_nanos - timed, stride);
        while !slice.is_over() {
            pinger.go(0)?;
            messages += 1;
        }
        let mut last = now();
        nanos = last - start;
        let end = last + timed;
        while last < end {
            pinger.go(0)?;
            let this = now();
            latency.saturating_record(this - last);
            last = this;
        }
    }
    let main = Usage::now()?.since(before);
    pinger.go(LAST)?;
    Ok(Outcome {
        messages,
        nanos,
        main,
        peers: Usage::default(),
        used_over: match plan.workload.kind {
            Kind::Wake => messages,
            _ => messages + latency.len(),
        },
        in_place: [0, 0],
        latency,
    })
}
