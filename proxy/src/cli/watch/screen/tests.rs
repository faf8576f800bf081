//! Screens of several sizes, and what others may write on them.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

use super::*;
use crate::cli::watch::board::{Command, Effect, Key};
use crate::cli::watch::feed::Told;

fn version(name: &str, requests: u64, failures: u64) -> Value {
    json!({"version": name, "requests": requests, "in_flight": 0, "failures": failures,
        "ttfb_seconds": {"p50": 0.0012, "p95": 0.034, "p99": 0.56}, "addresses": []})
}

fn route(name: &str, canary: &str) -> Value {
    json!({"route": name, "at": 0, "phase": "progressing", "rolled_back_at": null, "cause": null,
        "generation": 3, "weight": "25%", "configured_weight": "5%", "verdict": "inconclusive",
        "waits_for": "its hold: 12s left",
        "rollout": {"step": 2, "held_seconds": 30.0, "requests": 7, "steps": [
            {"weight": "5%", "hold_seconds": 60.0},
            {"weight": "25%", "hold_seconds": 60.0, "hold_requests": 7},
            {"weight": "100%"}]},
        "gates": [{"name": "errors", "verdict": "inconclusive", "evidence": 0.5,
            "sentence": "errors: waits for evidence"}],
        "commands": ["pause", "rollback"],
        "versions": {"stable": version("v1", 1000, 0), "canary": version(canary, 250, 5)}})
}

fn board(routes: &[Value]) -> Board {
    let mut board = Board::new("127.0.0.1:7411".to_owned(), None);
    board.told(Told::Status(json!({ "routes": routes }).to_string()));
    let event = json!({"seq": 9, "at": 1_795_258_453_042_000_u64, "severity": "info",
        "kind": "progressed", "route": "shop", "version": "v2", "from": "5%", "to": "25%",
        "step": 2, "by": {"kind": "plan"}});
    board.told(Told::Happened(event.to_string()));
    board
}

/// What stands on a terminal of this size, line by line.
fn seen(board: &Board, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("opens");
    terminal
        .draw(|frame| draw(frame, board, Palette::Colored))
        .expect("draws");
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(usize::from(width.max(1)));
    let rows = rows.map(|row| {
        row.iter()
            .map(ratatui::buffer::Cell::symbol)
            .collect::<String>()
    });
    rows.map(|row| format!("{}\n", row.trim_end())).collect()
}

#[test]
fn the_screen_shows_how_things_are() {
    let seen = seen(&board(&[route("shop", "v2")]), 100, 24);
    for line in [
        "shop: progressing at step 2 of 3, v2 has 25%, not enough is known yet\n",
        "waits for its hold: 12s left\n",
        "weight ████░░░░░░░░░░░░ 25%, generation 3\n",
        "step 2/3 ████████░░░░░░░░ 30s of 60s 7 of 7 requests, plan 5% [25%] 100%\n",
        "stable  v1           1000          0  1.20ms  34.0ms  560ms\n",
        "canary  v2            250  5 (2.00%)  1.20ms  34.0ms  560ms\n",
        "inconclusive evidence ████████░░░░░░░░ errors: waits for evidence\n",
        "legal now: pause, rollback\n",
        "10:54:13 shop: v2 goes from 5% to 25%, step 2 (the plan)\n",
        "q quit  r roll back  p pause  127.0.0.1:7411\n",
    ] {
        assert!(seen.contains(line), "{line}{seen}");
    }
}

#[test]
fn no_size_is_too_small_or_too_large() {
    let mut board = board(&[route("shop", "v2"), route("api", "v3")]);
    for asks in [false, true] {
        if asks {
            board.press(Key::Rollback);
            board.told(Told::Lost("refused".to_owned()));
        }
        for (width, height) in [
            (0, 0),
            (0, 9),
            (1, 1),
            (3, 2),
            (20, 5),
            (80, 24),
            (500, 200),
        ] {
            seen(&board, width, height);
        }
    }
    // The question must not be lost where there is hardly room.
    assert!(seen(&board, 20, 5).contains("roll back shop?"));
}

#[test]
fn what_matters_most_is_there_on_a_small_terminal() {
    let seen = seen(&board(&[route("shop", "v2")]), 20, 5);
    assert!(
        seen.starts_with("shop: progressing at\nstep 2 of 3, v2 has\n25%"),
        "{seen}"
    );
}

#[test]
fn nothing_that_others_write_breaks_the_screen() {
    let hostile = "v\u{1b}[2J\u{1b}]0;x\u{7}\r\n\u{202e}日本語日本語日本語\u{200b}\u{0}é";
    let mut hostile_route = route(hostile, hostile);
    hostile_route["cause"] = json!(hostile);
    hostile_route["gates"][0]["sentence"] = json!(hostile.repeat(9));
    hostile_route["gates"][0]["evidence"] = json!(null);
    for (width, height) in [(11, 9), (40, 12), (100, 40)] {
        let seen = seen(
            &board(&[hostile_route.clone(), route("shop", "v2")]),
            width,
            height,
        );
        let is_control = |character: char| character.is_control() && character != '\n';
        assert!(!seen.contains(is_control), "{seen:?}");
        assert!(!seen.contains('\u{202e}'), "{seen:?}");
        assert_eq!(seen.lines().count(), usize::from(height));
    }
}

#[test]
fn without_colours_there_are_none() {
    let mut bad = route("shop", "v2");
    bad["phase"] = json!("rolled_back");
    bad["gates"][0]["verdict"] = json!("fail");
    let board = board(&[bad]);
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("opens");
    for (palette, is_colored) in [(Palette::Colored, true), (Palette::Plain, false)] {
        terminal
            .draw(|frame| draw(frame, &board, palette))
            .expect("draws");
        let cells = terminal.backend().buffer().content();
        let colored = cells
            .iter()
            .any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        assert_eq!(colored, is_colored);
    }
}

#[test]
fn a_command_is_sent_only_when_it_is_confirmed() {
    let mut board = board(&[route("shop", "v2"), route("api", "v3")]);
    let rollback = Command {
        verb: "rollback",
        route: "api".to_owned(),
    };
    for (keys, effect) in [
        (&[Key::Yes][..], Effect::None),
        (&[Key::Rollback, Key::Other, Key::Yes], Effect::None),
        (&[Key::Rollback, Key::Quit], Effect::None),
        (
            &[Key::Next, Key::Rollback, Key::Yes],
            Effect::Send(rollback.clone()),
        ),
        (&[Key::Next, Key::Next, Key::Previous], Effect::None),
        (&[Key::Quit], Effect::Quit),
    ] {
        let effects: Vec<Effect> = keys.iter().map(|key| board.press(*key)).collect();
        assert_eq!(effects.last(), Some(&effect), "{keys:?}");
    }
    // What is asked is about the route that was shown then.
    board.press(Key::Rollback);
    board.told(Told::Status(
        json!({"routes": [route("other", "v9")]}).to_string(),
    ));
    assert!(matches!(board.press(Key::Yes), Effect::Send(command) if command.route != "other"));
    // What is not legal is not asked.
    let mut idle = route("shop", "v2");
    idle["commands"] = json!(["resume"]);
    board.told(Told::Status(json!({ "routes": [idle] }).to_string()));
    board.press(Key::Rollback);
    assert_eq!(board.question, None);
    board.press(Key::Hold);
    assert_eq!(
        board.question.as_ref().map(|command| command.verb),
        Some("resume")
    );
}

#[test]
fn a_lost_connection_is_said_until_it_is_back() {
    let mut board = board(&[route("shop", "v2")]);
    board.told(Told::Lost("refused".to_owned()));
    board.tick();
    assert!(
        seen(&board, 80, 24)
            .starts_with("no connection for 1s, tried again every second: refused\n")
    );
    board.told(Told::Back);
    assert!(!seen(&board, 80, 24).contains("no connection"));
}
