//! A sender that dies inside a message just while a receiver finds out whether the message is whole.
//!
//! The receiver is stopped there by ptrace(2), before it asks a kernel pipe for what is in it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use shmpipe::{Backend, Receiver, RecvError, Sender};

use crate::ends::{CAPACITY, FILLER, open};
use crate::support::{Child, check, fork, on_both_backends, pattern, skipped};

on_both_backends! {
    a_message_cut_short_at_the_end_of_a_batch_is_reported_by_the_next_receive,
    a_message_cut_short_behind_a_read_is_reported_by_the_next_receive,
}

/// Messages that are there before the one that is cut short, with which they fill the pipe.
const BEFORE: u64 = 40;

/// Messages that come behind it; with what is left of it more than it would have been.
const BEHIND: u64 = 25;

/// Fits an empty pipe of [`CAPACITY`] bytes.
const LONG: usize = 30_000;

fn queued(fd: BorrowedFd<'_>) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, to a live one.
    let outcome = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    assert_eq!(outcome, 0);
    usize::try_from(bytes).unwrap()
}

/// Runs a child that makes `calls` of which the first takes the messages before, and has the sender of the long one die
/// when that asks for the rest.
fn while_it_looks(backend: Backend, first: fn(&mut Receiver)) {
    let (mut rx, mut tx) = open(backend);
    for number in 0..BEFORE {
        tx.send(&pattern(1, number, FILLER)).unwrap();
    }
    let dying = fork(|| tx.send(&pattern(2, 0, LONG)).unwrap());
    dying.until_asleep();
    dying.stop();
    let pipe = rx.as_fds().unwrap()[1]
        .as_fd()
        .try_clone_to_owned()
        .unwrap();
    let receiver = fork(|| {
        if ptrace::traceme().is_err() {
            return skipped("ptrace(2) is refused");
        }
        raise(Signal::SIGSTOP).unwrap();
        first(&mut rx);
        raise(Signal::SIGSTOP).unwrap();
        assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
        for number in 0..BEHIND {
            check(&rx.recv().unwrap(), 3, number, FILLER);
        }
    });
    let pid = receiver.pid();
    if !matches!(
        waitpid(pid, None),
        Ok(WaitStatus::Stopped(_, Signal::SIGSTOP))
    ) {
        return;
    }
    // A frame has 16 bytes beside the message.
    let before = BEFORE as usize * (FILLER + 16) + 8;
    let left = (backend == Backend::Kernel).then(|| queued(pipe.as_fd()) - before);
    until_it_asks(pid, || Some(queued(pipe.as_fd())) == left);
    cut_short(dying, &mut tx);
    ptrace::cont(pid, None).unwrap();
    if left.is_some() {
        // At the end of the first call.
        assert!(matches!(
            waitpid(pid, None),
            Ok(WaitStatus::Stopped(_, Signal::SIGSTOP))
        ));
        ptrace::cont(pid, None).unwrap();
    }
    receiver.join();
}

/// Lets the child go on until it stops by itself, or asks for what is in a pipe and `is_due`.
fn until_it_asks(pid: Pid, is_due: impl Fn() -> bool) {
    loop {
        ptrace::syscall(pid, None).unwrap();
        match waitpid(pid, None).unwrap() {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            WaitStatus::Stopped(_, Signal::SIGSTOP) => return,
            other => panic!("{other:?} in the middle of the call"),
        }
        let registers = ptrace::getregs(pid).unwrap();
        let asks = registers.orig_rax == libc::SYS_ioctl as u64 && registers.rsi == libc::FIONREAD;
        if asks && is_due() {
            return;
        }
    }
}

fn cut_short(dying: Child, tx: &mut Sender) {
    dying.kill();
    for number in 0..BEHIND {
        tx.send(&pattern(3, number, FILLER)).unwrap();
    }
}

fn a_message_cut_short_at_the_end_of_a_batch_is_reported_by_the_next_receive(backend: Backend) {
    while_it_looks(backend, |rx| {
        let mut next = 0;
        while next < BEFORE {
            for message in rx.recv_batch().unwrap() {
                check(message, 1, next, FILLER);
                next += 1;
            }
        }
        assert_eq!(next, BEFORE);
    });
}

fn a_message_cut_short_behind_a_read_is_reported_by_the_next_receive(backend: Backend) {
    while_it_looks(backend, |rx| {
        let mut bytes = vec![0; 2 * CAPACITY];
        let mut filled = 0;
        while filled < BEFORE as usize * FILLER {
            filled += std::io::Read::read(rx, &mut bytes[filled..]).unwrap();
        }
        assert_eq!(filled, BEFORE as usize * FILLER);
    });
}
