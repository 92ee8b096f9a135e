//! A message that is only partly there, and an end with several handles: whatever call looked at it and
//! whatever becomes of its handle or process, the message is received whole or reported, never silently gone.
//!
//! A message that fits the pipe leaves it whole in every call that does not wait for ever. Of a longer one any call
//! may take fragments; these are the process's, not the handle's. Who is to receive while several try is in
//! `shared_tries`.

use std::io::Read;
use std::time::Duration;

use shmpipe::{
    Backend, Receiver, RecvError, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError,
    TrySendError, wait,
};

use crate::ends::{FILLER, LARGE, SHORT, assert_empty_but_alive, drain, open};
use crate::support::{
    Child, Line, check, doing, fork, fork_apart, on_both_backends, pattern, thread,
};

on_both_backends! {
    a_dropped_clone_whose_call_ended_inside_a_message_takes_nothing_along,
    a_dropped_clone_whose_read_ended_before_a_message_takes_nothing_of_it_along,
    an_idle_clone_whose_call_ended_inside_a_message_lets_the_others_go_on,
    an_idle_clone_inside_a_message_lets_other_threads_wait_for_it_and_go_on,
    a_process_forked_after_a_call_ended_inside_a_message_takes_nothing_along,
    a_message_that_fits_goes_to_another_process_after_a_call_ended_inside_it,
    a_process_that_exits_after_its_call_ended_inside_a_message_loses_it_with_a_report_only,
    a_process_that_is_killed_after_its_call_ended_inside_a_message_loses_it_with_a_report_only,
    a_process_killed_while_it_waits_inside_a_message_loses_it_with_a_report_only,
    a_senders_death_is_reported_after_another_ones_send_failed_for_want_of_room,
    a_try_reports_a_death_inside_a_message_that_fits_after_another_ones_send,
    a_message_that_fits_is_left_whole_behind_one_whose_both_sides_died,
    a_death_behind_what_a_dropped_clone_returned_is_reported_to_the_others,
}

/// Length of a message that goes in fragments and fits the pipe.
const FITS: usize = 30_000;

/// Messages of [`FILLER`] bytes that leave less room than [`FITS`].
const FILLERS: u64 = 40;

/// Longer than any wait here lasts unless it hangs.
const AMPLE: Duration = Duration::from_secs(20);

/// A receiving call that ends by itself and finds no message.
type Call = (&'static str, fn(&mut Receiver));

const CALLS: [Call; 9] = [
    ("try_recv", |rx| {
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    }),
    ("recv_timeout", |rx| {
        let outcome = rx.recv_timeout(SHORT);
        assert!(matches!(outcome, Err(RecvTimeoutError::Timeout)));
    }),
    // The first fragment may count as a message that is there.
    ("poll at once", |rx| {
        rx.poll(Some(Duration::ZERO)).unwrap();
    }),
    ("poll", |rx| {
        rx.poll(Some(SHORT)).unwrap();
    }),
    ("wait", |rx| {
        wait(&mut [rx], Some(SHORT)).unwrap();
    }),
    ("try_recv_batch", |rx| {
        assert!(matches!(rx.try_recv_batch(), Err(TryRecvError::Empty)));
    }),
    ("recv_batch_timeout", |rx| {
        let outcome = rx.recv_batch_timeout(SHORT);
        assert!(matches!(outcome, Err(RecvTimeoutError::Timeout)));
    }),
    ("try_recv_in_place", |rx| {
        assert!(matches!(rx.try_recv_in_place(), Err(TryRecvError::Empty)));
    }),
    ("recv_in_place_timeout", |rx| {
        let outcome = rx.recv_in_place_timeout(SHORT);
        assert!(matches!(outcome, Err(RecvTimeoutError::Timeout)));
    }),
];

/// A pipe and its stopped sender, which is inside a message of `len` bytes, the next one to be received;
/// two more follow. The parent's own sender keeps the pipe open.
fn under_way(backend: Backend, len: usize) -> (Receiver, Sender, Child) {
    under_way_behind(FILLERS, backend, len)
}

/// As [`under_way`], with so many messages before, which leave so much less room.
fn under_way_behind(fillers: u64, backend: Backend, len: usize) -> (Receiver, Sender, Child) {
    let (mut rx, mut tx) = open(backend);
    for number in 0..fillers {
        tx.send(&pattern(0, number, FILLER)).unwrap();
    }
    let sender = fork(|| {
        tx.send(&pattern(1, 0, len)).unwrap();
        tx.send(&pattern(1, 1, FILLER)).unwrap();
        tx.send(&pattern(1, 2, LARGE)).unwrap();
    });
    sender.until_asleep();
    sender.stop();
    drain(&mut rx, 0, 0..fillers, FILLER);
    (rx, tx, sender)
}

/// Asserts that the two messages come that follow the one under way.
#[track_caller]
fn assert_the_next_messages(rx: &mut Receiver, sender: Child) {
    check(&rx.recv().unwrap(), 1, 1, FILLER);
    check(&rx.recv().unwrap(), 1, 2, LARGE);
    assert_empty_but_alive(rx);
    sender.join();
}

/// Asserts that the message under way comes whole, and those that follow it.
#[track_caller]
fn assert_whole(rx: &mut Receiver, sender: Child, len: usize) {
    sender.cont();
    check(&rx.recv().unwrap(), 1, 0, len);
    assert_the_next_messages(rx, sender);
}

/// Asserts that the message under way comes whole or is reported, once, and that the others follow.
#[track_caller]
fn assert_whole_or_reported(rx: &mut Receiver, sender: Child, len: usize) {
    sender.cont();
    match rx.recv() {
        Ok(message) => check(&message, 1, 0, len),
        Err(RecvError::Aborted) => {}
        Err(error) => panic!("{error}"),
    }
    assert_the_next_messages(rx, sender);
}

/// Does `test` for each call and for a message that fits the pipe and one that does not.
fn for_each_call(backend: Backend, test: impl Fn(Backend, usize, fn(&mut Receiver))) {
    for len in [FITS, LARGE] {
        for (name, call) in CALLS {
            doing(&format!("{name} inside {len} bytes"));
            test(backend, len, call);
        }
    }
}

fn a_dropped_clone_whose_call_ended_inside_a_message_takes_nothing_along(backend: Backend) {
    for_each_call(backend, |backend, len, call| {
        let (mut rx, _tx, sender) = under_way(backend, len);
        let mut clone = rx.try_clone().unwrap();
        call(&mut clone);
        drop(clone);
        assert_whole(&mut rx, sender, len);
    });
}

fn a_dropped_clone_whose_read_ended_before_a_message_takes_nothing_of_it_along(backend: Backend) {
    for len in [FITS, LARGE] {
        let (mut rx, mut tx) = open(backend);
        for number in 0..FILLERS {
            tx.send(&pattern(0, number, FILLER)).unwrap();
        }
        let sender = fork(|| {
            tx.send(&pattern(1, 0, len)).unwrap();
            tx.send(&pattern(1, 1, FILLER)).unwrap();
            tx.send(&pattern(1, 2, LARGE)).unwrap();
        });
        sender.until_asleep();
        sender.stop();
        drain(&mut rx, 0, 0..FILLERS - 1, FILLER);
        let mut clone = rx.try_clone().unwrap();
        let mut bytes = vec![0; 2 * LARGE];
        // It gathers what is there, and only the last of the fillers is there whole.
        assert_eq!(clone.read(&mut bytes).unwrap(), FILLER);
        check(&bytes[..FILLER], 0, FILLERS - 1, FILLER);
        drop(clone);
        assert_whole(&mut rx, sender, len);
    }
}

fn an_idle_clone_whose_call_ended_inside_a_message_lets_the_others_go_on(backend: Backend) {
    for_each_call(backend, |backend, len, call| {
        let (mut idle, _tx, sender) = under_way(backend, len);
        let mut rx = idle.try_clone().unwrap();
        call(&mut idle);
        sender.cont();
        check(&rx.recv_timeout(AMPLE).unwrap(), 1, 0, len);
        check(&idle.recv_timeout(AMPLE).unwrap(), 1, 1, FILLER);
        check(&rx.recv_timeout(AMPLE).unwrap(), 1, 2, LARGE);
        sender.join();
    });
}

fn an_idle_clone_inside_a_message_lets_other_threads_wait_for_it_and_go_on(backend: Backend) {
    for_each_call(backend, |backend, len, call| {
        let (mut idle, _tx, sender) = under_way(backend, len);
        let mut rx = idle.try_clone().unwrap();
        call(&mut idle);
        let other = thread(move || {
            assert_eq!(wait(&mut [&mut rx], Some(AMPLE)).unwrap(), [0]);
            check(&rx.recv_timeout(AMPLE).unwrap(), 1, 0, len);
            rx
        });
        sender.cont();
        assert_the_next_messages(&mut other.join(), sender);
    });
}

fn a_process_forked_after_a_call_ended_inside_a_message_takes_nothing_along(backend: Backend) {
    for_each_call(backend, |backend, len, call| {
        for is_killed in [false, true] {
            let (mut rx, _tx, sender) = under_way(backend, len);
            call(&mut rx);
            if len == LARGE {
                // So that it is the parent's message, also after a call that only looked.
                assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
            }
            // A call of the copy too, and its drop, leave the parent's message alone.
            let child = fork(|| {
                assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
                let copy = rx.try_clone().unwrap();
                drop(copy);
                if is_killed {
                    std::thread::sleep(AMPLE);
                }
            });
            if is_killed {
                child.until_asleep();
                child.kill();
            } else {
                child.join();
            }
            assert_whole(&mut rx, sender, len);
        }
    });
}

fn a_message_that_fits_goes_to_another_process_after_a_call_ended_inside_it(backend: Backend) {
    for (name, call) in CALLS {
        doing(name);
        let (mut idle, _tx, sender) = under_way(backend, FITS);
        call(&mut idle);
        sender.cont();
        fork(|| check(&idle.recv_timeout(AMPLE).unwrap(), 1, 0, FITS)).join();
        assert_the_next_messages(&mut idle, sender);
    }
}

fn a_process_that_exits_after_its_call_ended_inside_a_message_loses_it_with_a_report_only(
    backend: Backend,
) {
    for_each_call(backend, |backend, len, call| {
        let (mut rx, _tx, sender) = under_way(backend, len);
        fork(|| call(&mut rx)).join();
        match len {
            FITS => assert_whole(&mut rx, sender, len),
            _ => assert_whole_or_reported(&mut rx, sender, len),
        }
    });
}

fn a_process_that_is_killed_after_its_call_ended_inside_a_message_loses_it_with_a_report_only(
    backend: Backend,
) {
    for_each_call(backend, |backend, len, call| {
        let (mut rx, _tx, sender) = under_way(backend, len);
        let child = fork(|| {
            call(&mut rx);
            std::thread::sleep(AMPLE);
        });
        child.until_asleep();
        child.kill();
        match len {
            FITS => assert_whole(&mut rx, sender, len),
            _ => assert_whole_or_reported(&mut rx, sender, len),
        }
    });
}

fn a_process_killed_while_it_waits_inside_a_message_loses_it_with_a_report_only(backend: Backend) {
    for len in [FITS, LARGE] {
        let (mut rx, _tx, sender) = under_way(backend, len);
        let child = fork(|| panic!("received {:?}", rx.recv().map(|message| message.len())));
        child.until_asleep();
        child.kill();
        assert_whole_or_reported(&mut rx, sender, len);
    }
}

fn a_senders_death_is_reported_after_another_ones_send_failed_for_want_of_room(backend: Backend) {
    type Send = (&'static str, fn(&mut Sender));
    let sends: [Send; 4] = [
        ("try_send", |tx| {
            let outcome = tx.try_send(&pattern(2, 0, FITS));
            assert!(matches!(outcome, Err(TrySendError::Full)), "{outcome:?}");
        }),
        ("send_timeout", |tx| {
            let outcome = tx.send_timeout(&pattern(2, 0, FITS), SHORT);
            assert!(
                matches!(outcome, Err(SendTimeoutError::Timeout)),
                "{outcome:?}"
            );
        }),
        ("a long send_timeout", |tx| {
            let outcome = tx.send_timeout(&pattern(2, 0, LARGE), SHORT);
            assert!(
                matches!(outcome, Err(SendTimeoutError::Timeout)),
                "{outcome:?}"
            );
        }),
        ("a long try_send", |tx| {
            let outcome = tx.try_send(&pattern(2, 0, LARGE));
            let is_refused = matches!(
                outcome,
                Err(TrySendError::Full | TrySendError::TooLargeAtOnce { .. })
            );
            assert!(is_refused, "{outcome:?}");
        }),
    ];
    for (name, send) in sends {
        doing(name);
        let (rx, mut tx) = open(backend);
        let victim = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
        victim.until_asleep();
        victim.kill();
        send(&mut tx);
        let told = Line::new();
        let (receiver, mut tx) = fork_apart(tx, || {
            let mut rx = rx;
            let outcome = rx.recv().map(|message| message.len());
            assert!(matches!(outcome, Err(RecvError::Aborted)), "{outcome:?}");
            told.signal();
            check(&rx.recv().unwrap(), 2, 1, FILLER);
            assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
        });
        told.wait();
        tx.send(&pattern(2, 1, FILLER)).unwrap();
        drop(tx);
        receiver.join();
    }
}

fn a_try_reports_a_death_inside_a_message_that_fits_after_another_ones_send(backend: Backend) {
    for fillers in [FILLERS, FILLERS + 16] {
        let (mut rx, mut tx, victim) = under_way_behind(fillers, backend, FITS);
        victim.kill();
        tx.send(&pattern(2, 0, 1)).unwrap();
        // Less than the whole message is there, at the latest with more before it, and no more of it comes.
        assert!(rx.poll(Some(Duration::ZERO)).unwrap());
        let outcome = rx.try_recv().map(|message| message.len());
        assert!(matches!(outcome, Err(TryRecvError::Aborted)), "{outcome:?}");
        assert_eq!(rx.try_recv().unwrap().len(), 1);
        assert_empty_but_alive(&mut rx);
    }
}

fn a_death_behind_what_a_dropped_clone_returned_is_reported_to_the_others(backend: Backend) {
    type Take = (&'static str, fn(&mut Receiver));
    let takes: [Take; 4] = [
        ("read", |rx| {
            assert_eq!(rx.read(&mut [0; LARGE]).unwrap(), 5)
        }),
        ("recv_batch", |rx| {
            assert_eq!(rx.recv_batch().unwrap().len(), 1);
        }),
        ("try_recv_batch", |rx| {
            assert_eq!(rx.try_recv_batch().unwrap().len(), 1);
        }),
        ("recv_batch_timeout", |rx| {
            assert_eq!(rx.recv_batch_timeout(AMPLE).unwrap().len(), 1);
        }),
    ];
    for (name, take) in takes {
        doing(name);
        let (mut rx, mut tx) = open(backend);
        let sender = fork(|| {
            tx.send(b"whole").unwrap();
            tx.send(&pattern(1, 0, LARGE)).unwrap();
        });
        sender.until_asleep();
        sender.kill();
        let mut clone = rx.try_clone().unwrap();
        take(&mut clone);
        drop(clone);
        let outcome = rx.recv_timeout(AMPLE).map(|message| message.len());
        assert!(
            matches!(outcome, Err(RecvTimeoutError::Aborted)),
            "{name}: {outcome:?}"
        );
        assert_empty_but_alive(&mut rx);
        drop(tx);
    }
}

fn a_message_that_fits_is_left_whole_behind_one_whose_both_sides_died(backend: Backend) {
    // The receiver has the beginning of a fragment that its sender never completes.
    let (mut rx, mut tx, first) = under_way_behind(FILLERS, backend, LARGE);
    fork(|| assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)))).join();
    first.kill();
    let second = fork(|| {
        for number in 0..FILLERS {
            tx.send(&pattern(2, number, FILLER)).unwrap();
        }
        tx.send(&pattern(1, 0, FITS)).unwrap();
        tx.send(&pattern(1, 1, FILLER)).unwrap();
        tx.send(&pattern(1, 2, LARGE)).unwrap();
    });
    second.until_asleep();
    second.stop();
    assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
    drain(&mut rx, 2, 0..FILLERS, FILLER);
    fork(|| assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)))).join();
    assert_whole(&mut rx, second, FITS);
}
