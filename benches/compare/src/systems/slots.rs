//! Rivals whose ring has slots of a fixed type: ringfire, with back pressure so that it loses nothing.
//!
//! Messages are arrays of `N` words, by value in and out.

use std::fs::File;
use std::io;

use ringfire::{
    BusySpin, FlowControl, FutexWait, RingConsumer, RingProducer, RingProducerBuilder, WaitStrategy,
};

use super::threads::{to_bytes, to_words};
use shmpipe_measure::message::{Batch, Incoming};
use shmpipe_measure::outcome::Outcome;
use shmpipe_measure::session::processes;
use shmpipe_measure::wire::{Plan, Rx, Tx, Wire, attach, foreign};
use shmpipe_measure::workload::BATCH;

/// Runs a slice on ringfire with its futex strategy, which spins before it sleeps.
pub(super) fn ringfire(plan: &Plan, report: &File) -> io::Result<Outcome> {
    run::<FutexWait>(plan, report)
}

/// Runs a slice on ringfire with its spinning strategy.
pub(super) fn ringfire_spinning(plan: &Plan, report: &File) -> io::Result<Outcome> {
    run::<BusySpin>(plan, report)
}

fn run<S: WaitStrategy + Default + 'static>(plan: &Plan, report: &File) -> io::Result<Outcome> {
    match plan.len() {
        8 => processes::<Ring<1, S>>(plan, report),
        56 => processes::<Ring<7, S>>(plan, report),
        64 => processes::<Ring<8, S>>(plan, report),
        1024 => processes::<Ring<128, S>>(plan, report),
        4096 => processes::<Ring<512, S>>(plan, report),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// A ring of slots of `N` words.
struct Ring<const N: usize, S> {
    path: String,
    strategy: std::marker::PhantomData<fn() -> S>,
}

/// Its sending end.
struct Sending<const N: usize> {
    tx: RingProducer<[u64; N]>,
    /// A batch as words.
    items: Vec<[u64; N]>,
}

/// Its receiving end.
struct Waiting<const N: usize, S> {
    rx: RingConsumer<[u64; N]>,
    strategy: S,
    items: [[u64; N]; BATCH],
}

impl<const N: usize, S: WaitStrategy + Default + 'static> Wire for Ring<N, S> {
    type Tx = Sending<N>;
    type Rx = Waiting<N, S>;

    fn open(plan: &Plan, way: &str) -> io::Result<Self> {
        Ok(Self {
            path: plan.path(way),
            strategy: std::marker::PhantomData,
        })
    }

    /// Made in the sending process: ringfire registers it with membarrier(2) then.
    fn tx(&self, plan: &Plan) -> io::Result<Self::Tx> {
        let slots = (plan.capacity / plan.len()).next_power_of_two() as u64;
        let tx = RingProducerBuilder::new(slots)
            .flow_control(FlowControl::LosslessBackpressure)
            .build(&self.path)
            .map_err(foreign)?;
        Ok(Sending {
            tx,
            items: Vec::with_capacity(BATCH),
        })
    }

    fn rx(&self, _: &Plan) -> io::Result<Self::Rx> {
        let rx = attach(|| RingConsumer::attach(&self.path).map_err(foreign))?;
        Ok(Waiting {
            rx,
            strategy: S::default(),
            items: [[0; N]; BATCH],
        })
    }
}

impl<const N: usize> Tx for Sending<N> {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.tx.push(&to_words(message));
        Ok(())
    }

    #[inline]
    fn send_batch(&mut self, batch: &Batch) -> io::Result<()> {
        self.items.clear();
        self.items.extend(batch.messages().map(to_words));
        self.tx.push_batch(&self.items);
        Ok(())
    }
}

impl<const N: usize, S: WaitStrategy> Rx for Waiting<N, S> {
    #[inline]
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        to_bytes(&self.rx.recv_blocking(&mut self.strategy), buf);
        Ok(())
    }

    /// Its call for batches does not wait, so the first message is waited for by itself.
    #[inline]
    fn recv_batch(&mut self, messages: &mut Incoming) -> io::Result<()> {
        let mut count = self.rx.recv_batch(&mut self.items);
        if count == 0 {
            self.items[0] = self.rx.recv_blocking(&mut self.strategy);
            count = 1;
        }
        for words in &self.items[..count] {
            messages.check_words(words)?;
        }
        Ok(())
    }
}
