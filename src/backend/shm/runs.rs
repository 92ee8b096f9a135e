//! Many messages at the cost of one: runs of records, sent and received at once.
//!
//! As `at_once`, these do what takes no wait and give up, having changed nothing, where anything else may be the
//! matter; the caller then goes on with one message the ordinary way.

use std::io;

use super::rx::Rx;
use super::tx::{self, Tx};
use crate::backend::Fate;
use crate::ring::run::{self, Allowance};
use crate::ring::writer::Published;
use crate::segment::layout::message;
use crate::sync::{Ordering, fence_after_swap};
use crate::wait::spin;

impl Tx {
    /// Sends the first of `messages`, as many as make a run for which there is room and are no longer than `limit`;
    /// `None` if that is none. Tells how many and what waking the receivers reports; they are in the ring in any case.
    pub(crate) fn send_run(
        &mut self,
        messages: &[&[u8]],
        limit: usize,
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
        let guard = control.tx.lock.lock_at_once()?;
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
        let allowance = Allowance::new(end.rules, limit, room);
        let Published { count, longest } = writer.publish_run(tail, messages, allowance);
        if count == 0 {
            return None;
        }
        drop(guard);
        spin::note_sent();
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
    /// Takes the whole messages that are there, up to [`run::LONGEST`] bytes, into `to` as a run; looks for
    /// them for a moment if the call `may_wait` and looking can pay. Tells how many; `None` if that is none.
    pub(crate) fn recv_run(&mut self, to: &mut Vec<u8>, may_wait: bool) -> Option<usize> {
        if self.reader().has_record() {
            self.stream.found();
        } else if !may_wait || !self.spinner.may_look() || !self.look_for_a_moment() {
            return None;
        }
        if self.fate != Fate::Open {
            return None;
        }
        let reader = self.reader();
        let guard = reader.control.rx.lock.lock_at_once()?;
        if self.end.closing.is_closed() {
            return None;
        }
        if reader.control.rx.custody.state.load(Ordering::Relaxed) != message::WHOLE {
            return None;
        }
        let (read, len) = reader.counted(run::LONGEST)?;
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
        drop(guard);
        self.stream.took(span / count);
        self.settle_at_once(read.wrapping_add(span as u64));
        Some(count)
    }
}
