//! Ends of encoded values, from a hostile peer: whatever the bytes, a value or an error.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shmpipe::Backend;
use shmpipe::serde::{Receiver, RecvError, Sender};

use crate::ends::open;
use crate::serde::{Everything, Shape, everything, fed};
use crate::support::{Random, on_both_backends};

on_both_backends! {
    a_claimed_length_without_the_bytes_is_an_error,
    elements_without_bytes_are_an_error_when_they_are_too_many,
    as_many_elements_as_there_may_be_are_received,
    a_value_that_nests_too_deep_is_an_error,
    a_value_as_deep_as_it_may_be_is_received_on_the_stack_of_a_thread,
    a_type_that_puts_up_with_errors_gets_no_further,
    values_beside_each_other_are_not_deep,
    changed_messages_are_values_or_errors,
    messages_of_any_bytes_are_values_or_errors,
}

/// The longest length that can be claimed: 2^64 - 1 as a varint.
const MOST: [u8; 10] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];

#[track_caller]
fn refused<T: DeserializeOwned + Debug>(backend: Backend, message: &[u8]) -> String {
    let mut rx = fed::<T>(backend, &[message]);
    match rx.recv() {
        Err(RecvError::Decode(error)) => error.to_string(),
        outcome => panic!("{outcome:?}"),
    }
}

fn a_claimed_length_without_the_bytes_is_an_error(backend: Backend) {
    let mut longer = MOST.to_vec();
    longer.extend([7; 100]);
    for message in [&MOST[..], &longer] {
        refused::<String>(backend, message);
        refused::<Vec<u8>>(backend, message);
        refused::<Vec<[u64; 32]>>(backend, message);
        refused::<Vec<Vec<String>>>(backend, message);
        refused::<VecDeque<u64>>(backend, message);
        refused::<HashMap<u64, u64>>(backend, message);
        refused::<BTreeSet<u128>>(backend, message);
        refused::<Box<[Option<u8>]>>(backend, message);
    }
}

fn elements_without_bytes_are_an_error_when_they_are_too_many(backend: Backend) {
    #[derive(Deserialize, PartialEq, Eq, Hash, Debug)]
    struct Nothing;
    let expected = "the value has more than 65546 elements";
    for text in [
        refused::<Vec<()>>(backend, &MOST),
        refused::<Vec<Nothing>>(backend, &MOST),
        refused::<HashMap<Nothing, ()>>(backend, &MOST),
        refused::<Vec<[(); 3]>>(backend, &MOST),
    ] {
        assert!(text.ends_with(expected), "{text}");
    }
    // All sequences of a message together have one allowance.
    let text = refused::<Vec<Vec<()>>>(backend, &[3, 0xff, 0xff, 2, 0xff, 0xff, 2, 0]);
    assert!(text.ends_with("more than 65544 elements"), "{text}");
}

fn as_many_elements_as_there_may_be_are_received(backend: Backend) {
    // 65,539 as a varint takes three bytes.
    let mut rx = fed::<Vec<()>>(backend, &[&[0x83, 0x80, 4], &[0x84, 0x80, 4]]);
    assert_eq!(rx.recv().unwrap().len(), 65_539);
    assert!(matches!(rx.recv(), Err(RecvError::Decode(_))));
}

/// Each level is one byte of a message.
#[derive(Serialize, Deserialize, Debug)]
enum Chain {
    End,
    Link(Box<Chain>),
}

/// Each level is an option and a struct.
#[derive(Deserialize, Debug)]
#[allow(dead_code, reason = "only whether it can be decoded matters")]
struct Node {
    payload: u8,
    next: Option<Box<Node>>,
}

#[derive(Deserialize, Debug)]
#[allow(dead_code, reason = "only whether it can be decoded matters")]
struct Onion(Vec<Onion>);

fn a_value_that_nests_too_deep_is_an_error(backend: Backend) {
    let expected = "the value nests deeper than 128 levels";
    let million = vec![1; 1_000_000];
    let (rx, mut tx) = open(backend);
    let mut rx = Receiver::<Chain>::from(rx);
    std::thread::scope(|scope| {
        scope.spawn(|| tx.send(&million).unwrap());
        let error = rx.recv().unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
    });
    for text in [
        refused::<Chain>(backend, &[1; 129]),
        refused::<Node>(backend, &[1; 10_000]),
        refused::<Onion>(backend, &[1; 10_000]),
        refused::<Shape>(backend, &[3, 1, b'x', 1].repeat(3_000)),
    ] {
        assert!(text.ends_with(expected), "{text}");
    }
}

fn a_value_as_deep_as_it_may_be_is_received_on_the_stack_of_a_thread(backend: Backend) {
    let (rx, tx) = open(backend);
    let (mut rx, mut tx) = (Receiver::<Chain>::from(rx), Sender::<Chain>::from(tx));
    let chain = |links| (0..links).fold(Chain::End, |chain, _| Chain::Link(Box::new(chain)));
    tx.send(&chain(127)).unwrap();
    tx.send(&chain(128)).unwrap();
    // The default of std is 2 MiB; half of that leaves room for what the caller is in.
    let small = std::thread::Builder::new().stack_size(1 << 20);
    let receiver = small.spawn(move || {
        let mut links = 0;
        let mut chain = &rx.recv().unwrap();
        while let Chain::Link(next) = chain {
            links += 1;
            chain = next;
        }
        assert_eq!(links, 127);
        assert!(matches!(rx.recv(), Err(RecvError::Decode(_))));
    });
    receiver.unwrap().join().unwrap();
}

/// Takes an error inside for the end of its list.
#[derive(Debug, Default)]
struct Lenient(#[allow(dead_code, reason = "only how deep it goes matters")] Option<Box<Lenient>>);

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let inner = Option::<Box<Self>>::deserialize(deserializer);
        Ok(Self(inner.unwrap_or_default()))
    }
}

fn a_type_that_puts_up_with_errors_gets_no_further(backend: Backend) {
    let text = refused::<Lenient>(backend, &[1; 10_000]);
    assert!(text.ends_with("deeper than 128 levels"), "{text}");
}

fn values_beside_each_other_are_not_deep(backend: Backend) {
    let (mut rx, mut tx) = {
        let (rx, tx) = open(backend);
        (
            Receiver::<Vec<Option<Shape>>>::from(rx),
            Sender::<Vec<Option<Shape>>>::from(tx),
        )
    };
    let many = vec![Some(Shape::Number(1)); 10_000];
    tx.send(&many).unwrap();
    assert_eq!(rx.recv().unwrap(), many);
}

/// Decodes each message, which must not panic, and returns how many were values.
fn survives<T: DeserializeOwned>(
    backend: Backend,
    mut messages: impl Iterator<Item = Vec<u8>>,
) -> usize {
    let (rx, mut tx) = open(backend);
    let mut rx = Receiver::<T>::from(rx);
    let mut values = 0;
    messages.by_ref().for_each(|message| {
        tx.send(&message).unwrap();
        match rx.recv() {
            Ok(_) => values += 1,
            Err(RecvError::Decode(_)) => {}
            Err(error) => panic!("{error}"),
        }
    });
    values
}

const ROUNDS: usize = 3_000;

fn changed_messages_are_values_or_errors(backend: Backend) {
    let (rx, tx) = open(backend);
    Sender::from(tx).send(&everything()).unwrap();
    let mut rx = rx;
    let original = rx.recv().unwrap().into_vec();
    let mut random = Random::from_environment();
    let messages = (0..ROUNDS).map(|_| {
        let mut message = original.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(message.len());
            match random.below(3) {
                0 => message[at] = random.below(256) as u8,
                1 => message[at] = random.pick(&[0, 1, 0x7f, 0x80, 0xff]),
                _ => message.truncate(at.max(1)),
            }
        }
        message
    });
    let values = survives::<Everything>(backend, messages);
    assert!(0 < values && values < ROUNDS, "{values} values");
}

fn messages_of_any_bytes_are_values_or_errors(backend: Backend) {
    let mut random = Random::from_environment();
    let messages = (0..ROUNDS).map(|_| {
        let len = random.below(40);
        // Small numbers are often lengths and variants that make sense.
        let most = random.pick(&[3, 16, 256]);
        (0..len).map(|_| random.below(most) as u8).collect()
    });
    let values = survives::<Vec<Shape>>(backend, messages);
    assert!(0 < values && values < ROUNDS, "{values} values");
}
