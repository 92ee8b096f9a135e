//! shmpipe on either backend, with its defaults but for the capacity and, in two of the modes, the spinning.
//!
//! The calls are those of its documentation: `send` and `recv_into`, batches, slots and views.

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use shmpipe::{Backend, PipeOptions, Receiver, Sender, Spin};

use crate::message::{Batch, Incoming};
use crate::wire::{Plan, Rx, Tx, Wire, take, whole};
use crate::workload::CAPACITY;

/// Longer than any pause of a workload but the slow paces.
const LONG: Duration = Duration::from_millis(10);

struct Ends {
    tx: Mutex<Option<Sender>>,
    rx: Mutex<Option<Receiver>>,
}

impl Ends {
    fn open(plan: &Plan, backend: Backend, spin: Spin) -> io::Result<Self> {
        let capacity = match backend {
            // More takes a privilege.
            Backend::Kernel => plan.capacity.min(CAPACITY),
            _ => plan.capacity,
        };
        let (rx, tx) = PipeOptions::new()
            .capacity(capacity)
            .backend(backend)
            .spin(spin)
            .pipe()?;
        Ok(Self {
            tx: Mutex::new(Some(tx)),
            rx: Mutex::new(Some(rx)),
        })
    }
}

macro_rules! wire {
    ($(#[$doc:meta])* $name:ident, $backend:expr, $spin:expr) => {
        wire!($(#[$doc])* $name, $backend, $spin, Sender, |tx| tx, Receiver, |rx| rx);
    };
    ($(#[$doc:meta])* $name:ident, $backend:expr, $spin:expr, $tx:ty, $to:expr, $rx:ty, $from:expr) => {
        $(#[$doc])*
        pub(crate) struct $name(Ends);

        impl Wire for $name {
            type Tx = $tx;
            type Rx = $rx;

            fn open(plan: &Plan, _: &str) -> io::Result<Self> {
                Ends::open(plan, $backend, $spin).map(Self)
            }

            fn tx(&self, _: &Plan) -> io::Result<$tx> {
                take(&self.0.tx).map($to)
            }

            fn rx(&self, _: &Plan) -> io::Result<$rx> {
                take(&self.0.rx).map($from)
            }
        }
    };
}

wire!(
    /// A pipe in shared memory.
    SharedMemory, Backend::SharedMemory, Spin::Adaptive
);
wire!(
    /// One whose ends sleep at once.
    Sleeping, Backend::SharedMemory, Spin::Never
);
wire!(
    /// One whose ends spin for [`LONG`].
    Spinning, Backend::SharedMemory, Spin::For(LONG)
);
wire!(
    /// The same calls over a kernel pipe.
    OnKernelPipes, Backend::Kernel, Spin::Adaptive
);
wire!(
    /// A pipe in shared memory whose messages are copied in and out where others lend theirs.
    Copying, Backend::SharedMemory, Spin::Adaptive, CopyingTx, CopyingTx, CopyingRx, CopyingRx
);

impl Tx for Sender {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        Ok(Sender::send(self, message)?)
    }

    #[inline]
    fn send_batch(&mut self, batch: &Batch) -> io::Result<()> {
        Sender::send_batch(self, batch.messages())?;
        Ok(())
    }

    #[inline]
    fn send_made(&mut self, pattern: &[u8], _: &mut [u8]) -> io::Result<bool> {
        let mut slot = self.reserve(pattern.len())?;
        slot.copy_from_slice(pattern);
        let is_in_place = slot.is_in_place();
        slot.commit()?;
        Ok(is_in_place)
    }
}

impl Rx for Receiver {
    #[inline]
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        whole(self.recv_into(buf)?, buf.len())
    }

    #[inline]
    fn recv_batch(&mut self, messages: &mut Incoming) -> io::Result<()> {
        for message in Receiver::recv_batch(self)? {
            messages.check_there(message)?;
        }
        Ok(())
    }

    #[inline]
    fn recv_lent(&mut self, messages: &mut Incoming) -> io::Result<bool> {
        let view = self.recv_in_place()?;
        // SAFETY: every holder of an end is a process of this program, and none writes into a message that was sent.
        let message = unsafe { view.as_slice() };
        messages.check_there(message)?;
        Ok(view.is_in_place())
    }
}

/// The sending end of [`Copying`].
pub(crate) struct CopyingTx(Sender);

/// Its receiving end.
pub(crate) struct CopyingRx(Receiver);

impl Tx for CopyingTx {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        Tx::send(&mut self.0, message)
    }
}

impl Rx for CopyingRx {
    #[inline]
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        Rx::recv(&mut self.0, buf)
    }
}
