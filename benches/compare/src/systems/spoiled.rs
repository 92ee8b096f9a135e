//! Kernel pipes with a fault, to show that each fault is reported.

use std::io;

use shmpipe_measure::systems::kernel::{Bytes, TunedPipe};
use shmpipe_measure::wire::{Plan, Tx, Wire};

/// The number of messages after which the fault comes.
const GOOD: u64 = 100;

/// A sender with a fault.
pub(crate) struct Spoiled {
    tx: Bytes,
    sent: u64,
    fault: fn(&mut Bytes, &[u8]) -> io::Result<()>,
}

impl Tx for Spoiled {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.sent += 1;
        if self.sent == GOOD {
            return (self.fault)(&mut self.tx, message);
        }
        self.tx.send(message)
    }
}

macro_rules! wire {
    ($(#[$doc:meta])* $name:ident, $fault:expr) => {
        $(#[$doc])*
        pub(crate) struct $name(TunedPipe);

        impl Wire for $name {
            type Tx = Spoiled;
            type Rx = <TunedPipe as Wire>::Rx;

            fn open(plan: &Plan, way: &str) -> io::Result<Self> {
                TunedPipe::open(plan, way).map(Self)
            }

            fn tx(&self, plan: &Plan) -> io::Result<Spoiled> {
                Ok(Spoiled { tx: self.0.tx(plan)?, sent: 0, fault: $fault })
            }

            fn rx(&self, plan: &Plan) -> io::Result<Self::Rx> {
                self.0.rx(plan)
            }
        }
    };
}

wire!(
    /// One message is not sent.
    Lossy, |_, _| Ok(())
);
wire!(
    /// One send never returns.
    Hanging, |_, _| loop {
        nix::unistd::pause();
    }
);
wire!(
    /// The sending process is killed.
    Dying, |_, _| {
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL)?;
        Ok(())
    }
);
