//! The picture of a record: how many times as fast shmpipe is, in each workload, with what it loses first.

use crate::record::{OURS, Record};
use crate::rivals::{fastest, losing_first};
use crate::statistics::Spread;
use crate::svg::{Chart, Mark, Row, draw};
use crate::table::{label, title};
use crate::units::three;

/// What is drawn of a record with many workloads.
const CHOSEN: [&str; 15] = [
    "round-trip-8",
    "round-trip-56",
    "round-trip-64k",
    "round-trip-8-one-cpu",
    "wake-8",
    "wake-8-one-cpu",
    "one-way-8",
    "one-way-64",
    "one-way-1k",
    "one-way-64k",
    "one-way-1m",
    "batch-8",
    "batch-64",
    "senders-4-8",
    "paced-1k-64",
];

/// A picture that fits a page, as a file of its own; `source` is the record's name.
///
/// # Errors
///
/// The record has nothing to compare.
pub fn picture(record: &Record, source: &str) -> Result<String, String> {
    let all = losing_first(record);
    let is_long = CHOSEN.iter().all(|name| all.contains(name));
    let kernel = record.kernel.split('-').next().unwrap_or_default();
    let machine = format!("{}, Linux {kernel}, {}, {source}", record.cpu, record.date);
    let svg = ratios(record, &machine, |name| !is_long || CHOSEN.contains(&name));
    if svg.is_empty() {
        return Err(format!("{source}: nothing is measured beside shmpipe"));
    }
    Ok(svg)
}

/// The ratios of those workloads; empty where there are none.
pub(crate) fn ratios(record: &Record, machine: &str, chosen: impl Fn(&str) -> bool) -> String {
    let reference = record.reference();
    let mut rows = Vec::new();
    let mut has_rivals = false;
    for workload in losing_first(record).into_iter().filter(|name| chosen(name)) {
        let Some(beside) = record.ratio(workload, OURS, reference) else {
            continue;
        };
        let rival = fastest(record, workload).filter(|(rival, _)| rival.name != reference);
        has_rivals |= rival.is_some();
        let (name, beside_rival) =
            rival.map_or((reference, beside), |(rival, ratio)| (&rival.name, ratio));
        let name = match name == reference || name.starts_with("pipe") {
            true => label(record, name).trim_start_matches("kernel "),
            false => name,
        };
        rows.push((title(workload), beside, beside_rival, name));
    }
    let value = |ratio: Spread| (three(ratio.median), ratio.median < 1.0);
    let mark = |class, spread| Mark { class, spread };
    let rows: Vec<Row> = rows
        .into_iter()
        .map(|(label, beside, beside_rival, name)| match has_rivals {
            true => Row {
                label,
                marks: vec![mark("ours", beside), mark("other", beside_rival)],
                values: vec![value(beside), value(beside_rival)],
                remark: name.to_owned(),
            },
            false => Row {
                label,
                marks: vec![mark("ours", beside)],
                values: vec![value(beside)],
                remark: String::new(),
            },
        })
        .collect();
    let reference = label(record, reference).trim_end_matches(", raw");
    let reference = reference.split(", 1 MiB").next().unwrap_or(reference);
    let article = if reference.starts_with("kernel") {
        "a "
    } else {
        ""
    };
    let mut legend = vec![("ours", format!("than {article}{reference}"))];
    let mut columns = vec![(reference.trim_start_matches("kernel "), 62.0)];
    let mut notes = vec![
        "Marks are medians of the ratios within a round. Lines span the middle half of the rounds."
            .to_owned(),
    ];
    if has_rivals {
        legend.push(("other", "than the fastest rival".into()));
        columns.push(("rival", 72.0));
        notes[0] += " Two CPUs unless it says one.";
    } else {
        columns[0] = ("times", 62.0);
    }
    if rows.iter().any(|row| row.label.starts_with("CPU time")) {
        notes[0] += " Of CPU time, less is faster.";
    }
    if !machine.is_empty() {
        notes.push(machine.to_owned());
    }
    let chart = Chart {
        title: "shmpipe beside the others, workload by workload",
        head: &[
            "shmpipe: how many times as fast",
            "Right of 1 shmpipe is faster, left of 1 it is slower. The worst cases come first.",
        ],
        legend: &legend,
        columns: &columns,
        axis: "times as fast",
        tick: &|figure| ((1e4 * figure).round() / 1e4).to_string(),
        even: Some(1.0),
        notes: &notes,
    };
    draw(&chart, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{add, record};
    use crate::svg::tests::numbers;
    use crate::workload::Measure;

    #[test]
    fn what_is_lost_comes_first_and_each_ratio_is_printed() {
        let mut record = record(
            "one-way-8",
            &[(OURS, &[450.0]), ("pipe", &[10.0]), ("fast", &[300.0])],
        );
        let lost: &[(&str, &[f64])] = &[(OURS, &[30.0]), ("pipe", &[15.0])];
        add(&mut record, "wake-8", Measure::MedianTime, lost);
        let svg = picture(&record, "a.json").unwrap();
        let order: Vec<_> = ["both asleep, 8 B", "one way, 8 B"]
            .map(|label| svg.find(label).expect(label))
            .into();
        assert!(order[0] < order[1]);
        for text in [">0.50<", ">45.0<", ">1.50<", ">fast<", "a.json"] {
            assert!(svg.contains(text), "{text} in {svg}");
        }
        // Two dots and a third in the legend.
        assert_eq!(numbers(&svg, "cx").len(), 3);
    }

    #[test]
    fn beside_one_other_there_is_one_kind_of_mark() {
        let mut record = record("one-way-8", &[(OURS, &[450.0]), ("stdlib", &[10.0])]);
        record.reference = Some("stdlib".into());
        let svg = picture(&record, "a.json").unwrap();
        assert!(
            !svg.contains("rival") && svg.contains("than stdlib"),
            "{svg}"
        );
    }

    #[test]
    fn a_record_without_shmpipe_has_no_picture() {
        let record = record("one-way-8", &[("pipe", &[10.0])]);
        assert!(picture(&record, "a.json").unwrap_err().contains("a.json"));
    }
}
