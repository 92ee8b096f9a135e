//! Processors: which ones a test may use, and whether it had them to itself.
//!
//! It makes no test faster and none fail; it tells when a count of sleeps says nothing.

use std::fs;
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;

/// Two processors that this process may use; none, and a word why, where there is one only.
pub(crate) fn two_cpus() -> Option<[usize; 2]> {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("this process has an affinity");
    let mut usable = (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false));
    let two = usable.next().zip(usable.next());
    if two.is_none() {
        super::skipped("one usable processor: two processes cannot both be busy");
    }
    two.map(|(first, second)| [first, second])
}

/// Binds the calling thread to one processor.
pub(crate) fn pin_to(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).expect("a processor that exists");
    sched_setaffinity(Pid::from_raw(0), &set).expect("a processor that may be used");
}

/// Watches how much of the machine's time goes to programs other than the test.
#[derive(Debug)]
pub(crate) struct Others {
    start: Instant,
    busy_seconds: f64,
    own_seconds: f64,
}

impl Others {
    /// Starts to watch.
    pub(crate) fn watch() -> Self {
        Self {
            start: Instant::now(),
            busy_seconds: busy_seconds(),
            own_seconds: own_seconds(),
        }
    }

    /// Processors that other programs kept busy since then, on average. Of the test's own children
    /// those count as its own that have been waited for.
    pub(crate) fn processors(&self) -> f64 {
        let busy = busy_seconds() - self.busy_seconds;
        let own = own_seconds() - self.own_seconds;
        (busy - own) / self.start.elapsed().as_secs_f64()
    }

    /// Whether the test was alone enough for a count of sleeps to mean something; says if not.
    pub(crate) fn were_quiet(&self) -> bool {
        let processors = self.processors();
        let quiet = processors < 0.1;
        if !quiet {
            super::skipped(&format!(
                "other programs kept {processors:.2} processors busy"
            ));
        }
        quiet
    }
}

/// Time that all processors together have been busy or withheld by the host, from /proc/stat.
fn busy_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").expect("procfs");
    let total = stat
        .lines()
        .next()
        .expect("the first line is that of all processors");
    let ticks: Vec<f64> = total
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = ticks[..] else {
        panic!("eight fields of proc_stat(5) in {total:?}");
    };
    // SAFETY: sysconf(3) takes an integer and returns one.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let per_second = f64::from(i32::try_from(per_second).expect("a small number"));
    (user + nice + system + irq + softirq + steal) / per_second
}

/// Time that this process and the children it has waited for have used.
fn own_seconds() -> f64 {
    let seconds = |who| {
        let usage = getrusage(who).expect("a valid target");
        let used = usage.user_time() + usage.system_time();
        f64::from(i32::try_from(used.num_milliseconds()).expect("less than a month")) / 1000.0
    };
    seconds(UsageWho::RUSAGE_SELF) + seconds(UsageWho::RUSAGE_CHILDREN)
}
