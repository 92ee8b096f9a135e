//! The body `records` under libFuzzer.
#![no_main]

#[path = "../bodies/records.rs"]
mod records;
#[path = "../bodies/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| records::run(bytes));
