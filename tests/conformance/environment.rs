//! The choice of the backend: by the code, else by `SHMPIPE_BACKEND`, else shared memory.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;

use shmpipe::{Backend, PipeOptions, duplex, pipe};

use crate::support::{fork, on_both_backends, on_no_backend};

on_both_backends! {
    every_end_tells_the_backend_that_the_code_chose,
    the_codes_choice_goes_before_the_variable,
    the_variable_chooses_where_the_code_chose_none,
}

on_no_backend! {
    shared_memory_is_the_default,
    an_empty_variable_chooses_nothing,
    a_variable_that_names_no_backend_is_refused_by_name,
    a_variable_that_is_not_text_is_refused,
    the_variable_is_read_each_time_a_pipe_is_made,
}

/// Runs `work` in a child where the variable has `value`.
pub(crate) fn with_variable(value: &[u8], work: impl FnOnce()) {
    let child = fork(|| {
        set_variable(value);
        work();
    });
    child.join();
}

/// Sets the variable in a forked child.
fn set_variable(value: &[u8]) {
    // SAFETY: a forked child has a single thread, so nothing else reads the environment.
    unsafe { std::env::set_var("SHMPIPE_BACKEND", OsStr::from_bytes(value)) };
}

/// The value that names `backend`.
fn name(backend: Backend) -> &'static str {
    match backend {
        Backend::SharedMemory => "shm",
        Backend::Kernel => "kernel",
        other => panic!("no name for {other:?}"),
    }
}

fn every_end_tells_the_backend_that_the_code_chose(backend: Backend) {
    let (rx, tx) = PipeOptions::new().backend(backend).pipe().unwrap();
    assert_eq!((rx.backend(), tx.backend()), (backend, backend));
    let clones = (rx.try_clone().unwrap(), tx.try_clone().unwrap());
    assert_eq!((clones.0.backend(), clones.1.backend()), (backend, backend));
    let (left, right) = PipeOptions::new().backend(backend).duplex().unwrap();
    assert_eq!((left.backend(), right.backend()), (backend, backend));
    assert_eq!(backend.to_string(), name(backend));
}

fn the_codes_choice_goes_before_the_variable(backend: Backend) {
    for value in [&b"shm"[..], b"kernel", b"nonsense", b"\xff"] {
        with_variable(value, || {
            let (rx, _tx) = PipeOptions::new().backend(backend).pipe().unwrap();
            assert_eq!(rx.backend(), backend);
        });
    }
}

fn the_variable_chooses_where_the_code_chose_none(backend: Backend) {
    with_variable(name(backend).as_bytes(), || {
        let (mut rx, mut tx) = pipe().unwrap();
        assert_eq!((rx.backend(), tx.backend()), (backend, backend));
        tx.send(b"and it works").unwrap();
        assert_eq!(&*rx.recv().unwrap(), b"and it works");
        let (left, right) = duplex().unwrap();
        assert_eq!((left.backend(), right.backend()), (backend, backend));
        let (rx, _tx) = PipeOptions::new().capacity(8192).pipe().unwrap();
        assert_eq!(rx.backend(), backend);
    });
}

fn shared_memory_is_the_default() {
    let (rx, tx) = pipe().unwrap();
    assert_eq!(
        (rx.backend(), tx.backend()),
        (Backend::SharedMemory, Backend::SharedMemory)
    );
}

fn an_empty_variable_chooses_nothing() {
    with_variable(b"", || {
        assert_eq!(pipe().unwrap().0.backend(), Backend::SharedMemory)
    });
}

fn a_variable_that_names_no_backend_is_refused_by_name() {
    for value in ["nonsense", "SHM", "Kernel", "shm ", "1"] {
        with_variable(value.as_bytes(), || {
            for error in [pipe().unwrap_err(), duplex().unwrap_err()] {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                let text = error.to_string();
                assert!(
                    text.contains("SHMPIPE_BACKEND") && text.contains(value),
                    "{text}"
                );
            }
        });
    }
}

fn a_variable_that_is_not_text_is_refused() {
    with_variable(b"\xff", || {
        assert_eq!(pipe().unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

fn the_variable_is_read_each_time_a_pipe_is_made() {
    with_variable(b"kernel", || {
        assert_eq!(pipe().unwrap().0.backend(), Backend::Kernel);
        set_variable(b"shm");
        assert_eq!(pipe().unwrap().0.backend(), Backend::SharedMemory);
    });
}
