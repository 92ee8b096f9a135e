//! The systems under comparison, each behind the small trait [`Channel`].
//!
//! The rivals are used in their best form: fixed-size blocking reads and writes straight on the
//! descriptor, no framing of ours, buffers enlarged. What is sent is not known here.

use std::fmt;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use shmpipe::{Backend, Connection, PipeOptions, Receiver, Sender};

/// Buffer size in bytes that every system is asked for, in each direction.
const WANTED_CAPACITY: usize = 1 << 20;

/// A way for whole messages to another process.
pub(crate) trait Channel {
    /// Sends `message` whole, blocking while there is no room.
    fn send(&mut self, message: &[u8]) -> io::Result<()>;

    /// Receives the next message, which must be as long as `buf`, blocking until it is there.
    fn recv(&mut self, buf: &mut [u8]) -> io::Result<()>;
}

/// Something to do with a channel of whichever type, without dynamic dispatch on each message.
pub(crate) trait Task {
    /// What it gives.
    type Outcome;

    /// Does it.
    fn run<C: Channel>(self, channel: &mut C) -> io::Result<Self::Outcome>;
}

/// One of the systems that the table compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// shmpipe on its ring in shared memory.
    SharedMemory,
    /// The same shmpipe calls on kernel pipes.
    OnKernelPipes,
    /// pipe(2), used directly: what every ratio refers to.
    KernelPipe,
    /// A Unix stream socketpair(2), used directly.
    Socketpair,
}

impl System {
    /// All systems, in the table's order.
    pub(crate) const ALL: [Self; 4] = [
        Self::SharedMemory,
        Self::OnKernelPipes,
        Self::KernelPipe,
        Self::Socketpair,
    ];
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SharedMemory => "shmpipe, shared memory",
            Self::OnKernelPipes => "shmpipe on kernel pipes",
            Self::KernelPipe => "kernel pipe, raw",
            Self::Socketpair => "Unix socketpair, raw",
        })
    }
}

/// Buffer sizes in bytes that the kernel grants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    /// Of a pipe; shmpipe is given the same.
    pub(crate) pipe: usize,
    /// Of a socket, as SO_SNDBUF reads back: the kernel doubles what was asked, for its own records.
    pub(crate) socket: usize,
}

impl Capacity {
    /// Finds the largest sizes up to the wanted one, by trying them.
    pub(crate) fn probe() -> io::Result<Self> {
        let (_rx, tx) = io::pipe()?;
        let mut pipe = WANTED_CAPACITY;
        // Above /proc/sys/fs/pipe-max-size, and over a user's share of pipe memory, this is EPERM.
        while resize_pipe(&tx, pipe).is_err() {
            pipe /= 2;
            if pipe < 4096 {
                return Err(io::Error::other("the kernel refuses every size of a pipe"));
            }
        }
        let (socket, _) = socketpair(pipe)?;
        Ok(Self {
            pipe,
            socket: getsockopt(&socket, sockopt::SndBuf)?,
        })
    }
}

/// One process's ends of every system. `H` is the half of the one-way shmpipe: [`Sender`] at the
/// driver, [`Receiver`] at the peer.
pub(crate) struct Ends<H> {
    shared_memory: Shmpipe<H>,
    on_kernel_pipes: Shmpipe<H>,
    kernel_pipe: RawPipes,
    socketpair: UnixStream,
}

struct Shmpipe<H> {
    two_way: Connection,
    one_way: H,
}

impl<H: Channel> Ends<H> {
    /// Runs `task` on the channel of `system`; `two_way` tells whether both directions are needed.
    pub(crate) fn with<T: Task>(
        &mut self,
        system: System,
        two_way: bool,
        task: T,
    ) -> io::Result<T::Outcome> {
        match (system, two_way) {
            (System::SharedMemory, true) => task.run(&mut self.shared_memory.two_way),
            (System::SharedMemory, false) => task.run(&mut self.shared_memory.one_way),
            (System::OnKernelPipes, true) => task.run(&mut self.on_kernel_pipes.two_way),
            (System::OnKernelPipes, false) => task.run(&mut self.on_kernel_pipes.one_way),
            (System::KernelPipe, _) => task.run(&mut self.kernel_pipe),
            (System::Socketpair, _) => task.run(&mut self.socketpair),
        }
    }
}

/// Opens every system and returns the driver's ends and the peer's.
pub(crate) fn open(capacity: Capacity) -> io::Result<(Ends<Sender>, Ends<Receiver>)> {
    let size = capacity.pipe;
    let named = |system: System| {
        move |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("cannot open {system} of {size} bytes: {error}"),
            )
        }
    };
    let (shared_left, shared_right) =
        open_shmpipe(Backend::SharedMemory, size).map_err(named(System::SharedMemory))?;
    let (kernel_left, kernel_right) =
        open_shmpipe(Backend::Kernel, size).map_err(named(System::OnKernelPipes))?;
    let (pipe_left, pipe_right) = open_raw_pipes(size).map_err(named(System::KernelPipe))?;
    let (socket_left, socket_right) = socketpair(size).map_err(named(System::Socketpair))?;
    let driver = Ends {
        shared_memory: shared_left,
        on_kernel_pipes: kernel_left,
        kernel_pipe: pipe_left,
        socketpair: socket_left,
    };
    let peer = Ends {
        shared_memory: shared_right,
        on_kernel_pipes: kernel_right,
        kernel_pipe: pipe_right,
        socketpair: socket_right,
    };
    Ok((driver, peer))
}

fn open_shmpipe(
    backend: Backend,
    capacity: usize,
) -> io::Result<(Shmpipe<Sender>, Shmpipe<Receiver>)> {
    let options = PipeOptions::new().capacity(capacity).backend(backend);
    let (left, right) = options.duplex()?;
    let (rx, tx) = options.pipe()?;
    Ok((
        Shmpipe {
            two_way: left,
            one_way: tx,
        },
        Shmpipe {
            two_way: right,
            one_way: rx,
        },
    ))
}

fn open_raw_pipes(capacity: usize) -> io::Result<(RawPipes, RawPipes)> {
    let (left_rx, right_tx) = io::pipe()?;
    let (right_rx, left_tx) = io::pipe()?;
    resize_pipe(&left_tx, capacity)?;
    resize_pipe(&right_tx, capacity)?;
    Ok((
        RawPipes {
            rx: left_rx,
            tx: left_tx,
        },
        RawPipes {
            rx: right_rx,
            tx: right_tx,
        },
    ))
}

pub(super) fn resize_pipe(pipe: &PipeWriter, capacity: usize) -> io::Result<()> {
    let size = i32::try_from(capacity).map_err(io::Error::other)?;
    fcntl(pipe, FcntlArg::F_SETPIPE_SZ(size))?;
    Ok(())
}

pub(super) fn socketpair(capacity: usize) -> io::Result<(UnixStream, UnixStream)> {
    let (left, right) = UnixStream::pair()?;
    setsockopt(&left, sockopt::SndBuf, &capacity)?;
    setsockopt(&right, sockopt::SndBuf, &capacity)?;
    Ok((left, right))
}

/// The reading end of one pipe(2) and the writing end of another.
struct RawPipes {
    rx: PipeReader,
    tx: PipeWriter,
}

impl Channel for RawPipes {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.tx.write_all(message)
    }

    fn recv(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.rx.read_exact(buf)
    }
}

impl Channel for UnixStream {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.write_all(message)
    }

    fn recv(&mut self, buf: &mut [u8]) -> io::Result<()> {
        self.read_exact(buf)
    }
}

impl Channel for Connection {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        Connection::send(self, message).map_err(Into::into)
    }

    fn recv(&mut self, buf: &mut [u8]) -> io::Result<()> {
        whole(self.recv_into(buf)?, buf.len())
    }
}

impl Channel for Sender {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        Sender::send(self, message).map_err(Into::into)
    }

    fn recv(&mut self, _: &mut [u8]) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the driver's half of a one-way pipe sends",
        ))
    }
}

impl Channel for Receiver {
    fn send(&mut self, _: &[u8]) -> io::Result<()> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the peer's half of a one-way pipe receives",
        ))
    }

    fn recv(&mut self, buf: &mut [u8]) -> io::Result<()> {
        whole(self.recv_into(buf)?, buf.len())
    }
}

/// Checks the length of a received message.
fn whole(len: usize, due: usize) -> io::Result<()> {
    if len == due {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a message of {len} bytes came where one of {due} bytes was sent"),
    ))
}
