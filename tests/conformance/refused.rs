//! Refusals of the operating system: the error is passed on and nothing stays behind.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use shmpipe::{Backend, PipeOptions};

use crate::ends::{FILLER, drain, fill, open, open_duplex};
use crate::support::{fork, mappings, on_both_backends, open_fds, with_fd_limit};

on_both_backends! {
    a_pipe_that_runs_out_of_descriptors_at_any_step_leaks_nothing,
    a_duplex_pipe_that_runs_out_of_descriptors_at_any_step_leaks_nothing,
    a_clone_that_runs_out_of_descriptors_at_any_step_leaks_nothing,
    a_pipe_that_finds_no_address_space_leaks_nothing,
    a_capacity_beyond_what_the_system_allows_is_refused_without_a_leak,
}

/// Makes something with room for one descriptor more each time, until it succeeds; every failure
/// is `EMFILE` and leaves descriptors and mappings as they were.
fn made_step_by_step<T>(make: impl Fn() -> io::Result<T>) -> T {
    let before = (open_fds(), mappings());
    let least = before
        .0
        .keys()
        .max()
        .map_or(0, |&fd| u64::try_from(fd).unwrap() + 1);
    for room in 0..20 {
        match with_fd_limit(least + room, &make) {
            Ok(made) => {
                assert!(room > 0, "it needs no descriptor at all");
                return made;
            }
            Err(error) => {
                assert_eq!(
                    error.raw_os_error(),
                    Some(libc::EMFILE),
                    "room for {room}: {error}"
                );
                assert_eq!((open_fds(), mappings()), before, "room for {room}");
            }
        }
    }
    panic!("twenty descriptors are not enough");
}

fn a_pipe_that_runs_out_of_descriptors_at_any_step_leaks_nothing(backend: Backend) {
    let (mut rx, mut tx) = made_step_by_step(|| PipeOptions::new().backend(backend).pipe());
    let held = fill(&mut tx, 1);
    drain(&mut rx, 1, 0..held, FILLER);
}

fn a_duplex_pipe_that_runs_out_of_descriptors_at_any_step_leaks_nothing(backend: Backend) {
    let (mut left, mut right) = made_step_by_step(|| PipeOptions::new().backend(backend).duplex());
    left.send(b"there").unwrap();
    right.send(b"and back").unwrap();
    assert_eq!(&*right.recv().unwrap(), b"there");
    assert_eq!(&*left.recv().unwrap(), b"and back");
}

fn a_clone_that_runs_out_of_descriptors_at_any_step_leaks_nothing(backend: Backend) {
    let (rx, tx) = open(backend);
    // A clone may well share the descriptors of its original, and then needs none.
    let clone_of = |make: &dyn Fn() -> io::Result<()>| {
        let before = (open_fds(), mappings());
        let least = before
            .0
            .keys()
            .max()
            .map_or(0, |&fd| u64::try_from(fd).unwrap() + 1);
        for room in 0..8 {
            if let Err(error) = with_fd_limit(least + room, make) {
                assert_eq!(
                    error.raw_os_error(),
                    Some(libc::EMFILE),
                    "room for {room}: {error}"
                );
            }
            assert_eq!((open_fds(), mappings()), before, "room for {room}");
        }
        make().unwrap();
        assert_eq!((open_fds(), mappings()), before);
    };
    clone_of(&|| rx.try_clone().map(drop));
    clone_of(&|| tx.try_clone().map(drop));
    let (left, _right) = open_duplex(backend);
    clone_of(&|| left.try_clone().map(drop));
    let (mut rx, mut tx) = (rx, tx);
    tx.send(b"the originals still work").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"the originals still work");
}

fn a_pipe_that_finds_no_address_space_leaks_nothing(backend: Backend) {
    let before = (open_fds(), mappings());
    let (soft, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
    setrlimit(Resource::RLIMIT_AS, 1 << 20, hard).unwrap(); // less than is in use
    let outcome = PipeOptions::new().backend(backend).capacity(1 << 20).pipe();
    setrlimit(Resource::RLIMIT_AS, soft, hard).unwrap();
    match outcome {
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "{error}"),
        Ok(_) => assert_eq!(backend, Backend::Kernel, "a mapping needs address space"),
    }
    assert_eq!((open_fds(), mappings()), before);
}

fn a_capacity_beyond_what_the_system_allows_is_refused_without_a_leak(backend: Backend) {
    let before = (open_fds(), mappings());
    let child = fork(|| match backend {
        Backend::Kernel => {
            let max = std::fs::read_to_string("/proc/sys/fs/pipe-max-size").unwrap();
            let over: usize = 2 * max.trim().parse::<usize>().unwrap();
            // Without privileges from here on, where there are any; the child alone is changed.
            // SAFETY: setuid(2) takes an integer; the child has a single thread to change.
            let _ = unsafe { libc::setuid(65534) };
            let outcome = PipeOptions::new().backend(backend).capacity(over).pipe();
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            assert_eq!((open_fds(), mappings()), before);
        }
        _ => {
            let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
            let total = memory
                .lines()
                .find_map(|line| line.strip_prefix("MemTotal:"))
                .unwrap();
            let kib: usize = total.trim().trim_end_matches(" kB").parse().unwrap();
            let outcome = PipeOptions::new()
                .backend(backend)
                .capacity(64 * kib * 1024)
                .pipe();
            let error = outcome.unwrap_err();
            let kinds = [io::ErrorKind::OutOfMemory, io::ErrorKind::InvalidInput];
            assert!(kinds.contains(&error.kind()), "{error:?}");
            assert_eq!((open_fds(), mappings()), before);
        }
    });
    child.join();
}
