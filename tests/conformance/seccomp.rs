//! System calls refused by a seccomp(2) filter while a pipe is made: it is an error that says which
//! call it was, or the pipe does without it; either way the whole job or nothing.
//!
//! What may be refused later, when the pipe is there, is in `sandboxed.rs`.

use std::io;
use std::sync::LazyLock;

use shmpipe::{Backend, Connection, PipeOptions, Receiver, RecvError, Sender};

use crate::ends::{CAPACITY, LARGE};
use crate::support::{Calls, Held, calls, check, fork, on_both_backends, on_no_backend, pattern};
use crate::support::{gettid, page_size, skipped, until_asleep};

on_both_backends! {
    a_refused_call_is_an_error_that_names_it_or_is_done_without within 120,
    a_refused_first_call_of_a_process_is_an_error_that_names_it,
    a_clone_is_made_without_any_call_that_can_be_refused,
}

on_no_backend! {
    the_default_falls_back_where_a_call_of_shared_memory_is_refused within 120,
    a_want_of_resources_is_no_reason_to_fall_back within 120,
    a_size_that_is_refused_is_an_error_where_it_was_asked_for,
    pages_that_are_refused_are_an_error_where_they_are_not_touched_either within 120,
}

/// What each filter answers, one after the other: wants first.
const WANTS: [i32; 3] = [libc::EMFILE, libc::ENFILE, libc::ENOMEM];
const REFUSALS: [i32; 3] = [libc::EPERM, libc::EACCES, libc::ENOSYS];

/// A call that is refused, and what becomes of a pipe on each backend.
struct Case {
    calls: Calls,
    shm: Outcome,
    kernel: Outcome,
}

/// What is expected of a backend for which a call is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// No pipe is made, and the error's text has this name in it.
    Error(&'static str),
    /// As [`Error`](Self::Error) where resources are wanting; what is not allowed is done without.
    ErrorOfWant(&'static str),
    /// The pipe works as ever.
    Works,
}
use Outcome::{Error, ErrorOfWant, Works};

impl Outcome {
    /// The name in the error's text, if one is expected.
    fn error(self, errno: i32) -> Option<&'static str> {
        match self {
            Error(name) => Some(name),
            ErrorOfWant(name) if WANTS.contains(&errno) => Some(name),
            _ => None,
        }
    }
}

impl Case {
    fn on(&self, backend: Backend) -> Outcome {
        match backend {
            Backend::Kernel => self.kernel,
            _ => self.shm,
        }
    }
}

/// Mappings of a segment of [`CAPACITY`], as mmap(2) gets them, come after one of a page.
fn control() -> usize {
    page_size()
}

/// How an error names them: the segment with room for the data once more, that data, and a page alone.
static MAPPINGS: LazyLock<[String; 4]> = LazyLock::new(|| {
    [
        format!("mmap(2) of {} bytes", control() + 2 * CAPACITY),
        format!("mmap(2) of {CAPACITY} shared bytes"),
        format!("mmap(2) of {} shared bytes", control()),
        format!("mmap(2) of {} private bytes", control()),
    ]
});
const OVER: i32 = libc::MAP_SHARED | libc::MAP_FIXED;

/// Every call that making and using a pipe asks the kernel for, apart from what the C library and std do
/// for themselves.
fn cases() -> Vec<Case> {
    let case = |calls: Calls, shm, kernel| Case { calls, shm, kernel };
    let fcntl = |command: i32| calls(libc::SYS_fcntl).with(1, command);
    let mmap = |length: usize, flags: i32| calls(libc::SYS_mmap).with(1, length).with(3, flags);
    let page = mmap(control(), libc::MAP_SHARED);
    // Of a path, as /proc/self/ns/pid; of a descriptor it is a part of what looks into /proc here.
    let stat = calls(libc::SYS_newfstatat).with(0, libc::AT_FDCWD as u32);
    let memfd = |call, name| case(call, Error(name), ErrorOfWant(name));
    vec![
        memfd(calls(libc::SYS_prlimit64), "getrlimit"),
        memfd(calls(libc::SYS_memfd_create), "memfd_create"),
        memfd(calls(libc::SYS_ftruncate), "ftruncate"),
        // By a pipe whose pages are touched as well they are written.
        case(calls(libc::SYS_fallocate), Works, ErrorOfWant("fallocate")),
        memfd(fcntl(libc::F_ADD_SEALS), "F_ADD_SEALS"),
        case(calls(libc::SYS_pwrite64), Error("pwrite"), Works),
        case(
            mmap(control() + 2 * CAPACITY, libc::MAP_SHARED),
            Error(&MAPPINGS[0]),
            Works,
        ),
        case(mmap(CAPACITY, OVER), Error(&MAPPINGS[1]), Works),
        case(page, Works, Error(&MAPPINGS[2])),
        case(calls(libc::SYS_socketpair), Error("socketpair"), Works),
        case(calls(libc::SYS_sendto), Error("sendto"), Works),
        case(calls(libc::SYS_recvfrom), Error("recvfrom"), Works),
        case(calls(libc::SYS_futex), Error("futex"), Works),
        case(calls(libc::SYS_pipe2), Works, Error("pipe2")),
        case(fcntl(libc::F_GETPIPE_SZ), Works, Error("F_GETPIPE_SZ")),
        case(
            calls(libc::SYS_get_robust_list),
            Error("get_robust_list"),
            Error("get_robust_list"),
        ),
        // Done without.
        case(calls(libc::SYS_sched_getaffinity), Works, Works),
        case(calls(libc::SYS_sched_yield), Works, Works),
        case(stat, Works, Works),
        case(calls(libc::SYS_fstatfs), Works, Works),
        case(
            calls(libc::SYS_madvise).with(2, libc::MADV_DONTDUMP),
            Works,
            Works,
        ),
    ]
}

/// Runs `work` in a child that `calls` are refused in; nothing may be left of it.
fn where_refused(calls: &Calls, errno: i32, work: impl Fn()) {
    let child = fork(|| {
        let before = Held::now();
        calls.refuse(errno);
        work();
        assert_eq!(Held::now(), before, "{calls:?} refused with {errno}");
    });
    child.join();
}

/// Asserts that pipe and duplex pipe fail with `errno` and a text that has `name` in it.
fn assert_refused(options: &PipeOptions, name: &str, errno: i32) {
    let plain = io::Error::from_raw_os_error(errno);
    for error in [options.pipe().unwrap_err(), options.duplex().unwrap_err()] {
        assert_eq!(error.kind(), plain.kind(), "{error}");
        assert!(error.to_string().contains(&plain.to_string()), "{error}");
        assert_eq!(shmpipe::raw_os_error(&error), Some(errno), "{error}");
        assert!(error.to_string().contains(name), "{error} without {name}");
    }
}

/// Asserts that pipe and duplex pipe are made on `backend` and do all that they should.
fn assert_works(options: &PipeOptions, backend: Backend) {
    let (rx, tx) = options.pipe().unwrap();
    assert_eq!((rx.backend(), tx.backend()), (backend, backend));
    carries_messages_and_ends(rx, tx);
    let (left, right) = options.duplex().unwrap();
    assert_eq!((left.backend(), right.backend()), (backend, backend));
    answers_and_ends(left, right);
}

/// Messages, also one that has to be waited for and one longer than the pipe, go to another process
/// through a copy of each end; then comes the end.
fn carries_messages_and_ends(rx: Receiver, tx: Sender) {
    let mut rx = {
        let clone = rx.try_clone().unwrap();
        drop(rx);
        clone
    };
    let receiver = (nix::unistd::getpid(), gettid());
    let sender = fork(|| {
        let mut tx = tx.try_clone().unwrap();
        tx.send(b"small").unwrap();
        until_asleep(&[receiver]);
        tx.send(b"waited for").unwrap();
        tx.send(&pattern(1, 1, LARGE)).unwrap();
        tx.send(b"last").unwrap();
    });
    drop(tx);
    assert_eq!(&*rx.recv().unwrap(), b"small");
    assert_eq!(&*rx.recv().unwrap(), b"waited for");
    check(&rx.recv().unwrap(), 1, 1, LARGE);
    assert_eq!(&*rx.recv().unwrap(), b"last");
    assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
    sender.join();
}

fn answers_and_ends(mut left: Connection, right: Connection) {
    let peer = fork(|| {
        let mut right = right.try_clone().unwrap();
        let message = right.recv().unwrap().to_vec();
        right.send(&message).unwrap();
    });
    drop(right);
    left.send(b"there and back").unwrap();
    assert_eq!(&*left.recv().unwrap(), b"there and back");
    assert!(matches!(left.recv(), Err(RecvError::Disconnected)));
    peer.join();
}

fn options(backend: Backend) -> PipeOptions {
    PipeOptions::new().backend(backend).capacity(CAPACITY)
}

/// Makes and uses a pipe, so that what a process does once, and keeps, is done in all the children.
fn warm_up() {
    for backend in [Backend::SharedMemory, Backend::Kernel] {
        assert_works(&options(backend), backend);
    }
}

/// Whether the calls of [`cases`] are those that this C library makes. musl writes by pwritev2(2), and allocates by
/// what would be refused.
fn calls_are_known() -> bool {
    if cfg!(target_env = "musl") {
        skipped("it knows the calls that glibc makes, and not musl's");
    }
    !cfg!(target_env = "musl")
}

fn a_refused_call_is_an_error_that_names_it_or_is_done_without(backend: Backend) {
    if !calls_are_known() {
        return;
    }
    warm_up();
    for case in cases() {
        for errno in WANTS.into_iter().chain(REFUSALS) {
            where_refused(&case.calls, errno, || match case.on(backend).error(errno) {
                Some(name) => assert_refused(&options(backend), name, errno),
                None => assert_works(&options(backend), backend),
            });
        }
    }
}

fn pages_that_are_refused_are_an_error_where_they_are_not_touched_either() {
    if !calls_are_known() {
        return;
    }
    warm_up();
    let options = options(Backend::SharedMemory).prefault(false);
    for errno in WANTS.into_iter().chain(REFUSALS) {
        where_refused(&calls(libc::SYS_fallocate), errno, || {
            assert_refused(&options, "fallocate", errno);
        });
    }
}

fn a_refused_first_call_of_a_process_is_an_error_that_names_it(backend: Backend) {
    if !calls_are_known() {
        return;
    }
    let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let page = calls(libc::SYS_mmap).with(1, control()).with(3, private);
    let wipe = calls(libc::SYS_madvise).with(2, libc::MADV_WIPEONFORK);
    let first = [(page, MAPPINGS[3].as_str()), (wipe, "MADV_WIPEONFORK")];
    for (calls, name) in &first {
        for errno in WANTS.into_iter().chain(REFUSALS) {
            where_refused(calls, errno, || {
                assert_refused(&options(backend), name, errno);
                assert_refused(&PipeOptions::new(), name, errno);
            });
        }
    }
    // std asks for random keys once in each thread, and reads /dev/urandom instead.
    for errno in [libc::EPERM, libc::ENOSYS] {
        let child = fork(|| {
            calls(libc::SYS_getrandom).refuse(errno);
            assert_works(&options(backend), backend);
        });
        child.join();
    }
}

fn a_clone_is_made_without_any_call_that_can_be_refused(backend: Backend) {
    if !calls_are_known() {
        return;
    }
    warm_up();
    let child = fork(|| {
        let (rx, tx) = options(backend).pipe().unwrap();
        let (left, _right) = options(backend).duplex().unwrap();
        let before = Held::now();
        for case in cases() {
            case.calls.refuse(libc::EPERM);
        }
        for call in [
            libc::SYS_fcntl,
            libc::SYS_dup,
            libc::SYS_dup3,
            libc::SYS_mmap,
        ] {
            calls(call).refuse(libc::EMFILE);
        }
        let clones = (rx.try_clone(), tx.try_clone(), left.try_clone());
        assert_eq!(Held::now(), before);
        assert!(clones.0.is_ok() && clones.1.is_ok() && clones.2.is_ok());
        drop(clones);
        assert_eq!(Held::now(), before);
    });
    child.join();
}

fn the_default_falls_back_where_a_call_of_shared_memory_is_refused() {
    if !calls_are_known() {
        return;
    }
    warm_up();
    for case in cases() {
        for errno in REFUSALS {
            where_refused(&case.calls, errno, || {
                let options = PipeOptions::new();
                match (case.shm, case.kernel.error(errno)) {
                    (Works, _) => assert_works(&options, Backend::SharedMemory),
                    (_, None) => assert_works(&options, Backend::Kernel),
                    (_, Some(name)) => assert_refused(&options, name, errno),
                }
            });
        }
    }
}

fn a_want_of_resources_is_no_reason_to_fall_back() {
    warm_up();
    for case in cases() {
        let Error(name) = case.shm else { continue };
        for errno in WANTS {
            where_refused(&case.calls, errno, || {
                assert_refused(&PipeOptions::new(), name, errno);
            });
        }
    }
}

fn a_size_that_is_refused_is_an_error_where_it_was_asked_for() {
    warm_up();
    let calls = calls(libc::SYS_fcntl).with(1, libc::F_SETPIPE_SZ);
    for errno in WANTS.into_iter().chain(REFUSALS) {
        where_refused(&calls, errno, || {
            let kernel = PipeOptions::new().backend(Backend::Kernel);
            let error = kernel.clone().capacity(2 * CAPACITY).pipe().unwrap_err();
            assert_eq!(error.kind(), io::Error::from_raw_os_error(errno).kind());
            assert!(error.to_string().contains("131072 bytes"), "{error}");
            assert_works(&kernel, Backend::Kernel);
        });
    }
}
