//! What an error of poor surroundings says: its cause, its number, and the same for whoever prints it by `Debug`.
//!
//! That it comes at all, and leaves nothing behind, is in `refused.rs` and `seccomp.rs`.

use std::io;

use shmpipe::{Backend, PipeOptions, RecvError, SendError};

use crate::ends::{SHORT, open};
use crate::environment::with_variable;
use crate::refused::where_files_are_short;
use crate::support::{
    MemoryGroup, calls, check, fork, on_both_backends, on_no_backend, open_fds, pattern, skipped,
    with_fd_limit,
};

on_both_backends! {
    a_pipe_larger_than_its_memory_group_is_an_error_and_no_kill,
    a_want_of_descriptors_names_call_need_and_limit,
    no_limit_on_descriptors_is_too_low_for_a_clear_error,
    errors_that_main_returns_are_as_clear_as_their_text,
    a_broken_pipe_has_the_number_of_one,
    a_chosen_backend_has_no_reason_to_fall_back_and_does_not,
}

on_no_backend! {
    every_end_of_a_fall_back_tells_its_reason,
    an_end_that_cannot_be_handed_over_tells_the_real_cause,
}

fn a_pipe_larger_than_its_memory_group_is_an_error_and_no_kill(backend: Backend) {
    let Some(group) = MemoryGroup::of(32 << 20) else {
        return skipped("no memory cgroup can be made here");
    };
    let child = fork(|| {
        group.enter();
        let of = |bytes| PipeOptions::new().backend(backend).capacity(bytes).pipe();
        match backend {
            Backend::Kernel => drop(of(1 << 20).unwrap()),
            _ => {
                for bytes in [32 << 20, 64 << 20, 1 << 30] {
                    let error = of(bytes).unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "{error}");
                    let limit = error.to_string();
                    assert!(limit.contains("cgroup"), "{error}");
                }
                // What the group has room for is made, and gives its room back.
                for _ in 0..3 {
                    let (mut rx, mut tx) = of(16 << 20).unwrap();
                    tx.send(&pattern(1, 0, 1 << 20)).unwrap();
                    check(&rx.recv().unwrap(), 1, 0, 1 << 20);
                }
            }
        }
    });
    child.join();
}

fn a_want_of_descriptors_names_call_need_and_limit(backend: Backend) {
    let options = PipeOptions::new().backend(backend);
    let used = open_fds().keys().max().map_or(0, |&last| last + 1);
    let limit = u64::try_from(used).unwrap() + 1;
    for (options, need) in [
        (options.clone(), "3 desc"),
        (options.descriptors(true), "5 desc"),
    ] {
        let errors = with_fd_limit(limit, || (options.pipe(), options.duplex()));
        for error in [errors.0.unwrap_err(), errors.1.unwrap_err()] {
            assert_eq!(shmpipe::raw_os_error(&error), Some(libc::EMFILE));
            let text = error.to_string();
            let call = match backend {
                Backend::Kernel => "pipe2(2)",
                _ => "socketpair(2)",
            };
            for part in [
                call,
                need,
                &format!("RLIMIT_NOFILE is {limit}"),
                "os error 24",
            ] {
                assert!(text.contains(part), "no {part} in {text}");
            }
        }
    }
    let (rx, _tx) = open(backend);
    let used = open_fds().keys().max().map_or(0, |&last| last + 1);
    let limit = u64::try_from(used).unwrap();
    let error = with_fd_limit(limit, || rx.into_fds()).unwrap_err();
    assert_eq!(shmpipe::raw_os_error(&error), Some(libc::EMFILE));
    assert!(error.to_string().contains("F_DUPFD_CLOEXEC"), "{error}");
}

/// A limit below the least number that a copy may have, or below the number that is to be replaced, has error numbers of
/// its own (fcntl(2), dup(2)): a caller is to see one.
fn no_limit_on_descriptors_is_too_low_for_a_clear_error(backend: Backend) {
    for limit in 0..8 {
        let (rx, tx) = open(backend);
        for error in with_fd_limit(limit, || [rx.close(), tx.close()]) {
            let error = error.unwrap_err();
            let text = error.to_string();
            assert_eq!(
                shmpipe::raw_os_error(&error),
                Some(libc::EMFILE),
                "{limit}: {text}"
            );
            assert!(
                text.contains(&format!("RLIMIT_NOFILE is {limit}")),
                "{text}"
            );
        }
        // Nothing was lost by it.
        rx.close().unwrap();
        tx.close().unwrap();
        let (rx, _tx) = open(backend);
        let error = with_fd_limit(limit, || rx.into_fds()).unwrap_err();
        assert_eq!(
            shmpipe::raw_os_error(&error),
            Some(libc::EMFILE),
            "{limit}: {error}"
        );
    }
}

fn errors_that_main_returns_are_as_clear_as_their_text(backend: Backend) {
    let options = PipeOptions::new().backend(backend);
    let of_the_system = with_fd_limit(0, || options.pipe()).unwrap_err();
    let of_ours = options.capacity(0).pipe().unwrap_err();
    let emfile = io::Error::from_raw_os_error(libc::EMFILE);
    let in_a_call = [
        format!(
            "{:?}",
            SendError::Io(with_fd_limit(0, shmpipe::pipe).unwrap_err())
        ),
        format!("{:?}", SendError::Disconnected),
        format!("{:?}", RecvError::Disconnected),
        format!("{:?}", io::Error::from(RecvError::Disconnected)),
        format!(
            "{:?}",
            io::Error::from(SendError::TooLarge { len: 2, max: 1 })
        ),
    ];
    let parts = [
        "os error 24",
        "every receiver is gone",
        "every sender is gone",
        "every sender is gone",
        "a message of 2 bytes is over the limit of 1 bytes",
    ];
    for (debug, part) in in_a_call.iter().zip(parts) {
        assert!(debug.contains(part), "no {part} in {debug}");
        assert!(debug.matches("Custom").count() <= 1, "{debug}");
    }
    for error in [of_the_system, of_ours, emfile] {
        let debug = format!("{error:?}");
        let is_plain = error.get_ref().is_none();
        assert!(is_plain || debug.contains(&error.to_string()), "{debug}");
        assert!(!debug.contains("Refused"), "{debug}");
        assert!(debug.matches("Custom").count() <= 1, "{debug}");
    }
}

fn a_broken_pipe_has_the_number_of_one(backend: Backend) {
    let (rx, mut tx) = open(backend);
    drop(rx);
    let errors = [
        tx.send(b"x")
            .map_err(|error| (error.raw_os_error(), io::Error::from(error))),
        tx.try_send(b"x")
            .map_err(|error| (error.raw_os_error(), error.into())),
        tx.send_timeout(b"x", SHORT)
            .map_err(|error| (error.raw_os_error(), error.into())),
        io::Write::write(&mut tx, b"x")
            .map(drop)
            .map_err(|error| (error.raw_os_error(), error)),
    ];
    for outcome in errors {
        let (number, error) = outcome.unwrap_err();
        assert_eq!(number, Some(libc::EPIPE));
        assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
    let (mut rx, tx) = open(backend);
    drop(tx);
    let error = rx.recv().unwrap_err();
    assert_eq!(error.raw_os_error(), None);
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::UnexpectedEof);
}

fn a_chosen_backend_has_no_reason_to_fall_back_and_does_not(backend: Backend) {
    where_files_are_short(|| {
        let variable = backend.to_string();
        let chosen = PipeOptions::new().backend(backend);
        let assert_strict = |options: &PipeOptions| match (options.pipe(), options.duplex()) {
            (Ok((rx, tx)), Ok((left, right))) => {
                assert_eq!(backend, Backend::Kernel);
                assert!(rx.fallback_reason().is_none() && tx.fallback_reason().is_none());
                assert!(left.fallback_reason().is_none() && right.fallback_reason().is_none());
            }
            (pipe, duplex) => {
                assert_eq!(backend, Backend::SharedMemory);
                for error in [pipe.unwrap_err(), duplex.unwrap_err()] {
                    assert!(error.to_string().contains("RLIMIT_FSIZE"), "{error}");
                }
            }
        };
        assert_strict(&chosen);
        with_variable(variable.as_bytes(), || assert_strict(&PipeOptions::new()));
    });
}

/// Asserts that this is why shared memory was not to be had where files may be of 1,000 bytes only.
#[track_caller]
fn assert_is_the_limit_on_files(reason: Option<&io::Error>) {
    let reason = reason.expect("a fall-back has its reason");
    assert_eq!(reason.kind(), io::ErrorKind::FileTooLarge, "{reason}");
    assert!(
        reason
            .to_string()
            .contains("RLIMIT_FSIZE, which is 1000 bytes"),
        "{reason}"
    );
}

fn every_end_of_a_fall_back_tells_its_reason() {
    where_files_are_short(|| {
        let (rx, tx) = shmpipe::pipe().unwrap();
        let (left, right) = shmpipe::duplex().unwrap();
        let (receiver, sender) = left.try_clone().unwrap().split();
        for reason in [
            rx.fallback_reason(),
            rx.try_clone().unwrap().fallback_reason(),
            tx.fallback_reason(),
            left.fallback_reason(),
            right.fallback_reason(),
            receiver.fallback_reason(),
            sender.fallback_reason(),
        ] {
            assert_is_the_limit_on_files(reason);
        }
        let child = fork(|| assert_is_the_limit_on_files(tx.fallback_reason()));
        child.join();
        let (rx, tx) = shmpipe::typed::pipe::<u64>().unwrap();
        assert_is_the_limit_on_files(rx.fallback_reason());
        assert_is_the_limit_on_files(tx.fallback_reason());
    });
    let (rx, _tx) = shmpipe::pipe().unwrap();
    assert!(rx.fallback_reason().is_none());
    for errno in [libc::EPERM, libc::ENOSYS] {
        let child = fork(|| {
            calls(libc::SYS_memfd_create).refuse(errno);
            let (rx, _tx) = shmpipe::pipe().unwrap();
            let reason = rx.fallback_reason().unwrap();
            assert!(reason.to_string().contains("memfd_create(2)"), "{reason}");
            assert_eq!(shmpipe::raw_os_error(reason), Some(errno));
        });
        child.join();
    }
}

fn an_end_that_cannot_be_handed_over_tells_the_real_cause() {
    where_files_are_short(|| {
        let (rx, tx) = shmpipe::pipe().unwrap();
        for error in [rx.into_fds().unwrap_err(), tx.into_fds().unwrap_err()] {
            assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
            let text = error.to_string();
            assert!(text.contains("RLIMIT_FSIZE"), "{text}");
            assert!(
                !text.contains("memfd_create"),
                "no such call was made: {text}"
            );
        }
    });
    let child = fork(|| {
        calls(libc::SYS_memfd_create).refuse(libc::EPERM);
        let (rx, _tx) = shmpipe::pipe().unwrap();
        let error = rx.into_fds().unwrap_err();
        assert!(error.to_string().contains("memfd_create(2)"), "{error}");
        assert_eq!(shmpipe::raw_os_error(&error), Some(libc::EPERM));
    });
    child.join();
}
