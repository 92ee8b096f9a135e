//! Receiving all that is there at one cost.

use std::time::Duration;

use super::receiver::{Flavor, Receiver};
use crate::backend::Rx;
use crate::error::Fault;
use crate::ring::run::{self, Records};
use crate::sys::clock::{Deadline, Timeout};
use crate::{Batch, RecvError, RecvTimeoutError, TryRecvError};

/// # Many messages at once
impl Receiver {
    /// Receives all messages that are there, up to 256 KiB of them, and blocks while there is none.
    ///
    /// Through shared memory they are taken at the cost of one: one lock and one copy. A message longer than an eighth of
    /// the pipe comes by itself, and so does the rest of a message after a [`Read`](std::io::Read) that took its
    /// beginning.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv). An error behind whole messages stays in the pipe and is reported by the
    /// next call, of this or another handle.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// tx.send_batch(["one", "two", "three"])?;
    /// let batch = rx.recv_batch()?;
    /// assert_eq!(batch.len(), 3);
    /// assert_eq!(batch.collect::<Vec<_>>(), [&b"one"[..], b"two", b"three"]);
    ///
    /// drop(tx);
    /// assert!(matches!(rx.recv_batch(), Err(shmpipe::RecvError::Disconnected)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_batch(&mut self) -> Result<Batch<'_>, RecvError> {
        Ok(self.recv_batch_within(Timeout::FOREVER)?)
    }

    /// Receives all messages that are there, and never blocks. Otherwise it is like [`recv_batch`](Self::recv_batch).
    ///
    /// # Errors
    ///
    /// The errors of [`try_recv`](Self::try_recv).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// assert!(matches!(rx.try_recv_batch(), Err(shmpipe::TryRecvError::Empty)));
    /// tx.send(b"")?;
    /// assert_eq!(rx.try_recv_batch()?.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv_batch(&mut self) -> Result<Batch<'_>, TryRecvError> {
        Ok(self.recv_batch_within(Timeout::Never)?)
    }

    /// Receives all messages that are there, and blocks no longer than `timeout` while there is none. Otherwise it is
    /// like [`recv_batch`](Self::recv_batch).
    ///
    /// # Errors
    ///
    /// The errors of [`recv_timeout`](Self::recv_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (mut rx, _tx) = shmpipe::pipe()?;
    /// let outcome = rx.recv_batch_timeout(Duration::from_millis(1));
    /// assert!(matches!(outcome, Err(shmpipe::RecvTimeoutError::Timeout)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_batch_timeout(&mut self, timeout: Duration) -> Result<Batch<'_>, RecvTimeoutError> {
        Ok(self.recv_batch_within(Timeout::Until(Deadline::after(timeout)))?)
    }

    fn recv_batch_within(&mut self, timeout: Timeout) -> Result<Batch<'_>, Fault> {
        if let Flavor::Kernel(_) = self.flavor {
            return self.gather(timeout);
        }
        if self.unread == 0 {
            if let Some(count) = self.recv_run(timeout)? {
                return Ok(Batch::of_run(Records::new(&self.buffer, count)));
            }
        }
        // What is there is no whole message, or nothing and never will be.
        let message = self.recv_within(timeout)?;
        Ok(Batch::of_one(message.into_slice()))
    }

    /// Takes a run out of shared memory, waiting for one. `None` where something else is there, or the time-out has passed.
    fn recv_run(&mut self, timeout: Timeout) -> Result<Option<usize>, Fault> {
        let Flavor::SharedMemory(rx) = &mut self.flavor else {
            return Ok(None);
        };
        let may_wait = !timeout.is_over();
        let at_once = rx.recv_run(&mut self.buffer, may_wait);
        if at_once.is_some() || !may_wait {
            return Ok(at_once);
        }
        let is_ready = rx.poll(timeout)?;
        Ok(is_ready
            .then(|| rx.recv_run(&mut self.buffer, false))
            .flatten())
    }

    /// Takes one message, and then others as long as they are there and short, and puts them one behind the other.
    fn gather(&mut self, timeout: Timeout) -> Result<Batch<'_>, Fault> {
        let mut run = Vec::new();
        run::push(&mut run, &self.recv_within(timeout)?);
        let mut count = 1;
        while (run.len() as u64) < run::MAX_RUN && self.recv_more() {
            run::push(&mut run, &self.buffer);
            count += 1;
        }
        self.buffer = run;
        Ok(Batch::of_run(Records::new(&self.buffer, count)))
    }
}
