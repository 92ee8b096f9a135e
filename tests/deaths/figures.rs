//! What many delays come to, in microseconds, and the table that shows it.

use std::fmt;
use std::time::Duration;

use crate::detection::{Case, Delays};

/// What many delays come to, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) median: f64,
    pub(crate) p95: f64,
    pub(crate) worst: f64,
}

impl Figures {
    pub(crate) fn of(delays: &[Delays], microseconds: impl Fn(&Delays) -> f64) -> Self {
        let mut sorted: Vec<f64> = delays.iter().map(microseconds).collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1).expect("one delay at least");
        Self {
            median: sorted[last / 2],
            p95: sorted[last * 95 / 100],
            worst: sorted[last],
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8.0} {:8.0} {:8.0}", self.median, self.p95, self.worst)
    }
}

fn microseconds(delay: Duration) -> f64 {
    delay.as_secs_f64() * 1e6
}

/// How much later than at the kernel pipe the deaths were known at ours.
pub(crate) fn differences(delays: &[Delays]) -> Figures {
    Figures::of(delays, |delay| {
        microseconds(delay.ours) - microseconds(delay.kernel_pipe)
    })
}

/// The head of the table of which [`row`] makes one line.
pub(crate) fn head() -> String {
    let columns = "  median      p95    worst";
    format!(
        "{:33} | {:27} | {:27} | {}\n{:33} | {columns}  | {columns}  | {columns}",
        "", "kernel pipe, µs", "ours, µs", "difference, µs", "case"
    )
}

/// One line of the table.
pub(crate) fn row(case: Case, delays: &[Delays]) -> String {
    let kernel_pipe = Figures::of(delays, |delay| microseconds(delay.kernel_pipe));
    let ours = Figures::of(delays, |delay| microseconds(delay.ours));
    let case = case.to_string();
    format!(
        "{case:33} | {kernel_pipe}  | {ours}  | {}",
        differences(delays)
    )
}
