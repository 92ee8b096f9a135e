//! Who is compared with whom: the fastest rival of each workload, found by the record itself.

use crate::record::{Described, OURS, Record};
use crate::statistics::Spread;

/// In so many blocks each rival is measured before it may be found to be outpaced.
const SIFTING: usize = 3;

/// A rival so many times slower than the fastest one is outpaced.
const OUTPACED: f64 = 2.0;

/// Whether a system is somebody else's way between processes, and does what the workload is about: who keeps a CPU busy
/// does not sleep.
pub fn is_rival(system: &Described, workload: &str) -> bool {
    let never_sleeps = ["sleep", "blocking receive"]
        .iter()
        .any(|word| system.lacks.contains(word));
    system.role == "between processes"
        && system.name != OURS
        && !system.label.starts_with("shmpipe")
        && !(never_sleeps && workload.starts_with("wake"))
}

/// The rival beside which shmpipe does worst, and how many times as good shmpipe is.
pub fn fastest<'a>(record: &'a Record, workload: &str) -> Option<(&'a Described, Spread)> {
    rivals(record, workload).min_by(|a, b| a.1.median.total_cmp(&b.1.median))
}

fn rivals<'a>(record: &'a Record, workload: &str) -> impl Iterator<Item = (&'a Described, Spread)> {
    let all = record.systems.iter();
    let all = all.filter(move |system| is_rival(system, workload));
    all.filter_map(move |system| Some((system, record.ratio(workload, OURS, &system.name)?)))
}

/// The rivals that are so far behind the fastest one of a workload that they need not be measured in each round.
pub fn outpaced(record: &Record, workload: &str) -> Vec<String> {
    let is_known =
        |system: &Described| record.ratios(workload, OURS, &system.name).len() >= SIFTING;
    let known: Vec<_> = rivals(record, workload)
        .filter(|(system, _)| is_known(system))
        .collect();
    let least = known.iter().map(|(_, ratio)| ratio.median);
    let bound = least
        .reduce(f64::min)
        .map_or(f64::MAX, |one| OUTPACED * one);
    let slow = known.iter().filter(|(_, ratio)| ratio.median > bound);
    slow.map(|(system, _)| system.name.clone()).collect()
}

/// The record's workloads, those that shmpipe loses first: by the worse of its ratios to the reference and to the fastest
/// rival. Without these they come last, in the record's order.
pub fn losing_first(record: &Record) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for cell in &record.cells {
        if names.last() != Some(&cell.workload.as_str()) {
            names.push(&cell.workload);
        }
    }
    let worst = |workload: &str| {
        let beside = record.ratio(workload, OURS, record.reference());
        let ratios = [beside, fastest(record, workload).map(|(_, ratio)| ratio)];
        let medians = ratios.into_iter().flatten().map(|ratio| ratio.median);
        medians.fold(f64::INFINITY, f64::min)
    };
    let mut judged: Vec<_> = names.into_iter().map(|name| (worst(name), name)).collect();
    judged.sort_by(|a, b| a.0.total_cmp(&b.0));
    judged.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{add, record};
    use crate::workload::Measure;

    #[test]
    fn the_fastest_rival_is_the_one_that_shmpipe_is_worst_beside() {
        let mut record = record(
            "one-way-8",
            &[(OURS, &[30.0]), ("pipe", &[10.0]), ("ringfire", &[40.0])],
        );
        let (rival, ratio) = fastest(&record, "one-way-8").unwrap();
        assert_eq!((rival.name.as_str(), ratio.median), ("ringfire", 0.75));
        // A limit is no rival.
        record.systems[2].role = "limit".into();
        assert_eq!(fastest(&record, "one-way-8").unwrap().0.name, "pipe");
    }

    #[test]
    fn who_never_sleeps_is_no_rival_where_the_peer_is_to_sleep() {
        let mut record = record("one-way-8", &[(OURS, &[1.0]), ("spinning", &[1.0])]);
        record.systems[1].lacks = "end-of-file, sleep".into();
        assert!(is_rival(&record.systems[1], "one-way-8"));
        assert!(!is_rival(&record.systems[1], "wake-8"));
    }

    #[test]
    fn a_rival_is_outpaced_once_it_is_known_to_be_twice_as_slow() {
        let slow = |rounds: usize| {
            let (ours, fast, slow) = ([8.0; 3], [4.0; 3], [1.0; 3]);
            let record = record(
                "one-way-8",
                &[
                    (OURS, &ours[..rounds]),
                    ("fast", &fast[..rounds]),
                    ("slow", &slow[..rounds]),
                ],
            );
            outpaced(&record, "one-way-8")
        };
        assert!(slow(2).is_empty());
        assert_eq!(slow(3), ["slow"]);
    }

    #[test]
    fn the_workloads_that_are_lost_come_first() {
        let mut record = record("one-way-8", &[(OURS, &[30.0]), ("pipe", &[10.0])]);
        let lost: &[(&str, &[f64])] = &[(OURS, &[30.0]), ("pipe", &[10.0])];
        add(&mut record, "round-trip-8", Measure::MeanTime, lost);
        assert_eq!(losing_first(&record), ["round-trip-8", "one-way-8"]);
    }
}
