//! The workloads by name: what is sent, how, and on how many CPUs.
//!
//! How a slice of each runs is in `roles`.

use std::fmt;

/// The capacity in bytes that every channel is asked for.
pub(crate) const CAPACITY: usize = 1 << 20;

/// The pause before each ping of [`Kind::Wake`], in nanoseconds: longer than any system spins.
pub(crate) const WAKE_PAUSE_NANOS: u64 = 2_000_000;

/// What the processes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A message goes there and back before the next.
    RoundTrip,
    /// The same with a pause before each, so that the peer sleeps.
    Wake,
    /// So many senders send as fast as they can.
    OneWay { senders: usize },
    /// One sender sends so many messages a second by the clock.
    Paced { per_second: u64 },
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    /// What is done.
    pub(crate) kind: Kind,
    /// Length in bytes of each message.
    pub(crate) len: usize,
    one_cpu: bool,
}

impl Workload {
    /// Every workload, in the table's order.
    pub(crate) fn all() -> Vec<Self> {
        let two = |kind, len| Self {
            kind,
            len,
            one_cpu: false,
        };
        let one = |kind, len| Self {
            kind,
            len,
            one_cpu: true,
        };
        let way = Kind::OneWay { senders: 1 };
        let mut all = vec![two(Kind::RoundTrip, 8), two(Kind::RoundTrip, 56)];
        all.extend(
            [8, 64, 1 << 10, 4 << 10, 64 << 10, 1 << 20, 4 * CAPACITY].map(|len| two(way, len)),
        );
        for len in [8, 64] {
            all.extend([2, 4, 8].map(|senders| two(Kind::OneWay { senders }, len)));
        }
        all.extend([one(Kind::RoundTrip, 8), one(way, 8), one(way, 4 << 10)]);
        all.extend([two(Kind::Wake, 8), one(Kind::Wake, 8)]);
        all.extend([1_000, 100_000].map(|per_second| two(Kind::Paced { per_second }, 64)));
        all
    }

    /// Whether all processes share one CPU.
    pub(crate) fn is_one_cpu(self) -> bool {
        self.one_cpu
    }

    /// Whether messages go both ways.
    pub(crate) fn is_two_way(self) -> bool {
        matches!(self.kind, Kind::RoundTrip | Kind::Wake)
    }

    /// Processes beside the one that receives or pings.
    pub(crate) fn peers(self) -> usize {
        match self.kind {
            Kind::OneWay { senders } => senders,
            _ => 1,
        }
    }

    /// Whether a smaller figure is better: times are compared by their inverse.
    pub(crate) fn measure(self) -> Measure {
        match self.kind {
            Kind::RoundTrip => Measure::MeanTime,
            Kind::Wake => Measure::MedianTime,
            Kind::OneWay { .. } => Measure::Rate,
            Kind::Paced { .. } => Measure::CpuTime,
        }
    }

    /// Messages between two looks at the clock, which take some 25 ns each.
    pub(crate) fn stride(self) -> u64 {
        match (self.kind, self.len) {
            // A turn of a spinning system may take a whole time slice of the scheduler here.
            (Kind::RoundTrip, _) if self.one_cpu => 2,
            (Kind::RoundTrip, _) => 32,
            (_, 0..=4096) => 128,
            _ => 1,
        }
    }

    /// The system that shows what the hardware allows, by its name.
    pub(crate) fn limit(self) -> &'static str {
        match self.kind {
            Kind::RoundTrip if self.one_cpu => "futex",
            Kind::RoundTrip => "atomics",
            Kind::Wake => "futex",
            Kind::Paced { .. } => "pipe",
            // With one CPU there is nothing to hand over to but the kernel's scheduler.
            Kind::OneWay { .. } if self.one_cpu => "pipe",
            Kind::OneWay { senders: 2.. } => "crossbeam",
            Kind::OneWay { .. } if self.len < 1024 => "rtrb",
            Kind::OneWay { .. } => "memcpy",
        }
    }
}

/// The figure of a slice that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Nanoseconds for a round trip, over all of a slice.
    MeanTime,
    /// Nanoseconds for a round trip, the median of a slice.
    MedianTime,
    /// Messages in a second.
    Rate,
    /// CPU nanoseconds for a message, both sides together.
    CpuTime,
}

impl Measure {
    /// How many times better `ours` is than `theirs`.
    pub(crate) fn ratio(self, ours: f64, theirs: f64) -> f64 {
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
            len if len >= 1 << 20 => format!("{}m", len >> 20),
            len if len >= 1 << 10 => format!("{}k", len >> 10),
            len => len.to_string(),
        };
        match self.kind {
            Kind::RoundTrip => write!(f, "round-trip-{len}")?,
            Kind::Wake => write!(f, "wake-{len}")?,
            Kind::OneWay { senders: 1 } => write!(f, "one-way-{len}")?,
            Kind::OneWay { senders } => write!(f, "senders-{senders}-{len}")?,
            Kind::Paced { per_second } => write!(f, "paced-{}k-{len}", per_second / 1000)?,
        }
        if self.one_cpu {
            f.write_str("-one-cpu")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "senders-8-64",
            "wake-8-one-cpu",
            "paced-100k-64",
        ] {
            assert!(names.iter().any(|other| other == name), "{name}");
        }
    }

    #[test]
    fn the_ratio_is_above_one_for_the_better_system() {
        assert!(Measure::Rate.ratio(20.0, 10.0) > 1.0);
        assert!(Measure::MeanTime.ratio(10.0, 20.0) > 1.0);
    }
}
