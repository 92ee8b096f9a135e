//! What a system must offer to be measured: a one-way channel for messages of a length both sides know.
//!
//! It does not say how processes come about; `session` forks them.

use std::io;

use crate::workload::Workload;

/// The circumstances of one slice.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What is done.
    pub(crate) workload: Workload,
    /// Room in bytes that each channel is asked for.
    pub(crate) capacity: usize,
    /// The receiver's (or pinging side's) CPU, then those of its peers in turn.
    pub(crate) cpus: Vec<usize>,
    /// How long the measured part takes, in nanoseconds.
    pub(crate) slice_nanos: u64,
    /// A name that no other slice on this machine uses, for systems that meet by name.
    pub(crate) name: String,
}

impl Plan {
    /// Length in bytes of each message.
    pub(crate) fn len(&self) -> usize {
        self.workload.len
    }

    /// The CPU of the peer with that number.
    pub(crate) fn peer_cpu(&self, peer: usize) -> usize {
        let peers = &self.cpus[1..];
        peers[peer % peers.len()]
    }

    /// How to wait for a peer that is looked at again and again.
    pub(crate) fn patience(&self) -> Patience {
        Patience {
            yields: self.workload.is_one_cpu(),
        }
    }
}

/// How a side waits that can only look again: spinning, or giving way where both share one CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    yields: bool,
}

impl Patience {
    /// One turn of waiting.
    #[inline]
    pub(crate) fn turn(self) {
        if self.yields {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

/// One way for messages, opened before the fork and then shared by both sides.
pub(crate) trait Wire: Sized + Sync {
    /// The sending end.
    type Tx: Tx;
    /// The receiving end.
    type Rx: Rx;

    /// Opens a channel; `way` names its direction, for systems that meet by name.
    fn open(plan: &Plan, way: &str) -> io::Result<Self>;

    /// The sending end, taken once in each sending process or thread.
    fn tx(&self, plan: &Plan) -> io::Result<Self::Tx>;

    /// The receiving end, taken once.
    fn rx(&self, plan: &Plan) -> io::Result<Self::Rx>;
}

/// A sending end.
pub(crate) trait Tx {
    /// Sends `message` whole, waiting while there is no room.
    fn send(&mut self, message: &[u8]) -> io::Result<()>;
}

/// A receiving end.
pub(crate) trait Rx {
    /// Copies the next message, which must be as long as `buf`, waiting until it is there.
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<()>;
}

/// The error for a message of another length than was sent.
pub(crate) fn whole(len: usize, due: usize) -> io::Result<()> {
    if len == due {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a message of {len} bytes came where one of {due} was sent"),
    ))
}
