//! Runs a program of calls and lies that the input spells: sends and receives on a small pipe, and writes
//! into its shared memory, its life-line or its kernel pipe in between.
//!
//! Any outcome of a call is right as long as it comes at once.

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::uio::pwrite;
use shmpipe::{Backend, PipeOptions, Receiver, Sender};

use crate::input::{Input, page};

/// Bytes of each kind of segment that a lie can hit: control part and ring.
fn segment() -> usize {
    2 * page()
}

/// Calls and lies of one input.
const STEPS: usize = 64;

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let backend = if input.byte() & 1 == 0 {
        Backend::SharedMemory
    } else {
        Backend::Kernel
    };
    let options = PipeOptions::new().backend(backend).capacity(page());
    let (mut rx, mut tx) = options.pipe().expect("a pipe of one page");
    // What a hostile holder has: the memory and the other descriptor of one side.
    let fds = tx
        .try_clone()
        .and_then(Sender::into_fds)
        .expect("two duplicates");
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        step(&mut input, &mut rx, &mut tx, &fds);
    }
}

fn step(input: &mut Input<'_>, rx: &mut Receiver, tx: &mut Sender, fds: &[OwnedFd]) {
    let soon = Duration::from_micros(100);
    match input.byte() % 16 {
        0 => drop(tx.try_send(input.take(32))),
        1 => drop(tx.try_send(&vec![1; input.word() % 5000])),
        // Longer than the pipe: goes in fragments, and is taken back.
        2 => drop(tx.send_timeout(&vec![2; input.word() % 20_000], soon)),
        3 => drop(rx.try_recv().map(|message| message.len())),
        4 => drop(rx.recv_timeout(soon).map(|message| message.len())),
        5 => drop(rx.poll(Some(Duration::ZERO))),
        6 => drop(rx.recv_timeout(Duration::ZERO).map(|message| message.len())),
        7 => {
            // A fresh state in which nothing is known to be corrupted.
            *rx = rx.try_clone().expect("a clone");
            *tx = tx.try_clone().expect("a clone");
        }
        8 => {
            let at = input.word() / 8 * 8 % segment();
            let len = page().min(segment() - at);
            let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let _ = fallocate(&fds[0], hole, at as i64, len as i64);
        }
        9 => drop(send_raw(&fds[1], input.take(32))),
        // A word of the control part; of the ring; a byte anywhere.
        10 | 11 => {
            let at = 128 + input.word() % 160 * 4;
            write(&fds[0], at, &input.long().to_le_bytes()[..4]);
        }
        12 => {
            let at = 128 + input.word() % 80 * 8;
            write(&fds[0], at, &input.long().to_le_bytes());
        }
        13 => {
            let at = page() + input.word() % (page() / 8) * 8;
            write(&fds[0], at, &input.long().to_le_bytes());
        }
        14 => {
            let at = page() + input.word() % page();
            write(&fds[0], at, input.take(16));
        }
        _ => write(&fds[0], input.word() % segment(), &[input.byte()]),
    }
}

/// Lies only within the segment: the file is sealed, so anything else is refused.
fn write(memfd: &OwnedFd, at: usize, bytes: &[u8]) {
    let _ = pwrite(memfd, bytes, at as i64);
}

/// Raw bytes into the life-line or the kernel pipe.
fn send_raw(fd: &OwnedFd, bytes: &[u8]) -> std::io::Result<()> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the bytes are live; a socket call on a pipe is refused.
    let sent = unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    if sent < 0 {
        // Non-blocking, and its reader lives in this process.
        std::fs::File::from(fd.try_clone()?).write_all(bytes)?;
    }
    Ok(())
}
