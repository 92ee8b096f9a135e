//! What memory allows for large messages: memcpy into a shared buffer and out of it, in turns.
//!
//! No pipe: each buffer holds one message of a length both sides know, and a flag says who may use it.
//!
//! How many buffers there are decides more than anything else. Bytes that are still in the sender's own
//! cache come slower to another core than those that have moved on to the cache both share, so many
//! buffers can beat two. Both are here, and neither is the better one everywhere.

use std::io;
use std::ptr;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::message::Incoming;
use crate::shared::{Atomics, Region, Shared};
use crate::wire::{Patience, Plan, Rx, Tx, Wire};

/// Most buffers.
const MOST: usize = 64;

/// Bytes in all buffers together, where there are to be many.
const DEEP: usize = 4 << 20;

/// Where the first buffer begins in its page: far from where allocators put the messages, since loads
/// and stores whose addresses differ by a multiple of a page wait for each other.
const OFFSET: usize = 2048;

/// Whether a buffer is full, on a line of its own.
#[repr(C, align(128))]
pub(crate) struct Flag(AtomicU64);

// SAFETY: an array of atomics.
unsafe impl Atomics for [Flag; MOST] {}

struct Memory {
    flags: Shared<[Flag; MOST]>,
    bytes: Region,
    buffers: usize,
    len: usize,
}

impl Memory {
    fn new(len: usize, buffers: usize) -> io::Result<Arc<Self>> {
        let bytes = Region::new(OFFSET + buffers * len)?;
        Ok(Arc::new(Self {
            flags: Shared::new()?,
            bytes,
            buffers,
            len,
        }))
    }
}

/// Two buffers.
pub(crate) struct Two(Arc<Memory>);

/// As many buffers as hold [`DEEP`] bytes.
pub(crate) struct Many(Arc<Memory>);

/// Either end.
pub(crate) struct End {
    memory: Arc<Memory>,
    turn: usize,
    patience: Patience,
}

impl End {
    fn new(memory: &Arc<Memory>, plan: &Plan) -> Self {
        Self {
            memory: Arc::clone(memory),
            turn: 0,
            patience: plan.patience(),
        }
    }

    /// Waits until the buffer whose turn it is is full or not, and gives its first byte and its flag.
    #[inline]
    fn wait(&self, full: u64) -> (*mut u8, &AtomicU64) {
        let flag = &self.memory.flags[self.turn].0;
        // SYNC: hand-over
        while flag.load(Ordering::Acquire) != full {
            self.patience.turn();
        }
        // The region holds that many buffers from the offset on.
        let place = OFFSET + self.turn * self.memory.len;
        (self.memory.bytes.start().as_ptr().wrapping_add(place), flag)
    }

    #[inline]
    fn next(&mut self) {
        self.turn += 1;
        if self.turn == self.memory.buffers {
            self.turn = 0;
        }
    }
}

impl Wire for Two {
    type Tx = End;
    type Rx = End;

    fn open(plan: &Plan, _: &str) -> io::Result<Self> {
        Memory::new(plan.len(), 2).map(Self)
    }

    fn tx(&self, plan: &Plan) -> io::Result<End> {
        Ok(End::new(&self.0, plan))
    }

    fn rx(&self, plan: &Plan) -> io::Result<End> {
        Ok(End::new(&self.0, plan))
    }
}

impl Wire for Many {
    type Tx = End;
    type Rx = End;

    fn open(plan: &Plan, _: &str) -> io::Result<Self> {
        Memory::new(plan.len(), (DEEP / plan.len()).clamp(2, MOST)).map(Self)
    }

    fn tx(&self, plan: &Plan) -> io::Result<End> {
        Ok(End::new(&self.0, plan))
    }

    fn rx(&self, plan: &Plan) -> io::Result<End> {
        Ok(End::new(&self.0, plan))
    }
}

impl Tx for End {
    #[inline]
    fn send_made(&mut self, pattern: &[u8], _: &mut [u8]) -> io::Result<bool> {
        self.send(pattern)?;
        Ok(true)
    }

    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        assert_eq!(message.len(), self.memory.len);
        let (to, flag) = self.wait(0);
        // SAFETY: the message is as long as the buffer, and the empty flag says that the other side
        // does not use it.
        unsafe { ptr::copy_nonoverlapping(message.as_ptr(), to, message.len()) };
        // SYNC: hand-over
        flag.store(1, Ordering::Release);
        self.next();
        Ok(())
    }
}

impl Rx for End {
    #[inline]
    fn recv_lent(&mut self, messages: &mut Incoming) -> io::Result<bool> {
        let (from, flag) = self.wait(1);
        // SAFETY: the buffer is so long, and the full flag says that the other side does not use it.
        let message = unsafe { slice::from_raw_parts(from, self.memory.len) };
        messages.check_there(message)?;
        // SYNC: hand-over
        flag.store(0, Ordering::Release);
        self.next();
        Ok(true)
    }

    #[inline]
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        assert_eq!(buf.len(), self.memory.len);
        let (from, flag) = self.wait(1);
        // SAFETY: the vector is as long as the buffer, and the full flag says that the other side
        // does not use it.
        unsafe { ptr::copy_nonoverlapping(from, buf.as_mut_ptr(), buf.len()) };
        // SYNC: hand-over
        flag.store(0, Ordering::Release);
        self.next();
        Ok(())
    }
}
