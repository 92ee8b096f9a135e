//! What went on between two looks at one pipe, and which side holds it up.

use std::fmt;

use shmpipe::observe::{Look, Side};

/// Below this share of the time a side that waits holds nobody up.
const WORTH_SAYING: f64 = 0.1;

/// What went through between two looks, and how the sides waited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rates {
    /// Time between the looks in seconds.
    pub(crate) seconds: f64,
    /// Messages received a second.
    pub(crate) messages: f64,
    /// Bytes of payload received a second.
    pub(crate) bytes: f64,
    /// Share of the time that senders were blocked, from 0 to 1.
    pub(crate) blocked: f64,
    /// Share of the time that receivers waited, from 0 to 1.
    pub(crate) waiting: f64,
    /// Whether anything was sent or received.
    has_moved: bool,
}

/// Which side the other one waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bottleneck {
    Sender,
    Receiver,
    /// Messages go through and neither side waits much.
    Neither,
    /// Nothing goes through, and no sender wants it to.
    Idle,
}

impl Rates {
    /// From an earlier and a later look at the same pipe.
    pub(crate) fn between(before: &Look, after: &Look) -> Self {
        let span = after.taken.saturating_sub(before.taken);
        let seconds = span.as_secs_f64().max(1e-9);
        // A counter that went back is a liar's, or of another pipe.
        let difference = |of: fn(&Side) -> u64, before: &Side, after: &Side| {
            of(after).saturating_sub(of(before))
        };
        let share = |before: &Side, after: &Side| {
            let blocked = after.blocked.saturating_sub(before.blocked);
            (blocked.as_secs_f64() / seconds).min(1.0)
        };
        let messages = |side: &Side| side.messages;
        let bytes = |side: &Side| side.bytes;
        let received = difference(bytes, &before.receiver, &after.receiver);
        let moved = [
            difference(messages, &before.sender, &after.sender),
            difference(bytes, &before.sender, &after.sender),
            difference(messages, &before.receiver, &after.receiver),
            received,
        ];
        Self {
            seconds,
            messages: moved[2] as f64 / seconds,
            bytes: received as f64 / seconds,
            blocked: share(&before.sender, &after.sender),
            waiting: share(&before.receiver, &after.receiver),
            has_moved: moved.iter().any(|&count| count > 0),
        }
    }

    /// Which side is the bottleneck: the one that is waited for.
    pub(crate) fn bottleneck(&self) -> Bottleneck {
        if self.blocked >= WORTH_SAYING && self.blocked >= self.waiting {
            Bottleneck::Receiver
        } else if !self.has_moved {
            Bottleneck::Idle
        } else if self.waiting >= WORTH_SAYING {
            Bottleneck::Sender
        } else {
            Bottleneck::Neither
        }
    }

    /// The same in words.
    pub(crate) fn verdict(&self) -> String {
        let blocked = self.blocked * 100.0;
        let waiting = self.waiting * 100.0;
        match self.bottleneck() {
            Bottleneck::Receiver => format!(
                "the receiver is the bottleneck: senders are blocked {blocked:.0} % of the time"
            ),
            Bottleneck::Sender => {
                format!("the sender is the bottleneck: receivers wait {waiting:.0} % of the time")
            }
            Bottleneck::Neither => format!(
                "neither side is the bottleneck: senders are blocked {blocked:.0} % and receivers wait \
                 {waiting:.0} % of the time"
            ),
            Bottleneck::Idle if self.waiting >= WORTH_SAYING => {
                "idle: a receiver waits and nothing is sent".into()
            }
            Bottleneck::Idle => "idle: nothing is sent or received".into(),
        }
    }
}

impl fmt::Display for Bottleneck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
            Self::Neither => "neither",
            Self::Idle => "idle",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(blocked: f64, waiting: f64, has_moved: bool) -> Rates {
        Rates {
            seconds: 1.0,
            messages: 1.0,
            bytes: 8.0,
            blocked,
            waiting,
            has_moved,
        }
    }

    #[test]
    fn the_bottleneck_is_the_side_that_is_waited_for() {
        assert_eq!(rates(0.9, 0.0, true).bottleneck(), Bottleneck::Receiver);
        assert_eq!(rates(0.0, 0.9, true).bottleneck(), Bottleneck::Sender);
        assert_eq!(rates(0.05, 0.05, true).bottleneck(), Bottleneck::Neither);
        assert_eq!(rates(0.0, 0.0, false).bottleneck(), Bottleneck::Idle);
    }

    #[test]
    fn a_full_pipe_that_nobody_empties_is_the_receivers_doing() {
        let verdict = rates(1.0, 0.0, false).verdict();
        assert!(
            verdict.contains("the receiver is the bottleneck"),
            "{verdict}"
        );
    }

    #[test]
    fn a_receiver_that_waits_for_nothing_at_all_is_no_bottleneck() {
        let verdict = rates(0.0, 1.0, false).verdict();
        assert!(verdict.starts_with("idle: a receiver waits"), "{verdict}");
    }
}
