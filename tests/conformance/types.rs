//! The types themselves: what they implement, what they print, and the small conversions.

use std::error::Error;
use std::fmt::Debug;
use std::hash::Hash;
use std::io::{BufRead, Write};

use shmpipe::{
    Backend, Connection, Message, Messages, PipeOptions, Receiver, RecvError, RecvTimeoutError,
    SendError, SendTimeoutError, Sender, TryRecvError, TrySendError, typed,
};

use crate::ends::{FILLER, LARGE, assert_at_end, open, open_duplex};
use crate::support::{check, fork, on_both_backends, pattern};

const fn shareable<T: Send + Sync + Debug>() {}
const fn error<T: Error + Send + Sync + Into<std::io::Error> + 'static>() {}
const fn stream<T: BufRead>() {}
const fn sink<T: Write>() {}
const fn choice<T: Copy + Eq + Hash + Debug>() {}

const _: () = {
    shareable::<Receiver>();
    shareable::<Sender>();
    shareable::<Connection>();
    shareable::<PipeOptions>();
    shareable::<Message<'static>>();
    shareable::<Messages<'static>>();
    error::<SendError>();
    error::<TrySendError>();
    error::<SendTimeoutError>();
    error::<RecvError>();
    error::<TryRecvError>();
    error::<RecvTimeoutError>();
    stream::<Receiver>();
    stream::<Connection>();
    sink::<Sender>();
    sink::<Connection>();
    choice::<Backend>();
    shareable::<typed::Receiver<u8>>();
    shareable::<typed::Sender<u8>>();
    shareable::<typed::Connection<u8, u8>>();
    error::<typed::RecvError>();
    error::<typed::TryRecvError>();
    error::<typed::RecvTimeoutError>();
};

on_both_backends! {
    ends_print_their_backend_and_capacity,
    a_message_prints_and_derefs_to_its_bytes,
    a_message_becomes_a_vector_of_its_bytes,
    an_end_receives_on_after_its_buffer_was_taken_as_a_vector,
    messages_iterates_until_the_end,
    messages_can_be_taken_up_again,
    messages_stops_at_a_dead_senders_message_and_says_so,
}

fn ends_print_their_backend_and_capacity(backend: Backend) {
    let (rx, tx) = open(backend);
    let (left, _right) = open_duplex(backend);
    for text in [format!("{rx:?}"), format!("{tx:?}"), format!("{left:?}")] {
        assert!(
            text.contains(&format!("{backend:?}")) && text.contains("65536"),
            "{text}"
        );
    }
    assert!(format!("{rx:?}").starts_with("Receiver"));
    assert!(format!("{tx:?}").starts_with("Sender"));
    assert!(format!("{left:?}").starts_with("Connection"));
}

fn a_message_prints_and_derefs_to_its_bytes(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(&[1, 2, 3]).unwrap();
    let message = rx.recv().unwrap();
    assert_eq!(format!("{message:?}"), "Message([1, 2, 3])");
    assert_eq!(message.iter().sum::<u8>(), 6);
    let bytes: &[u8] = message.as_ref();
    assert_eq!(bytes, &message[..]);
}

fn a_message_becomes_a_vector_of_its_bytes(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for len in [0, 1, FILLER] {
        tx.send(&pattern(1, 0, len)).unwrap();
        check(&rx.recv().unwrap().into_vec(), 1, 0, len);
    }
    let child = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    check(&rx.recv().unwrap().into_vec(), 1, 0, LARGE);
    child.join();
}

fn an_end_receives_on_after_its_buffer_was_taken_as_a_vector(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut kept = Vec::new();
    for number in 0..10 {
        tx.send(&pattern(1, number, FILLER)).unwrap();
        kept.push(rx.recv().unwrap().into_vec());
    }
    (0..)
        .zip(kept)
        .for_each(|(number, message)| check(&message, 1, number, FILLER));
}

fn messages_iterates_until_the_end(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = fork(move || {
        (0..100).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
        tx.send(&pattern(1, 100, LARGE)).unwrap();
    });
    let mut messages = rx.messages();
    for number in 0..100 {
        check(&messages.next().unwrap(), 1, number, FILLER);
    }
    check(&messages.next().unwrap(), 1, 100, LARGE);
    assert_eq!(messages.next(), None);
    assert_eq!(messages.next(), None);
    assert!(messages.error().is_none());
    child.join();
    assert_at_end(&mut rx);
}

fn messages_can_be_taken_up_again(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    (0..10).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
    let received: Vec<_> = rx.messages().take(4).collect();
    (0..)
        .zip(received)
        .for_each(|(number, message)| check(&message, 1, number, FILLER));
    check(&rx.recv().unwrap(), 1, 4, FILLER);
    drop(tx);
    let received: Vec<_> = rx.messages().collect();
    assert_eq!(received.len(), 5);
    (5..)
        .zip(received)
        .for_each(|(number, message)| check(&message, 1, number, FILLER));
}

fn messages_stops_at_a_dead_senders_message_and_says_so(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let victim = fork(|| {
        tx.send(b"whole").unwrap();
        tx.send(&pattern(1, 0, LARGE)).unwrap();
    });
    victim.until_asleep();
    victim.kill();
    let other = fork(move || tx.send(b"afterwards").unwrap());
    let mut messages = rx.messages();
    assert_eq!(messages.next().unwrap(), b"whole");
    assert_eq!(messages.next(), None);
    assert!(matches!(messages.error(), Some(RecvError::Aborted)));
    assert_eq!(messages.next(), None);
    assert_eq!(rx.messages().collect::<Vec<_>>(), [b"afterwards"]);
    other.join();
}
