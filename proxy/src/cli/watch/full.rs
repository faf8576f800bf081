//! The view as a screen: what is told and what keys ask for, until one of them ends it.

use std::io::{self, IsTerminal};
use std::time::Duration;

use hyper::Method;
use tokio::sync::mpsc;
use tokio::time::interval;

use super::board::{Board, Command, Effect};
use super::feed::listen;
use super::screen::Palette;
use super::terminal::{Input, Screen, keys};
use super::{Goal, Signals, standing};
use crate::cli::Exit;
use crate::cli::client::{Client, Failure};
use crate::cli::command::who_and_why;
use crate::cli::output::{Style, complain, harmless, say};
use crate::cli::view::{Routes, path_of};

/// How often seconds are counted.
const TICK: Duration = Duration::from_secs(1);

/// Nobody confirms more commands before the first is answered.
const ANSWERS_MAX: usize = 4;

/// Kept with the events of commands that are given here.
const REASON: &str = "haldane watch";

/// Whether there is a terminal that can be a screen.
pub(super) fn is_possible() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb
}

pub(super) async fn watch(
    mut screen: Screen,
    client: &Client,
    routes: Routes,
    goal: &Goal,
    mut signals: Signals,
) -> Result<Exit, Failure> {
    // All events that are still known: the screen has room for what was.
    let mut feed = listen(client, 0);
    let mut inputs = keys();
    let mut ticks = interval(TICK);
    let (answer, mut answers) = mpsc::channel(ANSWERS_MAX);
    let palette = if Style::of(&io::stdout()).is_colored() {
        Palette::Colored
    } else {
        Palette::Plain
    };
    let mut board = Board::new(client.to_string(), goal.route.clone());
    board.stands(routes);
    loop {
        if let Err(error) = screen.show(&board, palette) {
            drop(screen);
            complain(format_args!("cannot draw: {error}"));
            return Ok(Exit::Runtime);
        }
        tokio::select! {
            told = feed.recv() => {
                let Some(told) = told.transpose()? else {
                    return Ok(Exit::Done);
                };
                let end = goal.reached(&told);
                board.told(told);
                if let Some(exit) = end {
                    drop(screen);
                    say_last(&board);
                    return Ok(exit);
                }
            }
            input = inputs.recv() => match input {
                Some(Input::Key(key)) => match board.press(key) {
                    Effect::None => {}
                    Effect::Quit => return Ok(Exit::Done),
                    Effect::Send(command) => {
                        tokio::spawn(send(client.clone(), command, answer.clone()));
                    }
                },
                Some(Input::Resize) => {}
                Some(Input::Gone) | None => return Ok(Exit::Done),
            },
            Some(message) = answers.recv() => board.message = Some(message),
            _ = ticks.tick() => board.tick(),
            () = signals.any() => return Ok(Exit::Done),
        }
    }
}

async fn send(client: Client, command: Command, answer: mpsc::Sender<String>) {
    let Command { verb, route } = command;
    let path = path_of(&route, &format!("/{verb}"));
    let body = who_and_why(Some(REASON));
    let message = match client.send(Method::POST, &path, &body).await {
        Ok(_) => format!("{verb} {route}: done"),
        Err(failure) => format!("{verb} {route}: {failure}"),
    };
    // The view may have ended.
    drop(answer.send(message).await);
}

/// How the route stands at the end, for whoever reads it where the screen was.
fn say_last(board: &Board) {
    if let Some(route) = board.routes.get(board.selected()) {
        let sentence = format!("{}: {}", route.route, standing::sentence(route));
        say(harmless(&sentence));
    }
}
