//! The fast path of a receive, from top to bottom.
//!
//! It receives a whole message of one record, without the receivers' lock. In any other case it gives up without having
//! changed anything, and the call takes the slow path (`super::rx`).
//!
//! # The steps, and what orders them
//!
//! 1. *What this end has noted*: that it can be used, and that this process has not closed it.
//! 2. *Load `read`*, Acquire ([`peek`], `SYNC: publish-read`): whatever the receiver before us wrote before it moved `read`
//!    is seen, the state among it.
//! 3. *Load the header* there, Acquire (`SYNC: publish-record`): with the header that `super::fast_send` stored in its step 6
//!    the payload is seen. The length is checked against what one record can have, and only then used.
//! 4. *Look at the state*, after `read`: it is `WHOLE`, so nobody is inside a message in fragments. A receiver that begins
//!    one notes it before it moves `read`. Whoever lends a message where it lies puts a mark into `read`, which is then no
//!    multiple of 8.
//! 5. *Copy the payload out.* Another receiver may take the record meanwhile, and a sender may write there anew. Then the
//!    copy is garbage and is never looked at: it counts only after step 6.
//! 6. *Move `read`* past the record by one compare-and-swap (`ring::reader::take`), Release (`SYNC: publish-read`): the copy
//!    comes before it. If it succeeds, the record is ours and nobody else's. Positions never come back, so `read` was there
//!    all the time, and what was copied is what was published. A receiver that is killed before leaves the record to
//!    others; one that is killed after has taken it with it.
//! 7. *Fence, and look for senders that wait for room* ([`is_to_be_settled`]). A sender that falls asleep stores `armed`,
//!    fences, and looks at `read`; the fences order each pair, so one of the two sees the other (`wait::event`).
//! 8. *Give the room back* when it is an eighth of the ring, or when a sender waits: `head` becomes `read`, Release
//!    (`SYNC: publish-head`), so that a sender which sees the room (`super::fast_send`, step 3) writes after the copies.

use std::mem::MaybeUninit;

use super::rx::Rx;
use super::view::View;
use crate::backend::Fate;
use crate::ring::reader::{self, Next, Reader};
use crate::ring::record::{FIRST, Header, LAST, Rules};
use crate::ring::storage::{RecordAt, Storage};
use crate::segment::layout::{Control, message};
use crate::sync::{Ordering, fence_after_swap};

/// Longer messages are copied out under the lock, so that of several receivers only one copies each.
pub(super) const CONTENDED_MAX: usize = 1024;

impl Rx {
    /// Receives a short message into `to` if there is one, it fits, and it is for this end. Returns the length, of which
    /// all is initialised then. Calls nothing.
    #[inline(always)]
    pub(crate) fn recv_on_fast_path(&mut self, to: &mut [MaybeUninit<u8>]) -> Option<usize> {
        let end = &*self.end;
        let control = end.control();
        // Step 1.
        if self.fate != Fate::Open || end.closing.is_closed() {
            return None;
        }
        // Steps 2 and 3.
        let (next, record) = peek(control, &end.storage, end.short_max())?;
        // Step 4.
        if control.rx.reassembly.state.load(Ordering::Relaxed) != message::WHOLE {
            return None;
        }
        let len = next.header.len;
        // What is due after so many bytes (`take::verify_now_and_then`) is for the slow path.
        if len > to.len() || next.at.wrapping_sub(self.verified) > end.rules.capacity() {
            return None;
        }
        // Step 5.
        // SAFETY: `to` is long enough; nothing over `short_max`, an eighth of the ring at most, is peeked.
        unsafe { record.copy_out(to.as_mut_ptr().cast(), len) };
        // Step 6.
        if !reader::take(control, next) {
            return None;
        }
        self.stream.found();
        // Steps 7 and 8.
        if is_to_be_settled(control, end.rules, next.end()) {
            return self.settled(len);
        }
        Some(len)
    }

    /// As [`recv_on_fast_path`](Self::recv_on_fast_path), for a message of any length; looks for it for a moment if the call
    /// `may_wait` and looking can pay.
    #[inline(never)]
    pub(crate) fn recv_soon(
        &mut self,
        to: &mut [MaybeUninit<u8>],
        may_wait: bool,
    ) -> Option<usize> {
        if !self.reader().has_record()
            && (!may_wait || !self.backoff.may_look() || !self.look_for_a_moment())
        {
            return None;
        }
        match self.recv_on_fast_path(to) {
            None => self.recv_longer(to),
            received => received,
        }
    }

    /// The length of the next message, if it is there, is one record and nobody is inside another. It stays, and is
    /// nobody's.
    pub(crate) fn peek_length(&self) -> Option<usize> {
        let reader = self.reader();
        let next = reader.peek_whole()?;
        let state = reader.control.rx.reassembly.state.load(Ordering::Relaxed);
        let is_usable = self.fate == Fate::Open && !self.end.closing.is_closed();
        let is_plain = is_usable && state == message::WHOLE;
        is_plain.then_some(next.header.len)
    }

    /// Looks for a record before all that a wait takes.
    #[inline(never)]
    pub(super) fn look_for_a_moment(&mut self) -> bool {
        let reader = Reader {
            control: self.end.control(),
            storage: &self.end.storage,
            rules: self.end.rules,
            message_max: self.end.message_max(),
        };
        let is_there = self
            .stream
            .look(&reader.control.data, || reader.has_record());
        if is_there {
            self.backoff.was_short();
        }
        is_there
    }

    #[inline(always)]
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader {
            control: self.end.control(),
            storage: &self.end.storage,
            rules: self.end.rules,
            message_max: self.end.message_max(),
        }
    }

    /// Receives a message that several receivers must not copy at a time, under the lock.
    #[inline(never)]
    fn recv_longer(&mut self, to: &mut [MaybeUninit<u8>]) -> Option<usize> {
        let reader = self.reader();
        let control = reader.control;
        if self.fate != Fate::Open || self.end.closing.is_closed() {
            return None;
        }
        let next = reader.peek_whole()?;
        if control.rx.reassembly.state.load(Ordering::Relaxed) != message::WHOLE {
            return None;
        }
        let len = next.header.len;
        let is_due = next.at.wrapping_sub(self.verified) > reader.rules.capacity();
        if len <= CONTENDED_MAX || len > to.len() || is_due {
            return None;
        }
        let guard = control.rx.lock.lock_uncontended()?;
        // SAFETY: just peeked, and `to` is long enough.
        unsafe { reader.copy_out(next, false, to.as_mut_ptr().cast()) };
        if !reader.take(next) {
            return None;
        }
        drop(guard);
        self.stream.found();
        self.stream.took(len);
        self.settle_fast(next.end());
        Some(len)
    }

    /// After records up to `read` were taken: gives their room back when it is time to, and rings for those
    /// who wait.
    #[inline(always)]
    pub(super) fn settle_fast(&self, read: u64) {
        if is_to_be_settled(self.end.control(), self.end.rules, read) {
            self.give_room_back();
        }
    }

    /// As [`settle_fast`](Self::settle_fast), where there is something to do; for a message of `len` bytes.
    #[cold]
    fn settled(&self, len: usize) -> Option<usize> {
        self.give_room_back();
        Some(len)
    }

    #[cold]
    fn give_room_back(&self) {
        // As in `View::settle`.
        let _ = View::new(&self.end).give_room_back(false);
    }
}

/// The next record, if it is a whole message of up to `max` bytes, which is less than 4 GiB; and where it lies. As
/// [`Reader::peek_whole`].
#[inline(always)]
fn peek<'a>(control: &Control, storage: &'a Storage, max: u64) -> Option<(Next, RecordAt<'a>)> {
    const EMPTY: u64 = (FIRST as u64 | LAST as u64) << 32 | 1;

    // SYNC: publish-read
    let at = control.rx.read.load(Ordering::Acquire);
    let record = storage.record(at);
    // SAFETY: the header is its first word.
    let header = unsafe { record.word(0) };
    // SYNC: publish-record. With other flags, and for no record, it comes to more than any length.
    let len = header.load(Ordering::Acquire).wrapping_sub(EMPTY);
    if len > max || at % 8 != 0 {
        return None;
    }
    let header = Header {
        len: len as usize,
        flags: FIRST | LAST,
    };
    Some((Next { at, header }, record))
}

/// After records up to `read` were taken: whether it is time to give their room back, or somebody waits for it.
#[inline(always)]
fn is_to_be_settled(control: &Control, rules: Rules, read: u64) -> bool {
    let unpublished = read.wrapping_sub(control.head.load(Ordering::Relaxed));
    // Between giving room by `take` and looking whether anybody waits for it.
    fence_after_swap();
    unpublished >= View::lazy_room(rules) || control.room.is_armed()
}
