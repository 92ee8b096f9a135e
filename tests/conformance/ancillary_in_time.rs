//! Descriptors and ends in messages, by calls that do not wait, or not for long.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use shmpipe::{
    Backend, Connection, Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError,
    TrySendError,
};

use crate::ancillary::{null, open_carrying, options};
use crate::ends::{LARGE, SHORT, assert_at_end, assert_empty_but_alive, open};
use crate::support::{check, fork_apart, on_both_backends, pattern, thread, with_fd_limit};

on_both_backends! {
    try_send_with_fds_is_full_where_there_is_no_room_and_sends_nothing_then,
    try_send_with_fds_is_full_where_too_many_descriptors_are_under_way,
    send_with_fds_timeout_ends_not_before_its_time_and_sends_nothing_then,
    send_with_fds_timeout_sends_what_is_received_in_time,
    calls_with_descriptors_that_do_not_wait_refuse_what_the_others_refuse,
    try_recv_with_fds_tells_empty_from_the_end,
    recv_with_fds_timeout_ends_not_before_its_time_and_loses_nothing,
    an_end_that_was_not_sent_comes_back_as_it_was,
    an_end_that_was_sent_in_time_is_gone_here_and_arrives,
    an_end_that_cannot_be_duplicated_comes_back,
    ends_are_received_without_a_wait_or_in_time,
    a_connection_carries_descriptors_and_ends_by_all_forms,
}

/// Long enough never to pass.
const LONG: Duration = Duration::from_secs(3600);

/// Sends messages of one descriptor until there is no room; returns how many.
fn fill(tx: &mut Sender, len: usize) -> u64 {
    let fd = null();
    (0..)
        .find(
            |&number| match tx.try_send_with_fds(&pattern(1, number, len), &[fd.as_fd()]) {
                Ok(()) => false,
                Err(TrySendError::Full) => true,
                Err(error) => panic!("{error}"),
            },
        )
        .unwrap()
}

#[track_caller]
fn assert_just(rx: &mut Receiver, count: u64, len: usize) {
    for number in 0..count {
        let (message, fds) = rx.try_recv_with_fds().unwrap();
        check(&message, 1, number, len);
        assert_eq!(fds.len(), 1);
    }
    assert_empty_but_alive(rx);
}

fn try_send_with_fds_is_full_where_there_is_no_room_and_sends_nothing_then(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    for _ in 0..3 {
        let sent = fill(&mut tx, 3000);
        assert!(sent > 1, "{sent}");
        assert_just(&mut rx, sent, 3000);
    }
}

fn try_send_with_fds_is_full_where_too_many_descriptors_are_under_way(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let sent = fill(&mut tx, 8);
    assert!(sent > 1, "{sent}");
    assert_just(&mut rx, sent, 8);
    assert_eq!(fill(&mut tx, 8), sent, "as many as before");
    assert_just(&mut rx, sent, 8);
}

fn send_with_fds_timeout_ends_not_before_its_time_and_sends_nothing_then(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    for len in [8, 3000] {
        let sent = fill(&mut tx, len);
        let start = Instant::now();
        let outcome = tx.send_with_fds_timeout(&pattern(1, sent, len), &[null().as_fd()], SHORT);
        assert!(
            matches!(outcome, Err(SendTimeoutError::Timeout)),
            "{outcome:?}"
        );
        assert!(start.elapsed() >= SHORT);
        assert_just(&mut rx, sent, len);
    }
}

fn send_with_fds_timeout_sends_what_is_received_in_time(backend: Backend) {
    let (rx, mut tx) = open_carrying(backend);
    let sent = fill(&mut tx, 3000);
    let (child, mut rx) = fork_apart(rx, || {
        let message = pattern(1, sent, 3000);
        tx.send_with_fds_timeout(&message, &[null().as_fd()], LONG)
            .unwrap();
    });
    drop(tx);
    child.until_asleep();
    for number in 0..=sent {
        let (message, fds) = rx.recv_with_fds_timeout(LONG).unwrap();
        check(&message, 1, number, 3000);
        assert_eq!(fds.len(), 1);
    }
    child.join();
    assert_at_end(&mut rx);
}

fn calls_with_descriptors_that_do_not_wait_refuse_what_the_others_refuse(backend: Backend) {
    let (rx, mut tx) = open_carrying(backend);
    let fd = null();
    // One piece is the limit for messages with descriptors, whatever the time-out.
    let outcome = tx.try_send_with_fds(&[7; LARGE], &[fd.as_fd()]);
    assert!(matches!(
        outcome,
        Err(TrySendError::TooLarge { len: LARGE, .. })
    ));
    let outcome = tx.send_with_fds_timeout(&[7; LARGE], &[fd.as_fd()], LONG);
    assert!(matches!(
        outcome,
        Err(SendTimeoutError::TooLarge { len: LARGE, .. })
    ));
    let Err(TrySendError::Io(error)) = tx.try_send_with_fds(b"", &[fd.as_fd(); 254]) else {
        panic!("254 descriptors were taken")
    };
    assert!(error.to_string().contains("254"), "{error}");
    drop(rx);
    let outcome = tx.try_send_with_fds(b"", &[fd.as_fd()]);
    assert!(matches!(outcome, Err(TrySendError::Disconnected)));
    let outcome = tx.send_with_fds_timeout(b"", &[fd.as_fd()], LONG);
    assert!(matches!(outcome, Err(SendTimeoutError::Disconnected)));

    let (_rx, mut plain) = open(backend);
    let outcome = plain.try_send_with_fds(b"", &[fd.as_fd()]);
    let Err(TrySendError::Io(error)) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
}

fn try_recv_with_fds_tells_empty_from_the_end(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    assert!(matches!(rx.try_recv_with_fds(), Err(TryRecvError::Empty)));
    tx.send_with_fds(b"last", &[null().as_fd()]).unwrap();
    drop(tx);
    let (message, fds) = rx.try_recv_with_fds().unwrap();
    assert_eq!((&*message, fds.len()), (&b"last"[..], 1));
    for _ in 0..2 {
        assert!(matches!(
            rx.try_recv_with_fds(),
            Err(TryRecvError::Disconnected)
        ));
        assert!(matches!(
            rx.recv_with_fds_timeout(LONG),
            Err(RecvTimeoutError::Disconnected)
        ));
    }
}

fn recv_with_fds_timeout_ends_not_before_its_time_and_loses_nothing(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let start = Instant::now();
    let outcome = rx.recv_with_fds_timeout(SHORT);
    assert!(
        matches!(outcome, Err(RecvTimeoutError::Timeout)),
        "{outcome:?}"
    );
    assert!(start.elapsed() >= SHORT);
    let receiver = thread(move || {
        let (message, fds) = rx.recv_with_fds_timeout(LONG).unwrap();
        assert_eq!((&*message, fds.len()), (&b"in time"[..], 2));
    });
    receiver.until_asleep();
    tx.send_with_fds(b"in time", &[null().as_fd(), null().as_fd()])
        .unwrap();
    receiver.join();
}

fn an_end_that_was_not_sent_comes_back_as_it_was(backend: Backend) {
    let (rx, mut tx) = open_carrying(backend);
    fill(&mut tx, 3000);
    let (mut end, mut there) = open(backend);
    there.send(b"begun already").unwrap();
    // What the end has read and not handed out is still there when it comes back.
    let mut first = [0; 5];
    io::Read::read_exact(&mut end, &mut first).unwrap();
    let refused = tx.try_send_with_end(&[7; 3000], end).unwrap_err();
    assert!(matches!(refused.error, TrySendError::Full), "{refused}");
    assert_eq!(
        io::Error::from(tx.try_send_with_end(&[7; 3000], there).unwrap_err()).kind(),
        io::ErrorKind::WouldBlock
    );
    let start = Instant::now();
    let refused = tx
        .send_with_end_timeout(&[7; 3000], refused.end, SHORT)
        .unwrap_err();
    assert!(
        matches!(refused.error, SendTimeoutError::Timeout),
        "{refused}"
    );
    assert!(start.elapsed() >= SHORT);
    drop(rx);
    let refused = tx
        .send_with_end_timeout(b"", refused.end, LONG)
        .unwrap_err();
    assert!(
        matches!(refused.error, SendTimeoutError::Disconnected),
        "{refused}"
    );
    let mut end = refused.end;
    assert_eq!(&*end.recv().unwrap(), b" already");
    assert_at_end(&mut end);
}

fn an_end_that_was_sent_in_time_is_gone_here_and_arrives(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    for is_tried in [true, false] {
        let (mut end, travelling) = open(backend);
        if is_tried {
            tx.try_send_with_end(b"tried", travelling).unwrap();
        } else {
            tx.send_with_end_timeout(b"timed", travelling, LONG)
                .unwrap();
        }
        assert_empty_but_alive(&mut end);
        let (_, mut arrived) = rx.recv_with_end::<Sender>().unwrap();
        arrived.send(b"from there").unwrap();
        drop(arrived);
        assert_eq!(&*end.recv().unwrap(), b"from there");
        assert_at_end(&mut end);
    }
}

fn an_end_that_cannot_be_duplicated_comes_back(backend: Backend) {
    let (_rx, mut tx) = open_carrying(backend);
    let (mut end, travelling) = open(backend);
    // All numbers below are taken by the two pipes.
    let refused = with_fd_limit(8, || tx.try_send_with_end(b"", travelling).err()).unwrap();
    assert_eq!(refused.error.raw_os_error(), Some(libc::EMFILE));
    let mut back = refused.end;
    back.send(b"still an end").unwrap();
    assert_eq!(&*end.recv().unwrap(), b"still an end");
}

fn ends_are_received_without_a_wait_or_in_time(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    assert!(matches!(
        rx.try_recv_with_end::<Sender>(),
        Err(TryRecvError::Empty)
    ));
    let start = Instant::now();
    assert!(matches!(
        rx.recv_with_end_timeout::<Sender>(SHORT),
        Err(RecvTimeoutError::Timeout)
    ));
    assert!(start.elapsed() >= SHORT);
    let (mut end, travelling) = open(backend);
    tx.send_with_end(b"one", travelling.try_clone().unwrap())
        .unwrap();
    tx.send_with_end(b"two", travelling).unwrap();
    tx.send(b"none").unwrap();
    let (message, one) = rx.try_recv_with_end::<Sender>().unwrap();
    assert_eq!(&*message, b"one");
    let (message, two) = rx.recv_with_end_timeout::<Sender>(LONG).unwrap();
    assert_eq!(&*message, b"two");
    let Err(TryRecvError::Io(error)) = rx.try_recv_with_end::<Sender>() else {
        panic!("an end out of nothing")
    };
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    drop(one);
    assert_empty_but_alive(&mut end);
    drop(two);
    assert_at_end(&mut end);
}

fn a_connection_carries_descriptors_and_ends_by_all_forms(backend: Backend) {
    let (mut left, mut right) = options(backend).duplex().unwrap();
    let fd = null();
    left.send_with_fds(b"1", &[fd.as_fd()]).unwrap();
    left.try_send_with_fds(b"2", &[fd.as_fd()]).unwrap();
    left.send_with_fds_timeout(b"3", &[fd.as_fd()], LONG)
        .unwrap();
    assert_eq!(right.recv_with_fds().unwrap().1.len(), 1);
    assert_eq!(right.try_recv_with_fds().unwrap().1.len(), 1);
    assert_eq!(right.recv_with_fds_timeout(LONG).unwrap().1.len(), 1);
    let end = || options(backend).duplex().unwrap().0;
    left.send_with_end(b"4", end()).unwrap();
    left.try_send_with_end(b"5", end()).unwrap();
    left.send_with_end_timeout(b"6", end(), LONG).unwrap();
    let is = |(message, end): (shmpipe::Message<'_>, Connection), text: &[u8]| {
        assert_eq!((&*message, end.backend()), (text, backend));
    };
    is(right.recv_with_end().unwrap(), b"4");
    is(right.try_recv_with_end().unwrap(), b"5");
    is(right.recv_with_end_timeout(LONG).unwrap(), b"6");
    assert!(matches!(
        right.try_recv_with_fds(),
        Err(TryRecvError::Empty)
    ));
}
