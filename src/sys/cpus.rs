//! Where threads run: a peer on another CPU can be waited for by spinning, one on ours cannot.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use crate::sync::{AtomicU32, Ordering, kill_point};

/// The CPU of the calling thread plus 1, or 0 where it is unknown (getcpu(2); from the restartable
/// sequence area or the vDSO, so a few nanoseconds).
#[inline]
pub(crate) fn current() -> u32 {
    // SAFETY: no preconditions.
    let cpu = unsafe { libc::sched_getcpu() };
    u32::try_from(cpu + 1).unwrap_or(0)
}

/// Whether a peer that was last seen on `cpu` (by [`current`]) can run while we do: on another CPU
/// than ours, and the cgroup's quota gives us more than one.
pub(crate) fn can_run_beside_us(cpu: u32) -> bool {
    cpu != current() && quota_is_over_one_cpu()
}

/// Asks now for what is asked once.
pub(crate) fn warm_up() {
    quota_is_over_one_cpu();
}

/// Whether the cgroup's quota leaves us more than one CPU. Asked once, since it reads files; where the
/// first caller was bound to one CPU the quota cannot be known and counts as enough.
fn quota_is_over_one_cpu() -> bool {
    // No lock, as in `sys::thread`: a fork could leave it locked. Asking twice does no harm.
    const UNKNOWN: u32 = 0;
    const YES: u32 = 1;
    const NO: u32 = 2;
    static ANSWER: AtomicU32 = AtomicU32::new(UNKNOWN);
    match ANSWER.load(Ordering::Relaxed) {
        UNKNOWN => {
            let answer = ask_for_quota();
            ANSWER.store(if answer { YES } else { NO }, Ordering::Relaxed);
            answer
        }
        answer => answer == YES,
    }
}

#[cold]
fn ask_for_quota() -> bool {
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else {
        return true;
    };
    let is_allowed = |&cpu: &usize| allowed.is_set(cpu) == Ok(true);
    let is_bound = (0..CpuSet::count()).filter(is_allowed).take(2).count() < 2;
    is_bound || available_parallelism().is_ok_and(|cpus| cpus > NonZeroUsize::MIN)
}

/// Lets others run on this CPU (sched_yield(2)).
pub(crate) fn give_way() {
    // SAFETY: no preconditions; it does not fail on Linux.
    unsafe { libc::sched_yield() };
    kill_point();
}
