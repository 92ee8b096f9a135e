//! `shmpipe top`: the pipes live in a terminal, or one plain snapshot anywhere else.
//!
//! What is shown is decided in [`board`], how in [`view`], in which columns in [`columns`].

mod board;
mod columns;
mod view;

use std::io::{self, IsTerminal};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use shmpipe::observe::Survey;

use crate::outcome::{Failure, print};
use board::{Board, Order};

/// Options of `shmpipe top`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Time between two looks
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = crate::parse_interval)]
    interval: Duration,

    /// Order of the rows
    #[arg(long, value_enum, default_value_t = Order::Messages)]
    sort: Order,

    /// Show only pipes whose label or holders contain this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,

    /// Print one plain snapshot, even in a terminal
    #[arg(long)]
    plain: bool,
}

/// Runs until the user quits, or prints one snapshot.
///
/// # Errors
///
/// `/proc` cannot be read, or the terminal refuses.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let mut board = Board::new(options.sort, options.filter.clone());
    board.take_in(Survey::take()?);
    let in_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    if options.plain || !in_terminal {
        sleep(options.interval);
        board.take_in(Survey::take()?);
        return print(&view::plain(&board));
    }
    let mut terminal = ratatui::try_init()?;
    let outcome = live(&mut terminal, &mut board, options.interval);
    ratatui::restore();
    Ok(outcome?)
}

fn live(terminal: &mut DefaultTerminal, board: &mut Board, interval: Duration) -> io::Result<()> {
    let mut due = Instant::now() + interval;
    loop {
        terminal.draw(|frame| view::draw(frame, board))?;
        let left = due.saturating_duration_since(Instant::now());
        if event::poll(left)? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release && !press(board, key) => {
                    return Ok(());
                }
                _ => {}
            }
        }
        if Instant::now() >= due {
            due = Instant::now() + interval;
            if !board.is_held {
                board.take_in(Survey::take()?);
            }
        }
    }
}

/// Does what a key stands for; false to quit.
fn press(board: &mut Board, key: KeyEvent) -> bool {
    let with_control = key.modifiers.contains(KeyModifiers::CONTROL);
    if with_control && matches!(key.code, KeyCode::Char('c' | 'd')) {
        return false;
    }
    if board.is_typing {
        match key.code {
            KeyCode::Enter => board.is_typing = false,
            KeyCode::Esc => {
                board.is_typing = false;
                board.filter.clear();
            }
            KeyCode::Backspace => drop(board.filter.pop()),
            KeyCode::Char(char) => board.filter.push(char),
            _ => {}
        }
        return true;
    }
    match key.code {
        KeyCode::Char('q') => return false,
        KeyCode::Esc if board.shows_help => board.shows_help = false,
        KeyCode::Esc if !board.filter.is_empty() => board.filter.clear(),
        KeyCode::Esc => return false,
        KeyCode::Char('?' | 'h') => board.shows_help = !board.shows_help,
        KeyCode::Char('s') => board.order = board.order.next(),
        KeyCode::Char('r') => board.is_reversed = !board.is_reversed,
        KeyCode::Char('/') => {
            board.is_typing = true;
            board.filter.clear();
        }
        KeyCode::Char('p' | ' ') => board.is_held = !board.is_held,
        KeyCode::Char('j') | KeyCode::Down => board.move_by(1),
        KeyCode::Char('k') | KeyCode::Up => board.move_by(-1),
        KeyCode::Home => board.selected = 0,
        KeyCode::End => board.selected = usize::MAX,
        _ => {}
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    #[test]
    fn letters_typed_into_the_filter_are_no_commands() {
        let mut board = Board::new(Order::Messages, String::new());
        for code in "/quiet".chars().map(KeyCode::Char) {
            assert!(press(&mut board, key(code)));
        }
        assert_eq!(board.filter, "quiet");
        assert!(press(&mut board, key(KeyCode::Backspace)));
        assert!(press(&mut board, key(KeyCode::Enter)));
        assert_eq!((board.filter.as_str(), board.is_typing), ("quie", false));
        assert!(
            press(&mut board, key(KeyCode::Esc)),
            "it clears the filter first"
        );
        assert!(board.filter.is_empty());
        assert!(!press(&mut board, key(KeyCode::Char('q'))));
    }

    #[test]
    fn control_c_quits_wherever_one_is() {
        let mut board = Board::new(Order::Messages, String::new());
        press(&mut board, key(KeyCode::Char('/')));
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(!press(&mut board, control_c));
    }

    #[test]
    fn the_order_goes_round() {
        let mut board = Board::new(Order::Messages, String::new());
        let mut seen = Vec::new();
        while !seen.contains(&board.order) {
            seen.push(board.order);
            press(&mut board, key(KeyCode::Char('s')));
        }
        assert_eq!((seen.len(), board.order), (6, Order::Messages));
    }
}
