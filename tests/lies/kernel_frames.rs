//! A kernel pipe as a liar sees it: the raw ends, the page beside it, and frames built by hand.
//!
//! The page has no published layout; it is words here.

use std::io::{IoSlice, Write};
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use shmpipe::{Backend, PipeOptions, Receiver, Sender};

use crate::support::open_fds;
use crate::support::segment::{Image, Memory};

/// Kinds of frames, by the numbers that the format gives them.
pub(crate) const WHOLE: u8 = 1;
pub(crate) const FIRST: u8 = 2;
pub(crate) const FRAGMENT: u8 = 3;
pub(crate) const LAST: u8 = 4;

/// Bytes of the page that mean something.
pub(crate) const USED: usize = 640;

/// A kernel pipe that can be put back to what it was.
pub(crate) struct KernelStage {
    pub(crate) memory: Memory,
    pub(crate) image: Image,
    raw_reader: OwnedFd,
    raw_writer: OwnedFd,
    /// What ends each frame.
    pub(crate) cookie: [u8; 8],
}

/// Makes a kernel pipe; no other may be open.
pub(crate) fn open() -> (Receiver, Sender, KernelStage) {
    let options = PipeOptions::new().backend(Backend::Kernel);
    let (rx, mut tx) = options.pipe().expect("a kernel pipe");
    let memory = Memory::find_all("shmpipe-kernel");
    assert_eq!(memory.len(), 1, "one pipe should be open");
    let (raw_reader, raw_writer) = raw_ends();
    let mut stage = KernelStage {
        memory: memory[0],
        image: memory[0].copy(),
        raw_reader,
        raw_writer,
        cookie: [0; 8],
    };
    // The end of an honest frame shows the cookie.
    tx.send(b"show it").expect("there is room");
    let frame = stage.drain();
    stage.cookie = *frame.last_chunk().expect("a frame has a trailer");
    stage.image = stage.memory.copy();
    (rx, tx, stage)
}

/// Copies of the pipe's two descriptors, reader first.
fn raw_ends() -> (OwnedFd, OwnedFd) {
    let mut ends = [None, None];
    for (fd, target) in open_fds() {
        // The standard descriptors may be pipes too.
        if fd > 2 && target.starts_with("pipe:") {
            // SAFETY: /proc has just shown it, and the pipe's ends keep it open.
            let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
            let flags = fcntl(borrowed, FcntlArg::F_GETFL).expect("flags of a pipe");
            let writes = OFlag::from_bits_truncate(flags) & OFlag::O_ACCMODE == OFlag::O_WRONLY;
            ends[usize::from(writes)] = borrowed.try_clone_to_owned().ok();
        }
    }
    let [reader, writer] = ends.map(|end| end.expect("a pipe has two ends"));
    (reader, writer)
}

/// The eight bytes that begin a frame: seven bits in each, with the top bit set.
pub(crate) fn header(kind: u8, len: u64) -> [u8; 8] {
    let value = len << 3 | u64::from(kind);
    std::array::from_fn(|at| 0x80 | (value >> (7 * at) & 0x7f) as u8)
}

impl KernelStage {
    /// Takes everything out of the pipe.
    fn drain(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut bytes = [0; 4096];
        loop {
            match nix::unistd::read(&self.raw_reader, &mut bytes) {
                Ok(0) | Err(Errno::EAGAIN) => return all,
                Ok(len) => all.extend_from_slice(&bytes[..len]),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Empties the pipe and puts the page back.
    pub(crate) fn restore(&self) {
        self.drain();
        self.memory.write(0, &self.image.0);
    }

    /// Lets reads and writes of everybody who shares these descriptors block.
    pub(crate) fn make_blocking(&self) {
        for end in [&self.raw_reader, &self.raw_writer] {
            fcntl(end, FcntlArg::F_SETFL(OFlag::empty())).expect("flags of a pipe");
        }
    }

    /// Puts bytes into the pipe, as far as they go in.
    pub(crate) fn put(&self, parts: &[&[u8]]) {
        let parts: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let _ = nix::sys::uio::writev(&self.raw_writer, &parts);
    }

    /// Puts a whole frame into the pipe.
    pub(crate) fn put_frame(&self, kind: u8, payload: &[u8]) {
        self.put(&[&header(kind, payload.len() as u64), payload, &self.cookie]);
    }

    /// The place of the word in the page that has just become `value`.
    pub(crate) fn place_of(&self, value: u64) -> usize {
        let image = self.memory.copy();
        let mut places = (0..USED).step_by(8).filter(|&at| image.u64(at) == value);
        let place = places.next().expect("the word is in the page");
        assert_eq!(places.next(), None, "it is there twice");
        place
    }
}

/// Writes the same bytes into the pipe until it ends, waiting while it is full.
pub(crate) fn flood(stage: &KernelStage, bytes: &[u8]) -> ! {
    let flags = OFlag::empty();
    // A description of one's own, or the honest end's would block too.
    let path = format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&stage.raw_writer)
    );
    let fd = nix::fcntl::open(
        path.as_str(),
        flags | OFlag::O_WRONLY,
        nix::sys::stat::Mode::empty(),
    );
    let mut file = std::fs::File::from(fd.expect("a pipe can be opened again"));
    loop {
        file.write_all(bytes).expect("the pipe is open");
    }
}
