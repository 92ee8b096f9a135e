//! Sending many messages at the cost of few.

use super::{Flavor, Sender};
use crate::SendBatchError;
use crate::error::Fault;
use crate::sys::clock::Timeout;

/// So many messages are taken out of the caller's iterator at a time.
const AT_A_TIME: usize = 64;

/// # Many messages at once
impl Sender {
    /// Sends each of `messages` as one message, in their order, and returns how many there were. Blocks while the pipe is
    /// full.
    ///
    /// Through shared memory a run of up to 64 messages goes at the cost of one: one lock, one publication, at most one
    /// wake-up. A run takes no more than an eighth of the pipe (256 KiB of a large one), and a message that is longer
    /// goes by itself. If this process is killed, a run is received whole or not at all. Messages of other senders may
    /// come between two runs. A kernel pipe is written to once for each message.
    ///
    /// The iterator is asked for up to 64 messages before any of these is sent, and never while others wait for this
    /// sender.
    ///
    /// # Errors
    ///
    /// What [`send`](Self::send) reports of the message at which the call ended, and how many messages were sent. These
    /// are the messages before it; where only waking a receiver was refused, that one and the rest of its run count too.
    /// Messages that were taken out of the iterator and not sent are dropped: iterate over references to try them again.
    ///
    /// # Panics
    ///
    /// Where the iterator or an `as_ref` does; the messages before the last multiple of 64 have been sent then.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// assert_eq!(tx.send_batch(["one", "two", "three"])?, 3);
    /// assert_eq!(&*rx.recv()?, b"one");
    ///
    /// drop(rx);
    /// let error = tx.send_batch([b"four"]).unwrap_err();
    /// assert_eq!(error.sent, 0);
    /// assert!(matches!(error.error, shmpipe::SendError::Disconnected));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_batch<I>(&mut self, messages: I) -> Result<usize, SendBatchError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut messages = messages.into_iter().fuse();
        let at_hand = messages.size_hint().0.min(AT_A_TIME);
        let mut items = Vec::with_capacity(at_hand);
        let mut sent = 0;
        loop {
            items.clear();
            items.extend(messages.by_ref().take(AT_A_TIME));
            let mut slices = [&[][..]; AT_A_TIME];
            for (slice, item) in slices.iter_mut().zip(&items) {
                *slice = item.as_ref();
            }
            let mut rest = &slices[..items.len()];
            if rest.is_empty() {
                return Ok(sent);
            }
            while !rest.is_empty() {
                let (count, outcome) = self.send_some(rest);
                sent += count;
                rest = &rest[count..];
                outcome.map_err(|fault| SendBatchError {
                    sent,
                    error: fault.into(),
                })?;
            }
        }
    }

    /// Sends at least the first of `messages`, blocking until it can; tells how many.
    fn send_some(&mut self, messages: &[&[u8]]) -> (usize, Result<(), Fault>) {
        if let Flavor::SharedMemory(tx) = &mut self.flavor {
            if let Some((count, rung)) = tx.send_run(messages, self.limit) {
                return (count, rung.map_err(Fault::NotWoken));
            }
        }
        let outcome = self.send_within(messages[0], Timeout::FOREVER);
        let is_sent = matches!(outcome, Ok(()) | Err(Fault::NotWoken(_)));
        (usize::from(is_sent), outcome)
    }
}
