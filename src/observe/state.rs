//! A pipe's state in a word.

use std::fmt;
use std::time::Duration;

use super::{Pipe, Presence};

/// A pipe is at work if one of its sides was so short a time ago.
const RECENT: Duration = Duration::from_millis(100);

/// What a pipe is doing, from one look at it.
///
/// # Examples
///
/// See [`Pipe::state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Nothing has moved for a tenth of a second and nobody waits.
    Idle,
    /// Messages go through.
    Flowing,
    /// A sender waits for room.
    SenderBlocked,
    /// A receiver waits for a message.
    ReceiverWaiting,
    /// No sender is left: what is in the pipe can be received, then comes end-of-file.
    EndOfFile,
    /// No receiver is left: sending is a broken pipe.
    BrokenPipe,
    /// Its memory says nothing.
    Unreadable,
}

impl State {
    pub(super) fn of(pipe: &Pipe) -> Self {
        let Ok(look) = &pipe.look else {
            return Self::Unreadable;
        };
        let is_recent = |last: Option<Duration>| last.is_some_and(|ago| ago < RECENT);
        if pipe.senders.presence == Presence::Closed {
            Self::EndOfFile
        } else if pipe.receivers.presence == Presence::Closed {
            Self::BrokenPipe
        } else if look.sender.asleep.is_some() && look.fill > 0 {
            Self::SenderBlocked
        } else if look.receiver.asleep.is_some() && look.fill == 0 {
            Self::ReceiverWaiting
        } else if is_recent(look.sender.last_active) || is_recent(look.receiver.last_active) {
            Self::Flowing
        } else {
            Self::Idle
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Idle => "idle",
            Self::Flowing => "flowing",
            Self::SenderBlocked => "sender blocked",
            Self::ReceiverWaiting => "receiver waiting",
            Self::EndOfFile => "end-of-file",
            Self::BrokenPipe => "broken pipe",
            Self::Unreadable => "unreadable",
        })
    }
}
