//! Closing a side in this process while calls of other threads are blocked in it: they end.

use std::io::Error;
use std::time::Duration;

use shmpipe::{Backend, Interest, Receiver, RecvError, SendError, Sender, wait, wait_with};

use crate::closing::assert_closed;
use crate::ends::{FILLER, LARGE, assert_at_end, drain, fill, open};
use crate::support::{
    Line, check, fork, on_both_backends, open_fds, pattern, switches, thread, until_asleep,
};

on_both_backends! {
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
    a_long_send_of_another_thread_is_taken_back,
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
