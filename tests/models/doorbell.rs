//! The doorbell: `src/wait/event.rs` and `src/wait/sleep.rs` with a SIGKILL at any step.
//!
//! Two senders and one or two receivers, each under its side's lock, which is one step here (`side_lock`
//! is about the inside of that). A plain store goes to the thread's own store buffer first and becomes
//! visible at any later time; a fence or a read-modify-write waits until the buffer is empty, as on
//! x86_64.

use crate::explorer::State;

mod canonical;
mod orders;

/// Messages to take for a receiver that never stops.
const FOREVER: u8 = u8::MAX;

/// A way to get it wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Mistake {
    None,
    /// `ring_armed` clears the armed word and then rings.
    ClearsThenRings,
    /// `ring_armed` stores 0 where it should swap its own number for 0.
    StoresZero,
    /// `ring` has no fence between the change and the look at the armed word.
    RingsWithoutFence,
    /// `poll` has no fence between arming and the last look.
    SleepsWithoutFence,
    /// `poll` takes tokens out without having looked at the ring after it armed.
    DrainsWithoutLook,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum At {
    /// `SideLock::lock`; a receiver then looks for a record and takes it, as `recv_open` does.
    Lock,

    // A sender.
    /// `Writer::publish`: the header's store.
    Publish,
    /// `Event::ring`: the fence, and loads the armed word.
    LookArmed,
    /// `ring_armed`: `send_token`.
    SendToken,
    /// `disarm`.
    Disarm,
    /// Drops the guard; the send returns.
    Unlock,

    // A receiver.
    /// `Event::arm`: stores a new number.
    Arm,
    /// `Wait::poll`: the fence, and `ready`, the look between arming and sleeping.
    LastLook,
    /// `drop_stale_tokens`: peeks and takes out one.
    Drain,
    /// Drops the guard before it sleeps.
    UnlockToSleep,
    /// Drops the guard to look again.
    UnlockToLook,
    /// `socket::wait`.
    PollWait,
    InPoll,

    Done,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Thread {
    at: At,
    /// Messages that are still to be sent or taken.
    left: u8,
    /// Sender: the number it saw armed. Receiver: its own.
    armed: u8,
    /// Sender: whether it rings for a dead owner.
    is_heir: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Word {
    Sent,
    Armed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
enum Owner {
    #[default]
    Nobody,
    Dead,
    Thread(usize),
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Pipe {
    mistake: Mistake,
    threads: Vec<Thread>,
    senders: usize,
    kills: u8,
    /// Stores that are not visible yet, oldest first, for each thread.
    buffers: Vec<Vec<(Word, u8)>>,
    locks: [Owner; 2],
    /// Records published, taken, and of sends that have returned.
    sent: u8,
    taken: u8,
    returned: u8,
    armed: u8,
    /// Last number that armed; under the receivers' lock.
    number: u8,
    tokens: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Cause {
    Step,
    /// The oldest store of the buffer becomes visible.
    Visible,
    Kill,
}

impl Pipe {
    fn new(mistake: Mistake, sends: &[u8], takes: &[u8], kills: u8) -> Self {
        let thread = |&left: &u8| Thread {
            at: At::Lock,
            left,
            armed: 0,
            is_heir: false,
        };
        let threads: Vec<_> = sends.iter().chain(takes).map(thread).collect();
        Self {
            mistake,
            senders: sends.len(),
            kills,
            buffers: vec![Vec::new(); threads.len()],
            threads,
            locks: [Owner::Nobody; 2],
            sent: 0,
            taken: 0,
            returned: 0,
            armed: 0,
            number: 0,
            // The one with which a pipe is made.
            tokens: vec![0],
        }
    }

    fn store(&mut self, who: usize, word: Word, value: u8) {
        self.buffers[who].push((word, value));
    }

    /// What `who` sees: its own latest store, or what is visible.
    fn load(&self, who: usize, word: Word) -> u8 {
        let own = self.buffers[who].iter().rev().find(|(at, _)| *at == word);
        match (own, word) {
            (Some((_, value)), _) => *value,
            (None, Word::Sent) => self.sent,
            (None, Word::Armed) => self.armed,
        }
    }

    fn side(&self, who: usize) -> usize {
        usize::from(who >= self.senders)
    }

    /// Whether the step waits for the buffer: a fence or a read-modify-write.
    fn is_ordered(&self, at: At) -> bool {
        match at {
            At::LookArmed => self.mistake != Mistake::RingsWithoutFence,
            At::LastLook => self.mistake != Mistake::SleepsWithoutFence,
            At::Disarm => self.mistake != Mistake::StoresZero,
            At::Lock | At::Unlock | At::UnlockToSleep | At::UnlockToLook => true,
            // The syscalls.
            At::SendToken | At::Drain | At::PollWait => true,
            _ => false,
        }
    }

    fn can_step(&self, who: usize) -> bool {
        let at = self.threads[who].at;
        if self.is_ordered(at) && !self.buffers[who].is_empty() {
            return false;
        }
        match at {
            At::Lock => !matches!(self.locks[self.side(who)], Owner::Thread(_)),
            At::InPoll => !self.tokens.is_empty(),
            At::Done | At::Dead => false,
            _ => true,
        }
    }

    fn unlock(&mut self, who: usize) {
        let side = self.side(who);
        self.locks[side] = Owner::Nobody;
    }

    fn step(&mut self, who: usize) {
        let next = if who < self.senders {
            self.step_sender(who)
        } else {
            self.step_receiver(who)
        };
        self.threads[who].at = next;
    }

    fn step_sender(&mut self, who: usize) -> At {
        let armed = self.threads[who].armed;
        match self.threads[who].at {
            At::Lock => {
                let owner_died = self.locks[0] == Owner::Dead;
                self.locks[0] = Owner::Thread(who);
                self.threads[who].is_heir = owner_died;
                if self.threads[who].is_heir {
                    // Rings for what the dead one may have published.
                    At::LookArmed
                } else {
                    At::Publish
                }
            }
            At::Publish => {
                let sent = self.load(who, Word::Sent) + 1;
                self.store(who, Word::Sent, sent);
                At::LookArmed
            }
            At::LookArmed => {
                let armed = self.load(who, Word::Armed);
                self.threads[who].armed = armed;
                match armed {
                    0 => self.after_ring(who),
                    _ if self.mistake == Mistake::ClearsThenRings => At::Disarm,
                    _ => At::SendToken,
                }
            }
            At::SendToken => {
                self.tokens.push(armed);
                if self.mistake == Mistake::ClearsThenRings {
                    self.after_ring(who)
                } else {
                    At::Disarm
                }
            }
            At::Disarm => {
                if self.mistake == Mistake::StoresZero {
                    self.store(who, Word::Armed, 0);
                } else if self.armed == armed {
                    self.armed = 0;
                }
                if self.mistake == Mistake::ClearsThenRings {
                    At::SendToken
                } else {
                    self.after_ring(who)
                }
            }
            At::Unlock => {
                self.unlock(who);
                // Everything up to its own record is promised to the receivers now.
                self.returned = self.sent;
                self.threads[who].left -= 1;
                if self.threads[who].left > 0 {
                    At::Lock
                } else {
                    At::Done
                }
            }
            other => unreachable!("a sender at {other:?}"),
        }
    }

    fn after_ring(&mut self, who: usize) -> At {
        self.threads[who].armed = 0;
        if std::mem::take(&mut self.threads[who].is_heir) {
            At::Publish
        } else {
            At::Unlock
        }
    }

    fn step_receiver(&mut self, who: usize) -> At {
        let thread = self.threads[who];
        match thread.at {
            At::Lock => {
                self.locks[1] = Owner::Thread(who);
                if self.sent > self.taken {
                    self.taken += 1;
                    if thread.left != FOREVER {
                        self.threads[who].left -= 1;
                    }
                    At::UnlockToLook
                } else {
                    At::Arm
                }
            }
            At::Arm => {
                self.number += 1;
                self.store(who, Word::Armed, self.number);
                self.threads[who].armed = self.number;
                match self.mistake {
                    Mistake::DrainsWithoutLook => At::Drain,
                    _ => At::LastLook,
                }
            }
            At::LastLook if self.sent > self.taken => At::UnlockToLook,
            At::LastLook => At::Drain,
            At::Drain => match self.tokens.first() {
                Some(&token) if token != thread.armed => {
                    self.tokens.remove(0);
                    At::Drain
                }
                _ => At::UnlockToSleep,
            },
            At::UnlockToSleep => {
                self.unlock(who);
                self.threads[who].armed = 0;
                At::PollWait
            }
            At::UnlockToLook => {
                self.unlock(who);
                self.threads[who].armed = 0;
                if thread.left > 0 { At::Lock } else { At::Done }
            }
            At::PollWait if self.tokens.is_empty() => At::InPoll,
            At::PollWait | At::InPoll => At::Lock,
            other => unreachable!("a receiver at {other:?}"),
        }
    }

    /// SIGKILL, and the lock goes to whoever comes next. What is in the store buffer becomes visible
    /// first; the others may have gone on before that, so this loses no case.
    fn kill(&mut self, who: usize) {
        self.kills -= 1;
        self.threads[who].at = At::Dead;
        let side = self.side(who);
        if self.locks[side] == Owner::Thread(who) {
            self.locks[side] = Owner::Dead;
        }
    }
}

impl State for Pipe {
    type Step = (usize, At, Cause);

    fn steps(&self) -> Vec<(Self::Step, Self)> {
        let mut steps = Vec::new();
        for (who, thread) in self.threads.iter().enumerate() {
            let mut add = |cause, change: &dyn Fn(&mut Self)| {
                let mut after = self.clone();
                change(&mut after);
                steps.push(((who, thread.at, cause), after.canonical()));
            };
            if self.can_step(who) {
                add(Cause::Step, &|after| after.step(who));
            }
            if !self.buffers[who].is_empty() {
                add(
                    Cause::Visible,
                    &|after| match after.buffers[who].remove(0) {
                        (Word::Sent, value) => after.sent = value,
                        (Word::Armed, value) => after.armed = value,
                    },
                );
            }
            let may_die = !matches!(thread.at, At::Done | At::Dead) && self.buffers[who].is_empty();
            if self.kills > 0 && may_die {
                add(Cause::Kill, &|after| after.kill(who));
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
        let is_asleep = |thread: &Thread| thread.at == At::InPoll;
        if is_end && self.returned > self.taken && self.threads.iter().any(is_asleep) {
            return Some(format!("a wake-up is lost: {}", told()));
        }
        if self.mistake == Mistake::None && self.tokens.is_empty() && self.armed == 0 {
            return Some(format!("neither token nor mark: {}", told()));
        }
        None
    }
}
