//! Ends of encoded values that travel, are inherited, taken apart and waited for as the byte ends below them.

use std::collections::BTreeMap;
use std::time::Duration;

use shmpipe::serde::{Connection, Receiver, RecvError, Sender};
use shmpipe::{Backend, Waitable, wait};

use crate::ancillary::open_carrying;
use crate::inherit::program;
use crate::serde::{assert_at_end, options};
use crate::support::{ends_well, fork, on_both_backends};

on_both_backends! {
    an_end_of_values_travels_in_a_message,
    an_end_of_values_is_inherited_by_a_program,
    the_end_comes_when_a_program_that_was_handed_an_end_of_values_is_killed,
    ends_of_values_are_taken_apart_and_put_together,
    wait_tells_ends_of_values_that_are_ready,
    ends_of_values_tell_who_holds_the_other_side,
}

type Counts = BTreeMap<String, u32>;

fn counts() -> Counts {
    Counts::from([("a".into(), 1), ("b".into(), 2)])
}

fn an_end_of_values_travels_in_a_message(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let (mut end, travelling) = options(backend).serde_pipe::<Counts>().unwrap();
    tx.send_with_end(b"tell me", travelling).unwrap();
    let (message, mut arrived) = rx.recv_with_end::<Sender<Counts>>().unwrap();
    assert_eq!(&*message, b"tell me");
    arrived.send(&counts()).unwrap();
    drop(arrived);
    assert_eq!(end.recv().unwrap(), counts());
    assert_at_end(&mut end);
}

fn an_end_of_values_is_inherited_by_a_program(backend: Backend) {
    let (mut here, there) = options(backend).serde_duplex::<String, u64>().unwrap();
    let mut command = program("serde");
    there.inherit(&mut command, "LENGTHS").unwrap();
    let child = command.spawn().unwrap();
    drop(command);
    for len in 0..10 {
        here.send(&"x".repeat(len)).unwrap();
        assert_eq!(here.recv().unwrap(), len as u64);
    }
    let (mut rx, tx) = here.split();
    drop(tx);
    assert_at_end(&mut rx);
    ends_well(child);
}

pub(crate) fn lengths() {
    let end = Connection::<u64, String>::from_env("LENGTHS").unwrap();
    let (mut rx, mut tx) = end.split();
    for text in rx.messages() {
        tx.send(&(text.unwrap().len() as u64)).unwrap();
    }
}

fn the_end_comes_when_a_program_that_was_handed_an_end_of_values_is_killed(backend: Backend) {
    let (mut here, there) = options(backend).serde_duplex::<String, u64>().unwrap();
    let mut command = program("serde");
    there.inherit(&mut command, "LENGTHS").unwrap();
    let mut child = command.spawn().unwrap();
    drop(command);
    here.send(&"one".into()).unwrap();
    assert_eq!(here.recv().unwrap(), 3);
    child.kill().unwrap();
    assert!(matches!(
        here.recv(),
        Err(RecvError::Pipe(shmpipe::RecvError::Disconnected))
    ));
    child.wait().unwrap();
}

fn ends_of_values_are_taken_apart_and_put_together(backend: Backend) {
    let (rx, tx) = options(backend).serde_pipe::<Counts>().unwrap();
    let (rx, tx) = (rx.into_fds().unwrap(), tx.into_fds().unwrap());
    // SAFETY: they come from `into_fds` of a receiver.
    let mut rx = unsafe { Receiver::<Counts>::from_fds(rx) }.unwrap();
    // SAFETY: they come from `into_fds` of a sender.
    let mut tx = unsafe { Sender::<Counts>::from_fds(tx) }.unwrap();
    tx.send(&counts()).unwrap();
    drop(tx);
    assert_eq!(rx.recv().unwrap(), counts());
    assert_at_end(&mut rx);

    let (mut left, right) = options(backend).serde_duplex::<u64, String>().unwrap();
    let right = right.into_fds().unwrap();
    // SAFETY: they come from `into_fds` of a connection.
    let mut right = unsafe { Connection::<String, u64>::from_fds(right) }.unwrap();
    left.send(&7).unwrap();
    right.send(&"seven".into()).unwrap();
    assert_eq!(right.recv().unwrap(), 7);
    assert_eq!(left.recv().unwrap(), "seven");
}

fn wait_tells_ends_of_values_that_are_ready(backend: Backend) {
    let (mut rx, mut tx) = options(backend).serde_pipe::<u64>().unwrap();
    let (mut left, mut right) = options(backend).serde_duplex::<u64, u64>().unwrap();
    let ready = |rx: &mut Receiver<u64>, left: &mut Connection<u64, u64>| {
        let ends: &mut [&mut dyn Waitable] = &mut [rx, left];
        wait(ends, Some(Duration::ZERO)).unwrap()
    };
    assert!(ready(&mut rx, &mut left).is_empty());
    right.send(&1).unwrap();
    assert_eq!(ready(&mut rx, &mut left), [1]);
    tx.send(&2).unwrap();
    assert_eq!(ready(&mut rx, &mut left), [0, 1]);
    left.recv().unwrap();
    assert_eq!(ready(&mut rx, &mut left), [0]);
    drop(right);
    assert_eq!(ready(&mut rx, &mut left), [0, 1], "one is at its end");
    assert_eq!(wait(&mut [&mut tx], None).unwrap(), [0], "it has room");
}

fn ends_of_values_tell_who_holds_the_other_side(backend: Backend) {
    // In a process of its own, since a test's harness may fork copies of all that is open here.
    fork(|| {
        let (rx, tx) = options(backend).serde_pipe::<u64>().unwrap();
        let (left, right) = options(backend).serde_duplex::<u64, u64>().unwrap();
        let us = [std::process::id()];
        let ids = |holders: std::io::Result<Vec<shmpipe::Holder>>| {
            let holders = holders.unwrap();
            holders.iter().map(shmpipe::Holder::id).collect::<Vec<_>>()
        };
        assert_eq!(ids(rx.holders()), us);
        assert_eq!(ids(left.holders()), us, "once, by two halves");
        drop((rx, right));
        assert!(ids(tx.holders()).is_empty());
        assert!(ids(left.holders()).is_empty());
    })
    .join();
}
