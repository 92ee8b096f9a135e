//! The results as a table.

use std::fmt::Write as _;

use super::result::{Figures, Results};
use crate::bench::units::{scaled, three_digits, times};
use crate::look::units::size;
use crate::ls::table;

/// Everything that is printed without `--json`.
pub(crate) fn text(results: &Results) -> String {
    let mut out = String::new();
    for (name, value) in facts(results) {
        let _ = writeln!(out, "{name:<10}{value}");
    }
    out.push('\n');
    let heads = [
        "WORKLOAD",
        "SYSTEM",
        "msg/s",
        "MB/s",
        "p50 µs",
        "p90",
        "p99",
        "p99.9",
        "max",
        "KERNEL PIPE",
    ];
    let mut last = None;
    let rows = results.results.iter().map(|figures| {
        let is_new = last.replace(figures.case) != Some(figures.case);
        line(figures, is_new)
    });
    out.push_str(&table(&heads, 2..10, rows));
    out.push_str(
        "\nMedians of the rounds. p50 to max: of a round trip (ping-pong), or from send to receive (paced).\n\
         KERNEL PIPE: against the raw one in the same workload, by p50 where there is one.\n\
         raw limit: copies through shared memory and nothing else, not a pipe.\n",
    );
    out
}

/// What it was measured on and how.
pub(crate) fn facts(results: &Results) -> [(&'static str, String); 7] {
    let slices = format!(
        "{} rounds of {:.0} ms each",
        results.rounds, results.slice_ms
    );
    [
        ("command", results.command.clone()),
        ("machine", results.machine.clone()),
        ("kernel", results.kernel.clone()),
        ("date", results.date.clone()),
        ("CPUs", results.cpus.clone()),
        ("capacity", size(results.capacity as u64)),
        ("slices", slices),
    ]
}

/// One row: workload, system and eight figures.
pub(crate) fn line(figures: &Figures, with_workload: bool) -> Vec<String> {
    let micros = |nanos: f64| three_digits(nanos / 1e3);
    let mut cells = vec![
        if with_workload {
            figures.case.to_string()
        } else {
            String::new()
        },
        figures.system.to_string(),
        scaled(figures.messages_per_second).trim_end().to_owned(),
        three_digits(figures.bytes_per_second / 1e6),
    ];
    match figures.latency_ns {
        Some(latency) => {
            let values = [
                latency.p50,
                latency.p90,
                latency.p99,
                latency.p999,
                latency.max,
            ];
            cells.extend(values.map(micros));
        }
        None => cells.extend(std::iter::repeat_n("-".to_owned(), 5)),
    }
    cells.push(figures.times_kernel_pipe.map_or("-".into(), times));
    cells
}
