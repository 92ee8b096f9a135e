//! The poll_group: `src/wait/poll_group.rs` over the doorbell, with threads that give up and a process that is killed or
//! stopped for good at any step.
//!
//! Receivers are threads of one or more processes; senders are all in processes of their own, of which nobody dies
//! (`doorbell` has that). The word of a poll_group is one, so its steps take effect in one order for everybody; the fences
//! between ring and armed word are `doorbell`'s as well, so here each step is seen at once.

use crate::explorer::State;

mod orders;

/// A way to get it wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Mistake {
    None,
    /// Whoever would lead sleeps in poll(2) although another one leads.
    AllPoll,
    /// A follower keeps the side lock while it sleeps.
    FollowsUnderTheLock,
    /// A follower does not mark the word before it sleeps.
    FollowsUnmarked,
    /// `pass_on` takes the mark away with the leader, and a follower does not bring it back.
    NobodyKeepsMark,
    /// `pass_on` wakes nobody.
    PassesNothingOn,
    /// A follower whose time is over does not take a free lead.
    GivesUpWithTheWake,
    /// The lead is kept for the next call.
    KeepsLead,
    /// One word for the threads of all processes.
    OneLeadForAllProcesses,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    // A sender.
    Publish,
    /// `Event::ring`.
    LookArmed,
    SendToken,
    Disarm,

    // A receiver.
    /// `SideLock::lock`, and `take` as far as there is a record.
    Lock,
    /// `PollGroup::try_lead`, under the lock.
    TryLead,
    Arm,
    LastLook,
    Drain,
    UnlockToPoll,
    InPoll,
    /// Lets go of the lock to follow.
    UnlockToFollow,
    /// `follow`: loads the word, and the swap that marks it.
    Mark,
    /// `futex::wait`.
    Wait,
    Asleep,
    /// `follow`: the swap of a free word after a sleep.
    TakeAfterSleep,
    UnlockToLook,
    /// The call ends.
    UnlockToReturn,
    /// `pass_on`: the swap that frees the lead.
    Free,
    /// `pass_on`: wakes one.
    Wake,
    /// `unmark`: the swap.
    Unmark,
    /// `unmark`: wakes all.
    WakeAll,
    /// `disband`: the swap, and the wake.
    Disband,

    Done,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Thread {
    at: At,
    process: usize,
    /// Messages still to be sent or taken.
    left: u8,
    /// Sender: the armed word that it saw. Receiver: the number that it armed.
    number: u8,
    /// The leader that a follower saw.
    seen: Option<usize>,
    may_give_up: bool,
    is_over: bool,
    /// Has seen the hang-up.
    is_told: bool,
}

/// The word of one poll_group and who sleeps on it.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
struct PollGroup {
    leader: Option<usize>,
    is_followed: bool,
    is_disbanded: bool,
    /// Oldest first, as futex(2) wakes them.
    asleep: Vec<usize>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Side {
    mistake: Mistake,
    threads: Vec<Thread>,
    senders: usize,
    /// The last sender's end hangs up.
    hangs_up: bool,
    poll_groups: Vec<PollGroup>,
    /// The receivers' lock.
    owner: Option<usize>,
    sent: u8,
    returned: u8,
    taken: u8,
    armed: u8,
    number: u8,
    tokens: Vec<u8>,
    kills: u8,
    stops: u8,
    stopped: Option<usize>,
}

/// What may go wrong beside the mistake.
#[derive(Clone, Copy, Default)]
struct Harm {
    kills: u8,
    stops: u8,
}

const NO_HARM: Harm = Harm { kills: 0, stops: 0 };
const A_KILL: Harm = Harm { kills: 1, stops: 0 };
const A_STOP: Harm = Harm { kills: 0, stops: 1 };

/// Messages to take for a receiver that goes on to the end.
const TO_THE_END: u8 = 50;

impl Side {
    /// `takes` has, for each process, the messages that each of its threads takes; one that takes 0 gives up.
    fn new(mistake: Mistake, sends: &[u8], hangs_up: bool, takes: &[&[u8]], harm: Harm) -> Self {
        let thread = |at, process, left| Thread {
            at,
            process,
            left,
            number: 0,
            seen: None,
            may_give_up: left == 0,
            is_over: false,
            is_told: false,
        };
        let senders = sends
            .iter()
            .map(|&left| thread(At::Publish, usize::MAX, left));
        let receivers = takes.iter().enumerate().flat_map(|(process, takes)| {
            takes
                .iter()
                .map(move |&left| thread(At::Lock, process, left))
        });
        Self {
            mistake,
            threads: senders.chain(receivers).collect(),
            senders: sends.len(),
            hangs_up,
            poll_groups: vec![PollGroup::default(); takes.len()],
            owner: None,
            sent: 0,
            returned: 0,
            taken: 0,
            armed: 0,
            number: 0,
            tokens: vec![0],
            kills: harm.kills,
            stops: harm.stops,
            stopped: None,
        }
    }

    fn group_of(&self, who: usize) -> usize {
        match self.mistake {
            Mistake::OneLeadForAllProcesses => 0,
            _ => self.threads[who].process,
        }
    }

    fn poll_group(&mut self, who: usize) -> &mut PollGroup {
        let index = self.group_of(who);
        &mut self.poll_groups[index]
    }

    fn is_hung_up(&self) -> bool {
        let mut senders = self.threads[..self.senders].iter();
        self.hangs_up && senders.all(|thread| thread.at == At::Done)
    }

    fn is_stopped(&self, who: usize) -> bool {
        self.stopped == Some(self.threads[who].process)
    }

    fn can_step(&self, who: usize) -> bool {
        let thread = &self.threads[who];
        match thread.at {
            _ if self.is_stopped(who) => false,
            At::Lock => self.owner.is_none(),
            At::InPoll => !self.tokens.is_empty() || self.is_hung_up(),
            At::Asleep | At::Done | At::Dead => false,
            _ => true,
        }
    }

    /// `FUTEX_WAKE`; the number of those woken.
    fn wake(&mut self, who: usize, most: usize) -> usize {
        let poll_group = self.poll_group(who);
        let count = most.min(poll_group.asleep.len());
        let woken: Vec<_> = poll_group.asleep.drain(..count).collect();
        for woken in woken {
            self.threads[woken].at = At::TakeAfterSleep;
        }
        count
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
        let number = self.threads[who].number;
        match self.threads[who].at {
            At::Publish => {
                self.sent += 1;
                return At::LookArmed;
            }
            At::LookArmed if self.armed != 0 => {
                self.threads[who].number = self.armed;
                return At::SendToken;
            }
            At::LookArmed => {}
            At::SendToken => {
                self.tokens.push(number);
                return At::Disarm;
            }
            At::Disarm if self.armed == number => self.armed = 0,
            At::Disarm => {}
            other => unreachable!("a sender at {other:?}"),
        }
        // The send returns; what came before it in the ring is promised too.
        self.returned = self.sent;
        self.threads[who].number = 0;
        self.threads[who].left -= 1;
        if self.threads[who].left > 0 {
            At::Publish
        } else {
            At::Done
        }
    }

    fn step_receiver(&mut self, who: usize) -> At {
        let mistake = self.mistake;
        let thread = self.threads[who];
        let has_record = self.sent > self.taken;
        match thread.at {
            At::Lock => {
                self.owner = Some(who);
                if has_record && thread.left > 0 {
                    self.taken += 1;
                    self.threads[who].left -= 1;
                    At::UnlockToReturn
                } else if thread.is_over || thread.is_told {
                    self.threads[who].left = 0;
                    At::UnlockToReturn
                } else {
                    At::TryLead
                }
            }
            At::TryLead => {
                let poll_group = self.poll_group(who);
                match poll_group.leader {
                    _ if poll_group.is_disbanded => At::Arm,
                    Some(leader) if leader == who => At::Arm,
                    Some(_) if mistake == Mistake::AllPoll => At::Arm,
                    Some(_) if mistake == Mistake::FollowsUnderTheLock => At::Mark,
                    Some(_) => At::UnlockToFollow,
                    None => {
                        poll_group.leader = Some(who);
                        At::Arm
                    }
                }
            }
            At::Arm => {
                self.number += 1;
                self.armed = self.number;
                self.threads[who].number = self.number;
                At::LastLook
            }
            At::LastLook if has_record => At::UnlockToLook,
            At::LastLook => At::Drain,
            At::Drain => {
                if self
                    .tokens
                    .first()
                    .is_some_and(|&token| token != thread.number)
                {
                    self.tokens.remove(0);
                }
                At::UnlockToPoll
            }
            At::UnlockToPoll => {
                self.unlock(who);
                At::InPoll
            }
            At::InPoll if self.is_hung_up() => {
                self.threads[who].is_told = true;
                At::Disband
            }
            At::InPoll => At::Lock,
            At::UnlockToFollow => {
                self.unlock(who);
                At::Mark
            }
            At::Mark => {
                let poll_group = self.poll_group(who);
                let leader = poll_group.leader.filter(|_| !poll_group.is_disbanded);
                poll_group.is_followed |= leader.is_some() && mistake != Mistake::FollowsUnmarked;
                self.threads[who].seen = leader;
                match leader {
                    Some(_) => At::Wait,
                    None => self.look_again(who),
                }
            }
            At::Wait => {
                let is_marked = mistake == Mistake::FollowsUnmarked;
                let poll_group = self.poll_group(who);
                let is_same = poll_group.leader == thread.seen && !poll_group.is_disbanded;
                if is_same && (poll_group.is_followed || is_marked) {
                    poll_group.asleep.push(who);
                    At::Asleep
                } else {
                    At::TakeAfterSleep
                }
            }
            At::TakeAfterSleep => {
                self.threads[who].seen = None;
                let gives_up = thread.is_over && mistake == Mistake::GivesUpWithTheWake;
                let poll_group = self.poll_group(who);
                if poll_group.leader.is_none() && !poll_group.is_disbanded && !gives_up {
                    poll_group.leader = Some(who);
                    poll_group.is_followed |= mistake != Mistake::NobodyKeepsMark;
                }
                self.look_again(who)
            }
            At::UnlockToLook => {
                self.unlock(who);
                At::Lock
            }
            At::UnlockToReturn => {
                self.unlock(who);
                self.threads[who].is_over = false;
                if self.poll_group(who).leader == Some(who) && mistake != Mistake::KeepsLead {
                    At::Free
                } else {
                    self.after_a_call(who)
                }
            }
            At::Free => {
                let poll_group = self.poll_group(who);
                poll_group.leader = None;
                let is_followed = poll_group.is_followed;
                if mistake == Mistake::NobodyKeepsMark {
                    poll_group.is_followed = false;
                }
                if is_followed && mistake != Mistake::PassesNothingOn {
                    At::Wake
                } else {
                    self.after_a_call(who)
                }
            }
            At::Wake => match self.wake(who, 1) {
                0 => At::Unmark,
                _ => self.after_a_call(who),
            },
            At::Unmark => {
                let poll_group = self.poll_group(who);
                let is_swapped = poll_group.leader.is_none() && poll_group.is_followed;
                poll_group.is_followed &= !is_swapped;
                if is_swapped {
                    At::WakeAll
                } else {
                    self.after_a_call(who)
                }
            }
            At::WakeAll => {
                self.wake(who, usize::MAX);
                self.after_a_call(who)
            }
            At::Disband => {
                if self.poll_group(who).leader == Some(who) {
                    *self.poll_group(who) = PollGroup {
                        is_disbanded: true,
                        asleep: std::mem::take(&mut self.poll_group(who).asleep),
                        ..PollGroup::default()
                    };
                    self.wake(who, usize::MAX);
                }
                At::Lock
            }
            other => unreachable!("a receiver at {other:?}"),
        }
    }

    /// One state for all that differ in nothing that matters: counts from the same start, numbers of the same order.
    fn canonical(mut self) -> Self {
        let taken = std::mem::take(&mut self.taken);
        self.sent -= taken;
        self.returned = self.returned.saturating_sub(taken);
        let own = self.threads.iter().map(|thread| thread.number);
        let mut used: Vec<u8> = own.chain([0, self.armed]).collect();
        used.extend(&self.tokens);
        used.sort_unstable();
        used.dedup();
        let rank = |number: u8| {
            let rank = used.binary_search(&number).expect("all are there");
            u8::try_from(rank).expect("a few numbers")
        };
        self.armed = rank(self.armed);
        for number in self.threads.iter_mut().map(|thread| &mut thread.number) {
            *number = rank(*number);
        }
        for token in &mut self.tokens {
            *token = rank(*token);
        }
        self.number = u8::try_from(used.len()).expect("a few numbers") - 1;
        self
    }

    fn unlock(&mut self, who: usize) {
        self.owner = None;
        self.threads[who].number = 0;
    }

    fn look_again(&mut self, who: usize) -> At {
        if self.owner == Some(who) {
            self.unlock(who);
        }
        At::Lock
    }

    fn after_a_call(&self, who: usize) -> At {
        if self.threads[who].left > 0 {
            At::Lock
        } else {
            At::Done
        }
    }

    fn is_alive(&self, who: usize) -> bool {
        !matches!(self.threads[who].at, At::Done | At::Dead)
    }

    fn members(&self, process: usize) -> Vec<usize> {
        (self.senders..self.threads.len())
            .filter(|&who| self.threads[who].process == process)
            .collect()
    }

    /// A signal to `process` ends the sleeps of its threads in futex(2).
    fn leave_queues(&mut self, process: usize) {
        let members = self.members(process);
        for poll_group in &mut self.poll_groups {
            poll_group.asleep.retain(|who| !members.contains(who));
        }
    }

    fn kill(&mut self, process: usize) {
        self.kills -= 1;
        self.leave_queues(process);
        for who in self.members(process) {
            self.threads[who].at = At::Dead;
            if self.owner == Some(who) {
                self.owner = None;
            }
        }
    }

    /// For good. One that is stopped inside the side lock holds up all of its side, so that is left out.
    fn stop(&mut self, process: usize) {
        self.stops -= 1;
        self.leave_queues(process);
        self.stopped = Some(process);
    }

    fn time_is_over(&mut self, who: usize) {
        self.threads[who].is_over = true;
        match self.threads[who].at {
            At::InPoll => self.threads[who].at = At::Lock,
            // Or when it has been woken and does not know it yet.
            _ => {
                self.poll_group(who).asleep.retain(|&other| other != who);
                self.threads[who].at = At::TakeAfterSleep;
            }
        }
    }
}

impl State for Side {
    type Step = (usize, At, &'static str);

    fn steps(&self) -> Vec<(Self::Step, Self)> {
        let mut steps = Vec::new();
        let mut add = |step, change: &dyn Fn(&mut Self)| {
            let mut after = self.clone();
            change(&mut after);
            steps.push((step, after.canonical()));
        };
        for (who, thread) in self.threads.iter().enumerate() {
            if self.can_step(who) {
                add((who, thread.at, "step"), &|after| after.step(who));
            }
            let sleeps = matches!(thread.at, At::InPoll | At::Asleep | At::TakeAfterSleep);
            if sleeps && thread.may_give_up && !thread.is_over && !self.is_stopped(who) {
                add((who, thread.at, "deadline"), &|after| {
                    after.time_is_over(who)
                });
            }
        }
        for process in 0..self.poll_groups.len() {
            let members = self.members(process);
            let is_alive = members.iter().any(|&who| self.is_alive(who));
            let is_inside = self.owner.is_some_and(|owner| members.contains(&owner));
            if self.kills > 0 && is_alive {
                add((process, At::Dead, "kill"), &|after| after.kill(process));
            }
            if self.stops > 0 && is_alive && !is_inside {
                add((process, At::Dead, "stop"), &|after| after.stop(process));
            }
        }
        steps
    }

    fn fault(&self, is_end: bool) -> Option<String> {
        let receivers = || self.senders..self.threads.len();
        for process in 0..self.poll_groups.len() {
            let polls = |&who: &usize| self.threads[who].at == At::InPoll;
            let polling = self.members(process).into_iter().filter(polls).count();
            if polling > 1 && !self.poll_groups[process].is_disbanded {
                return Some(format!("{polling} of one process sleep in poll(2)"));
            }
        }
        let waits = |who: usize| self.is_alive(who) && !self.is_stopped(who);
        if !is_end || !receivers().any(waits) {
            return None;
        }
        let wants = |who: usize| waits(who) && self.threads[who].left > 0;
        if self.returned > self.taken && receivers().any(wants) {
            let (taken, returned) = (self.taken, self.returned);
            return Some(format!("a wake-up is lost: {taken} of {returned} taken"));
        }
        self.is_hung_up()
            .then(|| "the end is not heard".to_string())
    }
}
