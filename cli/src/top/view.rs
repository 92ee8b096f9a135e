//! How `top` looks: the table, one line of verdict for the chosen row, and the plain form of both.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row as TableRow, Table, TableState};
use shmpipe::observe::State;

use super::board::{Board, Row, fullness_of};
use super::columns::{Column, columns, width_of_bars, width_of_ends};
use crate::look::names;
use crate::look::rates::Bottleneck;
use crate::look::units::{per_cent, rate};
use crate::ls::{not_seen, table};

/// Eighths of a character's height.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Width of a column below which a process is its name alone.
const NARROW: usize = 16;

const HELP: &str = "\
q Esc      quit            /  filter by label or holder
s          next order      r  reverse the order
↑ ↓ j k    choose a row    p  hold the picture
?          this help

BLOCK  share of the time that senders were blocked
WAIT   share of the time that receivers waited
SLOW   which side is the bottleneck";

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame<'_>, board: &Board) {
    let rows = board.rows();
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(2),
        Constraint::Length(1),
        Constraint::Length(1),
    ]);
    let [head, body, verdict, foot] = areas.areas(frame.area());
    // A figure that is cut would be a wrong one, and an ellipsis says that it is cut.
    let width = usize::from(frame.area().width);
    let line = |text: &str| Paragraph::new(names::clipped(text, width));
    frame.render_widget(line(&heading(board, rows.len())), head);
    draw_table(frame, board, &rows, body);
    let chosen = rows.get(board.selected.min(rows.len().saturating_sub(1)));
    let text = chosen.map_or("no pipes".into(), sentence);
    frame.render_widget(line(&text).style(Modifier::BOLD), verdict);
    frame.render_widget(line(&footing(board)), foot);
    if board.shows_help {
        draw_help(frame);
    }
}

fn heading(board: &Board, shown: usize) -> String {
    let all = board.survey().map_or(0, |survey| survey.pipes.len());
    let order = board.order.name();
    let arrow = if board.is_reversed { "↑" } else { "↓" };
    let held = if board.is_held { "  held" } else { "" };
    let hidden = match board.survey().and_then(not_seen) {
        Some(line) => format!("  {line}"),
        None => String::new(),
    };
    let count = if (shown, all) == (1, 1) {
        "1 pipe".to_owned()
    } else if shown == all {
        format!("{all} pipes")
    } else {
        format!("{shown} of {all} pipes")
    };
    format!("shmpipe  {count}  by {order} {arrow}{held}{hidden}")
}

fn footing(board: &Board) -> String {
    let typed = names::printable(&board.filter);
    if board.is_typing {
        return format!("filter: {typed}▏");
    }
    let keys = "q quit  s sort  r reverse  / filter  p hold  ? help";
    if board.filter.is_empty() {
        keys.to_owned()
    } else {
        format!("{keys}  filter: {typed}")
    }
}

fn draw_table(frame: &mut Frame<'_>, board: &Board, rows: &[Row<'_>], area: Rect) {
    let columns = columns(area.width);
    let ends = width_of_ends(area.width);
    let bars = width_of_bars(area.width);
    let head = columns.iter().map(|(column, _)| column.cell(column.head()));
    let lines = rows.iter().map(|row| {
        let [title, from, to, messages, bytes, now, block, wait, slow] = figures(row, ends.into());
        let cell = |&(column, width): &(Column, u16)| match column {
            Column::Label => column.cell(&names::clipped(&title, width.into())),
            Column::From => column.cell(&from),
            Column::To => column.cell(&to),
            Column::Messages => column.cell(&messages),
            Column::Bytes => column.cell(&bytes),
            Column::Filled => column.cell(&sparkline(&row.history, bars.into())),
            Column::Now => column.cell(&now),
            Column::Block => column.cell(&block),
            Column::Wait => column.cell(&wait),
            Column::Slow => Cell::from(Span::styled(slow.clone(), colour(row))),
        };
        TableRow::new(columns.iter().map(cell))
    });
    let widths = columns.iter().map(|&(_, width)| Constraint::Length(width));
    let table = Table::new(lines, widths)
        .header(TableRow::new(head).style(Style::new().add_modifier(Modifier::REVERSED)))
        .row_highlight_style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED));
    let mut state = TableState::new();
    if !rows.is_empty() {
        state.select(Some(board.selected.min(rows.len() - 1)));
    }
    frame.render_stateful_widget(table, area, &mut state);
}

fn colour(row: &Row<'_>) -> Style {
    match row.rates.map(|rates| rates.bottleneck()) {
        Some(Bottleneck::Receiver) => Style::new().fg(Color::Red),
        Some(Bottleneck::Sender) => Style::new().fg(Color::Yellow),
        _ => Style::new(),
    }
}

/// Title, holders, rates, fill and shares; the holders no wider than `width`.
fn figures(row: &Row<'_>, width: usize) -> [String; 9] {
    let pipe = row.pipe;
    let side = |holders| {
        let text = if width < NARROW {
            names::holders_by_name(holders)
        } else {
            names::holders(holders)
        };
        names::clipped(&text, width)
    };
    let (from, to) = (side(&pipe.senders), side(&pipe.receivers));
    let now = fullness_of(pipe).map_or("-".into(), per_cent);
    let unknown = || "-".to_owned();
    let [messages, bytes, block, wait, slow] = match row.rates {
        Some(rates) => [
            rate(rates.messages),
            rate(rates.bytes),
            per_cent(rates.blocked),
            per_cent(rates.waiting),
            rates.bottleneck().to_string(),
        ],
        None => [unknown(), unknown(), unknown(), unknown(), unknown()],
    };
    // Short words, since the sentence below has the long ones.
    let slow = match pipe.state() {
        State::SenderGone => "ended".to_owned(),
        State::ReceiverGone => "broken".to_owned(),
        State::Unreadable => "unread".to_owned(),
        _ => slow,
    };
    [
        names::short_title(pipe),
        from,
        to,
        messages,
        bytes,
        now,
        block,
        wait,
        slow,
    ]
}

/// The verdict on one row.
fn sentence(row: &Row<'_>) -> String {
    let title = names::short_title(row.pipe);
    match (&row.pipe.look, row.rates) {
        (Err(reason), _) => format!("{title}: {}", names::printable(&reason.to_string())),
        (Ok(_), Some(rates)) => match row.pipe.state() {
            state @ (State::SenderGone | State::ReceiverGone) => format!("{title}: {state}"),
            _ => format!("{title}: {}", rates.verdict()),
        },
        (Ok(_), None) => format!("{title}: {}", row.pipe.state()),
    }
}

/// The latest values from 0 to 1 as bars, the last one at the right.
fn sparkline(history: &[f64], width: usize) -> String {
    let latest = &history[history.len().saturating_sub(width)..];
    let padding = std::iter::repeat_n(' ', width - latest.len());
    let bar = |&share: &f64| match (share * BARS.len() as f64).ceil() {
        height if height < 1.0 => ' ',
        height if height >= BARS.len() as f64 => BARS[BARS.len() - 1],
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and the number of bars"
        )]
        height => BARS[height as usize - 1],
    };
    padding.chain(latest.iter().map(bar)).collect()
}

fn draw_help(frame: &mut Frame<'_>) {
    let area = frame.area();
    let wanted = 2 + HELP.lines().count() as u16;
    let height = wanted.min(area.height);
    let width = 62.min(area.width);
    let place = Rect {
        x: (area.width - width) / 2,
        y: (area.height - height) / 2,
        width,
        height,
    };
    frame.render_widget(Clear, place);
    let block = Block::bordered().title(" shmpipe top ");
    frame.render_widget(Paragraph::new(HELP).block(block), place);
}

/// The same without a terminal: the table, and a verdict for each row.
pub(crate) fn plain(board: &Board) -> String {
    let rows = board.rows();
    if rows.is_empty() {
        return "no pipes\n".into();
    }
    let heads = [
        "LABEL", "FROM", "TO", "MSG/s", "B/s", "NOW", "BLOCK", "WAIT", "SLOW",
    ];
    let mut out = table(
        &heads,
        3..8,
        rows.iter().map(|row| figures(row, 40).to_vec()),
    );
    out.push('\n');
    for row in &rows {
        out.push_str(&sentence(row));
        out.push('\n');
    }
    if let Some(line) = board.survey().and_then(not_seen) {
        out.push_str(&line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sparkline_shows_the_latest_at_the_right() {
        assert_eq!(sparkline(&[0.0, 0.01, 0.5, 1.0], 6), "   ▁▄█");
        assert_eq!(sparkline(&[1.0, 0.0, 1.0], 2), " █");
        assert_eq!(sparkline(&[], 2), "  ");
    }
}
