//! Channels between threads of one process: what is possible without a process boundary.
//!
//! Messages are arrays of `N` words, so there is no framing, and rtrb has no wake-ups.

use std::fs::File;
use std::io;
use std::sync::Mutex;

use rtrb::chunks::ChunkError;

use super::End;
use shmpipe_measure::message::{Batch, Incoming};
use shmpipe_measure::outcome::Outcome;
use shmpipe_measure::session::threads;
use shmpipe_measure::wire::{Patience, Plan, Rx, Tx, Wire, take};

/// Runs a slice on rtrb.
pub(super) fn rtrb(plan: &Plan, report: &File) -> io::Result<Outcome> {
    match plan.len() {
        8 => threads::<Rtrb<1>>(plan, report),
        56 => threads::<Rtrb<7>>(plan, report),
        64 => threads::<Rtrb<8>>(plan, report),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Runs a slice of batches on rtrb's chunks.
pub(super) fn rtrb_chunks(plan: &Plan, report: &File) -> io::Result<Outcome> {
    match plan.len() {
        8 => threads::<Chunks<1>>(plan, report),
        64 => threads::<Chunks<8>>(plan, report),
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

    /// One by one, as in [`send`](Tx::send): the limit that batches are measured against.
    #[inline]
    fn send_batch(&mut self, batch: &Batch) -> io::Result<()> {
        batch.messages().try_for_each(|message| self.send(message))
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

    #[inline]
    fn recv_batch(&mut self, messages: &mut Incoming) -> io::Result<()> {
        loop {
            if let Ok(words) = self.end.pop() {
                messages.check_words(&words)?;
                return Ok(());
            }
            self.patience.turn();
        }
    }
}

/// Most messages that are taken at a time, so that their room is given back while there is more to read.
const AT_A_TIME: usize = 1024;

/// The same ring by its calls for many at a time.
struct Chunks<const N: usize>(Rtrb<N>);

/// An end of [`Chunks`].
struct Chunked<E>(Polled<E>);

impl<const N: usize> Wire for Chunks<N> {
    type Tx = Chunked<rtrb::Producer<[u64; N]>>;
    type Rx = Chunked<rtrb::Consumer<[u64; N]>>;

    fn open(plan: &Plan, way: &str) -> io::Result<Self> {
        Rtrb::open(plan, way).map(Self)
    }

    fn tx(&self, plan: &Plan) -> io::Result<Self::Tx> {
        self.0.tx(plan).map(Chunked)
    }

    fn rx(&self, plan: &Plan) -> io::Result<Self::Rx> {
        self.0.rx(plan).map(Chunked)
    }
}

impl<const N: usize> Tx for Chunked<rtrb::Producer<[u64; N]>> {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.0.send(message)
    }

    #[inline]
    fn send_batch(&mut self, batch: &Batch) -> io::Result<()> {
        let mut messages = batch.messages().map(to_words);
        while messages.len() > 0 {
            let chunk = match self.0.end.write_chunk_uninit(messages.len()) {
                Err(ChunkError::TooFewSlots(0)) => {
                    self.0.patience.turn();
                    continue;
                }
                Err(ChunkError::TooFewSlots(room)) => self.0.end.write_chunk_uninit(room),
                chunk => chunk,
            };
            chunk
                .map_err(io::Error::other)?
                .fill_from_iter(&mut messages);
        }
        Ok(())
    }
}

impl<const N: usize> Rx for Chunked<rtrb::Consumer<[u64; N]>> {
    #[inline]
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        self.0.recv(buf)
    }

    #[inline]
    fn recv_batch(&mut self, messages: &mut Incoming) -> io::Result<()> {
        loop {
            let there = self.0.end.slots().min(AT_A_TIME);
            if there == 0 {
                self.0.patience.turn();
                continue;
            }
            let chunk = self.0.end.read_chunk(there).map_err(io::Error::other)?;
            let (first, rest) = chunk.as_slices();
            for words in first.iter().chain(rest) {
                messages.check_words(words)?;
            }
            chunk.commit_all();
            return Ok(());
        }
    }
}

/// A bounded channel, which blocks.
struct Crossbeam<const N: usize> {
    tx: crossbeam_channel::Sender<[u64; N]>,
    rx: crossbeam_channel::Receiver<[u64; N]>,
}

impl<const N: usize> Wire for Crossbeam<N> {
    type Tx = End<crossbeam_channel::Sender<[u64; N]>>;
    type Rx = End<crossbeam_channel::Receiver<[u64; N]>>;

    fn open(plan: &Plan, _: &str) -> io::Result<Self> {
        let (tx, rx) = crossbeam_channel::bounded(plan.capacity / plan.len());
        Ok(Self { tx, rx })
    }

    fn tx(&self, _: &Plan) -> io::Result<Self::Tx> {
        Ok(End(self.tx.clone()))
    }

    fn rx(&self, _: &Plan) -> io::Result<Self::Rx> {
        Ok(End(self.rx.clone()))
    }
}

impl<const N: usize> Tx for End<crossbeam_channel::Sender<[u64; N]>> {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.0.send(to_words(message)).map_err(io::Error::other)
    }
}

impl<const N: usize> Rx for End<crossbeam_channel::Receiver<[u64; N]>> {
    #[inline]
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        let words = self.0.recv().map_err(io::Error::other)?;
        to_bytes(&words, buf);
        Ok(())
    }
}
