//! The doorbell: `src/wait/event.rs` and `src/wait/sleep.rs` with a SIGKILL at any step.
//!
//! Two senders and one or two receivers, each under its side's lock, which is one step here (`side_lock`
//! is about the inside of that). A plain store goes to the thread's own store buffer first and becomes
//! visible at any later time; a fence or a read-modify-write waits until the buffer is empty, as on
//! x86_64.

use crate::explorer::State;

mod canonical;
mod orders;

const POLLING: u8 = 1;
const ON_FUTEX: u8 = 2;
const FLAGS: u8 = POLLING | ON_FUTEX;
const NUMBER: u8 = FLAGS + 1;

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
    /// `futex` and `poll` have no fence between arming and the last look.
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
    /// `strike_bell`: adds 1 to the bell.
    Strike,
    /// `strike_bell`: wakes all.
    Wake,
    /// `disarm`.
    Disarm,
    /// Drops the guard; the send returns.
    Unlock,

    // A receiver.
    /// `Wait::futex`: loads the bell.
    LoadBell,
    /// `Event::arm`: loads the flags, stores a new number.
    Arm,
    /// `Wait::futex`, `Wait::poll`: the fence, and `ready`, the look between arming and sleeping.
    LastLook,
    /// `drop_stale_tokens`: peeks and takes out one.
    Drain,
    /// Drops the guard before it sleeps.
    UnlockToSleep,
    /// Drops the guard to look again.
    UnlockToLook,
    /// `futex::wait`: compares the bell.
    FutexWait,
    InFutex,
    /// After `futex::wait`: whether the bell has moved.
    AfterFutex,
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
    /// Sender: the armed word it saw. Receiver: the armed word it stored.
    armed: u8,
    /// Receiver: whether the bell has moved since it was loaded.
    bell_moved: bool,
    /// Receiver: whether its wait has come to poll(2).
    polls: bool,
    /// Sender: whether it rings for a dead owner.
    is_heir: bool,
}

impl Thread {
    /// Whether it is in the futex phase and compares the bell later.
    fn may_see_bell(self) -> bool {
        let later = [
            At::Arm,
            At::LastLook,
            At::UnlockToSleep,
            At::FutexWait,
            At::InFutex,
            At::AfterFutex,
        ];
        !self.polls && later.contains(&self.at)
    }
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
    /// The bound of the futex phase.
    Bound,
    Kill,
}

impl Pipe {
    fn new(mistake: Mistake, sends: &[u8], takes: &[u8], kills: u8) -> Self {
        let thread = |&left: &u8| Thread {
            at: At::Lock,
            left,
            armed: 0,
            bell_moved: false,
            polls: false,
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
            tokens: Vec::new(),
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
            At::Lock | At::Strike | At::Unlock | At::UnlockToSleep | At::UnlockToLook => true,
            // The syscalls.
            At::SendToken | At::Wake | At::Drain | At::FutexWait | At::PollWait => true,
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
            At::InFutex | At::Done | At::Dead => false,
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
                    _ => self.first_of_ring(armed),
                }
            }
            At::SendToken => {
                self.tokens.push(armed / NUMBER);
                At::Strike
            }
            At::Strike => {
                for thread in &mut self.threads {
                    thread.bell_moved |= thread.may_see_bell();
                }
                At::Wake
            }
            At::Wake => {
                for thread in &mut self.threads {
                    if thread.at == At::InFutex {
                        thread.at = At::AfterFutex;
                    }
                }
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
                    self.first_of_ring(armed)
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

    fn first_of_ring(&self, armed: u8) -> At {
        if armed & POLLING != 0 {
            At::SendToken
        } else {
            At::Strike
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
                    // The next call begins its wait anew.
                    self.threads[who].polls = false;
                    At::UnlockToLook
                } else if thread.polls {
                    At::Arm
                } else {
                    At::LoadBell
                }
            }
            At::LoadBell => {
                self.threads[who].bell_moved = false;
                At::Arm
            }
            At::Arm => {
                self.number += 1;
                let others = self.load(who, Word::Armed) & FLAGS;
                let own = if thread.polls { POLLING } else { ON_FUTEX };
                let armed = (self.number * NUMBER) | others | own;
                self.store(who, Word::Armed, armed);
                self.threads[who].armed = armed;
                if self.mistake == Mistake::DrainsWithoutLook && thread.polls {
                    At::Drain
                } else {
                    At::LastLook
                }
            }
            At::LastLook if self.sent > self.taken => At::UnlockToLook,
            At::LastLook if thread.polls => At::Drain,
            At::LastLook => At::UnlockToSleep,
            At::Drain => match self.tokens.first() {
                Some(&token) if token != thread.armed / NUMBER => {
                    self.tokens.remove(0);
                    At::Drain
                }
                _ => At::UnlockToSleep,
            },
            At::UnlockToSleep => {
                self.unlock(who);
                self.threads[who].armed = 0;
                if thread.polls {
                    At::PollWait
                } else {
                    At::FutexWait
                }
            }
            At::UnlockToLook => {
                self.unlock(who);
                self.threads[who].armed = 0;
                self.threads[who].bell_moved = false;
                if thread.left > 0 { At::Lock } else { At::Done }
            }
            At::FutexWait if !thread.bell_moved => At::InFutex,
            At::FutexWait => At::AfterFutex,
            At::AfterFutex => {
                self.threads[who].polls = !thread.bell_moved;
                self.threads[who].bell_moved = false;
                At::Lock
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
            if thread.at == At::InFutex {
                add(Cause::Bound, &|after| {
                    after.threads[who].at = At::AfterFutex
                });
            }
            let may_die = !matches!(thread.at, At::Done | At::Dead) && self.buffers[who].is_empty();
            if self.kills > 0 && may_die {
                add(Cause::Kill, &|after| after.kill(who));
            }
        }
        steps
    }

    fn fault(&self, is_end: bool) -> Option<String> {
        let is_asleep = |thread: &Thread| thread.at == At::InPoll;
        let is_lost = is_end && self.returned > self.taken && self.threads.iter().any(is_asleep);
        is_lost.then(|| {
            format!(
                "a wake-up is lost: {} of {} taken, armed {}, tokens {:?}",
                self.taken, self.returned, self.armed, self.tokens
            )
        })
    }
}
