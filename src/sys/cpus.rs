//! How many CPUs this thread may use: where it is one, spinning only keeps the peer from running.

use std::num::NonZeroUsize;
use std::sync::OnceLock;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

/// Whether a peer can run at the same time as the calling thread: two CPUs or more, by the thread's
/// affinity now (sched_getaffinity(2), a fraction of a microsecond) and by the cgroup's quota when
/// the process first asked.
pub(crate) fn peer_can_run_beside_us() -> bool {
    static BY_QUOTA: OnceLock<bool> = OnceLock::new();
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else {
        return true;
    };
    let count = (0..CpuSet::count())
        .filter(|&cpu| allowed.is_set(cpu) == Ok(true))
        .take(2)
        .count();
    count > 1
        && *BY_QUOTA.get_or_init(|| {
            std::thread::available_parallelism().is_ok_and(|cpus| cpus > NonZeroUsize::MIN)
        })
}
