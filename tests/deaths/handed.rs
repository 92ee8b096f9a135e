//! Deaths of executed programs that were handed an end, and of senders and receivers of descriptors: whole
//! messages in order and then the end, each descriptor with its own message, and none left open.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use shmpipe::{Backend, PipeOptions, Receiver, RecvError, Sender};

use crate::ends::{assert_at_end, assert_breaks, open};
use crate::support::{
    Child, Line, Random, Tasks, check, fork, fork_apart, holdings, long, on_both_backends,
    open_fds, pattern, pipe, program, run_task,
};

on_both_backends! {
    a_program_killed_at_any_moment_leaves_whole_messages_and_the_end within 120,
    a_program_killed_while_it_receives_breaks_the_pipe within 120,
    senders_and_receivers_of_descriptors_die_at_any_moment_and_nothing_is_mixed_up within 120,
    an_end_under_way_dies_with_the_process_that_was_to_receive_it,
}

const TASKS: Tasks = &[("send", send), ("receive", receive)];

#[test]
fn a_binary_that_was_executed_for_a_task_does_it() {
    run_task(TASKS);
}

const ENTRY: &str = "handed::a_binary_that_was_executed_for_a_task_does_it";

fn rounds(short: u32) -> u32 {
    if long() { 50 * short } else { short }
}

/// Chooses a moment; nothing depends on how long it is.
fn a_moment(random: &mut Random, most_micros: u64) {
    std::thread::sleep(Duration::from_micros(random.below_u64(most_micros)));
}

fn size(number: u64) -> usize {
    8 + usize::try_from(number * 37 % 1500).unwrap()
}

fn a_program_killed_at_any_moment_leaves_whole_messages_and_the_end(backend: Backend) {
    let mut random = Random::new(11);
    drop(open(backend));
    let before = open_fds();
    for _ in 0..rounds(40) {
        let (mut rx, tx) = open(backend);
        let mut command = program(ENTRY, "send");
        tx.inherit(&mut command, "END").unwrap();
        let mut child = command.spawn().unwrap();
        drop(command);
        // Some die before they have taken the end, others in the middle of their work.
        a_moment(&mut random, 8000);
        let mut number = 0;
        let several = random.below_u64(20);
        for _ in 0..several {
            check(&rx.recv().unwrap(), 1, number, size(number));
            number += 1;
        }
        child.kill().unwrap();
        loop {
            match rx.recv() {
                Ok(message) => check(&message, 1, number, size(number)),
                Err(RecvError::Disconnected) => break,
                Err(error) => panic!("after {number} messages: {error}"),
            }
            number += 1;
        }
        assert_at_end(&mut rx);
        child.wait().unwrap();
    }
    assert_eq!(open_fds(), before);
}

fn send() {
    let mut tx = Sender::from_env("END").unwrap();
    for number in 0.. {
        tx.send(&pattern(1, number, size(number))).unwrap();
    }
}

fn a_program_killed_while_it_receives_breaks_the_pipe(backend: Backend) {
    let mut random = Random::new(13);
    drop(open(backend));
    let before = open_fds();
    for _ in 0..rounds(40) {
        let (rx, mut tx) = open(backend);
        let mut command = program(ENTRY, "receive");
        rx.inherit(&mut command, "END").unwrap();
        let mut child = command.spawn().unwrap();
        drop(command);
        for number in 0..random.below_u64(500) {
            tx.send(&pattern(1, number, size(number))).unwrap();
        }
        child.kill().unwrap();
        assert_breaks(&mut tx);
        child.wait().unwrap();
    }
    assert_eq!(open_fds(), before);
}

fn receive() {
    let mut rx = Receiver::from_env("END").unwrap();
    for number in 0.. {
        check(&rx.recv().unwrap(), 1, number, size(number));
    }
}

fn open_carrying(backend: Backend) -> (Receiver, Sender) {
    let options = PipeOptions::new().backend(backend).descriptors(true);
    options.pipe().unwrap()
}

fn inode(fd: impl AsFd) -> [u8; 8] {
    fstat(fd).unwrap().st_ino.to_ne_bytes()
}

/// Sends pipes' reading ends without end, each with its inode, and ordinary messages between.
fn send_readers(tx: &mut Sender, readers: &[File]) {
    for reader in readers.iter().cycle() {
        tx.send_with_fds(&inode(reader), &[reader.as_fd()]).unwrap();
        tx.send(b"no descriptor").unwrap();
    }
}

/// Receives so many messages, each of which must come with its own descriptors.
fn receive_readers(rx: &mut Receiver, most: u64) -> u64 {
    for received in 0..most {
        match rx.recv_with_fds() {
            Ok((message, fds)) if fds.is_empty() => assert_eq!(&*message, b"no descriptor"),
            Ok((message, fds)) => {
                assert_eq!(fds.len(), 1);
                assert_eq!(*message, inode(&fds[0]), "another message's descriptor");
            }
            Err(RecvError::Disconnected) => return received,
            Err(error) => panic!("{error}"),
        }
    }
    most
}

fn senders_and_receivers_of_descriptors_die_at_any_moment_and_nothing_is_mixed_up(
    backend: Backend,
) {
    let mut random = Random::new(17);
    drop(open_carrying(backend));
    let before = holdings();
    for _ in 0..rounds(30) {
        let (mut rx, mut tx) = open_carrying(backend);
        let (readers, writers): (Vec<File>, Vec<File>) = (0..4).map(|_| pipe().unwrap()).unzip();
        let sender = |tx: &mut Sender| fork(|| send_readers(tx, &readers));
        let receiver = |rx: &mut Receiver| {
            fork(|| {
                receive_readers(rx, u64::MAX);
            })
        };
        let mut senders: Vec<Child> = (0..2).map(|_| sender(&mut tx)).collect();
        let mut receivers: Vec<Child> = (0..2).map(|_| receiver(&mut rx)).collect();
        for _ in 0..6 {
            a_moment(&mut random, 2000);
            if random.below_u64(2) == 0 {
                senders.swap_remove(0).kill();
                senders.push(sender(&mut tx));
            } else {
                receivers.swap_remove(0).kill();
                receivers.push(receiver(&mut rx));
            }
        }
        senders.into_iter().for_each(Child::kill);
        receivers.into_iter().for_each(Child::kill);
        // One that comes after them all finds the pipe as good as ever.
        let (heir, mut rx) = fork_apart(rx, || {
            tx.send_with_fds(&inode(&readers[0]), &[readers[0].as_fd()])
                .unwrap();
        });
        drop(tx);
        assert!(receive_readers(&mut rx, u64::MAX) > 0);
        heir.join();
        drop(readers);
        for writer in &writers {
            let mut watched = [PollFd::new(writer.as_fd(), PollFlags::empty())];
            poll(&mut watched, PollTimeout::ZERO).unwrap();
            let found = watched[0].revents().unwrap();
            assert!(found.contains(PollFlags::POLLERR), "a descriptor is left");
        }
    }
    let now = holdings();
    assert!(now.is_flat_since(&before, 4 << 20), "{before:?} {now:?}");
}

fn an_end_under_way_dies_with_the_process_that_was_to_receive_it(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let (mut end, travelling) = open(backend);
    tx.send_with_end(b"", travelling).unwrap();
    let (victim, tx) = fork_apart(tx, || {
        let (_, _arrived) = rx.recv_with_end::<Sender>().unwrap();
        Line::new().wait();
    });
    drop(tx);
    drop(rx);
    victim.until_asleep();
    assert!(!end.poll(Some(Duration::ZERO)).unwrap());
    victim.kill();
    assert_at_end(&mut end);
}
