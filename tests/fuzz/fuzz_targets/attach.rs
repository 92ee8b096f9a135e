//! The body `attach` under libFuzzer.
#![no_main]

#[path = "../bodies/attach.rs"]
mod attach;
#[path = "../bodies/input.rs"]
mod input;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| attach::run(bytes));
