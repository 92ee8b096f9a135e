//! Keeps the layers honest: imports in `src` point downward only, atomics have one door, and no slice is
//! formed over the mapping.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders and files of `src` from the lowest layer to the highest; those of one row may use each other.
const LAYERS: [&[&str]; 7] = [
    &["sync", "sys", "error"],
    &["segment"],
    &["ring"],
    &["wait"],
    &["backend"],
    &["ends"],
    &["values", "tokio", "observe"],
];

/// The layer of the public names of `lib.rs`; those of higher layers stay in their modules.
const PUBLIC: usize = 5;

fn layer_of(module: &str) -> usize {
    // What is not a module is a public name, which only the layer of the ends and those above it may use.
    LAYERS
        .iter()
        .position(|row| row.contains(&module))
        .unwrap_or(PUBLIC)
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Code lines of all of `src` but its front page: path below `src`, line number, text.
fn lines() -> Vec<(PathBuf, usize, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut lines = Vec::new();
    for path in sources(&root) {
        let text = fs::read_to_string(&path).expect("a source file");
        let below = path.strip_prefix(&root).expect("below src").to_owned();
        for (index, line) in text.lines().enumerate() {
            if !line.trim_start().starts_with("//") && below != Path::new("lib.rs") {
                lines.push((below.clone(), index + 1, line.to_owned()));
            }
        }
    }
    assert!(lines.len() > 1000, "only {} lines found", lines.len());
    lines
}

fn own_module(path: &Path) -> String {
    let first = path.components().next().expect("a file name");
    first
        .as_os_str()
        .to_string_lossy()
        .trim_end_matches(".rs")
        .to_owned()
}

#[test]
fn each_file_has_a_layer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&root) {
        let own = own_module(path.strip_prefix(&root).expect("below src"));
        let has_a_row = LAYERS.iter().any(|row| row.contains(&own.as_str()));
        assert!(has_a_row || own == "lib", "{own} is in no row");
    }
}

#[test]
fn imports_point_down_the_layers() {
    for (path, number, line) in lines() {
        let own = layer_of(&own_module(&path));
        for (at, _) in line.match_indices("crate::") {
            let rest = &line[at + "crate::".len()..];
            let named: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let other = layer_of(&named);
            assert!(
                other <= own,
                "src/{}:{number} looks up: {line}",
                path.display()
            );
        }
    }
}

#[test]
fn shared_atomics_come_through_the_one_door() {
    // Private to one process, so no concern of the model checker.
    let process_private = [
        "sys/alarm.rs",
        "sys/closing.rs",
        "sys/epoll.rs",
        "sys/pipe.rs",
        "sys/fork.rs",
        "sys/process.rs",
        "ring/reservation.rs",
        "backend/shm/mod.rs",
        "backend/kernel/mod.rs",
    ];
    for (path, number, line) in lines() {
        let is_door = path.starts_with("sync") || path == Path::new("sync.rs");
        let is_private = process_private.iter().any(|name| path == Path::new(name));
        let names_atomics = line.contains("sync::atomic") && !line.contains("crate::sync");
        assert!(
            !names_atomics || is_door || is_private || line.contains("compiler_fence"),
            "src/{}:{number} goes round src/sync.rs: {line}",
            path.display()
        );
    }
}

#[test]
fn no_slice_is_formed_over_the_mapping() {
    // A file that makes slices, and why it may.
    let vouched = "in an unsafe function whose caller vouches for every holder of the pipe";
    let allowed = [
        ("ends/view.rs", vouched),
        ("ends/slot.rs", vouched),
        (
            "values/typed/receiver.rs",
            "a variable on the caller's own stack",
        ),
    ];
    for (path, number, line) in lines() {
        let is_allowed = allowed.iter().any(|(name, _)| path == Path::new(name));
        // Of memmap2 only MmapRaw lends no slice.
        let makes_slices = ["from_raw_parts", "MmapMut"];
        assert!(
            is_allowed || !makes_slices.iter().any(|word| line.contains(word)),
            "src/{}:{number} may form a slice over memory that a peer writes: {line}",
            path.display()
        );
    }
}
