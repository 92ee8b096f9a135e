//! The systems of the full instrument: those of the table, and the raw limit.

use std::fmt;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::unix::net::UnixStream;

use serde::{Serialize, Serializer};
use shmpipe::{Backend, PipeOptions, Receiver, Sender};

use super::limit;
use super::plan::Case;
use crate::bench::systems::{resize_pipe, socketpair};

/// Longest write that a kernel pipe keeps whole among several writers (`PIPE_BUF`, pipe(7)).
const ATOMIC: usize = 4096;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// shmpipe on its ring in shared memory.
    SharedMemory,
    /// The same calls on kernel pipes.
    OnKernelPipes,
    /// pipe(2) used directly.
    KernelPipe,
    /// A Unix stream socketpair(2) used directly.
    Socketpair,
    /// Copying through shared memory and nothing else: no sleep, no sharing, no end-of-file.
    Limit,
}

impl System {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Self; 5] = [
        Self::SharedMemory,
        Self::OnKernelPipes,
        Self::KernelPipe,
        Self::Socketpair,
        Self::Limit,
    ];

    /// Whether it keeps messages whole in this workload. The limit has one sender and spins, so it says nothing of
    /// a paced one.
    pub(crate) fn can(self, case: &Case) -> bool {
        match self {
            Self::SharedMemory | Self::OnKernelPipes => true,
            Self::KernelPipe => case.senders == 1 || case.size <= ATOMIC,
            Self::Socketpair => case.senders == 1,
            Self::Limit => case.senders == 1 && case.mode != super::plan::Mode::Paced,
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SharedMemory => "shmpipe, shared memory",
            Self::OnKernelPipes => "shmpipe, kernel pipes",
            Self::KernelPipe => "kernel pipe, raw",
            Self::Socketpair => "Unix socketpair, raw",
            Self::Limit => "raw limit",
        })
    }
}

impl Serialize for System {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Sends whole messages.
pub(crate) trait Out {
    fn put(&mut self, message: &[u8]) -> io::Result<()>;
}

/// Receives whole messages of a known length; false at the end.
pub(crate) trait In {
    fn take(&mut self, message: &mut [u8]) -> io::Result<bool>;
}

/// Something to do with one end of whichever system: the way out of it, and the way in.
pub(crate) trait Job {
    fn run(self, out: impl Out, back: impl In) -> io::Result<String>;
}

/// Both directions of one system, before the processes part.
pub(crate) enum Channels {
    Shmpipe(Box<[(Receiver, Sender); 2]>),
    Pipe([(PipeReader, PipeWriter); 2]),
    Socket(UnixStream, UnixStream),
    Limit([(limit::Reader, limit::Writer); 2]),
}

impl Channels {
    pub(crate) fn open(system: System, capacity: usize, size: usize) -> io::Result<Self> {
        let shmpipe = |backend| {
            let options = PipeOptions::new().capacity(capacity).backend(backend);
            let both = [options.pipe()?, options.pipe()?];
            Ok::<_, io::Error>(Self::Shmpipe(Box::new(both)))
        };
        let pipe = || {
            let (rx, tx) = io::pipe()?;
            resize_pipe(&tx, capacity)?;
            Ok::<_, io::Error>((rx, tx))
        };
        match system {
            System::SharedMemory => shmpipe(Backend::SharedMemory),
            System::OnKernelPipes => shmpipe(Backend::Kernel),
            System::KernelPipe => Ok(Self::Pipe([pipe()?, pipe()?])),
            System::Socketpair => {
                let (left, right) = socketpair(capacity)?;
                Ok(Self::Socket(left, right))
            }
            System::Limit => {
                let there = limit::pair(capacity, size)?;
                Ok(Self::Limit([there, limit::pair(capacity, size)?]))
            }
        }
    }

    /// Becomes the end of a sender, which gets what the receiver answers; all else is closed first.
    pub(crate) fn send(self, job: impl Job) -> io::Result<String> {
        match self {
            Self::Shmpipe(both) => {
                let [(one, tx), (rx, other)] = *both;
                drop((one, other));
                job.run(tx, rx)
            }
            Self::Pipe([(one, tx), (rx, other)]) => {
                drop((one, other));
                job.run(tx, rx)
            }
            Self::Socket(left, right) => {
                drop(right);
                job.run(left.try_clone()?, left)
            }
            Self::Limit([(_, tx), (rx, _)]) => job.run(tx, rx),
        }
    }

    /// Becomes the end of the receiver.
    pub(crate) fn receive(self, job: impl Job) -> io::Result<String> {
        match self {
            Self::Shmpipe(both) => {
                let [(rx, one), (other, tx)] = *both;
                drop((one, other));
                job.run(tx, rx)
            }
            Self::Pipe([(rx, one), (other, tx)]) => {
                drop((one, other));
                job.run(tx, rx)
            }
            Self::Socket(left, right) => {
                drop(left);
                job.run(right.try_clone()?, right)
            }
            Self::Limit([(rx, _), (_, tx)]) => job.run(tx, rx),
        }
    }
}

impl Out for Sender {
    fn put(&mut self, message: &[u8]) -> io::Result<()> {
        Ok(self.send(message)?)
    }
}

impl In for Receiver {
    fn take(&mut self, message: &mut [u8]) -> io::Result<bool> {
        match self.recv_into(message) {
            Ok(len) if len == message.len() => Ok(true),
            Ok(len) => Err(io::Error::other(format!("a message of {len} bytes came"))),
            Err(shmpipe::RecvError::Disconnected) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Out for PipeWriter {
    fn put(&mut self, message: &[u8]) -> io::Result<()> {
        self.write_all(message)
    }
}

impl In for PipeReader {
    fn take(&mut self, message: &mut [u8]) -> io::Result<bool> {
        read_whole(self, message)
    }
}

impl Out for UnixStream {
    fn put(&mut self, message: &[u8]) -> io::Result<()> {
        self.write_all(message)
    }
}

impl In for UnixStream {
    fn take(&mut self, message: &mut [u8]) -> io::Result<bool> {
        read_whole(self, message)
    }
}

fn read_whole(from: &mut impl Read, message: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(message) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
