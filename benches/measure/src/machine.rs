//! What the figures were measured on: CPU model, kernel, usable CPUs, date.
//!
//! Read from /proc and /sys; a field that the machine does not tell is named as unknown, never an
//! error.

use std::fs;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

/// The CPU's model name as /proc/cpuinfo has it, with the architecture.
pub fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo_field(&text, "model name")
        // An aarch64 kernel gives part numbers only.
        .or_else(|| cpuinfo_field(&text, "CPU part").map(|part| format!("CPU part {part}")))
        .unwrap_or_else(|| "unknown CPU".into());
    format!("{model}, {}", std::env::consts::ARCH)
}

fn cpuinfo_field(text: &str, name: &str) -> Option<String> {
    let (_, value) = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(field, _)| field.trim() == name)?;
    Some(value.trim().to_owned())
}

/// The kernel's release, as `uname -r` prints it.
pub fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(
        |_| "of unknown release".into(),
        |text| text.trim().to_owned(),
    )
}

/// The CPUs that this process may run on, in ascending order.
///
/// # Errors
///
/// What sched_getaffinity(2) reports.
pub fn usable_cpus() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count())
        .filter(|&cpu| set.is_set(cpu).unwrap_or(false))
        .collect())
}

/// The CPUs for a measurement: those of the two processes, which may be one and the same, and then the others.
///
/// # Errors
///
/// The affinity mask of this process cannot be read or names no CPU.
pub fn cpus_to_use() -> io::Result<Vec<usize>> {
    let usable = usable_cpus()?;
    let (first, second) = choose_cpus(&usable)
        .ok_or_else(|| io::Error::other("the affinity mask of this process names no CPU"))?;
    let others = usable.iter().filter(|&&cpu| cpu != first && cpu != second);
    Ok([first, second].into_iter().chain(others.copied()).collect())
}

/// Chooses the CPUs for the two processes: the first usable one, and the next that is a core of its
/// own; hardware threads of one core share its caches and would make one core look like two. The
/// same CPU twice where there is no other.
fn choose_cpus(usable: &[usize]) -> Option<(usize, usize)> {
    let &first = usable.first()?;
    let siblings = thread_siblings(first);
    let second = usable[1..]
        .iter()
        .find(|cpu| !siblings.contains(cpu))
        .or(usable.get(1));
    Some((first, second.copied().unwrap_or(first)))
}

/// The hardware threads of `cpu`'s core; empty when the machine does not tell.
fn thread_siblings(cpu: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    fs::read_to_string(path)
        .map(|list| parse_cpu_list(&list))
        .unwrap_or_default()
}

/// Parses the kernel's list format, such as `0,4-6` (cpuset(7)); parts of another form are skipped.
fn parse_cpu_list(list: &str) -> Vec<usize> {
    list.trim()
        .split(',')
        .filter_map(|part| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            Some(from.parse().ok()?..=to.parse().ok()?)
        })
        .flatten()
        .collect()
}

/// The date and time now, in UTC, to the minute.
pub fn date() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format_utc(since.as_secs())
}

/// Formats seconds since 1970 by the proleptic Gregorian calendar, after Howard Hinnant's
/// "chrono-compatible low-level date algorithms": years begin in March, so that the leap day is the
/// last one and months follow one linear rule.
fn format_utc(seconds: u64) -> String {
    let (days, minutes) = (seconds / 86_400, seconds % 86_400 / 60);
    let days = days + 719_468; // from 0000-03-01 to 1970-01-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02} UTC",
        minutes / 60,
        minutes % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_agree_with_the_calendar() {
        assert_eq!(format_utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(format_utc(951_782_399), "2000-02-28 23:59 UTC");
        assert_eq!(format_utc(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(format_utc(4_107_542_400), "2100-03-01 00:00 UTC");
    }

    #[test]
    fn cpu_lists_hold_single_cpus_and_ranges() {
        assert_eq!(parse_cpu_list("0,4-6\n"), [0, 4, 5, 6]);
        assert!(parse_cpu_list("\n").is_empty());
    }

    #[test]
    fn one_usable_cpu_is_used_twice() {
        assert_eq!(choose_cpus(&[3]), Some((3, 3)));
        assert_eq!(choose_cpus(&[]), None);
    }

    #[test]
    fn the_model_name_is_found_among_the_other_fields() {
        let text = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: Some CPU\n";
        assert_eq!(
            cpuinfo_field(text, "model name").as_deref(),
            Some("Some CPU")
        );
    }
}
