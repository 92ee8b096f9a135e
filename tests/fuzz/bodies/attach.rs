//! Attaches to a memfd whose seals, length and content the input chooses.
//!
//! Nothing may come of it but an error or an end that keeps what it promises to a victim of lies.

use std::os::fd::OwnedFd;

use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::uio::{pread, pwrite};
use nix::unistd::ftruncate;
use shmpipe::{Backend, PipeOptions, Receiver, Sender};

use crate::input::{Input, page};

/// Longest memfd; one that is not sparse takes all of its memory.
const LONGEST: usize = 1 << 17;
const HEADER: usize = 96;
/// Of the first byte of the input: the memfd is left with holes.
const SPARSE: u8 = 8;

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.byte();
    let backend = if choice & 1 == 0 {
        Backend::SharedMemory
    } else {
        Backend::Kernel
    };
    let (rx, tx) = PipeOptions::new()
        .backend(backend)
        .capacity(page())
        .pipe()
        .expect("a pipe of one page");
    let is_sender = choice & 2 == 0;
    let mut fds = if is_sender {
        tx.into_fds()
    } else {
        rx.into_fds()
    }
    .expect("two duplicates");
    fds[0] = forge(&fds[0], &mut input, choice);
    if is_sender {
        // SAFETY: a forgery, which is what the checks are there for; nobody else maps it.
        if let Ok(mut tx) = unsafe { Sender::from_fds(fds) } {
            let _ = tx.try_send(input.take(64));
            let _ = tx.try_send(&[7; 3000]);
        }
    } else {
        // SAFETY: as above.
        if let Ok(mut rx) = unsafe { Receiver::from_fds(fds) } {
            let _ = rx.try_recv().map(|message| message.len());
            let _ = rx.poll(Some(std::time::Duration::ZERO));
        }
    }
}

/// A memfd like `model` but for what the input says.
fn forge(model: &OwnedFd, input: &mut Input<'_>, choice: u8) -> OwnedFd {
    let mut content = vec![0; 2 * page()];
    let read = pread(model, &mut content, 0).expect("a memfd can be read");
    content.truncate(read);
    let seals = SealFlag::from_bits_truncate(i32::from(input.byte()));
    let len = match input.word() {
        0 => content.len(),
        words => words * 2 % LONGEST,
    };
    if choice & 4 == 0 {
        // A true header with a few bytes changed.
        for _ in 0..input.byte() % 8 {
            let at = usize::from(input.byte()) % HEADER;
            content[at] = input.byte();
        }
    } else {
        let forged = input.take(content.len());
        content[..forged.len()].copy_from_slice(forged);
    }
    let memfd = memfd_create(c"shmpipe", MFdFlags::MFD_ALLOW_SEALING).expect("a memfd");
    ftruncate(&memfd, i64::try_from(len).expect("small")).expect("an unsealed memfd");
    pwrite(&memfd, &content[..content.len().min(len)], 0).expect("within the file");
    if choice & SPARSE == 0 && len > 0 {
        let len = i64::try_from(len).expect("small");
        fallocate(&memfd, FallocateFlags::empty(), 0, len).expect("little memory");
    }
    // Seals that exclude each other are refused, which leaves none.
    let _ = fcntl(&memfd, FcntlArg::F_ADD_SEALS(seals));
    memfd
}
