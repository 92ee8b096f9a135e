//! The ring under the model checker: one sender and one receiver, every order of their steps.
//!
//! The lock of each side is left out; who goes first on one side is for `loom_lock`.

use std::sync::Arc;

use loom::thread;

use super::pack::Pack;
use super::reader::Reader;
use super::record::{FIRST, HEADER, LAST, Rules, span_of};
use super::run::{self, Allowance, Records};
use super::storage::Storage;
use super::writer::Writer;
use crate::segment::Segment;
use crate::segment::geometry::{Sides, Wanted};
use crate::segment::layout::message;
use crate::sync::{Ordering, spin_hint};
use crate::sys::clock::Timeout;
use crate::sys::kernel::model;
use crate::sys::thread::die;

struct Ring {
    segment: Segment,
    storage: Storage,
    rules: Rules,
}

impl Ring {
    fn new(capacity: usize) -> Arc<Self> {
        let segment = Segment::create(Wanted::plain(capacity), Sides::default()).unwrap();
        // SAFETY: the ring keeps the segment, whose words do not move.
        let storage = unsafe { Storage::new(segment.data(), capacity) };
        let rules = Rules::new(capacity);
        Arc::new(Self {
            segment,
            storage,
            rules,
        })
    }

    fn writer(&self) -> Writer<'_> {
        Writer {
            control: self.segment.control(),
            storage: &self.storage,
            rules: self.rules,
        }
    }

    /// For a run that there is room for.
    fn allowance(&self) -> Allowance {
        Allowance::new(self.rules, usize::MAX, u64::MAX)
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            control: self.segment.control(),
            storage: &self.storage,
            rules: self.rules,
            message_max: u64::MAX,
        }
    }

    fn publish(&self, message: &[u8]) {
        self.writer().publish(None, message, FIRST | LAST);
    }

    /// Looks for room at `read` when `exactly`, else at `head`, until there is some.
    fn wait_for_room(&self, message: &[u8], exactly: bool) {
        let has_room = || {
            let span = span_of(message.len());
            if exactly {
                self.writer().has_room_exactly(span)
            } else {
                self.writer().has_room(span)
            }
        };
        while !has_room().expect("the cursors are in order") {
            spin_hint();
        }
    }

    /// The next record, which must be whole; `None` when it is not there.
    fn take(&self) -> Option<Vec<u8>> {
        let reader = self.reader();
        let next = reader.peek().expect("nothing but records is seen")?;
        assert_eq!(next.header.flags & (FIRST | LAST), FIRST | LAST);
        let mut bytes = vec![0; next.header.len];
        // SAFETY: just peeked, and the buffer is as long.
        unsafe { reader.copy_out(next, false, bytes.as_mut_ptr()) };
        assert!(reader.take(next), "nobody else takes");
        Some(bytes)
    }

    /// Takes records until all of `expected` have come.
    fn expect(&self, expected: &[&[u8]], mut after_each: impl FnMut(Reader<'_>)) {
        for &message in expected {
            let taken = loop {
                // A look that changes nothing first, as in a wait: one that updates `read` is a step of its own
                // for the checker.
                if self.reader().has_record() {
                    if let Some(taken) = self.take() {
                        break taken;
                    }
                }
                spin_hint();
            };
            assert_eq!(taken, message);
            after_each(self.reader());
        }
    }

    fn assert_within_bounds(&self) {
        let tail = self.segment.control().tx.tail.load(Ordering::Relaxed);
        let read = self.segment.control().rx.read.load(Ordering::Relaxed);
        let used = self.rules.used(tail, read).unwrap();
        assert!(
            used + HEADER <= self.rules.capacity(),
            "{used} bytes are used"
        );
    }
}

#[test]
fn what_the_receiver_sees_is_whole_records_in_order() {
    model(|| {
        let ring = Ring::new(64);
        let sender = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                ring.publish(b"one");
                ring.publish(b"and another");
            })
        };
        ring.expect(&[b"one", b"and another"], |_| ());
        sender.join().unwrap();
        assert!(ring.take().is_none(), "a record that nobody sent");
    });
}

/// Three records through a ring that holds one; `gives_back` is how the receiver reports the room and
/// `exactly` where the sender looks for it.
fn reuse_room(exactly: bool, gives_back: fn(Reader<'_>)) {
    model(move || {
        let ring = Ring::new(32);
        let sender = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                for message in [b"the 1st.", b"the 2nd.", b"the 3rd."] {
                    ring.wait_for_room(message, exactly);
                    ring.publish(message);
                    ring.assert_within_bounds();
                }
            })
        };
        ring.expect(&[b"the 1st.", b"the 2nd.", b"the 3rd."], gives_back);
        sender.join().unwrap();
    });
}

#[test]
fn room_is_used_again_only_after_head_was_published() {
    reuse_room(false, |reader| _ = reader.publish_head());
}

#[test]
fn room_is_used_again_only_after_read_was_moved() {
    reuse_room(true, |_| ());
}

#[test]
fn head_may_lag_behind_what_a_sender_has_seen() {
    model(|| {
        let ring = Ring::new(32);
        let sender = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                for (exactly, message) in [
                    (true, b"1st"),
                    (true, b"2nd"),
                    (true, b"3rd"),
                    (false, b"4th"),
                ] {
                    ring.wait_for_room(message, exactly);
                    ring.publish(message);
                    ring.assert_within_bounds();
                }
            })
        };
        let mut taken = 0;
        ring.expect(&[b"1st", b"2nd", b"3rd", b"4th"], |reader| {
            taken += 1;
            if taken == 3 {
                reader.publish_head();
            }
        });
        sender.join().unwrap();
    });
}

#[test]
fn the_next_sender_finds_a_record_that_a_dead_one_did_not_count() {
    model(|| {
        let ring = Ring::new(64);
        let dead = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                let tx = &ring.segment.control().tx;
                std::mem::forget(tx.lock.lock(Timeout::FOREVER).unwrap());
                ring.publish(b"its last");
                // As if it had died between the record's header and the tail.
                tx.tail.store(0, Ordering::Relaxed);
                die();
            })
        };
        let next = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                dead.join().unwrap();
                let tx = &ring.segment.control().tx;
                let guard = tx.lock.lock(Timeout::FOREVER).unwrap();
                assert!(guard.owner_died());
                ring.writer().recover().unwrap();
                assert_eq!(tx.state.load(Ordering::Relaxed), message::WHOLE);
                ring.publish(b"the next");
            })
        };
        ring.expect(&[b"its last", b"the next"], |reader| {
            reader.publish_head();
        });
        next.join().unwrap();
    });
}

#[test]
fn a_run_is_seen_all_or_not_at_all() {
    model(|| {
        let ring = Ring::new(64);
        let sender = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                // Beside the records of the run, the one behind it.
                ring.writer()
                    .publish_run(0, &[b"one", b"two"], ring.allowance());
                ring.publish(b"the 3rd.");
            })
        };
        let first = loop {
            match ring.take() {
                Some(first) => break first,
                None => spin_hint(),
            }
        };
        assert_eq!(first, b"one");
        assert_eq!(ring.take().expect("the other one of the run"), b"two");
        sender.join().unwrap();
        assert_eq!(ring.take().unwrap(), b"the 3rd.");
        assert!(ring.take().is_none());
    });
}

#[test]
fn a_run_is_copied_out_as_far_as_it_was_counted() {
    model(|| {
        let ring = Ring::new(64);
        let sender = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                ring.publish(b"the 1st.");
                ring.writer()
                    .publish_run(16, &[b"two", b""], ring.allowance());
            })
        };
        let mut received = Vec::new();
        while received.len() < 3 {
            let Some((read, len)) = ring.reader().counted(run::MAX_RUN) else {
                spin_hint();
                continue;
            };
            let mut bytes = vec![0; len];
            // SAFETY: so long, and there is no other receiver.
            unsafe { ring.reader().copy_run_out(read, len, bytes.as_mut_ptr()) };
            let found = run::whole_messages(&bytes, ring.rules, u64::MAX);
            assert_eq!(found.span, len, "what was counted is whole");
            received.extend(Records::new(&bytes, found.count).map(<[u8]>::to_vec));
            assert!(
                ring.reader().take_run(read, len as u64),
                "nobody else takes"
            );
        }
        assert_eq!(received, [&b"the 1st."[..], b"two", b""]);
        sender.join().unwrap();
    });
}

/// Gathers numbers of 8 bytes.
fn pack_of(numbers: &[[u8; 8]]) -> Box<Pack> {
    let mut pack = Pack::new();
    assert!(pack.gather(&mut numbers.iter(), 8).is_none());
    pack
}

impl Ring {
    /// The next message of the pack that is next; `None` while that is not there.
    fn take_of_pack(&self) -> Option<[u8; 8]> {
        let reader = self.reader();
        let next = reader.peek().expect("nothing but records is seen")?;
        let message = reader.next_of_pack(next).expect("it is a pack");
        let mut bytes = [0; 8];
        assert_eq!(message.header.len, bytes.len());
        // SAFETY: just peeked, and the buffer is as long.
        unsafe { reader.copy_out(message, false, bytes.as_mut_ptr()) };
        reader.take_of_pack(next).expect("nobody else takes");
        Some(bytes)
    }
}

#[test]
fn the_messages_of_a_pack_are_taken_one_by_one_before_its_room_is_used_again() {
    model(|| {
        let ring = Ring::new(64);
        let sender = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                for numbers in [[[1; 8], [2; 8]], [[3; 8], [4; 8]], [[5; 8], [6; 8]]] {
                    while !ring.writer().has_room_exactly(24).unwrap() {
                        spin_hint();
                    }
                    let (tail, room) = ring.writer().tail_and_room().unwrap();
                    let count = ring
                        .writer()
                        .publish_pack(tail, &pack_of(&numbers), 0, room);
                    assert_eq!(count, 2);
                    ring.assert_within_bounds();
                }
            })
        };
        for number in 1..=6 {
            let taken = loop {
                if ring.reader().has_record() {
                    if let Some(taken) = ring.take_of_pack() {
                        break taken;
                    }
                }
                spin_hint();
            };
            assert_eq!(taken, [number; 8]);
        }
        sender.join().unwrap();
        assert!(ring.take().is_none(), "a record that nobody sent");
    });
}

#[test]
fn what_a_dead_receiver_left_of_a_pack_is_taken_by_the_next() {
    model(|| {
        let ring = Ring::new(64);
        ring.writer()
            .publish_pack(0, &pack_of(&[[1; 8], [2; 8], [3; 8]]), 0, 64);
        let take_under_lock = |ring: &Ring| {
            let rx = &ring.segment.control().rx;
            let guard = rx.lock.lock(Timeout::FOREVER).unwrap();
            (ring.take_of_pack().unwrap(), guard.owner_died())
        };
        let dead = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                let rx = &ring.segment.control().rx;
                std::mem::forget(rx.lock.lock(Timeout::FOREVER).unwrap());
                assert_eq!(ring.take_of_pack(), Some([1; 8]));
                die();
            })
        };
        let next = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                dead.join().unwrap();
                take_under_lock(&ring)
            })
        };
        assert_eq!(next.join().unwrap(), ([2; 8], true));
        assert_eq!(take_under_lock(&ring), ([3; 8], false));
        assert!(ring.take().is_none());
    });
}

#[test]
fn the_next_sender_finds_a_run_that_a_dead_one_did_not_count() {
    model(|| {
        let ring = Ring::new(128);
        let dead = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                let tx = &ring.segment.control().tx;
                std::mem::forget(tx.lock.lock(Timeout::FOREVER).unwrap());
                ring.writer()
                    .publish_run(0, &[b"its last", b"but one"], ring.allowance());
                // As if it had died between the first header and the tail.
                tx.tail.store(0, Ordering::Relaxed);
                die();
            })
        };
        let next = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                dead.join().unwrap();
                let tx = &ring.segment.control().tx;
                let guard = tx.lock.lock(Timeout::FOREVER).unwrap();
                assert!(guard.owner_died());
                ring.writer().recover().unwrap();
                ring.publish(b"the next");
            })
        };
        ring.expect(&[b"its last", b"but one", b"the next"], |reader| {
            reader.publish_head();
        });
        next.join().unwrap();
    });
}

#[test]
fn what_a_dead_sender_had_begun_to_write_where_it_had_claimed_is_no_record() {
    model(|| {
        let ring = Ring::new(128);
        let dead = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                let tx = &ring.segment.control().tx;
                std::mem::forget(tx.lock.lock(Timeout::FOREVER).unwrap());
                ring.publish(b"its last");
                let claimed = tx.claimed.load(Ordering::Relaxed);
                assert!(claimed > 40, "{claimed}");
                // As if it had died inside the copy of the next one.
                ring.storage.copy_in(24, &[0xff; 16]);
                die();
            })
        };
        let next = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                dead.join().unwrap();
                let tx = &ring.segment.control().tx;
                let guard = tx.lock.lock(Timeout::FOREVER).unwrap();
                assert!(guard.owner_died());
                ring.writer().recover().unwrap();
                // Behind an empty one lies what the dead one wrote.
                ring.publish(b"");
            })
        };
        ring.expect(&[b"its last", b""], |reader| {
            reader.publish_head();
        });
        next.join().unwrap();
        assert!(ring.take().is_none(), "a record that nobody sent");
    });
}

/// Sends runs that claim lines ahead through a ring that is used again, by room that is seen in `head` or in `read`.
fn runs_that_claim_lines(seen_in_head: bool) {
    const NUMBERS: [[u8; 8]; 6] = [[0; 8], [1; 8], [2; 8], [3; 8], [4; 8], [5; 8]];
    model(move || {
        let ring = Ring::new(128);
        let sender = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                let has_room = || {
                    let writer = ring.writer();
                    if seen_in_head {
                        writer.has_room(48)
                    } else {
                        writer.has_room_exactly(48)
                    }
                };
                for run in NUMBERS.chunks(3) {
                    while !has_room().unwrap() {
                        spin_hint();
                    }
                    let run: Vec<&[u8]> = run.iter().map(|number| &number[..]).collect();
                    let (tail, room) = ring.writer().tail_and_room().unwrap();
                    let allowance = Allowance::new(ring.rules, usize::MAX, room);
                    let published = ring.writer().publish_run(tail, &run, allowance);
                    assert_eq!(published.count, run.len());
                    ring.assert_within_bounds();
                }
            })
        };
        ring.expect(&NUMBERS.each_ref().map(|number| &number[..]), |reader| {
            if seen_in_head {
                reader.publish_head();
            }
        });
        sender.join().unwrap();
    });
}

#[test]
fn lines_are_claimed_in_room_that_receivers_have_published() {
    runs_that_claim_lines(true);
}

#[test]
fn lines_are_claimed_in_room_that_receivers_have_read() {
    runs_that_claim_lines(false);
}
