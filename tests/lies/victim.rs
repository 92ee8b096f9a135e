//! The honest calls, and what may come of them.
//!
//! Anything else than what is listed here fails the test: a panic, an error that a call cannot
//! meet, a call that comes back late, a large allocation. A crash or a hang fails it by the watchdog.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use shmpipe::{
    Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError,
    TrySendError,
};

use crate::allocator;

/// How late a call may come back: far more than a busy machine delays one, far less than for ever.
const GRACE: Duration = Duration::from_secs(5);

/// The largest block that a receiver may ask for. What has arrived within these tests is less; the
/// claims are more.
const LARGEST: usize = 16 << 20;

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Something was sent or received, or could be.
    Done,
    /// Full, empty, or the time-out.
    NotNow,
    /// The other side is gone.
    End,
    /// A sender is said to have died inside the message.
    Aborted,
    /// The caller's slice is too small, or the message too long for this call.
    Misfit,
    /// This process is said to be in another pid namespace than the side.
    Refused,
    /// For good.
    Corrupted,
}

use Outcome::{Aborted, Corrupted, Done, End, Misfit, NotNow, Refused};

/// What a lie can bring about besides: a call that could not look, and a refusal.
fn refused(error: &io::Error) -> Outcome {
    if error.kind() == io::ErrorKind::ResourceBusy {
        return NotNow;
    }
    assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
    Refused
}

/// The error of a byte-stream call.
fn streamed(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::InvalidData if error.to_string().contains("impossible") => Corrupted,
        io::ErrorKind::InvalidData => Aborted,
        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => End,
        _ => refused(error),
    }
}

/// Makes the call in time, within the bounds for memory, and returns what it came to.
pub(crate) fn bounded(what: &str, timeout: Duration, call: impl FnOnce() -> Outcome) -> Outcome {
    let start = Instant::now();
    let outcome = call();
    let took = start.elapsed();
    assert!(took < timeout + GRACE, "{what} took {took:?}");
    let largest = allocator::largest();
    assert!(
        largest <= LARGEST,
        "{what}: {largest} bytes were asked for at once"
    );
    outcome
}

/// A receiver's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receive {
    Try,
    TryBatch,
    Within(Duration),
    Poll,
    PollWithin(Duration),
    /// These wait for as long as it takes.
    Block,
    Slice(usize),
    Stream(usize),
    Iterate,
    Batch,
    PollForEver,
}

impl Receive {
    /// Makes the call.
    pub(crate) fn make(self, rx: &mut Receiver) -> Outcome {
        let timeout = match self {
            Self::Within(timeout) | Self::PollWithin(timeout) => timeout,
            _ => Duration::ZERO,
        };
        bounded(&format!("{self:?}"), timeout, || self.make_unbounded(rx))
    }

    fn make_unbounded(self, rx: &mut Receiver) -> Outcome {
        match self {
            Self::Try => match rx.try_recv() {
                Ok(_) => Done,
                Err(TryRecvError::Empty) => NotNow,
                Err(TryRecvError::Disconnected) => End,
                Err(TryRecvError::Aborted) => Aborted,
                Err(TryRecvError::Corrupted) => Corrupted,
                Err(TryRecvError::Io(error)) => refused(&error),
                Err(other) => panic!("{other}"),
            },
            Self::TryBatch => match rx.try_recv_batch() {
                Ok(batch) => {
                    let announced = batch.len();
                    assert!(announced > 0);
                    assert_eq!(batch.count(), announced);
                    Done
                }
                Err(TryRecvError::Empty) => NotNow,
                Err(TryRecvError::Disconnected) => End,
                Err(TryRecvError::Aborted) => Aborted,
                Err(TryRecvError::Corrupted) => Corrupted,
                Err(TryRecvError::Io(error)) => refused(&error),
                Err(other) => panic!("{other}"),
            },
            Self::Within(timeout) => match rx.recv_timeout(timeout) {
                Ok(_) => Done,
                Err(RecvTimeoutError::Timeout) => NotNow,
                Err(RecvTimeoutError::Disconnected) => End,
                Err(RecvTimeoutError::Aborted) => Aborted,
                Err(RecvTimeoutError::Corrupted) => Corrupted,
                Err(RecvTimeoutError::Io(error)) => refused(&error),
                Err(other) => panic!("{other}"),
            },
            Self::Block => received(rx.recv().map(drop)),
            Self::Batch => received(rx.recv_batch().map(drop)),
            Self::Slice(len) => received(rx.recv_into(&mut vec![0; len]).map(drop)),
            Self::Stream(len) => match rx.read(&mut vec![0; len]) {
                Ok(0) => End,
                Ok(_) => Done,
                Err(error) => streamed(&error),
            },
            Self::Iterate => match rx.messages().next() {
                Some(outcome) => received(outcome.map(drop)),
                None => End,
            },
            Self::Poll => polled(rx.poll(Some(Duration::ZERO))),
            Self::PollWithin(timeout) => polled(rx.poll(Some(timeout))),
            Self::PollForEver => polled(rx.poll(None)),
        }
    }
}

fn received(outcome: Result<(), RecvError>) -> Outcome {
    outcome.as_ref().map_or_else(failed, |()| Done)
}

fn failed(error: &RecvError) -> Outcome {
    match error {
        RecvError::Disconnected => End,
        RecvError::Aborted => Aborted,
        RecvError::Corrupted => Corrupted,
        RecvError::BufferTooSmall { .. } => Misfit,
        RecvError::Io(error) => refused(error),
        other => panic!("{other}"),
    }
}

fn polled(outcome: io::Result<bool>) -> Outcome {
    match outcome {
        Ok(true) => Done,
        Ok(false) => NotNow,
        Err(error) => refused(&error),
    }
}

/// A sender's calls, each with the length of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Send {
    Try(usize),
    Within(usize, Duration),
    /// These wait for as long as it takes.
    Block(usize),
    Stream(usize),
    Batch(usize),
}

impl Send {
    /// Makes the call.
    pub(crate) fn make(self, tx: &mut Sender) -> Outcome {
        let timeout = match self {
            Self::Within(_, timeout) => timeout,
            _ => Duration::ZERO,
        };
        bounded(&format!("{self:?}"), timeout, || self.make_unbounded(tx))
    }

    fn make_unbounded(self, tx: &mut Sender) -> Outcome {
        let message = |len| vec![0x5a; len];
        match self {
            Self::Try(len) => match tx.try_send(&message(len)) {
                Ok(()) => Done,
                Err(TrySendError::Full) => NotNow,
                Err(TrySendError::TooLargeAtOnce { .. }) => Misfit,
                Err(TrySendError::Disconnected) => End,
                Err(TrySendError::Corrupted) => Corrupted,
                Err(TrySendError::Io(error)) => refused(&error),
                Err(other) => panic!("{other}"),
            },
            Self::Within(len, timeout) => match tx.send_timeout(&message(len), timeout) {
                Ok(()) => Done,
                Err(SendTimeoutError::Timeout) => NotNow,
                Err(SendTimeoutError::Disconnected) => End,
                Err(SendTimeoutError::Corrupted) => Corrupted,
                Err(SendTimeoutError::Io(error)) => refused(&error),
                Err(other) => panic!("{other}"),
            },
            Self::Block(len) => match tx.send(&message(len)) {
                Ok(()) => Done,
                Err(SendError::Disconnected) => End,
                Err(SendError::Corrupted) => Corrupted,
                Err(SendError::Io(error)) => refused(&error),
                Err(other) => panic!("{other}"),
            },
            Self::Batch(len) => match tx.send_batch([message(len), message(8)]) {
                Ok(_) => Done,
                Err(failed) => match failed.error {
                    SendError::Disconnected => End,
                    SendError::Corrupted => Corrupted,
                    SendError::Io(error) => refused(&error),
                    other => panic!("{other}"),
                },
            },
            Self::Stream(len) => match tx.write(&message(len)) {
                Ok(_) => Done,
                Err(error) => streamed(&error),
            },
        }
    }
}

/// Drops an end, which must not hang either: it gives up a lock after a tenth of a second.
pub(crate) fn drop_in_time<T>(end: T) {
    bounded("drop", Duration::ZERO, || {
        drop(end);
        Done
    });
}
