//! The terminal as a screen, and its keys. It is given back however this ends.

use std::io;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, read};
use tokio::sync::mpsc;

use super::board::{Board, Key};
use super::screen::{Palette, draw};

/// Nobody types faster.
const QUEUED_MAX: usize = 16;

/// The screen. What was on the terminal before is there again when this is dropped, and
/// before a panic says what it is.
pub(super) struct Screen(DefaultTerminal);

/// What the person at the terminal did.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    /// The terminal is gone.
    Gone,
    Key(Key),
    /// The terminal has another size.
    Resize,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn open() -> io::Result<Self> {
        ratatui::try_init().map(Self).inspect_err(|_| {
            // What was begun must not stay.
            drop(ratatui::try_restore());
        })
    }

    pub(super) fn show(&mut self, board: &Board, palette: Palette) -> io::Result<()> {
        self.0.draw(|frame| draw(frame, board, palette)).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        drop(ratatui::try_restore());
    }
}

/// The keys, from now on. Reading them cannot be ended; the thread ends with the process.
pub(super) fn keys() -> mpsc::Receiver<Input> {
    let (sender, receiver) = mpsc::channel(QUEUED_MAX);
    std::thread::spawn(move || {
        loop {
            let input = match read() {
                Ok(Event::Key(key)) if key.kind == KeyEventKind::Press => Input::Key(meaning(key)),
                Ok(Event::Resize(..)) => Input::Resize,
                Ok(_) => continue,
                Err(_) => Input::Gone,
            };
            if sender.blocking_send(input).is_err() || matches!(input, Input::Gone) {
                return;
            }
        }
    });
    receiver
}

fn meaning(key: KeyEvent) -> Key {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if is_control => Key::Quit,
        KeyCode::Char(_) if is_control => Key::Other,
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        KeyCode::Char('p') => Key::Hold,
        KeyCode::Char('r') => Key::Rollback,
        KeyCode::Char('y') => Key::Yes,
        KeyCode::Down | KeyCode::Right | KeyCode::Tab => Key::Next,
        KeyCode::BackTab | KeyCode::Left | KeyCode::Up => Key::Previous,
        _ => Key::Other,
    }
}
