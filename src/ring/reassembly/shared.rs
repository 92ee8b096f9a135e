//! What all receivers share of a message in fragments: its state, and which process has the fragments.

use crate::ring::reservation::NO_END;
use crate::ring::state_word;
use crate::segment::layout::{SharedReassembly, message};
use crate::sync::Ordering;

impl SharedReassembly {
    #[inline]
    pub(crate) fn state(&self) -> u32 {
        state_word::state(&self.state, Ordering::Relaxed)
    }

    pub(super) fn set_state(&self, state: u32) {
        state_word::set_state(&self.state, state, Ordering::Relaxed);
    }

    /// Ends the message, whatever the owner has of it. The owner finds out at its next call.
    pub(crate) fn end_for_owner(&self) {
        self.set_state(message::WHOLE);
        self.owner.clear();
    }

    /// Whether the rest of a message is to be passed over.
    pub(crate) fn has_residue(&self) -> bool {
        matches!(self.state(), message::ORPHANED | message::RESIDUE)
    }

    /// Notes that the rest of a message has been passed over, or will never come.
    pub(crate) fn end_residue(&self) {
        match self.state() {
            message::ORPHANED => self.set_state(message::LOST),
            message::RESIDUE => self.set_state(message::WHOLE),
            _ => {}
        }
    }

    /// Notes that the caller reports the loss.
    pub(crate) fn report_lost(&self) {
        match self.state() {
            message::ORPHANED => self.set_state(message::RESIDUE),
            message::LOST => self.set_state(message::WHOLE),
            _ => {}
        }
    }

    /// Notes that the owner keeps the lock while it waits for the sender, or that it goes on after that.
    pub(crate) fn set_waiting(&self, waits: bool) {
        self.set_state(if waits {
            message::WAITING
        } else {
            message::INSIDE
        });
    }

    /// Whether the owner of the lock keeps it until the senders go on.
    pub(crate) fn is_waited_in(&self) -> bool {
        self.state() == message::WAITING
    }

    pub(super) fn orphan(&self) {
        self.owner.clear();
        self.set_state(message::ORPHANED);
    }

    /// Whether the owner has closed its end inside the message.
    pub(super) fn has_let_go(&self) -> bool {
        // SYNC: let-go
        self.end.load(Ordering::Acquire) == NO_END
    }
}
