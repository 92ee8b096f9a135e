//! Ends of values that travel, are inherited and waited for as the byte ends below them.

use std::time::Duration;

use shmpipe::typed::{self, Connection, Receiver, Sender};
use shmpipe::{Backend, RecvError, Waitable, wait};

use crate::ancillary::open_carrying;
use crate::inherit::program;
use crate::support::{ends_well, fork, on_both_backends};
use crate::typed::{SAMPLE, Sample, assert_at_end, options, pipe};

on_both_backends! {
    a_typed_end_travels_in_a_message,
    a_typed_end_that_travelled_is_a_byte_end_too_and_of_its_kind_only,
    a_typed_connection_is_inherited_by_a_program,
    the_end_comes_when_a_program_that_was_handed_a_typed_end_is_killed,
    typed_ends_are_taken_apart_and_put_together,
    wait_tells_typed_ends_that_are_ready,
    typed_ends_tell_who_holds_the_other_side,
}

const NOW: Option<Duration> = Some(Duration::ZERO);

fn a_typed_end_travels_in_a_message(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let (mut samples, travelling) = pipe::<Sample>(backend);
    tx.send_with_end(b"samples, please", travelling).unwrap();
    let (message, mut end) = rx.recv_with_end::<Sender<Sample>>().unwrap();
    assert_eq!(&*message, b"samples, please");
    end.send(&SAMPLE).unwrap();
    drop(end);
    assert_eq!(samples.recv().unwrap(), SAMPLE);
    assert_at_end(&mut samples);
}

fn a_typed_end_that_travelled_is_a_byte_end_too_and_of_its_kind_only(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let (mut bytes, travelling) = pipe::<u16>(backend);
    let second = travelling.try_clone().unwrap();
    tx.send_with_end(b"", travelling).unwrap();
    let (_, mut end) = rx.recv_with_end::<shmpipe::Sender>().unwrap();
    end.send(&7_u16.to_ne_bytes()).unwrap();
    assert_eq!(bytes.recv().unwrap(), 7);
    tx.send_with_end(b"", second).unwrap();
    let outcome = rx.recv_with_end::<Receiver<u16>>();
    assert!(matches!(outcome, Err(RecvError::Io(_))));
    drop(end);
    assert_at_end(&mut bytes);
}

fn a_typed_connection_is_inherited_by_a_program(backend: Backend) {
    let (mut here, there) = options(backend).typed_duplex::<u32, u64>().unwrap();
    let mut command = program("typed");
    there.inherit(&mut command, "SQUARES").unwrap();
    let child = command.spawn().unwrap();
    drop(command);
    for number in 0..10 {
        here.send(&number).unwrap();
        assert_eq!(here.recv().unwrap(), u64::from(number).pow(2));
    }
    let (mut rx, tx) = here.split();
    drop(tx);
    assert_at_end(&mut rx);
    ends_well(child);
}

pub(crate) fn squares() {
    let (mut rx, mut tx) = Connection::<u64, u32>::from_env("SQUARES").unwrap().split();
    for number in rx.messages() {
        tx.send(&u64::from(number.unwrap()).pow(2)).unwrap();
    }
}

fn the_end_comes_when_a_program_that_was_handed_a_typed_end_is_killed(backend: Backend) {
    let (mut here, there) = options(backend).typed_duplex::<u32, u64>().unwrap();
    let mut command = program("typed");
    there.inherit(&mut command, "SQUARES").unwrap();
    let mut child = command.spawn().unwrap();
    drop(command);
    here.send(&3).unwrap();
    assert_eq!(here.recv().unwrap(), 9);
    child.kill().unwrap();
    let (mut rx, _tx) = here.split();
    assert_at_end(&mut rx);
    child.wait().unwrap();
}

fn typed_ends_are_taken_apart_and_put_together(backend: Backend) {
    let (rx, tx) = pipe::<Sample>(backend);
    let (rx, tx) = (rx.into_fds().unwrap(), tx.into_fds().unwrap());
    // SAFETY: they come from `into_fds` of a receiver.
    let mut rx = unsafe { Receiver::<Sample>::from_fds(rx) }.unwrap();
    // SAFETY: they come from `into_fds` of a sender.
    let mut tx = unsafe { Sender::<Sample>::from_fds(tx) }.unwrap();
    tx.send(&SAMPLE).unwrap();
    drop(tx);
    assert_eq!(rx.recv().unwrap(), SAMPLE);
    assert_at_end(&mut rx);

    let (mut left, right) = options(backend).typed_duplex::<u32, u64>().unwrap();
    let right = right.into_fds().unwrap();
    // SAFETY: they come from `into_fds` of a connection.
    let mut right = unsafe { Connection::<u64, u32>::from_fds(right) }.unwrap();
    left.send(&7).unwrap();
    right.send(&8).unwrap();
    assert_eq!((right.recv().unwrap(), left.recv().unwrap()), (7, 8));
}

fn wait_tells_typed_ends_that_are_ready(backend: Backend) {
    let (mut rx, mut tx) = pipe::<u8>(backend);
    let (mut left, mut right) = typed::duplex::<u8, u8>().unwrap();
    let ready = |rx: &mut Receiver<u8>, left: &mut Connection<u8, u8>| {
        let ends: &mut [&mut dyn Waitable] = &mut [rx, left];
        wait(ends, NOW).unwrap()
    };
    assert!(ready(&mut rx, &mut left).is_empty());
    right.send(&1).unwrap();
    assert_eq!(ready(&mut rx, &mut left), [1]);
    tx.send(&2).unwrap();
    assert_eq!(ready(&mut rx, &mut left), [0, 1]);
    left.recv().unwrap();
    assert_eq!(ready(&mut rx, &mut left), [0]);
    assert_eq!(wait(&mut [&mut tx], None).unwrap(), [0], "it has room");
}

fn typed_ends_tell_who_holds_the_other_side(backend: Backend) {
    // In a process of its own, since other tests fork copies of all that is open here.
    fork(|| {
        let (rx, tx) = pipe::<u8>(backend);
        let (left, right) = options(backend).typed_duplex::<u8, u8>().unwrap();
        let us = [std::process::id()];
        let ids = |holders: std::io::Result<Vec<shmpipe::Holder>>| {
            let holders = holders.unwrap();
            holders.iter().map(shmpipe::Holder::id).collect::<Vec<_>>()
        };
        assert_eq!(ids(rx.holders()), us);
        assert_eq!(ids(tx.holders()), us);
        assert_eq!(ids(left.holders()), us, "once, by two halves");
        drop(rx);
        assert!(ids(tx.holders()).is_empty());
        let (half, _) = right.split();
        assert_eq!(ids(left.holders()), us);
        drop(half);
        assert!(ids(left.holders()).is_empty());
    })
    .join();
}
