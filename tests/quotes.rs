//! Keeps what the documents quote of the examples equal to the examples, and the names of files and headings to what is there.
//!
//! A quotation is a fenced block with the file's name in a comment directly before it: `<!-- examples/select.rs -->`.
//! Its lines stand in that file one after the other, at any depth. Whether they compile is the examples' business.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const DOCUMENTS: [&str; 2] = ["README.md", "docs/cookbook.md"];

struct Quotation {
    /// Document and line of the marker.
    place: String,
    file: String,
    lines: Vec<String>,
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The file that a line names as the source of the block below it.
fn marked(line: &str) -> Option<&str> {
    let name = line.strip_prefix("<!-- ")?.strip_suffix(" -->")?;
    name.starts_with("examples/").then_some(name)
}

fn quotations(document: &str) -> Vec<Quotation> {
    let text = read(document);
    let mut lines = text.lines().enumerate();
    let mut found = Vec::new();
    while let Some((index, line)) = lines.next() {
        let Some(file) = marked(line) else {
            continue;
        };
        let place = format!("{document}:{}", index + 1);
        let fence = lines.next().map_or("", |(_, fence)| fence);
        assert!(fence.starts_with("```"), "{place}: no block after a marker");
        let block = lines.by_ref().map(|(_, line)| line);
        let lines: Vec<&str> = block.take_while(|line| *line != "```").collect();
        found.push(Quotation {
            place,
            file: file.to_owned(),
            lines: without_common_indentation(&lines),
        });
    }
    found
}

fn without_common_indentation(lines: &[&str]) -> Vec<String> {
    let depth = |line: &&str| line.len() - line.trim_start().len();
    let filled = lines.iter().filter(|line| !line.is_empty());
    let common = filled.map(depth).min().unwrap_or(0);
    let cut = |line: &&str| line.get(common..).unwrap_or("").to_owned();
    lines.iter().map(cut).collect()
}

fn stands_in(lines: &[String], text: &str) -> bool {
    let text: Vec<&str> = text.lines().collect();
    text.windows(lines.len())
        .any(|run| without_common_indentation(run) == lines)
}

#[test]
fn what_the_documents_quote_stands_in_the_examples() {
    for quotation in DOCUMENTS.into_iter().flat_map(quotations) {
        let Quotation { place, file, lines } = quotation;
        assert!(!lines.is_empty(), "{place}: quotes nothing of {file}");
        assert!(
            stands_in(&lines, &read(&file)),
            "{place}: {file} has no such lines:\n{}",
            lines.join("\n")
        );
    }
}

#[test]
fn every_example_is_quoted() {
    let quoted: BTreeSet<String> = DOCUMENTS
        .into_iter()
        .flat_map(quotations)
        .map(|quotation| quotation.file)
        .collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let examples: BTreeSet<String> = fs::read_dir(folder)
        .expect("the folder of examples")
        .map(|entry| entry.expect("an entry").file_name())
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.ends_with(".rs"))
        .map(|name| format!("examples/{name}"))
        .collect();
    assert_eq!(quoted, examples);
}

#[test]
fn no_block_is_left_out_of_the_doc_tests_but_quotations() {
    for document in DOCUMENTS {
        let text = read(document);
        let lines: Vec<&str> = text.lines().collect();
        for (index, pair) in lines.windows(2).enumerate() {
            let is_ignored = pair[1].starts_with("```") && pair[1].contains("ignore");
            assert!(
                !is_ignored || marked(pair[0]).is_some(),
                "{document}:{}: nothing compiles this block and nothing compares it",
                index + 2
            );
        }
    }
}

#[test]
fn a_changed_line_is_found() {
    let text = "fn main() {\n    if a {\n        b();\n    }\n}\n";
    let quoted = |block: &[&str]| stands_in(&without_common_indentation(block), text);
    assert!(quoted(&["if a {", "    b();", "}"]));
    assert!(quoted(&["        b();"]));
    assert!(!quoted(&["if a {", "    c();", "}"]));
    assert!(!quoted(&["if a {", "b();", "}"]));
    assert!(!quoted(&["if a {", "}"]), "a line is left out");
}

/// README and every document.
fn documents() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut found: Vec<String> = fs::read_dir(folder)
        .expect("the documents")
        .map(|entry| entry.expect("an entry").file_name())
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.ends_with(".md"))
        .map(|name| format!("docs/{name}"))
        .collect();
    found.push("README.md".to_owned());
    found
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = |char: &char| char.is_alphanumeric() || "_- ".contains(*char);
    let text: String = heading.trim().chars().filter(kept).collect();
    text.to_lowercase().replace(' ', "-")
}

fn has_heading(document: &Path, wanted: &str) -> bool {
    let text = fs::read_to_string(document).expect("a document");
    text.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor(line.trim_start_matches('#')) == wanted)
}

/// What stands between `open` and the next `close`, wherever `open` is.
fn between<'a>(text: &'a str, open: &str, close: char) -> Vec<&'a str> {
    text.split(open)
        .skip(1)
        .filter_map(|rest| rest.split(close).next())
        .collect()
}

#[test]
fn every_link_of_the_documents_leads_to_something() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    for document in documents() {
        let path = root.join(&document);
        let folder = path.parent().expect("a folder");
        let text = read(&document);
        for link in between(&text, "](", ')') {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => folder.join(file),
            };
            // The packages that lie beside this one are not in every copy of it.
            let is_elsewhere = ["http", "python/", "capi/", "../"]
                .iter()
                .any(|start| link.starts_with(start));
            if is_elsewhere {
                continue;
            }
            if !target.exists() || (!heading.is_empty() && !has_heading(&target, heading)) {
                missing.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_source_file_that_the_documents_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    for document in documents() {
        for name in between(&read(&document), "`", '`') {
            let is_source = name.ends_with(".rs") && !name.contains([' ', '*', '{']);
            let folders = ["", "src", "tests", "tests/conformance", "cli/tests"];
            let is_there = || {
                folders
                    .iter()
                    .any(|folder| root.join(folder).join(name).exists())
            };
            let is_beside = |folder: &str| name.starts_with(folder) && !root.join(folder).exists();
            if is_source
                && !is_there()
                && !["cli/", "capi/", "python/", "benches/"]
                    .into_iter()
                    .any(is_beside)
            {
                missing.push(format!("{document}: {name}"));
            }
        }
    }
    missing.sort();
    missing.dedup();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
