//! The receiving end.

use std::mem::{self, MaybeUninit};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use std::{fmt, io, ptr};

use crate::backend::{Rx, kernel, shm};
use crate::ends::ancillary::MAX_END_CAPACITY;
use crate::error::Fault;
use crate::ring::payload::Destination;
use crate::sys::clock::{Deadline, Timeout};
use crate::{Backend, Message, RecvError, RecvTimeoutError, TryRecvError};

/// A buffer larger than this is given back once messages have become small again.
const KEPT_BUFFER: usize = 1 << 20;

/// The receiving end of a pipe.
///
/// Any number of clones, threads and forked processes may share it. Each message goes to exactly one of them. When the
/// last holder anywhere has dropped its end, exited or been killed, senders get `Disconnected`.
///
/// - To receive: [`recv`](Self::recv), [`try_recv`](Self::try_recv), [`recv_timeout`](Self::recv_timeout),
///   [`recv_deadline`](Self::recv_deadline), [`recv_into`](Self::recv_into), [`messages`](Self::messages).
/// - To wait: [`poll`](Self::poll), [`wait`](crate::wait).
/// - Many messages, or large ones: [`recv_batch`](Self::recv_batch), [`recv_in_place`](Self::recv_in_place),
///   [`recv_with`](Self::recv_with).
/// - To ask: [`capacity`](Self::capacity), [`backend`](Self::backend), [`holders`](Self::holders).
/// - To share or hand over: [`try_clone`](Self::try_clone), [`inherit`](Self::inherit), [`into_fds`](Self::into_fds).
///
/// A message is copied out of the pipe into a buffer that this end owns and lends as [`Message`], so
/// no other process can change it any more:
///
/// ```compile_fail
/// # let (mut rx, _tx) = shmpipe::pipe().unwrap();
/// let first = rx.recv().unwrap();
/// let second = rx.recv().unwrap(); // the buffer is still lent to `first`
/// drop(first);
/// ```
///
/// For the same reason there is no `Read` for `&Receiver`, by design: a second user takes a [clone](Self::try_clone).
pub struct Receiver {
    pub(crate) flavor: Flavor,
    /// The last message; lent out by `recv`, eaten up by `read`.
    pub(crate) buffer: Vec<u8>,
    /// Bytes of `buffer` that the byte-stream view has not handed out yet.
    pub(crate) unread: usize,
    /// The largest capacity in bytes of an end that a message may carry.
    pub(crate) max_end_capacity: usize,
}

pub(crate) enum Flavor {
    SharedMemory(shm::Rx),
    Kernel(kernel::Rx),
}

/// # Receiving
impl Receiver {
    pub(crate) fn shared_memory(rx: shm::Rx) -> Self {
        Self {
            flavor: Flavor::SharedMemory(rx),
            buffer: Vec::new(),
            unread: 0,
            max_end_capacity: MAX_END_CAPACITY,
        }
    }

    pub(crate) fn kernel(rx: kernel::Rx) -> Self {
        Self {
            flavor: Flavor::Kernel(rx),
            buffer: Vec::new(),
            unread: 0,
            max_end_capacity: MAX_END_CAPACITY,
        }
    }

    /// Receives into this end's buffer what is there, or comes within a moment if the call `may_wait`; returns
    /// whether it did. If not, the call needs the slow path.
    pub(crate) fn recv_soon(&mut self, may_wait: bool) -> bool {
        let Flavor::SharedMemory(rx) = &mut self.flavor else {
            return false;
        };
        if self.unread > 0 {
            return false;
        }
        self.buffer.clear();
        match rx.recv_soon(self.buffer.spare_capacity_mut(), may_wait) {
            Some(len) => {
                // SAFETY: so many bytes have been initialised.
                unsafe { self.buffer.set_len(len) };
                if self.buffer.capacity() > KEPT_BUFFER {
                    self.give_memory_back();
                }
                true
            }
            None => false,
        }
    }

    /// Receives a short message into the buffer by the fast path; the calls around it are inlined, as for a
    /// [`Sender`](crate::Sender).
    #[inline(never)]
    fn recv_on_fast_path(&mut self) -> bool {
        let Flavor::SharedMemory(rx) = &mut self.flavor else {
            return false;
        };
        if self.unread > 0 || self.buffer.capacity() > KEPT_BUFFER {
            return false;
        }
        self.buffer.clear();
        let Some(len) = rx.recv_on_fast_path(self.buffer.spare_capacity_mut()) else {
            return false;
        };
        // SAFETY: so many bytes have been initialised.
        unsafe { self.buffer.set_len(len) };
        true
    }

    /// As [`recv_on_fast_path`](Self::recv_on_fast_path), into the caller's own slice.
    #[inline(never)]
    fn recv_into_on_fast_path(&mut self, buf: &mut [u8]) -> Option<usize> {
        let Flavor::SharedMemory(rx) = &mut self.flavor else {
            return None;
        };
        if self.unread > 0 {
            return None;
        }
        // SAFETY: a receive writes initialised bytes.
        let buf = unsafe { as_uninitialised(buf) };
        rx.recv_on_fast_path(buf)
    }

    /// Once messages have become small again.
    #[cold]
    fn give_memory_back(&mut self) {
        let len = self.buffer.len();
        if self.buffer.capacity() > KEPT_BUFFER && len < self.buffer.capacity() / 8 {
            self.buffer.shrink_to(len);
        }
    }

    /// As [`recv_soon`](Self::recv_soon), into the caller's own slice.
    pub(crate) fn recv_into_soon(&mut self, buf: &mut [u8], may_wait: bool) -> Option<usize> {
        let Flavor::SharedMemory(rx) = &mut self.flavor else {
            return None;
        };
        // SAFETY: a receive writes initialised bytes.
        let buf = unsafe { as_uninitialised(buf) };
        rx.recv_soon(buf, may_wait)
    }

    /// Receives the next message into this end's buffer, if it is there, and short; returns whether it did. Anything else
    /// stays for a call that can report it.
    pub(crate) fn recv_more(&mut self) -> bool {
        if self.recv_at_hand() {
            return true;
        }
        let into = Destination::Buffer(&mut self.buffer);
        let received = match &mut self.flavor {
            Flavor::SharedMemory(rx) => rx.recv_of_pack(into),
            Flavor::Kernel(rx) => rx.recv_more(into),
        };
        received.is_some()
    }

    pub(super) fn receive(
        flavor: &mut Flavor,
        into: Destination<'_>,
        timeout: Timeout,
    ) -> Result<usize, Fault> {
        match flavor {
            Flavor::SharedMemory(rx) => rx.recv(into, timeout),
            Flavor::Kernel(rx) => rx.recv(into, timeout),
        }
    }

    pub(crate) fn recv_within(&mut self, timeout: Timeout) -> Result<Message<'_>, Fault> {
        if self.recv_soon(timeout != Timeout::Never) {
            return Ok(Message::new(&mut self.buffer, 0));
        }
        self.recv_on_slow_path(timeout)
    }

    #[cold]
    fn recv_on_slow_path(&mut self, timeout: Timeout) -> Result<Message<'_>, Fault> {
        self.recv_by(|flavor, buffer| Self::receive(flavor, Destination::Buffer(buffer), timeout))
    }

    /// Receives into the end's own buffer, by `receive` where nothing is left of an earlier call.
    pub(crate) fn recv_by(
        &mut self,
        receive: impl FnOnce(&mut Flavor, &mut Vec<u8>) -> Result<usize, Fault>,
    ) -> Result<Message<'_>, Fault> {
        let start = self.buffer.len() - mem::take(&mut self.unread);
        if start < self.buffer.len() {
            return Ok(Message::new(&mut self.buffer, start));
        }
        let outcome = receive(&mut self.flavor, &mut self.buffer);
        if outcome.is_err() {
            self.buffer.clear();
        }
        outcome?;
        self.give_memory_back();
        Ok(Message::new(&mut self.buffer, 0))
    }

    /// Receives the next message, and blocks while the pipe is empty.
    ///
    /// After a [`Read`](io::Read) that took the beginning of a message, the rest of it comes first.
    ///
    /// # Errors
    ///
    /// - [`Disconnected`](RecvError::Disconnected): every sender is gone and every message has been
    ///   received. It stays.
    /// - [`Aborted`](RecvError::Aborted): this message was lost with a process that had sent or received fragments of
    ///   it; the next call receives the next one.
    /// - [`Interrupted`](RecvError::Interrupted): the hook of an [`Interrupt`](crate::Interrupt) ended the call.
    /// - [`Reentrant`](RecvError::Reentrant): a signal handler called while its thread is inside another call.
    /// - [`Deadlock`](RecvError::Deadlock): only with [`detect_deadlock`](crate::PipeOptions::detect_deadlock).
    /// - [`CarriesDescriptors`](RecvError::CarriesDescriptors): only with
    ///   [`descriptors`](crate::PipeOptions::descriptors); the message stays.
    /// - [`Corrupted`](RecvError::Corrupted): an impossible value, or a message over the
    ///   [limit](Self::limit_messages). It stays.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// tx.send(b"last words")?;
    /// drop(tx);
    /// assert_eq!(&*rx.recv()?, b"last words");
    /// assert!(matches!(rx.recv(), Err(shmpipe::RecvError::Disconnected)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn recv(&mut self) -> Result<Message<'_>, RecvError> {
        if self.recv_on_fast_path() {
            return Ok(Message::new(&mut self.buffer, 0));
        }
        self.complete_recv()
    }

    /// The rest of a [`recv`](Self::recv).
    #[inline(never)]
    fn complete_recv(&mut self) -> Result<Message<'_>, RecvError> {
        if self.recv_soon(true) {
            return Ok(Message::new(&mut self.buffer, 0));
        }
        Ok(self.recv_on_slow_path(Timeout::FOREVER)?)
    }

    /// Receives the next message if one is there, and never blocks.
    ///
    /// A message fits the pipe if [`try_send`](crate::Sender::try_send) can send it through an empty one. Such a message
    /// is there when it is whole.
    ///
    /// A longer message comes in fragments. This call takes those that are there, and returns `Empty` until a later call
    /// finds the last one. Fragments belong to the process, and any of its handles and threads goes on with them. Other
    /// processes get `Empty` meanwhile. If the process ends or closes its last handle before the message is whole, one
    /// of the others gets `Aborted` for it.
    ///
    /// The call does not wait for the other side. Another holder of this end may be in the middle of a call. Then this
    /// call waits for its turn, as read(2) waits for a pipe's mutex, unless the holder itself waits for the rest of a
    /// message.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv), and
    ///
    /// - [`Empty`](TryRecvError::Empty): no message is there, the message is not whole yet, or another process is
    ///   receiving it or has it [in place](Self::recv_in_place);
    /// - `Io` of the kind `ResourceBusy`: another holder of this end has been stopped in the middle of a call for over
    ///   100 ms, so that this call could not look.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// assert!(matches!(rx.try_recv(), Err(shmpipe::TryRecvError::Empty)));
    /// tx.send(b"")?;
    /// assert!(rx.try_recv()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv(&mut self) -> Result<Message<'_>, TryRecvError> {
        if self.recv_soon(false) {
            return Ok(Message::new(&mut self.buffer, 0));
        }
        Ok(self.recv_on_slow_path(Timeout::Never)?)
    }

    /// Receives the next message, and blocks no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv), and [`Timeout`](RecvTimeoutError::Timeout), not before its time. Nothing
    /// is lost then. A message that fits the pipe stays there until it is whole, and the fragments of a longer one
    /// are kept as by [`try_recv`](Self::try_recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (mut rx, _tx) = shmpipe::pipe()?;
    /// let outcome = rx.recv_timeout(Duration::from_millis(1));
    /// assert!(matches!(outcome, Err(shmpipe::RecvTimeoutError::Timeout)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Message<'_>, RecvTimeoutError> {
        // Within a deadline of zero there is no moment to look.
        if self.recv_soon(!timeout.is_zero()) {
            return Ok(Message::new(&mut self.buffer, 0));
        }
        Ok(self.recv_on_slow_path(Timeout::Until(Deadline::after(timeout)))?)
    }

    /// Receives the next message, and blocks no longer than until `deadline`. Otherwise it is like
    /// [`recv_timeout`](Self::recv_timeout).
    ///
    /// # Errors
    ///
    /// The errors of [`recv_timeout`](Self::recv_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// let deadline = Instant::now() + Duration::from_millis(1);
    /// tx.send(b"in time")?;
    /// assert_eq!(&*rx.recv_deadline(deadline)?, b"in time");
    /// let outcome = rx.recv_deadline(deadline);
    /// assert!(matches!(outcome, Err(shmpipe::RecvTimeoutError::Timeout)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<Message<'_>, RecvTimeoutError> {
        self.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    }

    /// Receives the next message into `buf` and returns its length. Blocks while the pipe is empty.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv), and [`BufferTooSmall`](RecvError::BufferTooSmall) with the length that is
    /// needed; the message stays. What `buf` holds after an error is unspecified.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// tx.send(b"seven b")?;
    /// let mut buf = [0; 16];
    /// assert_eq!(rx.recv_into(&mut buf)?, 7);
    /// assert_eq!(&buf[..7], b"seven b");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn recv_into(&mut self, buf: &mut [u8]) -> Result<usize, RecvError> {
        match self.recv_into_on_fast_path(buf) {
            Some(len) => Ok(len),
            None => self.complete_recv_into(buf),
        }
    }

    /// The rest of a [`recv_into`](Self::recv_into).
    #[inline(never)]
    fn complete_recv_into(&mut self, buf: &mut [u8]) -> Result<usize, RecvError> {
        Ok(self.recv_into_within(buf, Timeout::FOREVER)?)
    }

    pub(crate) fn recv_into_within(
        &mut self,
        buf: &mut [u8],
        timeout: Timeout,
    ) -> Result<usize, Fault> {
        if self.unread == 0 {
            if let Some(len) = self.recv_into_soon(buf, timeout != Timeout::Never) {
                return Ok(len);
            }
        }
        self.recv_into_on_slow_path(buf, timeout)
    }

    #[cold]
    fn recv_into_on_slow_path(&mut self, buf: &mut [u8], timeout: Timeout) -> Result<usize, Fault> {
        if self.unread > 0 {
            let needed = self.unread;
            if buf.len() < needed {
                return Err(Fault::BufferTooSmall { needed });
            }
            return Ok(self.take_unread(buf));
        }
        Self::receive(&mut self.flavor, Destination::Slice(buf), timeout)
    }

    /// Waits until there is something to receive, and returns whether there is: a message, end-of-file, or an error that
    /// [`recv`](Self::recv) would report. `None` waits without limit. `Some(timeout)` waits no longer than that, so
    /// `Some(Duration::ZERO)` only looks.
    ///
    /// A message that [fits the pipe](Self::try_recv) is there when it is whole. Of a longer one each fragment counts, so
    /// that `recv` may still wait for the next. With several holders of this end another one may take the message first.
    ///
    /// # Errors
    ///
    /// What the operating system reports. [`Interrupted`](RecvError::Interrupted) and
    /// [`Reentrant`](RecvError::Reentrant) are errors of the kinds `Interrupted` and `Deadlock`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (mut rx, tx) = shmpipe::pipe()?;
    /// assert!(!rx.poll(Some(Duration::ZERO))?);
    /// drop(tx);
    /// assert!(rx.poll(None)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn poll(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        if self.unread > 0 {
            return Ok(true);
        }
        let timeout = match timeout {
            None => Timeout::FOREVER,
            Some(Duration::ZERO) => Timeout::Never,
            Some(timeout) => Timeout::Until(Deadline::after(timeout)),
        };
        let outcome = match &mut self.flavor {
            Flavor::SharedMemory(rx) => rx.poll(timeout),
            Flavor::Kernel(rx) => rx.poll(timeout),
        };
        match outcome {
            Ok(ready) => Ok(ready),
            Err(fault @ (Fault::Io(_) | Fault::Interrupted | Fault::Reentrant)) => {
                Err(RecvError::from(fault).into())
            }
            Err(_) => Ok(true),
        }
    }

    /// Refuses messages of more than `max` bytes from now on.
    ///
    /// The limit holds for all handles of this process to this end, and for copies that are forked later. It can be
    /// lowered but not raised. A receiver begins with the pipe's [`max_message`](crate::PipeOptions::max_message). If the
    /// end was handed over, its maker has written that value: set a limit of your own where the maker is not trusted.
    ///
    /// A message over the limit is refused before memory is taken for it. It counts as a breach of the protocol: this
    /// end reports [`Corrupted`](RecvError::Corrupted) and stays unusable. Senders do not know of the limit, and can
    /// go on sending until the end is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// rx.limit_messages(1000);
    /// tx.send(&[7; 1000])?;
    /// assert_eq!(rx.recv()?.len(), 1000);
    /// tx.send(&[7; 1001])?;
    /// assert!(matches!(rx.recv(), Err(shmpipe::RecvError::Corrupted)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn limit_messages(&mut self, max: usize) {
        match &self.flavor {
            Flavor::SharedMemory(rx) => rx.limit_messages(max),
            Flavor::Kernel(rx) => rx.limit_messages(max),
        }
    }

    /// Bytes that the pipe holds, framing included. See [`Sender::capacity`](crate::Sender::capacity).
    pub fn capacity(&self) -> usize {
        match &self.flavor {
            Flavor::SharedMemory(rx) => rx.capacity(),
            Flavor::Kernel(rx) => rx.capacity(),
        }
    }

    /// What carries the bytes. See [`Sender::backend`](crate::Sender::backend).
    pub fn backend(&self) -> Backend {
        match self.flavor {
            Flavor::SharedMemory(_) => Backend::SharedMemory,
            Flavor::Kernel(_) => Backend::Kernel,
        }
    }

    /// Makes another handle to this end. Dropping either changes nothing for the other.
    ///
    /// When a `Read` has taken the beginning of a message, the rest stays with this handle. The fragments of a message
    /// that is not whole yet belong to all handles of this process, and whichever receives next goes on with them.
    ///
    /// # Errors
    ///
    /// What the operating system reports.
    ///
    /// # Examples
    ///
    /// See [`Sender::try_clone`](crate::Sender::try_clone).
    pub fn try_clone(&self) -> io::Result<Self> {
        let clone = match &self.flavor {
            Flavor::SharedMemory(rx) => Self::shared_memory(rx.try_clone()?),
            Flavor::Kernel(rx) => Self::kernel(rx.try_clone()?),
        };
        Ok(Self {
            max_end_capacity: self.max_end_capacity,
            ..clone
        })
    }

    /// Whether `other` is a receiver of the same pipe: a clone, or one that was handed over.
    ///
    /// # Examples
    ///
    /// ```
    /// let (rx, _tx) = shmpipe::pipe()?;
    /// let (stranger, _tx) = shmpipe::pipe()?;
    /// assert!(rx.same_pipe(&rx.try_clone()?));
    /// assert!(!rx.same_pipe(&stranger));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn same_pipe(&self, other: &Self) -> bool {
        match (&self.flavor, &other.flavor) {
            (Flavor::SharedMemory(rx), Flavor::SharedMemory(other)) => rx.is_of_pipe(other),
            (Flavor::Kernel(rx), Flavor::Kernel(other)) => rx.is_of_pipe(other),
            _ => false,
        }
    }

    pub(crate) fn to_fds(&self) -> io::Result<Vec<OwnedFd>> {
        match &self.flavor {
            Flavor::SharedMemory(rx) => rx.to_fds(),
            Flavor::Kernel(rx) => rx.to_fds(),
        }
    }
}

/// The same bytes.
///
/// # Safety
///
/// Only initialised bytes are written there.
#[inline(always)]
unsafe fn as_uninitialised(buf: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: of one layout, and borrowed for as long.
    unsafe { &mut *(ptr::from_mut(buf) as *mut [MaybeUninit<u8>]) }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("backend", &self.backend())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}
