//! Taking frames out of a kernel pipe so that a death at any instruction leaves the next receiver able
//! to find its place.
//!
//! Headers and trailers are read straight into shared memory. A frame at hand is therefore in one of
//! these states, which whoever takes the lock can tell apart:
//! - header 0: between frames.
//! - header there, atomic frame, trailer 0: nothing of the payload has been taken, since payload and
//!   trailer of such a frame come out in one read.
//! - header there, atomic frame, trailer there: all of it has been taken, by one who died then.
//! - header there, not atomic: only who is inside the message knows; anybody else looks for the
//!   trailer in the stream.

use std::os::fd::BorrowedFd;

use super::End;
use super::frame::{EDGE, Header, Kind, arrived, bytes_behind_first, longest_for, without_filler};
use super::page::RxSide;
use crate::error::Fault;
use crate::ring::contention::lock_in_a_moment;
use crate::ring::payload::Destination;
use crate::ring::reassembly::Session;
use crate::segment::layout::message;
use crate::sync::{AtomicU64, Ordering};
use crate::sys::clock::Timeout;
use crate::sys::memory::page_size;
use crate::sys::pipe::{self, target};
use crate::sys::process::Process;
use crate::sys::socket;

/// Reads of a few bytes after which a search gives its caller a chance to look at the deadline.
const READS_PER_CALL: usize = 4096;

/// How much is in the pipe of a message in fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// Not all of it.
    Growing,
    /// It may have been cut short, or does not fit the pipe.
    Unclear,
}

/// How far the bytes at hand went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress<T> {
    /// This is there.
    Got(T),
    /// The pipe is empty and its senders live.
    Empty,
    /// The pipe is empty for good.
    End,
}

/// How much of the frame at hand one end has taken, payload and trailer together.
#[derive(Debug, Default)]
pub(super) struct Payload {
    taken: usize,
    trailer: [u8; EDGE],
}

/// The receivers' side; all calls are made under its lock.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) end: &'a End,
}

impl<'a> Side<'a> {
    pub(super) fn new(end: &'a End) -> Self {
        Self { end }
    }

    pub(super) fn shared(self) -> &'a RxSide {
        &self.end.page.shared().rx
    }

    /// Takes the side lock, and what this process has of a message in fragments. A call that may not wait waits for
    /// another receiver's section all the same.
    ///
    /// # Errors
    ///
    /// [`Fault::NotNow`] when the time-out has passed; as [`lock_in_a_moment`].
    pub(super) fn session(self, timeout: Timeout) -> Result<Session<'a, Payload>, Fault> {
        let rx = self.shared();
        let guard = match rx.lock.lock(timeout) {
            Err(Fault::NotNow) if timeout == Timeout::Never => {
                lock_in_a_moment(&rx.lock, &self.end.stuck, || rx.reassembly.is_waited_in())?
            }
            outcome => outcome.inspect(|_| self.end.stuck.clear())?,
        };
        // Again, since it may have been closed before this was in the lock.
        self.end.closing.check()?;
        Session::new(guard, &rx.reassembly, &self.end.fragments)
    }

    /// The descriptor to wait on.
    pub(super) fn pipe(self) -> BorrowedFd<'a> {
        self.end.pipe()
    }

    /// Bytes in the pipe.
    fn queued(self) -> Result<usize, Fault> {
        let queued = pipe::queued(self.end.pipe())?;
        // What a close has put in its place is empty, which says nothing of the pipe.
        self.end.closing.check()?;
        Ok(queued)
    }

    /// Whether anything is in the pipe.
    pub(super) fn has_bytes(self) -> Result<bool, Fault> {
        Ok(self.queued()? > 0)
    }

    /// Whether the pipe is empty for good.
    pub(super) fn is_hung_up_and_empty(self) -> Result<bool, Fault> {
        Ok(socket::is_hung_up(self.end.pipe())? && !self.has_bytes()?)
    }

    /// Bytes that the pipe holds.
    pub(super) fn capacity(self) -> usize {
        self.end.capacity()
    }

    /// Who is sending, or last sent, a message in fragments.
    pub(super) fn sender(self) -> Option<Process> {
        self.end.page.shared().tx.sender.process()
    }

    /// What the senders noted of their last message in fragments.
    pub(super) fn senders_state(self) -> u32 {
        // SYNC: sender-state. Whoever reads the note finds every fragment written before it.
        self.end.page.shared().tx.state.load(Ordering::Acquire)
    }

    /// For a receiver inside a message of which nothing more was in the pipe: whether its sender has
    /// died or taken it back, `ORPHANED` or `WITHDRAWN`, and nothing has come since.
    pub(super) fn left_unfinished(self) -> Result<Option<u32>, Fault> {
        let Some(left) = self.left() else {
            return Ok(None);
        };
        Ok((self.queued()? == 0).then_some(left))
    }

    /// Whether the sender of the last message in fragments has died inside it or taken it back.
    fn left(self) -> Option<u32> {
        let tx = &self.end.page.shared().tx;
        let left = tx.reservation().left_to_receivers(tx.lock.owner_has_died());
        matches!(left, message::ORPHANED | message::WITHDRAWN).then_some(left)
    }

    /// Whether nothing has been taken of the message that was begun last: its first frame is at hand.
    pub(super) fn is_untaken(self) -> bool {
        let shared = self.shared();
        let header = Header::decode(shared.header.load(Ordering::Relaxed));
        header.is_ok_and(|header| header.kind == Kind::First)
            && shared.trailer.load(Ordering::Relaxed) == 0
    }

    /// How much is in the pipe of a message of `total` bytes whose first frame is at hand.
    pub(super) fn extent(self, total: u64) -> Result<Extent, Fault> {
        let capacity = self.capacity();
        let longest = longest_for(capacity, page_size());
        let Some(total) = usize::try_from(total)
            .ok()
            .filter(|&total| total <= longest)
        else {
            return Ok(Extent::Unclear);
        };
        let there = self.queued()?;
        Ok(if there >= bytes_behind_first(total, capacity) {
            Extent::Whole
        } else if self.may_be_cut() || socket::is_hung_up(self.end.pipe())? {
            Extent::Unclear
        } else {
            Extent::Growing
        })
    }

    /// Whether the message at hand, or one behind it, may have been cut short.
    pub(super) fn may_be_cut(self) -> bool {
        // In this order: a cut is numbered before its state goes. See `senders_state`.
        self.left().is_some() || self.cuts() != self.shared().cuts_met.load(Ordering::Relaxed)
    }

    fn cuts(self) -> u64 {
        self.end.page.shared().tx.cuts.load(Ordering::Relaxed)
    }

    /// A frame that closes a message has been taken or passed over.
    pub(super) fn has_met(self, header: Header) {
        if let Some(number) = header.cut_number() {
            self.shared().cuts_met.store(number, Ordering::Relaxed);
        }
    }

    /// For one who has found the pipe empty: nothing in it was cut short any more, also where one who took the frame
    /// died before it noted that.
    pub(super) fn has_met_all_cuts(self) -> Result<(), Fault> {
        // Before the look at the pipe: what is numbered after it may come behind what is seen.
        let cuts = self.cuts();
        let met = &self.shared().cuts_met;
        if met.load(Ordering::Relaxed) != cuts && self.left().is_none() && !self.has_bytes()? {
            met.store(cuts, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Comes to a state in which the frame at hand, if any, can be taken by this end, which
    /// `is_inside` a message of its own or not.
    pub(super) fn find_frame(self, is_inside: bool) -> Result<Progress<()>, Fault> {
        let shared = self.shared();
        let word = without_filler(shared.header.load(Ordering::Relaxed));
        if arrived(word) < EDGE {
            // One who died while it closed the last frame may have left these.
            shared.trailer.store(0, Ordering::Relaxed);
            shared.matched.store(0, Ordering::Relaxed);
            return Ok(Progress::Got(()));
        }
        let header = Header::decode(word)?;
        if header.is_atomic() {
            if shared.trailer.load(Ordering::Relaxed) != 0 {
                self.has_met(header);
                self.close_frame();
                if header.ends_message() {
                    shared.reassembly.end_residue();
                }
            }
            return Ok(Progress::Got(()));
        }
        if is_inside {
            Ok(Progress::Got(()))
        } else {
            self.find_trailer()
        }
    }

    /// Reads on until the pipe's cookie has gone by. Never reads past it: with `matched` bytes of the
    /// cookie seen, it cannot end sooner than the rest of it.
    fn find_trailer(self) -> Result<Progress<()>, Fault> {
        let shared = self.shared();
        let cookie = self.end.page.cookie().to_ne_bytes();
        let mut window = cookie;
        let mut matched = (shared.matched.load(Ordering::Relaxed) as usize).min(EDGE);
        let mut reads = 0;
        while matched < EDGE {
            reads += 1;
            if reads > READS_PER_CALL {
                return Ok(Progress::Empty);
            }
            let mut bytes = [0; EDGE];
            let wanted = EDGE - matched;
            // SAFETY: a local of at least `wanted` bytes.
            let read = match unsafe { self.read(&[target(bytes.as_mut_ptr(), wanted)]) }? {
                Progress::Got(read) => read,
                Progress::Empty => return Ok(Progress::Empty),
                Progress::End => return Ok(Progress::End),
            };
            // What has been seen last: the matched beginning of the cookie, then the new bytes.
            let (seen, before) = (matched + read, shared.passed.load(Ordering::Relaxed));
            window[matched..seen].copy_from_slice(&bytes[..read]);
            matched = (0..=seen)
                .rev()
                .find(|&len| window[seen - len..seen] == cookie[..len])
                .unwrap_or(0);
            let passed = window[..seen - matched].iter().fold(before, |word, &byte| {
                word >> 8 | u64::from(byte) << (8 * (EDGE - 1))
            });
            shared.passed.store(passed, Ordering::Relaxed);
            window = cookie;
            shared
                .matched
                .store(u32::try_from(matched).unwrap_or(0), Ordering::Relaxed);
        }
        // The torn frame has no trailer of its own if its sender died, so the frame behind it was passed over too.
        if let Ok(header) = Header::decode(shared.passed.load(Ordering::Relaxed)) {
            self.has_met(header);
        }
        shared.passed.store(0, Ordering::Relaxed);
        self.close_frame();
        Ok(Progress::Got(()))
    }

    /// The header of the frame at hand, once it is there.
    pub(super) fn header(self) -> Result<Progress<Header>, Fault> {
        let shared = self.shared();
        for _ in 0..READS_PER_CALL {
            let word = without_filler(shared.header.load(Ordering::Relaxed));
            shared.header.store(word, Ordering::Relaxed);
            let have = arrived(word);
            if have == EDGE {
                return self
                    .within_the_limit(Header::decode(word)?)
                    .map(Progress::Got);
            }
            let rest = target(byte_of(&shared.header, have), EDGE - have);
            // SAFETY: the bytes of the shared word that have not arrived.
            let read = match unsafe { self.read(&[rest]) }? {
                Progress::Got(read) => read,
                Progress::Empty => return Ok(Progress::Empty),
                Progress::End => return Ok(Progress::End),
            };
            let word = shared.header.load(Ordering::Relaxed);
            if read > 0 && arrived(word) < have + read {
                // The last byte read is filler, so all that came before it is too, or is torn.
                shared.header.store(0, Ordering::Relaxed);
            }
        }
        Ok(Progress::Empty)
    }

    /// Refuses the beginning of a message that is longer than any correct sender's.
    fn within_the_limit(self, header: Header) -> Result<Header, Fault> {
        let len = match header.kind {
            Kind::First => header.len,
            Kind::Whole | Kind::Ancillary => header.payload() as u64,
            _ => 0,
        };
        if len > self.end.message_max() {
            Err(Fault::Corrupted)
        } else {
            Ok(header)
        }
    }

    /// The frame at hand is done with. In this order: a trailer without a header is no frame.
    fn close_frame(self) {
        let shared = self.shared();
        shared.header.store(0, Ordering::Release);
        shared.trailer.store(0, Ordering::Release);
        shared.matched.store(0, Ordering::Relaxed);
    }

    /// Takes a whole message to where the caller wants it.
    pub(super) fn take_whole(
        self,
        header: Header,
        into: &mut Destination<'_>,
    ) -> Result<usize, Fault> {
        let len = header.payload();
        match into {
            Destination::Slice(slice) => {
                if slice.len() < len {
                    return Err(Fault::BufferTooSmall { needed: len });
                }
                // SAFETY: the slice is long enough.
                unsafe { self.take_atomic(slice.as_mut_ptr(), len) }?;
            }
            Destination::Buffer(buffer) | Destination::WithDescriptors { bytes: buffer, .. } => {
                buffer.clear();
                buffer
                    .try_reserve(len)
                    .map_err(|error| Fault::Io(error.into()))?;
                // SAFETY: `len` bytes are reserved.
                unsafe { self.take_atomic(buffer.as_mut_ptr(), len) }?;
                // SAFETY: `take_atomic` has written `len` reserved bytes.
                unsafe { buffer.set_len(len) };
            }
        }
        Ok(len)
    }

    /// Takes a frame that has no payload.
    pub(super) fn take_nothing(self, header: Header) -> Result<(), Fault> {
        debug_assert_eq!(header.payload(), 0);
        // SAFETY: nothing is written to it.
        unsafe { self.take_atomic(std::ptr::null_mut(), 0) }
    }

    /// Takes payload and trailer of an atomic frame in one read.
    ///
    /// # Safety
    ///
    /// `start` is valid for writes of `len` bytes.
    unsafe fn take_atomic(self, start: *mut u8, len: usize) -> Result<(), Fault> {
        let shared = self.shared();
        let targets = [
            target(start, len),
            target(byte_of(&shared.trailer, 0), EDGE),
        ];
        let targets = if len == 0 {
            &targets[1..]
        } else {
            &targets[..]
        };
        // SAFETY: by the caller, and the shared word.
        let outcome = unsafe { self.read(targets) }?;
        let found = shared.trailer.load(Ordering::Relaxed);
        if outcome != Progress::Got(len + EDGE) || found != self.end.page.cookie() {
            return Err(Fault::Corrupted);
        }
        self.close_frame();
        Ok(())
    }

    /// Takes what is there of a fragment (or all of a last fragment) to the end of `bytes`.
    ///
    /// A fragment without its trailer is one whose sender died; what follows says so.
    pub(super) fn take_fragment(
        self,
        header: Header,
        payload: &mut Payload,
        total: u64,
        bytes: &mut Vec<u8>,
    ) -> Result<Progress<()>, Fault> {
        let len = header.payload();
        let rest = len.saturating_sub(payload.taken);
        if (bytes.len() + rest) as u64 > total {
            return Err(Fault::Corrupted);
        }
        bytes
            .try_reserve(rest)
            .map_err(|error| Fault::Io(error.into()))?;
        if header.is_atomic() {
            if payload.taken > 0 {
                // The header has become another one since a part of the frame was taken.
                return Err(Fault::Corrupted);
            }
            let old = bytes.len();
            let spare = bytes.spare_capacity_mut().as_mut_ptr().cast();
            // SAFETY: none of the payload is taken, so `rest` is `len`, and so much is reserved.
            unsafe { self.take_atomic(spare, len) }?;
            // SAFETY: `take_atomic` has written `len` reserved bytes behind the old ones.
            unsafe { bytes.set_len(old + len) };
            return Ok(Progress::Got(()));
        }
        while payload.taken < len + EDGE {
            let rest = len.saturating_sub(payload.taken);
            let behind = payload.taken.saturating_sub(len);
            let spare = bytes.spare_capacity_mut().as_mut_ptr().cast();
            let trailer = &mut payload.trailer[behind..];
            let targets = [
                target(spare, rest),
                target(trailer.as_mut_ptr(), trailer.len()),
            ];
            let targets = if rest == 0 {
                &targets[1..]
            } else {
                &targets[..]
            };
            // SAFETY: `rest` bytes are reserved, and the local has the others.
            let read = match unsafe { self.read(targets) }? {
                Progress::Got(read) => read,
                other => return Ok(other.nothing()),
            };
            payload.taken += read;
            // SAFETY: the read has initialised so many bytes of the reserved ones.
            unsafe { bytes.set_len(bytes.len() + read.min(rest)) };
        }
        *payload = Payload::default();
        self.close_frame();
        Ok(Progress::Got(()))
    }

    /// Takes a frame and drops it. Interrupted, it leaves the rest to [`find_frame`](Self::find_frame).
    pub(super) fn skip_payload(
        self,
        header: Header,
        payload: &mut Payload,
    ) -> Result<Progress<()>, Fault> {
        let mut bytes = Vec::new();
        *payload = Payload::default();
        let outcome = self.take_fragment(header, payload, u64::MAX, &mut bytes);
        *payload = Payload::default();
        outcome
    }

    /// # Safety
    ///
    /// Each target is valid for writes of its length.
    unsafe fn read(self, targets: &[libc::iovec]) -> Result<Progress<usize>, Fault> {
        // SAFETY: by the caller.
        match unsafe { pipe::read(self.end.pipe(), targets) }? {
            None => Ok(Progress::Empty),
            Some(0) => Ok(Progress::End),
            Some(read) => Ok(Progress::Got(read)),
        }
    }
}

impl<T> Progress<T> {
    /// An interruption, for a step of another kind.
    fn nothing(self) -> Progress<()> {
        match self {
            Self::End => Progress::End,
            _ => Progress::Empty,
        }
    }
}

/// Byte `index` of a shared word, for the kernel to write.
fn byte_of(word: &AtomicU64, index: usize) -> *mut u8 {
    std::ptr::from_ref(word)
        .cast_mut()
        .cast::<u8>()
        .wrapping_add(index)
}
