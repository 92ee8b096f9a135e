//! The fuzz targets without a fuzzer: the corpus and seeded mutations of it, on stable Rust.
//!
//! It looks for crashes and hangs as a regression test does; the search itself is
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz records` (or `attach`). `SHMPIPE_SEED` chooses other
//! mutations, `SHMPIPE_LONG=1` a hundred times as many.

#[path = "bodies/attach.rs"]
mod attach;
#[path = "bodies/input.rs"]
mod input;
#[path = "bodies/records.rs"]
mod records;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;

use support::{Random, doing, found, long, on_no_backend};

on_no_backend! {
    attaching_to_whatever_a_stranger_hands_over_is_an_error_or_works within 300,
    no_sequence_of_calls_and_lies_crashes_or_hangs within 300,
}

/// Mutated inputs of the ordinary run.
const INPUTS: usize = 40_000;
const LONGEST: usize = 1024;

/// Numbers that are likely to be at an edge of something.
const EDGES: [u64; 12] = [
    0,
    1,
    7,
    8,
    511,
    512,
    4095,
    4096,
    4097,
    1 << 31,
    u32::MAX as u64,
    u64::MAX,
];

/// Changes an input in one of the ways that fuzzers change theirs.
fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    match random.below(6) {
        0 if !input.is_empty() => {
            let at = random.below(input.len());
            input[at] = random.word() as u8;
        }
        1 if !input.is_empty() => {
            let at = random.below(input.len());
            input[at] ^= 1 << random.below(8);
        }
        2 => {
            let at = random.below(input.len() + 1);
            let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
            let len = [2, 4, 8][random.below(3)];
            input.splice(at..at, edge[..len].iter().copied());
        }
        3 if !input.is_empty() => input.truncate(random.below(input.len())),
        4 => {
            let other = &corpus[random.below(corpus.len())];
            input.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
        _ => input.extend((0..random.below(40)).map(|_| random.word() as u8)),
    }
    input.truncate(LONGEST);
}

fn drive(name: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(name);
    let mut corpus: Vec<Vec<u8>> = fs::read_dir(folder)
        .expect("a corpus")
        .map(|entry| fs::read(entry.expect("an entry").path()).expect("an input"))
        .collect();
    // The order of a folder is nobody's promise.
    corpus.sort();
    assert!(!corpus.is_empty());
    for input in &corpus {
        run_one(run, input);
    }
    let mut random = Random::from_environment();
    let inputs = if long() { 100 * INPUTS } else { INPUTS };
    for _ in 0..inputs {
        let mut input = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(8) {
            mutate(&mut input, &corpus, &mut random);
        }
        run_one(run, &input);
    }
    found(&format!(
        "{name}: {} inputs of the corpus, {inputs} mutated",
        corpus.len()
    ));
}

/// Notes the input first: after a crash it is the last note in the output.
fn run_one(run: fn(&[u8]), input: &[u8]) {
    let digits: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
    doing(&format!("input {digits}"));
    run(input);
}

fn attaching_to_whatever_a_stranger_hands_over_is_an_error_or_works() {
    drive("attach", attach::run);
}

fn no_sequence_of_calls_and_lies_crashes_or_hangs() {
    drive("records", records::run);
}
