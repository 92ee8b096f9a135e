//! Deadlock detection: whether nobody but the caller could end the sleep that a receive is about to begin.
//!
//! It errs on the side of sleeping. What it cannot see is listed at `PipeOptions::detect_deadlock`.

use std::io;
use std::os::fd::OwnedFd;

use crate::segment::geometry::Flags;
use crate::sys::clock::Timeout;
use crate::sys::holders::{self, Opposite};
use crate::sys::process::{self, Life};

/// One blocked call's knowledge of who else holds the other side.
pub(super) struct DeadlockCheck {
    is_wanted: bool,
    found: Found,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Not looked since the last sleep.
    Nothing,
    /// The calling process, of one thread, is the only holder. That stays true: a holder can only come of a
    /// holder. But messages may have come before the others went.
    OnlyUs,
    /// Somebody else, or it cannot be found out.
    Others,
}

impl DeadlockCheck {
    /// For a call that waits without limit, where the pipe was made so.
    pub(super) fn new(flags: Flags, timeout: Timeout) -> Self {
        Self {
            is_wanted: flags.has(Flags::DEADLOCK) && timeout == Timeout::FOREVER,
            found: Found::Nothing,
        }
    }

    /// Whether to [`look`](Self::look), and then at the pipe once more, before sleeping.
    pub(super) fn is_due(&self) -> bool {
        self.is_wanted && self.found == Found::Nothing
    }

    /// Whether the pipe, found empty after the last look, stays so.
    pub(super) fn is_alone(&self) -> bool {
        self.found == Found::OnlyUs
    }

    /// After a sleep things may have changed.
    pub(super) fn forget(&mut self) {
        self.found = Found::Nothing;
    }

    /// Looks who holds the other side. The end of another holder, or of one that may be one and cannot be looked into,
    /// which the descriptor shows, is the time to look again.
    ///
    /// # Errors
    ///
    /// What reading /proc reports.
    pub(super) fn look(&mut self, opposite: Opposite) -> io::Result<Option<OwnedFd>> {
        self.found = Found::Others;
        let Some(own) = holders::own() else {
            return Ok(None);
        };
        let is_ours = opposite.is_held_by(own) == Some(true);
        if !is_ours || !process::is_single_threaded() {
            return Ok(None);
        }
        let mut is_certain = holders::shows_all();
        let mut doubtful = None;
        for id in holders::processes()?.into_iter().filter(|&id| id != own) {
            match opposite.is_held_by(id) {
                Some(false) => {}
                Some(true) => match process::watch_any(id) {
                    Some(watch) => return Ok(Some(watch)),
                    None => is_certain = false,
                },
                None if opposite.may_be_held_by(id) => match process::watch_living(id)? {
                    Life::Dead => {}
                    Life::Alive(watch) => {
                        is_certain = false;
                        doubtful = Some(watch);
                    }
                    Life::Unknown => is_certain = false,
                },
                None => {}
            }
        }
        if is_certain {
            self.found = Found::OnlyUs;
        }
        Ok(doubtful)
    }
}
