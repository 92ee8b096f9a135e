//! What else ran on the machine meanwhile: CPU time of others, and time stolen by the hypervisor.
//!
//! A block of slices with much of either says little about any system in it: it is run again, and the
//! record keeps it, marked.

use std::fs;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::{SysconfVar, sysconf};

/// Shares of the time of all CPUs, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// Used by other processes and the kernel's own threads.
    pub(crate) others: f64,
    /// Stolen by the hypervisor.
    pub(crate) stolen: f64,
}

/// CPU time up to a moment, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reading {
    busy: f64,
    idle: f64,
    stolen: f64,
    own: f64,
}

impl Reading {
    /// Reads the counters; `None` where the machine has none.
    pub(crate) fn now() -> Option<Self> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let ticks = sysconf(SysconfVar::CLK_TCK).ok()?? as f64;
        let fields = parse(&text)?.map(|field| field as f64 / ticks);
        let [
            user,
            nice,
            system,
            idle,
            wait,
            interrupts,
            soft_interrupts,
            stolen,
        ] = fields;
        Some(Self {
            busy: user + nice + system + interrupts + soft_interrupts,
            idle: idle + wait,
            stolen,
            own: own(UsageWho::RUSAGE_SELF)? + own(UsageWho::RUSAGE_CHILDREN)?,
        })
    }

    /// The load since `start`.
    pub(crate) fn since(self, start: Self) -> Load {
        let (busy, idle) = (self.busy - start.busy, self.idle - start.idle);
        let stolen = self.stolen - start.stolen;
        let all = busy + idle + stolen;
        if all <= 0.0 {
            return Load::default();
        }
        let others = busy - (self.own - start.own);
        Load {
            others: (others / all).max(0.0),
            stolen: stolen / all,
        }
    }
}

/// The first line of /proc/stat (proc_stat(5)), in ticks.
fn parse(text: &str) -> Option<[u64; 8]> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let fields: Option<Vec<u64>> = line
        .split_whitespace()
        .take(8)
        .map(|word| word.parse().ok())
        .collect();
    fields?.try_into().ok()
}

fn own(who: UsageWho) -> Option<f64> {
    let usage = getrusage(who).ok()?;
    let seconds = |time: TimeVal| time.num_microseconds() as f64 / 1e6;
    Some(seconds(usage.user_time()) + seconds(usage.system_time()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_others_is_what_is_busy_beyond_our_own() {
        let start = Reading {
            busy: 10.0,
            idle: 10.0,
            stolen: 0.0,
            own: 1.0,
        };
        let end = Reading {
            busy: 16.0,
            idle: 13.0,
            stolen: 1.0,
            own: 5.0,
        };
        assert_eq!(
            end.since(start),
            Load {
                others: 0.2,
                stolen: 0.1
            }
        );
        assert_eq!(end.since(end), Load::default());
    }

    #[test]
    fn the_first_line_of_the_kernels_counters_is_read() {
        let text = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\n";
        assert_eq!(parse(text), Some([1, 2, 3, 4, 5, 6, 7, 8]));
        assert_eq!(parse("intr 1"), None);
    }
}
