//! Which columns of `top` a terminal has room for: a column is there whole or not at all, and no figure is cut.

use ratatui::layout::Alignment;
use ratatui::text::Line;
use ratatui::widgets::Cell;

/// Width from which on the holders' ids are shown too.
const WIDE: u16 = 100;

/// Width of a label at least, and with it of the narrowest table.
const LABEL: u16 = 8;

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Label,
    From,
    To,
    Messages,
    Bytes,
    Filled,
    Now,
    Block,
    Wait,
    Slow,
}

impl Column {
    /// In the order in which they are shown.
    const ALL: [Self; 10] = [
        Self::Label,
        Self::From,
        Self::To,
        Self::Messages,
        Self::Bytes,
        Self::Filled,
        Self::Now,
        Self::Block,
        Self::Wait,
        Self::Slow,
    ];

    /// In the order in which they are left out; the label never is.
    const DISPENSABLE: [Self; 9] = [
        Self::Filled,
        Self::To,
        Self::From,
        Self::Bytes,
        Self::Now,
        Self::Wait,
        Self::Block,
        Self::Slow,
        Self::Messages,
    ];

    pub(super) fn head(self) -> &'static str {
        match self {
            Self::Label => "LABEL",
            Self::From => "FROM",
            Self::To => "TO",
            Self::Messages => "MSG/s",
            Self::Bytes => "B/s",
            Self::Filled => "FILLED",
            Self::Now => "NOW",
            Self::Block => "BLOCK",
            Self::Wait => "WAIT",
            Self::Slow => "SLOW",
        }
    }

    /// Width of the longest that can be in it; the label's at least.
    fn width(self, area: u16) -> u16 {
        match self {
            Self::Label => LABEL,
            Self::From | Self::To => width_of_ends(area),
            Self::Filled => width_of_bars(area),
            Self::Messages | Self::Bytes => 6,
            Self::Block => 5,
            Self::Now | Self::Wait => 4,
            Self::Slow => 8,
        }
    }

    /// A cell of it: figures stand at the right.
    pub(super) fn cell(self, text: &str) -> Cell<'static> {
        let line = Line::from(text.to_owned());
        Cell::from(match self {
            Self::Messages | Self::Bytes | Self::Now | Self::Block | Self::Wait => {
                line.alignment(Alignment::Right)
            }
            _ => line,
        })
    }
}

/// Width of FROM and TO in a terminal of `area` columns.
pub(super) fn width_of_ends(area: u16) -> u16 {
    if area >= WIDE { 20 } else { 11 }
}

/// Width of FILLED, which is as many looks.
pub(super) fn width_of_bars(area: u16) -> u16 {
    if area >= WIDE { 16 } else { 8 }
}

/// What `area` columns have room for, with the widths; the label has what is left.
pub(super) fn columns(area: u16) -> Vec<(Column, u16)> {
    let mut columns = Column::ALL
        .map(|column| (column, column.width(area)))
        .to_vec();
    // One column is empty between two.
    let needed = |columns: &[(Column, u16)]| {
        let widths = columns.iter().map(|(_, width)| width + 1);
        widths.sum::<u16>() - 1
    };
    for dispensable in Column::DISPENSABLE {
        if needed(&columns) <= area {
            break;
        }
        columns.retain(|&(column, _)| column != dispensable);
    }
    let left = area.saturating_sub(needed(&columns));
    columns[0].1 += left;
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fill_every_width_and_none_is_cut() {
        for area in 8..300 {
            let columns = columns(area);
            let widths = columns.iter().map(|(_, width)| width + 1).sum::<u16>() - 1;
            assert_eq!(widths, area);
            for (column, width) in columns {
                assert!(width >= column.width(area), "{column:?} at {area}");
                assert!(usize::from(width) >= column.head().len());
            }
        }
    }

    #[test]
    fn eighty_columns_are_enough_for_all() {
        assert_eq!(columns(80).len(), Column::ALL.len());
        assert_eq!(columns(79).len(), Column::ALL.len() - 1);
    }

    #[test]
    fn less_than_a_label_is_a_label() {
        assert_eq!(columns(3), [(Column::Label, LABEL)]);
    }
}
