//! Characters that a terminal acts upon or does not show, which text from outside could deceive with.

/// The categories Cf, Zl and Zp of Unicode 16, and what else is `Default_Ignorable_Code_Point` there: shown as
/// nothing, so that two names look alike. Cc is [`char::is_control`].
const HIDDEN: [(char, char); 25] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Whether a character would move a cursor, colour a screen, turn the writing direction, end a line, or stay unseen.
pub(crate) fn steers(char: char) -> bool {
    let is_hidden = |&(first, last): &(char, char)| (first..=last).contains(&char);
    char.is_control() || HIDDEN.iter().any(is_hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_of_any_script_is_left_alone() {
        let text = "größe 5 パイプ трубка أنبوب पाइप 管 → € ½ 🚰\u{301}";
        assert!(!text.chars().any(steers));
    }

    #[test]
    fn the_table_is_in_order_and_holds_nothing_twice() {
        assert!(HIDDEN.iter().all(|(first, last)| first <= last));
        assert!(HIDDEN.is_sorted_by(|(_, last), (first, _)| last < first));
    }

    #[test]
    fn the_first_and_the_last_of_each_range_are_hidden() {
        for &(first, last) in &HIDDEN {
            assert!(steers(first) && steers(last));
        }
        for control in ['\0', '\t', '\u{1b}', '\u{7f}', '\u{80}', '\u{9b}', '\u{9f}'] {
            assert!(steers(control), "{control:?}");
        }
    }
}
