//! How `top` looks: the table, one line of verdict for the chosen row, and the plain form of both.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row as TableRow, Table, TableState, Wrap};
use shmpipe::observe::{Holders, State};

use super::board::{Board, Row, fullness_of};
use super::columns::{Column, Wanted, columns, width_of_bars};
use crate::look::names;
use crate::look::rates::Bottleneck;
use crate::look::units::{per_cent, rate};
use crate::ls::{not_seen, table};

/// Eighths of a character's height.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// In lines that a narrow terminal has room for.
const HELP: &str = "\
q Esc    quit
/        filter by label or holder
s        next order
r        reverse the order
↑ ↓ j k  choose a row
p        hold the picture
?        this help

BLOCK  share of the time that
       senders were blocked
WAIT   share of the time that
       receivers waited
SLOW   which side is the bottleneck";

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame<'_>, board: &Board) {
    let rows = board.rows();
    let chosen = rows.get(board.selected.min(rows.len().saturating_sub(1)));
    let text = chosen.map_or_else(|| nothing(board), sentence);
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(2),
        Constraint::Length(lines_of(&text, frame.area().width)),
        Constraint::Length(1),
    ]);
    let [head, body, verdict, foot] = areas.areas(frame.area());
    // A figure that is cut would be a wrong one, and an ellipsis says that it is cut.
    let width = usize::from(frame.area().width);
    let line = |text: &str| Paragraph::new(names::clipped(text, width));
    frame.render_widget(line(&heading(board, rows.len())), head);
    draw_table(frame, board, &rows, body);
    let sentence = Paragraph::new(text).wrap(Wrap { trim: true });
    frame.render_widget(sentence.style(Modifier::BOLD), verdict);
    frame.render_widget(line(&footing(board)), foot);
    if board.shows_help {
        draw_help(frame);
    }
}

/// Why there is no row.
fn nothing(board: &Board) -> String {
    if board
        .survey()
        .is_some_and(|survey| !survey.pipes.is_empty())
    {
        let filter = names::printable(&board.filter);
        format!("no pipe matches {filter}")
    } else {
        "no pipes".into()
    }
}

/// Lines that `text` takes at most when it is wrapped at words of up to half of `width`.
fn lines_of(text: &str, width: u16) -> u16 {
    let (mut lines, mut column) = (1, 0);
    for word in text.split(' ').map(|word| word.chars().count()) {
        let width = usize::from(width.max(1));
        if column > 0 && column + 1 + word > width {
            lines += 1;
            column = 0;
        }
        column += usize::from(column > 0) + word;
        // A word that is longer than a line goes on in the next ones.
        lines += column.saturating_sub(1) / width;
        column = if column > width {
            (column - 1) % width + 1
        } else {
            column
        };
    }
    u16::try_from(lines).unwrap_or(u16::MAX)
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
    let rows: Vec<_> = rows.iter().map(|row| (row, figures(row))).collect();
    let wanted = |text: fn(&Figures) -> &str| {
        let longest = rows
            .iter()
            .map(|(_, figures)| text(figures).chars().count())
            .max();
        u16::try_from(longest.unwrap_or(0)).unwrap_or(u16::MAX)
    };
    let wanted = Wanted {
        label: wanted(|figures| &figures.title),
        from: wanted(|figures| &figures.from),
        to: wanted(|figures| &figures.to),
    };
    let columns = columns(area.width, wanted);
    let bars = width_of_bars(area.width);
    let head = columns.iter().map(|(column, _)| column.cell(column.head()));
    let lines = rows.iter().map(|(row, figures)| {
        let cell = |&(column, width): &(Column, u16)| match column {
            Column::Label => column.cell(&names::clipped(&figures.title, width.into())),
            Column::From => column.cell(&ends(&row.pipe.senders, width.into())),
            Column::To => column.cell(&ends(&row.pipe.receivers, width.into())),
            Column::Messages => column.cell(&figures.messages),
            Column::Bytes => column.cell(&figures.bytes),
            Column::Filled => column.cell(&sparkline(&row.history, bars.into())),
            Column::Now => column.cell(&figures.now),
            Column::Block => column.cell(&figures.block),
            Column::Wait => column.cell(&figures.wait),
            Column::Slow => Cell::from(Span::styled(figures.slow.clone(), colour(row))),
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

/// What the columns say of a pipe.
struct Figures {
    title: String,
    from: String,
    to: String,
    messages: String,
    bytes: String,
    now: String,
    block: String,
    wait: String,
    slow: String,
}

impl Figures {
    fn into_cells(self) -> Vec<String> {
        vec![
            self.title,
            self.from,
            self.to,
            self.messages,
            self.bytes,
            self.now,
            self.block,
            self.wait,
            self.slow,
        ]
    }
}

fn figures(row: &Row<'_>) -> Figures {
    let pipe = row.pipe;
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
    // In the words of FROM and TO, for which there may be no room.
    let slow = match pipe.state() {
        State::EndOfFile | State::BrokenPipe => "closed".to_owned(),
        State::Unreadable => "?".to_owned(),
        _ => slow,
    };
    Figures {
        title: names::short_title(pipe),
        from: names::holders(&pipe.senders),
        to: names::holders(&pipe.receivers),
        messages,
        bytes,
        now: fullness_of(pipe).map_or("-".into(), per_cent),
        block,
        wait,
        slow,
    }
}

/// One side's holders in `width` columns: without their ids where these have no room.
fn ends(holders: &Holders, width: usize) -> String {
    let text = names::holders(holders);
    if text.chars().count() <= width {
        return text;
    }
    names::clipped(&names::holders_by_name(holders), width)
}

/// The verdict on one row.
fn sentence(row: &Row<'_>) -> String {
    let title = names::short_title(row.pipe);
    match (&row.pipe.look, row.rates) {
        (Err(reason), _) => format!("{title}: {}", names::printable(&reason.to_string())),
        (Ok(_), Some(rates)) => match row.pipe.state() {
            state @ (State::EndOfFile | State::BrokenPipe) => format!("{title}: {state}"),
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
    let width = 40.min(area.width);
    let place = Rect {
        x: (area.width - width) / 2,
        y: (area.height - height) / 2,
        width,
        height,
    };
    frame.render_widget(Clear, place);
    let block = Block::bordered().title(" shmpipe top ");
    let help = Paragraph::new(HELP).wrap(Wrap { trim: false });
    frame.render_widget(help.block(block), place);
}

/// The same without a terminal: the table, and a verdict for each row.
pub(crate) fn plain(board: &Board) -> String {
    let rows = board.rows();
    if rows.is_empty() {
        return nothing(board) + "\n";
    }
    let heads = [
        "LABEL", "FROM", "TO", "MSG/s", "B/s", "NOW", "BLOCK", "WAIT", "SLOW",
    ];
    let mut out = table(
        &heads,
        3..8,
        rows.iter().map(|row| figures(row).into_cells()),
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
    fn a_sentence_has_all_the_lines_that_it_takes() {
        assert_eq!(lines_of("no pipes", 80), 1);
        assert_eq!(lines_of("one two three", 7), 2);
        assert_eq!(lines_of("one two three", 5), 3);
        assert_eq!(lines_of(&"x".repeat(25), 10), 3);
        assert_eq!(lines_of("", 10), 1);
    }

    #[test]
    fn the_sparkline_shows_the_latest_at_the_right() {
        assert_eq!(sparkline(&[0.0, 0.01, 0.5, 1.0], 6), "   ▁▄█");
        assert_eq!(sparkline(&[1.0, 0.0, 1.0], 2), " █");
        assert_eq!(sparkline(&[], 2), "  ");
    }
}
