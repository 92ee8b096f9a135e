//! `shmpipe top` in a pseudo-terminal, its screen captured.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use shmpipe::Backend;

use support::{Helper, label, open};

/// After this long a screen that has not come will not come.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn helper() {
    support::play_part();
}

/// The command in a terminal of its own.
struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<vt100::Parser>>,
    child: Child,
}

impl Terminal {
    fn start(rows: u16, columns: u16, arguments: &[&str]) -> Self {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(&size, None).unwrap();
        let end = || -> Stdio { pair.slave.try_clone().unwrap().into() };
        let child = Command::new(env!("CARGO_BIN_EXE_shmpipe"))
            .args(arguments)
            .env("TERM", "xterm-256color")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let (shown, reader) = (Arc::clone(&screen), File::from(pair.master));
        let keyboard = reader.try_clone().unwrap();
        // Ends with the last holder of the other side, by an error (pty(7)).
        std::thread::spawn(move || {
            let (mut reader, mut bytes) = (reader, [0; 4096]);
            while let Ok(read @ 1..) = reader.read(&mut bytes) {
                shown.lock().unwrap().process(&bytes[..read]);
            }
        });
        Self {
            keyboard,
            screen,
            child,
        }
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// The screen, once it is as wanted.
    #[track_caller]
    fn until(&self, wanted: impl Fn(&str) -> bool) -> String {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if wanted(&text) {
                return text;
            }
            assert!(Instant::now() < give_up, "the screen stays:\n{text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(mut self) {
        let give_up = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(
                Instant::now() < give_up,
                "it does not end:\n{}",
                self.text()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        // The last of it may still be on its way to the screen.
        let is_given_back = || {
            let screen = self.screen.lock().unwrap();
            !screen.screen().alternate_screen() && !screen.screen().hide_cursor()
        };
        while !is_given_back() {
            assert!(Instant::now() < give_up, "the screen is not given back");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines that begin with `label` and have figures in them.
fn row<'a>(screen: &'a str, label: &str) -> Option<&'a str> {
    let is_row = |line: &&str| line.starts_with(label) && !line.contains("bottleneck");
    screen.lines().find(is_row)
}

/// How long each side rests after a message, and the side that is named for it.
const SLOW_RECEIVER: (Duration, Duration, &str) =
    (Duration::ZERO, Duration::from_millis(5), "receiver");
const SLOW_SENDER: (Duration, Duration, &str) =
    (Duration::from_millis(5), Duration::ZERO, "sender");

/// All columns, in their order.
const ALL: &str = "LABEL FROM TO MSG/s B/s FILLED NOW BLOCK WAIT SLOW";

/// The screen has the columns `heads` and no others, and no figure of theirs is cut.
fn a_screen_of(
    rows: u16,
    columns: u16,
    (sender, receiver, slow): (Duration, Duration, &str),
    heads: &str,
) {
    // Short, since a label has eight columns in the narrow form.
    let first = &slow[..1];
    let label = format!("{first}{}-{columns}", std::process::id() % 1000);
    let (rx, tx) = open(Backend::SharedMemory, &label);
    let _receiver = Helper::receiver(rx, receiver);
    let _sender = Helper::sender(tx, sender);
    let arguments = ["top", "--interval", "0.3", "--filter", &label];
    let mut terminal = Terminal::start(rows, columns, &arguments);
    let screen = terminal.until(|screen| {
        let is_full = |row: &str| row.contains('█') == (slow == "receiver");
        let has_bars = heads.contains("FILLED");
        screen.contains(&format!("the {slow} is the bottleneck"))
            && row(screen, &label)
                .is_some_and(|row| row.trim_end().ends_with(slow) && (is_full(row) || !has_bars))
    });
    let words: Vec<_> = screen.split_whitespace().collect();
    assert!(words.join(" ").contains(" % of the time"), "{screen}");
    let lines: Vec<_> = screen.lines().collect();
    assert_eq!(lines.len(), usize::from(rows), "{screen}");
    assert!(
        lines
            .iter()
            .all(|line| line.chars().count() <= usize::from(columns)),
        "{screen}"
    );
    assert!(lines[0].starts_with("shmpipe  1 "), "{screen}");
    let shown: Vec<_> = lines[1].split_whitespace().collect();
    assert_eq!(shown.join(" "), heads, "{screen}");
    check_figures(&shown, lines[1], row(&screen, &label).expect("our row"));
    assert!(lines[usize::from(rows) - 1].contains("q quit"), "{screen}");
    terminal.press("?");
    terminal.until(|screen| screen.contains("which side is the") && screen.contains("next order"));
    terminal.press("?q");
    terminal.end();
}

/// Figures stand under the right end of their heads, and are such as one message each 5 ms gives.
#[track_caller]
fn check_figures(heads: &[&str], head_line: &str, row: &str) {
    let cells: Vec<char> = row.chars().collect();
    for (head, (least, most)) in [
        ("MSG/s", (10.0, 1000.0)),
        ("NOW", (0.0, 100.0)),
        ("BLOCK", (0.0, 100.0)),
        ("WAIT", (0.0, 100.0)),
    ] {
        if !heads.contains(&head) {
            continue;
        }
        let end = head_line.find(head).unwrap() + head.len();
        let before: String = cells[..end].iter().collect();
        let cell = before.split_whitespace().last().unwrap();
        let number: f64 = cell.trim_end_matches('%').parse().unwrap();
        assert!((least..=most).contains(&number), "{head} {cell} in {row}");
    }
}

#[test]
fn a_terminal_of_80_by_24_has_all_figures_and_the_verdict() {
    a_screen_of(24, 80, SLOW_RECEIVER, ALL);
    a_screen_of(24, 80, SLOW_SENDER, ALL);
}

#[test]
fn a_terminal_of_140_by_40_has_all_figures_and_the_verdict() {
    a_screen_of(40, 140, SLOW_RECEIVER, ALL);
    a_screen_of(40, 140, SLOW_SENDER, ALL);
}

#[test]
fn a_narrow_terminal_leaves_columns_out_and_cuts_no_figure() {
    for (columns, heads) in [
        (79, "LABEL FROM TO MSG/s B/s NOW BLOCK WAIT SLOW"),
        (60, "LABEL FROM MSG/s B/s NOW BLOCK WAIT SLOW"),
        (40, "LABEL MSG/s NOW BLOCK WAIT SLOW"),
    ] {
        a_screen_of(24, columns, SLOW_RECEIVER, heads);
        a_screen_of(24, columns, SLOW_SENDER, heads);
    }
}

#[test]
fn a_very_narrow_terminal_still_has_label_rate_and_slow_side() {
    let label = format!("t{}", std::process::id() % 1000);
    let _ends = open(Backend::SharedMemory, &label);
    let arguments = ["top", "--interval", "0.1", "--filter", &label];
    for (columns, heads) in [(24, "LABEL MSG/s SLOW"), (15, "LABEL MSG/s"), (8, "LABEL")] {
        let mut terminal = Terminal::start(10, columns, &arguments);
        let screen = terminal.until(|screen| screen.contains(&label));
        let line = screen.lines().nth(1).unwrap();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>().join(" "), heads);
        terminal.press("q");
        terminal.end();
    }
}

#[test]
fn keys_sort_filter_and_quit() {
    let (one, other) = (label("one"), label("two"));
    let _ends = (
        open(Backend::SharedMemory, &one),
        open(Backend::Kernel, &other),
    );
    let mut terminal = Terminal::start(40, 140, &["top", "--interval", "0.1", "--sort", "label"]);
    terminal.until(|screen| screen.contains(&one) && screen.contains(&other));
    terminal.press("s");
    terminal.until(|screen| screen.contains("by messages/s ↓"));
    terminal.press("r");
    terminal.until(|screen| screen.contains("by messages/s ↑"));
    terminal.press("/two-");
    terminal.until(|screen| screen.contains("filter: two-") && !screen.contains(&one));
    terminal.press("\r");
    terminal.until(|screen| screen.contains("q quit") && screen.contains(&other));
    // Escape would be the beginning of a longer key, so it comes alone.
    terminal.press("\x1b");
    terminal.until(|screen| screen.contains(&one) && screen.contains(&other));
    terminal.press("p");
    terminal.until(|screen| screen.contains("held"));
    terminal.press("\x03");
    terminal.end();
}

#[test]
fn a_filter_that_hides_all_is_named() {
    let label = label("there");
    let _ends = open(Backend::SharedMemory, &label);
    let mut terminal =
        Terminal::start(24, 140, &["top", "--interval", "0.1", "--filter", "nosuch"]);
    terminal.until(|screen| screen.contains("no pipe matches nosuch"));
    terminal.press("\x1b");
    terminal.until(|screen| screen.contains(&label));
    terminal.press("q");
    terminal.end();
}

#[test]
fn a_tiny_terminal_does_no_harm() {
    let label = label("tiny");
    let _ends = open(Backend::SharedMemory, &label);
    let mut terminal = Terminal::start(3, 10, &["top", "--interval", "0.1"]);
    terminal.until(|screen| screen.contains("shmpipe"));
    terminal.press("?jkq");
    terminal.end();
}
