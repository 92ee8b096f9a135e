//! The writing side of the ring: room, publication, and what to look at after a death.
//!
//! Every call but [`Writer::seems_to_have_room`] is made under the senders' lock.

use super::claim::{self, AHEAD, LINE};
use super::pack::Pack;
use super::payload::Payload;
use super::reader::position_in;
use super::record::{
    AFTER_DEATH, AFTER_WITHDRAWAL, FIRST, HEADER, Header, LAST, PREFIX, Rules, packed_span, span_of,
};
use super::run::{self, Allowance};
use super::state_word;
use super::storage::{RecordAt, Storage};
use crate::error::Fault;
use crate::segment::layout::{Control, message};
use crate::sync::{Ordering, cold_path};

/// A view of the ring for senders.
#[derive(Clone, Copy)]
pub(crate) struct Writer<'a> {
    pub(crate) control: &'a Control,
    pub(crate) storage: &'a Storage,
    pub(crate) rules: Rules,
}

/// What was published as a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Published {
    /// Messages.
    pub(crate) count: usize,
    /// Bytes of the longest one.
    pub(crate) longest: usize,
}

impl Writer<'_> {
    /// Whether a run of `span` bytes and the zeroed header behind it fit now.
    ///
    /// # Errors
    ///
    /// [`Fault::Corrupted`] for cursors that no correct peer leaves behind.
    #[inline]
    pub(crate) fn has_room(self, span: u64) -> Result<bool, Fault> {
        let tx = &self.control.tx;
        let tail = tx.tail.load(Ordering::Relaxed);
        let seen = tx.head_seen.load(Ordering::Relaxed);
        if self.fits(tail, seen, span)? {
            return Ok(true);
        }
        // SYNC: publish-head. What the receivers read before they published is free to overwrite.
        let head = later(seen, self.control.head.load(Ordering::Acquire));
        tx.head_seen.store(head, Ordering::Relaxed);
        self.fits_now(tail, head, span)
    }

    /// As [`has_room`](Self::has_room), but counts what the receivers have read and not published
    /// yet. Takes their line from them, so only for those who will not or cannot come back soon.
    ///
    /// # Errors
    ///
    /// The errors of [`has_room`](Self::has_room).
    pub(crate) fn has_room_exactly(self, span: u64) -> Result<bool, Fault> {
        let tx = &self.control.tx;
        // SYNC: publish-read
        let read = position_in(&self.control.rx.read, Ordering::Acquire);
        tx.head_seen.store(read, Ordering::Relaxed);
        self.fits_now(tx.tail.load(Ordering::Relaxed), read, span)
    }

    /// As [`has_room`](Self::has_room) without the lock, for one who waits and will look again under
    /// it: a stale answer costs a look.
    #[inline]
    pub(crate) fn seems_to_have_room(self, span: u64, exactly: bool) -> bool {
        let tail = self.control.tx.tail.load(Ordering::Relaxed);
        let freed = if exactly {
            position_in(&self.control.rx.read, Ordering::Relaxed)
        } else {
            self.control.head.load(Ordering::Relaxed)
        };
        let seen = self.control.tx.head_seen.load(Ordering::Relaxed);
        let head = later(seen, freed);
        self.fits(tail, head, span).unwrap_or(true)
    }

    #[inline]
    fn fits(self, tail: u64, head: u64, span: u64) -> Result<bool, Fault> {
        let used = self.rules.used(tail, head)?;
        Ok(used + span + HEADER <= self.rules.capacity())
    }

    /// As [`fits`](Self::fits) with a `head` that was just looked at, which shows observers how full it is.
    fn fits_now(self, tail: u64, head: u64, span: u64) -> Result<bool, Fault> {
        let fits = self.fits(tail, head, span)?;
        self.control.tx_counters.note_fill(tail.wrapping_sub(head));
        Ok(fits)
    }

    /// The position of `read` from which on there is room for any record: where a sleeping sender is
    /// woken. The same for all senders, whatever each needs; `wait::event` says why.
    pub(crate) fn enough_room_at(self) -> u64 {
        let tail = self.control.tx.tail.load(Ordering::Relaxed);
        let wanted = span_of(self.rules.record_max()) + HEADER;
        tail.wrapping_add(wanted)
            .wrapping_sub(self.rules.capacity())
    }

    /// Publishes one record, for which there is room: `prefix`, if any, and then `payload`.
    #[inline]
    pub(crate) fn publish(self, prefix: Option<u64>, payload: impl Payload, flags: u32) {
        let tail = self.control.tx.tail.load(Ordering::Relaxed);
        self.publish_at(tail, prefix, payload, flags);
    }

    /// As [`publish`](Self::publish), for one who has just loaded `tail`.
    #[inline(always)]
    pub(crate) fn publish_at(
        self,
        tail: u64,
        prefix: Option<u64>,
        payload: impl Payload,
        flags: u32,
    ) {
        let mut place = tail.wrapping_add(HEADER);
        let mut len = payload.len();
        assert!(len <= self.rules.fragment_max(), "a record of {len} bytes");
        if let Some(prefix) = prefix {
            self.storage.header(place).store(prefix, Ordering::Relaxed);
            place = place.wrapping_add(PREFIX as u64);
            len += PREFIX;
        }
        payload.copy_in(self.storage, place);
        if flags & (AFTER_DEATH | AFTER_WITHDRAWAL) != 0 {
            self.control.tx.cut.store(tail, Ordering::Relaxed);
        }
        let header = Header { len, flags };
        let mut is_scarce = false;
        self.publish_header(tail, self.storage.record(tail), header, || is_scarce = true);
        let messages = u64::from(flags & LAST != 0);
        self.count(tail.wrapping_add(header.span()), messages, payload.len());
        if is_scarce {
            self.claim_after(header.span());
        }
    }

    /// Makes the record at `tail` visible, whose payload is there. Calls `note_scarce` when it is time to claim lines behind
    /// it: in the branch that finds that out, so that the fast path carries no answer along.
    #[inline(always)]
    pub(crate) fn publish_header(
        self,
        tail: u64,
        record: RecordAt<'_>,
        header: Header,
        note_scarce: impl FnOnce(),
    ) {
        let span = header.span();
        let next = tail.wrapping_add(span);
        // The receivers look at the next header as soon as they have taken this record, so it must
        // read "not yet there" before this one is published.
        // SAFETY: a record is an eighth of the ring at most.
        let behind = unsafe { record.word(span) };
        if next % LINE == 0 {
            let claimed = self.claimed_behind(next);
            if !claim::is_ample(claimed) {
                cold_path();
                if !claim::is_zero(claimed) {
                    behind.store(0, Ordering::Relaxed);
                }
                note_scarce();
            }
        } else {
            behind.store(0, Ordering::Relaxed);
        }
        // SAFETY: likewise.
        let word = unsafe { record.word(0) };
        // SYNC: publish-record. Before this store nobody sees the record, after it everybody sees
        // all of it; a death on either side leaves nothing half done.
        word.store(header.encode(), Ordering::Release);
    }

    /// The tail, and the bytes behind it for which senders have seen room, the zeroed header apart. `None` for
    /// cursors that need a closer look.
    pub(crate) fn tail_and_room(self) -> Option<(u64, u64)> {
        let tx = &self.control.tx;
        let tail = tx.tail.load(Ordering::Relaxed);
        let used = self
            .rules
            .used(tail, tx.head_seen.load(Ordering::Relaxed))
            .ok()?;
        let room = self.rules.capacity().checked_sub(used + HEADER)?;
        Some((tail, room))
    }

    /// Sees what room the receivers have published.
    pub(crate) fn look_for_room(self) {
        // Whatever it comes to: what is wrong with the cursors is for the next look at them.
        let _ = self.has_room(self.rules.capacity());
    }

    /// Publishes the record at `tail` whose payload of `len` bytes is in its place already.
    pub(crate) fn publish_in_place(self, tail: u64, len: usize) {
        assert!(len <= self.rules.record_max(), "a record of {len} bytes");
        let header = Header {
            len,
            flags: FIRST | LAST,
        };
        self.publish_header(tail, self.storage.record(tail), header, || {});
        self.count(tail.wrapping_add(header.span()), 1, len);
    }

    /// Publishes as many of the messages gathered from `first` on as `room` has space for, at `tail`, as one record; how
    /// many these are.
    pub(crate) fn publish_pack(self, tail: u64, messages: &Pack, first: usize, room: u64) -> usize {
        let stride = packed_span(messages.message_len()) as u64;
        let room = room.min(span_of(self.rules.fragment_max()));
        let places = room.saturating_sub(HEADER) / stride;
        let count = (messages.count() - first).min(places as usize);
        if count == 0 {
            return 0;
        }
        let header = Header::of_pack(messages.message_len(), count);
        let place = tail.wrapping_add(HEADER);
        self.storage.copy_in(place, messages.padded(first, count));
        // A copy of so much gets its lines many at a time, so none are claimed.
        self.publish_header(tail, self.storage.record(tail), header, || {});
        let next = tail.wrapping_add(header.span());
        self.count(next, count as u64, header.payload());
        count
    }

    /// Publishes as many of `messages` as there is `allowance` for, at `tail`, as a run: by its first header, so that
    /// nobody sees any of them before that store and everybody all of them after it.
    pub(crate) fn publish_run(
        self,
        tail: u64,
        messages: &[&[u8]],
        mut allowance: Allowance,
    ) -> Published {
        let mut published = Published::default();
        let mut place = tail;
        let mut payload = 0;
        let mut claim_at = AHEAD - tail % AHEAD;
        for message in messages {
            if !allowance.admits(message.len()) {
                break;
            }
            let header = run::header_of(message);
            self.storage.copy_in(place.wrapping_add(HEADER), message);
            if place != tail {
                self.storage
                    .header(place)
                    .store(header.encode(), Ordering::Relaxed);
            }
            place = place.wrapping_add(header.span());
            let span = place.wrapping_sub(tail);
            if span >= claim_at {
                claim_at = span + AHEAD;
                // Long copies get their lines many at a time.
                if header.span() < AHEAD {
                    // What is claimed begins behind this header.
                    self.storage.header(place).store(0, Ordering::Relaxed);
                    claim::claim(self.control, self.storage, place);
                }
            }
            payload += message.len();
            published.longest = published.longest.max(message.len());
            published.count += 1;
        }
        let Some(first) = messages[..published.count].first() else {
            return published;
        };
        // As in `publish_header`.
        if !(place % LINE == 0 && claim::is_zero(self.claimed_behind(place))) {
            self.storage.header(place).store(0, Ordering::Relaxed);
        }
        // SYNC: publish-record
        self.storage
            .header(tail)
            .store(run::header_of(first).encode(), Ordering::Release);
        self.count(place, published.count as u64, payload);
        published
    }

    /// Moves the tail to `next`, behind what was just published, and counts that for observers.
    #[inline(always)]
    pub(crate) fn count(self, next: u64, messages: u64, payload: usize) {
        let tx = &self.control.tx;
        // SYNC: count-records
        tx.tail.store(next, Ordering::Release);
        tx.totals.count(messages, payload);
    }

    /// Flags that begin the next message: they show a receiver what became of one left unfinished.
    #[inline]
    pub(crate) fn opening_flags(self) -> u32 {
        match state_word::state(&self.control.tx.state, Ordering::Relaxed) {
            message::WHOLE => FIRST,
            message::WITHDRAWN => FIRST | AFTER_WITHDRAWAL,
            _ => FIRST | AFTER_DEATH,
        }
    }

    /// Notes what has become of the message under way.
    #[inline]
    pub(crate) fn set_state(self, state: u32) {
        // SYNC: sender-state
        let has_changed = state_word::set_state(&self.control.tx.state, state, Ordering::Release);
        if has_changed && (state == message::WITHDRAWN || state == message::ORPHANED) {
            self.control.tx_counters.count_aborted();
        }
    }

    /// Looks at what a dead owner left: it may have published a record, or a run, and not yet moved the tail.
    ///
    /// # Errors
    ///
    /// [`Fault::Corrupted`] when the records do not end within the ring, or `read` is not in it.
    #[cold]
    pub(crate) fn recover(self) -> Result<(), Fault> {
        let tx = &self.control.tx;
        // It may have died inside a copy.
        self.unclaim();
        // SYNC: publish-read
        let read = position_in(&self.control.rx.read, Ordering::Acquire);
        let mut tail = tx.tail.load(Ordering::Relaxed);
        let mut state = state_word::state(&tx.state, Ordering::Relaxed);
        let (mut messages, mut payload) = (0, 0);
        loop {
            // A receiver may have taken records that the dead one did not count any more.
            let is_behind = later(tail, read) != tail;
            let used = if is_behind {
                // By no more than the ring, or a liar could send us round it for ever.
                self.rules.used(read, tail)?;
                0
            } else {
                self.rules.used(tail, read)?
            };
            let word = self.storage.header(tail).load(Ordering::Acquire);
            let Some(header) = self.rules.decode(word)? else {
                break;
            };
            if used + header.span() + HEADER > self.rules.capacity() {
                return Err(Fault::Corrupted);
            }
            tail = tail.wrapping_add(header.span());
            messages += header.messages();
            payload += header.payload();
            state = if header.has(LAST) {
                message::WHOLE
            } else {
                message::OPEN
            };
        }
        self.count(tail, messages, payload);
        self.set_state(if matches!(state, message::OPEN | message::WAITING) {
            message::ORPHANED
        } else {
            state
        });
        Ok(())
    }
}

/// The later of two positions that are less than half of all positions apart. `head` lags behind what a
/// sender has seen by looking at `read`.
#[inline]
fn later(one: u64, other: u64) -> u64 {
    if (other.wrapping_sub(one) as i64) > 0 {
        other
    } else {
        one
    }
}
