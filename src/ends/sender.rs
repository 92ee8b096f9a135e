//! The sending end.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use std::{fmt, io};

use crate::backend::{Tx, kernel, shm, shm::Sent};
use crate::error::Fault;
use crate::ring::pack::Pack;
use crate::sys::clock::{Deadline, Timeout};
use crate::sys::thread::{Known, Thread};
use crate::{Backend, SendError, SendTimeoutError, TrySendError};

/// The sending end of a pipe.
///
/// Any number of clones, threads and forked processes may share it. Each message arrives whole, and the messages of one
/// holder arrive in its order. When the last holder anywhere has dropped its end, exited or been killed, receivers get
/// what was sent and then `Disconnected`.
///
/// - To send: [`send`](Self::send), [`try_send`](Self::try_send), [`send_timeout`](Self::send_timeout),
///   [`send_deadline`](Self::send_deadline).
/// - Many messages, or large ones: [`send_batch`](Self::send_batch), [`send_vectored`](Self::send_vectored),
///   [`reserve`](Self::reserve).
/// - To ask: [`capacity`](Self::capacity), [`backend`](Self::backend), [`holders`](Self::holders).
/// - To share or hand over: [`try_clone`](Self::try_clone), [`inherit`](Self::inherit),
///   [`send_with_end`](Self::send_with_end), [`into_fds`](Self::into_fds).
///
/// ```compile_fail
/// # let (_rx, tx) = shmpipe::pipe().unwrap();
/// tx.send(b"sending needs a mutable end: clone it for a second user");
/// ```
///
/// For the same reason there is no `Write` for `&Sender`, by design. An end has counters for one user, and sharing them
/// would take a lock at each call. A [clone](Self::try_clone) costs no descriptor.
pub struct Sender {
    pub(crate) flavor: Flavor,
    pub(crate) limit: usize,
    /// Where batches of short messages are gathered; made by the first one.
    pub(super) pack: Option<Box<Pack>>,
}

pub(crate) enum Flavor {
    SharedMemory(shm::Tx),
    Kernel(kernel::Tx),
}

/// # Sending
impl Sender {
    pub(crate) fn shared_memory(tx: shm::Tx, limit: usize) -> Self {
        Self {
            flavor: Flavor::SharedMemory(tx),
            limit,
            pack: None,
        }
    }

    pub(crate) fn kernel(tx: kernel::Tx, limit: usize) -> Self {
        Self {
            flavor: Flavor::Kernel(tx),
            limit,
            pack: None,
        }
    }

    /// Sends by the fast path. The calls around it are inlined, so that nothing is kept for what may follow; this is not.
    #[inline(never)]
    fn send_on_fast_path(&mut self, message: &[u8], known: &Known) -> Sent {
        let Flavor::SharedMemory(tx) = &mut self.flavor else {
            return Sent::Not;
        };
        // What it has noted before is within our limit.
        tx.send_on_fast_path(message, known)
    }

    /// Sends by the fast path; `None` if the message needs the slow path.
    pub(crate) fn send_soon(&mut self, message: &[u8]) -> Option<io::Result<()>> {
        match &mut self.flavor {
            Flavor::SharedMemory(tx) if message.len() <= self.limit => tx.send_soon(message),
            _ => None,
        }
    }

    /// As a send with that time-out.
    pub(crate) fn send_within(&mut self, message: &[u8], timeout: Timeout) -> Result<(), Fault> {
        let sent = Thread::with(|known| self.send_on_fast_path(message, known));
        self.complete(message, sent, timeout)
    }

    /// What is to do after the fast path, by a call with that time-out.
    #[inline]
    fn complete(&mut self, message: &[u8], sent: Sent, timeout: Timeout) -> Result<(), Fault> {
        let outcome = match &mut self.flavor {
            Flavor::SharedMemory(tx) if message.len() <= self.limit => tx.complete(message, sent),
            _ => None,
        };
        match outcome {
            Some(rung) => rung.map_err(Fault::NotWoken),
            None => self.send_on_slow_path(message, timeout),
        }
    }

    #[cold]
    fn send_on_slow_path(&mut self, message: &[u8], timeout: Timeout) -> Result<(), Fault> {
        if message.len() > self.limit {
            return Err(Fault::TooLarge {
                len: message.len(),
                max: self.limit,
            });
        }
        match &mut self.flavor {
            Flavor::SharedMemory(tx) => tx.send(message, timeout),
            Flavor::Kernel(tx) => tx.send(message, timeout),
        }
    }

    /// Sends `message` whole, and blocks while the pipe is full.
    ///
    /// A message longer than the pipe's capacity goes in fragments, and is received while it is still being sent. The
    /// call then returns only when a receiver has taken most of it. An empty message is a message.
    ///
    /// Other holders of this end wait while one is inside a call. That may take long if that holder is starved of CPU
    /// time (`docs/safety.md`, "Priorities").
    ///
    /// # Errors
    ///
    /// - [`Disconnected`](SendError::Disconnected): no receiver is left (as `EPIPE` of write(2),
    ///   without the SIGPIPE), also when the last one goes while the call is blocked. A receiver
    ///   that is dropped is noticed at once. One that was killed within the last 100 µs may not have
    ///   been noticed yet; the send then succeeds, as a write(2) just before the death would. A
    ///   sender that has just sent several messages within 2 µs may send three more.
    /// - [`TooLarge`](SendError::TooLarge): over [`max_message`](crate::PipeOptions::max_message).
    /// - [`Interrupted`](SendError::Interrupted): the hook of an [`Interrupt`](crate::Interrupt) ended the call.
    /// - [`Reentrant`](SendError::Reentrant): a signal handler called while its thread is inside another call.
    ///
    /// # Examples
    ///
    /// ```
    /// let (rx, mut tx) = shmpipe::pipe()?;
    /// tx.send(b"kept until it is received")?;
    /// drop(rx);
    /// assert!(matches!(tx.send(b"x"), Err(shmpipe::SendError::Disconnected)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        match Thread::with(|known| self.send_on_fast_path(message, known)) {
            Sent::Quietly => Ok(()),
            sent => self.complete_send(message, sent),
        }
    }

    /// The rest of a [`send`](Self::send).
    #[inline(never)]
    fn complete_send(&mut self, message: &[u8], sent: Sent) -> Result<(), SendError> {
        Ok(self.complete(message, sent, Timeout::FOREVER)?)
    }

    /// Sends `message` if there is room for all of it now, and never blocks.
    ///
    /// # Errors
    ///
    /// - [`Full`](TrySendError::Full): no room, or another holder is in the middle of a send.
    /// - [`TooLarge`](TrySendError::TooLarge): over [`max_message`](crate::PipeOptions::max_message), as for
    ///   every send.
    /// - [`TooLargeAtOnce`](TrySendError::TooLargeAtOnce): within that limit, but longer than an empty pipe takes at
    ///   once. Only a send that blocks can send it. `max` says how much an empty pipe takes, a little less than the
    ///   [`capacity`](Self::capacity).
    /// - [`Disconnected`](TrySendError::Disconnected): no receiver is left.
    /// - [`Reentrant`](TrySendError::Reentrant): a signal handler called while its thread is inside another call.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::TrySendError;
    ///
    /// let (_rx, mut tx) = shmpipe::pipe()?;
    /// while tx.try_send(&[7; 1000]).is_ok() {}
    /// assert!(matches!(tx.try_send(&[7; 1000]), Err(TrySendError::Full)));
    ///
    /// let longer = vec![7; tx.capacity()];
    /// assert!(matches!(tx.try_send(&longer), Err(TrySendError::TooLargeAtOnce { .. })));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn try_send(&mut self, message: &[u8]) -> Result<(), TrySendError> {
        match Thread::with(|known| self.send_on_fast_path(message, known)) {
            Sent::Quietly => Ok(()),
            sent => self.complete_try_send(message, sent),
        }
    }

    /// As [`complete_send`](Self::complete_send).
    #[inline(never)]
    fn complete_try_send(&mut self, message: &[u8], sent: Sent) -> Result<(), TrySendError> {
        Ok(self.complete(message, sent, Timeout::Never)?)
    }

    /// Sends `message`, and blocks while the pipe is full, but no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// The errors of [`send`](Self::send), and [`Timeout`](SendTimeoutError::Timeout), not before its time. Fragments
    /// that were sent by then are taken back: no receiver gets any of the message.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (_rx, mut tx) = shmpipe::pipe()?;
    /// tx.send_timeout(b"there is room", Duration::from_millis(10))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_timeout(
        &mut self,
        message: &[u8],
        timeout: Duration,
    ) -> Result<(), SendTimeoutError> {
        match Thread::with(|known| self.send_on_fast_path(message, known)) {
            Sent::Quietly => Ok(()),
            sent => Ok(self.complete(message, sent, Timeout::Until(Deadline::after(timeout)))?),
        }
    }

    /// Sends `message`, and blocks no longer than until `deadline`. Otherwise it is like
    /// [`send_timeout`](Self::send_timeout).
    ///
    /// # Errors
    ///
    /// The errors of [`send_timeout`](Self::send_timeout).
    ///
    /// # Examples
    ///
    /// See [`Receiver::recv_deadline`](crate::Receiver::recv_deadline).
    pub fn send_deadline(
        &mut self,
        message: &[u8],
        deadline: Instant,
    ) -> Result<(), SendTimeoutError> {
        self.send_timeout(message, deadline.saturating_duration_since(Instant::now()))
    }

    /// Bytes that the pipe holds, framing included.
    ///
    /// A message takes its length, rounded up to 8, and 8 bytes more. A message over an eighth of the capacity takes a
    /// little more than that. The longest message that an empty pipe takes without a receiver is a little shorter than
    /// the capacity (65,456 bytes of 65,536). A kernel pipe may take only half of its capacity from a
    /// [`try_send`](Self::try_send), since the kernel does not report how full its pages are.
    ///
    /// # Examples
    ///
    /// ```
    /// let (_rx, tx) = shmpipe::pipe()?;
    /// assert_eq!(tx.capacity(), 65_536);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn capacity(&self) -> usize {
        match &self.flavor {
            Flavor::SharedMemory(tx) => tx.capacity(),
            Flavor::Kernel(tx) => tx.capacity(),
        }
    }

    /// What carries the bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// let (rx, tx) = shmpipe::pipe()?;
    /// assert_eq!(tx.backend(), rx.backend());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn backend(&self) -> Backend {
        match self.flavor {
            Flavor::SharedMemory(_) => Backend::SharedMemory,
            Flavor::Kernel(_) => Backend::Kernel,
        }
    }

    /// Whether `other` is a sender of the same pipe: a clone, or one that was handed over.
    ///
    /// # Examples
    ///
    /// See [`Receiver::same_pipe`](crate::Receiver::same_pipe).
    pub fn same_pipe(&self, other: &Self) -> bool {
        match (&self.flavor, &other.flavor) {
            (Flavor::SharedMemory(tx), Flavor::SharedMemory(other)) => tx.is_of_pipe(other),
            (Flavor::Kernel(tx), Flavor::Kernel(other)) => tx.is_of_pipe(other),
            _ => false,
        }
    }

    /// Makes another handle to this end. Dropping either changes nothing for the other.
    ///
    /// # Errors
    ///
    /// What the operating system reports.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// let mut second = tx.try_clone()?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(move || tx.send(b"a"));
    ///     scope.spawn(move || second.send(b"b"));
    /// });
    /// assert_eq!(rx.messages().count(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_clone(&self) -> io::Result<Self> {
        let flavor = match &self.flavor {
            Flavor::SharedMemory(tx) => Flavor::SharedMemory(tx.try_clone()?),
            Flavor::Kernel(tx) => Flavor::Kernel(tx.try_clone()?),
        };
        Ok(Self {
            flavor,
            limit: self.limit,
            pack: None,
        })
    }

    pub(crate) fn to_fds(&self) -> io::Result<Vec<OwnedFd>> {
        match &self.flavor {
            Flavor::SharedMemory(tx) => tx.to_fds(),
            Flavor::Kernel(tx) => tx.to_fds(),
        }
    }
}

/// A long message without waiting in a call, for the ends for tasks.
#[cfg(feature = "tokio")]
impl Sender {
    /// Sends more of a message that is longer than [`ready_len`](Self::ready_len), without waiting.
    ///
    /// From the first step on, and until the last, this end keeps all other senders waiting.
    ///
    /// # Errors
    ///
    /// [`Fault::NotNow`] while there is more to send: again when the descriptor is ready. After any other one the
    /// message has been taken back.
    pub(crate) fn send_step(
        &mut self,
        message: &[u8],
        progress: &mut crate::backend::Progress,
    ) -> Result<(), Fault> {
        if message.len() > self.limit {
            return Err(Fault::TooLarge {
                len: message.len(),
                max: self.limit,
            });
        }
        match &mut self.flavor {
            Flavor::SharedMemory(tx) => tx.send_step(message, progress),
            Flavor::Kernel(tx) => tx.send_step(message, progress),
        }
    }

    /// Takes back a message that was sent in steps and is not whole.
    pub(crate) fn take_back(&mut self) {
        match &mut self.flavor {
            Flavor::SharedMemory(tx) => tx.take_back(),
            Flavor::Kernel(tx) => tx.take_back(),
        }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("backend", &self.backend())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}
