//! Rivals with messages or bytes of any length: ipc-channel, interprocess, ipc_ring, shmring.

use std::fs;
use std::io::{self, Read, Write};
use std::sync::Mutex;

use interprocess::unnamed_pipe::{self, Recver, Sender};
use ipc_channel::IpcError;
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};
use ipc_ring::{RingReader, RingWriter};
use shmring::backend::ShmStorage;
use shmring::{Options, Reader, Writer, create_shm, open_shm};

use super::End;
use shmpipe_measure::message::{Batch, Incoming};
use shmpipe_measure::wire::{Pieces, Plan, Rx, Tx, Wire, attach, foreign, take, whole};

type Slot<T> = Mutex<Option<T>>;

/// ipc-channel's channel of bytes, which spares it the serialization.
pub(crate) struct IpcChannel {
    tx: Slot<IpcBytesSender>,
    rx: Slot<IpcBytesReceiver>,
}

impl Wire for IpcChannel {
    type Tx = End<IpcBytesSender>;
    type Rx = End<IpcBytesReceiver>;

    fn open(_: &Plan, _: &str) -> io::Result<Self> {
        let (tx, rx) = bytes_channel()?;
        Ok(Self {
            tx: Mutex::new(Some(tx)),
            rx: Mutex::new(Some(rx)),
        })
    }

    fn tx(&self, _: &Plan) -> io::Result<Self::Tx> {
        take(&self.tx).map(End)
    }

    fn rx(&self, _: &Plan) -> io::Result<Self::Rx> {
        take(&self.rx).map(End)
    }
}

impl Tx for End<IpcBytesSender> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.0.send(message)
    }
}

impl Rx for End<IpcBytesReceiver> {
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        let due = buf.len();
        *buf = self.0.recv().map_err(|error| match error {
            IpcError::Disconnected => io::ErrorKind::UnexpectedEof.into(),
            error => foreign(error),
        })?;
        whole(buf.len(), due)
    }
}

/// interprocess's unnamed pipe.
pub(crate) struct Unnamed {
    tx: Slot<Sender>,
    rx: Slot<Recver>,
}

impl Wire for Unnamed {
    type Tx = End<Sender>;
    type Rx = End<Recver>;

    fn open(_: &Plan, _: &str) -> io::Result<Self> {
        let (tx, rx) = unnamed_pipe::pipe()?;
        Ok(Self {
            tx: Mutex::new(Some(tx)),
            rx: Mutex::new(Some(rx)),
        })
    }

    fn tx(&self, _: &Plan) -> io::Result<Self::Tx> {
        take(&self.tx).map(End)
    }

    fn rx(&self, _: &Plan) -> io::Result<Self::Rx> {
        take(&self.rx).map(End)
    }
}

impl Tx for End<Sender> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.0.write_all(message)
    }
}

impl Rx for End<Recver> {
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        self.0.read_exact(buf)
    }
}

/// ipc_ring's ring in a file, here in memory.
pub(crate) struct IpcRing(String);

impl Wire for IpcRing {
    type Tx = End<RingWriter>;
    type Rx = End<RingReader>;

    fn open(plan: &Plan, way: &str) -> io::Result<Self> {
        Ok(Self(plan.path(way)))
    }

    fn tx(&self, plan: &Plan) -> io::Result<Self::Tx> {
        let tx = RingWriter::create(&self.0, plan.capacity).map_err(foreign)?;
        Ok(End(tx))
    }

    fn rx(&self, _: &Plan) -> io::Result<Self::Rx> {
        let rx = attach(|| RingReader::open(&self.0).map_err(foreign))?;
        fs::remove_file(&self.0)?;
        Ok(End(rx))
    }
}

impl Tx for End<RingWriter> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.0.push(message, None).map_err(foreign)
    }
}

impl Rx for End<RingReader> {
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        let due = buf.len();
        whole(self.0.pop(buf, None).map_err(foreign)?, due)
    }
}

/// shmring's stream of bytes.
pub(crate) struct ShmRing(String);

/// Its receiving end.
pub(crate) struct ShmRingRx {
    rx: Reader<ShmStorage>,
    pieces: Pieces,
}

impl Wire for ShmRing {
    type Tx = End<Writer<ShmStorage>>;
    type Rx = ShmRingRx;

    fn open(plan: &Plan, way: &str) -> io::Result<Self> {
        Ok(Self(format!("{}-{way}", plan.name)))
    }

    fn tx(&self, plan: &Plan) -> io::Result<Self::Tx> {
        let tx = create_shm(&self.0, plan.capacity as u64, Options::default());
        tx.map(End).map_err(foreign)
    }

    fn rx(&self, plan: &Plan) -> io::Result<Self::Rx> {
        let open = || open_shm(&self.0, plan.capacity as u64, Options::default()).map_err(foreign);
        Ok(ShmRingRx {
            rx: attach(open)?,
            pieces: Pieces::default(),
        })
    }
}

impl Tx for End<Writer<ShmStorage>> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.0.write_all(message)
    }

    fn send_batch(&mut self, batch: &Batch) -> io::Result<()> {
        self.0.write_all(batch.bytes())
    }
}

impl Rx for ShmRingRx {
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        self.rx.read_exact(buf)
    }

    fn recv_batch(&mut self, messages: &mut Incoming) -> io::Result<()> {
        self.pieces.take(messages, |buf| self.rx.read(buf))
    }
}
