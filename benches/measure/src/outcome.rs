//! What a slice gave, and its form as one line of JSON from the session to the supervisor.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::clock::Usage;
use crate::workload::Measure;

/// Times in nanoseconds, to three digits.
pub type Latency = Histogram<u64>;

/// An empty histogram for times up to a minute.
pub fn latency() -> Latency {
    Histogram::new_with_max(60_000_000_000, 3).expect("these bounds are allowed")
}

/// What a slice gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Messages or round trips in the measured part.
    pub messages: u64,
    /// How long that part took.
    pub nanos: u64,
    /// What the receiving or pinging side used in it.
    pub main: Usage,
    /// What all peers used in it.
    pub peers: Usage,
    /// Messages over which those were used.
    pub used_over: u64,
    /// Messages that were made, and read, where they lay in the channel.
    pub in_place: [u64; 2],
    /// Times of single messages or round trips, where they were taken.
    pub latency: Latency,
}

impl Outcome {
    /// The figure that is compared; `None` when nothing was measured.
    pub fn figure(&self, measure: Measure) -> Option<f64> {
        let (messages, nanos) = (self.messages as f64, self.nanos as f64);
        let figure = match measure {
            Measure::MeanTime => nanos / messages,
            Measure::MedianTime => self.latency.value_at_quantile(0.5) as f64,
            Measure::Rate => messages * 1e9 / nanos,
            Measure::CpuTime => self.cpu_per_message(),
        };
        (figure.is_finite() && figure > 0.0).then_some(figure)
    }

    /// CPU nanoseconds of all sides for one message.
    pub fn cpu_per_message(&self) -> f64 {
        (self.main.cpu_nanos + self.peers.cpu_nanos) as f64 / self.used_over as f64
    }

    /// As JSON, with the histogram as pairs of a time and its count.
    pub(crate) fn to_json(&self) -> Value {
        let buckets: Vec<_> = self
            .latency
            .iter_recorded()
            .map(|step| json!([step.value_iterated_to(), step.count_at_value()]))
            .collect();
        json!({
            "messages": self.messages,
            "nanos": self.nanos,
            "main": usage_to_json(self.main),
            "peers": usage_to_json(self.peers),
            "used_over": self.used_over,
            "in_place": self.in_place,
            "buckets": buckets,
        })
    }

    /// The opposite of [`to_json`](Self::to_json); `None` for any other value.
    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let mut latency = latency();
        for pair in value["buckets"].as_array()? {
            latency
                .record_n(pair[0].as_u64()?, pair[1].as_u64()?)
                .ok()?;
        }
        Some(Self {
            messages: value["messages"].as_u64()?,
            nanos: value["nanos"].as_u64()?,
            main: usage_from_json(&value["main"])?,
            peers: usage_from_json(&value["peers"])?,
            used_over: value["used_over"].as_u64()?,
            in_place: [
                value["in_place"][0].as_u64()?,
                value["in_place"][1].as_u64()?,
            ],
            latency,
        })
    }
}

fn usage_to_json(usage: Usage) -> Value {
    json!({
        "cpu_nanos": usage.cpu_nanos,
        "voluntary_switches": usage.voluntary,
        "involuntary_switches": usage.involuntary,
        "syscalls": usage.syscalls,
    })
}

fn usage_from_json(value: &Value) -> Option<Usage> {
    Some(Usage {
        cpu_nanos: value["cpu_nanos"].as_u64()?,
        voluntary: value["voluntary_switches"].as_u64()?,
        involuntary: value["involuntary_switches"].as_u64()?,
        syscalls: value["syscalls"].as_u64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_survives_its_json() {
        let mut latency = latency();
        for nanos in [90, 90, 1_200, 3_000_000_000] {
            latency.record(nanos).unwrap();
        }
        let outcome = Outcome {
            messages: 4,
            nanos: 1_000,
            main: Usage {
                cpu_nanos: 1,
                voluntary: 2,
                involuntary: 3,
                syscalls: 9,
            },
            peers: Usage {
                cpu_nanos: 7,
                voluntary: 5,
                involuntary: 6,
                syscalls: 8,
            },
            used_over: 4,
            in_place: [4, 3],
            latency,
        };
        assert_eq!(Outcome::from_json(&outcome.to_json()).unwrap(), outcome);
        assert_eq!(outcome.figure(Measure::MeanTime), Some(250.0));
        assert_eq!(outcome.figure(Measure::CpuTime), Some(2.0));
    }
}
