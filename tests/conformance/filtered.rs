//! A process that closes a seccomp(2) filter after `warm_up`: the calls that `docs/syscalls.md` lists are enough for
//! all traffic, and any other call kills it.

use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::time::Duration;

use libc::c_long;
use shmpipe::{
    Backend, PipeOptions, Receiver, RecvError, RecvTimeoutError, SendTimeoutError, Sender, Spin,
    TryRecvError, TrySendError, wait,
};

use crate::ends::{CAPACITY, FILLER, LARGE, SHORT, drain, fill, open};
use crate::support::{
    Child, allow_only, check, fork_apart, on_both_backends, on_no_backend, pattern, pipe,
};

on_both_backends! {
    a_receiver_needs_no_other_calls_than_those_listed,
    a_sender_needs_no_other_calls_than_those_listed,
    ends_in_one_process_need_no_other_calls_than_those_listed,
}

on_no_backend! {
    a_call_that_is_not_listed_kills,
}

/// The number of a call that the table names.
fn number(name: &str) -> c_long {
    match name {
        "preadv2" => libc::SYS_preadv2,
        "pwritev2" => libc::SYS_pwritev2,
        "ioctl" => libc::SYS_ioctl,
        "fcntl" => libc::SYS_fcntl,
        "ppoll" => libc::SYS_ppoll,
        "sendto" => libc::SYS_sendto,
        "recvfrom" => libc::SYS_recvfrom,
        "sched_yield" => libc::SYS_sched_yield,
        "futex" => libc::SYS_futex,
        "pidfd_open" => libc::SYS_pidfd_open,
        "fstatfs" => libc::SYS_fstatfs,
        "fstat" => libc::SYS_fstat,
        "newfstatat" => libc::SYS_newfstatat,
        "close" => libc::SYS_close,
        "mmap" => libc::SYS_mmap,
        "munmap" => libc::SYS_munmap,
        "mremap" => libc::SYS_mremap,
        "mprotect" => libc::SYS_mprotect,
        "madvise" => libc::SYS_madvise,
        "brk" => libc::SYS_brk,
        "restart_syscall" => libc::SYS_restart_syscall,
        "exit_group" => libc::SYS_exit_group,
        other => panic!("docs/syscalls.md lists {other}, which has no number here"),
    }
}

/// The calls that the table lists for a backend.
fn listed(backend: Backend) -> Vec<c_long> {
    let column = match backend {
        Backend::Kernel => 2,
        _ => 1,
    };
    let text = include_str!("../../docs/syscalls.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let of_backend = rows.filter(|cells| cells[column] == "yes");
    let numbers = of_backend.map(|cells| number(cells[0].trim_end_matches('`')));
    let numbers: Vec<_> = numbers.collect();
    assert!(numbers.len() > 10, "the table is found");
    numbers
}

/// What a send on a kernel pipe does as well where the kernel has no `RWF_NOSIGNAL`; the document says so.
const WITHOUT_NOSIGNAL: [c_long; 3] = [
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigtimedwait,
];

/// Whether the kernel has `RWF_NOSIGNAL` (Linux 6.18).
fn has_nosignal() -> bool {
    const RWF_NOSIGNAL: libc::c_int = 0x100;
    let (_reader, writer) = pipe().unwrap();
    let byte = IoSlice::new(b"!");
    let vector = std::ptr::from_ref(&byte).cast();
    // SAFETY: an `IoSlice` has the layout of an iovec, and this one names a live byte.
    let outcome = unsafe { libc::pwritev2(writer.as_raw_fd(), vector, 1, -1, RWF_NOSIGNAL) };
    outcome == 1
}

/// From now on this process may do what is listed, and write to standard error why it fails.
fn close_the_sandbox(backend: Backend) {
    let mut calls = listed(backend);
    calls.push(libc::SYS_write);
    if cfg!(shmpipe_sanitizer) {
        // Of its own, at the end of each thread.
        calls.push(libc::SYS_sigaltstack);
    }
    if backend == Backend::Kernel && !has_nosignal() {
        calls.extend(WITHOUT_NOSIGNAL);
    }
    allow_only(&calls);
}

/// Runs `work` in a child; `parents` is the parent's alone.
fn sandboxed<T>(parents: T, work: impl FnOnce()) -> (Child, T) {
    fork_apart(parents, work)
}

fn a_receiver_needs_no_other_calls_than_those_listed(backend: Backend) {
    for spin in [Spin::Adaptive, Spin::Never, Spin::For(SHORT)] {
        let options = PipeOptions::new().backend(backend).spin(spin);
        let (mut rx, tx) = options.capacity(CAPACITY).pipe().unwrap();
        let (receiver, mut tx) = sandboxed(tx, || {
            rx.warm_up().unwrap();
            close_the_sandbox(backend);
            receive_everything(&mut rx);
            drop(rx);
        });
        receiver.until_asleep();
        tx.send(b"waited for").unwrap();
        for number in 1..=3 {
            receiver.until_asleep();
            tx.send(&pattern(1, number, 10 * LARGE)).unwrap();
        }
        receiver.until_asleep();
        tx.send(b"polled for").unwrap();
        tx.send(b"in place").unwrap();
        tx.send_batch([b"1", b"2"]).unwrap();
        receiver.until_asleep();
        drop(tx);
        receiver.join();
    }
}

fn receive_everything(rx: &mut Receiver) {
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    let outcome = rx.recv_timeout(Duration::from_micros(1));
    assert!(matches!(outcome, Err(RecvTimeoutError::Timeout)));
    assert_eq!(&*rx.recv().unwrap(), b"waited for");
    check(&rx.recv().unwrap(), 1, 1, 10 * LARGE);
    check(
        &rx.recv_timeout(Duration::from_secs(60)).unwrap(),
        1,
        2,
        10 * LARGE,
    );
    let mut buffer = vec![0; 10 * LARGE];
    assert_eq!(rx.recv_into(&mut buffer).unwrap(), buffer.len());
    check(&buffer, 1, 3, 10 * LARGE);
    assert!(rx.poll(None).unwrap());
    assert_eq!(wait(&mut [rx], None).unwrap(), [0]);
    assert_eq!(&*rx.recv().unwrap(), b"polled for");
    assert_eq!(rx.recv_in_place().unwrap().len(), 8);
    let mut left = 2;
    while left > 0 {
        left -= rx.recv_batch().unwrap().len();
    }
    assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
}

fn a_sender_needs_no_other_calls_than_those_listed(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let held = fill(&mut tx, 1);
    let (sender, mut rx) = sandboxed(rx, || {
        tx.warm_up().unwrap();
        close_the_sandbox(backend);
        send_everything(&mut tx, held);
        drop(tx);
    });
    sender.until_asleep();
    drain(&mut rx, 1, 0..2 * held, FILLER);
    for number in 1..=3 {
        check(&rx.recv().unwrap(), 2, number, 10 * LARGE);
        sender.until_asleep();
    }
    check(&rx.recv().unwrap(), 2, 4, 10 * LARGE);
    for text in ["batch 1", "batch 2", "in place"] {
        assert_eq!(&*rx.recv().unwrap(), text.as_bytes());
    }
    drop(rx);
    sender.join();
}

fn send_everything(tx: &mut Sender, held: u64) {
    let message = pattern(1, held, FILLER);
    assert!(matches!(tx.try_send(&message), Err(TrySendError::Full)));
    let outcome = tx.send_timeout(&message, Duration::from_micros(1));
    assert!(matches!(outcome, Err(SendTimeoutError::Timeout)));
    for number in held..2 * held {
        tx.send(&pattern(1, number, FILLER)).unwrap();
    }
    for number in 1..=3 {
        tx.send(&pattern(2, number, 10 * LARGE)).unwrap();
    }
    let outcome = tx.send_timeout(&pattern(2, 4, 10 * LARGE), Duration::from_secs(60));
    outcome.unwrap();
    assert_eq!(wait(&mut [tx], None).unwrap(), [0]);
    tx.send_batch([b"batch 1", b"batch 2"]).unwrap();
    let mut slot = tx.reserve(8).unwrap();
    slot.copy_from_slice(b"in place");
    slot.commit().unwrap();
    while tx.send(&message).is_ok() {}
}

fn ends_in_one_process_need_no_other_calls_than_those_listed(backend: Backend) {
    let (rx, tx) = open(backend);
    let (child, ()) = sandboxed((), || {
        let (mut rx, mut tx) = (rx, tx);
        rx.warm_up().unwrap();
        tx.warm_up().unwrap();
        close_the_sandbox(backend);
        let mut clones = (rx.try_clone().unwrap(), tx.try_clone().unwrap());
        for number in 0..1000 {
            tx.send(&pattern(1, number, 8)).unwrap();
            clones.1.send(b"by the clone").unwrap();
            check(&rx.recv().unwrap(), 1, number, 8);
            assert_eq!(&*clones.0.recv().unwrap(), b"by the clone");
        }
        assert!(!rx.poll(Some(Duration::from_millis(1))).unwrap());
        drop((tx, clones));
        assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
    });
    child.join();
}

fn a_call_that_is_not_listed_kills() {
    let (child, ()) = sandboxed((), || {
        close_the_sandbox(Backend::SharedMemory);
        // SAFETY: no preconditions.
        unsafe { libc::getppid() };
    });
    let status = child.wait_status();
    assert!(
        matches!(
            status,
            nix::sys::wait::WaitStatus::Signaled(_, nix::sys::signal::Signal::SIGSYS, _)
        ),
        "{status:?}"
    );
}
