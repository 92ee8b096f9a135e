//! Sending many messages at the cost of few.

use std::iter::Fuse;

use super::sender::{Flavor, Sender};
use crate::SendBatchError;
use crate::error::Fault;
use crate::ring::pack::{self, Pack};
use crate::sys::clock::Timeout;

/// So many messages are taken out of the caller's iterator at a time.
const AT_A_TIME: usize = pack::COUNT_MAX;

/// So many messages of one length, and no fewer, make a pack.
const MAX_WORTHWHILE_WAIT: usize = 4;

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
    /// To receivers that take batches, messages of one length of up to 64 bytes go without 8 bytes of framing each. Their
    /// room is free when the last message of such a run has been received.
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
    /// Where the iterator or an `as_ref` does; the messages before the last multiple of 64, and maybe some behind it, have
    /// been sent then.
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
        // Taken out, so that a panic of the iterator leaves nothing behind.
        let mut pack = self.pack.take();
        let outcome = self.send_gathered(&mut messages, &mut pack);
        self.pack = pack;
        outcome
    }

    /// Sends all of `messages`, short ones of one length by way of `pack`.
    fn send_gathered<T: AsRef<[u8]>>(
        &mut self,
        messages: &mut Fuse<impl Iterator<Item = T>>,
        pack: &mut Option<Box<Pack>>,
    ) -> Result<usize, SendBatchError> {
        let mut items = Vec::new();
        let mut sent = 0;
        loop {
            items.clear();
            let mut gathered = 0;
            if self.makes_packs() {
                let pack = pack.get_or_insert_with(Pack::new);
                items.extend(pack.gather(messages, self.limit));
                gathered = pack.count();
                if gathered >= MAX_WORTHWHILE_WAIT {
                    self.send_pack(pack, &mut sent)?;
                }
            }
            if gathered == AT_A_TIME {
                continue;
            }
            let left = AT_A_TIME - gathered - items.len();
            items.extend(messages.take(left));
            let few = pack
                .as_deref()
                .filter(|_| (1..MAX_WORTHWHILE_WAIT).contains(&gathered));
            if items.is_empty() && few.is_none() {
                return Ok(sent);
            }
            self.send_run(few, &items, &mut sent)?;
        }
    }

    /// Sends the messages of a pack, if any, and others behind them, up to [`AT_A_TIME`] together; counts them.
    fn send_run<T: AsRef<[u8]>>(
        &mut self,
        pack: Option<&Pack>,
        others: &[T],
        sent: &mut usize,
    ) -> Result<(), SendBatchError> {
        let mut slices = [&[][..]; AT_A_TIME];
        let gathered = pack.map_or(0, Pack::count);
        let (first, behind) = slices.split_at_mut(gathered);
        for (slice, message) in first.iter_mut().zip(pack.into_iter().flat_map(Pack::iter)) {
            *slice = message;
        }
        for (slice, message) in behind.iter_mut().zip(others) {
            *slice = message.as_ref();
        }
        let mut rest = &slices[..gathered + others.len()];
        while !rest.is_empty() {
            let (count, outcome) = self.send_some(rest);
            rest = &rest[count..];
            add(sent, count, outcome)?;
        }
        Ok(())
    }

    /// Whether short messages of one length are to go as one record.
    fn makes_packs(&self) -> bool {
        match &self.flavor {
            Flavor::SharedMemory(tx) => tx.receivers_take_runs(),
            Flavor::Kernel(_) => false,
        }
    }

    /// Sends all that was gathered, and counts it.
    fn send_pack(&mut self, pack: &Pack, sent: &mut usize) -> Result<(), SendBatchError> {
        let mut first = 0;
        while first < pack.count() {
            let at_once = match &mut self.flavor {
                Flavor::SharedMemory(tx) => tx.send_pack(pack, first),
                Flavor::Kernel(_) => None,
            };
            let (count, outcome) = match at_once {
                Some((count, rung)) => (count, rung.map_err(Fault::NotWoken)),
                None => self.send_one(pack.message(first)),
            };
            first += count;
            add(sent, count, outcome)?;
        }
        Ok(())
    }

    /// Sends at least the first of `messages`, blocking until it can; returns how many.
    fn send_some(&mut self, messages: &[&[u8]]) -> (usize, Result<(), Fault>) {
        if let Flavor::SharedMemory(tx) = &mut self.flavor {
            if let Some((count, rung)) = tx.send_run(messages, self.limit) {
                return (count, rung.map_err(Fault::NotWoken));
            }
        }
        self.send_one(messages[0])
    }

    /// Sends one message, blocking until it can. Returns whether that is sent.
    fn send_one(&mut self, message: &[u8]) -> (usize, Result<(), Fault>) {
        let outcome = self.send_within(message, Timeout::FOREVER);
        let is_sent = matches!(outcome, Ok(()) | Err(Fault::NotWoken(_)));
        (usize::from(is_sent), outcome)
    }
}

/// Counts `count` messages more as sent, whatever the call that sent them came to.
fn add(sent: &mut usize, count: usize, outcome: Result<(), Fault>) -> Result<(), SendBatchError> {
    *sent += count;
    outcome.map_err(|fault| SendBatchError {
        sent: *sent,
        error: fault.into(),
    })
}
