//! Channels between threads of one process: what is possible without a process boundary.
//!
//! Messages are arrays of `N` words, so there is no framing, and rtrb has no wake-ups.

use std::fs::File;
use std::io;
use std::sync::Mutex;

use super::ours::take;
use crate::outcome::Outcome;
use crate::session::threads;
use crate::wire::{Patience, Plan, Rx, Tx, Wire};

/// Runs a slice on rtrb.
pub(super) fn rtrb(plan: &Plan, report: &File) -> io::Result<Outcome> {
    match plan.len() {
        8 => threads::<Rtrb<1>>(plan, report),
        56 => threads::<Rtrb<7>>(plan, report),
        64 => threads::<Rtrb<8>>(plan, report),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Runs a slice on crossbeam-channel.
pub(super) fn crossbeam(plan: &Plan, report: &File) -> io::Result<Outcome> {
    match plan.len() {
        8 => threads::<Crossbeam<1>>(plan, report),
        56 => threads::<Crossbeam<7>>(plan, report),
        64 => threads::<Crossbeam<8>>(plan, report),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[inline]
pub(super) fn to_words<const N: usize>(message: &[u8]) -> [u64; N] {
    let (words, _) = message.as_chunks::<8>();
    std::array::from_fn(|n| u64::from_ne_bytes(words[n]))
}

#[inline]
pub(super) fn to_bytes<const N: usize>(words: &[u64; N], buf: &mut [u8]) {
    let (places, _) = buf.as_chunks_mut::<8>();
    for (place, word) in places.iter_mut().zip(words) {
        *place = word.to_ne_bytes();
    }
}

type Slot<T> = Mutex<Option<T>>;

/// A wait-free ring for one producer and one consumer.
struct Rtrb<const N: usize> {
    tx: Slot<rtrb::Producer<[u64; N]>>,
    rx: Slot<rtrb::Consumer<[u64; N]>>,
}

/// An end of [`Rtrb`], which never waits by itself.
struct Polled<E> {
    end: E,
    patience: Patience,
}

impl<const N: usize> Wire for Rtrb<N> {
    type Tx = Polled<rtrb::Producer<[u64; N]>>;
    type Rx = Polled<rtrb::Consumer<[u64; N]>>;

    fn open(plan: &Plan, _: &str) -> io::Result<Self> {
        let (tx, rx) = rtrb::RingBuffer::new(plan.capacity / plan.len());
        Ok(Self {
            tx: Mutex::new(Some(tx)),
            rx: Mutex::new(Some(rx)),
        })
    }

    fn tx(&self, plan: &Plan) -> io::Result<Self::Tx> {
        Ok(Polled {
            end: take(&self.tx)?,
            patience: plan.patience(),
        })
    }

    fn rx(&self, plan: &Plan) -> io::Result<Self::Rx> {
        Ok(Polled {
            end: take(&self.rx)?,
            patience: plan.patience(),
        })
    }
}

impl<const N: usize> Tx for Polled<rtrb::Producer<[u64; N]>> {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let words = to_words(message);
        while self.end.push(words).is_err() {
            self.patience.turn();
        }
        Ok(())
    }
}

impl<const N: usize> Rx for Polled<rtrb::Consumer<[u64; N]>> {
    #[inline]
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        loop {
            if let Ok(words) = self.end.pop() {
                to_bytes(&words, buf);
                return Ok(());
            }
            self.patience.turn();
        }
    }
}

/// A bounded channel, which blocks.
struct Crossbeam<const N: usize> {
    tx: crossbeam_channel::Sender<[u64; N]>,
    rx: crossbeam_channel::Receiver<[u64; N]>,
}

impl<const N: usize> Wire for Crossbeam<N> {
    type Tx = crossbeam_channel::Sender<[u64; N]>;
    type Rx = crossbeam_channel::Receiver<[u64; N]>;

    fn open(plan: &Plan, _: &str) -> io::Result<Self> {
        let (tx, rx) = crossbeam_channel::bounded(plan.capacity / plan.len());
        Ok(Self { tx, rx })
    }

    fn tx(&self, _: &Plan) -> io::Result<Self::Tx> {
        Ok(self.tx.clone())
    }

    fn rx(&self, _: &Plan) -> io::Result<Self::Rx> {
        Ok(self.rx.clone())
    }
}

impl<const N: usize> Tx for crossbeam_channel::Sender<[u64; N]> {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        crossbeam_channel::Sender::send(self, to_words(message)).map_err(io::Error::other)
    }
}

impl<const N: usize> Rx for crossbeam_channel::Receiver<[u64; N]> {
    #[inline]
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        let words = crossbeam_channel::Receiver::recv(self).map_err(io::Error::other)?;
        to_bytes(&words, buf);
        Ok(())
    }
}
