//! Taking records: what one look at the ring comes to, with the lock or without.
//!
//! A message that fits the ring is taken when it is whole, by one move of `read`. That holds also for one in fragments, so
//! a call that ends before, or a receiver that is killed, has taken nothing. Fragments are taken as they come
//! ([`fragments`](super::fragments)) of a message that is longer than the ring, and by a receiver that waits without limit.

use super::deliver::{deliver, take_whole};
use super::fragments::{self, Attempt};
use super::view::View;
use crate::error::Fault;
use crate::ring::payload::Destination;
use crate::ring::reader::{Extent, Next, Unlocked};
use crate::ring::reassembly::Reassembly;
use crate::ring::record::{FIRST, LAST};
use crate::segment::layout::message;

/// How often a receiver tries to get a message before others, until it looks at its deadline.
const OVERTAKEN: u32 = 64;

/// Takes records until a message is whole or the ring is empty. Fragments of a message that fits the ring are taken
/// before it is whole only by one who `streams`.
#[inline]
pub(super) fn take(
    view: View<'_>,
    reassembly: &mut Reassembly<()>,
    verified: &mut u64,
    into: &mut Destination<'_>,
    streams: bool,
) -> Result<Attempt, Fault> {
    for _ in 0..OVERTAKEN {
        let Some(next) = view.reader.peek()? else {
            return Ok(Attempt::Empty);
        };
        if next.header.flags != FIRST | LAST || reassembly.is_under_way(view.reassembly()) {
            return take_fragments(view, reassembly, into, streams);
        }
        verify_now_and_then(view, verified, next)?;
        let len = deliver(view, next, into)?;
        if view.reader.take(next) {
            view.settle();
            return Ok(Attempt::Received(len));
        }
    }
    Ok(Attempt::Enough)
}

/// Takes a whole message without the lock, for a call that may not wait for those who have it; `None` where that takes
/// the lock.
///
/// # Errors
///
/// [`Fault::NotNow`] when there is nothing to take: no record, or a message that is not whole yet.
pub(super) fn take_without_lock(
    view: View<'_>,
    into: &mut Destination<'_>,
) -> Result<Option<usize>, Fault> {
    for _ in 0..OVERTAKEN {
        let next = match view.reader.peek_unlocked()? {
            None => continue,
            Some(Unlocked::Empty) => return Err(Fault::NotNow),
            Some(Unlocked::Record(next)) => next,
        };
        // After `read`, whose last mover has noted it before.
        if view.reassembly().state() != message::WHOLE {
            return Ok(None);
        }
        let received = if next.header.flags == FIRST | LAST {
            let len = deliver(view, next, into)?;
            view.reader.take(next).then_some(len)
        } else if next.header.flags & (FIRST | LAST) == FIRST {
            match view.reader.extent(next)? {
                Extent::Whole => take_whole(view, next, into)?,
                Extent::Growing(_) => return Err(Fault::NotNow),
                Extent::Unclear => return Ok(None),
                Extent::Moved => None,
            }
        } else {
            return Ok(None);
        };
        if received.is_some() {
            return Ok(received);
        }
    }
    Ok(None)
}

/// Whether a receive would find something to do, for a look without the lock; `None` where only a look under the lock can show it.
pub(super) fn is_there_without_lock(view: View<'_>) -> Result<Option<bool>, Fault> {
    let Some(found) = view.reader.peek_unlocked()? else {
        return Ok(None);
    };
    if view.reassembly().state() != message::WHOLE {
        return Ok(None);
    }
    Ok(match found {
        Unlocked::Empty => Some(false),
        Unlocked::Record(next) if next.header.flags & (FIRST | LAST) == FIRST => {
            match view.reader.extent(next)? {
                Extent::Whole => Some(true),
                Extent::Growing(_) => Some(false),
                Extent::Unclear | Extent::Moved => None,
            }
        }
        Unlocked::Record(_) => Some(true),
    })
}

/// Looks once round the ring whether anybody has written what was taken, in case a liar has linked its
/// records without end.
#[inline]
pub(super) fn verify_now_and_then(
    view: View<'_>,
    verified: &mut u64,
    next: Next,
) -> Result<(), Fault> {
    if next.at.wrapping_sub(*verified) > view.reader.rules.capacity() {
        view.reader.check_written()?;
        *verified = next.at;
    }
    Ok(())
}

#[cold]
fn take_fragments(
    view: View<'_>,
    reassembly: &mut Reassembly<()>,
    into: &mut Destination<'_>,
    streams: bool,
) -> Result<Attempt, Fault> {
    // One ring's worth at a time, so that a fast sender cannot keep a call beyond its deadline.
    let mut budget = view.reader.rules.effort_max();
    while let Some(next) = view.reader.peek()? {
        let outcome = fragments::take_record(view, reassembly, next, into, streams)?;
        view.settle();
        if let Some(attempt) = outcome {
            return Ok(attempt);
        }
        budget = budget.saturating_sub(view.reader.rules.effort(next.header));
        if budget == 0 {
            return Ok(Attempt::Enough);
        }
    }
    Ok(Attempt::Empty)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::backend::{Rx as _, Tx as _};
    use crate::segment::geometry::Wanted;
    use crate::sys::clock::Timeout;
    use crate::sys::memory::page_size;
    use crate::wait::backoff::Spin;

    /// A pipe with the smallest ring of this machine, and a length in proportion to it.
    fn smallest() -> (super::super::Rx, super::super::Tx, impl Fn(usize) -> usize) {
        let (rx, tx) = super::super::pair(Wanted::plain(page_size()), Spin::default()).unwrap();
        let capacity = rx.capacity();
        (rx, tx, move |of_4096| of_4096 * capacity / 4096)
    }

    #[test]
    fn a_length_that_a_liar_has_changed_since_the_look_is_held_to_the_limit_too() {
        let (rx, mut tx, length) = smallest();
        rx.limit_messages(length(1000));
        tx.send(&vec![7; length(1500)], Timeout::Never).unwrap();
        let view = View::new(&rx.end);
        let claim = |len| {
            let read = view.reader.position();
            let prefix = view.reader.storage.header(read.wrapping_add(8));
            prefix.store(length(len) as u64, crate::sync::Ordering::Relaxed);
        };
        claim(600);
        let first = view.reader.peek().unwrap().unwrap();
        assert_eq!(view.reader.extent(first).unwrap(), Extent::Whole);
        claim(1500);
        let mut message = Vec::new();
        let outcome = take_whole(view, first, &mut Destination::Buffer(&mut message));
        assert!(
            matches!(outcome, Err(Fault::Corrupted)),
            "{}",
            message.len()
        );
    }

    #[test]
    fn what_is_read_of_a_message_that_another_one_has_taken_is_not_believed() {
        let (mut rx, mut tx, length) = smallest();
        let slow = rx.try_clone().unwrap();
        let reader = View::new(&slow.end).reader;
        let mut pass = |byte| {
            tx.send(&vec![byte; length(1500)], Timeout::Never).unwrap();
            let first = reader.peek().unwrap().unwrap();
            assert_eq!(reader.extent(first).unwrap(), Extent::Whole);
            let mut message = Vec::new();
            let into = Destination::Buffer(&mut message);
            assert_eq!(rx.recv(into, Timeout::Never).unwrap(), length(1500));
            first
        };
        let first = pass(0);
        // Once round the ring: where it began lie other bytes.
        for _ in 0..3 {
            pass(0xff);
        }
        assert_eq!(reader.extent(first).unwrap(), Extent::Moved);
    }

    #[test]
    fn an_owner_that_has_gone_on_is_not_taken_for_stuck_any_more() {
        let (mut rx, mut tx, length) = smallest();
        rx.end.stuck.note(1);
        tx.end.stuck.note(1);
        // Of several fragments, so that both sides take their locks.
        tx.send(&vec![7; length(3000)], Timeout::Never).unwrap();
        let mut message = Vec::new();
        let into = Destination::Buffer(&mut message);
        assert_eq!(rx.recv(into, Timeout::FOREVER).unwrap(), length(3000));
        assert!(!rx.end.stuck.is_noted() && !tx.end.stuck.is_noted());
    }
}
