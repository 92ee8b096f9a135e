//! The workloads by name: what is sent, how, and on how many CPUs; and what their figures are.
//!
//! How a slice of each runs is in `one_way` and `round_trip`; how often, in `schedule`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::units::{rate, size, time};

/// The capacity in bytes that every channel is asked for, but where loans want more.
pub const CAPACITY: usize = 1 << 20;

/// The pause before each ping of [`Kind::Wake`], in nanoseconds: longer than any system spins.
pub const WAKE_PAUSE_NANOS: u64 = 2_000_000;

/// Messages in each batch of [`Kind::Batch`].
pub const BATCH: usize = 64;

/// The paces of [`Kind::Paced`], in messages a second.
const PACES: [u64; 5] = [1, 100, 1_000, 10_000, 100_000];

/// What the processes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message goes there and back before the next.
    RoundTrip,
    /// The same with a pause before each, so that the peer sleeps.
    Wake,
    /// So many senders send as fast as they can.
    OneWay {
        /// How many.
        senders: usize,
    },
    /// One sender sends [`BATCH`] messages a call, and the receiver takes what is there.
    Batch,
    /// One sender makes each message where it is sent from, and the receiver reads it where it came: in the
    /// channel, if that lends its memory.
    Loan,
    /// One sender sends so many messages a second by the clock.
    Paced {
        /// How many.
        per_second: u64,
    },
    /// Both ends of a channel of so many bytes are made and dropped, in one process.
    Make,
    /// The bytes of a file are sent again and again, in messages of so many bytes but for the last one.
    File,
}

/// Where the processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Each side on a CPU of its own.
    TwoCpus,
    /// All on one CPU.
    OneCpu,
    /// On two CPUs, in a cgroup whose quota is the time of one.
    Quota,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// What is done.
    pub kind: Kind,
    /// Length in bytes of each message.
    pub len: usize,
    /// Where.
    pub place: Place,
}

impl Workload {
    /// Every workload, in the table's order.
    pub fn all() -> Vec<Self> {
        let at = |place| move |kind, len| Self { kind, len, place };
        let (two, one, quota) = (at(Place::TwoCpus), at(Place::OneCpu), at(Place::Quota));
        let way = Kind::OneWay { senders: 1 };
        let mut all: Vec<_> = [8, 56, 64 << 10]
            .map(|len| two(Kind::RoundTrip, len))
            .into();
        all.extend(
            [8, 64, 1 << 10, 4 << 10, 64 << 10, 1 << 20, 4 * CAPACITY].map(|len| two(way, len)),
        );
        all.extend([8, 64].map(|len| two(Kind::Batch, len)));
        all.extend([64 << 10, 1 << 20].map(|len| two(Kind::Loan, len)));
        for len in [8, 64] {
            all.extend([2, 4, 8].map(|senders| two(Kind::OneWay { senders }, len)));
        }
        for alike in [one, quota] {
            all.extend([
                alike(Kind::RoundTrip, 8),
                alike(way, 8),
                alike(way, 4 << 10),
            ]);
        }
        all.extend([two(Kind::Wake, 8), one(Kind::Wake, 8)]);
        all.extend(PACES.map(|per_second| two(Kind::Paced { per_second }, 64)));
        all.push(two(Kind::Make, 64 << 10));
        all
    }

    /// Whether all processes share the time of one CPU, so that who spins keeps the other side from running.
    pub fn is_one_cpu(self) -> bool {
        self.place != Place::TwoCpus
    }

    /// Whether messages go both ways.
    pub fn is_two_way(self) -> bool {
        matches!(self.kind, Kind::RoundTrip | Kind::Wake)
    }

    /// Whether one sender sends one message a call, as fast as it can.
    pub fn is_plain_one_way(self) -> bool {
        self.kind == Kind::OneWay { senders: 1 }
    }

    /// Whether it is so idle that all systems are measured at the same time.
    pub fn runs_beside_others(self) -> bool {
        matches!(self.kind, Kind::Paced { per_second: ..10 })
    }

    /// Processes beside the one that receives or pings.
    pub fn peers(self) -> usize {
        match self.kind {
            Kind::OneWay { senders } => senders,
            Kind::Make => 0,
            _ => 1,
        }
    }

    /// Room in bytes that each channel is asked for.
    pub fn capacity(self) -> usize {
        match self.kind {
            // So that several messages lie in it at a time.
            Kind::Loan => CAPACITY.max(16 * self.len),
            Kind::Make => self.len,
            _ => CAPACITY,
        }
    }

    /// How long a slice takes where an ordinary one takes `nanos`.
    pub fn slice_nanos(self, nanos: u64) -> u64 {
        let times = match (self.kind, self.place) {
            (Kind::Paced { per_second: ..10 }, _) => 160,
            (Kind::Paced { per_second: ..1000 }, _) => 8,
            (
                Kind::Paced {
                    per_second: ..10_000,
                },
                _,
            ) => 2,
            // Several periods of the quota.
            (_, Place::Quota) => 4,
            _ => 1,
        };
        let least = match self.kind {
            // Two messages.
            Kind::Paced { per_second } => 2_000_000_000 / per_second,
            _ => 0,
        };
        (times * nanos).max(least)
    }

    /// Whether a smaller figure is better: times are compared by their inverse.
    pub fn measure(self) -> Measure {
        match self.kind {
            Kind::RoundTrip | Kind::Make => Measure::MeanTime,
            Kind::Wake => Measure::MedianTime,
            Kind::OneWay { .. } | Kind::Batch | Kind::Loan | Kind::File => Measure::Rate,
            Kind::Paced { .. } => Measure::CpuTime,
        }
    }

    /// Calls between two looks at the clock, which take some 25 ns each.
    pub fn stride(self) -> u64 {
        match (self.kind, self.len) {
            // A turn of a spinning system may take a whole time slice of the scheduler here.
            (Kind::RoundTrip, _) if self.is_one_cpu() => 2,
            (Kind::RoundTrip, 0..=4096) => 32,
            (Kind::Batch, _) => 4,
            (Kind::Make | Kind::File, _) => 1,
            (_, 0..=4096) => 128,
            _ => 1,
        }
    }

    /// What is done, in words.
    pub fn title(self) -> String {
        let len = size(self.len);
        let what = match self.kind {
            Kind::RoundTrip => format!("round trip, {len}"),
            Kind::Wake => format!("both asleep, {len}"),
            Kind::OneWay { senders: 1 } => format!("one way, {len}"),
            Kind::OneWay { senders } => format!("{senders} senders, {len}"),
            Kind::Batch => format!("one way, batches of {BATCH} × {len}"),
            Kind::Loan => format!("one way, {len} in place"),
            Kind::Paced { per_second: pace } if pace >= 1000 => {
                format!("CPU time at {},{:03}/s, {len}", pace / 1000, pace % 1000)
            }
            Kind::Paced { per_second } => format!("CPU time at {per_second}/s, {len}"),
            Kind::Make => format!("a pipe of {len}, made and dropped"),
            Kind::File => format!("a file, {len} each"),
        };
        match self.place {
            Place::TwoCpus => what,
            Place::OneCpu => what + ", one CPU",
            Place::Quota => what + ", quota of one CPU",
        }
    }

    /// The system that shows what the hardware allows, by its name.
    pub fn limit(self) -> &'static str {
        match self.kind {
            // With one CPU there is nothing to hand over to but the kernel's scheduler.
            Kind::RoundTrip if self.is_one_cpu() => "futex",
            Kind::OneWay { .. } if self.is_one_cpu() => "pipe",
            Kind::RoundTrip if self.len <= 56 => "atomics",
            Kind::RoundTrip => "memcpy",
            Kind::Wake => "futex",
            Kind::Paced { .. } => "pipe",
            Kind::OneWay { senders: 2.. } => "crossbeam",
            Kind::OneWay { .. } if self.len < 1024 => "rtrb",
            Kind::Batch => "rtrb-chunks",
            Kind::OneWay { .. } | Kind::Loan | Kind::File => "memcpy",
            Kind::Make => "pipe-plain",
        }
    }
}

/// The figure of a slice that is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// Nanoseconds for a round trip, for a channel, or for whatever is done, over all of a slice.
    #[default]
    #[serde(rename = "ns for a round trip or a channel, mean of a slice")]
    #[serde(alias = "ns for a round trip, mean of a slice")]
    #[serde(alias = "ns for an operation, mean of a slice")]
    MeanTime,
    /// Nanoseconds for a round trip, the median of a slice.
    #[serde(rename = "ns for a round trip, median of a slice")]
    MedianTime,
    /// Messages in a second.
    #[serde(rename = "messages in a second")]
    Rate,
    /// CPU nanoseconds for a message, both sides together.
    #[serde(rename = "CPU ns for a message, all sides")]
    CpuTime,
}

impl Measure {
    /// What a figure of it is, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::MeanTime => "time, less is better",
            Self::MedianTime => "median time, less is better",
            Self::Rate => "messages a second, more is better",
            Self::CpuTime => "CPU time of all sides for a message, less is better",
        }
    }

    /// A figure of it with its unit.
    pub fn text(self, figure: f64) -> String {
        match self {
            Self::Rate => rate(figure),
            _ => time(figure),
        }
    }

    /// How many times better `ours` is than `theirs`.
    pub fn ratio(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Self::Rate => ours / theirs,
            _ => theirs / ours,
        }
    }
}

impl fmt::Display for Workload {
    /// The name for the command line, such as `one-way-8` or `senders-4-64`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = match self.len {
            len if len.is_multiple_of(1 << 20) => format!("{}m", len >> 20),
            len if len.is_multiple_of(1 << 10) => format!("{}k", len >> 10),
            len => len.to_string(),
        };
        match self.kind {
            Kind::RoundTrip => write!(f, "round-trip-{len}")?,
            Kind::Wake => write!(f, "wake-{len}")?,
            Kind::OneWay { senders: 1 } => write!(f, "one-way-{len}")?,
            Kind::OneWay { senders } => write!(f, "senders-{senders}-{len}")?,
            Kind::Batch => write!(f, "batch-{len}")?,
            Kind::Loan => write!(f, "loan-{len}")?,
            Kind::Make => write!(f, "make-{len}")?,
            Kind::File => write!(f, "file-{len}")?,
            Kind::Paced { per_second } if per_second.is_multiple_of(1000) => {
                write!(f, "paced-{}k-{len}", per_second / 1000)?;
            }
            Kind::Paced { per_second } => write!(f, "paced-{per_second}-{len}")?,
        }
        f.write_str(match self.place {
            Place::TwoCpus => "",
            Place::OneCpu => "-one-cpu",
            Place::Quota => "-quota",
        })
    }
}

impl FromStr for Workload {
    type Err = ();

    /// The opposite of its name.
    fn from_str(name: &str) -> Result<Self, ()> {
        fn scaled(text: &str) -> Option<(usize, &str)> {
            let (digits, unit) = match text.strip_suffix(['k', 'm']) {
                Some(digits) => (digits, &text[digits.len()..]),
                None => (text, ""),
            };
            Some((digits.parse().ok()?, unit))
        }
        let (rest, place) = match (name.strip_suffix("-one-cpu"), name.strip_suffix("-quota")) {
            (Some(rest), _) => (rest, Place::OneCpu),
            (_, Some(rest)) => (rest, Place::Quota),
            _ => (name, Place::TwoCpus),
        };
        let (what, len) = rest.rsplit_once('-').ok_or(())?;
        let (number, unit) = scaled(len).ok_or(())?;
        let shift = match unit {
            "m" => 20,
            "k" => 10,
            _ => 0,
        };
        let kind = match what {
            "round-trip" => Kind::RoundTrip,
            "wake" => Kind::Wake,
            "one-way" => Kind::OneWay { senders: 1 },
            "batch" => Kind::Batch,
            "loan" => Kind::Loan,
            "make" => Kind::Make,
            "file" => Kind::File,
            _ => match what.split_once('-').ok_or(())? {
                ("senders", senders) => Kind::OneWay {
                    senders: senders.parse().map_err(drop)?,
                },
                ("paced", pace) => {
                    let (number, unit) = scaled(pace).ok_or(())?;
                    let thousands = if unit == "k" { 1000 } else { 1 };
                    let per_second = number as u64 * thousands;
                    Kind::Paced { per_second }
                }
                _ => return Err(()),
            },
        };
        let len = number << shift;
        Ok(Self { kind, len, place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_as_its_workload() {
        for workload in Workload::all() {
            assert_eq!(workload.to_string().parse(), Ok(workload));
        }
        for wrong in [
            "",
            "tuple",
            "28 KiB array",
            "one-way-",
            "senders-x-8",
            "two-way-8",
        ] {
            assert_eq!(wrong.parse::<Workload>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn titles_have_the_units_that_people_use() {
        for (name, title) in [
            ("one-way-64k", "one way, 64 KiB"),
            ("wake-8-one-cpu", "both asleep, 8 B, one CPU"),
            ("batch-8", "one way, batches of 64 × 8 B"),
            ("paced-1k-64", "CPU time at 1,000/s, 64 B"),
            ("file-64k", "a file, 64 KiB each"),
        ] {
            assert_eq!(name.parse::<Workload>().unwrap().title(), title);
        }
    }

    #[test]
    fn every_workload_has_a_name_of_its_own() {
        let mut names: Vec<_> = Workload::all().iter().map(ToString::to_string).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        for name in [
            "round-trip-8",
            "one-way-4m",
            "batch-8",
            "loan-64k",
            "senders-8-64",
            "round-trip-8-quota",
            "wake-8-one-cpu",
            "paced-1-64",
            "paced-100k-64",
            "make-64k",
        ] {
            assert!(names.iter().any(|other| other == name), "{name}");
        }
    }

    #[test]
    fn a_slice_has_several_messages_at_every_pace() {
        for workload in Workload::all() {
            if let Kind::Paced { per_second } = workload.kind {
                let nanos = workload.slice_nanos(30_000_000);
                assert!(nanos * per_second / 1_000_000_000 >= 4, "{workload}");
            }
        }
    }

    #[test]
    fn the_ratio_is_above_one_for_the_better_system() {
        assert!(Measure::Rate.ratio(20.0, 10.0) > 1.0);
        assert!(Measure::MeanTime.ratio(10.0, 20.0) > 1.0);
    }
}
