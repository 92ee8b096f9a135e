//! Descriptors of the right kind that no honest maker of a pipe has made.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};
use nix::sys::uio::pwrite;
use shmpipe::Backend;

use crate::forged::{assert_refused, parts};
use crate::handover::sender;
use crate::support::{on_both_backends, skipped};

on_both_backends! {
    nobody_can_send_descriptors_to_an_end_whose_socket_was_made_otherwise,
    a_pipe_with_a_name_is_refused,
}

/// By a socket of the right kind that lets them through, beside a header that names it.
fn nobody_can_send_descriptors_to_an_end_whose_socket_was_made_otherwise(backend: Backend) {
    if backend == Backend::Kernel {
        return; // a pipe carries none
    }
    const SO_PASSRIGHTS: libc::c_int = 83;
    let (memfd, _) = parts(backend);
    let flags = SockFlag::SOCK_CLOEXEC;
    let (own, peer) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
    let cookie = option(&own, libc::SO_COOKIE).unwrap().to_le_bytes();
    assert_eq!(pwrite(&memfd, &cookie, 0x28).unwrap(), 8);
    let _end = sender([memfd, own]).unwrap();
    let mine = [peer.as_raw_fd()];
    let bytes = [io::IoSlice::new(b"1234")];
    let rights = [ControlMessage::ScmRights(&mine)];
    let outcome = sendmsg::<()>(mine[0], &bytes, &rights, MsgFlags::MSG_DONTWAIT, None);
    if outcome.is_ok() && option(&peer, SO_PASSRIGHTS).is_none() {
        skipped("this kernel has no SO_PASSRIGHTS (Linux 6.16)");
        return;
    }
    assert_eq!(outcome, Err(nix::Error::EPERM));
}

/// An option of a socket, where the kernel has it.
fn option(socket: &OwnedFd, name: libc::c_int) -> Option<u64> {
    let (mut value, mut length) = (0_u64, 8);
    // SAFETY: the call writes one live word, or a part of it, and the length.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    (outcome == 0).then_some(value)
}

/// It can lie in a file system of its maker's own, and older kernels let reads from it wait (`RWF_NOWAIT`).
fn a_pipe_with_a_name_is_refused(backend: Backend) {
    if backend == Backend::SharedMemory {
        return; // its second descriptor is a socket
    }
    let path = std::env::temp_dir().join(format!("shmpipe-test-{}", std::process::id()));
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // By Linux a FIFO can be opened for both, which waits for nobody.
    let both = File::options().read(true).write(true).open(&path).unwrap();
    let writer = File::options().write(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    for inode in [0, nix::sys::stat::fstat(&writer).unwrap().st_ino] {
        let (memfd, _) = parts(backend);
        let inodes = [inode.to_le_bytes(), inode.to_le_bytes()].concat();
        assert_eq!(pwrite(&memfd, &inodes, 0x20).unwrap(), 16);
        let named = writer.try_clone().unwrap();
        assert_refused(
            sender([memfd, named.into()]),
            ErrorKind::InvalidData,
            "of this pipe",
        );
    }
    drop(both);
}
