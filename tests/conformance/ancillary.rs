//! Messages that carry descriptors.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use shmpipe::{Backend, PipeOptions, Receiver, RecvError, SendError, Sender, TryRecvError};

use crate::ends::{CAPACITY, LARGE, assert_at_end, assert_empty_but_alive, open};
use crate::support::{
    check, fork, fork_apart, on_both_backends, open_fds, pattern, pipe, thread, with_fd_limit,
};

on_both_backends! {
    descriptors_arrive_with_their_message_in_their_order,
    descriptors_that_arrive_are_close_on_exec,
    messages_with_and_without_descriptors_keep_their_order,
    as_many_descriptors_as_the_kernel_takes_travel_in_one_message,
    a_pipe_without_the_option_carries_none_and_says_so,
    a_message_with_descriptors_that_is_too_long_is_refused,
    the_limit_of_a_message_holds_with_descriptors_too,
    calls_that_cannot_hand_descriptors_out_leave_the_message_where_it_is,
    a_receiver_without_room_for_the_descriptors_leaves_all_where_it_is,
    many_senders_and_receivers_never_mix_their_descriptors_up,
    observers_count_the_bytes_of_a_message_with_descriptors_and_not_its_ticket,
    watched_ends_show_messages_with_descriptors_and_the_room_they_take,
    a_sender_blocked_on_too_many_descriptors_goes_on_when_they_are_received,
    a_sender_blocked_on_too_many_descriptors_is_told_when_the_last_receiver_goes,
    an_end_of_a_pipe_with_descriptors_can_be_taken_apart_and_put_together,
}

pub(crate) fn options(backend: Backend) -> PipeOptions {
    PipeOptions::new()
        .backend(backend)
        .capacity(CAPACITY)
        .descriptors(true)
}

/// A pipe whose messages carry descriptors.
pub(crate) fn open_carrying(backend: Backend) -> (Receiver, Sender) {
    options(backend).pipe().unwrap()
}

pub(crate) fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

fn descriptors_arrive_with_their_message_in_their_order(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let (mut first, first_writer) = pipe().unwrap();
    let (mut second, second_writer) = pipe().unwrap();
    let fds = [first_writer.as_fd(), second_writer.as_fd()];
    tx.send_with_fds(b"two", &fds).unwrap();
    drop((first_writer, second_writer));
    let (message, fds) = rx.recv_with_fds().unwrap();
    assert_eq!(&*message, b"two");
    assert_eq!(fds.len(), 2);
    for (fd, text) in fds.into_iter().zip(["to the first", "to the second"]) {
        File::from(fd).write_all(text.as_bytes()).unwrap();
    }
    let read = |from: &mut dyn Read| {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!(read(&mut first), "to the first");
    assert_eq!(read(&mut second), "to the second");
}

fn descriptors_that_arrive_are_close_on_exec(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let fd = null();
    fcntl(&fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    tx.send_with_fds(b"", &[fd.as_fd()]).unwrap();
    let (_, fds) = rx.recv_with_fds().unwrap();
    let flags = fcntl(&fds[0], FcntlArg::F_GETFD).unwrap();
    assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
}

fn messages_with_and_without_descriptors_keep_their_order(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let fd = null();
    let child = fork(|| {
        for number in 0..300 {
            let len = usize::try_from(number * 13 % 4000).unwrap();
            match number % 3 {
                0 => tx.send(&pattern(1, number, len)),
                1 => tx.send_with_fds(&pattern(1, number, len), &[fd.as_fd()]),
                _ => tx.send(&pattern(1, number, LARGE)),
            }
            .unwrap();
        }
    });
    drop(tx);
    for number in 0..300 {
        let len = usize::try_from(number * 13 % 4000).unwrap();
        let (message, fds) = rx.recv_with_fds().unwrap();
        let (len, count) = match number % 3 {
            0 => (len, 0),
            1 => (len, 1),
            _ => (LARGE, 0),
        };
        check(&message, 1, number, len);
        assert_eq!(fds.len(), count, "message {number}");
    }
    child.join();
    assert_at_end(&mut rx);
    assert!(matches!(rx.recv_with_fds(), Err(RecvError::Disconnected)));
}

fn as_many_descriptors_as_the_kernel_takes_travel_in_one_message(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let fd = null();
    let many = |count| vec![fd.as_fd(); count];
    tx.send_with_fds(b"all", &many(253)).unwrap();
    let Err(SendError::Io(error)) = tx.send_with_fds(b"one more", &many(254)) else {
        panic!("254 descriptors were taken")
    };
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("254"), "{error}");
    let (message, fds) = rx.recv_with_fds().unwrap();
    assert_eq!((&*message, fds.len()), (&b"all"[..], 253));
    assert_empty_but_alive(&mut rx);
}

fn a_pipe_without_the_option_carries_none_and_says_so(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let Err(SendError::Io(error)) = tx.send_with_fds(b"", &[null().as_fd()]) else {
        panic!("descriptors were taken")
    };
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("descriptors"), "{error}");
    assert_empty_but_alive(&mut rx);
    // Without any there is nothing to carry.
    tx.send_with_fds(b"as ever", &[]).unwrap();
    let (message, fds) = rx.recv_with_fds().unwrap();
    assert_eq!((&*message, fds.len()), (&b"as ever"[..], 0));
}

fn a_message_with_descriptors_that_is_too_long_is_refused(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let fd = null();
    let Err(SendError::TooLarge { len: LARGE, max }) = tx.send_with_fds(&[7; LARGE], &[fd.as_fd()])
    else {
        panic!("more than one piece was taken")
    };
    assert!((4000..CAPACITY).contains(&max), "{max}");
    let outcome = tx.send_with_fds(&vec![7; max + 1], &[fd.as_fd()]);
    assert!(matches!(outcome, Err(SendError::TooLarge { .. })));
    tx.send_with_fds(&vec![7; max], &[fd.as_fd()]).unwrap();
    let (message, fds) = rx.recv_with_fds().unwrap();
    assert_eq!((message.len(), fds.len()), (max, 1));
    assert_empty_but_alive(&mut rx);
}

fn the_limit_of_a_message_holds_with_descriptors_too(backend: Backend) {
    let (_rx, mut tx) = options(backend).max_message(10).pipe().unwrap();
    let fd = null();
    tx.send_with_fds(&[7; 10], &[fd.as_fd()]).unwrap();
    let outcome = tx.send_with_fds(&[7; 11], &[fd.as_fd()]);
    assert!(matches!(
        outcome,
        Err(SendError::TooLarge { len: 11, max: 10 })
    ));
}

fn calls_that_cannot_hand_descriptors_out_leave_the_message_where_it_is(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    tx.send_with_fds(b"with one", &[null().as_fd()]).unwrap();
    tx.send(b"next").unwrap();
    for _ in 0..2 {
        assert!(rx.poll(None).unwrap());
        assert!(matches!(rx.recv(), Err(RecvError::CarriesDescriptors)));
        assert!(matches!(
            rx.try_recv(),
            Err(TryRecvError::CarriesDescriptors)
        ));
        assert!(matches!(
            rx.recv_into(&mut [0; 100]),
            Err(RecvError::CarriesDescriptors)
        ));
        let error = rx.read(&mut [0; 100]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let mut messages = rx.messages();
        assert!(matches!(
            messages.next(),
            Some(Err(RecvError::CarriesDescriptors))
        ));
        assert!(messages.next().is_none());
    }
    let (message, fds) = rx.recv_with_fds().unwrap();
    assert_eq!((&*message, fds.len()), (&b"with one"[..], 1));
    assert_eq!(&*rx.recv().unwrap(), b"next");
}

fn a_receiver_without_room_for_the_descriptors_leaves_all_where_it_is(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let fd = null();
    tx.send_with_fds(b"ten", &[fd.as_fd(); 10]).unwrap();
    let before = open_fds();
    let last = before.keys().next_back().unwrap() + 1;
    with_fd_limit(u64::try_from(last + 5).unwrap(), || {
        for _ in 0..3 {
            let Err(RecvError::Io(error)) = rx.recv_with_fds() else {
                panic!("ten were opened where five fit")
            };
            assert_eq!(shmpipe::raw_os_error(&error), Some(libc::EMFILE), "{error}");
        }
    });
    assert_eq!(open_fds(), before);
    let (message, fds) = rx.recv_with_fds().unwrap();
    assert_eq!((&*message, fds.len()), (&b"ten"[..], 10));
}

/// Each message says which file goes with it.
fn many_senders_and_receivers_never_mix_their_descriptors_up(backend: Backend) {
    const SENDERS: u64 = 3;
    const MESSAGES: u64 = 300;
    let (mut rx, mut tx) = open_carrying(backend);
    let (mut counts, mut count) = open(backend);
    let inode = |fd: BorrowedFd<'_>| nix::sys::stat::fstat(fd).unwrap().st_ino;
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            fork(|| {
                for _ in 0..MESSAGES {
                    let (reader, _writer) = pipe().unwrap();
                    let text = inode(reader.as_fd()).to_ne_bytes();
                    tx.send_with_fds(&text, &[reader.as_fd()]).unwrap();
                    tx.send(b"between").unwrap();
                }
            })
        })
        .collect();
    drop(tx);
    let receivers: Vec<_> = (0..2)
        .map(|_| {
            fork(|| {
                let mut received = 0_u64;
                loop {
                    match rx.recv_with_fds() {
                        Ok((message, fds)) if fds.is_empty() => assert_eq!(&*message, b"between"),
                        Ok((message, fds)) => {
                            assert_eq!(*message, inode(fds[0].as_fd()).to_ne_bytes());
                            received += 1;
                        }
                        Err(RecvError::Disconnected) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
                count.send(&received.to_ne_bytes()).unwrap();
            })
        })
        .collect();
    drop(rx);
    drop(count);
    let total: u64 = counts
        .messages()
        .map(|bytes| u64::from_ne_bytes(bytes.unwrap().try_into().unwrap()))
        .sum();
    assert_eq!(total, SENDERS * MESSAGES);
    senders
        .into_iter()
        .chain(receivers)
        .for_each(|child| child.join());
}

/// Sends more than can be under way; returns how many.
fn more_than_fit(tx: &mut Sender) -> Result<u64, SendError> {
    let fd = null();
    for number in 0..1000 {
        tx.send_with_fds(&pattern(1, number, 8), &[fd.as_fd()])?;
    }
    Ok(1000)
}

fn observers_count_the_bytes_of_a_message_with_descriptors_and_not_its_ticket(backend: Backend) {
    // The Flows of docs/protocol.md, of which receivers of a ring have none.
    let (tx_totals, rx_totals) = match backend {
        Backend::SharedMemory => (0x0a8, None),
        _ => (0x0b8, Some(0x150)),
    };
    let (mut rx, mut tx) = open_carrying(backend);
    let memory = File::from(rx.try_clone().unwrap().into_fds().unwrap().remove(0));
    let counted = |at: u64| {
        let mut words = [0; 16];
        memory.read_exact_at(&mut words, at).unwrap();
        let (messages, bytes) = words.split_at(8);
        [messages, bytes].map(|word| u64::from_ne_bytes(word.try_into().unwrap()))
    };
    tx.send_with_fds(b"11 bytes +8", &[null().as_fd()]).unwrap();
    tx.send(b"6 more").unwrap();
    assert_eq!(counted(tx_totals), [2, 17]);
    for expected in [[0, 0], [1, 11], [2, 17]] {
        assert!(rx_totals.is_none_or(|flow| counted(flow) == expected));
        if expected != [2, 17] {
            rx.recv_with_fds().unwrap();
        }
    }
}

fn watched_ends_show_messages_with_descriptors_and_the_room_they_take(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let is_ready = |fd: BorrowedFd<'_>| {
        let mut watched = [PollFd::new(fd, PollFlags::POLLIN)];
        poll(&mut watched, PollTimeout::ZERO).unwrap() > 0
    };
    let fd = null();
    for _ in 0..2 {
        assert!(!is_ready(rx.as_fd()));
        let mut sent = 0;
        // One that is ready when it is full would block here.
        while is_ready(tx.readiness().unwrap()) {
            tx.send_with_fds(&[7; 3000], &[fd.as_fd()]).unwrap();
            sent += 1;
            assert!(is_ready(rx.as_fd()));
        }
        for _ in 0..sent {
            assert!(is_ready(rx.as_fd()));
            assert_eq!(rx.recv_with_fds().unwrap().1.len(), 1);
        }
        assert!(is_ready(tx.readiness().unwrap()));
    }
    assert!(!is_ready(rx.as_fd()));
}

fn a_sender_blocked_on_too_many_descriptors_goes_on_when_they_are_received(backend: Backend) {
    let (rx, mut tx) = open_carrying(backend);
    let (child, mut rx) = fork_apart(rx, || {
        more_than_fit(&mut tx).unwrap();
    });
    drop(tx);
    child.until_asleep();
    for number in 0..1000 {
        let (message, fds) = rx.recv_with_fds().unwrap();
        check(&message, 1, number, 8);
        assert_eq!(fds.len(), 1);
    }
    child.join();
    assert_at_end(&mut rx);
}

fn a_sender_blocked_on_too_many_descriptors_is_told_when_the_last_receiver_goes(backend: Backend) {
    let (rx, mut tx) = open_carrying(backend);
    let sender = thread(move || more_than_fit(&mut tx));
    sender.until_asleep();
    drop(rx);
    assert!(matches!(sender.join(), Err(SendError::Disconnected)));
}

fn an_end_of_a_pipe_with_descriptors_can_be_taken_apart_and_put_together(backend: Backend) {
    let (rx, tx) = open_carrying(backend);
    let (rx_fds, tx_fds) = (rx.into_fds().unwrap(), tx.into_fds().unwrap());
    assert_eq!((rx_fds.len(), tx_fds.len()), (3, 3));
    let mut rx = crate::handover::receiver(rx_fds).unwrap();
    let mut tx = crate::handover::sender(tx_fds).unwrap();
    tx.send_with_fds(b"still", &[null().as_fd()]).unwrap();
    assert_eq!(rx.recv_with_fds().unwrap().1.len(), 1);

    let (left, mut right) = options(backend).duplex().unwrap();
    let mut left = crate::handover::connection(left.into_fds().unwrap()).unwrap();
    right.send_with_fds(b"there", &[null().as_fd()]).unwrap();
    assert_eq!(left.recv_with_fds().unwrap().1.len(), 1);

    // One too few, two of another pipe, and the sides' swapped.
    let two = open_carrying(backend).1.into_fds().unwrap();
    let error = crate::handover::sender(two.into_iter().take(2)).unwrap_err();
    assert!(error.to_string().contains("is made of 3"), "{error}");
    let (other_rx, other_tx) = open_carrying(backend);
    let (mut fds, others) = (tx.into_fds().unwrap(), other_tx.into_fds().unwrap());
    let own = std::mem::replace(&mut fds[2], others.into_iter().nth(2).unwrap());
    let number = fds[2].as_raw_fd().to_string();
    let error = crate::handover::sender(fds).unwrap_err();
    assert!(error.to_string().contains(&number), "{error}");
    let mut fds = other_rx.into_fds().unwrap();
    fds[2] = own;
    crate::handover::receiver(fds).unwrap_err();
}
