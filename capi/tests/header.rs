//! Keeps `include/shmpipe.h` equal to what cbindgen makes of the sources.
//!
//! `SHMPIPE_WRITE_HEADER=1 cargo test -p shmpipe-capi --test header` writes it. Paths are those of the package, where
//! cargo starts a test.

use std::fs;
use std::path::Path;

/// The sources, in the order that the header follows.
const SOURCES: [&str; 14] = [
    "status",
    "last_error",
    "options",
    "sender",
    "receiver",
    "message",
    "connection",
    "slot",
    "view",
    "waiting",
    "interrupt",
    "handing",
    "descriptors",
    "surroundings",
];

fn made() -> String {
    let config = cbindgen::Config::from_file("cbindgen.toml").expect("cbindgen.toml");
    // Not by the whole crate, for which cbindgen asks cargo and with it the network.
    let builder = SOURCES.iter().fold(
        cbindgen::Builder::new().with_config(config),
        |builder, name| builder.with_src(format!("src/{name}.rs")),
    );
    let mut header = Vec::new();
    builder.generate().expect("a header").write(&mut header);
    String::from_utf8(header).expect("a text")
}

#[test]
fn the_header_is_what_the_sources_say() {
    let path = Path::new("include/shmpipe.h");
    let made = made();
    if std::env::var_os("SHMPIPE_WRITE_HEADER").is_some() {
        fs::write(path, &made).expect("written");
    }
    let kept = fs::read_to_string(path).expect("include/shmpipe.h");
    let differs = made
        .lines()
        .zip(kept.lines())
        .position(|(one, other)| one != other);
    assert!(
        made == kept,
        "include/shmpipe.h differs from line {} on; SHMPIPE_WRITE_HEADER=1 writes it anew",
        differs.unwrap_or(made.lines().count().min(kept.lines().count())) + 1
    );
}

#[test]
fn every_source_with_an_exported_function_is_in_the_header() {
    let made = made();
    for entry in fs::read_dir("src").expect("src") {
        let text = fs::read_to_string(entry.expect("an entry").path()).expect("a source");
        let mut lines = text.lines();
        while lines.by_ref().any(|line| line == "#[unsafe(no_mangle)]") {
            let line = lines.next().expect("a function");
            let name = line
                .split("fn ")
                .nth(1)
                .and_then(|rest| rest.split('(').next());
            let name = name.expect("its name");
            assert!(
                made.contains(&format!("{name}(")),
                "{name} is not in the header"
            );
        }
    }
}
