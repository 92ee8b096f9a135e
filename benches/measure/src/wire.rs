//! What a system must offer to be measured: a one-way channel for messages of a length both sides know.
//!
//! It does not say how processes come about; `session` forks them.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::file::Material;
use crate::kills::Kill;
use crate::message::{Batch, Incoming};
use crate::workload::Workload;

/// The circumstances of one slice.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is done.
    pub workload: Workload,
    /// Room in bytes that each channel is asked for.
    pub capacity: usize,
    /// The receiver's (or pinging side's) CPU, then those of its peers in turn.
    pub cpus: Vec<usize>,
    /// How long the measured part takes, in nanoseconds.
    pub slice_nanos: u64,
    /// The cgroup to run in; `None` to stay where we are.
    pub cgroup: Option<PathBuf>,
    /// A name that no other slice on this machine uses, for systems that meet by name: the files
    /// they make in /dev/shm begin with it.
    pub name: String,
    /// What [`Kind::File`](crate::workload::Kind::File) sends.
    pub file: Option<Arc<Material>>,
    /// Whom to kill, in place of measuring.
    pub kill: Option<Kill>,
}

impl Plan {
    /// Length in bytes of each message.
    #[expect(clippy::len_without_is_empty, reason = "no message is empty")]
    pub fn len(&self) -> usize {
        self.workload.len
    }

    /// The CPU of the peer with that number.
    pub fn peer_cpu(&self, peer: usize) -> usize {
        let peers = &self.cpus[1..];
        peers[peer % peers.len()]
    }

    /// The file in /dev/shm for a system that wants one for each channel.
    pub fn path(&self, way: &str) -> String {
        format!("/dev/shm/{}-{way}", self.name)
    }

    /// How to wait for a peer that is looked at again and again.
    pub fn patience(&self) -> Patience {
        Patience {
            yields: self.workload.is_one_cpu(),
        }
    }
}

/// How a side waits that can only look again: spinning, or giving way where both share one CPU.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    yields: bool,
}

impl Patience {
    /// One turn of waiting.
    #[inline]
    pub fn turn(self) {
        if self.yields {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }

    /// One turn with a barrier between two loads in place of a pause.
    #[inline]
    pub fn barrier(self) {
        if self.yields {
            std::thread::yield_now();
        } else {
            keep_loads_apart();
        }
    }
}

/// Lets no later load begin before all earlier ones have ended.
#[inline]
fn keep_loads_apart() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction is part of every x86_64 and changes neither memory nor registers.
    unsafe {
        std::arch::asm!("lfence", options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the instruction is part of every aarch64 and changes neither memory nor registers.
    unsafe {
        std::arch::asm!("isb", options(nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    std::hint::spin_loop();
}

/// One way for messages, opened before the fork and then shared by both sides.
pub trait Wire: Sized + Sync {
    /// The sending end.
    type Tx: Tx;
    /// The receiving end.
    type Rx: Rx;

    /// Whether a sender's end takes along what is still under way, so that it must wait for its receiver.
    const LINGERS: bool = false;

    /// Opens a channel; `way` names its direction, for systems that meet by name.
    fn open(plan: &Plan, way: &str) -> io::Result<Self>;

    /// The sending end, taken once in each sending process or thread.
    fn tx(&self, plan: &Plan) -> io::Result<Self::Tx>;

    /// The receiving end, taken once.
    fn rx(&self, plan: &Plan) -> io::Result<Self::Rx>;
}

/// A sending end.
pub trait Tx {
    /// Sends `message` whole, waiting while there is no room.
    fn send(&mut self, message: &[u8]) -> io::Result<()>;

    /// Sends all of `batch` by the call that the system has for that.
    fn send_batch(&mut self, _batch: &Batch) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Sends a message that is made now, by copying it from `pattern` to where it is sent from; returns whether
    /// that was in the channel. One that lends no memory has it made in `own`, and copies it from there.
    fn send_made(&mut self, pattern: &[u8], own: &mut [u8]) -> io::Result<bool> {
        own.copy_from_slice(pattern);
        self.send(own)?;
        Ok(false)
    }
}

/// A receiving end.
pub trait Rx {
    /// Puts the next message, which must be as long as `buf`, into `buf`, waiting until it is there.
    ///
    /// A system that gives vectors may put its own in place of it.
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()>;

    /// Takes at least one message, and as many more as the system's call for that gives, and has them checked.
    fn recv_batch(&mut self, _messages: &mut Incoming) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Has the next message checked where it lies; returns whether that was in the channel. One that lends no
    /// memory copies it out.
    fn recv_lent(&mut self, messages: &mut Incoming) -> io::Result<bool> {
        self.recv(&mut messages.bytes)?;
        messages.check()?;
        Ok(false)
    }

    /// Takes note of the senders, which are there now and have not sent anything.
    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes messages of what a stream of bytes gives, for systems that have no messages.
#[derive(Default)]
pub struct Pieces {
    bytes: Vec<u8>,
    /// Bytes at the beginning that are the first ones of a message.
    held: usize,
}

impl Pieces {
    /// Reads once, and has all messages checked that are whole then.
    #[inline]
    pub fn take(
        &mut self,
        messages: &mut Incoming,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        if self.bytes.is_empty() {
            self.bytes = vec![0; PIECE];
        }
        let count = read(&mut self.bytes[self.held..])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let there = self.held + count;
        let whole = self.bytes[..there].chunks_exact(messages.len());
        self.held = whole.remainder().len();
        for message in whole {
            messages.check_there(message)?;
        }
        self.bytes.copy_within(there - self.held..there, 0);
        Ok(())
    }
}

/// Bytes that [`Pieces`] asks for at a time.
const PIECE: usize = 64 << 10;

/// Checks the length of a received message.
///
/// # Errors
///
/// It is another one than was sent.
#[inline]
pub fn whole(len: usize, due: usize) -> io::Result<()> {
    if len == due {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a message of {len} bytes came where one of {due} was sent"),
    ))
}

/// Takes what can be taken once: an end that is opened before the fork.
///
/// # Errors
///
/// It was taken before.
pub fn take<T>(slot: &Mutex<Option<T>>) -> io::Result<T> {
    let mut slot = slot.lock().map_err(|_| io::ErrorKind::Deadlock)?;
    slot.take()
        .ok_or_else(|| io::Error::other("this end was taken before"))
}

/// Tries again and again for what another process is about to make, for at most two seconds.
///
/// # Errors
///
/// The last failure.
pub fn attach<T>(mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let end = Instant::now() + Duration::from_secs(2);
    loop {
        match open() {
            Ok(opened) => return Ok(opened),
            Err(error) if Instant::now() >= end => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}

/// An error of another library.
pub fn foreign(error: impl Error) -> io::Error {
    io::Error::other(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::LAST;

    #[test]
    fn messages_are_put_together_from_pieces_of_any_length() {
        let mut batch = Batch::new(64, 0);
        let bytes = batch.next(LAST).bytes().to_vec();
        for piece in [1, 7, 64, 100, bytes.len()] {
            let (mut pieces, mut messages) = (Pieces::default(), Incoming::new(64));
            for part in bytes.chunks(piece) {
                let read = |buf: &mut [u8]| {
                    buf[..part.len()].copy_from_slice(part);
                    Ok(part.len())
                };
                pieces.take(&mut messages, read).expect("messages in order");
            }
            assert_eq!(messages.seen(LAST), 1, "pieces of {piece} bytes");
        }
    }
}
