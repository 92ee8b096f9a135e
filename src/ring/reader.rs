//! The reading side of the ring: the next record, and giving its room back.
//!
//! Every call but [`Reader::has_record`] and [`Reader::publish_head`] is made under the receivers' lock.

use super::record::{FIRST, HEADER, Header, LAST, PREFIX, Rules, span_of};
use super::storage::Storage;
use crate::error::Fault;
use crate::segment::layout::Control;
use crate::sync::Ordering;

/// A view of the ring for receivers.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) control: &'a Control,
    pub(crate) storage: &'a Storage,
    pub(crate) rules: Rules,
}

impl Reader<'_> {
    /// The next record's header, if the record is there.
    ///
    /// # Errors
    ///
    /// [`Fault::Corrupted`] for a header that no correct sender writes.
    #[inline]
    pub(crate) fn peek(self) -> Result<Option<Header>, Fault> {
        let read = self.control.rx.read.load(Ordering::Relaxed);
        // SYNC: publish-record
        self.rules
            .decode(self.storage.header(read).load(Ordering::Acquire))
    }

    /// The next record's position and header, if the record is there and is a whole message that follows
    /// none that was cut short.
    #[inline(always)]
    pub(crate) fn peek_whole(self) -> Option<(u64, Header)> {
        let read = self.control.rx.read.load(Ordering::Relaxed);
        // SYNC: publish-record
        let word = self.storage.header(read).load(Ordering::Acquire);
        let len = (word as u32).wrapping_sub(1) as usize;
        let header = Header {
            len,
            flags: FIRST | LAST,
        };
        // A length of 0 - 1 is over any limit.
        (word >> 32 == u64::from(FIRST | LAST) && len <= self.rules.part_max())
            .then_some((read, header))
    }

    /// The next record's position and how many bytes of records, `most` of them, are there that the senders have
    /// counted. `None` for cursors that need a closer look.
    pub(crate) fn counted(self, most: u64) -> Option<(u64, usize)> {
        let read = self.control.rx.read.load(Ordering::Relaxed);
        // SYNC: count-records
        let tail = self.control.tx.tail.load(Ordering::Acquire);
        let there = self.rules.used(tail, read).ok()?;
        // A correct sender leaves room for the zeroed header.
        let len = there.min(most).min(self.rules.capacity() - HEADER);
        (len > 0 && read.is_multiple_of(8)).then_some((read, len as usize))
    }

    /// Copies `len` bytes of records out.
    ///
    /// # Safety
    ///
    /// - `read` and `len` are what [`counted`](Self::counted) returned under this lock.
    /// - `to` is valid for writes of `len` bytes, in private memory.
    pub(crate) unsafe fn copy_run_out(self, read: u64, len: usize, to: *mut u8) {
        // SAFETY: by the caller; `counted` bounded the length by the ring.
        unsafe { self.storage.copy_out(read, to, len) };
    }

    /// Whether the next record is there and begins a message.
    pub(crate) fn has_first(self) -> Result<bool, Fault> {
        Ok(self.peek()?.is_some_and(|header| header.has(FIRST)))
    }

    /// Whether a record is there, without the lock, for one who waits and will look again under it.
    #[inline]
    pub(crate) fn has_record(self) -> bool {
        let read = self.control.rx.read.load(Ordering::Relaxed);
        self.storage.header(read).load(Ordering::Relaxed) != 0
    }

    /// The length of the whole message whose first part is next.
    pub(crate) fn prefix(self) -> u64 {
        let read = self.control.rx.read.load(Ordering::Relaxed);
        self.storage
            .header(read.wrapping_add(HEADER))
            .load(Ordering::Relaxed)
    }

    /// Copies the next record's payload out, `PREFIX` bytes in when it `has_prefix`.
    ///
    /// # Safety
    ///
    /// - `header` is what [`peek`](Self::peek) returned under this lock.
    /// - `to` is valid for writes of the payload's length, less the prefix, in private memory.
    #[inline]
    pub(crate) unsafe fn copy_out(self, header: Header, has_prefix: bool, to: *mut u8) {
        let skipped = if has_prefix { PREFIX } else { 0 };
        let read = self.control.rx.read.load(Ordering::Relaxed);
        let place = read.wrapping_add(HEADER + skipped as u64);
        // SAFETY: by the caller; `peek` bounded the length by an eighth of the ring.
        unsafe { self.storage.copy_out(place, to, header.len - skipped) };
    }

    /// As [`copy_out`](Self::copy_out) for the record that [`peek_whole`](Self::peek_whole) found at `read`.
    ///
    /// # Safety
    ///
    /// As there.
    #[inline(always)]
    pub(crate) unsafe fn copy_out_at(self, read: u64, header: Header, to: *mut u8) {
        // SAFETY: by the caller; `peek_whole` bounded the length by an eighth of the ring.
        unsafe {
            self.storage
                .copy_out(read.wrapping_add(HEADER), to, header.len)
        };
    }

    /// Moves past the next record, whose bytes have been copied out (I6) or that nobody gets; senders learn of
    /// the room by [`publish_head`](Self::publish_head).
    #[inline]
    pub(crate) fn consume(self, header: Header) {
        let read = self.control.rx.read.load(Ordering::Relaxed);
        self.move_past(read, header.span());
    }

    /// As [`consume`](Self::consume) for the record at `read`; returns the position behind it.
    #[inline(always)]
    pub(crate) fn consume_at(self, read: u64, header: Header) -> u64 {
        self.move_past(read, header.span())
    }

    /// As [`consume_at`](Self::consume_at) for `span` bytes of records.
    #[inline(always)]
    pub(crate) fn consume_run_at(self, read: u64, span: u64) -> u64 {
        self.move_past(read, span)
    }

    #[inline(always)]
    fn move_past(self, read: u64, span: u64) -> u64 {
        let next = read.wrapping_add(span);
        // SYNC: publish-read
        self.control.rx.read.store(next, Ordering::Release);
        next
    }

    /// For one who has taken much at a stretch: whether the senders have written it. Records that go
    /// once round the ring have no end, also when nobody goes on writing them.
    ///
    /// # Errors
    ///
    /// [`Fault::Corrupted`] when `read` is further ahead of `tail` than by the one record or run that may be
    /// published and not counted yet.
    pub(crate) fn check_written(self) -> Result<(), Fault> {
        let read = self.control.rx.read.load(Ordering::Relaxed);
        // With a header the tail before it is seen (`SYNC: publish-record`).
        let tail = self.control.tx.tail.load(Ordering::Relaxed);
        if read.wrapping_sub(tail) <= span_of(self.rules.part_max()) {
            return Ok(());
        }
        self.rules.used(tail, read).map(drop)
    }

    /// Tells observers how full the ring is. Takes the senders' line from them, so only for one who has slept.
    pub(crate) fn note_fill(self) {
        let read = self.control.rx.read.load(Ordering::Relaxed);
        let tail = self.control.tx.tail.load(Ordering::Relaxed);
        if let Ok(used) = self.rules.used(tail, read) {
            self.control.rx_tally.note_fill(used);
        }
    }

    /// Bytes that have been received and not yet given back.
    #[inline]
    pub(crate) fn unpublished(self) -> u64 {
        self.unpublished_at(self.control.rx.read.load(Ordering::Relaxed))
    }

    /// As [`unpublished`](Self::unpublished), for one who knows `read`.
    #[inline(always)]
    pub(crate) fn unpublished_at(self, read: u64) -> u64 {
        read.wrapping_sub(self.control.head.load(Ordering::Relaxed))
    }

    /// Gives back all room up to the next record. Without the lock `head` may go back a little, which the
    /// next one makes good.
    #[inline]
    pub(crate) fn publish_head(self) {
        // SYNC: publish-read. Without the lock it may be another receiver's, whose copies come first too.
        let read = self.control.rx.read.load(Ordering::Acquire);
        // SYNC: publish-head. The copies out of that room come before this store.
        self.control.head.store(read, Ordering::Release);
    }
}
