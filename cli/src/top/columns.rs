//! Which columns of `top` a terminal has room for: a column is there whole or not at all, and no figure is cut.

use ratatui::layout::Alignment;
use ratatui::text::Line;
use ratatui::widgets::Cell;

/// Width from which on FILLED is as long as it gets.
const WIDE: u16 = 100;

/// Width of a label at least, and with it of the narrowest table.
const LABEL: u16 = 8;

/// Width of FROM and TO at least.
const ENDS: u16 = 11;

/// Widths at which no name would be cut.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) label: u16,
    pub(super) from: u16,
    pub(super) to: u16,
}

impl Wanted {
    fn of(self, column: Column) -> u16 {
        match column {
            Column::Label => self.label,
            Column::From => self.from,
            Column::To => self.to,
            _ => 0,
        }
    }
}

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
            Self::From | Self::To => ENDS,
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

/// Width of FILLED, which is as many looks.
pub(super) fn width_of_bars(area: u16) -> u16 {
    if area >= WIDE { 16 } else { 8 }
}

/// What `area` columns have room for, with the widths. What is left goes to the names that would be cut, evenly, and then
/// to the label.
pub(super) fn columns(area: u16, wanted: Wanted) -> Vec<(Column, u16)> {
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
    let mut left = area.saturating_sub(needed(&columns));
    while left > 0 {
        let cut = columns
            .iter_mut()
            .filter(|(column, width)| *width < wanted.of(*column))
            .min_by_key(|(_, width)| *width);
        let Some((_, width)) = cut else { break };
        *width += 1;
        left -= 1;
    }
    columns[0].1 += left;
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fill_every_width_and_none_is_cut() {
        let wanted = Wanted {
            label: 30,
            from: 14,
            to: 60,
        };
        for area in 8..300 {
            let columns = columns(area, wanted);
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
        let count = |area| columns(area, Wanted::default()).len();
        assert_eq!(count(80), Column::ALL.len());
        assert_eq!(count(79), Column::ALL.len() - 1);
    }

    #[test]
    fn less_than_a_label_is_a_label() {
        assert_eq!(columns(3, Wanted::default()), [(Column::Label, LABEL)]);
    }

    #[test]
    fn names_that_would_be_cut_get_the_width() {
        let wanted = Wanted {
            label: 10,
            from: 13,
            to: 25,
        };
        let widths: Vec<_> = columns(100, wanted)
            .iter()
            .map(|(_, width)| *width)
            .collect();
        assert_eq!(widths[..3], [10, 13, 19], "as much as there is");
        let widths: Vec<_> = columns(120, wanted)
            .iter()
            .map(|(_, width)| *width)
            .collect();
        assert_eq!(widths[1..3], [13, 25], "and no more than is needed");
    }
}
