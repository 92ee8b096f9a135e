//! Refusals of the operating system: the error is passed on and nothing stays behind.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use shmpipe::{Backend, PipeOptions};

use crate::ends::{FILLER, LARGE, drain, fill, open, open_duplex};
use crate::support::{
    Held, check, fork, fork_apart, gettid, mappings, not_under_a_sanitizer, on_both_backends,
    on_no_backend, open_fds, page_size, pattern, skipped, until_asleep, with_fd_limit,
};

on_both_backends! {
    a_pipe_that_runs_out_of_descriptors_at_any_step_leaks_nothing,
    a_duplex_pipe_that_runs_out_of_descriptors_at_any_step_leaks_nothing,
    a_clone_that_runs_out_of_descriptors_at_any_step_leaks_nothing,
    a_pipe_that_finds_no_address_space_leaks_nothing,
    a_pipe_that_runs_out_of_address_space_at_any_step_leaks_nothing,
    a_limit_on_the_length_of_files_is_an_error_and_no_signal,
    a_message_in_fragments_is_received_without_a_descriptor_to_spare,
    a_capacity_beyond_what_the_system_allows_is_refused_without_a_leak,
}

on_no_backend! {
    the_default_falls_back_where_files_may_not_be_as_long_as_a_segment,
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
                    shmpipe::raw_os_error(&error),
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
                    shmpipe::raw_os_error(&error),
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

/// Address space of this process in bytes (proc_pid_statm(5)).
fn address_space() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    pages * page_size() as u64
}

fn with_address_space<T>(limit: u64, work: impl FnOnce() -> T) -> T {
    let (soft, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
    setrlimit(Resource::RLIMIT_AS, limit, hard).unwrap();
    let outcome = work();
    setrlimit(Resource::RLIMIT_AS, soft, hard).unwrap();
    outcome
}

/// Makes something with room for one page more each time, until it succeeds; every failure says what
/// is wanting and leaves everything as it was. Returns how many pages it took.
fn made_page_by_page<T>(make: impl Fn() -> io::Result<T>) -> (u64, T) {
    let before = Held::now();
    let used = address_space();
    for pages in 0..200 {
        match with_address_space(used + pages * page_size() as u64, &make) {
            Ok(made) => return (pages, made),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::OutOfMemory, "{error}");
                assert!(error.to_string().contains("mmap(2) of "), "{error}");
                assert_eq!(Held::now(), before, "room for {pages} pages");
            }
        }
    }
    panic!("two hundred pages are not enough");
}

fn a_pipe_that_runs_out_of_address_space_at_any_step_leaks_nothing(backend: Backend) {
    if !not_under_a_sanitizer("it needs address space for itself") {
        return;
    }
    if cfg!(target_env = "musl") {
        return skipped("musl's heap needs address space for small things too");
    }
    let options = PipeOptions::new().backend(backend);
    // Has the heap grow to what is needed, and the process do what it does once.
    let warm = options.pipe().unwrap();
    drop((warm, vec![0_u8; 1 << 16]));
    let (pages, (mut rx, mut tx)) = made_page_by_page(|| options.pipe());
    let (both, (left, right)) = made_page_by_page(|| options.duplex());
    assert!(pages > 0, "a pipe needs a mapping");
    assert!(both > pages, "two directions need more than one");
    with_address_space(address_space(), || {
        let clones = (rx.try_clone().unwrap(), tx.try_clone().unwrap());
        drop((
            clones,
            left.try_clone().unwrap(),
            right.try_clone().unwrap(),
        ));
        tx.send(b"without another mapping").unwrap();
        assert_eq!(&*rx.recv().unwrap(), b"without another mapping");
    });
}

/// As `ulimit -f`, in a child: a longer file is refused with a signal that ends the process.
pub(crate) fn where_files_are_short(work: impl FnOnce()) {
    let child = fork(|| {
        let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
        setrlimit(Resource::RLIMIT_FSIZE, 1000, hard).unwrap();
        let before = (open_fds(), mappings());
        work();
        assert_eq!((open_fds(), mappings()), before);
    });
    child.join();
}

fn a_limit_on_the_length_of_files_is_an_error_and_no_signal(backend: Backend) {
    where_files_are_short(|| match PipeOptions::new().backend(backend).pipe() {
        Ok((mut rx, mut tx)) => {
            assert_eq!(backend, Backend::Kernel, "a segment is a file");
            tx.send(b"no file").unwrap();
            assert_eq!(&*rx.recv().unwrap(), b"no file");
        }
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{error}");
            assert!(error.to_string().contains("RLIMIT_FSIZE"), "{error}");
            assert!(error.to_string().contains("is 1000 bytes"), "{error}");
        }
    });
}

fn the_default_falls_back_where_files_may_not_be_as_long_as_a_segment() {
    where_files_are_short(|| {
        let (mut rx, tx) = shmpipe::pipe().unwrap();
        assert_eq!(rx.backend(), Backend::Kernel);
        let (sender, ()) = fork_apart((), move || {
            let mut tx = tx;
            tx.send(b"from the child").unwrap();
        });
        assert_eq!(&*rx.recv().unwrap(), b"from the child");
        sender.join();
    });
}

fn a_message_in_fragments_is_received_without_a_descriptor_to_spare(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let receiver = (nix::unistd::getpid(), gettid());
    let (sender, _another) = fork_apart((), || {
        let mut tx = tx.try_clone().unwrap();
        // Each part but the first is waited for, at first by one who may open nothing.
        for number in 0..3 {
            until_asleep(&[receiver]);
            tx.send(&pattern(1, number, 10 * LARGE)).unwrap();
        }
    });
    for number in 0..3 {
        // The three standard ones are open, and poll(2) takes no more at once than the limit.
        let outcome = with_fd_limit(3, || rx.recv().map(|message| message.to_vec()));
        check(&outcome.unwrap(), 1, number, 10 * LARGE);
    }
    sender.join();
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
