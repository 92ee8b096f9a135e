//! Measures ways for messages between processes: what `shmpipe bench` and `benches/compare` are made of.
//!
//! A [schedule](schedule::Schedule) runs short slices of every [system](systems::System) by turns, each in
//! [processes of its own](session), and notes them in a [record](record::Record). [Statistics](statistics) are medians
//! with their middle halves, and ratios are formed within a round. A report is made of a record alone: [text](table), a
//! [page](html), or [one picture](picture).
//!
//! It is no part of the promises of `shmpipe`: its interface changes with what the two programs need.

pub mod clock;
mod counter;
pub mod file;
pub mod html;
pub mod kills;
mod load;
pub mod machine;
pub mod message;
mod one_way;
pub mod outcome;
pub mod picture;
pub mod quota;
pub mod record;
pub mod rivals;
mod round_trip;
pub mod schedule;
pub mod session;
pub mod shared;
pub mod statistics;
pub mod supervise;
mod svg;
mod syscalls;
pub mod systems;
pub mod table;
pub mod units;
pub mod wire;
pub mod workload;
