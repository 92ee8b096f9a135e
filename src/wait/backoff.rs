//! Backoff: how a call looks again before it sleeps, and for how long.
//!
//! A peer that runs on another CPU is waited for by spinning, for as long as that has paid lately. A peer that last ran
//! on our own CPU can only go on when we let it. One sched_yield(2) does that at a fraction of the cost of a sleep and a
//! wake-up, unless somebody else wants the CPU. After a yield that did not help, the next waits go without. The
//! measurements are in `docs/design.md`, "Waiting".

use std::time::Duration;

use crate::segment::layout::Event;
use crate::sync::spin_hint;
use crate::sys::clock::{self, Deadline};
use crate::sys::cpus;
use crate::sys::thread::{Known, Thread};

/// Longest spin; a sleeping peer takes tens of microseconds to wake across CPUs.
const MAX_SPIN: Duration = Duration::from_micros(50);
/// Longest wait for which spinning pays: half of what it takes to wake a sleeper. It holds for an answer, for bulk data and
/// for room.
const MAX_WORTHWHILE_WAIT: Duration = Duration::from_micros(20);
/// The same in a trickle, where nobody waits for what comes of a message: the CPU time that a sleep and its wake-up cost the
/// two sides.
const MAX_TRICKLE_WAIT: Duration = Duration::from_micros(5);
/// It is no trickle if receivers have passed so many bytes of the ring since the last wait.
const BULK_BYTES: u64 = 4096;
/// Shortest spin. Where that has not paid either, waits sleep without one: a glance costs a tenth of what a message takes
/// that comes each millisecond.
const MIN_SPIN: Duration = Duration::from_micros(1);
/// One wait in so many is a probe, whatever has paid lately. Two sides that sleep for each other take as long to answer as
/// their waking takes, and would never find out that they need not. A probe answers a peer that had to be woken without
/// delay. The peer learns how short its sleep could have been ([`Backoff::was_rung_after`]), and its answer teaches us.
const MIN_PROBE_INTERVAL: u32 = 64;
/// Longest interval between probes, after many in vain.
const MAX_PROBE_INTERVAL: u32 = 1024;
/// How long a probe spins: longer than it takes to wake the peer.
const PROBE_SPIN: Duration = Duration::from_micros(200);
/// Looks at the ring for each look at the clock.
const LOOKS_PER_CLOCK_READ: u32 = 32;
/// A yield that took longer has not helped: somebody else had the CPU meanwhile.
const MAX_YIELD: Duration = Duration::from_micros(500);
/// Most waits in a row that go without a yield after yields that did not help.
const MAX_SKIPPED: u32 = 64;

/// Longest spin that [`Spin::For`] may ask for. A death may be noticed so much later than on a kernel pipe.
const MAX_FIXED_SPIN: Duration = Duration::from_millis(1);

/// How long a blocked call looks again and again before it sleeps.
///
/// Looking costs CPU time and saves the microseconds of a wake-up. A call looks only for a peer that last ran on another
/// CPU, and only where the cgroup's quota leaves more than one CPU.
///
/// # Examples
///
/// See [`PipeOptions::spin`](crate::PipeOptions::spin).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Spin {
    /// It does not look, but sleeps at once. This suits peers that are slow, or a machine whose CPUs others need.
    Never,
    /// It looks for as long as that has paid lately, up to 50 µs. Waits of over 20 µs make the next looks shorter, and
    /// short waits make them longer. A thread that has sent nothing since its last wait, and received less than 4 KiB,
    /// waits for neither an answer nor bulk data. It looks for 5 µs at most, because sleeping then costs less CPU time.
    #[default]
    Adaptive,
    /// It looks for so long each time. That gives the lowest latency for waits up to that length, and takes a CPU
    /// meanwhile. It is a millisecond at most, whatever is asked for, since a call that only looks does not notice a
    /// death.
    For(Duration),
}

/// [`Spin::Never`] as a segment has it; 0 is [`Spin::Adaptive`], and anything else nanoseconds.
const NEVER_WORD: u64 = u64::MAX;

impl Spin {
    /// What a segment keeps of it for those to whom an end is handed over.
    pub(crate) fn to_word(self) -> u64 {
        match self {
            Self::Adaptive => 0,
            Self::Never => NEVER_WORD,
            Self::For(span) => (span.min(MAX_FIXED_SPIN).as_nanos() as u64).max(1),
        }
    }

    /// What a segment says. A liar's value costs a millisecond at most.
    pub(crate) fn from_word(word: u64) -> Self {
        match word {
            0 => Self::Adaptive,
            NEVER_WORD => Self::Never,
            nanos => Self::For(Duration::from_nanos(nanos).min(MAX_FIXED_SPIN)),
        }
    }
}

/// Notes for the waits to come that this thread has sent a message, which may be a request or an answer.
pub(crate) fn note_sent() {
    Thread::with(Known::note_sent);
}

/// How much spinning has paid lately, for one end.
#[derive(Debug)]
pub(crate) struct Backoff {
    spin: Spin,
    /// Of [`Spin::Adaptive`], from [`MIN_SPIN`] to [`MAX_SPIN`], or none.
    budget: Duration,
    /// Waits since the last probe.
    since_probe: u32,
    /// From [`MIN_PROBE_INTERVAL`] to [`MAX_PROBE_INTERVAL`]; doubles with each probe in vain.
    probe_interval: u32,
    /// Waits to go without a yield after one that did not help; doubles with each.
    penalty: u32,
    /// The same after one in which somebody else kept the CPU, from [`MAX_SKIPPED`] to [`MAX_PROBE_INTERVAL`] or less.
    lost_yields: u32,
    /// Waits of either penalty still to go.
    skipping: u32,
    /// What the clock showed of the last look's time.
    spent: Duration,
    /// The longest wait for which spinning pays: [`MAX_WORTHWHILE_WAIT`] or [`MAX_TRICKLE_WAIT`].
    worthwhile: Duration,
    /// What this thread had sent, and where the receivers were, when the last wait began.
    sent: u32,
    position: u64,
}

impl Backoff {
    pub(crate) fn new(spin: Spin) -> Self {
        Self {
            spin,
            budget: MAX_SPIN,
            since_probe: 0,
            probe_interval: MIN_PROBE_INTERVAL,
            penalty: 0,
            lost_yields: 0,
            skipping: 0,
            spent: Duration::ZERO,
            worthwhile: MAX_WORTHWHILE_WAIT,
            sent: 0,
            position: 0,
        }
    }

    /// Waits from now on as `spin` says; what was learned stays.
    pub(crate) fn choose(&mut self, spin: Spin) {
        self.spin = spin;
    }

    /// For a receiver that begins to wait for a record at `position`: whether an answer may be waited for, or much, or
    /// whether it is a trickle.
    pub(crate) fn begin_at(&mut self, position: u64) {
        let sent = Thread::sent();
        let is_trickle = sent == self.sent && position.wrapping_sub(self.position) < BULK_BYTES;
        (self.sent, self.position) = (sent, position);
        self.worthwhile = if is_trickle {
            MAX_TRICKLE_WAIT
        } else {
            MAX_WORTHWHILE_WAIT
        };
        if is_trickle {
            self.budget = self.budget.min(self.worthwhile);
        }
    }

    /// What was waited for came in the first moment.
    #[inline]
    pub(crate) fn was_short(&mut self) {
        self.budget = MAX_SPIN;
    }

    /// What was slept for came so long after we fell asleep.
    pub(crate) fn was_rung_after(&mut self, waited: Duration) {
        if waited <= self.worthwhile {
            self.budget = MAX_SPIN;
        }
    }

    /// Whether there is to be any looking for a peer that runs beside us.
    #[inline]
    pub(crate) fn may_look(&self) -> bool {
        match self.spin {
            Spin::Never => false,
            Spin::Adaptive => !self.budget.is_zero() || self.is_time_to_probe(),
            Spin::For(_) => true,
        }
    }

    /// Looks until `ready`, until it no longer pays, or until `deadline`; returns whether it was ready.
    /// `event` knows where the peer ran last.
    #[inline]
    pub(crate) fn look(
        &mut self,
        event: &Event,
        deadline: Deadline,
        ready: impl Fn() -> bool,
    ) -> bool {
        self.spent = Duration::ZERO;
        if ready() {
            return true;
        }
        if self.spin == Spin::Never {
            return false;
        }
        if !cpus::can_run_beside_us(event.peer_cpu()) {
            return self.give_way(ready);
        }
        if !self.may_look() {
            self.since_probe += 1;
            return false;
        }
        self.spin(deadline, ready)
    }

    fn spin(&mut self, deadline: Deadline, ready: impl Fn() -> bool) -> bool {
        if looks(&ready) {
            return true;
        }
        let (budget, is_probe) = self.next_budget();
        let began = clock::now();
        let end = deadline.at_most_from(began, budget);
        loop {
            let is_ready = looks(&ready);
            let now = clock::now();
            self.spent = now.saturating_sub(began);
            if is_ready || end.passed_at(now) {
                self.learn(is_probe, is_ready);
                return is_ready;
            }
        }
    }

    /// Makes the next waits longer or shorter by one that took [`spent`](Self::spent).
    fn learn(&mut self, is_probe: bool, is_ready: bool) {
        let has_paid = is_ready && self.spent <= self.worthwhile;
        if is_probe {
            self.probe_interval = if has_paid {
                MIN_PROBE_INTERVAL
            } else {
                (self.probe_interval * 2).min(MAX_PROBE_INTERVAL)
            };
        }
        self.budget = if has_paid {
            (self.budget * 2).clamp(MIN_SPIN, MAX_SPIN)
        } else if self.budget >= MIN_SPIN * 2 {
            self.budget / 2
        } else {
            Duration::ZERO
        };
    }

    fn is_time_to_probe(&self) -> bool {
        self.since_probe + 1 >= self.probe_interval
    }

    /// How long to spin, and whether that is a probe.
    fn next_budget(&mut self) -> (Duration, bool) {
        if let Spin::For(span) = self.spin {
            return (span.min(MAX_FIXED_SPIN), false);
        }
        if self.is_time_to_probe() {
            self.since_probe = 0;
            return (PROBE_SPIN, true);
        }
        self.since_probe += 1;
        (self.budget, false)
    }

    /// How long the last [`look`](Self::look) took, less what passed behind its last look at the clock.
    pub(crate) fn spent(&self) -> Duration {
        self.spent
    }

    fn give_way(&mut self, ready: impl Fn() -> bool) -> bool {
        if self.skipping > 0 {
            self.skipping -= 1;
            return false;
        }
        let began = clock::now();
        cpus::give_way();
        let is_ready = ready();
        self.learn_of_yield(is_ready, clock::now().saturating_sub(began));
        is_ready
    }
}

impl Backoff {
    fn learn_of_yield(&mut self, is_ready: bool, took: Duration) {
        if took > MAX_YIELD {
            // Whoever wants the CPU goes on wanting it.
            self.lost_yields = (self.lost_yields * 2).clamp(MAX_SKIPPED, MAX_PROBE_INTERVAL);
            self.skipping = self.lost_yields;
        } else if is_ready {
            (self.penalty, self.lost_yields) = (0, self.lost_yields / 2);
        } else {
            self.penalty = (self.penalty * 2).clamp(1, MAX_SKIPPED);
            self.skipping = self.penalty;
        }
    }
}

fn looks(ready: impl Fn() -> bool) -> bool {
    (0..LOOKS_PER_CLOCK_READ).any(|_| {
        let found = ready();
        if !found {
            spin_hint();
        }
        found
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_trickle_is_looked_for_no_longer_than_sleeping_costs() {
        let mut backoff = Backoff::new(Spin::Adaptive);
        backoff.begin_at(0);
        assert_eq!(
            (backoff.worthwhile, backoff.budget),
            (MAX_TRICKLE_WAIT, MAX_TRICKLE_WAIT)
        );
        backoff.begin_at(BULK_BYTES - 8);
        assert_eq!(backoff.worthwhile, MAX_TRICKLE_WAIT);
    }

    #[test]
    fn a_handle_may_choose_otherwise_than_its_pipe() {
        let mut backoff = Backoff::new(Spin::Adaptive);
        assert!(backoff.may_look());
        backoff.choose(Spin::Never);
        assert!(!backoff.may_look());
    }

    #[test]
    fn a_yield_to_somebody_else_is_not_repeated_soon() {
        let mut backoff = Backoff::new(Spin::Adaptive);
        backoff.learn_of_yield(true, MAX_YIELD);
        assert_eq!(backoff.skipping, 0);
        backoff.learn_of_yield(false, Duration::ZERO);
        assert_eq!(backoff.skipping, 1);
        backoff.learn_of_yield(true, MAX_YIELD * 2);
        assert_eq!(backoff.skipping, MAX_SKIPPED);
        backoff.learn_of_yield(true, MAX_YIELD * 2);
        assert_eq!(backoff.skipping, MAX_SKIPPED * 2);
    }

    #[test]
    fn a_choice_is_kept_in_a_word_and_no_word_looks_for_long() {
        for spin in [
            Spin::Adaptive,
            Spin::Never,
            Spin::For(Duration::from_micros(20)),
            Spin::For(MAX_FIXED_SPIN),
        ] {
            assert_eq!(Spin::from_word(spin.to_word()), spin);
        }
        for word in [MAX_FIXED_SPIN.as_nanos() as u64 + 1, 1 << 40, u64::MAX - 1] {
            assert_eq!(Spin::from_word(word), Spin::For(MAX_FIXED_SPIN));
        }
        assert_eq!(
            Spin::from_word(Spin::For(Duration::MAX).to_word()),
            Spin::For(MAX_FIXED_SPIN)
        );
    }

    #[test]
    fn an_answer_or_much_is_looked_for_longer() {
        let mut backoff = Backoff::new(Spin::Adaptive);
        backoff.was_short();
        note_sent();
        backoff.begin_at(0);
        assert_eq!(
            (backoff.worthwhile, backoff.budget),
            (MAX_WORTHWHILE_WAIT, MAX_SPIN)
        );
        backoff.begin_at(BULK_BYTES);
        assert_eq!(
            (backoff.worthwhile, backoff.budget),
            (MAX_WORTHWHILE_WAIT, MAX_SPIN)
        );
        backoff.begin_at(BULK_BYTES);
        assert_eq!(backoff.worthwhile, MAX_TRICKLE_WAIT);
    }

    #[test]
    fn a_probe_that_does_not_pay_makes_the_next_one_rarer() {
        let mut backoff = Backoff::new(Spin::Adaptive);
        (backoff.budget, backoff.since_probe) = (Duration::ZERO, MIN_PROBE_INTERVAL);
        // As if it had taken so long; how long it takes is the machine's business.
        let (_, is_probe) = backoff.next_budget();
        backoff.spent = MAX_WORTHWHILE_WAIT * 2;
        backoff.learn(is_probe, true);
        assert_eq!(backoff.probe_interval, MIN_PROBE_INTERVAL * 2);
        assert_eq!(backoff.budget, Duration::ZERO);
    }

    #[test]
    fn a_probe_that_pays_makes_the_next_ones_as_frequent_as_they_were() {
        let mut backoff = Backoff::new(Spin::Adaptive);
        (backoff.budget, backoff.probe_interval) = (Duration::ZERO, MAX_PROBE_INTERVAL);
        backoff.spent = MAX_WORTHWHILE_WAIT;
        backoff.learn(true, true);
        assert_eq!(backoff.probe_interval, MIN_PROBE_INTERVAL);
        assert_eq!(backoff.budget, MIN_SPIN);
    }

    #[test]
    fn a_spin_ends_when_it_is_ready_or_when_its_time_is_over() {
        let mut backoff = Backoff::new(Spin::Adaptive);
        let looks = Cell::new(0);
        let ready_at = |last| {
            looks.set(looks.get() + 1);
            looks.get() == last
        };
        assert!(backoff.spin(Deadline::NEVER, || ready_at(3)));
        assert_eq!(looks.get(), 3);
        let began = clock::now();
        assert!(!backoff.spin(Deadline::NEVER, || false));
        assert!(clock::now() - began >= backoff.budget);
    }
}
