//! Readiness: the descriptor of an end is readable exactly where its calls would not block.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use shmpipe::{Backend, Receiver, Sender, TryRecvError, TrySendError};

use crate::ends::{CAPACITY, FILLER, LARGE, assert_at_end, drain, fill, open, open_duplex};
use crate::support::{
    Child, Line, Random, check, fork, fork_apart, long, on_both_backends, open_fds, page_size,
    pattern, shared_counter, switches,
};

on_both_backends! {
    a_receiver_is_readable_exactly_while_a_message_is_there,
    a_receiver_that_is_first_watched_with_messages_in_the_pipe_is_readable,
    a_receiver_that_is_first_watched_after_it_has_slept_is_right_from_then_on,
    a_receiver_is_readable_at_the_end,
    a_receiver_is_readable_when_the_last_sender_is_killed,
    a_watcher_of_a_receiver_wakes_for_a_message_and_for_the_end,
    a_clone_and_a_connection_show_the_same,
    watching_in_one_process_is_right_for_what_another_one_receives,
    a_message_in_fragments_shows_fragment_by_fragment_and_not_while_its_sender_is_stopped,
    a_sender_is_readable_exactly_while_there_is_room,
    a_sender_that_is_first_watched_when_the_pipe_is_full_is_not_readable_until_there_is_room,
    a_sender_is_readable_when_the_last_receiver_is_gone,
    a_watcher_of_a_sender_wakes_for_room_and_for_the_end,
    watching_makes_no_wake_ups_while_nothing_happens,
    watching_makes_at_most_one_descriptor,
    blocking_calls_and_watching_go_together,
}

/// What poll(2) shows at this moment.
pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    wait_readable(fd, PollTimeout::ZERO)
}

/// Waits by poll(2) until the descriptor is readable.
pub(crate) fn until_readable(fd: BorrowedFd<'_>) {
    assert!(wait_readable(fd, PollTimeout::NONE));
}

fn wait_readable(fd: BorrowedFd<'_>, timeout: PollTimeout) -> bool {
    let mut watched = [PollFd::new(fd, PollFlags::POLLIN)];
    poll(&mut watched, timeout).unwrap();
    let shown = watched[0].revents().unwrap();
    shown.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR)
}

/// Whether room may be there that is not shown: a kernel pipe is writable when it has a page to spare, and a write may
/// also go to the rest of its last page. Where a page is `PIPE_BUF`, a message as long as [`short`] finds no such rest.
pub(crate) fn may_have_more_room(backend: Backend) -> bool {
    backend == Backend::Kernel && page_size() > libc::PIPE_BUF
}

/// The longest message for which there is room when a sender is readable.
pub(crate) fn short(backend: Backend) -> usize {
    match backend {
        Backend::Kernel => 4080,
        _ => CAPACITY / 8 - 8,
    }
}

fn a_receiver_is_readable_exactly_while_a_message_is_there(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut random = Random::from_environment();
    let (mut sent, mut received) = (0, 0);
    assert!(!is_readable(rx.as_fd()));
    for _ in 0..2000 {
        if random.below(2) == 0 && sent - received < 20 {
            tx.send(&pattern(1, sent, FILLER)).unwrap();
            sent += 1;
        } else if sent > received {
            match random.below(3) {
                0 => check(&rx.recv().unwrap(), 1, received, FILLER),
                1 => check(&rx.try_recv().unwrap(), 1, received, FILLER),
                _ => {
                    let mut buf = [0; FILLER];
                    assert_eq!(rx.recv_into(&mut buf).unwrap(), FILLER);
                    check(&buf, 1, received, FILLER);
                }
            }
            received += 1;
        } else {
            match random.below(3) {
                0 => assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty))),
                1 => assert!(!rx.poll(Some(Duration::ZERO)).unwrap()),
                _ => assert!(rx.recv_timeout(Duration::from_micros(50)).is_err()),
            }
        }
        assert_eq!(
            is_readable(rx.as_fd()),
            sent > received,
            "{sent} sent, {received} received"
        );
    }
    assert!(received > 300, "only {received} were received");
}

fn a_receiver_that_is_first_watched_with_messages_in_the_pipe_is_readable(backend: Backend) {
    for count in 1..5 {
        let (mut rx, mut tx) = open(backend);
        (0..count).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
        for number in 0..count {
            assert!(is_readable(rx.as_fd()), "{number} of {count} received");
            check(&rx.recv().unwrap(), 1, number, FILLER);
        }
        assert!(!is_readable(rx.as_fd()));
    }
}

fn a_receiver_that_is_first_watched_after_it_has_slept_is_right_from_then_on(backend: Backend) {
    for held in [0, 1, 3] {
        let (mut rx, mut tx) = open(backend);
        let child = fork(|| check(&rx.recv().unwrap(), 1, 0, FILLER));
        // Its wait is in its last phase now, and has taken every token there was.
        child.until_asleep();
        tx.send(&pattern(1, 0, FILLER)).unwrap();
        child.join();
        (0..held).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
        assert_eq!(is_readable(rx.as_fd()), held > 0, "{held} in the pipe");
        drain(&mut rx, 1, 0..held, FILLER);
        assert!(!is_readable(rx.as_fd()));
        tx.send(b"one more").unwrap();
        assert!(is_readable(rx.as_fd()));
    }
}

fn a_receiver_is_readable_at_the_end(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    assert!(!is_readable(rx.as_fd()));
    tx.send(b"last words").unwrap();
    drop(tx);
    assert!(is_readable(rx.as_fd()));
    assert_eq!(&*rx.recv().unwrap(), b"last words");
    assert!(is_readable(rx.as_fd()));
    assert_at_end(&mut rx);
    assert!(is_readable(rx.as_fd()));
}

fn a_receiver_is_readable_when_the_last_sender_is_killed(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    assert!(!is_readable(rx.as_fd()));
    let ready = Line::new();
    let sender = fork(|| {
        tx.send(b"last words").unwrap();
        ready.signal();
        Line::new().wait();
    });
    drop(tx);
    ready.wait();
    assert_eq!(&*rx.recv().unwrap(), b"last words");
    assert!(!is_readable(rx.as_fd()));
    sender.kill();
    assert!(is_readable(rx.as_fd()));
    // The first call after it must find it, since an edge tells of it only once.
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Disconnected)));
    assert_at_end(&mut rx);
}

fn a_watcher_of_a_receiver_wakes_for_a_message_and_for_the_end(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let (receiver, mut tx) = fork_apart(tx, || {
        until_readable(rx.as_fd());
        check(&rx.try_recv().unwrap(), 1, 0, FILLER);
        assert!(!is_readable(rx.as_fd()));
        until_readable(rx.as_fd());
        assert_at_end(&mut rx);
    });
    receiver.until_asleep();
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    receiver.until_asleep();
    drop(tx);
    receiver.join();
}

fn a_clone_and_a_connection_show_the_same(backend: Backend) {
    let (left, mut right) = open_duplex(backend);
    let mut copy = left.try_clone().unwrap();
    assert!(!is_readable(left.as_fd()));
    right.send(b"for either").unwrap();
    assert!(is_readable(left.as_fd()));
    assert!(is_readable(copy.as_fd()));
    copy.recv().unwrap();
    assert!(!is_readable(left.as_fd()));
    let (rx, tx) = left.split();
    drop((copy, tx, right));
    assert!(is_readable(rx.as_fd()));
}

fn watching_in_one_process_is_right_for_what_another_one_receives(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let (ask, answer) = (Line::new(), Line::new());
    let watcher = fork(|| {
        loop {
            answer.put(is_readable(rx.as_fd()).into());
            if ask.take() == 0 {
                break;
            }
        }
    });
    let shown = || {
        ask.put(1);
        answer.take() == 1
    };
    assert_eq!(answer.take(), 0);
    // This process has never asked for the descriptor.
    for number in 0..100 {
        tx.send(&pattern(1, number, FILLER)).unwrap();
        assert!(shown());
        check(&rx.recv().unwrap(), 1, number, FILLER);
        assert!(!shown());
    }
    ask.put(0);
    watcher.join();
}

fn a_message_in_fragments_shows_fragment_by_fragment_and_not_while_its_sender_is_stopped(
    backend: Backend,
) {
    let (mut rx, mut tx) = open(backend);
    assert!(!is_readable(rx.as_fd()));
    let sender = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    // Full, and asleep inside the message.
    sender.until_asleep();
    sender.stop();
    while is_readable(rx.as_fd()) {
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    }
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    assert!(!is_readable(rx.as_fd()));
    sender.cont();
    loop {
        until_readable(rx.as_fd());
        match rx.try_recv() {
            Ok(message) => break check(&message, 1, 0, LARGE),
            Err(TryRecvError::Empty) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(!is_readable(rx.as_fd()));
    sender.join();
}

fn a_sender_is_readable_exactly_while_there_is_room(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut random = Random::from_environment();
    let (mut full, mut room) = (0, 0);
    assert!(is_readable(tx.as_fd()));
    for _ in 0..3000 {
        if random.below(5) < 3 {
            let len = random.pick(&[0, 8, 100, 1000, 4000, short(backend)]);
            match tx.try_send(&vec![1; len]) {
                Ok(()) | Err(TrySendError::Full) => {}
                Err(error) => panic!("{error}"),
            }
        } else {
            let _ = rx.try_recv();
        }
        let shown = is_readable(tx.as_fd());
        if random.below(4) == 0 {
            let outcome = tx.try_send(&vec![2; short(backend)]);
            if !may_have_more_room(backend) || shown {
                assert_eq!(shown, outcome.is_ok(), "{outcome:?}");
            }
            *if shown { &mut room } else { &mut full } += 1;
        }
    }
    assert!(full > 30 && room > 30, "{full} times full, {room} not");
}

fn a_sender_that_is_first_watched_when_the_pipe_is_full_is_not_readable_until_there_is_room(
    backend: Backend,
) {
    let (mut rx, mut tx) = open(backend);
    let held = fill(&mut tx, 1);
    assert!(!is_readable(tx.as_fd()));
    for number in 0..held {
        check(&rx.recv().unwrap(), 1, number, FILLER);
        if is_readable(tx.as_fd()) {
            tx.try_send(&vec![1; short(backend)]).unwrap();
            return;
        }
    }
    panic!("an empty pipe without room");
}

fn a_sender_is_readable_when_the_last_receiver_is_gone(backend: Backend) {
    let (rx, mut tx) = open(backend);
    fill(&mut tx, 1);
    assert!(!is_readable(tx.as_fd()));
    drop(rx);
    assert!(is_readable(tx.as_fd()));
    assert!(matches!(tx.try_send(b"x"), Err(TrySendError::Disconnected)));
}

fn a_watcher_of_a_sender_wakes_for_room_and_for_the_end(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let held = fill(&mut tx, 1);
    let drained = Line::new();
    let (sender, mut rx) = fork_apart(rx, || {
        until_readable(tx.as_fd());
        tx.try_send(&pattern(1, held, FILLER)).unwrap();
        drained.wait();
        fill(&mut tx, 2);
        until_readable(tx.as_fd());
        assert!(matches!(tx.try_send(b"x"), Err(TrySendError::Disconnected)));
    });
    drop(tx);
    sender.until_asleep();
    drain(&mut rx, 1, 0..held + 1, FILLER);
    drained.signal();
    sender.until_asleep();
    drop(rx);
    sender.join();
}

/// Serves an end as an event loop would: level-triggered, all that is there each time.
fn serve(rx: &mut Receiver, mut each: impl FnMut(&[u8]) -> bool, wake_up: impl Fn()) {
    loop {
        until_readable(rx.as_fd());
        wake_up();
        loop {
            match rx.try_recv() {
                Ok(message) if each(&message) => {}
                Ok(_) => return,
                Err(TryRecvError::Empty) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn watching_makes_no_wake_ups_while_nothing_happens(backend: Backend) {
    const MESSAGES: u64 = 2000;
    let (mut rx, mut tx) = open(backend);
    let wake_ups = shared_counter();
    let count = || {
        wake_ups.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    };
    let receiver = fork(|| {
        let mut next = 0;
        let each = |message: &[u8]| {
            check(message, 1, next, FILLER);
            next += 1;
            next <= MESSAGES
        };
        serve(&mut rx, each, count);
    });
    (0..MESSAGES).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
    receiver.until_asleep();
    let woken = || wake_ups.load(std::sync::atomic::Ordering::Relaxed);
    let before = (woken(), switches(receiver.pid(), receiver.pid()));
    // The sleep measures; it synchronises nothing.
    std::thread::sleep(Duration::from_secs(if long() { 10 } else { 1 }));
    assert_eq!((woken(), switches(receiver.pid(), receiver.pid())), before);
    // Each wake-up is for a message, or for one that was taken before its token came.
    assert!(before.0 <= 2 * MESSAGES, "{} wake-ups", before.0);
    tx.send(&pattern(1, MESSAGES, FILLER)).unwrap();
    receiver.join();
}

fn watching_makes_at_most_one_descriptor(backend: Backend) {
    let (rx, tx) = open(backend);
    let before = open_fds().len();
    let copies = (rx.try_clone().unwrap(), tx.try_clone().unwrap());
    for _ in 0..3 {
        let _: [BorrowedFd<'_>; 2] = [rx.as_fd(), copies.0.as_fd()];
        let _: [BorrowedFd<'_>; 2] = [tx.as_fd(), copies.1.as_fd()];
    }
    let made = open_fds().len() - before;
    assert_eq!(made, usize::from(backend == Backend::Kernel));
    let fds: Vec<_> = open_fds().into_keys().collect();
    drop((rx, tx, copies));
    assert!(open_fds().len() < fds.len() - made);
}

/// One process watches and serves, another one blocks in recv, and senders block: each message comes once.
fn blocking_calls_and_watching_go_together(backend: Backend) {
    const MESSAGES: u64 = 3000;
    let (mut rx, tx) = open(backend);
    let received = shared_counter();
    let count = || received.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut copy = rx.try_clone().unwrap();
    let (watcher, tx) = fork_apart(tx, || {
        loop {
            until_readable(rx.as_fd());
            match rx.try_recv() {
                Ok(_) => count(),
                Err(TryRecvError::Empty) => continue,
                Err(TryRecvError::Disconnected) => return,
                // True, where the machine has kept the other one off its CPU for so long.
                Err(TryRecvError::Io(error)) if error.kind() == ErrorKind::ResourceBusy => continue,
                Err(error) => panic!("{error}"),
            };
        }
    });
    let (blocker, tx) = fork_apart(tx, || {
        while copy.recv().is_ok() {
            count();
        }
    });
    let send_all = |mut tx: Sender, watched: bool| {
        for number in 0..MESSAGES {
            if watched {
                until_readable(tx.as_fd());
            }
            tx.send(&pattern(1, number, FILLER)).unwrap();
        }
    };
    let other = tx.try_clone().unwrap();
    let senders = [
        fork_apart((), || send_all(other, true)).0,
        fork(|| send_all(tx, false)),
    ];
    drop((rx, copy));
    senders.into_iter().for_each(Child::join);
    watcher.join();
    blocker.join();
    let received = received.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(received, 2 * MESSAGES);
}
