//! One look at one pipe's memory: opened, checked, read once, closed.

use std::fs::File;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;
use std::{fmt, io};

use nix::sys::uio::pread;

use super::walk::{Count, Cursors, Outcome, Passed, Walker};
use crate::Backend;
use crate::backend::kernel::page::Shared;
use crate::ring::record::Rules;
use crate::segment::geometry::{Geometry, Kind};
use crate::segment::layout::{Control, Counters, Event, RxSide, Totals, TxSide};
use crate::sys::clock;

/// Bytes of the control part that have something in them.
const LENGTH: usize = size_of::<Control>();

/// Looks in a row before positions that do not go together count as wrong, and a ring as too lively to be walked:
/// between reading the one and the other the pipe goes on.
const LOOKS: u32 = 16;

/// What one look at a pipe's memory found.
///
/// # Examples
///
/// See [`Side`], and [`Pipe`](super::Pipe) for where a look comes from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Look {
    /// What carries the bytes.
    pub backend: Backend,
    /// Version of the protocol that the pipe's holders speak.
    pub version: u32,
    /// Bytes that the pipe holds, framing included; `None` where its maker did not know.
    pub capacity: Option<u64>,
    /// Bytes in the pipe: framing included in a ring, payload of whole messages in a kernel pipe.
    pub fill: u64,
    /// Length in bytes over which a message is refused; `None` without a limit.
    pub limit: Option<u64>,
    /// How long ago the pipe was made; `None` where the clocks do not agree.
    pub age: Option<Duration>,
    /// What senders counted.
    pub sender: Side,
    /// What receivers counted.
    pub receiver: Side,
    /// When this look was taken, on `CLOCK_MONOTONIC`.
    pub taken: Duration,
}

/// What the holders of one side have counted, all together, since the pipe was made.
///
/// A counter wraps at 2^64 and may be one message short for each holder that was killed.
///
/// Receivers of a ring do not count messages: theirs are those of the senders less those that still lie in the
/// ring. So what left it without being received whole counts too, as the message of a receiver that was killed.
///
/// # Examples
///
/// ```
/// use shmpipe::observe::{Pipe, Survey};
///
/// let (mut rx, mut tx) = shmpipe::PipeOptions::new().label("counted").pipe()?;
/// tx.send(b"one")?;
/// tx.send(b"three")?;
/// rx.recv()?;
/// let survey = Survey::take()?;
/// let own = |pipe: &&Pipe| pipe.is_held_by(std::process::id()) && pipe.label.as_deref() == Some("counted");
/// let pipe = survey.pipes.iter().find(own).expect("our own process is readable");
///
/// let look = pipe.look.as_ref().expect("and the pipe is well");
/// assert_eq!((look.sender.messages, look.sender.bytes, look.sender.largest), (2, 8, 5));
/// assert_eq!((look.receiver.messages, look.receiver.bytes), (1, 3));
/// assert!(look.fill >= 5, "framing included");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Side {
    /// Messages that went through whole.
    pub messages: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Whether `messages` and `bytes` are an estimate from the average length: for receivers of a ring with more
    /// in it than one look reads (1 MiB of short messages, or 2,000 longer than 4 KiB), or with so much going
    /// through it that what is in it cannot be told apart.
    pub is_estimate: bool,
    /// Length in bytes of the largest message sent or tried; 0 for receivers, who do not note it.
    pub largest: u64,
    /// Bytes in the ring at the fullest moment that this side saw; 0 for kernel pipes.
    pub high_water: u64,
    /// Waits that looked again for a while; 0 for kernel pipes.
    pub spins: u64,
    /// Waits that slept, each as often as it was woken.
    pub sleeps: u64,
    /// How often this side has woken the other one, modulo 2^32; `None` for kernel pipes, where the kernel does.
    pub rings: Option<u32>,
    /// Time spent waiting for the other side, that of the sleep under way included; summed over those that waited
    /// at the same time.
    pub blocked: Duration,
    /// How long the one that fell asleep last has been asleep; `None` when it is awake.
    pub asleep: Option<Duration>,
    /// Messages that were begun and never became whole; for receivers, how often one was reported.
    pub aborted: u64,
    /// How long ago this side was last known to be at work; `None` where that is not known. The fast path asks
    /// no clock, so a busy receiver is seen by the messages that it takes and not by this.
    pub last_active: Option<Duration>,
}

/// Why a pipe's memory says nothing: of another version, not a pipe's, hostile, or gone.
///
/// # Examples
///
/// See [`Pipe`](super::Pipe).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub(super) String);

impl Unreadable {
    /// The reason alone; as text it begins with "unreadable: ".
    pub fn reason(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unreadable: {}", self.0)
    }
}

impl std::error::Error for Unreadable {}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// The description at the head of the memory, checked as before attaching.
pub(super) fn geometry(memory: &File) -> Result<Geometry, Unreadable> {
    Geometry::of(memory).map_err(|error| {
        // The number is one of ours and means nothing to others.
        let fd = memory.as_fd().as_raw_fd();
        let text = error.to_string();
        Unreadable(
            text.replace(&format!("the memfd {fd}"), "its memory")
                .replace(&format!("descriptor {fd}"), "its memory"),
        )
    })
}

/// Reads the counters.
pub(super) fn take(memory: &File, geometry: &Geometry) -> Result<Look, Unreadable> {
    match geometry.kind() {
        Some(Kind::KernelPage) => Ok(Words::read(memory)?.kernel_pipe(geometry)),
        _ => ring(memory, geometry),
    }
}

/// Reads the counters of a ring, and counts what is in it.
fn ring(memory: &File, geometry: &Geometry) -> Result<Look, Unreadable> {
    let data = geometry.control() as u64;
    let mut walker = Walker::new(Rules::new(geometry.capacity()), |place, bytes| {
        let read = pread(memory, bytes, (data + place) as i64)?;
        let is_all = read == bytes.len();
        is_all
            .then_some(())
            .ok_or(io::ErrorKind::UnexpectedEof.into())
    });
    let mut words = Words::read(memory)?;
    let mut problem = None;
    for _ in 0..LOOKS {
        let before = words.cursors();
        problem = fill(before, geometry.capacity() as u64).err();
        if problem.is_some() {
            words = Words::read(memory)?;
            continue;
        }
        let walk = walker.walk(before)?;
        words = Words::read(memory)?;
        match walk.settle(words.cursors()) {
            Outcome::Counted(passed) => return Ok(words.ring(geometry, passed)),
            Outcome::MovedOn => {}
            Outcome::TooMuch => break,
            Outcome::NoHeader(at, word) => {
                let text = format!("the word {word:#x} at its position {at} begins no record");
                return Err(Unreadable(text));
            }
        }
    }
    if let Some(problem) = problem {
        return Err(problem);
    }
    let now = words.cursors();
    let passed = now.estimate(fill(now, geometry.capacity() as u64)?);
    Ok(words.ring(geometry, passed))
}

/// A private copy of the control part.
struct Words {
    bytes: [u8; LENGTH],
    now: Duration,
}

impl Words {
    fn read(memory: &File) -> Result<Self, Unreadable> {
        let mut bytes = [0; LENGTH];
        let read = pread(memory, &mut bytes, 0).map_err(io::Error::from)?;
        if read < LENGTH {
            return Err(Unreadable(format!("only {read} bytes could be read")));
        }
        let now = clock::now();
        Ok(Self { bytes, now })
    }

    fn u64(&self, offset: usize) -> u64 {
        let word = self.bytes[offset..].first_chunk();
        u64::from_le_bytes(*word.expect("an offset inside the control part"))
    }

    fn u32(&self, offset: usize) -> u32 {
        let word = self.bytes[offset..].first_chunk();
        u32::from_le_bytes(*word.expect("an offset inside the control part"))
    }

    fn cursors(&self) -> Cursors {
        let tx = offset_of!(Control, tx);
        let read = offset_of!(Control, rx) + offset_of!(RxSide, read);
        Cursors {
            tail: self.u64(tx + offset_of!(TxSide, tail)),
            // The low bits say what the receiving side is at.
            read: self.u64(read) & !7,
            sent: self.count(tx + offset_of!(TxSide, totals)),
        }
    }

    fn ring(&self, geometry: &Geometry, passed: Passed) -> Look {
        let (data, room) = (offset_of!(Control, data), offset_of!(Control, room));
        let rings = |event: usize| self.u32(event + offset_of!(Event, bell));
        // Who is marked as asleep may have died since; who is not has been rung for.
        let is_armed = |event: usize| self.u32(event + offset_of!(Event, armed)) != 0;
        let counters = offset_of!(Control, tx_counters);
        let mut sender = self.side(passed.sent, counters, is_armed(room));
        let counters = offset_of!(Control, rx_counters);
        let mut receiver = self.side(passed.received, counters, is_armed(data));
        sender.rings = Some(rings(data));
        receiver.rings = Some(rings(room));
        receiver.is_estimate = passed.is_estimate;
        Look {
            backend: Backend::SharedMemory,
            capacity: Some(geometry.capacity() as u64),
            fill: passed.fill,
            sender,
            receiver,
            ..self.frame(geometry)
        }
    }

    fn kernel_pipe(&self, geometry: &Geometry) -> Look {
        let sender = self.side(self.count(Shared::TX_TOTALS), Shared::TX_COUNTERS, true);
        let receiver = self.side(self.count(Shared::RX_TOTALS), Shared::RX_COUNTERS, true);
        let capacity = self.u64(Shared::CAPACITY);
        // What a receiver abandoned stays in the difference, so it is no more than a bound.
        let fill = sender.bytes.saturating_sub(receiver.bytes).min(capacity);
        Look {
            backend: Backend::Kernel,
            capacity: (capacity != 0).then_some(capacity),
            fill,
            sender,
            receiver,
            ..self.frame(geometry)
        }
    }

    /// What both kinds have.
    fn frame(&self, geometry: &Geometry) -> Look {
        Look {
            backend: Backend::SharedMemory,
            version: geometry.version(),
            capacity: None,
            fill: 0,
            limit: Some(geometry.limit() as u64).filter(|&limit| limit != u64::MAX),
            age: self.ago(geometry.created()),
            sender: Side::default(),
            receiver: Side::default(),
            taken: self.now,
        }
    }

    fn count(&self, totals: usize) -> Count {
        Count {
            messages: self.u64(totals + offset_of!(Totals, messages)),
            bytes: self.u64(totals + offset_of!(Totals, bytes)),
        }
    }

    fn side(&self, count: Count, counters: usize, may_sleep: bool) -> Side {
        let of = |offset: usize| self.u64(counters + offset);
        let asleep = self
            .ago(of(offset_of!(Counters, since)))
            .filter(|_| may_sleep);
        let blocked = Duration::from_nanos(of(offset_of!(Counters, blocked)));
        Side {
            messages: count.messages,
            bytes: count.bytes,
            is_estimate: false,
            largest: of(offset_of!(Counters, largest)),
            high_water: of(offset_of!(Counters, high_water)),
            spins: of(offset_of!(Counters, spins)),
            sleeps: of(offset_of!(Counters, sleeps)),
            rings: None,
            blocked: blocked.saturating_add(asleep.unwrap_or_default()),
            asleep,
            aborted: of(offset_of!(Counters, aborted)),
            last_active: self.ago(of(offset_of!(Counters, activity))),
        }
    }

    /// How long ago a moment was; `None` for never, and for one that is still to come.
    fn ago(&self, nanoseconds: u64) -> Option<Duration> {
        let then = Duration::from_nanos(nanoseconds);
        let elapsed = self.now.checked_sub(then);
        elapsed.filter(|_| nanoseconds != 0)
    }
}

/// Bytes between the two positions. A receiver can be ahead by what a dead sender did not count.
fn fill(Cursors { tail, read, .. }: Cursors, capacity: u64) -> Result<u64, Unreadable> {
    let used = tail.wrapping_sub(read);
    if tail % 8 != 0 {
        Err(Unreadable(format!(
            "its position {tail} is no multiple of 8"
        )))
    } else if used <= capacity {
        Ok(used)
    } else if read.wrapping_sub(tail) <= capacity {
        Ok(0)
    } else {
        Err(Unreadable(format!(
            "its positions {tail} and {read} are further apart than its {capacity} bytes"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(tail: u64, read: u64) -> Result<u64, Unreadable> {
        let sent = Count::default();
        fill(Cursors { tail, read, sent }, 4096)
    }

    #[test]
    fn the_fill_is_what_lies_between_the_positions() {
        assert_eq!(between(104, 40), Ok(64));
        assert_eq!(between(40, u64::MAX - 7), Ok(48));
        assert_eq!(between(40, 64), Ok(0), "a dead sender's last record");
        for (tail, read, words) in [(5000, 0, "5000 and 0"), (41, 0, "position 41 is no")] {
            let wrong = between(tail, read).unwrap_err().to_string();
            assert!(wrong.starts_with("unreadable: "), "{wrong}");
            assert!(wrong.contains(words), "{wrong}");
        }
    }
}
