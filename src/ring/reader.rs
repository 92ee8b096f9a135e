//! The reading side of the ring: the next record, and giving its room back.
//!
//! A record is taken by one compare-and-swap of `read`, and whoever's swap succeeds has it. A whole message may be
//! taken so without the receivers' lock, by way of [`Reader::peek_whole`]; all else is done under it. What is
//! read before the swap, header and payload, may be no record any more when somebody else was faster: it
//! must be good for anything that bytes can be, and counts only once the swap has succeeded. Positions never come
//! back, so a swap that finds `read` where it was knows that it was there all the time.
//!
//! The *mark* in `read` keeps those without the lock away while a message is lent where it lies.

use super::record::{FIRST, HEADER, Header, LAST, PACK, PREFIX, Rules, span_of};
use super::storage::Storage;
use crate::error::Fault;
use crate::segment::layout::Control;
use crate::sync::{AtomicU64, Ordering};

/// Set in `read` while the record there is lent; positions are multiples of 8.
const MARK: u64 = 1;

/// How often one who looks for the next record is overtaken by other receivers, at most. Each time somebody has
/// received a message within the few nanoseconds of the look, so that more is a liar's doing.
const OVERTAKEN_MAX: u32 = 10_000;

/// A view of the ring for receivers.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) control: &'a Control,
    pub(crate) storage: &'a Storage,
    pub(crate) rules: Rules,
    /// Length in bytes over which no correct peer sends a message: the receivers' own copy.
    pub(crate) message_max: u64,
}

/// A record at `read`, as it was when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) at: u64,
    pub(crate) header: Header,
}

/// What a look without the lock found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unlocked {
    /// No record.
    Empty,
    Record(Next),
}

/// How much is there of a message in fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// Not all of it.
    Growing(Growth),
    /// It does not fit the ring, or may have been cut short.
    Unclear,
    /// Another receiver has taken it meanwhile.
    Moved,
}

/// A message that is not whole yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Position of its first record.
    first: u64,
    /// Position at which its next record will be.
    next: u64,
}

impl Next {
    /// Position behind it.
    #[inline]
    pub(crate) fn end(self) -> u64 {
        self.at.wrapping_add(self.header.span())
    }
}

impl Extent {
    fn growing(first: Next, next: u64) -> Self {
        Self::Growing(Growth {
            first: first.at,
            next,
        })
    }
}

impl Reader<'_> {
    /// The next record, if it is there. Under the lock, with no message lent.
    ///
    /// A whole message may be gone when it is [taken](Self::take); any other record stays.
    ///
    /// # Errors
    ///
    /// [`Fault::Corrupted`] for a position, a header or a length that no correct peer writes.
    #[inline]
    pub(crate) fn peek(self) -> Result<Option<Next>, Fault> {
        for _ in 0..OVERTAKEN_MAX {
            // SYNC: publish-read
            let at = self.control.rx.read.load(Ordering::Acquire);
            if at % 8 != 0 {
                break;
            }
            // SYNC: publish-record
            let word = self.storage.header(at).load(Ordering::Acquire);
            if self.is_still(at) {
                let header = self.rules.decode(word)?;
                if header.is_some_and(|header| self.is_over_the_limit(header)) {
                    break;
                }
                return Ok(header.map(|header| Next { at, header }));
            }
        }
        Err(Fault::Corrupted)
    }

    /// Whether the record is a message that is too long. Of a first fragment only the [`total`](Self::total) shows it.
    #[inline]
    fn is_over_the_limit(self, header: Header) -> bool {
        header.has(FIRST) && header.has(LAST) && header.message_len() as u64 > self.message_max
    }

    /// Whether `read` has been `at` ever since it was loaded. A load could be stale; an update is not.
    #[inline]
    pub(crate) fn is_still(self, at: u64) -> bool {
        let read = &self.control.rx.read;
        read.compare_exchange(at, at, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// The next record, if it is there and is a whole message that follows none that was cut short. Also without
    /// the lock; it may be gone when it is [taken](Self::take), and is nobody's before.
    #[inline(always)]
    pub(crate) fn peek_whole(self) -> Option<Next> {
        // SYNC: publish-read. Whatever the receiver before us noted before it moved on is seen.
        let at = self.control.rx.read.load(Ordering::Acquire);
        // SYNC: publish-record
        let word = self.storage.header(at).load(Ordering::Acquire);
        let len = (word as u32).wrapping_sub(1) as usize;
        let header = Header {
            len,
            flags: FIRST | LAST,
        };
        // A length of 0 - 1 is over any limit.
        let is_possible = len <= self.rules.record_max() && len as u64 <= self.message_max;
        let is_whole = word >> 32 == u64::from(FIRST | LAST) && is_possible;
        (is_whole && at % 8 == 0).then_some(Next { at, header })
    }

    /// The next record's position and how many bytes of records, `most` of them, are there that the senders have
    /// counted; as [`peek_whole`](Self::peek_whole). `None` for cursors that need a closer look.
    pub(crate) fn counted(self, most: u64) -> Option<(u64, usize)> {
        // SYNC: publish-read
        let read = self.control.rx.read.load(Ordering::Acquire);
        // SYNC: count-records
        let tail = self.control.tx.tail.load(Ordering::Acquire);
        let there = self.rules.used(tail, read).ok()?;
        // A correct sender leaves room for the zeroed header.
        let len = there.min(most).min(self.rules.capacity() - HEADER);
        (len > 0 && read % 8 == 0).then_some((read, len as usize))
    }

    /// Copies `len` bytes of records out.
    ///
    /// # Safety
    ///
    /// - `read` and `len` are what [`counted`](Self::counted) returned.
    /// - `to` is valid for writes of `len` bytes, in private memory.
    pub(crate) unsafe fn copy_run_out(self, read: u64, len: usize, to: *mut u8) {
        // SAFETY: by the caller; `counted` bounded the length by the ring.
        unsafe { self.storage.copy_out(read, to, len) };
    }

    /// As [`counted`](Self::counted), for a first record of which the sender has not counted any yet. Under the lock.
    pub(crate) fn uncounted(self, most: u64) -> Option<(u64, usize)> {
        let next = self.peek().ok()??;
        let span = next.header.span();
        // Behind the tail may be what nobody has sent.
        let is_next = next.at == self.control.tx.tail.load(Ordering::Relaxed);
        (is_next && span <= most).then_some((next.at, span as usize))
    }

    /// As [`peek`](Self::peek), without the lock. `None` while the record there is lent, or where it is not what it was
    /// when it was looked at: the caller looks again.
    pub(crate) fn peek_unlocked(self) -> Result<Option<Unlocked>, Fault> {
        // SYNC: publish-read
        let at = self.control.rx.read.load(Ordering::Acquire);
        // SYNC: publish-record
        let word = self.storage.header(at).load(Ordering::Acquire);
        if at % 8 != 0 || !self.is_still(at) {
            return Ok(None);
        }
        Ok(Some(match self.rules.decode(word)? {
            Some(header) if self.is_over_the_limit(header) => return Err(Fault::Corrupted),
            Some(header) => Unlocked::Record(Next { at, header }),
            None => Unlocked::Empty,
        }))
    }

    /// The record that follows `previous`, of a message of which all records are there.
    ///
    /// # Errors
    ///
    /// [`Fault::Corrupted`] for a header that no correct peer writes.
    pub(crate) fn following(self, previous: Next) -> Result<Option<Next>, Fault> {
        let at = previous.end();
        // SYNC: publish-record
        let word = self.storage.header(at).load(Ordering::Acquire);
        let header = self.rules.decode(word)?;
        Ok(header.map(|header| Next { at, header }))
    }

    /// How much is there of the message that `first` begins. One that does not fit the ring never gets whole there, which
    /// is unclear like one that was cut short.
    ///
    /// Its sender is the last one that has published anything unless the message was cut short, so what is counted
    /// behind `first` is its own. `tail` may lag by one record, that of a sender which has not counted it yet or has
    /// died.
    ///
    /// Also without the lock, since what was read of a message that somebody else has taken meanwhile is not believed.
    ///
    /// # Errors
    ///
    /// [`Fault::Corrupted`] for cursors and headers that no correct peer writes.
    pub(crate) fn extent(self, first: Next) -> Result<Extent, Fault> {
        let outcome = self.extent_as_read(first);
        if self.is_still(first.at) {
            outcome
        } else {
            Ok(Extent::Moved)
        }
    }

    fn extent_as_read(self, first: Next) -> Result<Extent, Fault> {
        let total = self.total(first)?;
        if total > self.rules.single_record_max() as u64 {
            return Ok(Extent::Unclear);
        }
        let tx = &self.control.tx;
        // SYNC: count-records
        let tail = tx.tail.load(Ordering::Acquire);
        if first.at.wrapping_sub(tail) <= span_of(self.rules.record_max()) {
            // Of one who has published the first record and not counted it.
            return Ok(Extent::growing(first, first.end()));
        }
        let there = self.rules.used(tail, first.at)?;
        let cut = tx.cut.load(Ordering::Relaxed).wrapping_sub(first.at);
        if (1..=there).contains(&cut) {
            return Ok(Extent::Unclear);
        }
        let whole = self.rules.span_of_message(total as usize);
        if there >= whole {
            return Ok(Extent::Whole);
        }
        // SYNC: publish-record
        let word = self.storage.header(tail).load(Ordering::Acquire);
        let Some(header) = self.rules.decode(word)? else {
            return Ok(Extent::growing(first, tail));
        };
        if header.has(FIRST) {
            return Ok(Extent::Unclear);
        }
        if there + header.span() >= whole {
            return Ok(Extent::Whole);
        }
        let behind = tail.wrapping_add(header.span());
        let is_last = self.storage.header(behind).load(Ordering::Relaxed) == 0;
        Ok(if is_last {
            Extent::growing(first, behind)
        } else {
            Extent::Unclear
        })
    }

    /// Whether more has come of a message, or somebody else has taken it, for one who will look again. Where its next
    /// record was to be there may be anything then, also nothing.
    pub(crate) fn has_grown(self, growth: Growth) -> bool {
        self.storage.header(growth.next).load(Ordering::Relaxed) != 0
            || position_in(&self.control.rx.read, Ordering::Relaxed) != growth.first
    }

    /// Takes away what there is of a message that will not get whole; false when it is gone already.
    pub(crate) fn pass_over(self, growth: Growth) -> bool {
        self.move_on(growth.first, growth.next)
    }

    /// Whether the next record is there and begins a message. As [`peek`](Self::peek).
    pub(crate) fn has_first(self) -> Result<bool, Fault> {
        Ok(self.peek()?.is_some_and(|next| next.header.has(FIRST)))
    }

    /// Whether a record is there, for one who will look again.
    #[inline]
    pub(crate) fn has_record(self) -> bool {
        let read = self.control.rx.read.load(Ordering::Relaxed);
        self.storage.header(read).load(Ordering::Relaxed) != 0
    }

    /// Whether a pack is there, for one who will look again.
    pub(crate) fn has_pack(self) -> bool {
        let read = self.control.rx.read.load(Ordering::Relaxed);
        let word = self.storage.header(read).load(Ordering::Relaxed);
        word & u64::from(PACK) << 32 != 0
    }

    /// The length in bytes of the whole message of which `next` is the first fragment, as its sender claims it.
    ///
    /// # Errors
    ///
    /// [`Fault::Corrupted`] for one over the limit.
    pub(crate) fn total(self, next: Next) -> Result<u64, Fault> {
        Some(self.prefix(next))
            .filter(|&total| total <= self.message_max)
            .ok_or(Fault::Corrupted)
    }

    /// The ticket of a message with descriptors, or what [`total`](Self::total) checks.
    pub(crate) fn prefix(self, next: Next) -> u64 {
        self.storage
            .header(next.at.wrapping_add(HEADER))
            .load(Ordering::Relaxed)
    }

    /// Copies a record's payload out, `PREFIX` bytes in when it `has_prefix`.
    ///
    /// # Safety
    ///
    /// - `next` is what [`peek`](Self::peek) or [`peek_whole`](Self::peek_whole) returned.
    /// - `to` is valid for writes of the payload's length, less the prefix, in private memory.
    #[inline(always)]
    pub(crate) unsafe fn copy_out(self, next: Next, has_prefix: bool, to: *mut u8) {
        let skipped = if has_prefix { PREFIX } else { 0 };
        let place = next.at.wrapping_add(HEADER + skipped as u64);
        // SAFETY: by the caller; whoever peeked bounded the length by an eighth of the ring.
        unsafe { self.storage.copy_out(place, to, next.header.len - skipped) };
    }

    /// Takes a record of which the bytes have been copied out (I6): nobody else has it if this is true, and
    /// somebody else has if not. Senders learn of the room by [`publish_head`](Self::publish_head).
    #[inline(always)]
    pub(crate) fn take(self, next: Next) -> bool {
        take(self.control, next)
    }

    /// As [`take`](Self::take) for records of `span` bytes from `read` on.
    #[inline(always)]
    pub(crate) fn take_run(self, read: u64, span: u64) -> bool {
        self.move_on(read, read.wrapping_add(span))
    }

    /// As [`take`](Self::take), under the lock, for a record that is no whole message, or that is not let go by
    /// its mark.
    ///
    /// # Errors
    ///
    /// [`Fault::Corrupted`] when it is gone all the same.
    pub(crate) fn take_own(self, next: Next) -> Result<(), Fault> {
        if self.take(next) {
            Ok(())
        } else {
            Err(Fault::Corrupted)
        }
    }

    /// The next message of a pack, as a record that [`copy_out`](Self::copy_out) finds where it lies; `None` for any other
    /// record.
    pub(crate) fn next_of_pack(self, next: Next) -> Option<Next> {
        let pack = next.header.pack()?;
        Some(Next {
            at: next.at.wrapping_add((pack.taken * pack.stride()) as u64),
            header: Header {
                len: pack.len,
                flags: FIRST | LAST,
            },
        })
    }

    /// Takes the next message of a pack, which has been copied out. Under the lock: nobody takes a pack, or anything of
    /// it, without.
    ///
    /// # Errors
    ///
    /// As [`take_own`](Self::take_own) and [`check_written`](Self::check_written).
    pub(crate) fn take_of_pack(self, next: Next) -> Result<(), Fault> {
        let Some(left) = next.header.after_one() else {
            // In case a liar has linked its packs without end.
            self.check_written()?;
            return self.take_own(next);
        };
        // SYNC: publish-record. For those who look without the lock it is as the sender's store was.
        self.storage
            .header(next.at)
            .store(left.encode(), Ordering::Release);
        Ok(())
    }

    /// Keeps the record for one who holds the side, from those without the lock too. Under the lock, the holder
    /// noted; false when somebody else has taken it.
    pub(crate) fn mark(self, next: Next) -> bool {
        self.move_on(next.at, next.at | MARK)
    }

    /// Whether the record at `at` is [marked](Self::mark).
    pub(crate) fn is_marked(self, at: u64) -> bool {
        self.control.rx.read.load(Ordering::Relaxed) == at | MARK
    }

    /// Takes the record that was [marked](Self::mark), also without the lock; false when that is not so.
    pub(crate) fn take_marked(self, at: u64, span: u64) -> bool {
        self.move_on(at | MARK, at.wrapping_add(span))
    }

    #[inline(always)]
    fn move_on(self, from: u64, to: u64) -> bool {
        move_on(self.control, from, to)
    }

    /// For one who has taken much at a stretch: whether the senders have written it. Records that go
    /// once round the ring have no end, also when nobody goes on writing them.
    ///
    /// # Errors
    ///
    /// [`Fault::Corrupted`] when `read` is further ahead of `tail` than by the one record or run that may be
    /// published and not counted yet.
    pub(crate) fn check_written(self) -> Result<(), Fault> {
        let read = self.position();
        // With a header the tail before it is seen (`SYNC: publish-record`), also by those who see that
        // it was taken.
        let tail = self.control.tx.tail.load(Ordering::Relaxed);
        if read.wrapping_sub(tail) <= span_of(self.rules.record_max()) {
            return Ok(());
        }
        self.rules.used(tail, read).map(drop)
    }

    /// Tells observers how full the ring is. Takes the senders' line from them, so only for one who has slept.
    pub(crate) fn note_fill(self) {
        let tail = self.control.tx.tail.load(Ordering::Relaxed);
        if let Ok(used) = self.rules.used(tail, self.position()) {
            self.control.rx_counters.note_fill(used);
        }
    }

    /// Where the next record is, or will be.
    #[inline]
    pub(crate) fn position(self) -> u64 {
        // SYNC: publish-read
        position_in(&self.control.rx.read, Ordering::Acquire)
    }

    /// Bytes that have been received and not yet given back.
    #[inline]
    pub(crate) fn unpublished(self) -> u64 {
        self.unpublished_at(self.position())
    }

    /// As [`unpublished`](Self::unpublished), for one who knows `read`.
    #[inline(always)]
    pub(crate) fn unpublished_at(self, read: u64) -> u64 {
        read.wrapping_sub(self.control.head.load(Ordering::Relaxed))
    }

    /// Gives back all room up to the next record, and returns its position. `head` may go back when several do
    /// so at a time, which the next one makes good.
    #[inline]
    pub(crate) fn publish_head(self) -> u64 {
        // SYNC: publish-read. It may be another receiver's, whose copies come first too.
        let read = self.position();
        // SYNC: publish-head. The copies out of that room come before this store.
        self.control.head.store(read, Ordering::Release);
        read
    }
}

/// As [`Reader::take`].
#[inline(always)]
pub(crate) fn take(control: &Control, next: Next) -> bool {
    move_on(control, next.at, next.end())
}

#[inline(always)]
fn move_on(control: &Control, from: u64, to: u64) -> bool {
    let read = &control.rx.read;
    // SYNC: publish-read
    read.compare_exchange(from, to, Ordering::Release, Ordering::Relaxed)
        .is_ok()
}

/// The position in `read`, which may be marked.
#[inline]
pub(crate) fn position_in(read: &AtomicU64, order: Ordering) -> u64 {
    read.load(order) & !MARK
}

/// Lets go of the record at `read` if it was marked. By the holder, or under the lock for a dead one.
pub(crate) fn unmark(read: &AtomicU64) {
    if read.load(Ordering::Relaxed) & MARK != 0 {
        // SYNC: publish-read
        read.fetch_and(!MARK, Ordering::Release);
    }
}
