//! One way: what the senders and the receiver of a slice do, one message a call, by batches, or by loans.
//!
//! The measured part begins with an empty channel and ends with an empty one, so that what was
//! sent in it was also received in it. The same code runs on every system.

use std::io;
use std::sync::atomic::Ordering;
use std::thread;

use crate::clock::{Until, Usage, WARM_UP_NANOS, now, sleep_exactly, sleep_until};
use crate::file::{self, Material, Sending, Taking};
use crate::message::{Batch, Incoming, LAST, Outgoing, PAUSE};
use crate::outcome::{Latency, Outcome, latency};
use crate::session::{Account, Control};
use crate::wire::{Plan, Rx, Tx};
use crate::workload::{BATCH, Kind};

/// Messages at the pace of the workload before the measured part, or at [`WARM_UP_PACE`] where that is slow:
/// a system that learns how long to spin has learnt it then.
const PACED_WARM_UP: u64 = 32;

/// Most nanoseconds between two of them.
const WARM_UP_PACE: u64 = 1_000_000;

/// Sends by one of a system's calls.
pub(crate) trait Feed {
    /// Sends one or more messages, the last of them with those flags; returns how many.
    fn put(&mut self, flags: u64) -> io::Result<u64>;

    /// Messages that were made where the channel sends them from.
    fn in_place(&self) -> u64 {
        0
    }
}

struct Singly<'a, T> {
    tx: &'a mut T,
    messages: Outgoing,
}

impl<T: Tx> Feed for Singly<'_, T> {
    #[inline]
    fn put(&mut self, flags: u64) -> io::Result<u64> {
        self.tx.send(self.messages.next(flags))?;
        Ok(1)
    }
}

struct Together<'a, T> {
    tx: &'a mut T,
    batch: Batch,
}

impl<T: Tx> Feed for Together<'_, T> {
    #[inline]
    fn put(&mut self, flags: u64) -> io::Result<u64> {
        self.tx.send_batch(self.batch.next(flags))?;
        Ok(BATCH as u64)
    }
}

struct Made<'a, T> {
    tx: &'a mut T,
    messages: Outgoing,
    own: Vec<u8>,
    in_place: u64,
}

impl<T: Tx> Feed for Made<'_, T> {
    #[inline]
    fn put(&mut self, flags: u64) -> io::Result<u64> {
        let pattern = self.messages.next(flags);
        let is_in_place = self.tx.send_made(pattern, &mut self.own)?;
        self.in_place += u64::from(is_in_place);
        Ok(1)
    }

    fn in_place(&self) -> u64 {
        self.in_place
    }
}

/// A sender.
pub(crate) fn send<T: Tx>(
    plan: &Plan,
    tx: &mut T,
    control: &Control,
    peer: usize,
) -> io::Result<()> {
    let len = plan.len();
    let messages = Outgoing::new(len, peer);
    match plan.workload.kind {
        Kind::Batch => {
            let batch = Batch::new(len, peer);
            feed(plan, Together { tx, batch }, control, peer)
        }
        Kind::Loan => {
            let (own, in_place) = (vec![0; len], 0);
            let feeder = Made {
                tx,
                messages,
                own,
                in_place,
            };
            feed(plan, feeder, control, peer)
        }
        Kind::File => feed(plan, Sending::new(tx, material(plan)?), control, peer),
        _ => feed(plan, Singly { tx, messages }, control, peer),
    }
}

fn material(plan: &Plan) -> io::Result<&Material> {
    let missing = || io::Error::other("the plan names no file");
    plan.file.as_deref().ok_or_else(missing)
}

fn feed<F: Feed>(plan: &Plan, mut feeder: F, control: &Control, peer: usize) -> io::Result<()> {
    let account = &control.accounts[peer];
    let stride = plan.workload.stride();
    let mut warm = Until::from_now(WARM_UP_NANOS, stride);
    while !warm.is_over() {
        feeder.put(0)?;
    }
    if let Kind::Paced { per_second } = plan.workload.kind {
        sleep_exactly()?;
        let period = (1_000_000_000 / per_second).min(WARM_UP_PACE);
        put_paced(&mut feeder, now(), period, PACED_WARM_UP, 0)?;
    }
    feeder.put(PAUSE)?;
    // SYNC: measuring
    while control.measuring.load(Ordering::Acquire) == 0 {
        thread::yield_now();
    }
    let made = feeder.in_place();
    let before = Usage::now()?;
    let start = now();
    // SYNC: start
    account.start_nanos.store(start, Ordering::Release);
    let count = match plan.workload.kind {
        Kind::Paced { per_second } => {
            let period = 1_000_000_000 / per_second;
            let count = plan.slice_nanos / period;
            put_paced(&mut feeder, start, period, count, LAST)?;
            count
        }
        _ => {
            let mut count = 0;
            let mut slice = Until::from_now(plan.slice_nanos, stride);
            while !slice.is_over() {
                count += feeder.put(0)?;
            }
            count + feeder.put(LAST)?
        }
    };
    account.note(Usage::now()?.since(before), feeder.in_place() - made);
    // SYNC: count
    account.messages.store(count, Ordering::Release);
    Ok(())
}

/// Sends each message when it is due, or as soon after as the sender runs; never leaves one out.
fn put_paced<F: Feed>(
    feeder: &mut F,
    start: u64,
    period: u64,
    count: u64,
    flags_of_last: u64,
) -> io::Result<()> {
    for number in 1..=count {
        let due = start + number * period;
        while now() < due {
            sleep_until(due);
        }
        feeder.put(if number == count { flags_of_last } else { 0 })?;
    }
    Ok(())
}

/// Receives by one of a system's calls.
pub(crate) trait Drain {
    /// Takes one message or more, and has them checked.
    fn take(&mut self, messages: &mut Incoming) -> io::Result<()>;

    /// Messages that were read where they lay in the channel.
    fn in_place(&self) -> u64 {
        0
    }
}

struct OneByOne<'a, R>(&'a mut R);

impl<R: Rx> Drain for OneByOne<'_, R> {
    #[inline]
    fn take(&mut self, messages: &mut Incoming) -> io::Result<()> {
        self.0.recv(&mut messages.bytes)?;
        messages.check()?;
        Ok(())
    }
}

struct ByBatches<'a, R>(&'a mut R);

impl<R: Rx> Drain for ByBatches<'_, R> {
    #[inline]
    fn take(&mut self, messages: &mut Incoming) -> io::Result<()> {
        self.0.recv_batch(messages)
    }
}

struct Lent<'a, R> {
    rx: &'a mut R,
    in_place: u64,
}

impl<R: Rx> Drain for Lent<'_, R> {
    #[inline]
    fn take(&mut self, messages: &mut Incoming) -> io::Result<()> {
        self.in_place += u64::from(self.rx.recv_lent(messages)?);
        Ok(())
    }

    fn in_place(&self) -> u64 {
        self.in_place
    }
}

/// Receives one by one, and notes how late each message is beside when it was due.
struct Timed<'a, R> {
    rx: &'a mut R,
    account: &'a Account,
    period: u64,
    due: u64,
    lateness: Latency,
}

impl<R: Rx> Drain for Timed<'_, R> {
    fn take(&mut self, messages: &mut Incoming) -> io::Result<()> {
        self.rx.recv(&mut messages.bytes)?;
        let arrived = now();
        messages.check()?;
        // Of the warm-up, whose messages have no due time.
        if messages.seen(PAUSE) == 0 {
            return Ok(());
        }
        // SYNC: start
        let start = self.account.start_nanos.load(Ordering::Acquire);
        if start != 0 {
            // From when it was due, not from when a late sender came to send it.
            self.due = self.due.max(start) + self.period;
            self.lateness
                .saturating_record(arrived.saturating_sub(self.due));
        }
        Ok(())
    }
}

/// The receiver.
pub(crate) fn receive<R: Rx>(plan: &Plan, rx: &mut R, control: &Control) -> io::Result<Outcome> {
    match plan.workload.kind {
        Kind::Batch => drain(plan, &mut ByBatches(rx), control),
        Kind::Loan => drain(plan, &mut Lent { rx, in_place: 0 }, control),
        Kind::Paced { per_second } => {
            let mut timed = Timed {
                rx,
                account: &control.accounts[0],
                period: 1_000_000_000 / per_second,
                due: 0,
                lateness: latency(),
            };
            let outcome = drain(plan, &mut timed, control)?;
            let latency = timed.lateness;
            Ok(Outcome { latency, ..outcome })
        }
        Kind::File => {
            let mut taking = Taking::new(rx, material(plan)?);
            let outcome = drain(plan, &mut taking, control)?;
            // When the clock has stopped: a digest would take longer than the transfer.
            taking.digest()?;
            Ok(outcome)
        }
        _ => drain(plan, &mut OneByOne(rx), control),
    }
}

fn drain<D: Drain>(plan: &Plan, drain: &mut D, control: &Control) -> io::Result<Outcome> {
    let senders = plan.workload.peers();
    let mut messages = Incoming::new(match plan.workload.kind {
        Kind::File => file::HEADER,
        _ => plan.len(),
    });
    while messages.seen(PAUSE) < senders {
        drain.take(&mut messages)?;
    }
    let read = drain.in_place();
    let before = Usage::now()?;
    // SYNC: measuring
    control.measuring.store(1, Ordering::Release);
    while messages.seen(LAST) < senders {
        drain.take(&mut messages)?;
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
        in_place: [0, drain.in_place() - read],
        latency: latency(),
    })
}
