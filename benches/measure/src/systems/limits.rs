//! What the hardware and the kernel allow for small messages: a line handed to and fro, a futex.
//!
//! None of these is a pipe: they hold one message, know its length and trust the other side.

use std::io;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::shared::{Atomics, Shared};
use crate::wire::{Patience, Plan, Rx, Tx, Wire};

/// Words of a cache line beside the first.
const REST: usize = 7;

/// One cache line with one message: its first word shows that it is there.
#[repr(C, align(128))]
pub(crate) struct LineMemory {
    number: AtomicU64,
    rest: [AtomicU64; REST],
    /// For [`Futex`]: counts the messages.
    turn: AtomicU32,
}

// SAFETY: atomics and arrays of them.
unsafe impl Atomics for LineMemory {}

/// What the line holds before the first message, which no message's number is.
const NONE: u64 = u64::MAX;

impl LineMemory {
    fn write_rest(&self, message: &[u8]) {
        let (words, _) = message[8..].as_chunks::<8>();
        for (word, place) in words.iter().zip(&self.rest) {
            place.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
        }
    }

    fn read_rest(&self, buf: &mut [u8]) {
        let (words, _) = buf[8..].as_chunks_mut::<8>();
        for (word, place) in words.iter_mut().zip(&self.rest) {
            *word = place.load(Ordering::Relaxed).to_ne_bytes();
        }
    }
}

fn first_word(message: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&message[..8]);
    u64::from_ne_bytes(word)
}

/// Two atomics, one for each way, and both sides spin: with a pause between two looks, or `FENCED`, by the CPU's
/// barrier in its place.
///
/// A barrier keeps the next look from beginning before this one has ended, so that one request for the line is
/// under way at a time, and sees the store as early as can be. A pause takes tens of nanoseconds.
pub(crate) struct Line<const FENCED: bool>(Arc<Shared<LineMemory>>);

/// One end of a [`Line`].
pub(crate) struct LineEnd<const FENCED: bool> {
    memory: Arc<Shared<LineMemory>>,
    last: u64,
    patience: Patience,
}

impl<const FENCED: bool> Line<FENCED> {
    fn end(&self, plan: &Plan) -> LineEnd<FENCED> {
        LineEnd {
            memory: Arc::clone(&self.0),
            last: NONE,
            patience: plan.patience(),
        }
    }
}

impl<const FENCED: bool> Wire for Line<FENCED> {
    type Tx = LineEnd<FENCED>;
    type Rx = LineEnd<FENCED>;

    fn open(_: &Plan, _: &str) -> io::Result<Self> {
        let memory = Shared::<LineMemory>::new()?;
        memory.number.store(NONE, Ordering::Relaxed);
        Ok(Self(Arc::new(memory)))
    }

    fn tx(&self, plan: &Plan) -> io::Result<LineEnd<FENCED>> {
        Ok(self.end(plan))
    }

    fn rx(&self, plan: &Plan) -> io::Result<LineEnd<FENCED>> {
        Ok(self.end(plan))
    }
}

impl<const FENCED: bool> Tx for LineEnd<FENCED> {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.memory.write_rest(message);
        // SYNC: line
        self.memory
            .number
            .store(first_word(message), Ordering::Release);
        Ok(())
    }
}

impl<const FENCED: bool> Rx for LineEnd<FENCED> {
    #[inline]
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        loop {
            // SYNC: line
            let number = self.memory.number.load(Ordering::Acquire);
            if number != self.last {
                self.last = number;
                buf[..8].copy_from_slice(&number.to_ne_bytes());
                self.memory.read_rest(buf);
                return Ok(());
            }
            if FENCED {
                self.patience.barrier();
            } else {
                self.patience.turn();
            }
        }
    }
}

/// As [`Line`], but whoever waits sleeps in futex(2), and each message wakes.
pub(crate) struct Futex(Arc<Shared<LineMemory>>);

/// One end of a [`Futex`].
pub(crate) struct FutexEnd {
    memory: Arc<Shared<LineMemory>>,
    turn: u32,
}

impl Wire for Futex {
    type Tx = FutexEnd;
    type Rx = FutexEnd;

    fn open(_: &Plan, _: &str) -> io::Result<Self> {
        Ok(Self(Arc::new(Shared::new()?)))
    }

    fn tx(&self, _: &Plan) -> io::Result<FutexEnd> {
        Ok(FutexEnd {
            memory: Arc::clone(&self.0),
            turn: 0,
        })
    }

    fn rx(&self, plan: &Plan) -> io::Result<FutexEnd> {
        self.tx(plan)
    }
}

impl Tx for FutexEnd {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.memory.write_rest(message);
        self.memory
            .number
            .store(first_word(message), Ordering::Relaxed);
        self.turn = self.turn.wrapping_add(1);
        // SYNC: futex-line
        self.memory.turn.store(self.turn, Ordering::Release);
        futex(&self.memory.turn, libc::FUTEX_WAKE, 1);
        Ok(())
    }
}

impl Rx for FutexEnd {
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        // SYNC: futex-line
        while self.memory.turn.load(Ordering::Acquire) == self.turn {
            futex(&self.memory.turn, libc::FUTEX_WAIT, self.turn);
        }
        self.turn = self.turn.wrapping_add(1);
        let number = self.memory.number.load(Ordering::Relaxed);
        buf[..8].copy_from_slice(&number.to_ne_bytes());
        self.memory.read_rest(buf);
        Ok(())
    }
}

/// futex(2) without a time-out. Its errors (a changed word, a signal) all mean: look again.
fn futex(word: &AtomicU32, operation: i32, value: u32) {
    let no_time_out = ptr::null::<libc::timespec>();
    // SAFETY: the word is alive for the call, and the kernel only reads it.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            operation,
            value,
            no_time_out,
        )
    };
}
