//! Descriptors that make no end: of the wrong number or side, of two pipes, foreign, or forged.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socket,
};
use nix::sys::uio::{pread, pwrite};
use nix::unistd::ftruncate;
use shmpipe::Backend;

use crate::ends::{CAPACITY, open};
use crate::handover::{connection, receiver, sender};
use crate::support::{calls, fork, mappings, on_both_backends, open_fds, pipe, skipped};

on_both_backends! {
    a_wrong_number_of_descriptors_is_refused_by_name,
    ends_of_the_wrong_side_are_refused,
    descriptors_of_two_pipes_are_refused,
    foreign_files_are_refused,
    sockets_of_another_kind_are_refused,
    a_claimed_size_without_the_memory_is_refused,
    a_segment_with_a_hole_is_refused,
    nobody_can_send_descriptors_to_an_end,
    memory_that_is_not_sealed_is_refused,
    each_impossible_value_of_a_header_is_refused,
    what_is_refused_is_never_mapped,
    a_refused_attachment_leaks_nothing,
}

#[track_caller]
pub(crate) fn assert_refused<T>(outcome: io::Result<T>, kind: ErrorKind, words: &str) {
    let Err(error) = outcome else {
        panic!("taken, where {words:?} was expected");
    };
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    assert!(text.contains(words), "{text:?} says nothing of {words:?}");
}

fn a_wrong_number_of_descriptors_is_refused_by_name(backend: Backend) {
    let fds = || open(backend).1.into_fds().unwrap();
    let kind = ErrorKind::InvalidInput;
    assert_refused(
        sender([]),
        kind,
        "0 descriptors came where a sender was asked for, which is made of 2",
    );
    assert_refused(
        sender(fds().into_iter().take(1)),
        kind,
        "1 descriptor came where",
    );
    let three = fds().into_iter().chain(fds().into_iter().take(1));
    assert_refused(
        receiver(three),
        kind,
        "3 descriptors came where a receiver was asked for, which is made of 2",
    );
    assert_refused(
        connection(fds()),
        kind,
        "2 descriptors came where a connection was asked for, which is made of 4; a sender or a receiver is made of 2",
    );
    let endless = std::iter::repeat_with(|| fds().remove(0));
    assert_refused(sender(endless), kind, "more than 6 descriptors came where");
}

fn ends_of_the_wrong_side_are_refused(backend: Backend) {
    let (rx, tx) = open(backend);
    let kind = ErrorKind::InvalidData;
    let tx_fds = tx.into_fds().unwrap();
    let number = tx_fds[1].as_raw_fd().to_string();
    assert_refused(receiver(tx_fds), kind, &number);
    assert_refused(sender(rx.into_fds().unwrap()), kind, "of this pipe");
    // Out of order.
    let (rx, _tx) = open(backend);
    let mut fds = rx.into_fds().unwrap();
    fds.reverse();
    assert_refused(receiver(fds), kind, "is no memfd");
}

fn descriptors_of_two_pipes_are_refused(backend: Backend) {
    let (one, other) = (open(backend).1, open(backend).1);
    let memfd = one.into_fds().unwrap().remove(0);
    let life_line = other.into_fds().unwrap().remove(1);
    assert_refused(
        sender([memfd, life_line]),
        ErrorKind::InvalidData,
        "of this pipe",
    );
}

fn foreign_files_are_refused(backend: Backend) {
    let kind = ErrorKind::InvalidData;
    let life_line = || open(backend).1.into_fds().unwrap().remove(1);
    let null = File::open("/dev/null").unwrap();
    assert_refused(sender([null.into(), life_line()]), kind, "is no memfd");
    let (reader, _writer) = pipe().unwrap();
    assert_refused(sender([reader.into(), life_line()]), kind, "is no memfd");
    let file = File::open("/proc/self/exe").unwrap();
    assert_refused(sender([file.into(), life_line()]), kind, "is no memfd");
    let (memfd, _) = parts(backend);
    let null = File::open("/dev/null").unwrap();
    assert_refused(sender([memfd, null.into()]), kind, "of this pipe");
}

/// Also where the header knows no cookie to compare.
fn sockets_of_another_kind_are_refused(backend: Backend) {
    let others: [(AddressFamily, SockType); 3] = [
        (AddressFamily::Unix, SockType::Stream),
        (AddressFamily::Unix, SockType::Datagram),
        (AddressFamily::Inet, SockType::Datagram),
    ];
    for (family, kind) in others {
        let (memfd, _life_line) = parts(backend);
        let (mut header, len) = header(&memfd);
        header[0x20..0x30].fill(0);
        let memfd = forged(&header, len, SEALS);
        let other = socket(family, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
        assert_refused(
            sender([memfd, other]),
            ErrorKind::InvalidData,
            "of this pipe",
        );
    }
}

/// A file of holes costs its maker nothing; whoever attached to it would pay for all that it claims.
fn a_claimed_size_without_the_memory_is_refused(backend: Backend) {
    if backend == Backend::Kernel {
        return; // its page is always a page, and holds the header
    }
    for capacity in [1_u64 << 28, 1 << 40] {
        let (memfd, life_line) = parts(backend);
        let (mut header, _) = header(&memfd);
        header[0x18..0x20].copy_from_slice(&capacity.to_le_bytes());
        let forged = forged(&header, page_of(&memfd) + capacity as i64, SEALS);
        let witness = forged.try_clone().unwrap();
        let before = blocks(&witness);
        assert_refused(
            sender([forged, life_line]),
            ErrorKind::InvalidData,
            "bytes are allocated",
        );
        assert_eq!(blocks(&witness), before, "memory was taken for {capacity}");
    }
}

/// One page of many is missing.
fn a_segment_with_a_hole_is_refused(backend: Backend) {
    if backend == Backend::Kernel {
        return; // a page without a header is no segment in any case
    }
    let (memfd, life_line) = parts(backend);
    let witness = memfd.try_clone().unwrap();
    let (page, before) = (page_of(&witness), blocks(&witness));
    punch(&witness, page, page);
    assert!(blocks(&witness) < before);
    assert_refused(
        sender([memfd, life_line]),
        ErrorKind::InvalidData,
        "bytes are allocated",
    );
    // Filled by who made it, it is one again.
    let (memfd, life_line) = parts(backend);
    punch(&memfd, page, page);
    fallocate(&memfd, FallocateFlags::empty(), page, page).unwrap();
    sender([memfd, life_line]).unwrap();
}

/// The control part is one page.
fn page_of(memfd: impl AsFd) -> i64 {
    header(memfd).1 - CAPACITY as i64
}

fn punch(memfd: impl AsFd, offset: i64, len: i64) {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(memfd, flags, offset, len).unwrap();
}

/// What is allocated, in units of 512 bytes.
fn blocks(memfd: impl AsFd) -> i64 {
    nix::sys::stat::fstat(memfd).unwrap().st_blocks
}

/// Closing one that came along could take as long as its sender likes.
fn nobody_can_send_descriptors_to_an_end(backend: Backend) {
    if backend == Backend::Kernel {
        return; // a pipe carries none
    }
    let (_rx, tx) = open(backend);
    let fds = tx.into_fds().unwrap();
    let mine = [fds[1].as_raw_fd()];
    let bytes = [io::IoSlice::new(b"1234")];
    let rights = [ControlMessage::ScmRights(&mine)];
    let outcome = sendmsg::<()>(mine[0], &bytes, &rights, MsgFlags::MSG_DONTWAIT, None);
    if outcome.is_ok() {
        skipped("this kernel has no SO_PASSRIGHTS (Linux 6.16)");
        return;
    }
    assert_eq!(outcome, Err(nix::Error::EPERM));
}

const SEALS: SealFlag = SealFlag::F_SEAL_SHRINK
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_SEAL);

/// Descriptors of a sending end.
pub(crate) fn parts(backend: Backend) -> (OwnedFd, OwnedFd) {
    let mut fds = open(backend).1.into_fds().unwrap();
    let life_line = fds.pop().unwrap();
    (fds.pop().unwrap(), life_line)
}

/// A memfd of `len` bytes that begins with `header`, sealed by `seals`.
fn forged(header: &[u8], len: i64, seals: SealFlag) -> OwnedFd {
    let memfd = memfd_create(c"shmpipe", MFdFlags::MFD_ALLOW_SEALING).unwrap();
    ftruncate(&memfd, len).unwrap();
    let written = pwrite(&memfd, &header[..header.len().min(len as usize)], 0).unwrap();
    assert!(written <= header.len());
    fcntl(&memfd, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    memfd
}

/// The header of a real segment, and the segment's length.
fn header(memfd: impl AsFd) -> (Vec<u8>, i64) {
    let mut bytes = vec![0; 64];
    pread(&memfd, &mut bytes, 0).unwrap();
    (bytes, nix::sys::stat::fstat(&memfd).unwrap().st_size)
}

fn memory_that_is_not_sealed_is_refused(backend: Backend) {
    let kind = ErrorKind::InvalidData;
    for missing in SEALS.iter() {
        let (memfd, life_line) = parts(backend);
        let (header, len) = header(&memfd);
        // Without F_SEAL_SEAL the kernel would let anybody add seals later, as F_SEAL_WRITE.
        let forged = forged(&header, len, SEALS.difference(missing));
        let name = missing.iter_names().next().unwrap().0;
        assert_refused(sender([forged, life_line]), kind, name);
    }
    let (memfd, life_line) = parts(backend);
    let (header, len) = header(&memfd);
    let read_only = forged(&header, len, SEALS | SealFlag::F_SEAL_WRITE);
    assert_refused(sender([read_only, life_line]), kind, "against writing");
}

fn each_impossible_value_of_a_header_is_refused(backend: Backend) {
    let own = if backend == Backend::SharedMemory {
        CAPACITY as u64
    } else {
        0
    };
    let mut cases: Vec<(usize, Vec<u8>, &str)> = vec![
        (0, b"SHMPIPE\0".to_vec(), "it begins with"),
        (0, vec![0; 8], "it begins with"),
        (8, 0_u32.to_le_bytes().to_vec(), "protocol version 0"),
        (8, 1_u32.to_le_bytes().to_vec(), "protocol version 1"),
        (12, 0_u32.to_le_bytes().to_vec(), "kind 0"),
        (12, 3_u32.to_le_bytes().to_vec(), "kind 3"),
        (16, 0_u32.to_le_bytes().to_vec(), "control part has 0"),
        (16, 4097_u32.to_le_bytes().to_vec(), "control part has 4097"),
        (16, u32::MAX.to_le_bytes().to_vec(), "control part"),
        (20, 32_u32.to_le_bytes().to_vec(), "flags 0x20"),
        (20, u32::MAX.to_le_bytes().to_vec(), "unknown flags"),
        // Another kind of segment than its size bears out.
        (
            12,
            if own == 0 { 1_u32 } else { 2 }.to_le_bytes().to_vec(),
            "capacity",
        ),
    ];
    for capacity in [own + 1, own * 2 + 4096, 1, 100, 1 << 41, 1 << 63, u64::MAX] {
        cases.push((24, capacity.to_le_bytes().to_vec(), "bytes"));
    }
    for (at, bytes, words) in cases {
        let (memfd, life_line) = parts(backend);
        let (mut header, len) = header(&memfd);
        header[at..at + bytes.len()].copy_from_slice(&bytes);
        let outcome = sender([forged(&header, len, SEALS), life_line]);
        assert_refused(outcome, ErrorKind::InvalidData, words);
    }
    for len in [0, 1, 63, 64, 4096 * 3, 4095 + own as i64] {
        let (memfd, life_line) = parts(backend);
        let (header, _) = header(&memfd);
        let outcome = sender([forged(&header, len, SEALS), life_line]);
        assert_refused(
            outcome,
            ErrorKind::InvalidData,
            &format!("{len} bytes long"),
        );
    }
}

/// In a process that may not map shared memory a descriptor that fails a check fails as ever, so nobody
/// tried; one that passes does not get past the mapping.
fn what_is_refused_is_never_mapped(backend: Backend) {
    let (memfd, life_line) = parts(backend);
    let (header, len) = header(&memfd);
    // What a first attachment sets up for the whole process, here and so in the child.
    drop(sender([memfd, life_line]).unwrap());
    let child = fork(|| {
        let shared = u32::try_from(libc::MAP_SHARED).unwrap();
        let (memfd, life_line) = parts(backend);
        let spare = || life_line.try_clone().unwrap();
        calls(libc::SYS_mmap)
            .with_bits(3, shared, shared)
            .refuse(libc::ENOMEM);
        let kind = ErrorKind::InvalidData;
        let unsealed = forged(&header, len, SealFlag::empty());
        assert_refused(sender([unsealed, spare()]), kind, "is not sealed");
        let short = forged(&header, len - 4096, SEALS);
        assert_refused(sender([short, spare()]), kind, "bytes long");
        let foreign = forged(&[1; 64], len, SEALS);
        assert_refused(sender([foreign, spare()]), kind, "it begins with");
        let true_one = sender([memfd, life_line]);
        assert_refused(true_one, ErrorKind::OutOfMemory, "mmap");
    });
    child.join();
}

fn a_refused_attachment_leaks_nothing(backend: Backend) {
    // Whatever the first call of a process keeps for good.
    drop(open(backend));
    let before = (open_fds(), mappings());
    foreign_files_are_refused(backend);
    memory_that_is_not_sealed_is_refused(backend);
    each_impossible_value_of_a_header_is_refused(backend);
    ends_of_the_wrong_side_are_refused(backend);
    assert_eq!((open_fds(), mappings()), before);
    // In a child, whose mappings are its own to count.
    fork(move || assert_eq!(mappings(), before.1)).join();
}
