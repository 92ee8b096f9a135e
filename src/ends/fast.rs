//! The fast path of a receive and of a send by itself, for callers that hold a lock of their own meanwhile.

use crate::ends::receiver::Flavor;
use crate::ends::sender;
use crate::{Connection, Message, Receiver, SendError, Sender};

/// # The fast path alone, for bindings
impl Receiver {
    /// Receives the next message if that takes the fast path alone; else `None`, and nothing has changed.
    ///
    /// It waits for no lock. Its only system call wakes a sender that sleeps for the room which the receive makes; the
    /// first messages may also make the allocator get memory for this end's buffer. So it is for callers that hold a lock
    /// of their own, such as an interpreter's, and release it before [`recv`](Self::recv).
    ///
    /// `None` does not mean empty: call [`try_recv`](Self::try_recv) or `recv` to find out. It is also returned
    ///
    /// - for a message that is longer than an eighth of the capacity or carries descriptors, and maybe for one of up to 64
    ///   bytes from a [batch](crate::Sender::send_batch);
    /// - once for each capacity received;
    /// - while another holder is inside a call, or has a message in place;
    /// - for every error, and at the end of the pipe;
    /// - after a [`Read`](std::io::Read) that took the beginning of a message;
    /// - always on a kernel pipe.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Backend, PipeOptions};
    ///
    /// let (mut rx, mut tx) = PipeOptions::new().backend(Backend::SharedMemory).pipe()?;
    /// assert!(rx.recv_fast().is_none());
    /// tx.send(b"here")?;
    /// assert_eq!(&*rx.recv_fast().unwrap(), b"here");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_fast(&mut self) -> Option<Message<'_>> {
        let is_there = self.recv_at_hand();
        is_there.then(|| Message::new(&mut self.buffer, 0))
    }

    /// By the fast path, into this end's buffer.
    pub(crate) fn recv_at_hand(&mut self) -> bool {
        self.recv_soon(false) || self.make_room_for_next() && self.recv_soon(false)
    }

    /// Does what [`recv_fast`](Self::recv_fast) does, into memory that `place` provides when it is given the message's
    /// length, as for [`recv_with`](Self::recv_with); returns the length.
    ///
    /// `None` also where `place` refused or gave less, for an empty message, and where another receiver was faster; the
    /// message stays, and what the memory then holds is unspecified. The length that is returned may be less than what
    /// `place` was given, where this is the message behind that one.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Backend, PipeOptions};
    ///
    /// let (mut rx, mut tx) = PipeOptions::new().backend(Backend::SharedMemory).pipe()?;
    /// tx.send(b"here")?;
    /// let mut memory = [0; 8];
    /// assert_eq!(rx.recv_fast_with(|len| memory.get_mut(..len)), Some(4));
    /// assert_eq!(&memory[..4], b"here");
    /// assert_eq!(rx.recv_fast_with(|len| memory.get_mut(..len)), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_fast_with<'a>(
        &mut self,
        place: impl FnOnce(usize) -> Option<&'a mut [u8]>,
    ) -> Option<usize> {
        let Flavor::SharedMemory(rx) = &self.flavor else {
            return None;
        };
        if self.unread > 0 {
            return None;
        }
        let len = rx.peek_length().filter(|&len| len > 0)?;
        self.recv_into_soon(place(len)?, false)
    }

    /// Makes the buffer longer where the next message is longer than it; returns whether it did.
    #[cold]
    fn make_room_for_next(&mut self) -> bool {
        let Flavor::SharedMemory(rx) = &mut self.flavor else {
            return false;
        };
        if self.unread > 0 {
            return false;
        }
        // An eighth of the ring at most.
        let len = rx.peek_length().unwrap_or(0);
        let is_longer = len > self.buffer.capacity();
        self.buffer.clear();
        is_longer && self.buffer.try_reserve(len).is_ok()
    }
}

/// # The fast path alone, for bindings
impl Sender {
    /// Sends `message` if that takes the fast path alone, and returns whether it did; if not, nothing has changed.
    ///
    /// It never blocks, and neither do its system calls. One wakes a receiver that sleeps. Another asks whether a receiver
    /// is left, if the last time is over 50 µs ago.
    ///
    /// False does not mean full: call [`try_send`](Self::try_send) or [`send`](Self::send) then. It is also returned
    ///
    /// - for an end's first message;
    /// - for a message that is longer than an eighth of the capacity or than 256 KiB;
    /// - while another holder is inside a call, or has a slot in place;
    /// - for every error that `send` would report;
    /// - always on a kernel pipe.
    ///
    /// # Errors
    ///
    /// `Io` where the message has been sent and a receiver could not be woken for it.
    ///
    /// # Examples
    ///
    /// ```
    /// let (_rx, mut tx) = shmpipe::pipe()?;
    /// if !tx.send_fast(b"short")? {
    ///     tx.send(b"short")?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_fast(&mut self, message: &[u8]) -> Result<bool, SendError> {
        match self.send_soon(message) {
            Some(rung) => rung.map(|()| true).map_err(SendError::Io),
            None => Ok(false),
        }
    }

    /// Whether a send would now have to wake a receiver, by a system call: one sleeps, or watches the pipe by a
    /// descriptor or [`wait`](crate::wait). A look that costs a load, and that the next moment may prove wrong.
    ///
    /// For callers of [`send_fast`](Self::send_fast) that would rather release their lock before the system call: on a
    /// busy CPU the one that is woken may run first. Always true on a kernel pipe.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Backend, PipeOptions};
    ///
    /// let (mut rx, mut tx) = PipeOptions::new().backend(Backend::SharedMemory).pipe()?;
    /// assert!(!tx.receiver_sleeps());
    /// let receiver = std::thread::spawn(move || rx.recv().map(|message| message.len()));
    /// while !tx.receiver_sleeps() {}
    /// tx.send(b"wake up")?;
    /// assert_eq!(receiver.join().unwrap()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn receiver_sleeps(&self) -> bool {
        match &self.flavor {
            sender::Flavor::SharedMemory(tx) => tx.receiver_sleeps(),
            sender::Flavor::Kernel(_) => true,
        }
    }
}

/// # The fast path alone, for bindings
impl Connection {
    /// Receives a short message by the fast path alone, as [`Receiver::recv_fast`] does.
    pub fn recv_fast(&mut self) -> Option<Message<'_>> {
        self.receiver.recv_fast()
    }

    /// Receives a short message by the fast path alone, into memory that `place` provides, as
    /// [`Receiver::recv_fast_with`] does.
    pub fn recv_fast_with<'a>(
        &mut self,
        place: impl FnOnce(usize) -> Option<&'a mut [u8]>,
    ) -> Option<usize> {
        self.receiver.recv_fast_with(place)
    }

    /// Sends a short message by the fast path alone, as [`Sender::send_fast`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::send_fast`].
    pub fn send_fast(&mut self, message: &[u8]) -> Result<bool, SendError> {
        self.sender.send_fast(message)
    }
}
