//! Labels and process names as text for a terminal: they may hold anything that their makers liked.

use shmpipe::observe::{Holders, Pipe, Presence, Process, Side};

use super::steering::steers;

/// Characters of a pipe's label in a table.
const TITLE: usize = 32;

/// `text` with a mark in place of each character that [`steers`] or hides.
pub(crate) fn printable(text: &str) -> String {
    let shown = |char| {
        if steers(char) {
            char::REPLACEMENT_CHARACTER
        } else {
            char
        }
    };
    text.chars().map(shown).collect()
}

/// A pipe's label, or its inode where it has none.
pub(crate) fn title(pipe: &Pipe) -> String {
    match &pipe.label {
        Some(label) => printable(label),
        None => format!("#{}", pipe.inode),
    }
}

/// The same for a table, where no label makes a row too long to be read.
pub(crate) fn short_title(pipe: &Pipe) -> String {
    clipped(&title(pipe), TITLE)
}

/// Whether `text` is the pipe's label, or what a table shows for it.
pub(crate) fn is_called(pipe: &Pipe, text: &str) -> bool {
    pipe.label.as_deref() == Some(text)
        || text.strip_prefix('#') == Some(&*pipe.inode.to_string())
        || short_title(pipe) == text
}

/// `name/pid`.
pub(crate) fn process(process: &Process) -> String {
    format!("{}/{}", printable(&process.name), process.pid)
}

/// One side's holders, the first by name and the others by their number.
pub(crate) fn holders(holders: &Holders) -> String {
    match (&*holders.processes, holders.presence) {
        ([], Presence::Closed) => "closed".into(),
        ([], Presence::Held) => "unseen".into(),
        ([], _) => "?".into(),
        ([one], _) => process(one),
        ([first, rest @ ..], _) => format!("{} +{}", process(first), rest.len()),
    }
}

/// The same without the ids, for where there is no room.
pub(crate) fn holders_by_name(side: &Holders) -> String {
    match &*side.processes {
        [] => holders(side),
        [one] => printable(&one.name),
        [first, rest @ ..] => format!("{} +{}", printable(&first.name), rest.len()),
    }
}

/// What stands before the messages and bytes of a side that are no count.
pub(crate) fn estimate(side: &Side) -> &'static str {
    if side.is_estimate { "~" } else { "" }
}

/// `text` with no more than `width` characters.
pub(crate) fn clipped(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_replaced() {
        assert_eq!(
            printable("a\u{1b}[2Jb\n\u{202e}c"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}c"
        );
        assert_eq!(printable("größe 5"), "größe 5");
        for hidden in
            "\u{7f}\u{9b}\u{ad}\u{61c}\u{200b}\u{200d}\u{2028}\u{2029}\u{2060}\u{feff}\u{e0041}"
                .chars()
        {
            assert_eq!(
                printable(&format!("a{hidden}b")),
                "a\u{fffd}b",
                "{hidden:?}"
            );
        }
    }

    #[test]
    fn clipping_counts_characters() {
        assert_eq!(clipped("größe", 5), "größe");
        assert_eq!(clipped("größer", 5), "größ…");
        assert_eq!(clipped("ab", 0), "…");
    }
}
