//! Victims that send and receive messages with descriptors: none goes with another message, and none stays
//! open.
//!
//! What travels is the reading end of a pipe, and its message is that pipe's inode. The writing ends stay with
//! the test, which sees by them whether a reading end is open anywhere.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use shmpipe::{Backend, PipeOptions, Receiver, RecvError, Sender};

use crate::support::{fork, on_both_backends, pipe, shared_counter};
use crate::walk::{Copies, Ending, count, doomed, ending, walk};

on_both_backends! {
    a_send_with_descriptors within 600,
    a_send_with_descriptors_after_a_death_within_one within 600,
    a_receive_with_descriptors within 600,
    a_receive_with_descriptors_after_a_death_within_one within 600,
}

/// Messages of the victim, and as many of whoever comes after it.
const MESSAGES: usize = 3;

fn open(backend: Backend) -> (Receiver, Sender) {
    let options = PipeOptions::new().backend(backend).descriptors(true);
    options.pipe().unwrap()
}

fn inode(fd: impl AsFd) -> [u8; 8] {
    fstat(fd).unwrap().st_ino.to_ne_bytes()
}

/// What travels, and what stays to see it by.
fn cargo() -> (Vec<File>, Vec<File>) {
    (0..MESSAGES).map(|_| pipe().unwrap()).unzip()
}

fn send_all(tx: &mut Sender, cargo: Vec<File>, returned: &AtomicU64) {
    for reader in cargo {
        tx.send_with_fds(&inode(&reader), &[reader.as_fd()])
            .unwrap();
        drop(reader);
        count(returned);
    }
}

/// Receives one message, which must have its own descriptor; returns its inode.
fn receive(rx: &mut Receiver) -> Result<([u8; 8], OwnedFd), RecvError> {
    let (message, mut fds) = rx.recv_with_fds()?;
    assert_eq!(fds.len(), 1);
    let fd = fds.remove(0);
    assert_eq!(
        *message,
        inode(&fd),
        "a descriptor came with another message"
    );
    Ok((inode(&fd), fd))
}

#[track_caller]
fn assert_closed(writers: &[File]) {
    for (number, writer) in writers.iter().enumerate() {
        let mut watched = [PollFd::new(writer.as_fd(), PollFlags::empty())];
        poll(&mut watched, PollTimeout::ZERO).unwrap();
        let found = watched[0].revents().unwrap();
        assert!(
            found.contains(PollFlags::POLLERR),
            "number {number} is open"
        );
    }
}

fn sending(backend: Backend, fatal: u64, copies: Copies, predecessor: Option<u64>) -> Ending {
    let (mut rx, mut tx) = open(backend);
    let returned = shared_counter();
    let mut writers = Vec::new();
    let mut expected = Vec::new();
    let mut killed = |at: u64| {
        let (readers, theirs) = cargo();
        expected.extend(readers.iter().map(inode));
        writers.extend(theirs);
        let mut own = tx.try_clone().unwrap();
        ending(fork(move || {
            doomed(at, || send_all(&mut own, readers, returned))
        }))
    };
    if let Some(at) = predecessor {
        killed(at);
    }
    let ending = killed(fatal);
    if copies == Copies::One {
        let (readers, theirs) = cargo();
        expected.extend(readers.iter().map(inode));
        writers.extend(theirs);
        send_all(&mut tx, readers, returned);
    }
    drop(tx);
    let mut got = Vec::new();
    loop {
        match receive(&mut rx) {
            Ok((inode, _fd)) => got.push(inode),
            Err(RecvError::Disconnected) => break,
            Err(error) => panic!("{error}"),
        }
    }
    // In order, each at most once, and all of those whose sends returned.
    let mut rest = expected.iter();
    assert!(
        got.iter().all(|inode| rest.any(|other| other == inode)),
        "{got:?} of {expected:?}"
    );
    let deaths = 1 + u64::from(predecessor.is_some());
    let sent = returned.load(Ordering::Relaxed);
    assert!(
        (sent..=sent + deaths).contains(&(got.len() as u64)),
        "{} of {sent}",
        got.len()
    );
    assert_closed(&writers);
    ending
}

fn a_send_with_descriptors(backend: Backend) {
    walk("a send with descriptors", backend, 10, |fatal, copies| {
        sending(backend, fatal, copies, None)
    });
}

fn a_send_with_descriptors_after_a_death_within_one(backend: Backend) {
    // Every death of the first within its second message, and some of the one that comes after it.
    let mut at = 0;
    loop {
        at += 1;
        for fatal in (1..).step_by(3) {
            if sending(backend, fatal, Copies::One, Some(at)) == Ending::Survived {
                break;
            }
        }
        if at == 25 {
            break;
        }
    }
}

fn receiving(backend: Backend, fatal: u64, copies: Copies, predecessor: Option<u64>) -> Ending {
    let (rx, mut tx) = open(backend);
    let mut rx = Some(rx);
    let taken = shared_counter();
    let (readers, writers) = cargo();
    let (more, others) = cargo();
    send_all(&mut tx, readers, shared_counter());
    let victim = |rx: &mut Option<Receiver>, at: u64| {
        fork(|| {
            let mut rx = rx.take().unwrap();
            doomed(at, || {
                for _ in 0..MESSAGES - 1 {
                    receive(&mut rx).unwrap();
                    count(taken);
                }
            });
        })
    };
    let mut deaths = 0;
    if let Some(at) = predecessor {
        deaths += u64::from(ending(victim(&mut rx, at)) == Ending::Killed);
        // Enough for the one that comes after it.
        send_all(&mut tx, more, shared_counter());
    } else {
        drop(more);
    }
    let child = victim(&mut rx, fatal);
    if copies == Copies::None {
        rx = None;
    }
    let ending = ending(child);
    deaths += u64::from(ending == Ending::Killed);
    if let Some(rx) = &mut rx {
        drop(tx);
        let mut got = 0;
        while let Ok((_, _fd)) = receive(rx) {
            got += 1;
        }
        let all = MESSAGES as u64 * (1 + u64::from(predecessor.is_some()));
        let accounted = got + taken.load(Ordering::Relaxed);
        assert!(
            (all - deaths..=all).contains(&accounted),
            "{accounted} of {all}"
        );
    }
    assert_closed(&writers);
    assert_closed(&others);
    ending
}

fn a_receive_with_descriptors(backend: Backend) {
    walk(
        "a receive with descriptors",
        backend,
        10,
        |fatal, copies| receiving(backend, fatal, copies, None),
    );
}

fn a_receive_with_descriptors_after_a_death_within_one(backend: Backend) {
    for at in 1..=25 {
        for fatal in (1..).step_by(3) {
            if receiving(backend, fatal, Copies::One, Some(at)) == Ending::Survived {
                break;
            }
        }
    }
}
