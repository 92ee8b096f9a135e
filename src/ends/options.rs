//! How a pipe is made: `pipe`, `duplex`, and the builder behind both.

use std::sync::Arc;
use std::{fmt, io};

use crate::backend::{kernel, shm};
use crate::ring::record::capacity_for_record;
use crate::segment::geometry::{Flags, Wanted};
use crate::sys::refused::{named, raw_os_error};
use crate::{Connection, Receiver, Sender, Spin};

/// What carries the bytes of a pipe.
///
/// # Examples
///
/// ```
/// use shmpipe::{Backend, PipeOptions};
///
/// let (rx, _tx) = PipeOptions::new().backend(Backend::Kernel).pipe()?;
/// assert_eq!(rx.backend(), Backend::Kernel);
/// assert_eq!(rx.backend().to_string(), "kernel"); // as SHMPIPE_BACKEND has it
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// A ring in shared memory (memfd_create(2)) with futex(2) wake-up.
    SharedMemory,
    /// A kernel pipe (pipe(2)).
    Kernel,
}

impl fmt::Display for Backend {
    /// Writes the name that `SHMPIPE_BACKEND` takes: `shm` or `kernel`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SharedMemory => "shm",
            Self::Kernel => "kernel",
        })
    }
}

/// Environment variable that chooses the backend where the code chose none.
const BACKEND_VARIABLE: &str = "SHMPIPE_BACKEND";

/// Default capacity in bytes, that of a Linux pipe (pipe(7)).
pub(crate) const DEFAULT_CAPACITY: usize = 64 * 1024;

/// Makes a one-way pipe with the default options.
///
/// Reader first, as pipe(2), `std::io::pipe` and `multiprocessing.Pipe(False)`. The descriptors
/// of both ends are close-on-exec.
///
/// # Errors
///
/// The errors of [`PipeOptions::pipe`].
///
/// # Examples
///
/// ```
/// let (mut rx, mut tx) = shmpipe::pipe()?;
/// tx.send(b"one whole message")?;
/// assert_eq!(&*rx.recv()?, b"one whole message");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pipe() -> io::Result<(Receiver, Sender)> {
    PipeOptions::new().pipe()
}

/// Makes a two-way pipe with the default options, as `multiprocessing.Pipe()`.
///
/// What one end sends the other receives; the two directions do not wait for each other.
///
/// # Errors
///
/// The errors of [`PipeOptions::pipe`].
///
/// # Examples
///
/// ```
/// let (mut left, mut right) = shmpipe::duplex()?;
/// left.send(b"ping")?;
/// assert_eq!(&*right.recv()?, b"ping");
/// right.send(b"pong")?;
/// assert_eq!(&*left.recv()?, b"pong");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn duplex() -> io::Result<(Connection, Connection)> {
    PipeOptions::new().duplex()
}

/// Chooses capacity, backend and limits before a pipe is made.
///
/// # Examples
///
/// Whole programs that take their options from the command line are in `examples/`, among them
/// `examples/request_reply.rs`, `examples/worker_pool.rs`, `examples/byte_stream.rs` and `examples/crash.rs`.
///
/// ```
/// use shmpipe::{Backend, PipeOptions};
///
/// let (rx, tx) = PipeOptions::new().capacity(1 << 20).backend(Backend::Kernel).pipe()?;
/// assert_eq!(tx.backend(), Backend::Kernel);
/// assert_eq!(rx.capacity(), 1 << 20);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until pipe() or duplex() is called"]
pub struct PipeOptions {
    capacity: Option<usize>,
    backend: Option<Backend>,
    max_message: Option<usize>,
    pub(crate) label: Option<String>,
    spin: Spin,
    in_place: Option<usize>,
    /// Whether the memory is there from the beginning.
    pub(crate) allocate: bool,
    pub(crate) flags: Flags,
}

impl Default for PipeOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// # Making a pipe
impl PipeOptions {
    /// The defaults: 64 KiB for each direction, no limit on a message, the backend from
    /// `SHMPIPE_BACKEND` or else shared memory with the kernel pipe as its fall-back.
    ///
    /// # Examples
    ///
    /// See [`PipeOptions`].
    pub const fn new() -> Self {
        Self {
            capacity: None,
            backend: None,
            max_message: None,
            label: None,
            spin: Spin::Adaptive,
            in_place: None,
            allocate: true,
            flags: Flags::NONE,
        }
    }

    /// Sets how many bytes each direction holds, framing included.
    ///
    /// The number is rounded up to a power of two of at least one page. Messages may be longer than this, and are
    /// then received while they are still being sent.
    ///
    /// # Examples
    ///
    /// ```
    /// let (rx, _tx) = shmpipe::PipeOptions::new().capacity(100_000).pipe()?;
    /// assert_eq!(rx.capacity(), 131_072);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = Some(bytes);
        self
    }

    /// Sets the backend. The choice is strict: `SHMPIPE_BACKEND` is not read, and where the backend is refused, making
    /// the pipe is an error that says why. `SHMPIPE_BACKEND=shm` is as strict.
    ///
    /// Where neither chooses, the default is shared memory, with kernel pipes as the fall-back where the operating system
    /// refuses it. [`fallback_reason`](Sender::fallback_reason) then returns what was refused. A want of memory or
    /// descriptors is an error and no reason to fall back.
    ///
    /// # Examples
    ///
    /// See [`PipeOptions`].
    pub const fn backend(mut self, backend: Backend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Sets the length in bytes over which a send fails with `TooLarge` and sends nothing. Without this call there is
    /// no limit. 0 is a limit too, and allows only empty messages.
    ///
    /// Each receiver keeps a copy of the limit. A sender that breaks it gets nothing past them: the message is
    /// [`Corrupted`](crate::RecvError::Corrupted). [`limit_messages`](Receiver::limit_messages) lowers a receiver's own
    /// limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{PipeOptions, SendError};
    ///
    /// let (_rx, mut tx) = PipeOptions::new().max_message(1000).pipe()?;
    /// tx.send(&[7; 1000])?;
    /// let outcome = tx.send(&[7; 1001]);
    /// assert!(matches!(outcome, Err(SendError::TooLarge { len: 1001, max: 1000 })));
    ///
    /// let (mut rx, mut tx) = PipeOptions::new().max_message(0).pipe()?;
    /// tx.send(b"")?;
    /// assert!(rx.recv()?.is_empty());
    /// assert!(matches!(tx.send(b"1"), Err(SendError::TooLarge { len: 1, max: 0 })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = Some(bytes);
        self
    }

    /// Lets messages carry descriptors and whole ends:
    /// [`send_with_fds`](Sender::send_with_fds), [`send_with_end`](Sender::send_with_end).
    ///
    /// Each end is then made of one descriptor more, a two-way end of two more. Messages without descriptors go as they
    /// do on other pipes.
    ///
    /// # Examples
    ///
    /// See [`send_with_fds`](Sender::send_with_fds) and [`send_with_end`](Sender::send_with_end).
    pub const fn descriptors(mut self, carry: bool) -> Self {
        self.flags = self.flags.with(Flags::DESCRIPTORS, carry);
        self
    }

    /// Makes a receive that could never end an error, [`Deadlock`](crate::RecvError::Deadlock). A receive can never end
    /// when the pipe is empty and only the calling process holds a sender.
    ///
    /// **Does nothing in a process with any other thread**, whatever that thread does: it might send. So the option is
    /// for programs of one thread, such as those that fork. One thread of a runtime, a logger or a timer switches it
    /// off.
    ///
    /// It finds the usual mistake with pipes and `fork`: a parent keeps its own copy of the sending end, or has it in a
    /// `Command`, and waits for an end-of-file that it prevents itself.
    ///
    /// It concerns the calls that wait without limit: [`recv`](Receiver::recv), [`recv_into`](Receiver::recv_into),
    /// [`messages`](Receiver::messages) and reading. [`poll`](Receiver::poll) without a time-out returns true. Such a call
    /// looks through /proc, as [`holders`](Receiver::holders) does, before it sleeps, and again whenever a process ends
    /// that held a sender. Nothing wakes up periodically, and a busy pipe pays nothing.
    ///
    /// The call goes on waiting where it cannot be sure:
    ///
    /// - Another process closed its sender without ending.
    /// - /proc hides processes (`hidepid`).
    /// - A process of another user cannot be looked into. It counts as no holder if it is older than the pipe and no
    ///   sender was ever handed over other than by `fork`. Otherwise the call looks again when that process ends.
    ///
    /// It would be wrong about a sender that is on its way through a socket, and about one outside of this pid
    /// namespace. Leave it off where there are such senders.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// let (mut rx, tx) = shmpipe::PipeOptions::new().detect_deadlock(true).pipe()?;
    /// // A program of one thread that has forgotten to drop `tx`, and whose children have exited:
    /// assert!(matches!(rx.recv(), Err(shmpipe::RecvError::Deadlock)));
    /// # drop(tx);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub const fn detect_deadlock(mut self, detect: bool) -> Self {
        self.flags = self.flags.with(Flags::DEADLOCK, detect);
        self
    }

    /// Sets how a blocked call of either end waits before it sleeps; [`Spin::Adaptive`] by default.
    ///
    /// The choice holds for both ends, their clones and forked copies, and wherever they are handed over. The kernel
    /// backend never spins.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{PipeOptions, Spin};
    ///
    /// let (mut rx, mut tx) = PipeOptions::new().spin(Spin::Never).pipe()?;
    /// tx.send(b"who waits for me sleeps at once")?;
    /// assert_eq!(rx.recv()?.len(), 31);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn spin(mut self, spin: Spin) -> Self {
        self.spin = spin;
        self
    }

    /// Makes room for messages of up to `len` bytes in place: [`reserve`](Sender::reserve) and
    /// [`recv_in_place`](Receiver::recv_in_place) then copy none of them to private memory.
    ///
    /// That takes a capacity of eight times as much, rounded up to a power of two. A larger
    /// [`capacity`](Self::capacity) stays. Only shared memory has messages in place, so there is no fall-back: where
    /// shared memory is refused, or kernel pipes are chosen, making the pipe is an error.
    ///
    /// A receiver reads in place what was written in place, and any message of up to 256 KiB. It may get a copy all the
    /// same while another holder is inside a call, or after a sender died inside a message.
    /// [`is_in_place`](crate::View::is_in_place) reports which it is.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::PipeOptions::new().in_place(1_000_000).pipe()?;
    /// assert_eq!(tx.capacity(), 8 << 20);
    /// let slot = tx.reserve(1_000_000)?;
    /// assert!(slot.is_in_place());
    /// slot.commit()?;
    /// assert!(rx.recv_in_place()?.is_in_place());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn in_place(mut self, len: usize) -> Self {
        self.in_place = Some(len);
        self
    }

    /// Makes a one-way pipe.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: a [`label`](Self::label) that is not allowed, a capacity of 0 or over 2^40 bytes,
    ///   [huge pages](Self::huge_pages) that the kernel does not have, or a `SHMPIPE_BACKEND` that names no
    ///   backend. The text has the value. Unset or empty, `SHMPIPE_BACKEND` chooses nothing; case matters.
    /// - `OutOfMemory`: the capacity is beyond the memory that is free; pages are taken now, so
    ///   that there is no SIGBUS later.
    /// - `Unsupported`: messages [`in_place`](Self::in_place) were asked for, and kernel pipes were chosen.
    /// - `FileTooLarge`: shared memory was asked for, and `RLIMIT_FSIZE` (setrlimit(2)) is less than
    ///   its segment takes.
    /// - `PermissionDenied`: a kernel pipe larger than `/proc/sys/fs/pipe-max-size` was asked for
    ///   without `CAP_SYS_RESOURCE`; `InvalidInput` where it is larger than 2^30 bytes in any case.
    /// - Whatever memfd_create(2), mmap(2), socketpair(2) or pipe2(2) reports, `EMFILE` above all. The text names
    ///   the call, the kind is that of the error, and [`shmpipe::raw_os_error`](crate::raw_os_error) finds its
    ///   number. The text of `EMFILE` has the limit, and how many descriptors a pipe takes.
    ///
    /// Where no backend was chosen, a refusal of shared memory is no error but the fall-back to kernel pipes. Nothing
    /// stays open after an error.
    ///
    /// # Examples
    ///
    /// See [`PipeOptions`]; and where a value is refused:
    ///
    /// ```
    /// let error = shmpipe::PipeOptions::new().capacity(0).pipe().unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// assert_eq!(error.to_string(), "a capacity of 0 bytes cannot hold a message");
    /// ```
    pub fn pipe(&self) -> io::Result<(Receiver, Sender)> {
        let chosen = self.chosen_backend()?;
        let outcome = match chosen {
            // There is no fall-back to what has no messages in place.
            Some(Backend::Kernel) => match self.in_place {
                Some(len) => Err(never_in_place(len)),
                None => self.made_on(Backend::Kernel, None),
            },
            None if self.in_place.is_some() => self.made_on(Backend::SharedMemory, None),
            Some(backend) => self.made_on(backend, None),
            None => match self.made_on(Backend::SharedMemory, None) {
                Err(error) if shm::is_refused(&error) => {
                    self.made_on(Backend::Kernel, Some(Arc::new(error)))
                }
                outcome => outcome,
            },
        };
        outcome.map_err(|error| self.explained(error))
    }

    /// A pipe on that backend; why it is not on the other one, where that was tried.
    fn made_on(
        &self,
        backend: Backend,
        fallback: Option<Arc<io::Error>>,
    ) -> io::Result<(Receiver, Sender)> {
        let limit = self.max_message.unwrap_or(usize::MAX);
        let wanted = Wanted {
            capacity: self.checked_capacity()?,
            limit,
            spin: self.spin.to_word(),
            label: self.checked_label()?,
            is_allocated: self.allocate,
            flags: self.flags,
        };
        match backend {
            Backend::SharedMemory => {
                let (rx, tx) = shm::pair(wanted, self.spin)?;
                Ok((
                    Receiver::shared_memory(rx),
                    Sender::shared_memory(tx, limit),
                ))
            }
            Backend::Kernel => {
                let (rx, tx) = kernel::pair(wanted, self.capacity.is_some(), fallback)?;
                Ok((Receiver::kernel(rx), Sender::kernel(tx, limit)))
            }
        }
    }

    /// Says of a want of descriptors how many there must be.
    #[cold]
    fn explained(&self, error: io::Error) -> io::Error {
        if raw_os_error(&error) != Some(libc::EMFILE) {
            return error;
        }
        let (each, both) = if self.flags.has(Flags::DESCRIPTORS) {
            (3, 5)
        } else {
            (2, 3)
        };
        named(
            format_args!(
                "a pipe takes {both} descriptors in the process that makes it, twice as many where it goes both ways, \
                 and {each} or twice as many in one that is handed an end"
            ),
            error,
        )
    }

    /// Makes a two-way pipe: two one-way pipes, crossed.
    ///
    /// # Errors
    ///
    /// The errors of [`pipe`](Self::pipe).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut left, mut right) = shmpipe::PipeOptions::new().capacity(1 << 20).duplex()?;
    /// left.send(b"ping")?;
    /// assert_eq!(&right.recv()?[..], b"ping");
    /// right.send(b"pong")?;
    /// assert_eq!(&left.recv()?[..], b"pong");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn duplex(&self) -> io::Result<(Connection, Connection)> {
        let (left_rx, right_tx) = self.pipe()?;
        let second = self.made_on(left_rx.backend(), left_rx.fallback().cloned());
        let (right_rx, left_tx) = second.map_err(|error| self.explained(error))?;
        Ok((
            Connection::new(left_rx, left_tx),
            Connection::new(right_rx, right_tx),
        ))
    }

    fn checked_capacity(&self) -> io::Result<usize> {
        let asked = self.capacity.unwrap_or(DEFAULT_CAPACITY);
        if asked == 0 {
            return Err(invalid_input(
                "a capacity of 0 bytes cannot hold a message".into(),
            ));
        }
        // Too long for any pipe, the sum is over the limit too.
        let for_one_record = self.in_place.map_or(0, capacity_for_record);
        let asked = asked.max(for_one_record);
        asked
            .max(crate::sys::memory::page_size())
            .checked_next_power_of_two()
            .filter(|&rounded| rounded <= crate::segment::MAX_CAPACITY)
            .ok_or_else(|| {
                let max = crate::segment::MAX_CAPACITY;
                invalid_input(format!(
                    "a capacity of {asked} bytes is over the limit of {max} bytes"
                ))
            })
    }

    fn chosen_backend(&self) -> io::Result<Option<Backend>> {
        if self.backend.is_some() {
            return Ok(self.backend);
        }
        let Some(value) = std::env::var_os(BACKEND_VARIABLE) else {
            return Ok(None);
        };
        match value.to_str() {
            Some("") => Ok(None),
            Some("shm") => Ok(Some(Backend::SharedMemory)),
            Some("kernel") => Ok(Some(Backend::Kernel)),
            _ => Err(invalid_input(format!(
                "{BACKEND_VARIABLE}={} names no backend; use shm or kernel",
                value.to_string_lossy()
            ))),
        }
    }
}

fn never_in_place(len: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!(
            "messages of {len} bytes in place need shared memory, and the backend is kernel pipes"
        ),
    )
}

pub(crate) fn invalid_input(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
