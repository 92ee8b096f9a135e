//! Values encoded by postcard.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shmpipe::serde::Receiver;
use shmpipe::{Backend, PipeOptions};

use crate::counting::asked_by;
use crate::support::on_both_backends;

on_both_backends! {
    values_that_hold_no_memory_are_sent_and_received_without_an_allocation,
    a_large_value_does_not_leave_its_buffer_behind,
    a_claimed_length_is_not_allocated,
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
enum Order {
    Move { x: f64, y: f64 },
    Stop,
}

fn values_that_hold_no_memory_are_sent_and_received_without_an_allocation(backend: Backend) {
    let options = PipeOptions::new().backend(backend);
    let (mut rx, mut tx) = options.serde_pipe::<(u64, Order)>().unwrap();
    let mut rounds = |count| {
        // All of one length, so that the buffers have it after the first.
        for number in u64::MAX - count..u64::MAX {
            tx.send(&(number, Order::Move { x: 1.0, y: -1.0 })).unwrap();
            assert!(matches!(rx.recv(), Ok((_, Order::Move { .. }))));
            tx.send(&(number, Order::Stop)).unwrap();
            assert_eq!(rx.try_recv().unwrap(), (number, Order::Stop));
            assert!(rx.try_recv().is_err());
        }
    };
    rounds(1);
    let asked = asked_by(|| rounds(1000));
    assert_eq!(asked.requests, 0, "{asked:?}");
}

fn a_large_value_does_not_leave_its_buffer_behind(backend: Backend) {
    const LARGE: usize = 8 << 20;
    let options = PipeOptions::new().backend(backend).capacity(1 << 20);
    let (mut rx, mut tx) = options.serde_pipe::<Vec<u8>>().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| tx.send(&vec![7; LARGE]).unwrap());
        assert_eq!(rx.recv().unwrap().len(), LARGE);
    });
    // The buffer shrinks at the next send, for which the allocator is asked; then it is kept.
    tx.send(&vec![1]).unwrap();
    assert_eq!(rx.recv().unwrap(), [1]);
    let small = vec![2];
    let asked = asked_by(|| tx.send(&small).unwrap());
    assert_eq!(asked.requests, 0, "{asked:?}");
    assert_eq!(rx.recv().unwrap(), [2]);
}

/// The longest length that can be claimed: 2^64 - 1 as a varint; and then some elements.
const CLAIM: [u8; 14] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1, 1, 1, 1,
];

/// The largest block that decoding the claim asks for.
fn largest<T: DeserializeOwned>(backend: Backend) -> usize {
    let (rx, mut tx) = PipeOptions::new().backend(backend).pipe().unwrap();
    let mut rx = Receiver::<T>::from(rx);
    tx.send(&CLAIM).unwrap();
    asked_by(|| assert!(rx.recv().is_err())).largest
}

fn a_claimed_length_is_not_allocated(backend: Backend) {
    // What serde sets aside at most for elements that have not come, and a table for as many.
    const MOST: usize = 3 << 20;
    for (largest, what) in [
        (largest::<Vec<u8>>(backend), "bytes"),
        (largest::<String>(backend), "text"),
        (largest::<Vec<[u64; 32]>>(backend), "large elements"),
        (largest::<Vec<Vec<Vec<u64>>>>(backend), "vectors of vectors"),
        (largest::<HashMap<u64, [u64; 32]>>(backend), "a map"),
        (largest::<Box<[()]>>(backend), "nothings"),
    ] {
        assert!(largest <= MOST, "{largest} bytes for {what}");
    }
}
