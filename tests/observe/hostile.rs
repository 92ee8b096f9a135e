//! Memory that lies: every row says so in words, and the other rows are as they were.

use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::uio::{pread, pwrite};
use nix::unistd::ftruncate;
use shmpipe::Backend;
use shmpipe::observe::{Pipe, State, Survey};

use crate::support::{Random, on_both_backends, on_no_backend, page_size};
use crate::{label, one, open};

on_both_backends! {
    a_pipe_of_another_version_is_unreadable_by_name,
    positions_that_cannot_be_are_unreadable,
    random_words_never_end_a_survey,
}
on_no_backend! {
    memory_that_is_no_pipe_is_unreadable,
    memory_with_the_name_of_something_else_is_not_looked_at,
}

const SEALS: SealFlag = SealFlag::F_SEAL_SHRINK
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_SEAL);

/// Memory by this name, with this content and length, sealed.
fn forged(name: &str, content: &[u8], len: usize, seals: SealFlag) -> OwnedFd {
    let memory = memfd_create(name, MFdFlags::MFD_ALLOW_SEALING).unwrap();
    ftruncate(&memory, len as i64).unwrap();
    pwrite(&memory, content, 0).unwrap();
    fcntl(&memory, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    memory
}

/// The memory of the only pipe of this process.
fn memory() -> OwnedFd {
    let fds = crate::support::open_fds();
    let (fd, _) = fds
        .iter()
        .find(|(_, name)| name.starts_with("/memfd:shmpipe"))
        .unwrap();
    std::fs::File::options()
        .read(true)
        .write(true)
        .open(format!("/proc/self/fd/{fd}"))
        .unwrap()
        .into()
}

fn why(pipe: &Pipe) -> String {
    assert_eq!(pipe.state(), State::Unreadable);
    pipe.look.as_ref().unwrap_err().to_string()
}

fn a_pipe_of_another_version_is_unreadable_by_name(backend: Backend) {
    let label = label();
    let (_rx, _tx) = open(backend, &label);
    pwrite(memory(), &7_u32.to_ne_bytes(), 8).unwrap();
    let pipe = one(&label);
    let why = why(&pipe);
    assert!(why.starts_with("unreadable: "), "{why}");
    assert!(
        why.contains("protocol version 7") && !why.contains("descriptor"),
        "{why}"
    );
    assert!(pipe.is_held_by(std::process::id()), "who holds it is known");
}

fn positions_that_cannot_be_are_unreadable(backend: Backend) {
    if backend == Backend::Kernel {
        return;
    }
    let label = label();
    let (_rx, _tx) = open(backend, &label);
    pwrite(memory(), &(1_u64 << 40).to_ne_bytes(), 0x098).unwrap();
    let why = why(&one(&label));
    assert!(why.contains("1099511627776 and 0"), "{why}");
}

fn random_words_never_end_a_survey(backend: Backend) {
    let mut random = Random::from_environment();
    let label = label();
    let (_rx, _tx) = open(backend, &label);
    let memory = memory();
    let mut whole = vec![0; page_size()];
    pread(&memory, &mut whole, 0).unwrap();
    for _ in 0..200 {
        let mut lies = whole.clone();
        // Behind what is checked first, so that all of it is used; or anywhere.
        let from = random.pick(&[0x80, 0x80, 0x80, 0x18, 0]);
        for _ in 0..1 + random.below(64) {
            let at = from + random.below((lies.len() - from) / 8) * 8;
            let word = random.pick(&[0, 1, u64::MAX, 1 << 63, random.clone().word()]);
            lies[at..at + 8].copy_from_slice(&word.to_ne_bytes());
            random.word();
        }
        pwrite(&memory, &lies, 0).unwrap();
        let pipe = one(&label);
        let _ = (pipe.state(), format!("{pipe:?}"));
        if let Ok(look) = &pipe.look {
            assert!(look.fill <= look.capacity.unwrap_or(0), "{look:?}");
        }
    }
}

fn memory_that_is_no_pipe_is_unreadable() {
    let label = label();
    let name = format!("shmpipe:{label}");
    let cases: [(&[u8], usize, SealFlag, &str); 4] = [
        (&[1; 64], 8192, SEALS, "it begins with"),
        (b"shmpipe\0", 8192, SealFlag::empty(), "not sealed"),
        (b"", 0, SEALS, "0 bytes long"),
        (&[0; 128], 128, SEALS, "it begins with"),
    ];
    for (content, len, seals, words) in cases {
        let memory = forged(&name, content, len, seals);
        let why = why(&one(&label));
        assert!(why.contains(words), "{why}");
        drop(memory);
    }
}

fn memory_with_the_name_of_something_else_is_not_looked_at() {
    let _memory = forged("shmpipes", &[1; 64], 8192, SEALS);
    let us = std::process::id();
    let survey = Survey::take().unwrap();
    assert!(!survey.pipes.iter().any(|pipe| pipe.is_held_by(us)));
}
