//! The types themselves: what they implement, what they print, and the small conversions.

use std::error::Error;
use std::fmt::Debug;
use std::hash::Hash;
use std::io::{BufRead, Write};
use std::panic::{RefUnwindSafe, UnwindSafe};

use shmpipe::{
    Backend, Connection, IntoMessages, Message, Messages, PipeOptions, Receiver, RecvError,
    RecvTimeoutError, SendError, SendTimeoutError, Sender, Slot, TryMessages, TryRecvError,
    TrySendError, View, typed,
};

use crate::ends::{FILLER, LARGE, assert_at_end, open, open_duplex};
use crate::support::{check, fork, on_both_backends, pattern};

const fn shareable<T: Send + Sync + Debug>() {}
const fn survives_panics<T: UnwindSafe + RefUnwindSafe>() {}
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
    shareable::<IntoMessages>();
    shareable::<TryMessages<'static>>();
    survives_panics::<Receiver>();
    survives_panics::<Sender>();
    survives_panics::<Connection>();
    survives_panics::<Message<'static>>();
    survives_panics::<Messages<'static>>();
    survives_panics::<IntoMessages>();
    survives_panics::<TryMessages<'static>>();
    survives_panics::<Slot<'static>>();
    survives_panics::<View<'static>>();
    survives_panics::<PipeOptions>();
    // Whatever goes through them.
    survives_panics::<typed::Receiver<&'static mut u8>>();
    survives_panics::<typed::Sender<&'static mut u8>>();
    survives_panics::<typed::Connection<&'static mut u8, &'static mut u8>>();
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
    #[cfg(feature = "serde")]
    {
        survives_panics::<shmpipe::serde::Receiver<&'static mut u8>>();
        survives_panics::<shmpipe::serde::Sender<&'static mut u8>>();
        survives_panics::<shmpipe::serde::Connection<&'static mut u8, &'static mut u8>>();
    }
    #[cfg(feature = "tokio")]
    {
        survives_panics::<shmpipe::tokio::Receiver>();
        survives_panics::<shmpipe::tokio::Sender>();
        survives_panics::<shmpipe::tokio::Connection>();
    }
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
    messages_gives_a_dead_senders_message_as_an_error_and_goes_on,
    an_owned_iterator_gives_each_message_and_the_end_back,
    try_messages_gives_what_is_there_and_never_blocks,
    an_end_is_itself_an_iterator,
    an_end_goes_on_after_a_panic,
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
        check(&messages.next().unwrap().unwrap(), 1, number, FILLER);
    }
    check(&messages.next().unwrap().unwrap(), 1, 100, LARGE);
    assert!(messages.next().is_none());
    assert!(messages.next().is_none());
    child.join();
    assert_at_end(&mut rx);
}

fn messages_can_be_taken_up_again(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    (0..10).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
    let received: Vec<_> = rx.messages().take(4).map(Result::unwrap).collect();
    (0..)
        .zip(received)
        .for_each(|(number, message)| check(&message, 1, number, FILLER));
    check(&rx.recv().unwrap(), 1, 4, FILLER);
    drop(tx);
    let received: Vec<_> = rx.messages().map(Result::unwrap).collect();
    assert_eq!(received.len(), 5);
    (5..)
        .zip(received)
        .for_each(|(number, message)| check(&message, 1, number, FILLER));
}

fn messages_gives_a_dead_senders_message_as_an_error_and_goes_on(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let victim = fork(|| {
        tx.send(b"whole").unwrap();
        tx.send(&pattern(1, 0, LARGE)).unwrap();
    });
    victim.until_asleep();
    victim.kill();
    let other = fork(move || tx.send(b"afterwards").unwrap());
    let mut messages = rx.messages();
    assert_eq!(messages.next().unwrap().unwrap(), b"whole");
    assert!(matches!(messages.next(), Some(Err(RecvError::Aborted))));
    assert_eq!(messages.next().unwrap().unwrap(), b"afterwards");
    assert!(messages.next().is_none());
    other.join();
}

fn an_owned_iterator_gives_each_message_and_the_end_back(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let child =
        fork(move || (0..10).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap()));
    let mut messages = rx.into_messages();
    (0..4).for_each(|number| check(&messages.next().unwrap().unwrap(), 1, number, FILLER));
    let mut rx = messages.into_inner();
    check(&rx.recv().unwrap(), 1, 4, FILLER);
    let rest: Vec<_> = rx.into_messages().map(Result::unwrap).collect();
    assert_eq!(rest.len(), 5);
    child.join();
}

fn try_messages_gives_what_is_there_and_never_blocks(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    assert!(rx.try_messages().next().is_none());
    (0..3).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
    let mut messages = rx.try_messages();
    (0..3).for_each(|number| check(&messages.next().unwrap().unwrap(), 1, number, FILLER));
    assert!(messages.next().is_none());
    tx.send(b"later").unwrap();
    assert_eq!(messages.next().unwrap().unwrap(), b"later");
    drop(tx);
    assert!(messages.next().is_none());
    assert_at_end(&mut rx);

    let (rx, mut tx) = PipeOptions::new()
        .backend(backend)
        .typed_pipe::<u16>()
        .unwrap();
    (0..3).for_each(|number| tx.send(&number).unwrap());
    let mut rx = rx;
    assert!(rx.try_messages().map(Result::unwrap).eq(0..3));
    tx.into_inner().send(b"wrong").unwrap();
    assert!(rx.try_messages().next().unwrap().is_err());
    assert!(rx.try_messages().next().is_none());
}

fn an_end_is_itself_an_iterator(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    (0..5).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
    drop(tx);
    for (number, message) in (0..2).zip(&mut rx) {
        check(&message.unwrap(), 1, number, FILLER);
    }
    for (number, message) in (2..).zip(rx) {
        check(&message.unwrap(), 1, number, FILLER);
    }
}

fn an_end_goes_on_after_a_panic(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let outcome = std::panic::catch_unwind(|| {
        let mut tx = tx.try_clone().unwrap();
        let mut slot = tx.reserve(100).unwrap();
        slot.write_at(0, b"not sent");
        panic!("this panic is part of the test");
    });
    assert!(outcome.is_err());
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        tx.send_batch((0..100_u8).map(|number| {
            assert!(number < 70, "this panic is part of the test");
            [number; 10]
        }))
    }));
    assert!(outcome.is_err());
    tx.send(b"last").unwrap();
    drop(tx);
    // The first 64 of the batch, as `send_batch` has it.
    let received: Vec<_> = rx.messages().map(Result::unwrap).collect();
    assert_eq!(received.len(), 65);
    assert_eq!(received[64], b"last");
}
