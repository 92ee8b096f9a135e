//! What the two sides of a slice do: warm up, wait for each other, send and check until time is up.
//!
//! The measured part begins with an empty channel and ends with an empty one, so that what was
//! sent in it was also received in it. The same code runs on every system.

use std::io;
use std::sync::atomic::Ordering;
use std::thread;

use crate::clock::{Usage, now, sleep_exactly, sleep_until};
use crate::message::{Incoming, LAST, Outgoing, PAUSE};
use crate::outcome::{Outcome, latency};
use crate::session::{Account, Control};
use crate::wire::{Plan, Rx, Tx};
use crate::workload::{Kind, WAKE_PAUSE_NANOS};

/// How long each side warms up, in nanoseconds.
const WARM_UP_NANOS: u64 = 3_000_000;

/// The share of a slice in which round trips are timed one by one, after the part in which the
/// clock is hardly looked at.
const TIMED_SHARE: u64 = 4;

/// Tells when a time is over, with a look at the clock once in a stride.
struct Until {
    end: u64,
    stride: u64,
    left: u64,
}

impl Until {
    fn from_now(nanos: u64, stride: u64) -> Self {
        Self {
            end: now() + nanos,
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
        now() >= self.end
    }
}

/// A sender of [`Kind::OneWay`] and [`Kind::Paced`].
pub(crate) fn send<T: Tx>(
    plan: &Plan,
    tx: &mut T,
    control: &Control,
    peer: usize,
) -> io::Result<()> {
    let account = &control.accounts[peer];
    let mut messages = Outgoing::new(plan.len(), peer);
    let mut warm = Until::from_now(WARM_UP_NANOS, plan.workload.stride());
    while !warm.is_over() {
        tx.send(messages.next(0))?;
    }
    tx.send(messages.next(PAUSE))?;
    // SYNC: measuring
    while control.measuring.load(Ordering::Acquire) == 0 {
        thread::yield_now();
    }
    let before = Usage::now()?;
    let start = now();
    // SYNC: start
    account.start_nanos.store(start, Ordering::Release);
    let count = match plan.workload.kind {
        Kind::Paced { per_second } => send_paced(plan, tx, &mut messages, start, per_second)?,
        _ => {
            let mut count = 1;
            let mut slice = Until::from_now(plan.slice_nanos, plan.workload.stride());
            while !slice.is_over() {
                tx.send(messages.next(0))?;
                count += 1;
            }
            tx.send(messages.next(LAST))?;
            count
        }
    };
    account.note(Usage::now()?.since(before));
    // SYNC: count
    account.messages.store(count, Ordering::Release);
    Ok(())
}

/// Sends each message when it is due, or as soon after as the sender runs; never leaves one out.
fn send_paced<T: Tx>(
    plan: &Plan,
    tx: &mut T,
    messages: &mut Outgoing,
    start: u64,
    per_second: u64,
) -> io::Result<u64> {
    sleep_exactly()?;
    let period = 1_000_000_000 / per_second;
    let count = (plan.slice_nanos / period).max(2);
    for number in 1..=count {
        let due = start + number * period;
        while now() < due {
            sleep_until(due);
        }
        tx.send(messages.next(if number == count { LAST } else { 0 }))?;
    }
    Ok(count)
}

/// The receiver of [`Kind::OneWay`] and [`Kind::Paced`].
pub(crate) fn receive<R: Rx>(plan: &Plan, rx: &mut R, control: &Control) -> io::Result<Outcome> {
    let senders = plan.workload.peers();
    let mut messages = Incoming::new(plan.len());
    until_all(rx, &mut messages, senders, PAUSE)?;
    let before = Usage::now()?;
    // SYNC: measuring
    control.measuring.store(1, Ordering::Release);
    let mut latency = latency();
    match plan.workload.kind {
        Kind::Paced { per_second } => {
            let period = 1_000_000_000 / per_second;
            let mut due = 0;
            let mut flags = 0;
            while flags & LAST == 0 {
                rx.recv(&mut messages.bytes)?;
                let arrived = now();
                flags = messages.check()?;
                if due == 0 {
                    // SYNC: start
                    due = control.accounts[0].start_nanos.load(Ordering::Acquire);
                }
                // From when it was due, not from when a late sender came to send it.
                due += period;
                latency.saturating_record(arrived.saturating_sub(due));
            }
        }
        _ => until_all(rx, &mut messages, senders, LAST)?,
    }
    let end = now();
    let main = Usage::now()?.since(before);
    let accounts = &control.accounts[..senders];
    // SYNC: start
    let starts = accounts
        .iter()
        .map(|one| one.start_nanos.load(Ordering::Acquire));
    let start = starts.min().unwrap_or(end);
    // A sender notes its count after its last message was taken.
    let count = |account: &Account| loop {
        // SYNC: count
        match account.messages.load(Ordering::Acquire) {
            0 => thread::yield_now(),
            count => break count,
        }
    };
    let count = accounts.iter().map(count).sum();
    Ok(Outcome {
        messages: count,
        nanos: end.saturating_sub(start),
        main,
        peers: Usage::default(),
        used_over: count,
        latency,
    })
}

/// Receives until each sender has sent a message with that flag.
fn until_all<R: Rx>(
    rx: &mut R,
    messages: &mut Incoming,
    senders: usize,
    flag: u64,
) -> io::Result<()> {
    let mut left = senders;
    loop {
        rx.recv(&mut messages.bytes)?;
        if messages.check()? & flag != 0 {
            left -= 1;
            if left == 0 {
                return Ok(());
            }
        }
    }
}

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
            account.note(Usage::now()?.since(before));
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
        latency,
    })
}
