//! A process that locks itself in, by a seccomp(2) filter, when it already has its end of a pipe: a
//! refused call is an error that names it, or is done without, and nobody waits for ever because of it.

use std::io;
use std::sync::atomic::Ordering;

use libc::c_long;
use nix::unistd::Pid;
use shmpipe::{Backend, Receiver, RecvError, SendError, Sender};

use crate::ends::{CAPACITY, FILLER, LARGE, open};
use crate::support::{
    calls, check, doing, fork, fork_apart, gettid, on_both_backends, pattern, shared_counter,
    until_asleep,
};

on_both_backends! {
    a_sender_that_is_refused_a_call_says_so_or_sends_without,
    a_batch_counts_what_was_sent_also_where_waking_is_refused,
    a_receiver_that_is_refused_a_call_says_so_or_receives_without,
    a_sender_that_may_not_wait_says_so_and_the_receiver_gets_the_end,
    a_receiver_that_may_not_wait_says_so_and_the_sender_a_broken_pipe,
    a_receiver_that_may_not_wake_a_blocked_sender_says_so,
    ends_that_may_not_look_at_processes_go_on,
}

/// How a filter answers.
const REFUSALS: [i32; 3] = [libc::EPERM, libc::EACCES, libc::ENOSYS];

/// Asserts that `error` has the kind of `errno` and names the call.
#[track_caller]
fn assert_names(error: &io::Error, name: &str, errno: i32) {
    let plain = io::Error::from_raw_os_error(errno);
    assert_eq!(error.kind(), plain.kind(), "{error}");
    assert_eq!(shmpipe::raw_os_error(error), Some(errno), "{error}");
    let text = error.to_string();
    assert!(
        text.contains(name) && text.contains(&plain.to_string()),
        "{text}"
    );
}

/// The calling thread, for others to see it fall asleep.
fn this_thread() -> (Pid, Pid) {
    (nix::unistd::getpid(), gettid())
}

/// Sends, as somebody whose peer sleeps, one small message and one that is longer than the pipe.
fn send_both(tx: &mut Sender, receiver: (Pid, Pid)) -> Result<(), SendError> {
    until_asleep(&[receiver]);
    tx.send(b"waited for")?;
    tx.send(&pattern(1, 1, LARGE))
}

/// Receives what [`send_both`] sends and then the end, or just the end, after what could be sent.
fn receive_both(mut rx: Receiver, all: bool) {
    doing("a message from the sandbox");
    match rx.recv() {
        Ok(message) => assert_eq!(&*message, b"waited for"),
        Err(RecvError::Disconnected) if !all => return,
        Err(error) => panic!("instead of a message or the end: {error}"),
    }
    if all {
        check(&rx.recv().unwrap(), 1, 1, LARGE);
    }
    assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
}

fn a_sender_that_is_refused_a_call_says_so_or_sends_without(backend: Backend) {
    let (refused, name): (&[c_long], _) = match backend {
        Backend::Kernel => (
            &[libc::SYS_pwritev2, libc::SYS_writev],
            "writing to the pipe",
        ),
        _ => (&[libc::SYS_sendto], "sendto"),
    };
    let done_without = [
        libc::SYS_futex,
        libc::SYS_pwritev2,
        libc::SYS_pidfd_open,
        libc::SYS_sched_getaffinity,
    ];
    let receiver = this_thread();
    for errno in REFUSALS {
        let (rx, mut tx) = open(backend);
        let (sender, rx) = fork_apart(rx, move || {
            for &call in refused {
                calls(call).refuse(errno);
            }
            match send_both(&mut tx, receiver) {
                Err(SendError::Io(error)) => assert_names(&error, name, errno),
                other => panic!("{other:?} instead of an error that names {name}"),
            }
        });
        receive_both(rx, false);
        sender.join();
        for call in done_without {
            let (rx, mut tx) = open(backend);
            let (sender, rx) = fork_apart(rx, move || {
                calls(call).refuse(errno);
                send_both(&mut tx, receiver).unwrap();
            });
            receive_both(rx, true);
            sender.join();
        }
    }
}

fn a_batch_counts_what_was_sent_also_where_waking_is_refused(backend: Backend) {
    let refused: &[c_long] = match backend {
        Backend::Kernel => &[libc::SYS_pwritev2, libc::SYS_writev],
        _ => &[libc::SYS_sendto],
    };
    let receiver = this_thread();
    // The first messages of an end go another way than those behind them.
    for before in [0, 2] {
        let counted = shared_counter();
        let (rx, mut tx) = open(backend);
        let (sender, mut rx) = fork_apart(rx, move || {
            assert_eq!(tx.send_batch(vec![b"before"; before]).unwrap(), before);
            until_asleep(&[receiver]);
            for &call in refused {
                calls(call).refuse(libc::EPERM);
            }
            let error = tx.send_batch([b"a", b"b", b"c"]).unwrap_err();
            assert!(matches!(error.error, SendError::Io(_)), "{error}");
            counted.store(error.sent as u64, Ordering::Relaxed);
        });
        let received = rx.messages().count();
        sender.join();
        let sent = usize::try_from(counted.load(Ordering::Relaxed)).unwrap();
        assert_eq!(received, before + sent);
        // A kernel pipe wakes its readers by the write itself.
        assert_eq!(sent > 0, backend == Backend::SharedMemory, "{sent} sent");
    }
}

/// Receives in a child where `call` is refused, until there is an error or the end, and gives that to
/// `examine`; here the sender sends as the receiver sleeps, if it does, until there is nobody.
fn receiving_where_refused(
    backend: Backend,
    call: c_long,
    errno: i32,
    examine: impl Fn(Result<u64, RecvError>),
) {
    let (mut rx, tx) = open(backend);
    let (receiver, mut tx) = fork_apart(tx, move || {
        calls(call).refuse(errno);
        let mut count = 0;
        let outcome = loop {
            match rx.recv() {
                Ok(message) => check(&message, 1, count, FILLER),
                Err(RecvError::Disconnected) => break Ok(count),
                Err(error) => break Err(error),
            }
            count += 1;
        };
        examine(outcome);
    });
    // One message for each time that the receiver comes to rest; with it gone there is nobody to wait for.
    for number in 0..3 {
        doing("room for a message to the sandbox");
        match tx.send(&pattern(1, number, FILLER)) {
            Ok(()) => {}
            Err(SendError::Disconnected) => break,
            Err(error) => panic!("instead of a broken pipe: {error}"),
        }
    }
    drop(tx);
    receiver.join();
}

fn a_receiver_that_is_refused_a_call_says_so_or_receives_without(backend: Backend) {
    for errno in REFUSALS {
        for call in [
            libc::SYS_futex,
            libc::SYS_pidfd_open,
            libc::SYS_sendto,
            libc::SYS_preadv2,
        ] {
            receiving_where_refused(backend, call, errno, |outcome| {
                assert_eq!(outcome.unwrap(), 3);
            });
        }
        let (refused, name): (&[c_long], _) = match backend {
            Backend::Kernel => (&[libc::SYS_preadv2, libc::SYS_readv], "readv"),
            _ => (&[libc::SYS_recvfrom], "recvfrom"),
        };
        waits_in_vain(backend, refused, name, errno);
    }
}

/// A receiver that would have to sleep where these calls are refused gets an error that names it, at once;
/// and when it then is gone the sender gets a broken pipe.
fn waits_in_vain(backend: Backend, refused: &[c_long], name: &str, errno: i32) {
    let (mut rx, tx) = open(backend);
    let (receiver, mut tx) = fork_apart(tx, || {
        for &call in refused {
            calls(call).refuse(errno);
        }
        doing("a message that does not come");
        match rx.recv() {
            Err(RecvError::Io(error)) => assert_names(&error, name, errno),
            other => panic!("{other:?} instead of an error that names {name}"),
        }
        drop(rx);
    });
    receiver.join();
    crate::ends::assert_breaks(&mut tx);
}

fn a_receiver_that_may_not_wait_says_so_and_the_sender_a_broken_pipe(backend: Backend) {
    for errno in REFUSALS {
        waits_in_vain(backend, &[libc::SYS_ppoll], "ppoll", errno);
    }
}

fn a_sender_that_may_not_wait_says_so_and_the_receiver_gets_the_end(backend: Backend) {
    let refused: &[_] = match backend {
        Backend::Kernel => &[(libc::SYS_ppoll, "ppoll")],
        _ => &[(libc::SYS_ppoll, "ppoll"), (libc::SYS_recvfrom, "recvfrom")],
    };
    for errno in REFUSALS {
        for &(call, name) in refused {
            let sent = shared_counter();
            let (mut rx, mut tx) = open(backend);
            let (sender, ()) = fork_apart((), || {
                calls(call).refuse(errno);
                doing("room that does not come");
                let error = loop {
                    let number = sent.load(Ordering::Relaxed);
                    match tx.send(&pattern(1, number, FILLER)) {
                        Ok(()) => sent.fetch_add(1, Ordering::Relaxed),
                        Err(SendError::Io(error)) => break error,
                        Err(error) => panic!("instead of an error that names {name}: {error}"),
                    };
                };
                assert_names(&error, name, errno);
            });
            drop(tx);
            sender.join();
            crate::ends::drain(&mut rx, 1, 0..sent.load(Ordering::Relaxed), FILLER);
            assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
        }
    }
}

fn a_receiver_that_may_not_wake_a_blocked_sender_says_so(backend: Backend) {
    let sender = this_thread();
    for errno in REFUSALS {
        let (mut rx, tx) = open(backend);
        let (receiver, mut tx) = fork_apart(tx, move || {
            calls(libc::SYS_sendto).refuse(errno);
            doing("the sender's sleep");
            until_asleep(&[sender]);
            let mut count = 0;
            let error = loop {
                doing("a message or an error");
                match rx.recv() {
                    Ok(message) => check(&message, 1, count, FILLER),
                    Err(error) => break error,
                }
                count += 1;
                if count > (2 * CAPACITY / FILLER) as u64 {
                    assert_eq!(backend, Backend::Kernel, "a pipe's worth and no error");
                    return;
                }
            };
            assert!(count > 0, "what was in the pipe comes first");
            match error {
                RecvError::Io(error) => assert_names(&error, "sendto", errno),
                other => panic!("{other:?} instead of an error that names sendto"),
            }
        });
        let mut number = 0;
        doing("room, or a broken pipe");
        let error = loop {
            match tx.send(&pattern(1, number, FILLER)) {
                Ok(()) => number += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, SendError::Disconnected), "{error}");
        receiver.join();
    }
}

fn ends_that_may_not_look_at_processes_go_on(backend: Backend) {
    for errno in REFUSALS {
        let child = fork(|| {
            calls(libc::SYS_pidfd_open).refuse(errno);
            let (mut rx, mut tx) = open(backend);
            let sender = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
            sender.until_asleep();
            sender.kill();
            assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
            tx.send(b"goes on").unwrap();
            assert_eq!(&*rx.recv().unwrap(), b"goes on");
        });
        child.join();
    }
}
