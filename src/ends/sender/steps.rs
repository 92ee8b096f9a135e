//! Sending a long message without waiting in a call, for the ends for tasks.

use super::{Flavor, Sender};
use crate::backend::Progress;
use crate::error::Fault;

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
        progress: &mut Progress,
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
