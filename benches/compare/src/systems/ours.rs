//! shmpipe on either backend, with its defaults but for the capacity.

use std::io;
use std::sync::Mutex;

use shmpipe::{Backend, PipeOptions, Receiver, Sender};

use crate::wire::{Plan, Rx, Tx, Wire, whole};

/// Takes what can be taken once.
pub(super) fn take<T>(slot: &Mutex<Option<T>>) -> io::Result<T> {
    let mut slot = slot.lock().map_err(|_| io::ErrorKind::Deadlock)?;
    slot.take()
        .ok_or_else(|| io::Error::other("this end was taken before"))
}

/// A pipe in shared memory.
pub(crate) struct SharedMemory(Ends);

/// The same calls over a kernel pipe.
pub(crate) struct OnKernelPipes(Ends);

struct Ends {
    tx: Mutex<Option<Sender>>,
    rx: Mutex<Option<Receiver>>,
}

impl Ends {
    fn open(plan: &Plan, backend: Backend) -> io::Result<Self> {
        let (rx, tx) = PipeOptions::new()
            .capacity(plan.capacity)
            .backend(backend)
            .pipe()?;
        Ok(Self {
            tx: Mutex::new(Some(tx)),
            rx: Mutex::new(Some(rx)),
        })
    }
}

macro_rules! wire {
    ($name:ident, $backend:expr) => {
        impl Wire for $name {
            type Tx = Sender;
            type Rx = Receiver;

            fn open(plan: &Plan, _: &str) -> io::Result<Self> {
                Ends::open(plan, $backend).map(Self)
            }

            fn tx(&self, _: &Plan) -> io::Result<Sender> {
                take(&self.0.tx)
            }

            fn rx(&self, _: &Plan) -> io::Result<Receiver> {
                take(&self.0.rx)
            }
        }
    };
}

wire!(SharedMemory, Backend::SharedMemory);
wire!(OnKernelPipes, Backend::Kernel);

impl Tx for Sender {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        Ok(Sender::send(self, message)?)
    }
}

impl Rx for Receiver {
    #[inline]
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        whole(self.recv_into(buf)?, buf.len())
    }
}
