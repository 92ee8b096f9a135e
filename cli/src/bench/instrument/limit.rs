//! The raw limit: one sender, one receiver, slots of one size in shared memory, and nothing else.
//!
//! It never sleeps, knows no death but by a flag that an orderly end sets, and cannot be shared: what remains when
//! everything that makes a pipe a pipe is left out.

use std::hint::spin_loop;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

use super::channels::{In, Out};

/// Set beside the count of what was sent when nothing more comes.
const CLOSED: u64 = 1 << 63;

/// Looks in a row before the processor is offered to others, in case both sides have only one.
const LOOKS: u32 = 10_000;

/// Bytes between two words that different sides write.
const LINE: usize = 128;

/// Memory that forked processes share; it goes with the last of them.
#[derive(Clone, Copy)]
struct Ring {
    start: NonNull<u8>,
    /// Slots, and bytes of each.
    slots: u64,
    size: usize,
}

/// The sending end.
pub(crate) struct Writer {
    ring: Ring,
    sent: u64,
    /// How many the receiver was last seen to have taken.
    taken: u64,
}

/// The receiving end.
pub(crate) struct Reader {
    ring: Ring,
    taken: u64,
    /// How many were last seen to have been sent.
    sent: u64,
}

/// Both ends for messages of `size` bytes, with room for `capacity` bytes of them.
pub(crate) fn pair(capacity: usize, size: usize) -> io::Result<(Reader, Writer)> {
    let slots = (capacity / size).max(2);
    let length = 2 * LINE + slots * size;
    let length = NonZeroUsize::new(length).expect("two lines at least");
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
    // SAFETY: a new mapping at an address of the kernel's choice; it is never unmapped.
    let start = unsafe { mmap_anonymous(None, length, protection, flags) }?;
    let ring = Ring {
        start: start.cast(),
        slots: slots as u64,
        size,
    };
    Ok((
        Reader {
            ring,
            taken: 0,
            sent: 0,
        },
        Writer {
            ring,
            sent: 0,
            taken: 0,
        },
    ))
}

impl Ring {
    /// How many were sent; written by the sender.
    fn sent(&self) -> &AtomicU64 {
        // SAFETY: the first word of a mapping that stays; both sides use it as an atomic only.
        unsafe { self.start.cast::<AtomicU64>().as_ref() }
    }

    /// How many were taken; written by the receiver.
    fn taken(&self) -> &AtomicU64 {
        let at = self.start.as_ptr().wrapping_add(LINE).cast::<AtomicU64>();
        // SAFETY: the second line of the mapping, as above.
        unsafe { &*at }
    }

    #[expect(clippy::cast_possible_truncation, reason = "below the number of slots")]
    fn slot(&self, number: u64) -> *mut u8 {
        let index = (number % self.slots) as usize;
        self.start
            .as_ptr()
            .wrapping_add(2 * LINE + index * self.size)
    }
}

/// Looks until `ready`.
fn wait_until(mut ready: impl FnMut() -> bool) {
    let mut looks = 0;
    while !ready() {
        looks += 1;
        if looks % LOOKS == 0 {
            std::thread::yield_now();
        }
        spin_loop();
    }
}

impl Out for Writer {
    fn put(&mut self, message: &[u8]) -> io::Result<()> {
        assert_eq!(message.len(), self.ring.size);
        if self.sent - self.taken == self.ring.slots {
            wait_until(|| {
                self.taken = self.ring.taken().load(Ordering::Acquire);
                self.sent - self.taken < self.ring.slots
            });
        }
        let slot = self.ring.slot(self.sent);
        // SAFETY: the slot is the sender's until it is counted as sent, and as long as the message.
        unsafe { slot.copy_from_nonoverlapping(message.as_ptr(), message.len()) };
        self.sent += 1;
        self.ring.sent().store(self.sent, Ordering::Release);
        Ok(())
    }
}

impl In for Reader {
    fn take(&mut self, message: &mut [u8]) -> io::Result<bool> {
        assert_eq!(message.len(), self.ring.size);
        if self.taken == self.sent & !CLOSED {
            wait_until(|| {
                self.sent = self.ring.sent().load(Ordering::Acquire);
                self.sent != self.taken
            });
            if self.sent == self.taken | CLOSED {
                return Ok(false);
            }
        }
        let slot = self.ring.slot(self.taken);
        // SAFETY: it was counted as sent, so it is the receiver's until counted as taken, and so long.
        unsafe { slot.copy_to_nonoverlapping(message.as_mut_ptr(), message.len()) };
        self.taken += 1;
        self.ring.taken().store(self.taken, Ordering::Release);
        Ok(true)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A copy that never sent, in another process, has nothing to end.
        if self.sent > 0 {
            self.ring
                .sent()
                .store(self.sent | CLOSED, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_in_order_and_then_the_end() {
        let (mut reader, mut writer) = pair(64, 8).unwrap();
        let mut message = [0; 8];
        for number in 0..20_u64 {
            writer.put(&number.to_ne_bytes()).unwrap();
            assert!(reader.take(&mut message).unwrap());
            assert_eq!(u64::from_ne_bytes(message), number);
        }
        writer.put(&7_u64.to_ne_bytes()).unwrap();
        drop(writer);
        assert!(reader.take(&mut message).unwrap());
        assert!(!reader.take(&mut message).unwrap());
    }
}
