//! The side lock: `src/ring/lock.rs` with the kernel's part, and a SIGKILL at any step.
//!
//! All steps are on one word, so they take effect in one order for everybody.

use crate::explorer::{Found, State, explore};

const WAITERS: u8 = 0x80;
const OWNER_DIED: u8 = 0x40;
const TID_MASK: u8 = 0x3f;

/// A way to get it wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Mistake {
    None,
    /// A contended unlock stores 0, so that only a woken sleeper brings the mark back.
    UnlockForgetsWaiters,
    /// The same, and a thread that slept takes the lock without the mark.
    NobodyKeepsMark,
    /// After the mark is cleared nobody is woken once more.
    NoWakeAfterClearing,
    /// The announcement is taken back before the wake.
    TakenBackBeforeWake,
    /// The waiter does not mark the word before it sleeps.
    SleepsUnmarked,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum At {
    /// `SideLock::lock`: announces the word.
    Announce,
    /// `SideLock::lock`: CAS from 0.
    Try,
    /// `lock_contended`: loads the word.
    Look,
    /// `lock_contended`: CAS from a word without owner.
    Take(u8),
    /// `mark_waiters`.
    Mark(u8),
    /// `futex::wait` for this value.
    Wait(u8),
    /// In the kernel's queue.
    Asleep,
    /// `pass_on_the_wake`: `fetch_or`.
    PassOn,
    /// `pass_on_the_wake`: wake.
    PassOnWake,
    /// The guarded section, whose end is `unlock`'s CAS.
    Owner,
    /// `unlock_contended`: `fetch_and`.
    Release,
    /// `unlock_contended`: wakes one.
    Wake,
    /// `unlock_contended`: CAS of the mark to 0.
    Clear,
    /// `unlock_contended`: wakes all.
    WakeAll,
    /// `Pending::restore`.
    TakeBack,
    Done,
    Dead,
}

/// What moves a thread on.
#[derive(Clone, Copy, Debug)]
enum Cause {
    Step,
    Deadline,
    Kill,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Thread {
    at: At,
    /// What `list_op_pending` tells the kernel.
    is_announced: bool,
    /// `slept` of `lock_contended`.
    slept: u8,
    may_give_up: bool,
    /// Times the lock is still to be taken.
    rounds: u8,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Lock {
    mistake: Mistake,
    word: u8,
    threads: Vec<Thread>,
    /// Who sleeps in futex(2), oldest first.
    asleep: Vec<usize>,
    kills: u8,
}

impl Lock {
    fn new(mistake: Mistake, threads: &[(u8, bool)], kills: u8) -> Self {
        let threads = threads.iter().map(|&(rounds, may_give_up)| Thread {
            at: At::Announce,
            is_announced: false,
            slept: 0,
            may_give_up,
            rounds,
        });
        Self {
            mistake,
            word: 0,
            threads: threads.collect(),
            asleep: Vec::new(),
            kills,
        }
    }

    /// futex(2), `FUTEX_WAKE`; the number of those woken.
    fn wake(&mut self, count: usize) -> usize {
        let count = count.min(self.asleep.len());
        for woken in self.asleep.drain(..count) {
            self.threads[woken].at = At::Look;
        }
        count
    }

    fn compare_exchange(&mut self, expected: u8, new: u8) -> bool {
        let is_equal = self.word == expected;
        if is_equal {
            self.word = new;
        }
        is_equal
    }

    /// SIGKILL, and `handle_futex_death` of kernel/futex/core.c for the announced word.
    fn kill(&mut self, who: usize) {
        self.kills -= 1;
        self.asleep.retain(|&sleeper| sleeper != who);
        let announced = self.threads[who].is_announced;
        self.threads[who].at = At::Dead;
        self.threads[who].is_announced = false;
        if !announced {
            return;
        }
        if self.word & TID_MASK == 0 {
            self.wake(1);
        } else if self.word & TID_MASK == id(who) {
            let has_waiters = self.word & WAITERS != 0;
            self.word = self.word & WAITERS | OWNER_DIED;
            if has_waiters {
                self.wake(1);
            }
        }
    }

    /// What thread `who` does next, other than to die or to time out.
    fn step(&mut self, who: usize) {
        let thread = self.threads[who];
        let id = id(who);
        let next = match thread.at {
            At::Announce => {
                self.threads[who].is_announced = true;
                self.threads[who].slept = 0;
                At::Try
            }
            At::Try if self.compare_exchange(0, id) => At::Owner,
            At::Try => At::Look,
            At::Look if self.word & TID_MASK == 0 => At::Take(self.word),
            At::Look => At::Mark(self.word),
            At::Take(seen) => {
                let slept = match self.mistake {
                    Mistake::NobodyKeepsMark => 0,
                    _ => thread.slept,
                };
                if self.compare_exchange(seen, id | seen & WAITERS | slept) {
                    At::Owner
                } else {
                    At::Look
                }
            }
            At::Mark(seen) if self.mistake == Mistake::SleepsUnmarked => {
                self.threads[who].slept = WAITERS;
                At::Wait(seen)
            }
            At::Mark(seen) => {
                if seen & WAITERS != 0 || self.compare_exchange(seen, seen | WAITERS) {
                    self.threads[who].slept = WAITERS;
                    At::Wait(seen | WAITERS)
                } else {
                    At::Look
                }
            }
            At::Wait(expected) if self.word == expected => {
                self.asleep.push(who);
                At::Asleep
            }
            At::Wait(_) => At::Look,
            At::PassOn => {
                let before = self.word;
                self.word |= WAITERS;
                if before & TID_MASK == 0 {
                    At::PassOnWake
                } else {
                    At::TakeBack
                }
            }
            At::PassOnWake => {
                self.wake(1);
                At::TakeBack
            }
            At::Owner if self.compare_exchange(id, 0) => At::TakeBack,
            At::Owner => At::Release,
            At::Release => {
                self.word &= match self.mistake {
                    Mistake::UnlockForgetsWaiters | Mistake::NobodyKeepsMark => 0,
                    _ => WAITERS,
                };
                if self.mistake == Mistake::TakenBackBeforeWake {
                    self.threads[who].is_announced = false;
                }
                At::Wake
            }
            At::Wake if self.wake(1) > 0 => At::TakeBack,
            At::Wake => At::Clear,
            At::Clear if self.compare_exchange(WAITERS, 0) => match self.mistake {
                Mistake::NoWakeAfterClearing => At::TakeBack,
                _ => At::WakeAll,
            },
            At::Clear => At::TakeBack,
            At::WakeAll => {
                self.wake(usize::MAX);
                At::TakeBack
            }
            At::TakeBack => {
                self.threads[who].is_announced = false;
                self.threads[who].rounds -= 1;
                if self.threads[who].rounds > 0 {
                    At::Announce
                } else {
                    At::Done
                }
            }
            At::Asleep | At::Done | At::Dead => unreachable!("these make no step"),
        };
        self.threads[who].at = next;
    }

    /// The deadline passes: `lock_contended` finds that when it would sleep, or the sleep ends.
    fn time_out(&mut self, who: usize) -> bool {
        let thread = self.threads[who];
        match thread.at {
            At::Mark(_) if thread.may_give_up => {
                let passes_on = thread.slept != 0;
                self.threads[who].at = if passes_on { At::PassOn } else { At::TakeBack };
                true
            }
            At::Asleep if thread.may_give_up => {
                self.asleep.retain(|&sleeper| sleeper != who);
                self.threads[who].at = At::Look;
                true
            }
            _ => false,
        }
    }
}

fn id(who: usize) -> u8 {
    u8::try_from(who).expect("a few threads") + 1
}

impl State for Lock {
    type Step = (usize, At, Cause);

    fn steps(&self) -> Vec<(Self::Step, Self)> {
        let mut steps = Vec::new();
        for (who, thread) in self.threads.iter().enumerate() {
            if matches!(thread.at, At::Done | At::Dead) {
                continue;
            }
            if thread.at != At::Asleep {
                let mut after = self.clone();
                after.step(who);
                steps.push(((who, thread.at, Cause::Step), after));
            }
            let mut after = self.clone();
            if after.time_out(who) {
                steps.push(((who, thread.at, Cause::Deadline), after));
            }
            if self.kills > 0 {
                let mut after = self.clone();
                after.kill(who);
                steps.push(((who, thread.at, Cause::Kill), after));
            }
        }
        steps
    }

    fn fault(&self, is_end: bool) -> Option<String> {
        let owners = self.threads.iter().filter(|t| t.at == At::Owner).count();
        if owners > 1 {
            return Some(String::from("two owners"));
        }
        let is_stuck = is_end && self.threads.iter().any(|t| t.at == At::Asleep);
        is_stuck.then(|| format!("a sleeper is forgotten, word {:#x}", self.word))
    }
}

const PATIENT: (u8, bool) = (1, false);
const TWICE: (u8, bool) = (2, false);
const IMPATIENT: (u8, bool) = (1, true);

fn search(mistake: Mistake, threads: &[(u8, bool)], kills: u8) -> Found {
    explore([Lock::new(mistake, threads, kills)])
}

#[test]
fn no_sleeper_is_forgotten_when_nobody_dies() {
    search(Mistake::None, &[TWICE, TWICE, TWICE], 0).assert_clean("no kill", 1000);
}

#[test]
fn no_sleeper_is_forgotten_when_one_is_killed_at_any_step() {
    search(Mistake::None, &[TWICE, TWICE, PATIENT], 1).assert_clean("one kill", 1000);
}

#[test]
fn no_sleeper_is_forgotten_when_others_give_up_and_one_is_killed() {
    search(Mistake::None, &[PATIENT, PATIENT, IMPATIENT], 1).assert_clean("give up", 1000);
}

#[test]
fn no_sleeper_of_three_is_forgotten_when_two_are_killed() {
    search(Mistake::None, &[PATIENT; 3], 2).assert_clean("two kills of three", 1000);
}

/// The known limit: one killed before its last wake and another one before its wake, both while a third
/// owns the word unmarked, so that the kernel wakes nobody for either. The fourth then sleeps until
/// its deadline or until the lock is contended again.
#[test]
fn two_kills_within_one_hand_over_may_forget_a_sleeper_of_four() {
    search(Mistake::None, &[PATIENT; 4], 2)
        .assert_found("two kills of four", "a sleeper is forgotten");
}

#[test]
fn an_unlock_that_forgets_the_waiters_is_found() {
    search(Mistake::UnlockForgetsWaiters, &[TWICE, TWICE, PATIENT], 1)
        .assert_found("forgets waiters", "a sleeper is forgotten");
}

#[test]
fn a_mark_that_nobody_keeps_is_found() {
    search(Mistake::NobodyKeepsMark, &[PATIENT; 3], 0)
        .assert_found("nobody keeps the mark", "a sleeper is forgotten");
}

#[test]
fn a_mark_cleared_without_a_last_wake_is_found() {
    search(Mistake::NoWakeAfterClearing, &[TWICE; 3], 1)
        .assert_found("no last wake", "a sleeper is forgotten");
}

#[test]
fn an_announcement_taken_back_before_the_wake_is_found() {
    search(Mistake::TakenBackBeforeWake, &[PATIENT; 3], 1)
        .assert_found("taken back early", "a sleeper is forgotten");
}

#[test]
fn a_waiter_that_sleeps_unmarked_is_found() {
    search(Mistake::SleepsUnmarked, &[PATIENT; 2], 0)
        .assert_found("sleeps unmarked", "a sleeper is forgotten");
}
