//! shmem-ipc's shared ring: bytes for one sender and one receiver, who wake each other by eventfd(2).
//!
//! The ends are made from each other's descriptors before the fork.

use std::io;
use std::ptr;
use std::sync::Mutex;

use shmem_ipc::sharedring::{Receiver, Sender};

use super::End;
use shmpipe_measure::message::{Batch, Incoming};
use shmpipe_measure::wire::{Pieces, Plan, Rx, Tx, Wire, foreign, take};

/// Both ends of a ring.
pub(crate) struct Shmem {
    tx: Mutex<Option<Sender<u8>>>,
    rx: Mutex<Option<Receiver<u8>>>,
}

/// The receiving end.
pub(crate) struct Receiving {
    rx: Receiver<u8>,
    pieces: Pieces,
}

impl Wire for Shmem {
    type Tx = End<Sender<u8>>;
    type Rx = Receiving;

    fn open(plan: &Plan, _: &str) -> io::Result<Self> {
        let tx = Sender::new(plan.capacity).map_err(foreign)?;
        let memory = tx.memfd().as_file().try_clone()?;
        let (empty, full) = (
            tx.empty_signal().try_clone()?,
            tx.full_signal().try_clone()?,
        );
        let rx = Receiver::open(plan.capacity, memory, empty, full).map_err(foreign)?;
        Ok(Self {
            tx: Mutex::new(Some(tx)),
            rx: Mutex::new(Some(rx)),
        })
    }

    fn tx(&self, _: &Plan) -> io::Result<Self::Tx> {
        take(&self.tx).map(End)
    }

    fn rx(&self, _: &Plan) -> io::Result<Receiving> {
        Ok(Receiving {
            rx: take(&self.rx)?,
            pieces: Pieces::default(),
        })
    }
}

/// Puts all bytes into the ring, waiting while there is no room.
fn put(tx: &mut Sender<u8>, bytes: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        tx.block_until_writable().map_err(foreign)?;
        tx.send_raw(|to, room| {
            let rest = &bytes[sent..];
            let count = rest.len().min(room);
            // SAFETY: the ring has that much room at `to`, which its receiver does not read before it is sent.
            unsafe { ptr::copy_nonoverlapping(rest.as_ptr(), to, count) };
            sent += count;
            count
        })
        .map_err(foreign)?;
    }
    Ok(())
}

impl Receiving {
    /// Waits for bytes, and takes as many as are there and fit.
    fn read(rx: &mut Receiver<u8>, buf: &mut [u8]) -> io::Result<usize> {
        rx.block_until_readable().map_err(foreign)?;
        let mut taken = 0;
        rx.receive_raw(|from, there| {
            taken = buf.len().min(there);
            // SAFETY: the ring has that many bytes at `from`, which its sender does not change before they are
            // given back.
            unsafe { ptr::copy_nonoverlapping(from, buf.as_mut_ptr(), taken) };
            taken
        })
        .map_err(foreign)?;
        Ok(taken)
    }
}

impl Tx for End<Sender<u8>> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        put(&mut self.0, message)
    }

    fn send_batch(&mut self, batch: &Batch) -> io::Result<()> {
        put(&mut self.0, batch.bytes())
    }
}

impl Rx for Receiving {
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        let mut got = 0;
        while got < buf.len() {
            got += Self::read(&mut self.rx, &mut buf[got..])?;
        }
        Ok(())
    }

    fn recv_batch(&mut self, messages: &mut Incoming) -> io::Result<()> {
        let Self { rx, pieces } = self;
        pieces.take(messages, |buf| Self::read(rx, buf))
    }
}
