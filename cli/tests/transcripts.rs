//! Keeps the transcripts of `docs/tools.md` true: what each command prints is what the document shows.
//!
//! A transcript is a block of the language `console`. A line that begins with `$ shmpipe` is a command, and the lines
//! up to the next one are its output. Trailing blanks do not count.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The command.
const SHMPIPE: &str = env!("CARGO_BIN_EXE_shmpipe");

/// Columns for which the document is written.
const COLUMNS: &str = "100";

/// Standard output, and then standard error, without blanks at the ends of lines.
fn printed(arguments: &str) -> String {
    let output = Command::new(SHMPIPE)
        .args(arguments.split_whitespace())
        .env("COLUMNS", COLUMNS)
        .output()
        .expect("the command starts");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).expect("UTF-8");
    let lines: Vec<&str> = text.trim_matches('\n').lines().map(str::trim_end).collect();
    lines.join("\n")
}

#[test]
fn what_the_document_shows_is_what_the_commands_print() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tools.md");
    let document = fs::read_to_string(path).expect("docs/tools.md");
    let blocks = document.split("```console\n").skip(1);
    let mut commands = 0;
    for block in blocks {
        let (block, _) = block.split_once("\n```").expect("the end of a block");
        for step in block.split("$ shmpipe ").skip(1) {
            let (arguments, shown) = step.split_once('\n').unwrap_or((step, ""));
            assert_eq!(printed(arguments), shown.trim_end(), "shmpipe {arguments}");
            commands += 1;
        }
    }
    assert!(commands > 0, "no transcript in docs/tools.md");
}
