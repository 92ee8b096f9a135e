//! A watched side: `src/backend/shm/readiness.rs` with a SIGKILL at any step.
//!
//! Senders that send at once, so that they ring after they let go of their lock, and receivers that watch by
//! level: each sleeps in poll(2) until there is a token, takes one message, and does what a receive on a watched
//! side does after it. Stores are buffered as in `doorbell`; taking a lock is one step.

use crate::explorer::{Found, State, explore};

/// A way to get it wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Mistake {
    None,
    /// The pipe is made without a token in the socket.
    NoFirstToken,
    /// Tokens are taken out although nothing was armed.
    ClearsWithoutArming,
    /// Tokens are taken out without a look after arming.
    ClearsWithoutLook,
    /// No fence between arming and that look, nor any other before the tokens go.
    NoFence,
    /// Stale tokens stay.
    KeepsTokens,
    /// The ringer clears the armed word and then sends the token.
    ClearsThenRings,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum At {
    // A sender.
    /// Takes the lock; `Writer::publish`; drops the guard.
    Publish,
    /// `fence_after_release`, and loads the armed word.
    LookArmed,
    SendToken,
    Disarm,
    /// The send returns.
    Return,

    // A receiver.
    /// `readiness_fd`: takes the lock, if it is free.
    Watch,
    /// poll(2) by level.
    PollWait,
    /// `try_recv`: takes the lock, and a record if there is one.
    Take,
    /// `show_readiness`: looks whether there is a record.
    FirstLook,
    Arm,
    LastLook,
    /// `clear`: one token.
    Clear,
    Unlock,

    Done,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Thread {
    at: At,
    /// Messages to send or to take.
    left: u8,
    /// Sender: the armed word that it saw. Receiver: the armed word that it stored.
    armed: u8,
    /// Sender: which record is its own.
    record: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Word {
    Sent,
    Armed,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Side {
    mistake: Mistake,
    threads: Vec<Thread>,
    senders: usize,
    kills: u8,
    buffers: Vec<Vec<(Word, u8)>>,
    /// Who has the receivers' lock.
    owner: Option<usize>,
    sent: u8,
    taken: u8,
    /// Records up to here are of sends that have returned.
    returned: u8,
    armed: u8,
    number: u8,
    tokens: Vec<u8>,
    /// Times that a receiver was woken for nothing since a sender made a step.
    vain: u8,
}

impl Side {
    /// `before` messages are in the ring when the receivers begin to watch.
    fn new(mistake: Mistake, before: u8, sends: &[u8], takes: &[u8], kills: u8) -> Self {
        let thread = |at| {
            move |&left: &u8| Thread {
                at,
                left,
                armed: 0,
                record: 0,
            }
        };
        let senders = sends.iter().map(thread(At::Publish));
        let threads: Vec<_> = senders.chain(takes.iter().map(thread(At::Watch))).collect();
        let has_token = mistake != Mistake::NoFirstToken;
        Self {
            mistake,
            senders: sends.len(),
            kills,
            buffers: vec![Vec::new(); threads.len()],
            threads,
            owner: None,
            sent: before,
            taken: 0,
            returned: before,
            armed: 0,
            number: 0,
            tokens: if has_token { vec![0] } else { Vec::new() },
            vain: 0,
        }
    }

    fn is_ordered(&self, at: At) -> bool {
        match at {
            At::LastLook | At::Clear => self.mistake != Mistake::NoFence,
            At::LookArmed | At::SendToken | At::Disarm | At::Watch | At::PollWait => true,
            At::Take | At::Unlock => true,
            // One step for all that is done under the senders' lock.
            At::Publish => true,
            _ => false,
        }
    }

    fn can_step(&self, who: usize) -> bool {
        let at = self.threads[who].at;
        if self.is_ordered(at) && !self.buffers[who].is_empty() {
            return false;
        }
        match at {
            At::Take => self.owner.is_none(),
            At::PollWait => !self.tokens.is_empty(),
            At::Done | At::Dead => false,
            // A record behind one that is not visible yet could not be: the lock's release is a fence.
            At::Publish => self.buffers[..self.senders].iter().all(Vec::is_empty),
            _ => true,
        }
    }

    fn step(&mut self, who: usize) {
        let thread = self.threads[who];
        if who < self.senders {
            self.vain = 0;
        }
        let has_record = self.sent > self.taken;
        self.threads[who].at = match thread.at {
            At::Publish => {
                self.threads[who].record = self.sent + 1;
                self.buffers[who].push((Word::Sent, self.sent + 1));
                At::LookArmed
            }
            At::LookArmed => {
                self.threads[who].armed = self.armed;
                match self.armed {
                    0 => At::Return,
                    _ if self.mistake == Mistake::ClearsThenRings => At::Disarm,
                    _ => At::SendToken,
                }
            }
            At::SendToken => {
                self.tokens.push(thread.armed);
                if self.mistake == Mistake::ClearsThenRings {
                    At::Return
                } else {
                    At::Disarm
                }
            }
            At::Disarm => {
                if self.armed == thread.armed {
                    self.armed = 0;
                }
                if self.mistake == Mistake::ClearsThenRings {
                    At::SendToken
                } else {
                    At::Return
                }
            }
            At::Return => {
                self.returned = self.returned.max(thread.record);
                self.threads[who].armed = 0;
                self.threads[who].left -= 1;
                if self.threads[who].left > 0 {
                    At::Publish
                } else {
                    At::Done
                }
            }

            At::Watch if self.owner.is_none() => {
                self.owner = Some(who);
                At::FirstLook
            }
            At::Watch => At::PollWait,
            At::PollWait => At::Take,
            At::Take => {
                self.owner = Some(who);
                if has_record {
                    self.taken += 1;
                    self.threads[who].left -= 1;
                } else {
                    self.vain += 1;
                }
                At::FirstLook
            }
            At::FirstLook if has_record => At::Unlock,
            At::FirstLook if self.mistake == Mistake::ClearsWithoutArming => At::Clear,
            At::FirstLook => At::Arm,
            At::Arm => {
                self.number += 1;
                self.threads[who].armed = self.number;
                self.buffers[who].push((Word::Armed, self.threads[who].armed));
                match self.mistake {
                    Mistake::ClearsWithoutLook => At::Clear,
                    _ => At::LastLook,
                }
            }
            At::LastLook if has_record || self.mistake == Mistake::KeepsTokens => At::Unlock,
            At::LastLook => At::Clear,
            At::Clear => match self.tokens.first() {
                Some(&token) if token != thread.armed || thread.armed == 0 => {
                    self.tokens.remove(0);
                    At::Clear
                }
                _ => At::Unlock,
            },
            At::Unlock => {
                self.owner = None;
                self.threads[who].armed = 0;
                if thread.left > 0 {
                    At::PollWait
                } else {
                    At::Done
                }
            }
            other => unreachable!("a step at {other:?}"),
        };
    }
}

impl State for Side {
    type Step = (usize, At, &'static str);

    fn steps(&self) -> Vec<(Self::Step, Self)> {
        let mut steps = Vec::new();
        for (who, thread) in self.threads.iter().enumerate() {
            let mut add = |cause, change: &dyn Fn(&mut Self)| {
                let mut after = self.clone();
                change(&mut after);
                steps.push(((who, thread.at, cause), after));
            };
            if self.can_step(who) {
                add("step", &|after| after.step(who));
            }
            if !self.buffers[who].is_empty() {
                add("visible", &|after| match after.buffers[who].remove(0) {
                    (Word::Sent, value) => after.sent = value,
                    (Word::Armed, value) => after.armed = value,
                });
            }
            let is_alive = !matches!(thread.at, At::Done | At::Dead);
            if self.kills > 0 && is_alive && self.buffers[who].is_empty() {
                add("kill", &|after| {
                    after.kills -= 1;
                    after.threads[who].at = At::Dead;
                    if after.owner == Some(who) {
                        after.owner = None;
                    }
                });
            }
        }
        steps
    }

    fn fault(&self, is_end: bool) -> Option<String> {
        let told = || {
            let (taken, returned) = (self.taken, self.returned);
            format!(
                "{taken} of {returned} taken, armed {}, tokens {:?}",
                self.armed, self.tokens
            )
        };
        let receivers = &self.threads[self.senders..];
        if is_end
            && self.returned > self.taken
            && receivers.iter().any(|thread| thread.at == At::PollWait)
        {
            return Some(format!("silent: {}", told()));
        }
        if usize::from(self.vain) > receivers.len() {
            return Some(format!("spinning: {}", told()));
        }
        if self.mistake == Mistake::None && self.tokens.is_empty() && self.armed == 0 {
            return Some(format!("neither token nor mark: {}", told()));
        }
        None
    }
}

/// With nothing, one and two messages in the pipe when the watching begins.
fn search(mistake: Mistake, sends: &[u8], takes: &[u8], kills: u8) -> Found {
    explore((0..3).map(|before| Side::new(mistake, before, sends, takes, kills)))
}

/// Messages to take for a receiver that never stops.
const FOREVER: u8 = 50;

#[test]
fn a_watcher_is_never_left_in_silence_and_never_spins() {
    search(Mistake::None, &[2, 1], &[FOREVER], 0).assert_clean("a watcher", 1000);
}

#[test]
fn nor_is_it_when_a_sender_or_a_watcher_is_killed_at_any_step() {
    search(Mistake::None, &[2, 1], &[FOREVER], 1).assert_clean("a watcher, a kill", 1000);
}

#[test]
fn nor_is_one_of_two_watchers_when_the_other_one_takes_a_message_and_goes() {
    search(Mistake::None, &[2], &[1, FOREVER], 0).assert_clean("two watchers", 1000);
}

#[test]
fn nor_is_one_of_two_watchers_when_somebody_is_killed_at_any_step() {
    search(Mistake::None, &[1], &[1, FOREVER], 1).assert_clean("two watchers, a kill", 10_000);
}

#[test]
fn a_pipe_made_without_a_token_is_found_to_leave_a_watcher_in_silence() {
    search(Mistake::NoFirstToken, &[1], &[FOREVER], 0).assert_found("no first token", "silent");
}

#[test]
fn tokens_taken_out_without_arming_are_found_to_leave_a_watcher_in_silence() {
    search(Mistake::ClearsWithoutArming, &[2], &[FOREVER], 0).assert_found("not armed", "silent");
}

#[test]
fn tokens_taken_out_without_a_look_are_found_to_leave_a_watcher_in_silence() {
    search(Mistake::ClearsWithoutLook, &[2], &[FOREVER], 0).assert_found("no look", "silent");
}

#[test]
fn a_look_without_fence_is_found_to_leave_a_watcher_in_silence() {
    search(Mistake::NoFence, &[2, 2], &[FOREVER], 0).assert_found("no fence", "silent");
}

#[test]
fn tokens_that_stay_are_found_to_make_a_watcher_spin() {
    search(Mistake::KeepsTokens, &[1], &[FOREVER], 0).assert_found("tokens stay", "spinning");
}

#[test]
fn clearing_before_ringing_is_found_to_leave_a_watcher_in_silence_when_a_sender_is_killed() {
    search(Mistake::ClearsThenRings, &[2, 2], &[FOREVER], 1)
        .assert_found("clears, then rings", "silent");
}
