//! Ends of encoded values as ends of a pipe: what the byte ends do they do too.

use std::time::Duration;

use shmpipe::Backend;
use shmpipe::serde::{
    Connection, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender,
    TryRecvError, TrySendError,
};

use crate::ends::{CAPACITY, LARGE, SHORT};
use crate::handover::{receiver, sender};
use crate::serde::{Shape, assert_at_end, fed, options};
use crate::support::{fork, fork_apart, on_both_backends, pattern};

on_both_backends! {
    each_value_reaches_another_process_and_then_the_end_does,
    what_is_not_there_or_has_no_room_in_time_is_an_error_of_the_pipe,
    an_end_without_the_other_side_says_so,
    a_sender_that_died_inside_a_value_is_an_error_of_the_pipe,
    an_encoded_value_over_the_limit_is_refused,
    messages_iterates_until_the_end_and_gives_a_wrong_message_as_an_error,
    ends_of_values_are_made_of_byte_ends_and_become_them_again,
    ends_tell_their_pipe_print_it_and_are_cloned,
    a_connection_sends_one_type_and_receives_another,
}

fn each_value_reaches_another_process_and_then_the_end_does(backend: Backend) {
    const COUNT: u32 = 5_000;
    let (mut rx, mut tx) = options(backend).serde_pipe::<(u32, String)>().unwrap();
    let child = fork(move || {
        (0..COUNT).for_each(|number| tx.send(&(number, number.to_string())).unwrap());
    });
    for number in 0..COUNT {
        assert_eq!(rx.recv().unwrap(), (number, number.to_string()));
    }
    (0..3).for_each(|_| assert_at_end(&mut rx));
    child.join();
}

fn what_is_not_there_or_has_no_room_in_time_is_an_error_of_the_pipe(backend: Backend) {
    let (mut rx, mut tx) = options(backend).serde_pipe::<String>().unwrap();
    let empty = rx.try_recv();
    assert!(matches!(
        empty,
        Err(TryRecvError::Pipe(shmpipe::TryRecvError::Empty))
    ));
    assert!(!rx.poll(Some(SHORT)).unwrap());
    let late = rx.recv_timeout(SHORT);
    assert!(matches!(
        late,
        Err(RecvTimeoutError::Pipe(shmpipe::RecvTimeoutError::Timeout))
    ));
    let text = "x".repeat(1000);
    let mut sent = 0;
    let full = loop {
        match tx.try_send(&text) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(
        full,
        TrySendError::Pipe(shmpipe::TrySendError::Full)
    ));
    let late = tx.send_timeout(&text, SHORT);
    assert!(matches!(
        late,
        Err(SendTimeoutError::Pipe(shmpipe::SendTimeoutError::Timeout))
    ));
    drop(tx);
    assert_eq!(
        rx.messages()
            .filter(|received| *received.as_ref().unwrap() == text)
            .count(),
        sent
    );
}

fn an_end_without_the_other_side_says_so(backend: Backend) {
    let (rx, mut tx) = options(backend).serde_pipe::<u8>().unwrap();
    drop(rx);
    assert!(matches!(
        tx.send(&1),
        Err(SendError::Pipe(shmpipe::SendError::Disconnected))
    ));
    let (mut rx, tx) = options(backend).serde_pipe::<u8>().unwrap();
    drop(tx);
    assert!(rx.poll(None).unwrap());
    (0..3).for_each(|_| assert_at_end(&mut rx));
}

fn a_sender_that_died_inside_a_value_is_an_error_of_the_pipe(backend: Backend) {
    let (mut rx, mut tx) = options(backend).serde_pipe::<Vec<u8>>().unwrap();
    let victim = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    victim.until_asleep();
    victim.kill();
    assert!(matches!(
        rx.recv(),
        Err(RecvError::Pipe(shmpipe::RecvError::Aborted))
    ));
    tx.send(&vec![1, 2, 3]).unwrap();
    assert_eq!(rx.recv().unwrap(), [1, 2, 3]);
}

fn an_encoded_value_over_the_limit_is_refused(backend: Backend) {
    let (mut rx, mut tx) = options(backend)
        .max_message(4)
        .serde_pipe::<String>()
        .unwrap();
    let outcome = tx.send(&"four".into());
    assert!(
        matches!(
            outcome,
            Err(SendError::Pipe(shmpipe::SendError::TooLarge {
                len: 5,
                max: 4
            }))
        ),
        "{outcome:?}"
    );
    tx.send(&"3 B".into()).unwrap();
    assert_eq!(rx.recv().unwrap(), "3 B");
}

fn messages_iterates_until_the_end_and_gives_a_wrong_message_as_an_error(backend: Backend) {
    let mut rx = fed::<u16>(backend, &[&[1], &[2], &[0xff], &[3]]);
    let mut messages = rx.messages();
    assert!(messages.by_ref().take(2).map(Result::unwrap).eq([1, 2]));
    assert!(matches!(messages.next(), Some(Err(RecvError::Decode(_)))));
    assert_eq!(messages.next().unwrap().unwrap(), 3);
    assert!(messages.next().is_none());
    assert!(rx.messages().next().is_none());
}

fn ends_of_values_are_made_of_byte_ends_and_become_them_again(backend: Backend) {
    let (rx, tx) = options(backend).serde_pipe::<String>().unwrap();
    let fds = tx.into_inner().into_fds().unwrap();
    let child = fork(move || {
        let mut tx = Sender::<String>::from(sender(fds).unwrap());
        tx.send(&"from afar".into()).unwrap();
    });
    let fds = shmpipe::Receiver::from(rx).into_fds().unwrap();
    let mut rx = Receiver::<String>::from(receiver(fds).unwrap());
    assert_eq!(rx.recv().unwrap(), "from afar");
    assert_at_end(&mut rx);
    child.join();
    let (left, right) = options(backend).duplex().unwrap();
    let mut left = Connection::<u8, String>::from(left);
    let mut right = Connection::<String, u8>::from(right);
    left.send(&7).unwrap();
    assert_eq!(right.recv().unwrap(), 7);
    shmpipe::Connection::from(right).send(b"\x01x").unwrap();
    assert_eq!(left.recv().unwrap(), "x");
}

fn ends_tell_their_pipe_print_it_and_are_cloned(backend: Backend) {
    let (mut rx, mut tx) = options(backend).serde_pipe::<u8>().unwrap();
    let (left, _right) = options(backend).serde_duplex::<u8, u8>().unwrap();
    assert_eq!((rx.backend(), rx.capacity()), (backend, CAPACITY));
    assert_eq!((tx.backend(), tx.capacity()), (backend, CAPACITY));
    assert_eq!((left.backend(), left.capacity()), (backend, CAPACITY));
    for text in [format!("{rx:?}"), format!("{tx:?}"), format!("{left:?}")] {
        assert!(text.contains(&format!("{backend:?}")), "{text}");
    }
    tx.try_clone().unwrap().send(&1).unwrap();
    tx.send(&2).unwrap();
    assert_eq!(rx.try_clone().unwrap().recv().unwrap(), 1);
    assert_eq!(rx.recv().unwrap(), 2);
    drop(left.try_clone().unwrap());
}

fn a_connection_sends_one_type_and_receives_another(backend: Backend) {
    let (client, mut server) = options(backend).serde_duplex::<Shape, usize>().unwrap();
    let (child, mut client) = fork_apart(client, || {
        assert_eq!(server.recv().unwrap(), Shape::Nothing);
        server.send(&1).unwrap();
        server.try_send(&2).unwrap();
        server.send_timeout(&3, SHORT).unwrap();
        assert_eq!(server.messages().count(), 0);
    });
    drop(server);
    client.send(&Shape::Nothing).unwrap();
    assert!(client.poll(None).unwrap());
    assert_eq!(client.recv().unwrap(), 1);
    assert_eq!(client.recv_timeout(Duration::from_secs(3600)).unwrap(), 2);
    assert!(client.poll(None).unwrap());
    assert_eq!(client.try_recv().unwrap(), 3);
    let (mut rx, tx) = client.split();
    drop(tx);
    assert!(matches!(
        rx.recv(),
        Err(RecvError::Pipe(shmpipe::RecvError::Disconnected))
    ));
    child.join();
}
