//! The kernel's own ways, used directly: blocking calls with a length both sides know, no framing.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt::SndBuf,
};

use crate::message::{Batch, Incoming};
use crate::wire::{Pieces, Plan, Rx, Tx, Wire, whole};
use crate::workload::CAPACITY;

/// The largest size in bytes up to [`CAPACITY`] that the kernel grants a pipe, found by trying.
///
/// # Errors
///
/// It grants none.
pub fn granted_capacity() -> io::Result<usize> {
    let ends = Ends::pipe()?;
    let mut size = CAPACITY;
    // Above /proc/sys/fs/pipe-max-size, and over a user's share of pipe memory, this is EPERM.
    while resize(&ends, size).is_err() {
        size /= 2;
        if size < 4096 {
            return Err(io::Error::other("the kernel refuses every size of a pipe"));
        }
    }
    Ok(size)
}

fn resize(ends: &Ends, size: usize) -> io::Result<()> {
    let size = i32::try_from(size).map_err(io::Error::other)?;
    fcntl(&ends.tx, FcntlArg::F_SETPIPE_SZ(size))?;
    Ok(())
}

/// The descriptors of both ends.
struct Ends {
    tx: File,
    rx: File,
}

impl Ends {
    fn new(tx: impl Into<OwnedFd>, rx: impl Into<OwnedFd>) -> Self {
        Self {
            tx: tx.into().into(),
            rx: rx.into().into(),
        }
    }

    fn pipe() -> io::Result<Self> {
        let (rx, tx) = io::pipe()?;
        Ok(Self::new(tx, rx))
    }

    fn sockets(plan: &Plan, kind: SockType) -> io::Result<Self> {
        let (tx, rx) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?;
        setsockopt(&tx, SndBuf, &plan.capacity)?;
        Ok(Self::new(tx, rx))
    }
}

/// Bytes whose reader knows how many to wait for.
pub struct Bytes {
    file: File,
    pieces: Pieces,
}

impl Bytes {
    fn new(file: File) -> Self {
        Self {
            file,
            pieces: Pieces::default(),
        }
    }
}

/// Packets, one for each message.
pub struct Whole(File);

impl Whole {
    fn new(file: File) -> Self {
        Self(file)
    }
}

macro_rules! wire {
    ($(#[$doc:meta])* $name:ident, $end:ident, $plan:ident => $open:expr) => {
        $(#[$doc])*
        pub struct $name(Ends);

        impl Wire for $name {
            type Tx = $end;
            type Rx = $end;

            fn open($plan: &Plan, _: &str) -> io::Result<Self> {
                $open.map(Self)
            }

            fn tx(&self, _: &Plan) -> io::Result<$end> {
                self.0.tx.try_clone().map($end::new)
            }

            fn rx(&self, _: &Plan) -> io::Result<$end> {
                self.0.rx.try_clone().map($end::new)
            }
        }
    };
}

wire!(
    /// pipe(2) as it comes.
    PlainPipe, Bytes, _plan => Ends::pipe()
);
wire!(
    /// pipe(2) with F_SETPIPE_SZ.
    TunedPipe, Bytes, plan => {
        let ends = Ends::pipe()?;
        // More takes a privilege.
        resize(&ends, plan.capacity.min(CAPACITY))?;
        Ok(ends)
    }
);
wire!(
    /// socketpair(2) of streams.
    Stream, Bytes, plan => Ends::sockets(plan, SockType::Stream)
);
wire!(
    /// socketpair(2) of packets in order.
    Packets, Whole, plan => Ends::sockets(plan, SockType::SeqPacket)
);

impl Tx for Bytes {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.file.write_all(message)
    }

    /// One write(2) of all, which is what buffering comes to.
    fn send_batch(&mut self, batch: &Batch) -> io::Result<()> {
        self.file.write_all(batch.bytes())
    }
}

impl Rx for Bytes {
    #[inline]
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        self.file.read_exact(buf)
    }

    fn recv_batch(&mut self, messages: &mut Incoming) -> io::Result<()> {
        self.pieces.take(messages, |buf| self.file.read(buf))
    }
}

impl Tx for Whole {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        whole(self.0.write(message)?, message.len())
    }
}

impl Rx for Whole {
    #[inline]
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        match self.0.read(buf)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            len => whole(len, buf.len()),
        }
    }
}
