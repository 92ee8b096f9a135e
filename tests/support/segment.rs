//! A second reader of segments, written from the byte map in `docs/protocol.md` and not from the
//! crate's code: it finds the memory of a pipe, maps it, and judges a copy of it.
//!
//! A copy is only as good as the moment at which it was taken: whoever may write has to stand still.

use std::num::NonZeroUsize;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use nix::sys::mman::{MapFlags, ProtFlags, mmap};

pub(crate) use super::byte_map::{FIELDS, at};

/// Flags of a record.
pub(crate) const FIRST: u32 = 1;
pub(crate) const LAST: u32 = 2;
const LEGAL_FLAGS: u32 = 15;

const HEADER: u64 = 8;

/// The memory of one memfd, mapped for good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    start: *mut u8,
    len: usize,
    fd: RawFd,
}

impl Memory {
    /// The memory of every memfd called `name` that this process has open.
    pub(crate) fn find_all(name: &str) -> Vec<Self> {
        let link = format!("/memfd:{name} (deleted)");
        let fds = super::open_fds().into_iter();
        fds.filter(|(_, target)| *target == link)
            .map(|(fd, _)| Self::map(fd))
            .collect()
    }

    /// The segment of the only pipe that this process has open.
    pub(crate) fn of_the_only_pipe() -> Self {
        let found = Self::find_all("shmpipe");
        assert_eq!(found.len(), 1, "one pipe should be open: {found:?}");
        found[0]
    }

    fn map(fd: RawFd) -> Self {
        // SAFETY: a descriptor that /proc has just shown, and whose owner the test keeps.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        let len = nix::sys::stat::fstat(borrowed).expect("a memfd").st_size;
        let len = usize::try_from(len).expect("a length");
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let length = NonZeroUsize::new(len).expect("a memfd with something in it");
        // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
        let start = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, borrowed, 0) }
            .expect("whoever has the memfd can map it");
        Self {
            start: start.as_ptr().cast(),
            len,
            fd,
        }
    }

    /// Another descriptor of the memfd.
    pub(crate) fn descriptor(&self) -> OwnedFd {
        // SAFETY: as in `map`.
        let borrowed = unsafe { BorrowedFd::borrow_raw(self.fd) };
        borrowed.try_clone_to_owned().expect("one descriptor more")
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// What is there now.
    pub(crate) fn copy(&self) -> Image {
        let mut bytes = vec![0; self.len];
        self.copy_to(&mut bytes);
        Image(bytes)
    }

    /// The same into a buffer of the right length.
    pub(crate) fn copy_to(&self, bytes: &mut [u8]) {
        assert_eq!(bytes.len(), self.len);
        // SAFETY: the mapping is so long and stays; a concurrent writer can only garble the bytes,
        // which the caller excludes or wants.
        unsafe {
            self.start
                .copy_to_nonoverlapping(bytes.as_mut_ptr(), self.len)
        };
    }

    /// Writes over what is there, all of it or from `offset` on.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len);
        let to = self.start.wrapping_add(offset);
        // SAFETY: inside the mapping, by the assertion; others see torn values at worst.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// Writes a value of 4 or 8 bytes in one store.
    pub(crate) fn store(&self, offset: usize, len: usize, value: u64) {
        assert!(offset + len <= self.len && offset % len == 0);
        let to = self.start.wrapping_add(offset);
        if len == 8 {
            // SAFETY: inside the mapping and aligned, by the assertion.
            unsafe { to.cast::<u64>().write_volatile(value) };
        } else {
            // SAFETY: as above.
            unsafe { to.cast::<u32>().write_volatile(value as u32) };
        }
    }

    /// Reads a value of 4 bytes in one load.
    pub(crate) fn load(&self, offset: usize) -> u32 {
        assert!(offset + 4 <= self.len && offset % 4 == 0);
        // SAFETY: inside the mapping and aligned, by the assertion.
        unsafe {
            self.start
                .wrapping_add(offset)
                .cast::<u32>()
                .read_volatile()
        }
    }
}

/// A copy of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image(pub(crate) Vec<u8>);

/// One record that a receiver can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) flags: u32,
    pub(crate) payload: Vec<u8>,
}

/// What a receiver can see of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The bytes that are there.
    pub(crate) bytes: Vec<u8>,
    /// Whole length, where not all of it is there yet.
    pub(crate) unfinished: Option<u64>,
}

impl Image {
    /// The 4 bytes at `offset`.
    pub(crate) fn u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(*self.0[offset..].first_chunk().expect("inside the segment"))
    }

    /// The 8 bytes at `offset`.
    pub(crate) fn u64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(*self.0[offset..].first_chunk().expect("inside the segment"))
    }

    /// Where the data begins.
    pub(crate) fn control(&self) -> usize {
        self.u32(at::CONTROL) as usize
    }

    /// Length of the data.
    pub(crate) fn capacity(&self) -> u64 {
        self.u64(at::CAPACITY)
    }

    /// Offset in the segment of a position of the stream.
    pub(crate) fn place(&self, position: u64) -> usize {
        self.control() + usize::try_from(position % self.capacity()).expect("below the capacity")
    }

    /// `len` bytes of the stream from `position` on.
    pub(crate) fn run(&self, position: u64, len: usize) -> Vec<u8> {
        let bytes = (0..len as u64).map(|at| self.0[self.place(position.wrapping_add(at))]);
        bytes.collect()
    }

    /// The records from `read` to the first header that is 0.
    ///
    /// # Errors
    ///
    /// What is wrong with them: a length, a flag, a chain longer than the ring.
    pub(crate) fn records(&self) -> Result<Vec<Record>, String> {
        let start = self.u64(at::RX_READ);
        let mut position = start;
        let mut records = Vec::new();
        loop {
            let header = self.u64(self.place(position));
            if header == 0 {
                return Ok(records);
            }
            let (low, flags) = (header & 0xffff_ffff, (header >> 32) as u32);
            let most = (self.capacity() / 8).min(256 * 1024) - HEADER;
            if low == 0 || low - 1 > most || flags & !LEGAL_FLAGS != 0 {
                return Err(format!("header {header:#x} at {position}"));
            }
            let len = low - 1;
            let end = position + HEADER + len.next_multiple_of(8);
            if end - start > self.capacity() - HEADER {
                return Err(format!(
                    "records from {start} to {end} are more than the ring"
                ));
            }
            let payload = self.run(position + HEADER, usize::try_from(len).expect("bounded"));
            records.push(Record { flags, payload });
            position = end;
        }
    }

    /// Checks I2, the state words and the records, and returns what a receiver can see (I1).
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub(crate) fn messages(&self) -> Result<Vec<Seen>, String> {
        if self.0[..8] != *b"shmpipe\0" || self.u32(0x008) != 2 {
            return Err("magic or version".into());
        }
        let (tail, read, head) = (
            self.u64(at::TX_TAIL),
            self.u64(at::RX_READ),
            self.u64(at::HEAD),
        );
        let records = self.records()?;
        let span = |record: &Record| HEADER + (record.payload.len() as u64).next_multiple_of(8);
        let visible: u64 = records.iter().map(span).sum();
        let end = read + visible;
        let last = records.last().map_or(0, span);
        // A record is there with its header; the tail follows. It may be the one just read.
        let lags = tail < read || end == tail + last;
        if !(end == tail || lags) || head > read || tail.saturating_sub(read) > self.capacity() - 8
        {
            return Err(format!(
                "head {head}, read {read}, records to {end}, tail {tail}"
            ));
        }
        let [senders, receivers] = [at::TX_STATE, at::RX_REASSEMBLY_STATE].map(|at| self.u32(at));
        if ![0, 1, 2, 3, 10].contains(&senders) || ![0, 1, 3, 6, 7, 8, 10].contains(&receivers) {
            return Err("a state that does not exist".into());
        }
        join(records)
    }
}

/// Puts records together. One that continues a message begun before `read` is left out.
fn join(records: Vec<Record>) -> Result<Vec<Seen>, String> {
    let mut seen: Vec<Seen> = Vec::new();
    for record in records {
        let is_last = record.flags & LAST != 0;
        if record.flags & FIRST != 0 {
            let (unfinished, skip) = match (is_last, record.payload.first_chunk()) {
                (true, _) => (None, 0),
                (false, Some(prefix)) => (Some(u64::from_le_bytes(*prefix)), 8),
                (false, None) => return Err("a first part without the message's length".into()),
            };
            let bytes = record.payload[skip..].to_vec();
            seen.push(Seen { bytes, unfinished });
        } else if let Some(Seen {
            bytes,
            unfinished: whole @ Some(_),
        }) = seen.last_mut()
        {
            bytes.extend(&record.payload);
            if is_last && whole.take() != Some(bytes.len() as u64) {
                return Err(format!("a message ends after {} bytes", bytes.len()));
            }
        } else if !seen.is_empty() {
            return Err("a part of no message".into());
        }
    }
    Ok(seen)
}
