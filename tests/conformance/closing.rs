//! Closing a side in this process while other handles to it live: in other threads, and in the copies that a fork has
//! left of them.

use std::io::{Error, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shmpipe::{
    Backend, Interest, PipeOptions, Receiver, RecvError, SendError, Sender, TryRecvError, wait,
    wait_with,
};

use crate::ends::{FILLER, LARGE, assert_at_end, drain, fill, open, open_duplex};
use crate::support::{
    Held, Line, check, fork, long, on_both_backends, open_fds, pattern, switches, thread,
    until_asleep, without_spare_descriptors,
};

on_both_backends! {
    a_child_lets_go_of_the_receiving_side_though_it_has_copies_of_a_threads_handle,
    a_child_lets_go_of_the_sending_side_though_it_has_copies_of_a_threads_handle,
    a_child_that_closes_changes_nothing_for_its_parent,
    a_blocked_receive_of_another_thread_ends,
    every_way_of_blocking_for_a_message_ends within 20,
    every_way_of_blocking_for_room_ends within 20,
    every_thread_that_sleeps_behind_another_ends within 20,
    senders_that_wait_for_another_process_to_let_go_end within 20,
    receivers_that_wait_for_another_process_to_let_go_end within 20,
    a_wait_for_many_ends_and_descriptors_ends,
    a_sleeping_call_of_an_end_with_clones_makes_no_context_switches,
    what_a_sleep_took_is_given_back_with_the_last_handle,
    a_child_that_makes_the_shared_descriptor_readable_keeps_no_call_busy within 20,
    ends_of_values_close_as_the_ends_below_them,
    a_child_forked_in_the_middle_of_a_close_lets_go_too within 60,
    later_receives_are_refused,
    later_sends_are_refused,
    what_a_handle_had_taken_before_is_still_handed_out,
    what_was_sent_before_the_close_is_received,
    a_second_close_is_as_the_first,
    closes_of_many_handles_at_once_are_one,
    a_long_send_of_another_thread_is_taken_back,
    receivers_hear_of_a_message_that_was_received_in_part,
    a_slot_cannot_be_committed_after_the_close,
    a_view_can_be_read_after_the_close,
    both_directions_of_a_connection_are_closed,
    the_other_side_in_the_same_process_is_not_closed,
    the_descriptors_of_the_side_are_gone_and_their_numbers_are_taken,
    a_side_with_descriptors_to_pass_is_closed_too,
    a_close_that_cannot_be_closes_nothing,
    no_call_uses_a_descriptor_that_was_opened_since within 60,
    nothing_that_was_sent_is_lost_by_a_close_of_a_busy_side within 60,
}

#[track_caller]
fn assert_closed(error: impl Into<Error>) {
    let error = error.into();
    assert_eq!(error.kind(), ErrorKind::NotConnected, "{error:?}");
}

fn a_child_lets_go_of_the_receiving_side_though_it_has_copies_of_a_threads_handle(
    backend: Backend,
) {
    let (rx, mut tx) = open(backend);
    let mut theirs = rx.try_clone().unwrap();
    let blocked = thread(move || theirs.recv().map(|message| message.len()));
    blocked.until_asleep();
    let (has_closed, may_end) = (Line::new(), Line::new());
    let child = fork(|| {
        rx.close().unwrap();
        has_closed.signal();
        may_end.wait();
    });
    has_closed.wait();
    tx.send(b"for the thread").unwrap();
    assert_eq!(blocked.join().unwrap(), 14);
    drop(rx);
    assert!(matches!(tx.send(b"x"), Err(SendError::Disconnected)));
    may_end.signal();
    child.join();
}

fn a_child_lets_go_of_the_sending_side_though_it_has_copies_of_a_threads_handle(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let count = fill(&mut tx, 1);
    let mut theirs = tx.try_clone().unwrap();
    let blocked = thread(move || theirs.send(&pattern(2, 0, FILLER)));
    blocked.until_asleep();
    let (has_closed, may_end) = (Line::new(), Line::new());
    let child = fork(|| {
        tx.close().unwrap();
        has_closed.signal();
        may_end.wait();
    });
    has_closed.wait();
    drain(&mut rx, 1, 0..count, FILLER);
    drain(&mut rx, 2, 0..1, FILLER);
    blocked.join().unwrap();
    drop(tx);
    assert_at_end(&mut rx);
    may_end.signal();
    child.join();
}

fn a_child_that_closes_changes_nothing_for_its_parent(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let mut theirs = rx.try_clone().unwrap();
    let blocked = thread(move || theirs.recv().map(|message| message.len()));
    blocked.until_asleep();
    fork(|| {
        rx.close().unwrap();
        tx.close().unwrap();
        assert_closed(tx.try_clone().unwrap_err());
    })
    .join();
    blocked.until_asleep();
    tx.send(b"goes on").unwrap();
    assert_eq!(blocked.join().unwrap(), 7);
    rx.try_clone().unwrap();
}

fn a_blocked_receive_of_another_thread_ends(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let mut theirs = rx.try_clone().unwrap();
    let blocked = thread(move || theirs.recv().map(drop));
    blocked.until_asleep();
    rx.close().unwrap();
    assert_closed(blocked.join().unwrap_err());
    assert!(matches!(tx.send(b"x"), Err(SendError::Disconnected)));
}

fn every_way_of_blocking_for_a_message_ends(backend: Backend) {
    type Call = fn(&mut Receiver) -> Error;
    let ways: [Call; 6] = [
        |rx| rx.recv().map(drop).unwrap_err().into(),
        |rx| {
            let outcome = rx.recv_timeout(Duration::from_secs(3600)).map(drop);
            outcome.unwrap_err().into()
        },
        |rx| rx.recv_into(&mut [0; 8]).unwrap_err().into(),
        |rx| rx.recv_in_place().map(drop).unwrap_err().into(),
        |rx| rx.poll(None).unwrap_err(),
        |rx| wait(&mut [rx], None).unwrap_err(),
    ];
    for way in ways {
        let (rx, _tx) = open(backend);
        let mut theirs = rx.try_clone().unwrap();
        let blocked = thread(move || way(&mut theirs));
        blocked.until_asleep();
        rx.close().unwrap();
        assert_closed(blocked.join());
    }
}

fn every_way_of_blocking_for_room_ends(backend: Backend) {
    type Call = fn(&mut Sender) -> Error;
    let ways: [Call; 4] = [
        |tx| tx.send(&[7; FILLER]).unwrap_err().into(),
        |tx| {
            let outcome = tx.send_timeout(&[7; FILLER], Duration::from_secs(3600));
            outcome.unwrap_err().into()
        },
        |tx| tx.send(&[7; LARGE]).unwrap_err().into(),
        |tx| {
            let slot = tx.reserve(FILLER);
            slot.and_then(|slot| slot.commit()).unwrap_err().into()
        },
    ];
    for way in ways {
        let (mut rx, mut tx) = open(backend);
        let count = fill(&mut tx, 1);
        let mut theirs = tx.try_clone().unwrap();
        let blocked = thread(move || way(&mut theirs));
        blocked.until_asleep();
        tx.close().unwrap();
        assert_closed(blocked.join());
        drain(&mut rx, 1, 0..count, FILLER);
        assert_at_end(&mut rx);
    }
}

fn every_thread_that_sleeps_behind_another_ends(backend: Backend) {
    let (rx, _tx) = open(backend);
    let receiving: Vec<_> = (0..8)
        .map(|_| {
            let mut rx = rx.try_clone().unwrap();
            thread(move || rx.recv().map(drop))
        })
        .collect();
    let (mut far, mut tx) = open(backend);
    let count = fill(&mut tx, 1);
    let sending: Vec<_> = (0..8)
        .map(|_| {
            let mut tx = tx.try_clone().unwrap();
            thread(move || tx.send(&[7; FILLER]))
        })
        .collect();
    receiving.iter().for_each(|thread| thread.until_asleep());
    sending.iter().for_each(|thread| thread.until_asleep());
    rx.close().unwrap();
    tx.close().unwrap();
    for blocked in receiving {
        assert_closed(blocked.join().unwrap_err());
    }
    for blocked in sending {
        assert_closed(blocked.join().unwrap_err());
    }
    drain(&mut far, 1, 0..count, FILLER);
    assert_at_end(&mut far);
}

/// The other process keeps the side's lock, or its turn, inside a message that is longer than the pipe.
fn senders_that_wait_for_another_process_to_let_go_end(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let inside = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    inside.until_asleep();
    let mut blocked = Vec::new();
    for _ in 0..3 {
        let (mut timed, mut other) = (tx.try_clone().unwrap(), tx.try_clone().unwrap());
        blocked.push(thread(move || Error::from(other.send(b"x").unwrap_err())));
        blocked.push(thread(move || {
            let outcome = timed.send_timeout(&[7; LARGE], Duration::from_secs(3600));
            outcome.unwrap_err().into()
        }));
    }
    blocked.iter().for_each(|thread| thread.until_asleep());
    tx.close().unwrap();
    for blocked in blocked {
        assert_closed(blocked.join());
    }
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    inside.join();
    assert_at_end(&mut rx);
}

fn receivers_that_wait_for_another_process_to_let_go_end(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let (has_sent, may_end) = (Line::new(), Line::new());
    let sender = fork(|| {
        tx.send(&pattern(1, 0, LARGE)).unwrap();
        has_sent.signal();
        may_end.wait();
    });
    sender.until_asleep();
    sender.stop();
    let inside = fork(|| check(&rx.recv().unwrap(), 1, 0, LARGE));
    inside.until_asleep();
    drop(tx);
    let blocked: Vec<_> = (0..3)
        .map(|_| {
            let mut rx = rx.try_clone().unwrap();
            thread(move || rx.recv().map(drop))
        })
        .collect();
    blocked.iter().for_each(|thread| thread.until_asleep());
    rx.close().unwrap();
    for blocked in blocked {
        assert_closed(blocked.join().unwrap_err());
    }
    sender.cont();
    has_sent.wait();
    inside.join();
    may_end.signal();
    sender.join();
}

fn a_wait_for_many_ends_and_descriptors_ends(backend: Backend) {
    let (rx, _tx) = open(backend);
    let (mut other, _other_tx) = open(backend);
    let mut theirs = rx.try_clone().unwrap();
    let blocked = thread(move || {
        let (foreign, _kept) = std::os::unix::net::UnixStream::pair().unwrap();
        let fds = [(std::os::fd::AsFd::as_fd(&foreign), Interest::Readable)];
        let ends: &mut [&mut dyn shmpipe::Waitable] = &mut [&mut other, &mut theirs];
        wait_with(ends, &fds, None).unwrap_err()
    });
    blocked.until_asleep();
    rx.close().unwrap();
    assert_closed(blocked.join());
}

fn a_sleeping_call_of_an_end_with_clones_makes_no_context_switches(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let mut theirs = rx.try_clone().unwrap();
    let blocked = thread(move || theirs.recv().map(|message| message.len()));
    blocked.until_asleep();
    let count = || switches(nix::unistd::getpid(), blocked.tid());
    let before = count();
    // It measures; it synchronises nothing.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(count(), before);
    // Nor does the close of another pipe wake it.
    let (foreign, _foreign_tx) = open(backend);
    let mut theirs = foreign.try_clone().unwrap();
    let other = thread(move || theirs.recv().map(drop));
    other.until_asleep();
    foreign.close().unwrap();
    assert_closed(other.join().unwrap_err());
    blocked.until_asleep();
    tx.send(b"x").unwrap();
    assert_eq!(blocked.join().unwrap(), 1);
}

fn what_a_sleep_took_is_given_back_with_the_last_handle(backend: Backend) {
    let before = open_fds();
    let (rx, tx) = open(backend);
    let mut theirs = rx.try_clone().unwrap();
    let blocked = thread(move || theirs.recv().map(drop));
    blocked.until_asleep();
    rx.close().unwrap();
    assert_closed(blocked.join().unwrap_err());
    drop((rx, tx));
    assert_eq!(open_fds(), before);
}

fn a_child_that_makes_the_shared_descriptor_readable_keeps_no_call_busy(backend: Backend) {
    let (rx, _tx) = open(backend);
    let mut theirs = rx.try_clone().unwrap();
    let (mut other, mut other_tx) = open(backend);
    let mut waiting = other.try_clone().unwrap();
    let blocked = thread(move || theirs.recv().map(drop));
    let waiting = thread(move || wait(&mut [&mut waiting], None));
    let all = [&blocked.tid(), &waiting.tid()].map(|&tid| (nix::unistd::getpid(), tid));
    until_asleep(&all);
    let shared = |(fd, what): (i32, String)| what.contains("eventfd").then_some(fd);
    let found: Vec<_> = open_fds().into_iter().filter_map(shared).collect();
    assert_eq!(found.len(), 1);
    fork(|| {
        // SAFETY: open, by the look above.
        let shared = unsafe { std::os::fd::BorrowedFd::borrow_raw(found[0]) };
        nix::unistd::write(shared, &1u64.to_ne_bytes()).unwrap();
    })
    .join();
    until_asleep(&all);
    rx.close().unwrap();
    assert_closed(blocked.join().unwrap_err());
    other_tx.send(b"x").unwrap();
    assert_eq!(waiting.join().unwrap(), [0]);
    assert_eq!(other.recv().unwrap().len(), 1);
}

fn ends_of_values_close_as_the_ends_below_them(backend: Backend) {
    let (rx, tx) = open(backend);
    let kept = tx.try_clone().unwrap();
    let mut rx = shmpipe::typed::Receiver::<u32>::from(rx);
    let mut tx = shmpipe::typed::Sender::<u32>::from(tx);
    tx.send(&7).unwrap();
    tx.close().unwrap();
    assert_closed(tx.send(&8).unwrap_err());
    assert_eq!(rx.recv().unwrap(), 7);
    assert!(matches!(
        rx.recv(),
        Err(shmpipe::typed::RecvError::Pipe(RecvError::Disconnected))
    ));
    drop(kept);
    let (left, right) = open_duplex(backend);
    let kept = left.try_clone().unwrap();
    let left = shmpipe::typed::Connection::<u32, u32>::from(left);
    let mut right = shmpipe::typed::Connection::<u32, u32>::from(right);
    left.close().unwrap();
    assert!(right.recv().is_err() && right.send(&1).is_err());
    drop(kept);
}

/// Whatever another thread's close was doing at the moment of the fork, and however often it is begun anew.
fn a_child_forked_in_the_middle_of_a_close_lets_go_too(backend: Backend) {
    let rounds = if long() { 5000 } else { 200 };
    for _ in 0..rounds {
        let (mut rx, tx) = open(backend);
        let closing = tx.try_clone().unwrap();
        let (has_closed, may_end) = (Line::new(), Line::new());
        let child = std::thread::scope(|scope| {
            let closes = scope.spawn(move || closing.close());
            let child = fork(|| {
                tx.close().unwrap();
                has_closed.signal();
                may_end.wait();
            });
            closes.join().unwrap().unwrap();
            child
        });
        has_closed.wait();
        assert_at_end(&mut rx);
        may_end.signal();
        child.join();
    }
}

fn later_receives_are_refused(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut other = rx.try_clone().unwrap();
    for message in [&b""[..], b"never received", &[7; FILLER], &[7; 20_000]] {
        tx.try_send(message).unwrap();
    }
    rx.close().unwrap();
    for rx in [&mut rx, &mut other] {
        for _ in 0..2 {
            assert_closed(rx.recv().map(drop).unwrap_err());
            assert_closed(rx.try_recv().map(drop).unwrap_err());
            assert_closed(rx.recv_timeout(Duration::ZERO).map(drop).unwrap_err());
            assert_closed(rx.recv_into(&mut [0; 100]).unwrap_err());
            assert_closed(rx.recv_with(|_| None::<&mut [u8]>).unwrap_err());
            assert_closed(rx.recv_in_place().map(drop).unwrap_err());
            assert_closed(rx.poll(Some(Duration::ZERO)).unwrap_err());
            assert_closed(rx.read(&mut [0; 8]).unwrap_err());
            assert_closed(rx.messages().next().unwrap().unwrap_err());
            assert_closed(wait(&mut [rx], None).unwrap_err());
        }
        assert_closed(rx.try_clone().unwrap_err());
        assert_closed(rx.as_fds().map(drop).unwrap_err());
    }
    assert_closed(rx.into_fds().unwrap_err());
}

fn later_sends_are_refused(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut other = tx.try_clone().unwrap();
    other.send(b"").unwrap();
    tx.close().unwrap();
    for tx in [&mut tx, &mut other] {
        for len in [0, 1, FILLER, 20_000, LARGE] {
            let message = vec![7; len];
            assert_closed(tx.send(&message).unwrap_err());
            assert_closed(tx.send_timeout(&message, Duration::ZERO).unwrap_err());
            if len != LARGE {
                assert_closed(tx.try_send(&message).unwrap_err());
            }
            let slot = tx.reserve(len);
            assert_closed(slot.and_then(|slot| slot.commit()).unwrap_err());
            assert_closed(tx.send_batch([&message]).unwrap_err());
        }
        assert_closed(tx.write(b"x").unwrap_err());
        assert_closed(tx.try_clone().unwrap_err());
        assert_closed(wait(&mut [tx], None).unwrap_err());
    }
    assert_closed(tx.into_fds().unwrap_err());
    assert_eq!(rx.recv().unwrap().len(), 0);
    assert_at_end(&mut rx);
}

fn what_a_handle_had_taken_before_is_still_handed_out(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"begun, ended").unwrap();
    tx.send(b"never received").unwrap();
    let mut begun = [0; 6];
    rx.read_exact(&mut begun).unwrap();
    let kept = rx.try_clone().unwrap();
    kept.close().unwrap();
    assert_eq!(&*rx.recv().unwrap(), b" ended");
    assert_closed(rx.recv().map(drop).unwrap_err());
}

fn what_was_sent_before_the_close_is_received(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let kept = tx.try_clone().unwrap();
    let count = fill(&mut tx, 1);
    tx.close().unwrap();
    drain(&mut rx, 1, 0..count, FILLER);
    assert_at_end(&mut rx);
    drop(kept);
}

fn a_second_close_is_as_the_first(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let other = tx.try_clone().unwrap();
    for tx in [&tx, &other, &tx] {
        tx.close().unwrap();
    }
    assert_at_end(&mut rx);
    fork(|| tx.close().unwrap()).join();
}

fn closes_of_many_handles_at_once_are_one(backend: Backend) {
    for _ in 0..20 {
        let (mut rx, tx) = open(backend);
        let handles: Vec<_> = (0..4).map(|_| tx.try_clone().unwrap()).collect();
        let closing: Vec<_> = handles
            .into_iter()
            .map(|tx| thread(move || tx.close().unwrap()))
            .collect();
        closing.into_iter().for_each(|closing| closing.join());
        assert_at_end(&mut rx);
    }
}

fn a_long_send_of_another_thread_is_taken_back(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut theirs = tx.try_clone().unwrap();
    let inside = thread(move || theirs.send(&[7; LARGE]));
    inside.until_asleep();
    let has_closed = Line::new();
    // It holds the side too, so the pipe goes on.
    let child = fork(|| {
        has_closed.wait();
        tx.send(b"of the child").unwrap();
    });
    tx.close().unwrap();
    assert_closed(inside.join().unwrap_err());
    has_closed.signal();
    loop {
        match rx.recv() {
            Err(RecvError::Aborted) => {}
            outcome => break assert_eq!(&*outcome.unwrap(), b"of the child"),
        }
    }
    child.join();
    assert_at_end(&mut rx);
}

fn receivers_hear_of_a_message_that_was_received_in_part(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| {
        tx.send(&pattern(1, 0, LARGE)).unwrap();
        tx.send(&pattern(1, 1, FILLER)).unwrap();
    });
    sender.until_asleep();
    sender.stop();
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    let has_closed = Line::new();
    let child = fork(|| {
        has_closed.wait();
        assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
        check(&rx.recv().unwrap(), 1, 1, FILLER);
    });
    let kept = rx.try_clone().unwrap();
    rx.close().unwrap();
    has_closed.signal();
    sender.cont();
    child.join();
    sender.join();
    drop(kept);
}

fn a_slot_cannot_be_committed_after_the_close(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let other = tx.try_clone().unwrap();
    let mut slot = tx.reserve(5).unwrap();
    slot.copy_from_slice(b"never");
    other.close().unwrap();
    assert_closed(slot.commit().unwrap_err());
    assert_at_end(&mut rx);
}

fn a_view_can_be_read_after_the_close(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let other = rx.try_clone().unwrap();
    tx.send(b"in place").unwrap();
    let view = rx.recv_in_place().unwrap();
    other.close().unwrap();
    let mut found = vec![0; view.len()];
    view.copy_to(&mut found);
    assert_eq!(found, b"in place");
    drop(view);
    assert!(matches!(tx.send(b"x"), Err(SendError::Disconnected)));
}

fn both_directions_of_a_connection_are_closed(backend: Backend) {
    let (left, mut right) = open_duplex(backend);
    let mut kept = left.try_clone().unwrap();
    left.close().unwrap();
    assert!(matches!(right.recv(), Err(RecvError::Disconnected)));
    assert!(matches!(right.send(b"x"), Err(SendError::Disconnected)));
    assert_closed(kept.send(b"x").unwrap_err());
    assert_closed(kept.recv().map(drop).unwrap_err());
}

fn the_other_side_in_the_same_process_is_not_closed(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let mut other = tx.try_clone().unwrap();
    other.send(b"here").unwrap();
    tx.close().unwrap();
    let mut clone = rx.try_clone().unwrap();
    assert_eq!(&*clone.recv().unwrap(), b"here");
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Disconnected)));
}

fn the_descriptors_of_the_side_are_gone_and_their_numbers_are_taken(backend: Backend) {
    // What a process maps once.
    drop(open(backend).0.close());
    let before = Held::now();
    let (rx, tx) = open(backend);
    let theirs = [rx.try_clone().unwrap(), rx.try_clone().unwrap()];
    let of_side = rx.as_fds().unwrap()[1].as_raw_fd();
    let fds = open_fds();
    rx.close().unwrap();
    let now = open_fds();
    // And one by which the close reached the other side to its end.
    let are_taken = fds.keys().all(|number| now.contains_key(number));
    assert!(are_taken && now.len() == fds.len() + 1, "{fds:?} {now:?}");
    assert_ne!(fds[&of_side], now[&of_side]);
    assert!(!now.values().any(|what| *what == fds[&of_side]) || backend == Backend::Kernel);
    drop((rx, tx, theirs));
    assert_eq!(Held::now(), before);
}

fn a_side_with_descriptors_to_pass_is_closed_too(backend: Backend) {
    let options = PipeOptions::new().backend(backend).descriptors(true);
    let (rx, mut tx) = options.pipe().unwrap();
    let (fds, kept) = (rx.as_fds().unwrap(), rx.try_clone().unwrap());
    let numbers: Vec<_> = fds[1..].iter().map(AsRawFd::as_raw_fd).collect();
    assert_eq!(numbers.len(), 2);
    let before = open_fds();
    rx.close().unwrap();
    let after = open_fds();
    for number in numbers {
        assert_ne!(before[&number], after[&number]);
    }
    let null = std::fs::File::open("/dev/null").unwrap();
    let outcome = tx.send_with_fds(b"x", &[std::os::fd::AsFd::as_fd(&null)]);
    assert!(matches!(outcome, Err(SendError::Disconnected)));
    drop(kept);
}

fn a_close_that_cannot_be_closes_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let outcome = without_spare_descriptors(|| tx.close());
    assert_eq!(
        shmpipe::raw_os_error(&outcome.unwrap_err()),
        Some(libc::EMFILE)
    );
    tx.send(b"goes on").unwrap();
    assert_eq!(rx.recv().unwrap().len(), 7);
    tx.close().unwrap();
    assert_at_end(&mut rx);
}

/// Files that whoever uses a number too long would write into, or read from.
fn assert_untouched(files: &mut [std::fs::File]) {
    for file in files {
        file.seek(SeekFrom::Start(0)).unwrap();
        let mut found = Vec::new();
        file.read_to_end(&mut found).unwrap();
        assert_eq!(found, b"untouched");
    }
}

fn no_call_uses_a_descriptor_that_was_opened_since(backend: Backend) {
    let rounds = if long() { 2000 } else { 150 };
    for round in 0..rounds {
        let (rx, tx) = open(backend);
        let (mut far_rx, mut far_tx) = (rx.try_clone().unwrap(), tx.try_clone().unwrap());
        let len = [8, FILLER, LARGE][round % 3];
        let mut calls = Vec::new();
        for _ in 0..2 {
            let (mut tx, mut rx) = (tx.try_clone().unwrap(), rx.try_clone().unwrap());
            calls.push(std::thread::spawn(
                move || while tx.send(&vec![7; len]).is_ok() {},
            ));
            calls.push(std::thread::spawn(move || {
                while matches!(rx.recv(), Ok(_) | Err(RecvError::Aborted)) {}
            }));
        }
        let _ = (far_rx.poll(None), far_tx.try_send(b"x"));
        if round % 2 == 0 {
            rx.close().unwrap();
        } else {
            tx.close().unwrap();
        }
        let mut files: Vec<_> = (0..20)
            .map(|_| {
                let memory = nix::sys::memfd::memfd_create(
                    c"foreign",
                    nix::sys::memfd::MFdFlags::MFD_CLOEXEC,
                );
                let mut file = std::fs::File::from(memory.unwrap());
                file.write_all(b"untouched").unwrap();
                file.seek(SeekFrom::Start(0)).unwrap();
                file
            })
            .collect();
        tx.close().unwrap();
        rx.close().unwrap();
        calls.into_iter().for_each(|call| call.join().unwrap());
        assert_untouched(&mut files);
    }
}

/// A child receives; of what the parent's threads had sent when the close ended them nothing is missing.
fn nothing_that_was_sent_is_lost_by_a_close_of_a_busy_side(backend: Backend) {
    let rounds = if long() { 300 } else { 30 };
    for round in 0..rounds {
        let (mut rx, tx) = open(backend);
        let (mut total_rx, mut total_tx) = open(backend);
        let len = [8, FILLER, 20_000][round % 3];
        let has_begun = Line::new();
        let child_tx = tx.try_clone().unwrap();
        let child = fork(|| {
            child_tx.close().unwrap();
            let mut count = 0u64;
            loop {
                match rx.recv() {
                    Ok(message) => {
                        assert_eq!(message.len(), len);
                        count += 1;
                    }
                    Err(RecvError::Disconnected) => break,
                    Err(error) => panic!("message {count}: {error}"),
                }
                if count == 10 {
                    has_begun.signal();
                }
            }
            total_tx.send(&count.to_ne_bytes()).unwrap();
        });
        let stop = AtomicBool::new(false);
        let sent: u64 = std::thread::scope(|scope| {
            let sending: Vec<_> = (0..3)
                .map(|_| {
                    let mut tx = tx.try_clone().unwrap();
                    let stop = &stop;
                    scope.spawn(move || {
                        let mut sent = 0;
                        loop {
                            match tx.send(&vec![7; len]) {
                                Ok(()) => sent += 1,
                                Err(error) => {
                                    assert_closed(error);
                                    assert!(stop.load(Ordering::SeqCst));
                                    return sent;
                                }
                            }
                        }
                    })
                })
                .collect();
            has_begun.wait();
            stop.store(true, Ordering::SeqCst);
            tx.close().unwrap();
            sending
                .into_iter()
                .map(|sending| sending.join().unwrap())
                .sum()
        });
        let received = total_rx.recv().unwrap();
        assert_eq!(u64::from_ne_bytes(received[..].try_into().unwrap()), sent);
        child.join();
    }
}
