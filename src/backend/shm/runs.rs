//! Many messages at the cost of one: runs of records, and packs, each sent and received in one section.
//!
//! Like `fast_send` and `fast_recv`, these calls do what takes no wait. In any other case they give up without having changed
//! anything, and the caller goes on with one message.

use std::io;

use super::fragments;
use super::rx::Rx;
use super::tx::{self, Tx};
use super::view::View;
use crate::backend::Fate;
use crate::ring::pack::Pack;
use crate::ring::payload::Destination;
use crate::ring::run::{self, Allowance};
use crate::ring::writer::{Published, Writer};
use crate::segment::layout::message;
use crate::sync::{Ordering, fence_after_swap};
use crate::wait::backoff;

impl Tx {
    /// Sends the first of `messages` as a run: as many as there is room for and are no longer than `limit`. Returns how many,
    /// and what waking the receivers reports; the messages are in the ring in any case. `None` if none was sent.
    pub(crate) fn send_run(
        &mut self,
        messages: &[&[u8]],
        limit: usize,
    ) -> Option<(usize, io::Result<()>)> {
        self.send_together(|writer, tail, room| {
            let allowance = Allowance::new(writer.rules, limit, room);
            writer.publish_run(tail, messages, allowance)
        })
    }

    /// As [`send_run`](Self::send_run), the messages gathered from `first` on, as one record.
    pub(crate) fn send_pack(
        &mut self,
        messages: &Pack,
        first: usize,
    ) -> Option<(usize, io::Result<()>)> {
        self.send_together(|writer, tail, room| Published {
            count: writer.publish_pack(tail, messages, first, room),
            longest: messages.message_len(),
        })
    }

    /// Whether receivers take what is there together, as far as one knows without asking.
    pub(crate) fn receivers_take_runs(&self) -> bool {
        self.end.control().data.takes_runs()
    }

    /// Has messages published at the tail, for which there is so much room.
    #[inline(always)]
    fn send_together(
        &mut self,
        publish: impl FnOnce(Writer<'_>, u64, u64) -> Published,
    ) -> Option<(usize, io::Result<()>)> {
        let Self {
            end,
            life_line,
            fate,
            noted,
            ..
        } = self;
        let end = &**end;
        let control = end.control();
        let is_due = life_line.is_to_ask() && life_line.is_due_in_passing();
        if is_due && !tx::View::new(end).goes_on(life_line) {
            return None;
        }
        if *fate != Fate::Open || !life_line.is_as_it_was(&control.room) {
            return None;
        }
        let guard = control.tx.lock.lock_uncontended()?;
        if end.closing.is_closed() {
            return None;
        }
        if control.tx.state.load(Ordering::Relaxed) != message::WHOLE {
            return None;
        }
        let writer = end.writer();
        let (mut tail, mut room) = writer.tail_and_room()?;
        if room < Allowance::most(end.rules) {
            writer.look_for_room();
            (tail, room) = writer.tail_and_room()?;
        }
        let Published { count, longest } = publish(writer, tail, room);
        if count == 0 {
            return None;
        }
        drop(guard);
        backoff::note_sent();
        fence_after_swap();
        if longest > noted.len {
            tx::View::new(end).note_length(noted, longest);
        }
        if control.data.is_armed() {
            return Some((count, self.ring_after_send().map(drop)));
        }
        Some((count, Ok(())))
    }
}

impl Rx {
    /// Takes the whole messages that are there, up to [`run::MAX_RUN`] bytes, into `to` as a run; looks for
    /// them for a moment if the call `may_wait` and looking can pay. Tells how many; `None` if that is none.
    pub(crate) fn recv_run(&mut self, to: &mut Vec<u8>, may_wait: bool) -> Option<usize> {
        if self.reader().has_record() {
            self.stream.found();
        } else if !may_wait || !self.backoff.may_look() || !self.look_for_a_moment() {
            return None;
        }
        if self.fate != Fate::Open {
            return None;
        }
        let view = View::new(&self.end);
        let reader = view.reader;
        let guard = reader.control.rx.lock.lock_uncontended()?;
        if self.end.closing.is_closed() || view.reassembly().state() != message::WHOLE {
            return None;
        }
        let (read, len) = reader
            .counted(run::MAX_RUN)
            .or_else(|| reader.uncounted(run::MAX_RUN))?;
        to.clear();
        to.try_reserve(len).ok()?;
        let spare = to.spare_capacity_mut().as_mut_ptr();
        // SAFETY: just counted; so many bytes are reserved.
        unsafe { reader.copy_run_out(read, len, spare.cast()) };
        // SAFETY: the copy has initialised so many.
        unsafe { to.set_len(len) };
        // From here on it is ours, so each header is what it was when it was checked.
        let run::Found { count, span } = run::whole_messages(to, reader.rules, reader.message_max);
        to.truncate(span);
        if count == 0 {
            return None;
        }
        if !reader.take_run(read, span as u64) {
            return None;
        }
        if view.is_watched() {
            view.settle();
        }
        drop(guard);
        reader.control.data.note_taken_together();
        self.stream.took(span / count);
        self.settle_fast(read.wrapping_add(span as u64));
        Some(count)
    }

    /// Takes the next message of a pack, if that is what is there, it fits, and nobody else has the side.
    pub(crate) fn recv_of_pack(&mut self, mut into: Destination<'_>) -> Option<usize> {
        let view = View::new(&self.end);
        if self.fate != Fate::Open || !view.reader.has_pack() {
            return None;
        }
        let _guard = view.reader.control.rx.lock.lock_uncontended()?;
        if self.end.closing.is_closed() || view.reassembly().state() != message::WHOLE {
            return None;
        }
        // What is wrong there is for the next receive to say.
        let next = view.reader.peek().ok()??;
        let len = fragments::take_of_pack(view, next, &mut into).ok()??;
        view.settle();
        Some(len)
    }
}
