//! Ends of values as ends of a pipe: what the byte ends do they do too.

use std::io::Read;
use std::time::Duration;

use shmpipe::Backend;
use shmpipe::typed::{Connection, Receiver, RecvError, Sender, TryRecvError};

use crate::ends::{CAPACITY, LARGE, SHORT, open};
use crate::handover::{receiver, sender};
use crate::support::{fork, fork_apart, on_both_backends};
use crate::typed::{SAMPLE, Sample, assert_at_end, fed, options, pipe};

on_both_backends! {
    messages_iterates_until_the_end,
    messages_gives_a_wrong_message_as_an_error_and_goes_on,
    what_is_not_there_in_time_is_an_error_of_the_pipe,
    what_has_no_room_in_time_is_an_error_of_the_pipe,
    an_end_without_the_other_side_says_so,
    a_sender_that_died_inside_a_value_is_an_error_of_the_pipe,
    a_value_over_the_limit_is_refused,
    clones_are_handles_to_the_same_pipe,
    ends_tell_their_pipe_and_print_it,
    typed_ends_of_byte_ends_go_on_in_the_same_pipe,
    typed_ends_are_handed_over_as_descriptors,
    the_rest_of_a_message_after_a_read_stands_for_the_next_value,
    a_connection_sends_one_type_and_receives_another,
    the_halves_of_a_connection_work_by_themselves,
    each_value_reaches_another_process_and_then_the_end_does,
}

fn messages_iterates_until_the_end(backend: Backend) {
    let (mut rx, mut tx) = pipe::<u32>(backend);
    let child = fork(move || (0..1000).for_each(|number| tx.send(&number).unwrap()));
    let mut messages = rx.messages();
    assert!(messages.by_ref().map(Result::unwrap).eq(0..1000));
    assert!(messages.next().is_none());
    child.join();
}

fn messages_gives_a_wrong_message_as_an_error_and_goes_on(backend: Backend) {
    let mut rx = fed::<u8>(backend, &[&[1], &[2], &[3, 3], &[4]]);
    let mut messages = rx.messages();
    assert!(messages.by_ref().take(2).map(Result::unwrap).eq([1, 2]));
    assert!(matches!(
        messages.next(),
        Some(Err(RecvError::WrongSize {
            expected: 1,
            found: 2
        }))
    ));
    assert_eq!(messages.next().unwrap().unwrap(), 4);
    assert!(messages.next().is_none());
    assert!(rx.messages().next().is_none());
}

fn what_is_not_there_in_time_is_an_error_of_the_pipe(backend: Backend) {
    let (mut rx, _tx) = pipe::<u64>(backend);
    let empty = rx.try_recv().unwrap_err();
    assert!(matches!(
        empty,
        TryRecvError::Pipe(shmpipe::TryRecvError::Empty)
    ));
    assert_eq!(empty.to_string(), shmpipe::TryRecvError::Empty.to_string());
    assert!(!rx.poll(Some(SHORT)).unwrap());
    let start = std::time::Instant::now();
    let late = rx.recv_timeout(SHORT).unwrap_err();
    assert!(start.elapsed() >= SHORT);
    assert!(matches!(
        late,
        RecvError::Pipe(shmpipe::RecvTimeoutError::Timeout)
    ));
}

fn what_has_no_room_in_time_is_an_error_of_the_pipe(backend: Backend) {
    let (mut rx, mut tx) = pipe::<[u64; 100]>(backend);
    let mut sent = 0;
    while tx.try_send(&[sent; 100]).is_ok() {
        sent += 1;
    }
    assert!(sent > 0);
    assert!(matches!(
        tx.try_send(&[0; 100]),
        Err(shmpipe::TrySendError::Full)
    ));
    let start = std::time::Instant::now();
    assert!(matches!(
        tx.send_timeout(&[0; 100], SHORT),
        Err(shmpipe::SendTimeoutError::Timeout)
    ));
    assert!(start.elapsed() >= SHORT);
    drop(tx);
    assert!(
        rx.messages()
            .map(Result::unwrap)
            .eq((0..sent).map(|number| [number; 100]))
    );
}

fn an_end_without_the_other_side_says_so(backend: Backend) {
    let (rx, mut tx) = pipe::<u64>(backend);
    drop(rx);
    assert!(matches!(tx.send(&1), Err(shmpipe::SendError::Disconnected)));
    assert!(matches!(
        tx.try_send(&1),
        Err(shmpipe::TrySendError::Disconnected)
    ));
    let (mut rx, tx) = pipe::<u64>(backend);
    drop(tx);
    assert!(rx.poll(None).unwrap());
    (0..3).for_each(|_| assert_at_end(&mut rx));
    assert_eq!(rx.messages().count(), 0);
}

fn a_sender_that_died_inside_a_value_is_an_error_of_the_pipe(backend: Backend) {
    let (mut rx, mut tx) = pipe::<[u8; LARGE]>(backend);
    let victim = fork(|| tx.send(&[1; LARGE]).unwrap());
    victim.until_asleep();
    victim.kill();
    assert!(matches!(
        rx.recv(),
        Err(RecvError::Pipe(shmpipe::RecvError::Aborted))
    ));
    let other = fork(move || tx.send(&[2; LARGE]).unwrap());
    assert!(rx.recv().unwrap() == [2; LARGE]);
    other.join();
}

fn a_value_over_the_limit_is_refused(backend: Backend) {
    let (_rx, mut tx) = options(backend).max_message(7).typed_pipe::<u64>().unwrap();
    assert!(matches!(
        tx.send(&1),
        Err(shmpipe::SendError::TooLarge { len: 8, max: 7 })
    ));
}

fn clones_are_handles_to_the_same_pipe(backend: Backend) {
    let (mut rx, mut tx) = pipe::<u64>(backend);
    let mut second_tx = tx.try_clone().unwrap();
    let mut second_rx = rx.try_clone().unwrap();
    tx.send(&1).unwrap();
    second_tx.send(&2).unwrap();
    assert_eq!(second_rx.recv().unwrap(), 1);
    assert_eq!(rx.recv().unwrap(), 2);
    drop((tx, second_rx));
    second_tx.send(&3).unwrap();
    assert_eq!(rx.recv().unwrap(), 3);
    let (left, mut right) = options(backend).typed_duplex::<u8, u8>().unwrap();
    let mut clone = left.try_clone().unwrap();
    drop(left);
    clone.send(&4).unwrap();
    assert_eq!(right.recv().unwrap(), 4);
}

fn ends_tell_their_pipe_and_print_it(backend: Backend) {
    let (rx, tx) = pipe::<u64>(backend);
    let (left, _right) = options(backend).typed_duplex::<u8, u16>().unwrap();
    assert_eq!((rx.backend(), rx.capacity()), (backend, CAPACITY));
    assert_eq!((tx.backend(), tx.capacity()), (backend, CAPACITY));
    assert_eq!((left.backend(), left.capacity()), (backend, CAPACITY));
    for (text, name) in [
        (format!("{rx:?}"), "Receiver"),
        (format!("{tx:?}"), "Sender"),
        (format!("{left:?}"), "Connection"),
    ] {
        assert!(text.starts_with(name) && text.contains(&format!("{backend:?}")));
    }
}

fn typed_ends_of_byte_ends_go_on_in_the_same_pipe(backend: Backend) {
    let (rx, mut tx) = open(backend);
    tx.send(b"bytes").unwrap();
    let mut tx = Sender::<u16>::from(tx);
    tx.send(&1).unwrap();
    let mut tx = Sender::<bool>::from(tx.into_inner());
    tx.send(&true).unwrap();
    let mut rx = rx;
    assert_eq!(&*rx.recv().unwrap(), b"bytes");
    let mut rx = Receiver::<u16>::from(rx);
    assert_eq!(rx.recv().unwrap(), 1);
    let mut rx = Receiver::<bool>::from(shmpipe::Receiver::from(rx));
    assert!(rx.recv().unwrap());
    let (left, right) = options(backend).duplex().unwrap();
    let mut left = Connection::<u8, u16>::from(left);
    let mut right = Connection::<u16, u8>::from(right);
    left.send(&7).unwrap();
    assert_eq!(right.recv().unwrap(), 7);
    shmpipe::Connection::from(right).send(&[1, 0]).unwrap();
    assert_eq!(left.recv().unwrap(), 1);
}

fn typed_ends_are_handed_over_as_descriptors(backend: Backend) {
    let (rx, tx) = pipe::<Sample>(backend);
    let fds = tx.into_inner().into_fds().unwrap();
    let child = fork(move || {
        let mut tx = Sender::<Sample>::from(sender(fds).unwrap());
        tx.send(&SAMPLE).unwrap();
    });
    let fds = rx.into_inner().into_fds().unwrap();
    let mut rx = Receiver::<Sample>::from(receiver(fds).unwrap());
    assert_eq!(rx.recv().unwrap(), SAMPLE);
    assert_at_end(&mut rx);
    child.join();
}

fn the_rest_of_a_message_after_a_read_stands_for_the_next_value(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(&[1, 2, 3, 4]).unwrap();
    tx.send(&[5, 6]).unwrap();
    rx.read_exact(&mut [0; 2]).unwrap();
    let mut rx = Receiver::<[u8; 2]>::from(rx);
    assert_eq!(rx.recv().unwrap(), [3, 4]);
    assert_eq!(rx.recv().unwrap(), [5, 6]);
}

fn a_connection_sends_one_type_and_receives_another(backend: Backend) {
    let (client, mut server) = options(backend).typed_duplex::<u64, [u32; 2]>().unwrap();
    let (child, mut client) = fork_apart(client, || {
        assert_eq!(server.recv().unwrap(), 0x1122_3344_5566_7788);
        server.send(&[1, 2]).unwrap();
        server.try_send(&[3, 4]).unwrap();
        server.send_timeout(&[5, 6], SHORT).unwrap();
        assert!(matches!(
            server.recv(),
            Err(RecvError::Pipe(shmpipe::RecvError::Disconnected))
        ));
    });
    drop(server);
    client.send(&0x1122_3344_5566_7788).unwrap();
    assert!(client.poll(None).unwrap());
    assert_eq!(client.recv().unwrap(), [1, 2]);
    assert_eq!(
        client.recv_timeout(Duration::from_secs(3600)).unwrap(),
        [3, 4]
    );
    assert!(client.poll(None).unwrap());
    assert_eq!(client.try_recv().unwrap(), [5, 6]);
    drop(client);
    child.join();
}

fn the_halves_of_a_connection_work_by_themselves(backend: Backend) {
    let (left, mut right) = options(backend).typed_duplex::<u8, u16>().unwrap();
    let (mut rx, tx) = left.split();
    drop(tx);
    assert!(right.recv().is_err());
    right.send(&300).unwrap();
    assert_eq!(rx.recv().unwrap(), 300);
}

fn each_value_reaches_another_process_and_then_the_end_does(backend: Backend) {
    const COUNT: u64 = 10_000;
    let (mut rx, mut tx) = pipe::<u64>(backend);
    let child = fork(move || (0..COUNT).for_each(|number| tx.send(&number).unwrap()));
    for number in 0..COUNT {
        assert_eq!(rx.recv().unwrap(), number);
    }
    for _ in 0..3 {
        assert_at_end(&mut rx);
    }
    child.join();
}
