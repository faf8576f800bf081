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
        // A second time would put the cursor back, and what comes next over what a panic said.
        if !std::thread::panicking() {
            // A terminal that is gone needs nothing.
            drop(ratatui::try_restore());
        }
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Set in the process that panics.
    const PANICS: &str = "HALDANE_TEST_PANICS";

    /// Run in a terminal of tmux, this is a process that panics while it has the screen; run
    /// otherwise it makes such a terminal, and looks at what is left.
    #[test]
    fn the_terminal_is_given_back_before_a_panic_says_what_it_is() {
        if std::env::var_os(PANICS).is_some() {
            let _screen = Screen::open().expect("there is a terminal");
            panic!("as the test wants it");
        }
        let socket = std::env::temp_dir().join(format!("haldane-panic-{}", std::process::id()));
        let tmux = |args: &[&str]| {
            let output = Command::new("timeout")
                .args(["30", "tmux", "-u", "-f", "/dev/null", "-S"])
                .arg(&socket)
                .args(args)
                .env_remove("TMUX")
                .output()
                .expect("tmux runs");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let program = std::env::current_exe().expect("is known");
        let script = format!(
            "RUST_BACKTRACE=1 {PANICS}=1 {} --exact --nocapture {}::the_terminal_is_given_back_before_a_panic_says_what_it_is; \
             echo \"ended with $?\"; stty -a | grep -o -E -- '-?icanon'; \
             timeout 30 tmux -S {} wait-for -S over; exec cat",
            program.display(),
            module_path!()
                .split_once("::")
                .expect("is within the crate")
                .1,
            socket.display(),
        );
        tmux(&[
            "new-session",
            "-d",
            "-x",
            "120",
            "-y",
            "60",
            "sh",
            "-c",
            &script,
        ]);
        tmux(&["wait-for", "over"]);
        let screen = tmux(&["capture-pane", "-p"]);
        let modes = tmux(&["display", "-p", "#{alternate_on} #{cursor_flag}"]);
        tmux(&["kill-server"]);
        assert!(screen.contains("as the test wants it"), "{screen}");
        assert!(screen.contains("ended with 101\nicanon\n"), "{screen}");
        assert_eq!(modes.trim(), "0 1");
    }
}
