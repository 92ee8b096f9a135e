//! Where a seccomp(2) filter refuses what shared memory needs, the default falls back to kernel pipes
//! and does the same job.

use std::io::ErrorKind;

use libc::{c_long, sock_filter, sock_fprog};
use shmpipe::{Backend, PipeOptions, RecvError};

use crate::ends::LARGE;
use crate::support::{check, fork, on_no_backend, pattern};

on_no_backend! {
    the_default_falls_back_where_memfd_is_refused,
    the_default_falls_back_where_futex_is_refused,
    a_shared_memory_that_was_asked_for_and_is_refused_is_an_error,
}

const SECCOMP_RET_ALLOW: u32 = 0x7fff_0000;
const SECCOMP_RET_ERRNO: u32 = 0x0005_0000;

/// Refuses `call` with `EPERM` from now on, in the calling process and its children.
fn refuse(call: c_long) {
    let statement = |code: u32, jt, jf, k| sock_filter {
        code: u16::try_from(code).unwrap(),
        jt,
        jf,
        k,
    };
    let errno = u32::try_from(libc::EPERM).unwrap();
    let mut filter = [
        // The first word of seccomp_data is the call's number.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            u32::try_from(call).unwrap(),
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, SECCOMP_RET_ERRNO | errno),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, SECCOMP_RET_ALLOW),
    ];
    let program = sock_fprog {
        len: u16::try_from(filter.len()).unwrap(),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the call takes integers only.
    let outcome = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(outcome, 0);
    // SAFETY: the program and its statements are live; the kernel copies them.
    let outcome = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}

/// What a pipe made by default does under the filter: it is a kernel pipe and works between processes.
fn assert_falls_back(call: c_long) {
    let child = fork(|| {
        refuse(call);
        let (mut rx, mut tx) = shmpipe::pipe().unwrap();
        assert_eq!(rx.backend(), Backend::Kernel);
        assert_eq!(tx.backend(), Backend::Kernel);
        let sender = fork(|| {
            tx.send(b"small").unwrap();
            tx.send(&pattern(1, 1, LARGE)).unwrap();
        });
        assert_eq!(&*rx.recv().unwrap(), b"small");
        check(&rx.recv().unwrap(), 1, 1, LARGE);
        sender.join();
        drop(tx);
        assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
        let (left, right) = shmpipe::duplex().unwrap();
        assert_eq!([left.backend(), right.backend()], [Backend::Kernel; 2]);
    });
    child.join();
}

fn the_default_falls_back_where_memfd_is_refused() {
    assert_falls_back(libc::SYS_memfd_create);
}

fn the_default_falls_back_where_futex_is_refused() {
    assert_falls_back(libc::SYS_futex);
}

fn a_shared_memory_that_was_asked_for_and_is_refused_is_an_error() {
    for call in [libc::SYS_memfd_create, libc::SYS_futex] {
        let child = fork(|| {
            refuse(call);
            let options = PipeOptions::new().backend(Backend::SharedMemory);
            let error = options.pipe().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        });
        child.join();
    }
}
