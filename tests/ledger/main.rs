//! A random driver with a ledger: whatever calls are made of shared ends, and whatever becomes of processes and
//! threads, no message is lost or doubled without a report, torn, or out of its sender's order.
//!
//! Three processes send and three receive through one pipe of 16 KiB, two threads each at a time. Threads are
//! short-lived, handles are dropped for clones or go on in another thread, each call is drawn from all that an end
//! has, and sizes go from 0 to three times the pipe. Each profile adds one kind of trouble, so that a failure points
//! at its cause. What was sent, received and reported is noted in memory beside the pipe, and must balance.
//!
//! 10⁶ messages in an ordinary run of all profiles on both backends, ten times as many with `SHMPIPE_LONG=1`.
//! `SHMPIPE_SEED` chooses another seed. The books show with `-- --show-output`; where everything stands still, what
//! each thread was doing is printed.

#[path = "../support/mod.rs"]
mod support;

mod books;
mod crew;
mod messages;
mod notes;
mod receivers;
mod senders;
mod work;

use shmpipe::Backend;

use self::books::Deaths;
use self::crew::Crew;
use self::work::Troubles;
use crate::support::{long, on_both_backends};

on_both_backends! {
    quiet_processes_lose_nothing within 200,
    readers_of_bytes_lose_nothing within 200,
    killed_senders_lose_nothing_that_was_sent within 200,
    killed_receivers_lose_what_they_held_only within 200,
    deaths_on_both_sides_lose_what_was_held_only within 200,
    processes_without_a_descriptor_to_spare_lose_nothing within 200,
    forked_children_that_end_anywhere_lose_nothing_without_a_report within 200,
    sides_closed_under_their_threads_lose_what_was_held_only within 200,
    sides_closed_between_forks_lose_what_was_held_only within 200,
    sides_closed_among_deaths_lose_what_was_held_only within 200,
    all_troubles_at_once_lose_what_was_held_only within 200,
}

/// Whose processes are killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Senders,
    Receivers,
    All,
}

/// One kind of run.
#[derive(Clone, Copy, Debug, Default)]
struct Profile {
    kills: Option<Target>,
    /// Processes are stopped for a while too.
    stops: bool,
    /// Receivers read bytes too.
    reads: bool,
    troubles: Troubles,
}

impl Profile {
    fn deaths(self) -> Deaths {
        Deaths {
            senders: matches!(self.kills, Some(Target::Senders | Target::All)),
            receivers: matches!(self.kills, Some(Target::Receivers | Target::All)),
            children: self.troubles.forks,
            closes: self.troubles.closes,
        }
    }
}

fn run(backend: Backend, messages: u64, kills: u64, profile: Profile) {
    let factor = if long() { 10 } else { 1 };
    Crew::new(backend, profile).run(factor * messages, factor * kills);
}

fn quiet_processes_lose_nothing(backend: Backend) {
    run(backend, 130_000, 0, Profile::default());
}

fn readers_of_bytes_lose_nothing(backend: Backend) {
    let profile = Profile {
        reads: true,
        ..Profile::default()
    };
    run(backend, 60_000, 0, profile);
}

fn killed(backend: Backend, target: Target) {
    let profile = Profile {
        kills: Some(target),
        stops: true,
        ..Profile::default()
    };
    run(backend, 60_000, 400, profile);
}

fn killed_senders_lose_nothing_that_was_sent(backend: Backend) {
    killed(backend, Target::Senders);
}

fn killed_receivers_lose_what_they_held_only(backend: Backend) {
    killed(backend, Target::Receivers);
}

fn deaths_on_both_sides_lose_what_was_held_only(backend: Backend) {
    killed(backend, Target::All);
}

fn processes_without_a_descriptor_to_spare_lose_nothing(backend: Backend) {
    let profile = Profile {
        troubles: Troubles {
            starves: true,
            ..Troubles::default()
        },
        ..Profile::default()
    };
    run(backend, 60_000, 0, profile);
}

fn forked_children_that_end_anywhere_lose_nothing_without_a_report(backend: Backend) {
    let profile = Profile {
        troubles: Troubles {
            forks: true,
            ..Troubles::default()
        },
        ..Profile::default()
    };
    run(backend, 60_000, 0, profile);
}

fn closed(backend: Backend, forks: bool) {
    let profile = Profile {
        troubles: Troubles {
            closes: true,
            forks,
            ..Troubles::default()
        },
        ..Profile::default()
    };
    run(backend, 60_000, 0, profile);
}

fn sides_closed_under_their_threads_lose_what_was_held_only(backend: Backend) {
    closed(backend, false);
}

fn sides_closed_between_forks_lose_what_was_held_only(backend: Backend) {
    closed(backend, true);
}

fn sides_closed_among_deaths_lose_what_was_held_only(backend: Backend) {
    let profile = Profile {
        kills: Some(Target::All),
        troubles: Troubles {
            starves: true,
            forks: true,
            closes: true,
        },
        ..Profile::default()
    };
    run(backend, 60_000, 200, profile);
}

fn all_troubles_at_once_lose_what_was_held_only(backend: Backend) {
    let profile = Profile {
        kills: Some(Target::All),
        stops: true,
        reads: false,
        troubles: Troubles {
            starves: true,
            forks: true,
            closes: false,
        },
    };
    run(backend, 60_000, 200, profile);
}
