//! A record as one HTML page with nothing to load: charts, tables, and what the machine was.

use std::fmt::Write as _;

use crate::kills::Victim;
use crate::picture::ratios;
use crate::record::{OURS, Record};
use crate::rivals::losing_first;
use crate::statistics::Spread;
use crate::svg::{Chart, Mark, Row, draw, escape};
use crate::table::{ALL, amount, beside, facts, label, measured, title, verdict};
use crate::units::{three, times};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}svg{width:100%;height:auto}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}\
td,th{padding:.15rem .7rem .15rem 0;text-align:right;white-space:nowrap}td:first-child,th:first-child,.left{text-align:left}\
.wide{overflow-x:auto}.ours{font-weight:600}.bad{color:#c62828;text-align:left}dt{float:left;width:6em}dd{margin-left:6em}\
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#f0f6fc}.bad{color:#ff7b72}}";

/// The whole page; `remarks` are names and what there is to say of them.
pub fn page(record: &Record, remarks: &[(&str, &str)]) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>shmpipe measured, {}</title>\n<style>{STYLE}</style></head><body>\n<h1>shmpipe beside the other ways between \
         two processes</h1>\n<dl>",
        escape(&record.date)
    );
    for (name, value) in facts(record) {
        let _ = write!(html, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    html += "</dl>\n<p>Dots are medians of the rounds, and lines span the middle half of them. Ratios are formed within each \
             round and above 1 where the system is the better one. What shmpipe loses or gains least comes first. Hollow dots \
             are limits: they carry one message of a known length, or stay within one process, and are no pipes.</p>\n";
    html += &ratios(record, "", |_| true);
    html += &goals(record);
    for workload in losing_first(record) {
        html += &section(record, workload);
    }
    html += &systems(record, remarks);
    html + "</body></html>\n"
}

/// A chart of one workload and its table.
fn section(record: &Record, workload: &str) -> String {
    let mut html = format!("<h2>{}</h2>\n", escape(&title(workload)));
    let mut all: Vec<_> = measured(record, workload).collect();
    let Some(unit) = all.first().map(|(cell, ..)| cell.unit) else {
        return html + &table(record, workload);
    };
    // The fastest comes first.
    all.sort_by(|(_, a, _), (_, b, _)| unit.ratio(b.median, a.median).total_cmp(&1.0));
    let class = |name: &str| match record.system(name) {
        Some(system) if system.role.contains("limit") => "limit",
        _ if name == OURS => "ours",
        _ => "other",
    };
    let row = |name: &str, spread: Spread| {
        let ratio = match name == record.reference() {
            true => None,
            false => record.ratio(workload, name, record.reference()),
        };
        let ratio = ratio.map_or((String::new(), false), |all| {
            (times(all.median), all.median < 1.0)
        });
        Row {
            label: label(record, name).chars().take(34).collect(),
            marks: vec![Mark {
                class: class(name),
                spread,
            }],
            values: vec![(unit.text(spread.median), false), ratio],
            remark: String::new(),
        }
    };
    let rows: Vec<_> = all
        .iter()
        .map(|(cell, spread, _)| row(&cell.system, *spread))
        .collect();
    let chart = Chart {
        title: &title(workload),
        head: &[],
        legend: &[],
        columns: &[("median", 100.0), ("against the reference", 170.0)],
        axis: unit.words(),
        tick: &|figure| unit.text(figure),
        even: None,
        notes: &[],
    };
    html += &draw(&chart, &rows);
    html + &table(record, workload)
}

fn table(record: &Record, workload: &str) -> String {
    let reference = label(record, record.reference());
    let mut html = String::from("<div class=\"wide\"><table><tr><th>system");
    for column in ALL {
        let _ = write!(html, "<th>{}", escape(&column.heading(reference)));
    }
    html += "</tr>\n";
    for cell in record.cells.iter().filter(|cell| cell.workload == workload) {
        let class = if cell.system == OURS {
            " class=\"ours\""
        } else {
            ""
        };
        let _ = write!(html, "<tr{class}><td>{}", escape(&cell.system));
        let span = ALL.len();
        let figures = cell.spread().zip(cell.summary.as_ref());
        match (cell.failure(), figures, &cell.not_run) {
            (Some(reason), ..) => {
                let _ = write!(
                    html,
                    "<td colspan=\"{span}\" class=\"bad\">failed: {}",
                    escape(reason)
                );
            }
            (None, Some(figures), _) => {
                for column in ALL {
                    let _ = write!(html, "<td>{}", escape(&column.text(record, cell, figures)));
                }
            }
            (None, None, Some(reason)) => {
                let _ = write!(
                    html,
                    "<td colspan=\"{span}\" class=\"left\">{}",
                    escape(reason)
                );
            }
            (None, None, None) => html += "<td>",
        }
        html += "</tr>\n";
    }
    html += "</table></div>\n";
    let in_place = record
        .cell(workload, OURS)
        .and_then(|cell| cell.summary.as_ref()?.in_place);
    if let Some([made, read]) = in_place.map(|shares| shares.map(|share| 100.0 * share)) {
        let _ = writeln!(
            html,
            "<p>shm had {made:.0} % made and {read:.0} % read in place.</p>"
        );
    }
    html
}

fn goals(record: &Record) -> String {
    let mut html = String::new();
    for goal in &record.goals {
        let class = if goal.met == Some(false) {
            " class=\"bad\""
        } else {
            ""
        };
        let [near, far] =
            [goal.reached_near, goal.reached_far].map(|one| one.map_or_else(String::new, three));
        let verdict = verdict(goal);
        let verdict = verdict.trim_start_matches(", ");
        let (workload, beside) = (escape(&goal.workload), escape(&beside(goal)));
        let reached = amount(goal, goal.reached);
        let _ = writeln!(
            html,
            "<tr><td>{workload}<td>{beside}<td>{reached}<td>{near}<td>{far}<td{class}>{verdict}</tr>"
        );
    }
    if !html.is_empty() {
        let head = "<tr><th>workload<th>beside<th>ratio<th>near CPUs<th>far CPUs<th></tr>";
        html = format!(
            "<h2>The fastest rival of each workload, and the goals</h2>\n<table>{head}\n{html}</table>\n"
        );
    }
    for (workload, reason) in &record.not_possible {
        let _ = writeln!(
            html,
            "<p>{workload}: not possible here: {}</p>",
            escape(reason)
        );
    }
    html
}

fn systems(record: &Record, remarks: &[(&str, &str)]) -> String {
    let mut html = String::from(
        "<h2>Systems</h2>\n<div class=\"wide\"><table><tr><th>system<th>what<th>version<th>role<th>lacks\
         <th>sender killed<th>receiver killed</tr>\n",
    );
    for system in &record.systems {
        let ends = record.kill_ends.get(&system.name);
        let [sender, receiver] = Victim::ALL.map(|victim| {
            ends.and_then(|ends| ends.get(victim.name()))
                .cloned()
                .unwrap_or_default()
        });
        let cells = [
            &system.name,
            &system.label,
            &system.version,
            &system.role,
            &system.lacks,
            &sender,
            &receiver,
        ];
        let cells = cells.map(|text| escape(text));
        let _ = writeln!(html, "<tr><td>{}</tr>", cells.join("<td>"));
    }
    html += "</table></div>\n<p>The last two columns show what the other side gets.</p>\n";
    if !remarks.is_empty() {
        html += "<p>Not measured:</p><ul>\n";
    }
    for (name, reason) in remarks {
        let _ = writeln!(html, "<li>{}: {}", escape(name), escape(reason));
    }
    if !remarks.is_empty() {
        html += "</ul>\n";
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;

    #[test]
    fn a_page_has_a_chart_of_ratios_and_one_of_each_workload_and_loads_nothing() {
        let mut record = record(
            "one-way-64k",
            &[("shm", &[2e5, 3e5]), ("pipe", &[1e5, 1e5])],
        );
        record.cells[1].not_run = Some("a < b".into());
        let page = page(&record, &[("kekbit", "a journal")]);
        assert_eq!(page.matches("<svg").count(), 2);
        for text in [
            "one way, 64 KiB",
            "250 k/s",
            "2.50× faster",
            "logarithmic scale",
            "kekbit",
        ] {
            assert!(page.contains(text), "{text}");
        }
        for load in ["src=", "href=", "@import", "url("] {
            assert!(!page.contains(load), "{load}");
        }
    }
}
