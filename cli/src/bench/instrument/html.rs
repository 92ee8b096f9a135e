//! The report as one HTML page: facts, plots and the table, with nothing to load.

use std::fmt::Write as _;

use super::channels::System;
use super::plan::Mode;
use super::result::{Figures, Results};
use super::svg::{self, COLOURS, Group};
use super::table::{facts, line};
use crate::look::units::rate;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}\
    table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.15em .7em;text-align:right}\
    td:nth-child(-n+2),th:nth-child(-n+2){text-align:left}tr.first td{border-top:1px solid #bbb}\
    dt{float:left;width:6em;color:#666}dd{margin-left:6em}svg{width:100%;max-height:330px}svg text{font-size:12px}\
    .key span{display:inline-block;margin-right:1.2em}.key i{display:inline-block;width:.9em;height:.9em;margin-right:.4em}";

/// The whole page.
pub(crate) fn page(results: &Results) -> String {
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>shmpipe bench, {}</title>\
         <style>{STYLE}</style></head><body>\n<h1>shmpipe bench</h1>\n<dl>",
        escaped(&results.date)
    );
    for (name, value) in facts(results) {
        let _ = write!(
            out,
            "<dt>{name}</dt><dd><code>{}</code></dd>",
            escaped(&value)
        );
    }
    out.push_str("</dl>\n<p class=\"key\">");
    for (system, colour) in System::ALL.iter().zip(COLOURS) {
        let _ = write!(
            out,
            "<span><i style=\"background:{colour}\"></i>{system}</span>"
        );
    }
    out.push_str("</p>\n");
    let micros = |figures: &Figures| figures.latency_ns.map(|latency| latency.p50 / 1e3);
    let microseconds = |value: f64| format!("{} µs", rate(value));
    plot(
        &mut out,
        results,
        Mode::PingPong,
        "Round trip, median (less is better)",
        micros,
        microseconds,
    );
    let messages = |figures: &Figures| Some(figures.messages_per_second);
    let per_second = |value: f64| format!("{}/s", rate(value));
    plot(
        &mut out,
        results,
        Mode::OneWay,
        "One way, messages a second (more is better)",
        messages,
        per_second,
    );
    plot(
        &mut out,
        results,
        Mode::Paced,
        "One message each 200 µs: from send to receive, median (less is better)",
        micros,
        microseconds,
    );
    let tail = |figures: &Figures| figures.latency_ns.map(|latency| latency.p99 / 1e3);
    plot(
        &mut out,
        results,
        Mode::PingPong,
        "Round trip, 99 of 100 are no slower (less is better)",
        tail,
        microseconds,
    );
    write_table(&mut out, results);
    out.push_str(
        "<p>Medians of the rounds, on a logarithmic scale. The raw limit copies through shared memory and does nothing \
         else: it is no pipe.</p>\n</body></html>\n",
    );
    out
}

fn plot(
    out: &mut String,
    results: &Results,
    mode: Mode,
    title: &str,
    value: impl Fn(&Figures) -> Option<f64>,
    unit: impl Fn(f64) -> String,
) {
    let mut groups: Vec<Group> = Vec::new();
    for figures in results
        .results
        .iter()
        .filter(|figures| figures.case.mode == mode)
    {
        let name = escaped(
            figures
                .case
                .to_string()
                .trim_start_matches(&format!("{mode} ")),
        );
        let series = System::ALL
            .iter()
            .position(|&system| system == figures.system);
        let (Some(series), Some(value)) = (series, value(figures)) else {
            continue;
        };
        match groups.last_mut() {
            Some(group) if group.name == name => group.bars.push((series, value)),
            _ => groups.push(Group {
                name,
                bars: vec![(series, value)],
            }),
        }
    }
    if !groups.is_empty() {
        let _ = writeln!(out, "<h2>{title}</h2>\n{}", svg::bars(&groups, unit));
    }
}

fn write_table(out: &mut String, results: &Results) {
    out.push_str("<h2>All figures</h2>\n<table><tr><th>workload<th>system<th>msg/s<th>MB/s<th>p50 µs<th>p90<th>p99");
    out.push_str("<th>p99.9<th>max<th>kernel pipe</tr>\n");
    let mut last = None;
    for figures in &results.results {
        let is_new = last.replace(figures.case) != Some(figures.case);
        out.push_str(if is_new {
            "<tr class=\"first\">"
        } else {
            "<tr>"
        });
        for cell in line(figures, is_new) {
            let _ = write!(out, "<td>{}</td>", escaped(&cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n");
}

/// Text that is no markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
