//! Ends of values by their bytes: what passes, and what is no value.

use std::fmt::Debug;
use std::sync::atomic::Ordering;
use std::time::Duration;

use shmpipe::typed::{self, Receiver, RecvError, Sender, TryRecvError};
use shmpipe::{Backend, PipeOptions};
use zerocopy::{Immutable, IntoBytes, TryFromBytes};

use crate::ends::{CAPACITY, FILLER, LARGE, SHORT, open};
use crate::support::{fork, fork_apart, on_both_backends, pattern, shared_counter};

on_both_backends! {
    values_of_every_kind_of_type_come_out_as_they_went_in,
    a_value_larger_than_the_pipe_passes_whole,
    a_message_is_exactly_the_values_bytes,
    a_shorter_message_is_the_wrong_size_and_the_next_one_is_received,
    a_longer_message_is_the_wrong_size_and_the_next_one_is_received,
    a_wrong_message_larger_than_the_pipe_is_taken_out_whole,
    a_wrong_message_larger_than_the_pipe_keeps_nobody_waiting,
    bytes_that_are_no_value_are_an_error_and_the_next_one_is_received,
    a_message_where_the_type_is_empty_must_be_empty,
    several_receivers_report_each_wrong_message_once_and_get_each_value_once,
}

pub(crate) fn options(backend: Backend) -> PipeOptions {
    PipeOptions::new().backend(backend).capacity(CAPACITY)
}

pub(crate) fn pipe<T>(backend: Backend) -> (Receiver<T>, Sender<T>) {
    options(backend).typed_pipe().unwrap()
}

/// A receiver of `T` that gets these messages, and then its sender is gone.
pub(crate) fn fed<T>(backend: Backend, messages: &[&[u8]]) -> Receiver<T> {
    let (rx, mut tx) = open(backend);
    messages
        .iter()
        .for_each(|message| tx.send(message).unwrap());
    rx.into()
}

#[derive(TryFromBytes, IntoBytes, Immutable, Clone, Copy, Debug, PartialEq)]
#[repr(u8)]
pub(crate) enum Colour {
    Red = 1,
    Green = 2,
}

#[derive(TryFromBytes, IntoBytes, Immutable, Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub(crate) struct Sample {
    pub(crate) number: u64,
    pub(crate) weight: f32,
    pub(crate) colour: Colour,
    pub(crate) is_last: bool,
    pub(crate) place: [i8; 2],
}

pub(crate) const SAMPLE: Sample = Sample {
    number: 0x0102_0304_0506_0708,
    weight: -1.5,
    colour: Colour::Green,
    is_last: true,
    place: [-1, 1],
};

fn passes<T>(backend: Backend, values: &[T])
where
    T: TryFromBytes + IntoBytes + Immutable + PartialEq + Debug,
{
    let (mut rx, mut tx) = pipe::<T>(backend);
    for value in values {
        tx.send(value).unwrap();
        tx.try_send(value).unwrap();
        tx.send_timeout(value, SHORT).unwrap();
        assert_eq!(&rx.recv().unwrap(), value);
        assert_eq!(&rx.try_recv().unwrap(), value);
        assert_eq!(&rx.recv_timeout(SHORT).unwrap(), value);
    }
}

fn values_of_every_kind_of_type_come_out_as_they_went_in(backend: Backend) {
    passes(backend, &[0_u8, 255]);
    passes(backend, &[i64::MIN, -1, i64::MAX]);
    passes(backend, &[u128::MAX, 1]);
    passes(backend, &[f64::MIN_POSITIVE, -0.0]);
    passes(backend, &[true, false]);
    passes(backend, &['a', '\u{10ffff}']);
    passes(backend, &[(); 2]);
    passes(backend, &[[1_u16, 2, 3], [4, 5, 6]]);
    passes(backend, &[[7_u8; FILLER]]);
    passes(backend, &[Colour::Red, Colour::Green]);
    passes(backend, &[SAMPLE]);
    passes(backend, &[[SAMPLE; 100]]);
}

fn a_value_larger_than_the_pipe_passes_whole(backend: Backend) {
    let (mut rx, mut tx) = pipe::<[u8; LARGE]>(backend);
    let child = fork(move || {
        for number in 0..3 {
            tx.send(&pattern(1, number, LARGE).try_into().unwrap())
                .unwrap();
        }
    });
    for number in 0..3 {
        assert!(rx.recv().unwrap()[..] == pattern(1, number, LARGE));
    }
    child.join();
}

fn a_message_is_exactly_the_values_bytes(backend: Backend) {
    let (rx, mut tx) = pipe::<Sample>(backend);
    tx.send(&SAMPLE).unwrap();
    let expected = [8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0xc0, 0xbf, 2, 1, 0xff, 1];
    assert_eq!(&*rx.into_inner().recv().unwrap(), expected);
}

/// Asserts that each way of receiving reports this many bytes as the wrong size for 8, and goes on.
fn assert_wrong_size(backend: Backend, wrong: &[u8]) {
    let right = 42_u64.to_le_bytes();
    let messages: [&[u8]; 6] = [wrong, &right, wrong, &right, wrong, &right];
    let mut rx = fed::<u64>(backend, &messages);
    let hour = Duration::from_secs(3600);
    match rx.recv() {
        Err(RecvError::WrongSize { expected, found }) => {
            assert_eq!((expected, found), (8, wrong.len()));
        }
        outcome => panic!("{outcome:?}"),
    }
    assert_eq!(rx.recv().unwrap(), 42);
    match rx.try_recv() {
        Err(TryRecvError::WrongSize { expected, found }) => {
            assert_eq!((expected, found), (8, wrong.len()));
        }
        outcome => panic!("{outcome:?}"),
    }
    assert_eq!(rx.try_recv().unwrap(), 42);
    match rx.recv_timeout(hour) {
        Err(typed::RecvTimeoutError::WrongSize { expected, found }) => {
            assert_eq!((expected, found), (8, wrong.len()));
        }
        outcome => panic!("{outcome:?}"),
    }
    assert_eq!(rx.recv_timeout(hour).unwrap(), 42);
    assert_at_end(&mut rx);
}

#[track_caller]
pub(crate) fn assert_at_end<T: TryFromBytes + Debug>(rx: &mut Receiver<T>) {
    let outcome = rx.recv();
    assert!(
        matches!(
            outcome,
            Err(RecvError::Pipe(shmpipe::RecvError::Disconnected))
        ),
        "{outcome:?}"
    );
}

fn a_shorter_message_is_the_wrong_size_and_the_next_one_is_received(backend: Backend) {
    assert_wrong_size(backend, b"");
    assert_wrong_size(backend, &[1]);
    assert_wrong_size(backend, &[7; 7]);
}

fn a_longer_message_is_the_wrong_size_and_the_next_one_is_received(backend: Backend) {
    assert_wrong_size(backend, &[9; 9]);
    assert_wrong_size(backend, &pattern(1, 0, 5000));
    assert_wrong_size(backend, &pattern(1, 0, CAPACITY / 4));
}

fn a_wrong_message_larger_than_the_pipe_is_taken_out_whole(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let mut rx = Receiver::<u64>::from(rx);
    let child = fork(move || {
        tx.send(&pattern(1, 0, LARGE)).unwrap();
        tx.send(&42_u64.to_le_bytes()).unwrap();
    });
    assert!(matches!(
        rx.recv(),
        Err(RecvError::WrongSize {
            expected: 8,
            found: LARGE
        })
    ));
    assert_eq!(rx.recv().unwrap(), 42);
    child.join();
}

fn a_wrong_message_larger_than_the_pipe_keeps_nobody_waiting(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let mut rx = Receiver::<u64>::from(rx);
    let child = fork(move || {
        tx.send(&pattern(1, 0, LARGE)).unwrap();
        tx.send(&42_u64.to_le_bytes()).unwrap();
    });
    child.until_asleep();
    child.stop();
    let empty = rx.try_recv();
    assert!(
        matches!(empty, Err(TryRecvError::Pipe(shmpipe::TryRecvError::Empty))),
        "{empty:?}"
    );
    let late = rx.recv_timeout(SHORT);
    assert!(
        matches!(
            late,
            Err(RecvError::Pipe(shmpipe::RecvTimeoutError::Timeout))
        ),
        "{late:?}"
    );
    child.cont();
    assert!(matches!(
        rx.recv(),
        Err(RecvError::WrongSize {
            expected: 8,
            found: LARGE
        })
    ));
    assert_eq!(rx.recv().unwrap(), 42);
    child.join();
}

fn bytes_that_are_no_value_are_an_error_and_the_next_one_is_received(backend: Backend) {
    let mut rx = fed::<Colour>(backend, &[&[3], &[1], &[0], &[2], &[255], &[1]]);
    for expected in [Colour::Red, Colour::Green] {
        match rx.recv() {
            Err(RecvError::InvalidValue { type_name }) => {
                assert!(type_name.ends_with("Colour"), "{type_name}");
            }
            outcome => panic!("{outcome:?}"),
        }
        assert_eq!(rx.recv().unwrap(), expected);
    }
    assert!(matches!(
        rx.try_recv(),
        Err(TryRecvError::InvalidValue { .. })
    ));
    assert_eq!(rx.try_recv().unwrap(), Colour::Red);

    let mut bytes = SAMPLE.as_bytes().to_vec();
    bytes[13] = 2; // no bool
    let mut rx = fed::<Sample>(backend, &[&bytes, SAMPLE.as_bytes()]);
    assert!(matches!(rx.recv(), Err(RecvError::InvalidValue { .. })));
    assert_eq!(rx.recv().unwrap(), SAMPLE);
    let mut rx = fed::<char>(backend, &[&0xd800_u32.to_le_bytes()]);
    assert!(matches!(rx.recv(), Err(RecvError::InvalidValue { .. })));
}

fn a_message_where_the_type_is_empty_must_be_empty(backend: Backend) {
    let mut rx = fed::<()>(backend, &[b"", b"x", b""]);
    rx.recv().unwrap();
    assert!(matches!(
        rx.recv(),
        Err(RecvError::WrongSize {
            expected: 0,
            found: 1
        })
    ));
    rx.recv().unwrap();
    assert_at_end(&mut rx);
}

/// That a message is too long is found out before it is taken, and another receiver may take it in between.
fn several_receivers_report_each_wrong_message_once_and_get_each_value_once(backend: Backend) {
    const COUNT: u64 = 10_000;
    let (rx, mut tx) = open(backend);
    let [wrong, sum] = [shared_counter(), shared_counter()];
    let mut receivers = Vec::new();
    for _ in 0..3 {
        let mut rx = Receiver::<u64>::from(rx.try_clone().unwrap());
        let (child, ours) = fork_apart(tx, || {
            loop {
                match rx.recv() {
                    Ok(number) => sum.fetch_add(number, Ordering::Relaxed),
                    Err(RecvError::WrongSize { found: 9, .. }) => {
                        wrong.fetch_add(1, Ordering::Relaxed)
                    }
                    Err(RecvError::Pipe(shmpipe::RecvError::Disconnected)) => break,
                    Err(error) => panic!("{error}"),
                };
            }
        });
        tx = ours;
        receivers.push(child);
    }
    for number in 0..COUNT {
        tx.send(&number.to_le_bytes()).unwrap();
        tx.send(&[9; 9]).unwrap();
    }
    drop(tx);
    receivers.into_iter().for_each(|child| child.join());
    assert_eq!(wrong.load(Ordering::Relaxed), COUNT);
    assert_eq!(sum.load(Ordering::Relaxed), (0..COUNT).sum());
}
