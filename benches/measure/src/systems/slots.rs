//! Slots of one size in shared memory, and nothing else: what remains when all that makes a pipe a pipe is left out.
//!
//! It never sleeps, sees no death and cannot be shared.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::shared::{Atomics, Region, Shared};
use crate::wire::{Patience, Plan, Rx, Tx, Wire};

/// Counts of messages, each on a line of its own.
#[repr(C)]
struct Counts {
    /// Written by the sender by Release, read by the receiver by Acquire.
    sent: Line,
    /// The other way round.
    taken: Line,
}

#[repr(C, align(128))]
struct Line(AtomicU64);

// SAFETY: atomics.
unsafe impl Atomics for Counts {}

struct Memory {
    counts: Shared<Counts>,
    bytes: Region,
    slots: u64,
    len: usize,
}

impl Memory {
    /// The first byte of the slot for the message with that number.
    #[inline]
    fn slot(&self, number: u64) -> *mut u8 {
        let place = (number % self.slots) as usize * self.len;
        self.bytes.start().as_ptr().wrapping_add(place)
    }
}

/// A ring of them.
pub(crate) struct Slots(Arc<Memory>);

/// Either end.
pub(crate) struct End {
    memory: Arc<Memory>,
    patience: Patience,
    /// Messages that it has sent or taken.
    own: u64,
    /// Messages that the other side was last seen to have taken or sent.
    other: u64,
}

impl Slots {
    fn end(&self, plan: &Plan) -> End {
        End {
            memory: Arc::clone(&self.0),
            patience: plan.patience(),
            own: 0,
            other: 0,
        }
    }
}

impl Wire for Slots {
    type Tx = End;
    type Rx = End;

    fn open(plan: &Plan, _: &str) -> io::Result<Self> {
        let (len, slots) = (plan.len(), (plan.capacity / plan.len()).max(2));
        Ok(Self(Arc::new(Memory {
            counts: Shared::new()?,
            bytes: Region::new(slots * len)?,
            slots: slots as u64,
            len,
        })))
    }

    fn tx(&self, plan: &Plan) -> io::Result<End> {
        Ok(self.end(plan))
    }

    fn rx(&self, plan: &Plan) -> io::Result<End> {
        Ok(self.end(plan))
    }
}

impl Tx for End {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        assert_eq!(message.len(), self.memory.len);
        while self.own - self.other == self.memory.slots {
            // SYNC: slot-taken
            self.other = self.memory.counts.taken.0.load(Ordering::Acquire);
            self.patience.turn();
        }
        let slot = self.memory.slot(self.own);
        // SAFETY: the slot is the sender's until it is counted as sent, and as long as the message.
        unsafe { slot.copy_from_nonoverlapping(message.as_ptr(), message.len()) };
        self.own += 1;
        // SYNC: slot-sent
        self.memory.counts.sent.0.store(self.own, Ordering::Release);
        Ok(())
    }
}

impl Rx for End {
    #[inline]
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        assert_eq!(buf.len(), self.memory.len);
        while self.own == self.other {
            // SYNC: slot-sent
            self.other = self.memory.counts.sent.0.load(Ordering::Acquire);
            self.patience.turn();
        }
        let slot = self.memory.slot(self.own);
        // SAFETY: it was counted as sent, so it is the receiver's until it is counted as taken; and it is so long.
        unsafe { slot.copy_to_nonoverlapping(buf.as_mut_ptr(), buf.len()) };
        self.own += 1;
        // SYNC: slot-taken
        self.memory
            .counts
            .taken
            .0
            .store(self.own, Ordering::Release);
        Ok(())
    }
}
