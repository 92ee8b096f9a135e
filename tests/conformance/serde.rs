//! Ends of encoded values: what passes, what is no value, and what cannot be one.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};
use shmpipe::serde::{
    Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use shmpipe::{Backend, PipeOptions};

use crate::ends::{CAPACITY, LARGE, SHORT, open};
use crate::support::{fork, on_both_backends, pattern};

on_both_backends! {
    values_of_every_kind_of_type_come_out_as_they_went_in,
    a_value_larger_than_the_pipe_passes_whole,
    a_message_is_the_values_bytes_as_postcard_specifies_them,
    a_message_that_cannot_be_decoded_is_an_error_and_the_next_one_is_received,
    bytes_left_behind_a_value_are_an_error_that_counts_them,
    a_value_that_cannot_be_encoded_is_an_error_and_sends_nothing,
    errors_become_those_of_io_and_name_their_cause,
}

pub(crate) fn options(backend: Backend) -> PipeOptions {
    PipeOptions::new().backend(backend).capacity(CAPACITY)
}

/// A receiver of `T` that gets these messages, and then its sender is gone.
pub(crate) fn fed<T>(backend: Backend, messages: &[&[u8]]) -> Receiver<T> {
    let (rx, mut tx) = open(backend);
    messages
        .iter()
        .for_each(|message| tx.send(message).unwrap());
    rx.into()
}

#[track_caller]
pub(crate) fn assert_at_end<T: DeserializeOwned + Debug>(rx: &mut Receiver<T>) {
    let outcome = rx.recv();
    assert!(
        matches!(
            outcome,
            Err(RecvError::Pipe(shmpipe::RecvError::Disconnected))
        ),
        "{outcome:?}"
    );
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    Nothing,
    Number(i64),
    Pair(u8, String),
    Named {
        key: char,
        value: Option<Box<Shape>>,
    },
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub(crate) struct Everything {
    unit: (),
    truth: bool,
    small: (i8, u8, i16, u16, i32, u32, i64, u64),
    large: (i128, u128),
    floats: [f64; 2],
    single: f32,
    letter: char,
    text: String,
    shapes: Vec<Shape>,
    names: BTreeMap<String, Vec<u8>>,
    hashed: HashMap<u32, Wrapped>,
    outcome: Result<u8, String>,
    empty: Empty,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Wrapped(u64);

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Empty;

pub(crate) fn everything() -> Everything {
    let named = Shape::Named {
        key: '\u{10ffff}',
        value: Some(Box::new(Shape::Number(-1))),
    };
    Everything {
        unit: (),
        truth: true,
        small: (-1, 2, -3, 4, i32::MIN, u32::MAX, i64::MIN, u64::MAX),
        large: (i128::MIN, u128::MAX),
        floats: [-0.5, f64::MAX],
        single: 0.1,
        letter: 'ß',
        text: "text, not only ASCII: äöü".into(),
        shapes: vec![Shape::Nothing, Shape::Pair(9, String::new()), named],
        names: BTreeMap::from([("a".into(), vec![1, 2, 3]), ("b".into(), vec![])]),
        hashed: (0..50)
            .map(|key| (key, Wrapped(u64::from(key) << 32)))
            .collect(),
        outcome: Err("no".into()),
        empty: Empty,
    }
}

fn passes<T>(backend: Backend, values: &[T])
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let (mut rx, mut tx) = options(backend).serde_pipe::<T>().unwrap();
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
    passes(backend, &[everything()]);
    passes(backend, &[(); 2]);
    passes(backend, &[String::new(), "one".into()]);
    passes(backend, &[None, Some(Shape::Nothing)]);
    passes(backend, &[vec![vec![1_u16], vec![]], vec![]]);
}

fn a_value_larger_than_the_pipe_passes_whole(backend: Backend) {
    let (mut rx, mut tx) = options(backend).serde_pipe::<(u64, Vec<u8>)>().unwrap();
    let child = fork(move || {
        for number in 0..3 {
            tx.send(&(number, pattern(1, number, LARGE))).unwrap();
        }
    });
    for number in 0..3 {
        assert!(rx.recv().unwrap() == (number, pattern(1, number, LARGE)));
    }
    child.join();
}

fn a_message_is_the_values_bytes_as_postcard_specifies_them(backend: Backend) {
    let (rx, mut tx) = options(backend)
        .serde_pipe::<(u32, Shape, Option<i16>)>()
        .unwrap();
    tx.send(&(300, Shape::Pair(7, "hi".into()), Some(-1)))
        .unwrap();
    // 300 as a varint; variant 2, 7, two bytes of text; some, and -1 in zigzag.
    let expected = [0xac, 0x02, 2, 7, 2, b'h', b'i', 1, 1];
    assert_eq!(&*rx.into_inner().recv().unwrap(), expected);
}

fn a_message_that_cannot_be_decoded_is_an_error_and_the_next_one_is_received(backend: Backend) {
    let (whole, cut, garbled): (&[u8], &[u8], &[u8]) = (b"\x02ok", b"\x05cut", b"\x02\xff\xff");
    let messages = [cut, whole, garbled, whole, b"", whole, cut];
    let mut rx = fed::<String>(backend, &messages);
    assert!(matches!(rx.recv(), Err(RecvError::Decode(_))));
    assert_eq!(rx.recv().unwrap(), "ok");
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Decode(_))));
    assert_eq!(rx.try_recv().unwrap(), "ok");
    let hour = Duration::from_secs(3600);
    assert!(matches!(
        rx.recv_timeout(hour),
        Err(RecvTimeoutError::Decode(_))
    ));
    assert_eq!(rx.recv_timeout(hour).unwrap(), "ok");
    assert!(matches!(rx.recv(), Err(RecvError::Decode(_))));
    assert_at_end(&mut rx);
}

fn bytes_left_behind_a_value_are_an_error_that_counts_them(backend: Backend) {
    let mut rx = fed::<u8>(backend, &[&[1, 2, 3], &[4]]);
    let error = rx.recv().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the message of 3 bytes cannot be decoded: 2 bytes are left behind the value"
    );
    assert_eq!(rx.recv().unwrap(), 4);
}

/// Fails to be encoded after so many bytes, or, with none to write, is a sequence of unknown length.
enum Stubborn {
    After(usize),
    WithoutLength,
    Not,
}

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (len, written) = match self {
            Self::After(len) => (Some(len + 1), *len),
            Self::WithoutLength => (None, 0),
            Self::Not => (Some(0), 0),
        };
        let mut sequence = serializer.serialize_seq(len)?;
        (0..written).try_for_each(|_| sequence.serialize_element(&7_u8))?;
        match self {
            Self::After(_) => Err(serde::ser::Error::custom("it will not")),
            _ => sequence.end(),
        }
    }
}

fn a_value_that_cannot_be_encoded_is_an_error_and_sends_nothing(backend: Backend) {
    let (rx, mut tx) = options(backend).serde_pipe::<Stubborn>().unwrap();
    for stubborn in [
        Stubborn::After(0),
        Stubborn::After(10),
        Stubborn::After(LARGE),
        Stubborn::WithoutLength,
    ] {
        assert!(matches!(tx.send(&stubborn), Err(SendError::Encode(_))));
        assert!(matches!(
            tx.try_send(&stubborn),
            Err(TrySendError::Encode(_))
        ));
        let outcome = tx.send_timeout(&stubborn, SHORT);
        assert!(matches!(outcome, Err(SendTimeoutError::Encode(_))));
    }
    tx.send(&Stubborn::Not).unwrap();
    drop(tx);
    assert_eq!(
        rx.into_inner()
            .messages()
            .collect::<Result<Vec<_>, _>>()
            .unwrap(),
        [[0]]
    );
}

fn errors_become_those_of_io_and_name_their_cause(backend: Backend) {
    const fn error<T: Error + Send + Sync + Into<io::Error> + 'static>() {}
    const {
        error::<SendError>();
        error::<TrySendError>();
        error::<SendTimeoutError>();
        error::<RecvError>();
        error::<TryRecvError>();
        error::<RecvTimeoutError>();
    }
    let (_rx, mut tx) = options(backend).serde_pipe::<Stubborn>().unwrap();
    let error = tx.send(&Stubborn::After(1)).unwrap_err();
    assert_eq!(error.to_string(), "the value cannot be encoded");
    assert!(error.source().is_some());
    assert_eq!(io::Error::from(error).kind(), ErrorKind::InvalidInput);
    let mut rx = fed::<bool>(backend, &[&[2]]);
    let error = rx.recv().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the message of 1 bytes cannot be decoded"
    );
    assert!(error.source().is_some());
    assert_eq!(io::Error::from(error).kind(), ErrorKind::InvalidData);
    let error = rx.recv().unwrap_err();
    assert_eq!(
        error.to_string(),
        shmpipe::RecvError::Disconnected.to_string()
    );
    assert_eq!(io::Error::from(error).kind(), ErrorKind::UnexpectedEof);
}
