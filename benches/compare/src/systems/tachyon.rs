//! tachyon-ipc's bus: slots for one producer and one consumer, in its hybrid mode and in its polling mode.

use std::io;
use std::thread::{self, JoinHandle};

use tachyon_ipc::{Bus, TachyonError};

use shmpipe_measure::message::{Batch, Incoming};
use shmpipe_measure::wire::{Patience, Plan, Rx, Tx, Wire, attach, foreign, whole};
use shmpipe_measure::workload::BATCH;

/// Looks before a receiver sleeps, as in all of its examples.
const SPINS: u32 = 10_000;

/// The number of a type, which both sides give and nobody uses here.
const TYPE: u32 = 1;

/// Messages that must fit: the receiver gives room back for 32 at a time.
const LEAST_MESSAGES: usize = 64;

/// What each message takes beside its bytes, with what rounds it up to whole lines.
const AROUND: usize = 128;

/// A bus, by the path of the socket over which its ends meet.
pub(crate) struct Tachyon<const POLLING: bool>(String);

/// The sending end, which waits for its receiver to connect, meanwhile in a thread of its own.
pub(crate) struct Sending {
    bus: Option<Bus>,
    listener: Option<JoinHandle<Result<Bus, TachyonError>>>,
    patience: Patience,
}

/// The receiving end.
pub(crate) struct Receiving<const POLLING: bool>(Bus);

impl<const POLLING: bool> Wire for Tachyon<POLLING> {
    type Tx = Sending;
    type Rx = Receiving<POLLING>;

    fn open(plan: &Plan, way: &str) -> io::Result<Self> {
        Ok(Self(plan.path(way)))
    }

    fn tx(&self, plan: &Plan) -> io::Result<Sending> {
        let path = self.0.clone();
        let least = LEAST_MESSAGES * (plan.len() + AROUND);
        let capacity = plan.capacity.max(least).next_power_of_two();
        Ok(Sending {
            bus: None,
            listener: Some(thread::spawn(move || Bus::listen(&path, capacity))),
            patience: plan.patience(),
        })
    }

    fn rx(&self, _: &Plan) -> io::Result<Self::Rx> {
        let bus = attach(|| Bus::connect(&self.0).map_err(foreign))?;
        if POLLING {
            bus.set_polling_mode(1);
        }
        Ok(Receiving(bus))
    }
}

impl Sending {
    #[inline]
    fn bus(&mut self) -> io::Result<&Bus> {
        if self.bus.is_none() {
            self.connect()?;
        }
        self.bus
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    #[cold]
    fn connect(&mut self) -> io::Result<()> {
        let listener = self.listener.take().ok_or(io::ErrorKind::NotConnected)?;
        let bus = listener.join().map_err(|_| io::ErrorKind::Other)?;
        self.bus = Some(bus.map_err(foreign)?);
        Ok(())
    }

    /// Puts one message into a slot, waiting while there is none: the library does not.
    #[inline]
    fn put(&mut self, message: &[u8], is_last: bool) -> io::Result<()> {
        let patience = self.patience;
        let bus = self.bus()?;
        let slot = loop {
            match bus.acquire_tx(message.len()) {
                Ok(slot) => break slot,
                Err(TachyonError::BufferFull) => {
                    bus.flush();
                    patience.turn();
                }
                Err(error) => return Err(foreign(error)),
            }
        };
        slot.write(message);
        let committed = match is_last {
            true => slot.commit(message.len(), TYPE),
            false => slot.commit_unflushed(message.len(), TYPE),
        };
        committed.map_err(foreign)
    }
}

impl Tx for Sending {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.put(message, true)
    }

    #[inline]
    fn send_batch(&mut self, batch: &Batch) -> io::Result<()> {
        for message in batch.messages() {
            self.put(message, false)?;
        }
        self.bus()?.flush();
        Ok(())
    }

    #[inline]
    fn send_made(&mut self, pattern: &[u8], _: &mut [u8]) -> io::Result<bool> {
        self.put(pattern, true)?;
        Ok(true)
    }
}

impl<const POLLING: bool> Receiving<POLLING> {
    const SPINS: u32 = if POLLING { u32::MAX } else { SPINS };
}

impl<const POLLING: bool> Rx for Receiving<POLLING> {
    #[inline]
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        let slot = self.0.acquire_rx(Self::SPINS).map_err(foreign)?;
        whole(slot.data().len(), buf.len())?;
        buf.copy_from_slice(slot.data());
        slot.commit().map_err(foreign)
    }

    #[inline]
    fn recv_batch(&mut self, messages: &mut Incoming) -> io::Result<()> {
        let batch = self.0.drain_batch(BATCH, Self::SPINS).map_err(foreign)?;
        for number in 0..batch.len() {
            let view = batch.get(number).ok_or(io::ErrorKind::InvalidData)?;
            messages.check_there(view.data())?;
        }
        batch.commit().map_err(foreign)
    }

    #[inline]
    fn recv_lent(&mut self, messages: &mut Incoming) -> io::Result<bool> {
        let slot = self.0.acquire_rx(Self::SPINS).map_err(foreign)?;
        messages.check_there(slot.data())?;
        slot.commit().map_err(foreign)?;
        Ok(true)
    }
}
