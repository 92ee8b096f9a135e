//! The run as one HTML page without outside parts: charts, tables, and what the machine was.

use std::fmt::Write as _;

use crate::goals::goals;
use crate::kills::{Victim, summary};
use crate::record::{Run, version};
use crate::statistics::{Cell, cell};
use crate::svg::{Series, colour, escape, lines, rows};
use crate::systems::{Role, System, left_out};
use crate::table::{amount, few, figure, size, three, time, title, verdict};
use crate::workload::{Kind, Measure, Workload};

/// Percentiles of the latency charts.
const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}svg{width:100%;height:auto;font-size:12px}\
svg text{fill:currentColor}.grid{stroke:currentColor;opacity:.14}.one{stroke:currentColor;stroke-width:1.5;opacity:.6}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}\
td,th{padding:.15rem .7rem .15rem 0;text-align:right;white-space:nowrap}td:first-child,th:first-child{text-align:left}\
.wide{overflow-x:auto}.ours{font-weight:600}.bad{color:#c62828;text-align:left}.swatch{display:inline-block;width:.7em;height:.7em;margin-right:.4em}\
@media(prefers-color-scheme:dark){body{background:#16181c;color:#dcdfe4}}";

/// The whole page.
pub(crate) fn page(run: &Run, systems: &[&System], workloads: &[Workload]) -> String {
    let page = Page {
        run,
        systems,
        workloads,
    };
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>shmpipe compared</title>\n<style>{STYLE}</style>\n\
<h1>shmpipe beside the other ways between two processes</h1>\n<p>{}; Linux {}; CPUs {:?}; {}.<br><code>{}</code><br>{}<br>{}</p>\n\
<p>Dashed lines and hollow dots are limits: they carry one message of a known length, or stay within one process, \
and are no pipes. Ratios are formed within each round and above 1 where the system is the better one; medians over the rounds.</p>\n",
        escape(&run.cpu),
        escape(&run.kernel),
        run.cpus,
        run.date,
        escape(&run.command),
        escape(&run.load_text()),
        escape(&run.mood_text()),
    );
    html += &page.throughput();
    for name in ["round-trip-8", "wake-8", "paced-1k-64", "paced-100k-64"] {
        html += &page.latency(name);
    }
    html += &page.pace();
    html += &page.distance("Distance to the limit", "ratio to the limit", |cell| {
        cell.to_limit
    });
    html += &page.distance(
        "Beside the kernel pipe",
        "ratio to a kernel pipe of 1 MiB",
        |cell| cell.to_pipe,
    );
    html += &page.goals();
    for &workload in workloads {
        html += &page.table(workload);
    }
    html += &page.systems();
    html + "</html>\n"
}

struct Page<'a> {
    run: &'a Run,
    systems: &'a [&'a System],
    workloads: &'a [Workload],
}

impl Page<'_> {
    fn series(&self, points: impl Fn(&System) -> Vec<(f64, f64)>) -> Vec<Series> {
        let all = self
            .systems
            .iter()
            .enumerate()
            .map(|(colour, system)| Series {
                name: system.name.into(),
                is_limit: system.role.is_limit(),
                is_ours: system.name == "shm",
                colour,
                points: points(system),
            });
        all.filter(|series| !series.points.is_empty()).collect()
    }

    fn throughput(&self) -> String {
        let one_way: Vec<_> = self
            .workloads
            .iter()
            .filter(|one| one.kind == Kind::OneWay { senders: 1 } && !one.is_one_cpu())
            .collect();
        let marks: Vec<_> = one_way
            .iter()
            .map(|one| (one.len as f64, size(one.len)))
            .collect();
        let series = self.series(|system| {
            let point = |one: &&Workload| {
                let cell = cell(self.run, **one, system.name)?;
                Some((one.len as f64, cell.median * one.len as f64))
            };
            one_way
                .iter()
                .copied()
                .filter_map(|one| point(&one))
                .collect()
        });
        let label = |bytes: f64| match bytes {
            n if n >= 1e9 => format!("{} GB/s", three(n / 1e9)),
            n => format!("{} MB/s", three(n / 1e6)),
        };
        let chart = lines(
            &series,
            &marks,
            "message size; bytes in a second, median round",
            label,
        );
        section("Throughput over message size", &chart)
    }

    fn pace(&self) -> String {
        let all = self.workloads.iter().copied();
        let paced: Vec<_> = all
            .filter_map(|one| match one.kind {
                Kind::Paced { per_second } => Some((one, per_second as f64)),
                _ => None,
            })
            .collect();
        let marks: Vec<_> = paced
            .iter()
            .map(|&(_, pace)| (pace, format!("{pace}/s")))
            .collect();
        let series = self.series(|system| {
            let points = paced.iter().filter_map(|&(workload, pace)| {
                Some((pace, cell(self.run, workload, system.name)?.median))
            });
            points.collect()
        });
        if marks.len() < 2 {
            return String::new();
        }
        let chart = lines(
            &series,
            &marks,
            "messages a second; CPU time of both sides for one, median round",
            time,
        );
        section("CPU time over pace", &chart)
    }

    fn latency(&self, name: &str) -> String {
        let Some(workload) = self.workloads.iter().find(|one| one.to_string() == name) else {
            return String::new();
        };
        // Evenly spaced on a logarithmic axis: each step is a tenth of the rest.
        let place = |step: usize| 10f64.powi(step as i32);
        let marks: Vec<_> = PERCENTILES
            .iter()
            .enumerate()
            .map(|(step, p)| (place(step), format!("{p} %")))
            .collect();
        let series = self.series(|system| {
            let Some(cell) = cell(self.run, *workload, system.name) else {
                return Vec::new();
            };
            let all = PERCENTILES.iter().enumerate();
            let seen = all.filter(|(_, p)| cell.latency.len() as f64 * (100.0 - **p) >= 100.0);
            seen.map(|(step, p)| {
                (
                    place(step),
                    cell.latency.value_at_quantile(p / 100.0).max(1) as f64,
                )
            })
            .collect()
        });
        let chart = lines(
            &series,
            &marks,
            "percentile of all rounds; time (a round trip is not halved)",
            time,
        );
        section(&format!("Latency: {}", title(*workload)), &chart)
    }

    fn distance(&self, heading: &str, unit: &str, ratio: fn(&Cell) -> Option<f64>) -> String {
        let names: Vec<_> = self.workloads.iter().map(ToString::to_string).collect();
        let series = self.series(|system| {
            if system.role != Role::Pipe {
                return Vec::new();
            }
            let all = self.workloads.iter().enumerate();
            all.filter_map(|(row, one)| {
                Some((row as f64, ratio(&cell(self.run, *one, system.name)?)?))
            })
            .collect()
        });
        section(
            heading,
            &rows(&series, &names, unit, |n| {
                if n >= 1.0 { format!("{n}") } else { three(n) }
            }),
        )
    }

    fn table(&self, workload: Workload) -> String {
        let mut html = String::from(
            "<div class=\"wide\"><table><tr><th>system<th>median<th>best<th>to limit<th>best of these<th>to pipe\
<th>CPU, receiver<th>CPU, senders<th>switches<th>syscalls<th>p50<th>p99<th>p99.9<th>max</tr>\n",
        );
        for (number, system) in self.systems.iter().enumerate() {
            let class = if system.name == "shm" {
                " class=\"ours\""
            } else {
                ""
            };
            let _ = write!(
                html,
                "<tr{class}><td><span class=\"swatch\" style=\"background:{}\"></span>{}",
                colour(number),
                system.name
            );
            let failure = self.run.failure(workload, system.name);
            let refusal = system.refusal(workload);
            html += &match (cell(self.run, workload, system.name), failure, refusal) {
                (_, Some(reason), _) => format!(
                    "<td colspan=\"13\" class=\"bad\">failed: {}",
                    escape(reason)
                ),
                (Some(cell), None, _) => row(workload, &cell),
                (None, None, Some(reason)) => format!(
                    "<td colspan=\"13\" style=\"text-align:left\">{}",
                    escape(reason)
                ),
                (None, None, None) => "<td colspan=\"13\">".into(),
            };
            html += "</tr>\n";
        }
        let in_place = cell(self.run, workload, "shm").and_then(|ours| ours.in_place);
        let in_place = in_place.map_or_else(String::new, |[made, read]| {
            let [made, read] = [made, read].map(|share| 100.0 * share);
            format!(" shm had {made:.0} % made and {read:.0} % read in place.")
        });
        let per = match workload.measure() {
            Measure::CpuTime => "CPU time of both sides for a message",
            _ => "CPU times and switches for a message",
        };
        let _ = writeln!(
            html,
            "</table></div><p>Limit: {}. {per}.{in_place}</p>",
            workload.limit()
        );
        section(&title(workload), &html)
    }

    fn goals(&self) -> String {
        let mut html = String::new();
        for goal in goals(self.run, self.systems, self.workloads) {
            let is_missed = goal.is_met() == Some(false);
            let class = if is_missed { " class=\"bad\"" } else { "" };
            let reached = amount(&goal, goal.reached);
            let [near, far] = [goal.near, goal.far].map(|one| one.map_or_else(String::new, three));
            let (workload, beside, verdict) = (goal.workload, goal.beside(), verdict(&goal));
            let verdict = verdict.trim_start_matches(", ");
            let _ = writeln!(
                html,
                "<tr><td>{workload}<td>{beside}<td>{reached}<td>{near}<td>{far}<td{class}>{verdict}</tr>"
            );
        }
        if !html.is_empty() {
            let head = "<tr><th>workload<th>beside<th>ratio<th>near CPUs<th>far CPUs<th></tr>";
            html = format!("<table>{head}\n{html}</table>\n");
        }
        for (workload, reason) in &self.run.impossible {
            let _ = writeln!(
                html,
                "<p>{workload}: not possible here: {}</p>",
                escape(reason)
            );
        }
        section("The fastest rival of each workload, and the goals", &html)
    }

    fn systems(&self) -> String {
        let mut html = String::from(
            "<div class=\"wide\"><table><tr><th>system<th>what<th>version<th>role<th>lacks\
<th>sender killed<th>receiver killed</tr>\n",
        );
        for system in self.systems {
            let cells = [
                system.label,
                &version(system.package),
                system.role.label(),
                system.lacks,
            ]
            .map(escape);
            let killed = Victim::ALL.map(|victim| {
                let end = summary(&self.run.kills, system.name, victim);
                escape(&end.unwrap_or_default())
            });
            let _ = writeln!(
                html,
                "<tr><td>{}<td>{}<td>{}</tr>",
                system.name,
                cells.join("<td>"),
                killed.join("<td>")
            );
        }
        html += "</table></div>\n<p>The last two columns tell what the other side gets.</p><p>Not measured:</p><ul>\n";
        for (name, reason) in left_out() {
            let _ = writeln!(html, "<li>{}: {}", escape(name), escape(reason));
        }
        section("Systems", &(html + "</ul>\n"))
    }
}

fn section(heading: &str, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    format!("<h2>{}</h2>\n{body}", escape(heading))
}

fn row(workload: Workload, cell: &Cell) -> String {
    let ratio = |ratio: Option<f64>| ratio.map_or_else(String::new, three);
    let [main, peers] = cell.cpu_nanos.map(time);
    let mut cells = vec![
        figure(workload, cell.median),
        figure(workload, cell.best),
        ratio(cell.to_limit),
        ratio(cell.best_to_limit),
        ratio(cell.to_pipe),
        main,
        peers,
        three(cell.switches),
        cell.syscalls.map_or_else(String::new, few),
    ];
    if !cell.latency.is_empty() {
        cells.extend([0.5, 0.99, 0.999].map(|q| time(cell.latency.value_at_quantile(q) as f64)));
        cells.push(time(cell.latency.max() as f64));
    }
    format!("<td>{}", cells.join("<td>"))
}
